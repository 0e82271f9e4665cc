//! How the process beside the program gets hold of it, and lets go of what it inherited.

use super::Server;
use crate::channel::Channel;
use crate::error::Error;
use crate::supervisor::process;
use crate::{proc, sys};
use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Gets hold of the target and of its filter's listener. `options` are the ptrace(2) options of a tracer,
/// `exec` those of a supervisor.
pub(super) fn meet(
    target: sys::Pid,
    options: c_int,
    exec: Option<c_int>,
    is_filtered: bool,
    channel: &mut Channel,
) -> io::Result<Server> {
    if exec.is_none() {
        seize(target, options, channel)?;
    }
    let listener = match is_filtered {
        true => channel.receive_descriptor()?,
        false => None,
    };
    match (listener, exec) {
        (Some(listener), Some(exec)) => {
            let is_seized = seize_for_exec(target, exec, channel)?;
            Ok(Server::Supervisor(listener, is_seized))
        }
        (listener, _) => {
            if exec.is_some() {
                seize(target, options, channel)?;
            }
            Ok(Server::Tracer(listener))
        }
    }
}

/// Lets go of all that the target's parent or terminal could miss. Of the descriptors `kept` stay,
/// and standard error.
pub(super) fn leave(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    rustix::process::setpgid(None, None)?;
    process::leave_terminal();
    forget_stdio()?;
    close_all_but(kept)
}

/// Waits until `server` traces this process, and permits that if the kernel asks for it.
pub(super) fn await_seizure(server: sys::Pid, channel: &mut Channel) -> Result<(), Error> {
    let failed = || Error::system("start the tracer");
    let mut outcome = channel.receive().map_err(failed())?;
    if outcome != 0 && sys::allow_tracer(server) {
        channel.send(0).map_err(failed())?;
        outcome = channel.receive().map_err(failed())?;
    }
    match outcome {
        0 => Ok(()),
        error => Err(refused(error)),
    }
}

/// The error of a process that may not be traced.
pub(super) fn refused(error: i32) -> Error {
    Error::Trace {
        pid: std::process::id(),
        source: io::Error::from_raw_os_error(error),
    }
}

/// Becomes the target's tracer, once the target allows that.
fn seize(target: sys::Pid, options: c_int, channel: &mut Channel) -> io::Result<()> {
    while let Err(refusal) = sys::seize(target, options) {
        channel.send(refusal.raw_os_error().unwrap_or(libc::EPERM))?;
        // It allows what it can, or ends.
        channel.receive()?;
    }
    channel.send(0)
}

/// Has the target stop when its program is there, or tells it that it may not be traced.
/// `false`: another process traces it.
fn seize_for_exec(target: sys::Pid, options: c_int, channel: &mut Channel) -> io::Result<bool> {
    match sys::seize(target, options) {
        Ok(()) => Ok(true),
        Err(refusal) if proc::tracer(target).is_none() => {
            channel.send(refusal.raw_os_error().unwrap_or(libc::EPERM))?;
            Err(refusal)
        }
        Err(_) => Ok(false),
    }
}

/// Makes standard input and output /dev/null.
fn forget_stdio() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

/// Lets go of standard error, for whatever waits to see it closed, after [`forget_stdio`].
pub(crate) fn forget_stderr() {
    let _ = rustix::stdio::dup2_stderr(rustix::stdio::stdin());
}

/// Closes every descriptor but the standard ones and `kept`: a pipe that stays open here would
/// keep its reader waiting for the end.
pub(crate) fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().map(|kept| kept.as_raw_fd() as u32).collect();
    kept.sort_unstable();
    let mut from = 3;
    for kept in kept {
        sys::close_range(from, kept.saturating_sub(1))?;
        from = from.max(kept + 1);
    }
    sys::close_range(from, u32::MAX)
}
