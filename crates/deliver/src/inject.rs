//! Puts an object into a process that stands at the first instruction of a new program.

use std::ffi::c_int;

use crate::arch::{self, KERNEL_VDSO_IS_OPTIONAL};
use crate::error::Unserved;
use crate::kernel::KernelVdso;
use crate::memory::Memory;
use crate::object::{Object, PAGE};
use crate::stack::{self, Auxiliary, StackError};
use crate::sys::{self, Pid};
use crate::visit::{Failure, Visit};

/// The longest stack that is searched for the auxiliary vector: the kernel's own limit on
/// arguments and environment is a quarter of the stack's, and 6 MiB at most (fs/exec.c,
/// `bprm_stack_limits`).
const STACK_LIMIT: usize = 8 << 20;

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
    kernel: Option<KernelVdso>,
}

impl Injector {
    pub(crate) fn new(object: Object) -> Injector {
        Injector {
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

        let scratch_end = arch::stack_pointer(&registers) - arch::RED_ZONE;
        let mut visit = Visit {
            pid,
            memory,
            registers,
            home: vdso,
            scratch_end,
            blocked,
            signal: 0,
        };
        let slot = arch::stack_pointer(&registers) + slot as u64;
        let outcome = put(&mut visit, &self.object, kernel, slot);
        if matches!(outcome, Err(Failure::Ended)) {
            return Err(Failure::Ended);
        }
        arch::leave_syscall(&mut visit.registers);
        visit.restore()?;
        sys::set_options(pid, options)?;
        outcome.map(|address| Delivered {
            address,
            signal: visit.signal,
        })
    }
}

/// Maps `object`, fills its links, and writes its address into the auxiliary vector at `slot`.
fn put(visit: &mut Visit, object: &Object, kernel: &KernelVdso, slot: u64) -> Result<u64, Failure> {
    let (stub, vdso) = (arch::stub(), visit.home);
    let keeps_kernel = !object.links.is_empty() || !KERNEL_VDSO_IS_OPTIONAL;
    let unmap = if keeps_kernel {
        (0, 0)
    } else {
        kernel.extent(vdso)
    };
    visit.memory.write(vdso, stub)?;
    let outcome = visit.map(&object.places(), unmap);
    // When the kernel's vDSO is gone, so is the stub.
    if !matches!(outcome, Ok((_, true))) {
        visit.memory.write(vdso, &kernel.bytes()[..stub.len()])?;
    }
    let (address, _) = outcome?;
    for (word, value) in object.linked(address, kernel.functions(vdso)) {
        visit.memory.write_word(word, value)?;
    }
    visit.memory.write_word(slot, address)?;
    Ok(address)
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
