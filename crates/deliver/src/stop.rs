//! The states of a tracee, and what the tracer answers to each.
//!
//! A traced thread runs until the kernel stops it and says why in a wait status. That
//! status is all that the answer depends on; the tracer keeps no table of threads, but only of
//! programs that are to put the object into themselves, in case one can't, and of threads that
//! wait for a child of theirs to begin ([`crate::tracer`]):
//!
//! ```text
//!                      ┌────────────────────── running ◄─────────────────────┐
//!   auto-attached      │ fork, vfork, clone, exec, a signal                  │
//!   child ──► stopped ─┤                                                     │
//!   (Interrupted)      ├─ Forked, Interrupted, Signal(s) ── Continue(s) ─────┤
//!                      ├─ Vforked ───────────────────────── Hold ────────────┤
//!                      ├─ Executed ──────────────────────── Deliver ─────────┤
//!                      ├─ Group ── Listen ──► stopped, hears SIGCONT: ───────┘
//!                      │                      reports Interrupted
//!                      └─ Ended ─► gone
//! ```
//!
//! Two things follow from there being no table. A child may report its first stop before
//! its parent reports the fork: both answers are the same in either order. And a thread
//! that is not the leader may exec: its own id vanishes without a word (ptrace(2),
//! "execve(2) under ptrace"), which is of no account to a tracer that never noted it.

use std::ffi::c_int;

/// Why the kernel reports a tracee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It exited or was killed: there is nothing left to resume.
    Ended,
    /// It is at the first instruction of a program that it just executed.
    Executed,
    /// It just made a child or a thread, which the kernel has attached to us.
    Forked,
    /// The same by vfork(2): it waits until that child has executed a program or ended.
    Vforked,
    /// Group-stop: its whole process stopped, as after `SIGSTOP` or `SIGTSTP`.
    Group,
    /// The first stop of a child attached by the kernel, the answer to `PTRACE_INTERRUPT`,
    /// or the end of a group-stop that we listened to: all three are the same trap.
    Interrupted,
    /// This signal is about to be delivered to it.
    Signal(c_int),
}

/// What the tracer does about a [`Stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Resume, with this signal delivered (0: none).
    Continue(c_int),
    /// Leave it stopped but attentive to `SIGCONT`.
    Listen,
    /// Leave it stopped until its child has begun: it would only wake to wait for that.
    Hold,
    /// Put the vDSO into the new program, then resume.
    Deliver,
    /// Forget it.
    Forget,
}

impl Stop {
    /// Reads a wait status of `waitpid(2)` for a tracee attached with `PTRACE_SEIZE`.
    pub(crate) fn decode(status: c_int) -> Stop {
        if !libc::WIFSTOPPED(status) {
            return Stop::Ended;
        }
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            libc::PTRACE_EVENT_EXEC => Stop::Executed,
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_CLONE => Stop::Forked,
            libc::PTRACE_EVENT_VFORK => Stop::Vforked,
            libc::PTRACE_EVENT_STOP => match signal {
                libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Stop::Group,
                _ => Stop::Interrupted,
            },
            _ => Stop::Signal(signal),
        }
    }

    pub(crate) fn answer(self) -> Answer {
        match self {
            Stop::Ended => Answer::Forget,
            Stop::Executed => Answer::Deliver,
            Stop::Group => Answer::Listen,
            Stop::Vforked => Answer::Hold,
            Stop::Forked | Stop::Interrupted => Answer::Continue(0),
            Stop::Signal(signal) => Answer::Continue(signal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stopped status as the kernel composes it (wait.h: `W_STOPCODE`).
    fn stopped(signal: c_int, event: c_int) -> c_int {
        (event << 16) | (signal << 8) | 0x7f
    }

    #[test]
    fn every_status_has_its_answer() {
        let table = [
            (0, Answer::Forget),
            (3 << 8, Answer::Forget),
            (libc::SIGKILL, Answer::Forget),
            (libc::SIGSEGV | 0x80, Answer::Forget),
            (
                stopped(libc::SIGTRAP, libc::PTRACE_EVENT_EXEC),
                Answer::Deliver,
            ),
            (
                stopped(libc::SIGTRAP, libc::PTRACE_EVENT_FORK),
                Answer::Continue(0),
            ),
            (
                stopped(libc::SIGTRAP, libc::PTRACE_EVENT_VFORK),
                Answer::Hold,
            ),
            (
                stopped(libc::SIGTRAP, libc::PTRACE_EVENT_CLONE),
                Answer::Continue(0),
            ),
            (
                stopped(libc::SIGTRAP, libc::PTRACE_EVENT_STOP),
                Answer::Continue(0),
            ),
            (
                stopped(libc::SIGSTOP, libc::PTRACE_EVENT_STOP),
                Answer::Listen,
            ),
            (
                stopped(libc::SIGTSTP, libc::PTRACE_EVENT_STOP),
                Answer::Listen,
            ),
            (
                stopped(libc::SIGTTIN, libc::PTRACE_EVENT_STOP),
                Answer::Listen,
            ),
            (
                stopped(libc::SIGTTOU, libc::PTRACE_EVENT_STOP),
                Answer::Listen,
            ),
        ];
        for (status, answer) in table {
            assert_eq!(Stop::decode(status).answer(), answer, "status {status:#x}");
        }
    }

    #[test]
    fn a_signal_reaches_the_program_and_is_never_swallowed() {
        for signal in 1..=64 {
            let stop = Stop::decode(stopped(signal, 0));
            assert_eq!(stop, Stop::Signal(signal));
            assert_eq!(stop.answer(), Answer::Continue(signal));
        }
    }
}
