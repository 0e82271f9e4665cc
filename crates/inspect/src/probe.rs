//! Determines whether a call makes a system call, independently of its duration.
//!
//! A child process makes the call once, so that initialisation at the first call is done. It then
//! installs a seccomp filter that makes every system call but exit fail, and calls again. A call that still succeeds made no system call.
#![allow(
    unsafe_code,
    reason = "fork, prctl and wait have no safe form that returns what this module needs"
)]

use crate::call::Callee;
use libc::{c_int, c_long, sock_filter, sock_fprog};
use serde::Serialize;
use std::io;

/// How a call is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Served {
    /// Without a system call.
    Directly,
    /// By a system call, always or on the way.
    BySystemCall,
    /// Not at all: it fails, with system calls too.
    Refused,
    /// The caller is killed by this signal.
    Killed(i32),
    /// The vDSO has no such function.
    Absent,
    /// The filter could not be installed, for this `errno`.
    Unknown(i32),
}

/// The child's exit status.
mod status {
    pub(super) const DIRECTLY: i32 = 0;
    pub(super) const BY_SYSTEM_CALL: i32 = 1;
    pub(super) const REFUSED: i32 = 2;
    /// Plus the errno, which is at most 133 on every architecture but MIPS; a larger one is
    /// truncated.
    pub(super) const NO_FILTER: i32 = 3;
}

/// The errno of a forbidden system call: the highest that a kernel may return, which no
/// function handles.
const FORBIDDEN: u32 = 4095;

const fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Allows the system call with this number; any other continues at the next statement.
const fn allow(number: c_long) -> [sock_filter; 2] {
    [
        sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: number as u32,
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ]
}

const EXIT: [sock_filter; 2] = allow(libc::SYS_exit_group);

/// `struct seccomp_data` begins with the system call's number.
const FILTER: [sock_filter; 4] = [
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
    EXIT[0],
    EXIT[1],
    statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ERRNO | FORBIDDEN,
    ),
];

/// How `callee` is served.
///
/// # Errors
/// When no child can be made or waited for.
pub fn probe(callee: &Callee) -> io::Result<Served> {
    // SAFETY: the child runs `child`, which does only what may be done in a child of a program
    // with threads: calls of async-signal-safe functions and of the callee, and no allocation.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => child(callee),
        pid => wait(pid),
    }
}

fn child(callee: &Callee) -> ! {
    let status = if !callee.call() {
        status::REFUSED
    } else if let Err(errno) = forbid() {
        status::NO_FILTER + errno.min(250)
    } else if callee.call() {
        status::DIRECTLY
    } else {
        status::BY_SYSTEM_CALL
    };
    // SAFETY: ends the child without running the parent's exit handlers.
    unsafe { libc::_exit(status) }
}

/// Makes every system call of this process but exit fail, from now on.
fn forbid() -> Result<(), i32> {
    let program = sock_fprog {
        len: FILTER.len() as u16,
        filter: FILTER.as_ptr().cast_mut(),
    };
    // SAFETY: 1. prctl reads the program, which outlives the call, and doesn't write to it.
    // 2. errno is this thread's own.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) != 0
        {
            return Err(*libc::__errno_location());
        }
    }
    Ok(())
}

fn wait(pid: libc::pid_t) -> io::Result<Served> {
    let mut status: c_int = 0;
    loop {
        // SAFETY: the pointer is valid for one int; the child is this function's own.
        if unsafe { libc::waitpid(pid, &raw mut status, 0) } == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(if libc::WIFSIGNALED(status) {
        Served::Killed(libc::WTERMSIG(status))
    } else {
        match libc::WEXITSTATUS(status) {
            status::DIRECTLY => Served::Directly,
            status::BY_SYSTEM_CALL => Served::BySystemCall,
            status::REFUSED => Served::Refused,
            other => Served::Unknown(other - status::NO_FILTER),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::{ClockId, Function, Route};

    fn served(function: Function, route: Route) -> Served {
        Callee::resolve(function, route, None)
            .map_or(Served::Absent, |callee| probe(&callee).unwrap())
    }

    #[test]
    fn a_system_call_is_detected() {
        for &function in Function::ALL {
            if Callee::resolve(function, Route::SystemCall, None).is_some() {
                assert_eq!(
                    served(function, Route::SystemCall),
                    Served::BySystemCall,
                    "{function}"
                );
            }
        }
    }

    #[test]
    fn no_vdso_serves_cpu_time_clocks() {
        let function = Function::ClockGettime(ClockId::ProcessCputimeId);
        assert!(matches!(
            served(function, Route::Vdso),
            Served::BySystemCall | Served::Absent
        ));
    }

    #[test]
    fn a_coarse_clock_of_a_vdso_needs_no_system_call() {
        let function = Function::ClockGettime(ClockId::MonotonicCoarse);
        assert!(matches!(
            served(function, Route::Vdso),
            Served::Directly | Served::Absent
        ));
    }
}
