//! The system calls that rustix leaves out on purpose: ptrace, wait for tracees, fork and
//! exec. Every function here is safe to call; what it can break is another process, not
//! this one's memory.
#![allow(
    unsafe_code,
    reason = "ptrace(2), waitpid(2) with __WALL, fork(2) and execvp(3) exist only as foreign functions"
)]

use std::ffi::{CString, c_int, c_long, c_ulong, c_void};
use std::io;
use std::ptr;
use std::time::{Duration, Instant};

use crate::program::{NOTE, Note};

/// A thread id or a process id, as the kernel's ptrace interface mixes them.
pub(crate) type Pid = libc::pid_t;

/// The registers of a stopped thread, as `NT_PRSTATUS` has them.
pub(crate) type Registers = libc::user_regs_struct;

/// A set of signals as the kernel has it: bit n-1 stands for signal n.
pub(crate) type SignalSet = u64;

/// Every signal but the two that the end of the stub is forced on a thread with. Were they
/// blocked, the force would take their handlers away (kernel/signal.c,
/// `force_sig_info_to_task`).
pub(crate) const ALL_BUT_TRAPS: SignalSet = !(1 << (libc::SIGTRAP - 1) | 1 << (libc::SIGSEGV - 1));

/// How a stopped thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// `PTRACE_CONT`.
    Continue,
    /// `PTRACE_SINGLESTEP`.
    Step,
    /// `PTRACE_DETACH`.
    Detach,
}

fn ptrace(request: libc::c_uint, pid: Pid, address: usize, data: usize) -> io::Result<c_long> {
    // SAFETY: every caller in this module passes as `address` and `data` either plain
    // numbers or pointers to live objects of the size that the request reads or writes;
    // memory of this process is touched in no other way (ptrace(2)).
    let result = unsafe { libc::ptrace(request, pid, address as *mut c_void, data as *mut c_void) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

// The section holds notes, and this is one, as long and as aligned as they are.
#[unsafe(link_section = ".note.vdsokit")]
#[used]
static TRACES_OTHERS: Note = NOTE;

/// Becomes the tracer of `pid` without stopping it.
pub(crate) fn seize(pid: Pid, options: c_int) -> io::Result<()> {
    // Whoever has this function has the note.
    std::hint::black_box(&TRACES_OTHERS);
    ptrace(libc::PTRACE_SEIZE, pid, 0, options as usize).map(drop)
}

/// The child that a thread in the stop which reports one has made.
pub(crate) fn child_of(pid: Pid) -> io::Result<Pid> {
    let mut message: c_ulong = 0;
    let request = libc::PTRACE_GETEVENTMSG;
    ptrace(request, pid, 0, ptr::from_mut(&mut message) as usize)?;
    Ok(message as Pid)
}

/// Whether two processes are known to have one memory (kcmp(2)).
pub(crate) fn share_memory(first: Pid, second: Pid) -> bool {
    /// include/uapi/linux/kcmp.h
    const KCMP_VM: c_int = 1;
    // SAFETY: takes numbers and touches no memory.
    unsafe { libc::syscall(libc::SYS_kcmp, first, second, KCMP_VM, 0, 0) == 0 }
}

pub(crate) fn set_options(pid: Pid, options: c_int) -> io::Result<()> {
    ptrace(libc::PTRACE_SETOPTIONS, pid, 0, options as usize).map(drop)
}

/// Stops a seized thread; it reports that in its own time.
pub(crate) fn interrupt(pid: Pid) -> io::Result<()> {
    ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0).map(drop)
}

/// Whether a process ignores one of [`ALL_BUT_TRAPS`]' exceptions: forced on it, the signal
/// would be ignored no more.
pub(crate) fn ignores_trap(pid: Pid) -> io::Result<bool> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|set| SignalSet::from_str_radix(set.trim(), 16).ok());
    Ok(ignored.is_none_or(|set| set & !ALL_BUT_TRAPS != 0))
}

/// Lets a thread in a group-stop stay stopped and hear of `SIGCONT`.
pub(crate) fn listen(pid: Pid) -> io::Result<()> {
    ptrace(libc::PTRACE_LISTEN, pid, 0, 0).map(drop)
}

/// Lets a stopped thread go on, with `signal` delivered to it (0: none).
pub(crate) fn resume(pid: Pid, how: Resume, signal: c_int) -> io::Result<()> {
    let request = match how {
        Resume::Continue => libc::PTRACE_CONT,
        Resume::Step => libc::PTRACE_SINGLESTEP,
        Resume::Detach => libc::PTRACE_DETACH,
    };
    ptrace(request, pid, 0, signal as usize).map(drop)
}

/// Kills a tracee. One that is gone needs no killing.
pub(crate) fn kill(pid: Pid) {
    let Some(process) = rustix::process::Pid::from_raw(pid) else {
        return;
    };
    let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
}

/// The registers, and how many bytes of them the kernel gave: fewer than all for a
/// program of the compatibility (32-bit) kind.
pub(crate) fn registers(pid: Pid) -> io::Result<(Registers, usize)> {
    // SAFETY: user_regs_struct is a C structure of integers; all zeros is a value of it.
    let mut registers: Registers = unsafe { std::mem::zeroed() };
    let mut vector = libc::iovec {
        iov_base: ptr::from_mut(&mut registers).cast(),
        iov_len: size_of::<Registers>(),
    };
    ptrace(
        libc::PTRACE_GETREGSET,
        pid,
        libc::NT_PRSTATUS as usize,
        ptr::from_mut(&mut vector) as usize,
    )?;
    Ok((registers, vector.iov_len))
}

pub(crate) fn set_registers(pid: Pid, registers: &Registers) -> io::Result<()> {
    let mut vector = libc::iovec {
        iov_base: ptr::from_ref(registers).cast_mut().cast(),
        iov_len: size_of::<Registers>(),
    };
    ptrace(
        libc::PTRACE_SETREGSET,
        pid,
        libc::NT_PRSTATUS as usize,
        ptr::from_mut(&mut vector) as usize,
    )
    .map(drop)
}

/// The signals that a stopped thread blocks.
pub(crate) fn blocked(pid: Pid) -> io::Result<SignalSet> {
    let mut set: SignalSet = 0;
    ptrace(
        libc::PTRACE_GETSIGMASK,
        pid,
        size_of::<SignalSet>(),
        ptr::from_mut(&mut set) as usize,
    )?;
    Ok(set)
}

pub(crate) fn set_blocked(pid: Pid, set: SignalSet) -> io::Result<()> {
    ptrace(
        libc::PTRACE_SETSIGMASK,
        pid,
        size_of::<SignalSet>(),
        ptr::from_ref(&set) as usize,
    )
    .map(drop)
}

/// Waits for a state change of `pid`, or with `-1` of any child or tracee of *this thread*
/// (`__WNOTHREAD`: another thread's children are not ours to reap).
///
/// `None`: there is no such child or tracee any more.
pub(crate) fn wait(pid: Pid) -> io::Result<Option<(Pid, c_int)>> {
    loop {
        match look(pid, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
            other => return other,
        }
    }
}

/// A state change of `pid`, or with `-1` of any child or tracee of this thread, that is there to
/// be taken now.
pub(crate) fn poll(pid: Pid) -> io::Result<Option<(Pid, c_int)>> {
    look(pid, libc::WNOHANG)
}

fn look(pid: Pid, flags: c_int) -> io::Result<Option<(Pid, c_int)>> {
    let mut status = 0;
    let flags = flags | libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: `status` lives and is an int, as waitpid(2) asks.
    match unsafe { libc::waitpid(pid, &mut status, flags) } {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        got => Ok(Some((got, status))),
    }
}

/// Waits for a state change of `pid` until `deadline`. `None`: there was none.
pub(crate) fn wait_until(pid: Pid, deadline: Instant) -> io::Result<Option<c_int>> {
    loop {
        match poll(pid)? {
            Some((_, status)) => return Ok(Some(status)),
            None if Instant::now() >= deadline => return Ok(None),
            // Nothing wakes a thread both at a stop of a tracee and at a time: look often.
            None => std::thread::sleep(Duration::from_micros(50)),
        }
    }
}

/// The stack of the process that [`orphan`] makes: that of a program's first thread.
const STACK: usize = 8 << 20;
/// What lies below it and can't be touched.
const GUARD: usize = 64 << 10;

/// Runs `main` in a process that is nobody's child but the init process's (or the nearest
/// subreaper's), with a copy of this one's memory, and says its id.
///
/// Refuses when this process has more than one thread: the copy would have only this one,
/// and the others' locks for ever.
pub(crate) fn orphan(main: impl FnOnce()) -> io::Result<Pid> {
    struct Between<F> {
        main: Option<F>,
        /// The orphan's id, or minus the error.
        result: Pid,
    }

    /// Runs in the process between, on a stack of its own and in the memory of the first,
    /// which the kernel holds until this one ends.
    extern "C" fn between<F: FnOnce()>(argument: *mut c_void) -> c_int {
        // SAFETY: `argument` is the `Between` below: it lives, as its owner waits, and nobody
        // else uses it meanwhile.
        let between = unsafe { &mut *argument.cast::<Between<F>>() };
        // SAFETY: the memory is that of a process with one thread, which the kernel holds at a
        // system call: no lock is held by a thread that the copy doesn't have.
        match unsafe { libc::fork() } {
            -1 => {
                between.result = -io::Error::last_os_error()
                    .raw_os_error()
                    .unwrap_or(libc::EAGAIN)
            }
            0 => {
                if let Some(main) = between.main.take() {
                    main();
                }
            }
            pid => between.result = pid,
        }
        exit_now(0)
    }

    if !has_one_thread()? {
        return Err(io::Error::other("this process has more than one thread"));
    }
    // A fork in the middle, and its copy of the page tables, would cost more than all the rest
    // of a delivery: the process between borrows the memory, as vfork(2) does.
    let mut argument = Between {
        main: Some(main),
        result: -libc::EAGAIN,
    };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    // SAFETY:
    // 1. The mapping is new and is never unmapped; its lower end is made inaccessible and the
    //    stack begins at its upper end, which is aligned to a page.
    // 2. With CLONE_VFORK this thread goes on when the process between has ended, so the
    //    stack and `argument` outlive their use; the orphan has copies of both.
    unsafe {
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
        let pid = libc::clone(
            between_of(&argument),
            stack.byte_add(GUARD + STACK),
            // No SIGCHLD: it could outlive the exec that follows.
            libc::CLONE_VM | libc::CLONE_VFORK,
            ptr::from_mut(&mut argument).cast(),
        );
        let outcome = if pid == -1 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        };
        // The stack stays until this process becomes the program, or ends as that failed: to unmap
        // it would have to be told to the CPU on which the process between has run.
        outcome?;
        wait(pid)?;
    }
    return match argument.result {
        pid if pid > 0 => Ok(pid),
        error => Err(io::Error::from_raw_os_error(-error)),
    };

    /// Names the instance of `between` for a closure whose type has no name.
    fn between_of<F: FnOnce()>(_: &Between<F>) -> extern "C" fn(*mut c_void) -> c_int {
        between::<F>
    }
}

/// Whether this process has one thread only.
fn has_one_thread() -> io::Result<bool> {
    // With this flag nothing is done, but for the question whether it could be (unshare(2)).
    // SAFETY: takes a number and touches no memory.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(true);
    }
    // It says no, or that it may not be asked, as in some containers.
    Ok(std::fs::read_dir("/proc/self/task")?.count() == 1)
}

/// Ends the process at once, without running what `exit(3)` runs.
fn exit_now(status: c_int) -> ! {
    // SAFETY: _exit(2) never returns and touches no memory.
    unsafe { libc::_exit(status) }
}

/// Lets `tracer` trace this process where Yama restricts tracing to ancestors
/// (Documentation/admin-guide/LSM/Yama.rst). Without Yama there is nothing to allow, and `false`.
pub(crate) fn allow_tracer(tracer: Pid) -> bool {
    // SAFETY: PR_SET_PTRACER takes a number and touches no memory of this process.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, tracer as c_ulong, 0, 0, 0) == 0 }
}

/// `execvp(3)`: returns only when it failed.
///
/// The program starts with `SIGPIPE` ignored or at its default; signal mask and all else stay as
/// this process has them.
pub(crate) fn execute(
    program: &CString,
    arguments: &[CString],
    ignores_sigpipe: bool,
) -> io::Error {
    let mut pointers: Vec<_> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(ptr::null());
    let handler = match ignores_sigpipe {
        true => libc::SIG_IGN,
        false => libc::SIG_DFL,
    };
    // SAFETY:
    // 1. Both of these and the handler that signal(2) returned before are valid handlers.
    // 2. `pointers` is an array of NUL-terminated strings ended by a null pointer, and
    //    both it and the strings live until execvp returns.
    unsafe {
        let before = libc::signal(libc::SIGPIPE, handler);
        libc::execvp(program.as_ptr(), pointers.as_ptr());
        let error = io::Error::last_os_error();
        libc::signal(libc::SIGPIPE, before);
        error
    }
}

/// Closes the descriptors from `first` to `last`, both included; none where `last` is less.
pub(crate) fn close_range(first: u32, last: u32) -> io::Result<()> {
    if last < first {
        return Ok(());
    }
    // SAFETY: touches no memory. Descriptors that objects of this process own are closed
    // only in the tracer, which has been forked for its own purpose, is done with them and
    // ends with exit_now, so no destructor closes them again.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A file mapped for reading.
pub(crate) struct Mapping {
    address: *mut c_void,
    length: usize,
}

impl Mapping {
    /// Maps an executable that some process runs: the kernel lets nobody write to it or
    /// truncate it meanwhile (ETXTBSY). On a network file system another machine may, and
    /// cutting it short ends the process that looks, by SIGBUS.
    pub(crate) fn of(file: &std::fs::File) -> io::Result<Mapping> {
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        // SAFETY: a new private mapping at an address of the kernel's choice aliases nothing.
        let address = unsafe {
            let fd = std::os::fd::AsRawFd::as_raw_fd(file);
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_PRIVATE,
                fd,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { address, length })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY:
        // 1. `address` is a readable mapping of `length` bytes for as long as `self` lives.
        // 2. Nobody writes to it: a running executable is refused to writers.
        unsafe { std::slice::from_raw_parts(self.address.cast(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this object's own and no borrow of it is left.
        unsafe { libc::munmap(self.address, self.length) };
    }
}
