//! Running the stub in one stopped thread.

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::arch::{self, Block, Entry, Word};
use crate::error::Unserved;
use crate::memory::Memory;
use crate::object::Backing;
use crate::pass;
use crate::proc;
use crate::stop::Stop;
use crate::sys::{self, Pid, Registers, Resume, SignalInfo, SignalSet};

/// Why a process was not changed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It ended. There is nothing to resume.
    Ended,
    /// It is as it was before, and stopped.
    Unserved(Unserved),
}

impl From<Unserved> for Failure {
    fn from(reason: Unserved) -> Failure {
        Failure::Unserved(reason)
    }
}

impl From<io::Error> for Failure {
    /// ESRCH: it was killed while it was stopped (ptrace(2)); its end will be reported.
    fn from(error: io::Error) -> Failure {
        match error.raw_os_error() {
            Some(libc::ESRCH) => Failure::Ended,
            _ => Failure::Unserved(Unserved::Access(error)),
        }
    }
}

/// Why the stub failed.
#[derive(Debug)]
pub(crate) enum StubError {
    /// A system call in the target returned this error.
    Refused(i32),
    /// Anything else.
    Failure(Failure),
}

impl From<Failure> for StubError {
    fn from(failure: Failure) -> StubError {
        StubError::Failure(failure)
    }
}

impl From<io::Error> for StubError {
    fn from(error: io::Error) -> StubError {
        StubError::Failure(error.into())
    }
}

impl From<StubError> for Failure {
    fn from(error: StubError) -> Failure {
        match error {
            StubError::Refused(error) => Unserved::Map(io::Error::from_raw_os_error(error)).into(),
            StubError::Failure(failure) => failure,
        }
    }
}

/// A process that makes system calls for its tracer.
pub(crate) trait Caller {
    /// Makes one system call in the process, and returns what it returns.
    fn call(&mut self, number: u64, arguments: [u64; 6]) -> Result<u64, StubError>;

    /// Maps `places` and returns the address of the first. On an error nothing stays mapped.
    fn map(&mut self, places: &[Place<'_>]) -> Result<u64, StubError>;

    /// The address of `length` bytes of its memory that may be written.
    fn scratch(&self, length: usize) -> u64;

    fn pid(&self) -> Pid;

    fn memory(&self) -> &Memory;
}

/// A range of a file or of zeros, and where and how it is to be mapped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// `None`: zeros, as `flags` say too.
    pub(crate) backing: Option<&'a Backing>,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// In bytes from the address of the first place; for the first, an address or 0.
    pub(crate) distance: u64,
    pub(crate) protection: c_int,
    pub(crate) flags: c_int,
}

/// The bytes that the stub reads, for the address `at`: the files to map as `places` say, found
/// by `handle`, the `words` to write then, and the [`Block`] that says where to continue.
///
/// Words lie in text, which is mapped writable until they are written.
pub(crate) fn plan(
    at: u64,
    block: &Block,
    places: &[Place<'_>],
    handle: Handle<'_>,
    words: &[Word],
) -> Vec<u8> {
    let head = size_of::<Block>() + size_of::<Entry>() * places.len();
    let mut word = at + head as u64;
    let mut string = word + size_of_val(words) as u64;
    let (mut entries, mut sorted) = (Vec::new(), Vec::new());
    let mut files = 0;
    let lies_in = |word: &Word| {
        // That of the first is an address.
        let distance = |index: usize| {
            if index == 0 {
                0
            } else {
                places[index].distance
            }
        };
        let before = (0..places.len()).filter(|&index| distance(index) <= word.distance);
        before.max_by_key(|&index| distance(index))
    };
    for (index, place) in places.iter().enumerate() {
        let source = match (place.backing, handle) {
            (None, _) => arch::ANONYMOUS,
            (Some(_), Handle::Paths(paths)) => {
                let here = string;
                string += paths[files].len() as u64;
                here
            }
            (Some(_), Handle::Descriptors(descriptors)) => descriptors[files],
        };
        files += usize::from(place.backing.is_some());
        let before = sorted.len();
        sorted.extend(words.iter().filter(|word| lies_in(word) == Some(index)));
        let count = (sorted.len() - before) as u64;
        let becomes = place.protection as u64;
        let (text, writable) = (becomes & !(libc::PROT_EXEC as u64), libc::PROT_WRITE as u64);
        entries.push(Entry {
            source,
            device: place.backing.map_or(0, |backing| backing.device),
            inode: place.backing.map_or(0, |backing| backing.inode),
            distance: place.distance,
            length: place.length,
            protection: if count == 0 { becomes } else { text | writable },
            flags: place.flags as u64,
            offset: place.offset,
            words: count,
            first_word: word,
            becomes,
        });
        word += count * size_of::<Word>() as u64;
    }
    let mut bytes = arch::block_bytes(block, &entries, &sorted);
    if let Handle::Paths(paths) = handle {
        bytes.extend(paths.iter().flatten());
    }
    debug_assert_eq!(bytes.len(), plan_length(places, handle, words.len()));
    bytes
}

/// Bytes of a [`plan`].
pub(crate) fn plan_length(places: &[Place<'_>], handle: Handle<'_>, words: usize) -> usize {
    let strings = match handle {
        Handle::Paths(paths) => paths.iter().map(Vec::len).sum(),
        Handle::Descriptors(_) => 0,
    };
    size_of::<Block>() + size_of::<Entry>() * places.len() + size_of::<Word>() * words + strings
}

/// The paths by which a process finds the files of `places`, each ended by a NUL.
pub(crate) fn paths(places: &[Place<'_>]) -> Vec<Vec<u8>> {
    let this = std::process::id();
    files(places)
        .map(|file| format!("/proc/{this}/fd/{}\0", file.as_raw_fd()).into_bytes())
        .collect()
}

/// The files of `places`, in their order.
pub(crate) fn files<'a>(places: &[Place<'a>]) -> impl Iterator<Item = &'a File> {
    let backings = places.iter().filter_map(|place| place.backing);
    backings.map(|backing| &backing.file)
}

/// One stopped thread, and what is needed to run the stub in it.
pub(crate) struct Visit {
    pub(crate) pid: Pid,
    pub(crate) memory: Memory,
    /// The registers to restore.
    pub(crate) registers: Registers,
    /// The address of the stub.
    pub(crate) home: u64,
    /// The end of at least a page of memory that the program does not use.
    pub(crate) scratch_end: u64,
    /// The signal mask to restore.
    pub(crate) blocked: SignalSet,
    /// Signals that the thread took while it ran the stub, to be delivered when it resumes.
    pub(crate) signals: Vec<SignalInfo>,
}

impl Visit {
    /// Restores registers and signal mask.
    pub(crate) fn restore(&mut self) -> Result<(), Failure> {
        sys::set_registers(self.pid, &self.registers)?;
        sys::set_blocked(self.pid, self.blocked)?;
        Ok(())
    }

    fn map_by(&mut self, places: &[Place<'_>], handle: Handle<'_>) -> Result<u64, StubError> {
        let block = Block {
            count: places.len() as u64,
            ..Block::default()
        };
        let at = self.scratch(plan_length(places, handle, 0));
        self.memory
            .write(at, &plan(at, &block, places, handle, &[]))?;
        let mut registers = self.registers;
        arch::enter_stub(&mut registers, self.home, at);
        let after = self.run(&registers)?;
        arch::stub_result(&after).map_err(StubError::Refused)
    }

    /// The signals to deliver when the thread resumes. A SIGSTOP is dropped if a SIGCONT came
    /// after it: the kernel removes a pending SIGCONT when a SIGSTOP comes, so one that is
    /// pending now is the later (kernel/signal.c, `prepare_signal`).
    pub(crate) fn take_signals(&mut self) -> io::Result<Vec<SignalInfo>> {
        let mut signals = std::mem::take(&mut self.signals);
        if proc::pending(self.pid)? & (1 << (libc::SIGCONT - 1)) != 0 {
            signals.retain(|signal| signal.number() != libc::SIGSTOP);
        }
        Ok(signals)
    }

    /// Runs the stub from `registers` to its end.
    fn run(&mut self, registers: &Registers) -> Result<Registers, Failure> {
        sys::set_registers(self.pid, registers)?;
        loop {
            sys::resume(self.pid, Resume::Continue, 0)?;
            let Some((_, status)) = sys::wait(self.pid)? else {
                return Err(Failure::Ended);
            };
            match Stop::decode(status) {
                Stop::Ended => return Err(Failure::Ended),
                Stop::Signal(signal) => {
                    let info = sys::signal_info(self.pid)?;
                    if info.was_sent() {
                        // SIGSTOP, which can't be blocked, or SIGTRAP or SIGSEGV by kill(2).
                        self.signals.retain(|known| known.number() != signal);
                        self.signals.push(info);
                        continue;
                    }
                    let (after, _) = sys::registers(self.pid)?;
                    if arch::is_done(&after, self.home) {
                        return Ok(after);
                    }
                    let lost = io::Error::other("the stub did not run to its end");
                    return Err(Unserved::Access(lost).into());
                }
                // The interruption of a group-stop by SIGCONT, or a stop that it ends.
                _ => {}
            }
        }
    }
}

impl Caller for Visit {
    /// It must have left its exec stop.
    fn call(&mut self, number: u64, arguments: [u64; 6]) -> Result<u64, StubError> {
        let mut registers = self.registers;
        arch::enter_call(&mut registers, self.home, number, arguments);
        let after = self.run(&registers)?;
        arch::call_result(&after).map_err(StubError::Refused)
    }

    fn map(&mut self, places: &[Place<'_>]) -> Result<u64, StubError> {
        let paths = paths(places);
        match self.map_by(places, Handle::Paths(&paths)) {
            // It has no /proc, that of another pid namespace, or no permission to open the
            // tracer's descriptors.
            Err(StubError::Refused(error)) if error != libc::ENOMEM => {
                let files: Vec<&File> = files(places).collect();
                let descriptors = pass::descriptors(self, &files)?;
                self.map_by(places, Handle::Descriptors(&descriptors))
            }
            other => other,
        }
    }

    fn scratch(&self, length: usize) -> u64 {
        (self.scratch_end - length as u64) & !15
    }

    fn pid(&self) -> Pid {
        self.pid
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }
}

/// How the process finds the files of places, in their order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Handle<'a> {
    /// It opens these paths, each ended by a NUL.
    Paths(&'a [Vec<u8>]),
    /// It has these descriptors already.
    Descriptors(&'a [u64]),
}
