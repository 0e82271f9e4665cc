//! Changes to one thread, which stands for some microseconds meanwhile.

use std::ffi::c_int;

use vdsokit_waits::call::{Call, Restart};

use super::arch;
use super::process::{self, Blocked};
use crate::memory::Memory;
use crate::rseq;
use crate::sys::{self, Pid, Registers, Resume};

/// Has `thread`, which is in the call `own`, make another call at `address`, an instruction in the gate.
/// Its own call is then restarted, or ends as by any signal with a handler. Returns whether a time-out of
/// its own call counts anew. `None`: the thread has ended, or can't be stopped now.
///
/// Signals are blocked meanwhile. One that the call causes, that of a timer which is due at once,
/// then comes while the thread stands in its own call and ends that with EINTR. Were it handled on
/// the way back into the call, the call would not know of it.
pub(super) fn make(thread: Pid, own: &Blocked, address: u64, call: &Call) -> Option<bool> {
    let (registers, mut signal) = stop(thread)?;
    let mut stand = Stand {
        thread,
        registers,
        pointer: own.pointer,
    };
    let made = match signal {
        0 => stand.make(address, call, &mut signal),
        _ => None,
    };
    let _ = sys::resume(thread, Resume::Detach, signal);
    made
}

/// A thread that was stopped in a call, or as one returned.
pub(super) struct Stand {
    pub(super) thread: Pid,
    pub(super) registers: Registers,
    /// The instruction behind its call.
    pub(super) pointer: u64,
}

impl Stand {
    /// As [`make`]. `signal` becomes one that came meanwhile.
    pub(super) fn make(&mut self, address: u64, call: &Call, signal: &mut c_int) -> Option<bool> {
        let counts_anew = arch::was_interrupted(&self.registers, self.pointer)
            && arch::restart_unless_handled(&mut self.registers);
        make_stopped(self.thread, &self.registers, address, call, signal).map(|_| counts_anew)
    }
}

/// Has `thread`, which runs, make another call at `address`, an instruction in the gate, and go on where it
/// was. A restartable sequence is aborted, as by the kernel when a thread loses its CPU (kernel/rseq.c):
/// the call would end it unnoticed. `None`: the thread has ended, or is in a call of its own.
pub(super) fn make_between(thread: Pid, address: u64, call: &Call) -> Option<()> {
    let (registers, mut signal) = stop(thread)?;
    let made = match signal == 0 && arch::is_between_calls(&registers) {
        true => make_aborting(thread, registers, address, call, &mut signal),
        false => None,
    };
    let _ = sys::resume(thread, Resume::Detach, signal);
    made
}

/// Has a thread that stands between its calls make another, and go on where it was, or where the sequence that
/// it is in has it go on when it is aborted.
fn make_aborting(
    thread: Pid,
    mut registers: Registers,
    address: u64,
    call: &Call,
    signal: &mut c_int,
) -> Option<()> {
    let memory = Memory::open(thread).ok()?;
    let section = match sys::rseq(thread) {
        Some(rseq) => rseq::find(&registers, &memory, rseq).ok()?,
        None => None,
    };
    if let Some(section) = &section {
        section.leave(&mut registers);
    }
    make_stopped(thread, &registers, address, call, signal)?;
    match section {
        Some(section) => section.clear(&memory).ok(),
        None => Some(()),
    }
}

/// Has the call of `thread` behind which `pointer` is fail with `error`, unless it has ended.
pub(super) fn fail(thread: Pid, pointer: u64, error: c_int) {
    let Some((mut registers, signal)) = stop(thread) else {
        return;
    };
    if signal == 0 && arch::was_interrupted(&registers, pointer) {
        arch::set_error(&mut registers, pointer, error);
        // One that was killed reports that next.
        let _ = sys::set_registers(thread, &registers);
    }
    let _ = sys::resume(thread, Resume::Detach, signal);
}

/// Has `thread` make `blocked` once more, unless it has ended.
pub(super) fn make_again(thread: Pid, blocked: &Blocked) {
    let Some((mut registers, signal)) = stop(thread) else {
        return;
    };
    if signal == 0 && arch::was_interrupted(&registers, blocked.pointer) {
        arch::make_again(&mut registers, blocked.pointer, blocked.arguments[0]);
        // One that was killed reports that next.
        let _ = sys::set_registers(thread, &registers);
    }
    let _ = sys::resume(thread, Resume::Detach, signal);
}

/// Stops `thread` where it stands. Returns its registers and a signal to resume it with.
fn stop(thread: Pid) -> Option<(Registers, c_int)> {
    sys::seize(thread, 0).ok()?;
    sys::interrupt(thread).ok()?;
    process::stopped(thread)
}

/// `signal` becomes one that can't be blocked and came meanwhile.
fn make_stopped(
    thread: Pid,
    registers: &Registers,
    address: u64,
    call: &Call,
    signal: &mut c_int,
) -> Option<i64> {
    let blocked = sys::blocked(thread).ok()?;
    sys::set_blocked(thread, u64::MAX).ok()?;
    let mut calling = *registers;
    arch::restart(&mut calling, address, call, Restart::Always);
    let set = sys::set_registers(thread, &calling);
    let result = set.ok().and_then(|()| ended(thread, signal));
    // In that order: a signal that is pending meets the thread in its own call.
    sys::set_registers(thread, registers).ok()?;
    sys::set_blocked(thread, blocked).ok()?;
    result
}

/// Resumes `thread` up to the end of the call that it is about to make, and on to where the kernel
/// delivers signals and restarts calls, before any instruction of the program. Returns the call's
/// result.
fn ended(thread: Pid, signal: &mut c_int) -> Option<i64> {
    let mut result = None;
    // The call's begin and its end (ptrace(2), "Syscall-stops").
    for _ in 0..2 {
        loop {
            sys::resume(thread, Resume::Call, 0).ok()?;
            match process::stopped(thread)? {
                (registers, libc::SIGTRAP) => {
                    result = Some(arch::result(&registers));
                    break;
                }
                (_, 0) => {}
                (_, other) => *signal = other,
            }
        }
    }
    sys::interrupt(thread).ok()?;
    sys::resume(thread, Resume::Continue, 0).ok()?;
    process::stopped(thread)?;
    result
}
