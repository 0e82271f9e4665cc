//! Processes that begin as a copy of this one.
#![allow(
    unsafe_code,
    reason = "fork(2) and clone(2) exist only as foreign functions"
)]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use crate::sys::{self, Pid};

/// Bytes of the stack of the process that [`orphan`] makes: as many as the first thread of a
/// program has by default.
const STACK: usize = 8 << 20;
/// Bytes of the inaccessible guard area below that stack.
const GUARD: usize = 64 << 10;

/// Runs `main` in a process whose parent is the init process (or the nearest subreaper), with a
/// copy of the memory of this one. Returns its id, and what `meanwhile` returns, which runs in this
/// process while the copy is made.
///
/// `meanwhile` is the place for a system call that takes as long as a copy. It must not change memory that
/// `main` reads, and neither allocate nor lock: `main` would find the allocator in between two states, or
/// the lock taken for ever. The intermediate process has the same `errno`: if both the copy and a system call
/// of `meanwhile` fail, `meanwhile` may read the error number of the copy.
///
/// Fails when this process has more than one thread: the copy would have only the calling
/// thread, and locks that the other threads hold would stay locked for ever.
pub(crate) fn orphan<R>(
    main: impl FnOnce(),
    meanwhile: impl FnOnce() -> R,
) -> io::Result<(Pid, R)> {
    struct Between<F> {
        main: Option<F>,
        /// The orphan's id, or minus the error.
        result: Pid,
    }

    /// Runs in the intermediate process, on a stack of its own and in the memory of the first
    /// process.
    extern "C" fn between<F: FnOnce()>(argument: *mut c_void) -> c_int {
        // SAFETY: `argument` points to the `Between` below. It lives, and no other reference to it is
        // in use, as its owner waits for the end of this process before it looks at it again.
        let between = unsafe { &mut *argument.cast::<Between<F>>() };
        match copy(libc::SIGCHLD) {
            Ok(0) => {
                if let Some(main) = between.main.take() {
                    main();
                }
            }
            Ok(pid) => between.result = pid,
            Err(error) => between.result = -error.raw_os_error().unwrap_or(libc::EAGAIN),
        }
        exit_now(0)
    }

    if !has_one_thread()? {
        return Err(io::Error::other("this process has more than one thread"));
    }
    // A second fork would copy the page tables once more, which costs more than the rest of a
    // delivery: the intermediate process borrows the memory instead, as vfork(2) does. Unlike there,
    // this process is not suspended: the orphan would begin on its CPU, and it would be woken there.
    let mut argument = Between {
        main: Some(main),
        result: -libc::EAGAIN,
    };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    // SAFETY:
    // 1. The mapping is new and is never unmapped; its lower end is made inaccessible and the
    //    stack begins at its upper end, which is aligned to a page.
    // 2. `argument` is not touched before the process between has ended, and outlives it; the orphan has
    //    copies of both.
    // 3. The process between has the thread-local memory of this thread, but changes none of it but
    //    `errno`: it makes two system calls.
    let pid = unsafe {
        let stack = libc::mmap(
            ptr::null_mut(),
            GUARD + STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        );
        if stack == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        libc::mprotect(stack, GUARD, libc::PROT_NONE);
        libc::clone(
            between_of(&argument),
            stack.byte_add(GUARD + STACK),
            // No exit signal: a SIGCHLD could stay pending across the exec that follows.
            libc::CLONE_VM,
            ptr::from_mut(&mut argument).cast(),
        )
    };
    // The stack stays mapped until this process execs or ends: unmapping it would need a TLB
    // shootdown on the CPU that ran the intermediate process.
    if pid == -1 {
        return Err(io::Error::last_os_error());
    }
    let result = meanwhile();
    sys::wait(pid)?;
    return match argument.result {
        pid if pid > 0 => Ok((pid, result)),
        error => Err(io::Error::from_raw_os_error(-error)),
    };

    /// Names the instance of `between` for a closure whose type has no name.
    fn between_of<F: FnOnce()>(_: &Between<F>) -> extern "C" fn(*mut c_void) -> c_int {
        between::<F>
    }
}

/// Runs `main` in a child that no wait(2) shows but those with `__WALL` or `__WCLONE`: it sends
/// no signal when it ends (clone(2), "The child termination signal"). Returns its id.
///
/// With `sibling` it is a child of this process's parent, in the same way.
///
/// The caller has one thread, as the child has only the calling one.
pub(crate) fn hidden_child(sibling: bool, main: impl FnOnce()) -> io::Result<Pid> {
    let flags = if sibling { libc::CLONE_PARENT } else { 0 };
    match copy(flags)? {
        0 => {
            main();
            exit_now(0)
        }
        pid => Ok(pid),
    }
}

/// fork(2) with `flags` of clone(2), which has the signal of the child's end among them. Neither handlers of
/// pthread_atfork(3) run nor locks are taken: the caller has one thread, and no lock.
fn copy(flags: c_int) -> io::Result<Pid> {
    // SAFETY:
    // 1. Without CLONE_VM and with a null stack the child has a copy of this memory and goes on
    //    here, as after fork(2).
    // 2. The caller vouches for one thread, so no lock is held by a thread that is not copied.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid as Pid),
    }
}

/// Runs `main` in a child with a copy of the memory of this process. What `main` returns is the
/// child's exit status. Returns the child's id, and what `prepare` returns, which runs in this process
/// once there is a child.
///
/// Signals to this process that arrive after the fork are delivered when `prepare` has returned, to the
/// handlers that it has installed. The child has neither those handlers nor the signals.
///
/// Fails when this process has more than one thread, as [`orphan`] does.
pub(crate) fn child<P>(
    main: impl FnOnce() -> u8,
    prepare: impl FnOnce() -> P,
) -> io::Result<(Pid, P)> {
    if !has_one_thread()? {
        return Err(io::Error::other("this process has more than one thread"));
    }
    let mask = block_signals()?;
    // SAFETY: this process has one thread, so the copy lacks none that could hold a lock.
    let started = match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            set_signal_mask(&mask);
            exit_now(main().into())
        }
        pid => Ok((pid, prepare())),
    };
    set_signal_mask(&mask);
    started
}

/// Blocks all signals for this thread, and returns the mask from before.
fn block_signals() -> io::Result<libc::sigset_t> {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY:
    // 1. sigfillset(3) initialises the first set, which pthread_sigmask(3) then reads.
    // 2. pthread_sigmask(3) initialises the second one if it succeeds, and nothing reads it otherwise.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        match libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) {
            0 => Ok(before.assume_init()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Sets the signal mask of this thread.
fn set_signal_mask(mask: &libc::sigset_t) {
    // SAFETY: pthread_sigmask(3) reads the set, and writes none through a null pointer. It can only fail
    // for another first argument.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
}

/// Whether this process has one thread only.
fn has_one_thread() -> io::Result<bool> {
    // With this flag unshare(2) does nothing but check that the process has one thread.
    // SAFETY: unshare(2) takes a number and touches no memory.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(true);
    }
    // More than one thread, or the call is forbidden, as in some containers.
    Ok(std::fs::read_dir("/proc/self/task")?.count() == 1)
}

/// Ends the process at once, without the handlers that `exit(3)` runs.
fn exit_now(status: c_int) -> ! {
    // SAFETY: _exit(2) takes a number, never returns and touches no memory.
    unsafe { libc::_exit(status) }
}
