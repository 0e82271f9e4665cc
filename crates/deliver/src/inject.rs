//! Puts an object into a process that stands at the first instruction of a new program.

use std::ffi::c_int;

use crate::arch::{self, KERNEL_VDSO_IS_OPTIONAL, number};
use crate::error::Unserved;
use crate::kernel::KernelVdso;
use crate::memory::Memory;
use crate::object::{Object, PAGE};
use crate::stack::{self, Auxiliary, StackError};
use crate::sys::{self, Pid};
use crate::visit::{Failure, StubError, Visit};

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

/// Maps `object`, fills its links, writes its address into the auxiliary vector at `slot`, and
/// unmaps the kernel's vDSO where the image has no use for it.
///
/// What can't be undone comes last: on an error the process is as it was. Should even the undoing
/// fail, the process ends here rather than begin with half of a change.
fn put(visit: &mut Visit, object: &Object, kernel: &KernelVdso, slot: u64) -> Result<u64, Failure> {
    let (stub, vdso) = (arch::stub(), visit.home);
    visit.memory.write(vdso, stub)?;
    let outcome = install(visit, object, kernel, slot);
    // Where the kernel's vDSO is gone, so is the stub.
    if outcome.is_err() || keeps_kernel(object) {
        let restored = visit.memory.write(vdso, &kernel.bytes()[..stub.len()]);
        restored.or_else(|error| whole(visit, Err(error.into())))?;
    }
    outcome
}

/// Whether the kernel's vDSO stays in a process that has `object`.
fn keeps_kernel(object: &Object) -> bool {
    !object.links.is_empty() || !KERNEL_VDSO_IS_OPTIONAL
}

fn install(
    visit: &mut Visit,
    object: &Object,
    kernel: &KernelVdso,
    slot: u64,
) -> Result<u64, Failure> {
    let vdso = visit.home;
    let address = visit.map(&object.places())?;
    let mut is_said = false;
    let outcome = (|| {
        for (word, value) in object.linked(address, kernel.functions(vdso)) {
            visit.memory.write_word(word, value)?;
        }
        visit.memory.write_word(slot, address)?;
        is_said = true;
        if !keeps_kernel(object) {
            let (start, length) = kernel.extent(vdso);
            visit.call(number::MUNMAP, [start, length, 0, 0, 0, 0])?;
        }
        Ok::<_, StubError>(())
    })();
    if outcome.is_err() {
        let unmapped = visit.call(number::MUNMAP, [address, object.length(), 0, 0, 0, 0]);
        whole(visit, unmapped.map(drop).map_err(Failure::from))?;
    }
    if outcome.is_err() && is_said {
        let unsaid = visit.memory.write_word(slot, vdso);
        whole(visit, unsaid.map_err(Failure::from))?;
    }
    outcome?;
    Ok(address)
}

/// Ends the process if what was to make it whole again failed.
fn whole(visit: &Visit, outcome: Result<(), Failure>) -> Result<(), Failure> {
    outcome.map_err(|_| {
        sys::kill(visit.pid);
        Failure::Ended
    })
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::link::Link;
    use crate::stop::Stop;
    use crate::sys::Resume;

    /// A process in the exec stop of cat(1), whose tracer is this thread.
    fn executed() -> Child {
        let mut child = Command::new("sh")
            .args(["-c", "read line; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let pid = child.id() as Pid;
        sys::seize(pid, libc::PTRACE_O_TRACEEXEC).expect("a child may be traced");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(b"\nas it was").expect("it listens");
        loop {
            let (_, status) = sys::wait(pid).expect("a child").expect("it is there");
            match Stop::decode(status) {
                Stop::Executed => return child,
                Stop::Ended => panic!("it ended"),
                _ => sys::resume(pid, Resume::Continue, 0).expect("it goes on"),
            }
        }
    }

    /// An object without links, and one whose only link is led to `link`.
    fn object(link: Option<&str>) -> Object {
        let mut object = Object::join(Vec::new()).expect("an object of nothing");
        object.links.extend(link.map(|name| Link {
            // The last word of the image's page.
            word: PAGE - 8,
            name: name.to_owned(),
            version: "LINUX_2.6".to_owned(),
            own: None,
        }));
        object
    }

    #[test]
    fn a_change_that_fails_at_its_end_leaves_the_program_as_it_was() {
        for link in [None, Some("__vdso_time")] {
            let child = executed();
            let pid = child.id() as Pid;
            let object = object(link);
            let memory = Memory::open(pid).expect("its memory");
            let (registers, _) = sys::registers(pid).expect("its registers");
            let stack_pointer = arch::stack_pointer(&registers);
            let found = auxiliary(&memory, stack_pointer).expect("its stack");
            let (slot, vdso) = found.vdso.expect("the kernel's vDSO");
            let kernel = KernelVdso::read(pid, &memory, vdso, &object.links).expect("readable");
            let blocked = sys::blocked(pid).expect("its signal mask");
            sys::set_blocked(pid, u64::MAX).expect("its signal mask");
            let mut visit = Visit {
                pid,
                memory,
                registers,
                home: vdso,
                scratch_end: stack_pointer - arch::RED_ZONE,
                blocked,
                signal: 0,
            };
            let maps = || fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps");
            let text = |visit: &Visit| {
                let mut bytes = vec![0; kernel.bytes().len()];
                visit.memory.read_exact(vdso, &mut bytes).expect("there");
                bytes
            };
            let before = maps();
            // Nothing is mapped in the first page.
            let failed = put(&mut visit, &object, &kernel, 8);
            assert!(
                matches!(failed, Err(Failure::Unserved(Unserved::Access(_)))),
                "{failed:?}"
            );
            assert_eq!(maps(), before);
            assert_eq!(text(&visit), kernel.bytes());
            // And it is fit for a change that succeeds.
            let slot = stack_pointer + slot as u64;
            let address = put(&mut visit, &object, &kernel, slot).expect("a change");
            assert_eq!(maps().contains("[vdso]"), link.is_some());
            if link.is_some() {
                assert_eq!(text(&visit), kernel.bytes());
            }
            let mut said = [0; 8];
            visit.memory.read_exact(slot, &mut said).expect("its stack");
            assert_eq!(u64::from_ne_bytes(said), address);
            arch::leave_syscall(&mut visit.registers);
            visit.restore().expect("its registers");
            sys::resume(pid, Resume::Detach, 0).expect("it goes on");
            let output = child.wait_with_output().expect("it ends");
            assert_eq!(output.stdout, b"as it was", "{output:?}");
        }
    }
}
