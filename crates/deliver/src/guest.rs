//! One thread of a process that makes system calls for its tracer.
//!
//! The fate of the process does not depend on the tracer: at each moment of a visit the thread, once
//! it is resumed, makes at most the call that it was set to make and goes on in the program, with
//! its registers and its signal mask ([`crate::arch::guest`]). So a tracer makes a change by calls
//! and writes after each of which the process can run.
//!
//! What stays behind when a tracer dies are two pages of memory, which the next visit
//! takes over, and a descriptor at most.

use std::ffi::c_int;
use std::fs::{self, File};
use std::io;

use vdsokit_waits::files::DELIVERY;

use crate::arch::{OPEN_FLAGS, guest, number};
use crate::error::Unserved;
use crate::memory::Memory;
use crate::object::{Backing, PAGE};
use crate::pass;
use crate::proc::{self, Filters};
use crate::rseq;
use crate::stop::Stop;
use crate::sys::{self, Pid, Registers, Resume, SignalSet};
use crate::visit::{Caller, Failure, Place, StubError, files, paths};

/// A stop of PTRACE_SYSCALL (PTRACE_O_TRACESYSGOOD). It is no signal: if the tracer dies in it,
/// nothing is delivered to the thread.
const CALL_STOP: c_int = libc::SIGTRAP | 0x80;

/// Such a thread.
#[derive(Debug)]
pub(crate) struct Guest {
    pid: Pid,
    pub(crate) memory: Memory,
    /// What the thread goes on with.
    registers: Registers,
    fleeting: guest::Fleeting,
    blocked: SignalSet,
    /// Where its code lies.
    home: u64,
    /// The bytes of the kernel's vDSO at the place where it begins.
    before: Vec<u8>,
    /// The first of two pages of its own, for code and what calls read and write.
    pages: u64,
    /// The process was sent a SIGSTOP during the visit.
    is_stopped: bool,
}

impl Guest {
    /// Sets up a stopped thread. `spare` is the address of executable bytes that no thread executes.
    pub(crate) fn enter(pid: Pid, memory: Memory, spare: u64) -> Result<Guest, Failure> {
        suspend_filters(pid)?;
        let before = guest::before(&memory, spare)?;
        let registers = guest::settled(pid, &memory, spare)?;
        Guest::set_up(pid, memory, (spare, before), registers)
    }

    /// As [`Guest::enter`], with the tracing and the seccomp filters of the thread as they are. The
    /// thread goes on with `registers`.
    pub(crate) fn settle(
        pid: Pid,
        memory: Memory,
        spare: u64,
        registers: Registers,
    ) -> Result<Guest, Failure> {
        let before = guest::before(&memory, spare)?;
        Guest::set_up(pid, memory, (spare, before), registers)
    }

    /// `spare`, and the bytes to put back there.
    fn set_up(
        pid: Pid,
        memory: Memory,
        (spare, before): (u64, Vec<u8>),
        mut registers: Registers,
    ) -> Result<Guest, Failure> {
        let remnant = remnant(pid)?;
        let section = match sys::rseq(pid) {
            Some(rseq) => rseq::find(&registers, &memory, rseq)?,
            None => None,
        };
        if let Some(section) = &section {
            section.leave(&mut registers);
        }
        let fleeting = guest::Fleeting::read(pid);
        let blocked = sys::blocked(pid)?;
        let code = guest::bytes(pid, &registers, blocked)?;
        memory.write(spare, &code)?;
        let mut guest = Guest {
            pid,
            memory,
            registers,
            fleeting,
            blocked,
            home: spare,
            before,
            pages: 0,
            is_stopped: false,
        };
        let (number, arguments) = match remnant {
            Some(_) => (number::GETPID, [0; 6]),
            None => map_pages(&registers),
        };
        // The registers first: with them the thread restores a mask that is set afterwards.
        guest.prepare(number, arguments)?;
        if let Some(section) = section {
            section.clear(&guest.memory)?;
        }
        sys::set_blocked(pid, u64::MAX)?;
        let outcome = guest.run().and_then(|mapped| {
            let pages = remnant.unwrap_or(mapped);
            guest.pages = pages;
            guest.memory.write(pages, &code)?;
            let protection = (libc::PROT_READ | libc::PROT_EXEC) as u64;
            guest.call(number::MPROTECT, [pages, PAGE, protection, 0, 0, 0])
        });
        match outcome {
            Ok(_) => {
                guest.home = guest.pages;
                // Out of the code that is erased.
                guest.prepare(number::GETPID, [0; 6])?;
                guest.memory.write(spare, &guest.before)?;
                Ok(guest)
            }
            Err(error) => {
                let failure = error.into();
                if !matches!(failure, Failure::Ended) {
                    guest.leave(spare)?;
                }
                Err(failure)
            }
        }
    }

    /// Gives the pages back and restores the thread. `spare` is the address that it was set up with.
    pub(crate) fn leave(mut self, spare: u64) -> Result<(), Failure> {
        let code = guest::bytes(self.pid, &self.registers, self.blocked)?;
        self.memory.write(spare, &code)?;
        // The pages can't be unmapped by the code in them.
        self.home = spare;
        if self.pages != 0 {
            self.call(number::MUNMAP, [self.pages, 2 * PAGE, 0, 0, 0, 0])?;
        }
        guest::leave_call(self.pid)?;
        sys::set_blocked(self.pid, self.blocked)?;
        sys::set_registers(self.pid, &self.registers)?;
        self.fleeting.restore(self.pid)?;
        self.memory.write(spare, &self.before)?;
        self.stop_again()?;
        Ok(())
    }

    /// Stops the process again if it was to stop during the visit. A SIGCONT that came after that
    /// ends it: the kernel removes a pending SIGCONT when a SIGSTOP comes, so one that is pending
    /// now is the later (kernel/signal.c, `prepare_signal`).
    fn stop_again(&self) -> io::Result<()> {
        let continues = proc::pending(self.pid)? & (1 << (libc::SIGCONT - 1)) != 0;
        if !self.is_stopped || continues {
            return Ok(());
        }
        let process = proc::status(self.pid, "Tgid")?.and_then(|id| id.parse().ok());
        sys::signal_thread(process.unwrap_or(self.pid), self.pid, libc::SIGSTOP)
    }

    /// Maps `places` of files that it opens, or has as `descriptors`, in their order.
    fn map_by(
        &mut self,
        places: &[Place<'_>],
        descriptors: Option<&[u64]>,
    ) -> Result<u64, StubError> {
        let paths = paths(places);
        let (mut start, mut files) = (0, 0);
        for (index, place) in places.iter().enumerate() {
            let descriptor = match (place.backing, descriptors) {
                (None, _) => Ok(u64::MAX),
                (Some(_), Some(descriptors)) => Ok(descriptors[files]),
                (Some(backing), None) => self.open(&paths[files], backing),
            };
            files += usize::from(place.backing.is_some());
            let mapped = descriptor.and_then(|descriptor| {
                let (length, protection) = (place.length, place.protection as u64);
                let address = start + place.distance;
                let flags = place.flags as u64;
                let arguments = [address, length, protection, flags, descriptor, place.offset];
                let mapped = self.call(number::MMAP, arguments);
                if place.backing.is_some() && descriptors.is_none() {
                    self.call(number::CLOSE, [descriptor, 0, 0, 0, 0, 0])?;
                }
                mapped
            });
            match mapped {
                Ok(address) if index == 0 => start = address,
                Ok(_) => {}
                Err(error) => {
                    if index > 0 {
                        // All others lie in the range of the first.
                        self.call(number::MUNMAP, [start, places[0].length, 0, 0, 0, 0])?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(start)
    }

    /// Opens a file by a path: in another pid namespace a path into /proc names a file of another
    /// process.
    fn open(&mut self, path: &[u8], backing: &Backing) -> Result<u64, StubError> {
        /// Bytes of a `struct stat`, which begins with `st_dev` and `st_ino`.
        const STAT: usize = 144;
        let at = self.scratch(path.len());
        self.memory.write(at, path)?;
        let directory = libc::AT_FDCWD as u64;
        let arguments = [directory, at, OPEN_FLAGS as u64, 0, 0, 0];
        let descriptor = self.call(number::OPENAT, arguments)?;
        let at = self.scratch(STAT);
        // Marked, so that `--file-times` does not hand it over to the process that waits for it here.
        let is_it = self
            .call(number::FSTAT, [descriptor, at, 0, 0, 0, DELIVERY.into()])
            .and_then(|_| {
                let mut bytes = [0; 16];
                self.memory.read_exact(at, &mut bytes)?;
                let expected = [backing.device, backing.inode];
                match bytes == *expected.map(u64::to_ne_bytes).as_flattened() {
                    true => Ok(descriptor),
                    false => Err(StubError::Refused(libc::ESTALE)),
                }
            });
        if is_it.is_err() {
            self.call(number::CLOSE, [descriptor, 0, 0, 0, 0, 0])?;
        }
        is_it
    }

    /// Sets the thread to make a call.
    fn prepare(&self, number: u64, arguments: [u64; 6]) -> io::Result<()> {
        let mut registers = self.registers;
        guest::enter(&mut registers, self.home, number, arguments);
        sys::set_registers(self.pid, &registers)
    }

    /// Has the thread make the call that it was set to make.
    fn run(&mut self) -> Result<u64, StubError> {
        // The call's start and its end.
        for _ in 0..2 {
            loop {
                sys::resume(self.pid, Resume::Call, 0)?;
                let Some((_, status)) = sys::wait(self.pid)? else {
                    return Err(Failure::Ended.into());
                };
                match Stop::decode(status) {
                    Stop::Ended => return Err(Failure::Ended.into()),
                    Stop::Signal(CALL_STOP) => break,
                    // No other can be taken: all that can be blocked are.
                    Stop::Signal(libc::SIGSTOP) => self.is_stopped = true,
                    // The interruption of a group-stop by SIGCONT, or a stop that it ends.
                    _ => {}
                }
            }
        }
        let (after, _) = sys::registers(self.pid)?;
        crate::arch::call_result(&after).map_err(StubError::Refused)
    }
}

impl Caller for Guest {
    fn call(&mut self, number: u64, arguments: [u64; 6]) -> Result<u64, StubError> {
        self.prepare(number, arguments)?;
        self.run()
    }

    fn map(&mut self, places: &[Place<'_>]) -> Result<u64, StubError> {
        match self.map_by(places, None) {
            // It has no /proc, that of another pid namespace, or no permission to open the
            // tracer's descriptors.
            Err(StubError::Refused(error)) if error != libc::ENOMEM => {
                let files: Vec<&File> = files(places).collect();
                let descriptors = pass::descriptors(self, &files)?;
                let mapped = self.map_by(places, Some(&descriptors));
                for descriptor in descriptors {
                    self.call(number::CLOSE, [descriptor, 0, 0, 0, 0, 0])?;
                }
                mapped
            }
            other => other,
        }
    }

    fn scratch(&self, length: usize) -> u64 {
        (self.pages + 2 * PAGE - length as u64) & !15
    }

    fn pid(&self) -> Pid {
        self.pid
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }
}

/// The call that maps two pages, which are only written as long as they are, in a thread that goes on
/// with `registers`.
fn map_pages(registers: &Registers) -> (u64, [u64; 6]) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | within_reach(registers);
    let (writable, flags) = (libc::PROT_WRITE as u64, flags as u64);
    let arguments = [0, 2 * PAGE, writable, flags, u64::MAX, 0];
    (number::MMAP, arguments)
}

/// The flag of mmap(2) without which the kernel looks for an address beyond the end of a 32-bit program's
/// address space, and fails (arch/x86/kernel/sys_x86_64.c, `get_mmap_base`).
#[cfg(target_arch = "x86_64")]
fn within_reach(registers: &Registers) -> c_int {
    match crate::arch::is_narrow(registers) {
        true => libc::MAP_32BIT,
        false => 0,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn within_reach(_: &Registers) -> c_int {
    0
}

/// The pages that a tracer which died has left in `pid`: the second of them, or both, can be written
/// and not read, which no other memory is.
pub(crate) fn remnant(pid: Pid) -> io::Result<Option<u64>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let line = maps
        .lines()
        .find(|line| line.contains(" -w-p 00000000 00:00 0") && line.trim_end().ends_with(" 0"));
    let found = line.and_then(|line| proc::ranges(line).next());
    Ok(found.and_then(|found| match found.end - found.start {
        length if length == PAGE => Some(found.start - PAGE),
        length if length == 2 * PAGE => Some(found.start),
        _ => None,
    }))
}

/// Has a thread in its exec stop go on to the end of that call, before the first instruction of its
/// program. It is traced with `options`.
pub(crate) fn leave_exec(pid: Pid, options: c_int) -> Result<(), Failure> {
    sys::set_options(pid, options | libc::PTRACE_O_TRACESYSGOOD)?;
    loop {
        sys::resume(pid, Resume::Call, 0)?;
        let Some((_, status)) = sys::wait(pid)? else {
            return Err(Failure::Ended);
        };
        match Stop::decode(status) {
            Stop::Ended => return Err(Failure::Ended),
            Stop::Signal(CALL_STOP) => return Ok(()),
            _ => {}
        }
    }
}

/// Has a thread that is traced with `options` stop at its calls, and its seccomp filters suspended if it
/// `is_filtered`.
pub(crate) fn trace(pid: Pid, options: c_int, is_filtered: bool) -> Result<(), Failure> {
    let options = options | libc::PTRACE_O_TRACESYSGOOD;
    if !is_filtered {
        return Ok(sys::set_options(pid, options)?);
    }
    let suspended = sys::set_options(pid, options | sys::SUSPEND_SECCOMP);
    suspended.map_err(|_| Unserved::Filtered.into())
}

/// Suspends the seccomp filters of `thread` until it is released: they may end the process for
/// the calls of the visit. Without the right to do so, only those filters are accepted that this
/// process is subject to as well, by their number: in a container all processes have the
/// container's.
fn suspend_filters(thread: Pid) -> Result<(), Failure> {
    let options = libc::PTRACE_O_TRACESYSGOOD;
    let filters = proc::filters(thread)?;
    if filters != Filters::None {
        if sys::set_options(thread, options | sys::SUSPEND_SECCOMP).is_ok() {
            return Ok(());
        }
        if filters != proc::filters(std::process::id() as Pid)? {
            return Err(Unserved::Filtered.into());
        }
    }
    Ok(sys::set_options(thread, options)?)
}
