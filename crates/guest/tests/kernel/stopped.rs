//! A process that a debugger stops at each of its instructions.
#![allow(unsafe_code, reason = "a process is forked and traced")]

use std::ptr;

use vdsokit_test_support::abort_on_panic;

/// Runs `run` in a child, and `stopped` here while the child is stopped behind each instruction.
/// Returns how many there were. The child must not allocate.
pub(crate) fn at_each_instruction(run: impl FnOnce(), mut stopped: impl FnMut()) -> u64 {
    // SAFETY: the child runs `run`, which does not allocate, and ends.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: neither call has a requirement here.
        unsafe {
            libc::ptrace(libc::PTRACE_TRACEME);
            libc::raise(libc::SIGSTOP);
        }
        abort_on_panic(run);
        // SAFETY: it does not return.
        unsafe { libc::_exit(0) }
    }
    let request = |request, data: i32| {
        // SAFETY: the child is stopped and traced by this thread; no request here has a pointer.
        let result = unsafe { libc::ptrace(request, child, ptr::null_mut::<u8>(), data) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    };
    let wait = || {
        let mut status = 0;
        // SAFETY: a pointer to a local variable.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        status
    };
    assert!(libc::WIFSTOPPED(wait()));
    request(libc::PTRACE_SETOPTIONS, libc::PTRACE_O_EXITKILL);
    let mut instructions = 0;
    loop {
        request(libc::PTRACE_SINGLESTEP, 0);
        let status = wait();
        if libc::WIFEXITED(status) {
            assert_eq!(libc::WEXITSTATUS(status), 0);
            return instructions;
        }
        assert!(
            libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGTRAP,
            "{status:#x}"
        );
        instructions += 1;
        stopped();
    }
}
