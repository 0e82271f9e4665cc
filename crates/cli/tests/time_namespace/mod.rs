//! A time namespace for programs that a test starts: a shell of busybox has no way into one.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes one for children to come, with these offsets (time_namespaces(7)).
#[allow(
    unsafe_code,
    reason = "unshare has no safe form; this flag changes no memory and no descriptor"
)]
pub(crate) fn for_children(offsets: &str) {
    // SAFETY: only children to come are put into the new namespace.
    let result = unsafe { libc::unshare(libc::CLONE_NEWTIME) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    // Not of /proc/self, which is the main thread's: tests run in threads of their own.
    let thread = rustix::thread::gettid().as_raw_nonzero();
    std::fs::write(format!("/proc/{thread}/timens_offsets"), offsets).unwrap();
}

/// Has the program started by fork: Linux 6.1 refuses vfork, the faster way, after
/// unshare(CLONE_NEWTIME), with EINVAL.
#[allow(
    unsafe_code,
    reason = "a hook before exec has no safe form; any hook makes std fork"
)]
pub(crate) fn forked(command: &mut Command) -> &mut Command {
    // SAFETY: the hook does nothing.
    unsafe { command.pre_exec(|| Ok(())) }
}
