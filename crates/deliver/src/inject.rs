//! Puts an object into a process that stands at the first instruction of a new program.

use std::ffi::c_int;
use std::io;
use std::os::fd::AsRawFd;

use crate::arch::{self, Block, Entry, KERNEL_VDSO_IS_OPTIONAL};
use crate::error::Unserved;
use crate::kernel::KernelVdso;
use crate::memory::Memory;
use crate::object::{Object, PAGE, Source};
use crate::pass;
use crate::stack::{self, Auxiliary, StackError};
use crate::stop::Stop;
use crate::sys::{self, Pid, Registers, Resume};

/// Bytes below the stack pointer that the x86-64 ABI leaves to the function that runs.
const RED_ZONE: u64 = 128;

/// The longest stack that is searched for the auxiliary vector: the kernel's own limit on
/// arguments and environment is a quarter of the stack's, 2 MiB, and 6 MiB at most
/// (fs/exec.c, `bprm_stack_limits`).
const STACK_LIMIT: usize = 8 << 20;

/// Why a process has not got the object.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It ended. There is nothing to resume.
    Ended,
    /// It is as the kernel made it and stopped.
    Unserved(Unserved),
}

impl From<Unserved> for Failure {
    fn from(reason: Unserved) -> Failure {
        Failure::Unserved(reason)
    }
}

impl From<io::Error> for Failure {
    /// ESRCH: it was killed while we held it (ptrace(2)); its end will be reported.
    fn from(error: io::Error) -> Failure {
        match error.raw_os_error() {
            Some(libc::ESRCH) => Failure::Ended,
            _ => Failure::Unserved(Unserved::Access(error)),
        }
    }
}

/// Why the stub did not map the object.
#[derive(Debug)]
pub(crate) enum MapError {
    /// A system call in the target returned this error.
    Refused(i32),
    /// Anything else.
    Failure(Failure),
}

impl From<Failure> for MapError {
    fn from(failure: Failure) -> MapError {
        MapError::Failure(failure)
    }
}

impl From<io::Error> for MapError {
    fn from(error: io::Error) -> MapError {
        MapError::Failure(error.into())
    }
}

impl From<MapError> for Failure {
    fn from(error: MapError) -> Failure {
        match error {
            MapError::Refused(error) => Unserved::Map(io::Error::from_raw_os_error(error)).into(),
            MapError::Failure(failure) => failure,
        }
    }
}

/// How the target comes to the object's files.
#[derive(Debug, Clone, Copy)]
enum Handle<'a> {
    /// It opens these.
    Paths(&'a [Vec<u8>]),
    /// It has these descriptors.
    Descriptors([u64; 2]),
}

/// What a delivery ended with.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// Where the image lies.
    pub(crate) address: u64,
    /// A signal that came meanwhile and has to be delivered on resuming (0: none).
    pub(crate) signal: c_int,
}

/// An object and what is known of the machine that it goes into.
#[derive(Debug)]
pub(crate) struct Injector {
    object: Object,
    /// `/proc/PID/fd/N` of this process for text and vvar pages, each ended by a NUL.
    paths: Vec<Vec<u8>>,
    kernel: Option<KernelVdso>,
}

impl Injector {
    /// Has to be made in the process that traces: its descriptors are what targets open.
    pub(crate) fn new(object: Object) -> Injector {
        let path = |source: &Source| {
            format!(
                "/proc/{}/fd/{}\0",
                std::process::id(),
                source.file.as_raw_fd()
            )
            .into_bytes()
        };
        let paths = [Some(&object.text), object.vvar.as_ref()]
            .into_iter()
            .flatten()
            .map(path);
        Injector {
            paths: paths.collect(),
            object,
            kernel: None,
        }
    }

    /// Puts the object into `pid`, which is in its exec stop and is traced with `options`.
    ///
    /// If the tracer dies while this runs, the kernel kills the process (PTRACE_O_EXITKILL):
    /// the program has not begun, and half of a change is the one thing that it must not
    /// begin with.
    pub(crate) fn deliver(&mut self, pid: Pid, options: c_int) -> Result<Delivered, Failure> {
        let (registers, length) = sys::registers(pid)?;
        if !arch::is_native(&registers, length) {
            return Err(Unserved::NotNative.into());
        }
        let memory = Memory::open(pid)?;
        let found = auxiliary(&memory, arch::stack_pointer(&registers))?;
        let Some((slot, vdso)) = found.vdso else {
            return Err(Unserved::NoVdso.into());
        };
        if found.secure {
            return Err(Unserved::Privileged.into());
        }
        let kernel = match &mut self.kernel {
            Some(kernel) => kernel,
            none => none.insert(KernelVdso::read(pid, &memory, vdso, &self.object.links)?),
        };
        let blocked = sys::blocked(pid)?;
        sys::set_options(pid, options | libc::PTRACE_O_EXITKILL)?;
        // All of them: the trap that ends the stub is forced on the thread all the same, and
        // no signal has a handler yet that the force could cost it (kernel/signal.c,
        // `force_sig_info_to_task`).
        sys::set_blocked(pid, u64::MAX)?;

        let mut visit = Visit {
            pid,
            memory,
            registers,
            vdso,
            signal: 0,
        };
        let keeps_kernel = !self.object.links.is_empty() || !KERNEL_VDSO_IS_OPTIONAL;
        let unmap = if keeps_kernel {
            (0, 0)
        } else {
            kernel.extent(vdso)
        };
        let outcome = visit.map(&self.object, &self.paths, kernel.bytes(), unmap);
        let outcome = outcome.and_then(|address| {
            for (link, function) in self.object.links.iter().zip(kernel.functions(vdso)) {
                visit.memory.write_word(address + link.word, function)?;
            }
            let slot = arch::stack_pointer(&visit.registers) + slot as u64;
            visit.memory.write_word(slot, address)?;
            Ok(address)
        });
        if matches!(outcome, Err(Failure::Ended)) {
            return Err(Failure::Ended);
        }
        arch::leave_syscall(&mut visit.registers);
        sys::set_registers(pid, &visit.registers)?;
        sys::set_blocked(pid, blocked)?;
        sys::set_options(pid, options)?;
        outcome.map(|address| Delivered {
            address,
            signal: visit.signal,
        })
    }
}

/// Reads as much of the stack as it takes to find the auxiliary vector.
fn auxiliary(memory: &Memory, stack_pointer: u64) -> Result<Auxiliary, Failure> {
    let mut stack = vec![0; PAGE as usize];
    loop {
        let got = memory.read(stack_pointer, &mut stack)?;
        match stack::auxiliary(&stack[..got]) {
            Ok(found) => return Ok(found),
            Err(StackError::NeedMore) if got == stack.len() && got < STACK_LIMIT => {
                stack.resize(got * 4, 0);
            }
            Err(_) => return Err(Unserved::NotNative.into()),
        }
    }
}

/// One process while the stub is in it.
pub(crate) struct Visit {
    pub(crate) pid: Pid,
    pub(crate) memory: Memory,
    /// As they were, and have to be again.
    registers: Registers,
    /// Where the kernel's vDSO lies, and so the stub.
    vdso: u64,
    signal: c_int,
}

impl Visit {
    /// Maps the object and unmaps `unmap`. On an error nothing has been mapped or unmapped.
    fn map(
        &mut self,
        object: &Object,
        paths: &[Vec<u8>],
        kernel_bytes: &[u8],
        unmap: (u64, u64),
    ) -> Result<u64, Failure> {
        let stub = arch::stub();
        self.memory.write(self.vdso, stub)?;
        let by_path = self.map_by(object, Handle::Paths(paths), unmap);
        let outcome = match by_path {
            // No /proc there, another pid namespace's, or no permission to look into ours.
            Err(MapError::Refused(error)) if error != libc::ENOMEM => {
                pass::descriptors(self, object).and_then(|descriptors| {
                    self.map_by(object, Handle::Descriptors(descriptors), unmap)
                })
            }
            other => other,
        };
        let is_gone = matches!(
            outcome,
            Ok((_, true)) | Err(MapError::Failure(Failure::Ended))
        );
        if !is_gone {
            self.memory.write(self.vdso, &kernel_bytes[..stub.len()])?;
        }
        Ok(outcome?.0)
    }

    /// Runs the stub over a block. Says where the image lies and whether the stub's page is
    /// gone.
    fn map_by(
        &mut self,
        object: &Object,
        handle: Handle<'_>,
        unmap: (u64, u64),
    ) -> Result<(u64, bool), MapError> {
        let strings: Vec<u8> = match handle {
            Handle::Paths(paths) => paths.concat(),
            Handle::Descriptors(_) => Vec::new(),
        };
        let at = self.scratch(size_of::<Block>() + strings.len());
        let strings_at = at + size_of::<Block>() as u64;
        let mut block = Block {
            unmap_address: unmap.0,
            unmap_length: unmap.1,
            ..Block::default()
        };
        let mut string = strings_at;
        for (index, source) in [Some(&object.text), object.vvar.as_ref()]
            .into_iter()
            .flatten()
            .enumerate()
        {
            let is_text = index == 0;
            block.entries[index] = Entry {
                source: match handle {
                    Handle::Paths(_) => string,
                    Handle::Descriptors(descriptors) => descriptors[index],
                },
                device: source.device,
                inode: source.inode,
                distance: source.distance,
                // The text's mapping reserves the room of all; the vvar pages then take their
                // place over its end.
                length: if is_text {
                    object.length
                } else {
                    source.length
                },
                protection: (libc::PROT_READ | if is_text { libc::PROT_EXEC } else { 0 }) as u64,
                flags: if is_text {
                    libc::MAP_PRIVATE
                } else {
                    libc::MAP_SHARED | libc::MAP_FIXED
                } as u64,
                offset: source.offset,
            };
            if let Handle::Paths(paths) = handle {
                string += paths[index].len() as u64;
            }
            block.count += 1;
        }
        self.memory.write(at, &[block.bytes(), &strings].concat())?;
        let mut registers = self.registers;
        arch::enter_stub(&mut registers, self.vdso, at);
        let after = self.run(&registers)?;
        let address = arch::stub_result(&after).map_err(MapError::Refused)?;
        Ok((address, arch::is_gone(&after, self.vdso)))
    }

    /// Where `length` bytes may be written that no one misses.
    pub(crate) fn scratch(&self, length: usize) -> u64 {
        (arch::stack_pointer(&self.registers) - RED_ZONE - length as u64) & !15
    }

    /// Makes one system call in the process, which must have left its exec stop.
    pub(crate) fn call(&mut self, number: u64, arguments: [u64; 6]) -> Result<u64, MapError> {
        let mut registers = self.registers;
        arch::enter_call(&mut registers, self.vdso, number, arguments);
        let after = self.run(&registers)?;
        arch::call_result(&after).map_err(MapError::Refused)
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
                Stop::Signal(libc::SIGTRAP | libc::SIGSEGV) => {
                    let (after, _) = sys::registers(self.pid)?;
                    if arch::is_done(&after, self.vdso) {
                        return Ok(after);
                    }
                    let lost = io::Error::other("the stub did not run to its end");
                    return Err(Unserved::Access(lost).into());
                }
                // SIGSTOP, the only one that can't be blocked and doesn't kill.
                Stop::Signal(signal) => self.signal = signal,
                _ => {}
            }
        }
    }
}
