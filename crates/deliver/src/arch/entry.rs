//! Leading a stopped thread to the entry of the call that it restarts, where the kernel sets up a restart
//! before a tracer can see the thread.
//!
//! The instruction pointer was set back to the call already. Whether the kernel will have the thread call
//! restart_syscall(2) instead, because it knows the rest of a time-out, shows only at the entry of that
//! call, and is lost if the thread goes on elsewhere: a sleep would begin anew.

use super::is_call;
use crate::error::Unserved;
use crate::stop::Stop;
use crate::sys::{self, Pid, Registers, Resume};
use crate::visit::Failure;

/// A stop at the entry or the exit of a call, in a thread with the option PTRACE_O_TRACESYSGOOD.
const CALL_STOP: i32 = libc::SIGTRAP | 0x80;

/// Leads a thread to the entry of the call before which it stands: [`Resume::Call`], or one that skips
/// the call. Returns the registers that it had before, and whether it stood before a call at all.
pub(crate) fn lead(pid: Pid, how: Resume) -> Result<(Registers, bool), Failure> {
    loop {
        let (registers, _) = sys::registers(pid)?;
        if !is_call(pid, registers.pc) {
            return Ok((registers, false));
        }
        sys::resume(pid, how, 0)?;
        match next_stop(pid)? {
            Stop::Signal(CALL_STOP) => return Ok((registers, true)),
            Stop::Signal(signal) => {
                // It comes first, and the interruption stops the thread behind its delivery.
                sys::interrupt(pid)?;
                deliver(pid, signal)?;
            }
            // The interruption of a group-stop by SIGCONT, or a stop that it ends.
            _ => {}
        }
    }
}

/// Has a thread at the entry of a call go on to the exit of that.
pub(crate) fn leave(pid: Pid) -> Result<(), Failure> {
    sys::resume(pid, Resume::Call, 0)?;
    match next_stop(pid)? {
        Stop::Signal(CALL_STOP) => Ok(()),
        _ => Err(Unserved::Busy.into()),
    }
}

/// Resumes an interrupted thread with `signal`, up to the stop that the interruption makes.
fn deliver(pid: Pid, mut signal: i32) -> Result<(), Failure> {
    loop {
        sys::resume(pid, Resume::Continue, signal)?;
        match next_stop(pid)? {
            Stop::Signal(another) => signal = another,
            Stop::Interrupted => return Ok(()),
            _ => signal = 0,
        }
    }
}

/// Waits for a stop.
fn next_stop(pid: Pid) -> Result<Stop, Failure> {
    let Some((_, status)) = sys::wait(pid)? else {
        return Err(Failure::Ended);
    };
    match Stop::decode(status) {
        Stop::Ended => Err(Failure::Ended),
        Stop::Group => Err(Unserved::Stopped.into()),
        stop => Ok(stop),
    }
}
