//! The system calls that rustix leaves out on purpose: ptrace, wait for tracees and
//! exec. The functions that the crate uses are safe: they can break another process, but not
//! the memory of this one.
#![allow(
    unsafe_code,
    reason = "ptrace(2), waitpid(2) with __WALL and execvp(3) exist only as foreign functions"
)]

use std::ffi::{CString, c_int, c_long, c_ulong, c_void};
use std::io;
use std::ptr;

use crate::program::{NOTE, Note};

/// A thread id or a process id, as the kernel's ptrace interface mixes them.
pub(crate) type Pid = libc::pid_t;

/// The registers of a stopped thread, as `NT_PRSTATUS` has them.
pub(crate) type Registers = libc::user_regs_struct;

/// A set of signals as the kernel has it: bit n-1 stands for signal n.
pub(crate) type SignalSet = u64;

/// How a stopped thread is resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// `PTRACE_CONT`.
    Continue,
    /// `PTRACE_SYSCALL`: up to the begin or the end of the next call.
    Call,
    /// `PTRACE_SYSEMU`: to the entry of its next system call, which it does not make.
    #[cfg(target_arch = "aarch64")]
    Emulate,
    /// `PTRACE_DETACH`.
    Detach,
}

/// Makes one ptrace(2) request.
///
/// # Safety
/// Where `request` takes an address of this process in `address` or `data`, that address must
/// point to a live object of the size that the request reads or writes.
unsafe fn ptrace(
    request: libc::c_uint,
    pid: Pid,
    address: usize,
    data: usize,
) -> io::Result<c_long> {
    // SAFETY: the caller guarantees that every address of this process is valid for the
    // request; ptrace(2) touches no other memory of the calling process.
    let result = unsafe { libc::ptrace(request, pid, address as *mut c_void, data as *mut c_void) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Makes a ptrace(2) request whose arguments are numbers, or addresses of the tracee.
fn ptrace_numbers(request: libc::c_uint, pid: Pid, address: usize, data: usize) -> io::Result<()> {
    // SAFETY: the requests that this function is called with (SEIZE, SETOPTIONS, INTERRUPT,
    // LISTEN, CONT, SYSCALL, DETACH, POKEDATA) take no address of this process (ptrace(2)).
    unsafe { ptrace(request, pid, address, data) }.map(drop)
}

/// Makes a ptrace(2) request that reads or writes the object `data`.
///
/// # Safety
/// The request must read or write no more than `size_of::<T>()` bytes at `data`, and what it
/// writes must be a valid `T`.
unsafe fn ptrace_object<T>(
    request: libc::c_uint,
    pid: Pid,
    address: usize,
    data: &mut T,
) -> io::Result<c_long> {
    // SAFETY: `data` is a live, exclusively borrowed object; the caller guarantees the size.
    unsafe { ptrace(request, pid, address, ptr::from_mut(data) as usize) }
}

// The linker reads this section as ELF notes, and a `Note` has the size, the alignment
// and the layout of one.
#[unsafe(link_section = ".note.vdsokit")]
#[used]
static TRACES_OTHERS: Note = NOTE;

/// Becomes the tracer of `pid` without stopping it.
pub(crate) fn seize(pid: Pid, options: c_int) -> io::Result<()> {
    // Every program that contains this function contains the note.
    std::hint::black_box(&TRACES_OTHERS);
    ptrace_numbers(libc::PTRACE_SEIZE, pid, 0, options as usize)
}

/// The child that a thread created, from the stop that reports the creation.
pub(crate) fn child_of(pid: Pid) -> io::Result<Pid> {
    let mut message: c_ulong = 0;
    // SAFETY: PTRACE_GETEVENTMSG writes one unsigned long.
    unsafe { ptrace_object(libc::PTRACE_GETEVENTMSG, pid, 0, &mut message) }?;
    Ok(message as Pid)
}

/// Whether two processes share their address space, as far as kcmp(2) may tell: `false` also
/// where the call is refused.
pub(crate) fn share_memory(first: Pid, second: Pid) -> bool {
    /// include/uapi/linux/kcmp.h
    const KCMP_VM: c_int = 1;
    // SAFETY: kcmp(2) with KCMP_VM takes numbers only and touches no memory.
    unsafe { libc::syscall(libc::SYS_kcmp, first, second, KCMP_VM, 0, 0) == 0 }
}

/// Whether two descriptors, each of a process, lead to one open file, as far as kcmp(2) may tell:
/// `false` also where the call is refused.
pub(crate) fn share_file(first: (Pid, c_int), second: (Pid, c_int)) -> bool {
    /// include/uapi/linux/kcmp.h
    const KCMP_FILE: c_int = 0;
    let ((a, fd_a), (b, fd_b)) = (first, second);
    let (fd_a, fd_b) = (fd_a as c_ulong, fd_b as c_ulong);
    // SAFETY: kcmp(2) with KCMP_FILE takes numbers only and touches no memory.
    unsafe { libc::syscall(libc::SYS_kcmp, a, b, KCMP_FILE, fd_a, fd_b) == 0 }
}

pub(crate) fn set_options(pid: Pid, options: c_int) -> io::Result<()> {
    ptrace_numbers(libc::PTRACE_SETOPTIONS, pid, 0, options as usize)
}

/// Stops a seized thread. The call does not wait for the stop, which wait(2) reports.
pub(crate) fn interrupt(pid: Pid) -> io::Result<()> {
    ptrace_numbers(libc::PTRACE_INTERRUPT, pid, 0, 0)
}

/// Writes a word to the memory of a stopped tracee, also where the tracee itself may not write.
pub(crate) fn poke(pid: Pid, address: u64, word: u64) -> io::Result<()> {
    ptrace_numbers(libc::PTRACE_POKEDATA, pid, address as usize, word as usize)
}

/// Keeps a thread in its group-stop; `SIGCONT` ends it (PTRACE_LISTEN, ptrace(2)).
pub(crate) fn listen(pid: Pid) -> io::Result<()> {
    ptrace_numbers(libc::PTRACE_LISTEN, pid, 0, 0)
}

/// Resumes a stopped thread and delivers `signal` to it (0: none). Only a thread in
/// signal-delivery-stop takes the signal.
pub(crate) fn resume(pid: Pid, how: Resume, signal: c_int) -> io::Result<()> {
    let request = match how {
        Resume::Continue => libc::PTRACE_CONT,
        Resume::Call => libc::PTRACE_SYSCALL,
        // arch/arm64/include/uapi/asm/ptrace.h
        #[cfg(target_arch = "aarch64")]
        Resume::Emulate => 31,
        Resume::Detach => libc::PTRACE_DETACH,
    };
    ptrace_numbers(request, pid, 0, signal as usize)
}

/// Kills a tracee, unless it has ended.
pub(crate) fn kill(pid: Pid) {
    let Some(process) = rustix::process::Pid::from_raw(pid) else {
        return;
    };
    let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
}

/// The registers, and how many bytes a program of its kind has of them: fewer for a 32-bit one.
///
/// They are as a 64-bit program has them also for a thread that executes 32-bit code: PTRACE_GETREGS
/// has the layout of the tracer, and PTRACE_GETREGSET that of the tracee's code
/// (arch/x86/kernel/ptrace.c, `task_user_regset_view`).
#[cfg(target_arch = "x86_64")]
pub(crate) fn registers(pid: Pid) -> io::Result<(Registers, usize)> {
    // SAFETY: user_regs_struct is a C structure of integers, for which all zeros is valid.
    let mut registers: Registers = unsafe { std::mem::zeroed() };
    // SAFETY: a 64-bit process gets a user_regs_struct by PTRACE_GETREGS.
    unsafe { ptrace_object(libc::PTRACE_GETREGS, pid, 0, &mut registers) }?;
    let length = match crate::arch::is_narrow(&registers) {
        // 17 words of 4 bytes (arch/x86/include/asm/user_32.h).
        true => 68,
        false => size_of::<Registers>(),
    };
    Ok((registers, length))
}

/// Sets them, the code selector among them: afterwards the thread executes 64-bit code if that is
/// the selector of such code.
#[cfg(target_arch = "x86_64")]
pub(crate) fn set_registers(pid: Pid, registers: &Registers) -> io::Result<()> {
    let mut registers = *registers;
    // SAFETY: PTRACE_SETREGS of a 64-bit process reads a user_regs_struct, and writes nothing.
    unsafe { ptrace_object(libc::PTRACE_SETREGS, pid, 0, &mut registers) }.map(drop)
}

/// The registers, and how many bytes of them the kernel gave: fewer than all for a
/// program of the compatibility (32-bit) kind.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn registers(pid: Pid) -> io::Result<(Registers, usize)> {
    // SAFETY: user_regs_struct is a C structure of integers, for which all zeros is valid.
    let mut registers: Registers = unsafe { std::mem::zeroed() };
    let mut vector = libc::iovec {
        iov_base: ptr::from_mut(&mut registers).cast(),
        iov_len: size_of::<Registers>(),
    };
    // SAFETY: PTRACE_GETREGSET writes at most `iov_len` bytes, the size of `registers`, and then
    // the number written into the iovec.
    unsafe {
        ptrace_object(
            libc::PTRACE_GETREGSET,
            pid,
            libc::NT_PRSTATUS as usize,
            &mut vector,
        )
    }?;
    Ok((registers, vector.iov_len))
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn set_registers(pid: Pid, registers: &Registers) -> io::Result<()> {
    let mut vector = libc::iovec {
        iov_base: ptr::from_ref(registers).cast_mut().cast(),
        iov_len: size_of::<Registers>(),
    };
    // SAFETY: PTRACE_SETREGSET reads at most `iov_len` bytes, the size of `registers`, and does
    // not write to them.
    unsafe {
        ptrace_object(
            libc::PTRACE_SETREGSET,
            pid,
            libc::NT_PRSTATUS as usize,
            &mut vector,
        )
    }
    .map(drop)
}

/// A set of registers of a stopped thread, of at most `most` bytes. The sets are those of
/// include/uapi/linux/elf.h.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn register_set(pid: Pid, set: usize, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0u8; most];
    let mut vector = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: most,
    };
    // SAFETY: PTRACE_GETREGSET writes at most `iov_len` bytes, the size of `bytes`, which lives, and
    // then the number written into the iovec.
    unsafe { ptrace_object(libc::PTRACE_GETREGSET, pid, set, &mut vector) }?;
    bytes.truncate(vector.iov_len);
    Ok(bytes)
}

/// Sets what [`register_set`] returns.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn set_register_set(pid: Pid, set: usize, bytes: &[u8]) -> io::Result<()> {
    let mut vector = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: PTRACE_SETREGSET reads at most `iov_len` bytes, the size of `bytes`, which lives, and
    // does not write to them.
    unsafe { ptrace_object(libc::PTRACE_SETREGSET, pid, set, &mut vector) }.map(drop)
}

/// Has a thread at the entry or the exit of a system call count as one outside of any.
#[cfg(target_arch = "aarch64")]
pub(crate) fn forget_call(pid: Pid) -> io::Result<()> {
    const NT_ARM_SYSTEM_CALL: usize = 0x404;
    set_register_set(pid, NT_ARM_SYSTEM_CALL, &(-1 as c_int).to_ne_bytes())
}

/// The signals that a stopped thread blocks.
pub(crate) fn blocked(pid: Pid) -> io::Result<SignalSet> {
    let mut set: SignalSet = 0;
    // SAFETY: PTRACE_GETSIGMASK writes as many bytes as `address` says, the size of `set`.
    unsafe {
        ptrace_object(
            libc::PTRACE_GETSIGMASK,
            pid,
            size_of::<SignalSet>(),
            &mut set,
        )
    }?;
    Ok(set)
}

pub(crate) fn set_blocked(pid: Pid, mut set: SignalSet) -> io::Result<()> {
    // SAFETY: PTRACE_SETSIGMASK reads as many bytes as `address` says, the size of `set`.
    unsafe {
        ptrace_object(
            libc::PTRACE_SETSIGMASK,
            pid,
            size_of::<SignalSet>(),
            &mut set,
        )
    }
    .map(drop)
}

/// Waits for a state change of `pid`, or with `-1` of any child or tracee of *this thread*
/// (`__WNOTHREAD`: children of other threads are left for them to reap).
///
/// `None`: there is no such child or tracee.
pub(crate) fn wait(pid: Pid) -> io::Result<Option<(Pid, c_int)>> {
    match wait_with(pid, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => other,
    }
}

/// A state change of `pid`, or with `-1` of any child or tracee of this thread, if one can be
/// reported without waiting.
pub(crate) fn poll(pid: Pid) -> io::Result<Option<(Pid, c_int)>> {
    wait_with(pid, libc::WNOHANG)
}

fn wait_with(pid: Pid, flags: c_int) -> io::Result<Option<(Pid, c_int)>> {
    let mut status = 0;
    let flags = flags | libc::__WALL | libc::__WNOTHREAD;
    loop {
        // SAFETY: waitpid(2) writes one int, to `status`, which lives until it returns.
        match unsafe { libc::waitpid(pid, &mut status, flags) } {
            0 => return Ok(None),
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            got => return Ok(Some((got, status))),
        }
    }
}

/// Lets `tracer` trace this process where Yama restricts tracing to ancestors
/// (Documentation/admin-guide/LSM/Yama.rst). `false`: the kernel has no Yama.
pub(crate) fn allow_tracer(tracer: Pid) -> bool {
    // SAFETY: PR_SET_PTRACER takes a number and touches no memory of this process.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, tracer as c_ulong, 0, 0, 0) == 0 }
}

/// `execvp(3)`: returns only when it failed.
///
/// The program starts with `SIGPIPE` ignored or at its default; the signal mask and everything
/// else are inherited unchanged.
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
    // 1. SIG_IGN, SIG_DFL and the handler that signal(2) returned are valid handlers.
    // 2. `pointers` is an array of pointers to NUL-terminated strings, ended by a null pointer;
    //    the array and the strings live until execvp returns.
    unsafe {
        let before = libc::signal(libc::SIGPIPE, handler);
        libc::execvp(program.as_ptr(), pointers.as_ptr());
        let error = io::Error::last_os_error();
        libc::signal(libc::SIGPIPE, before);
        error
    }
}

/// Closes the descriptors from `first` to `last`, both included; none if `last` is less.
pub(crate) fn close_range(first: u32, last: u32) -> io::Result<()> {
    if last < first {
        return Ok(());
    }
    // SAFETY: close_range(2) touches no memory. It closes descriptors that objects own only in
    // the tracer, a fork that no longer uses them and ends with _exit(2), so that no destructor
    // closes them a second time.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// What is known of a signal that is about to be delivered: `siginfo_t`.
#[derive(Clone, Copy)]
pub(crate) struct SignalInfo(libc::siginfo_t);

impl SignalInfo {
    pub(crate) fn number(&self) -> c_int {
        self.0.si_signo
    }

    /// Whether a process sent it, as opposed to the kernel for an exception (sigaction(2),
    /// `si_code`).
    pub(crate) fn was_sent(&self) -> bool {
        self.0.si_code <= 0
    }
}

impl std::fmt::Debug for SignalInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "signal {} ({})", self.0.si_signo, self.0.si_code)
    }
}

/// The signal of a thread in signal-delivery-stop.
pub(crate) fn signal_info(pid: Pid) -> io::Result<SignalInfo> {
    // SAFETY: siginfo_t is a C structure of integers, for which all zeros is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: PTRACE_GETSIGINFO writes one siginfo_t.
    unsafe { ptrace_object(libc::PTRACE_GETSIGINFO, pid, 0, &mut info) }?;
    Ok(SignalInfo(info))
}

/// Sends a signal to one thread.
pub(crate) fn signal_thread(process: Pid, thread: Pid, signal: c_int) -> io::Result<()> {
    // SAFETY: tgkill(2) takes numbers and touches no memory.
    match unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// `PTRACE_O_SUSPEND_SECCOMP`: the filters of the tracee are not in force. It takes
/// CAP_SYS_ADMIN and a tracer that no filter restricts (kernel/ptrace.c,
/// `check_ptrace_options`).
pub(crate) const SUSPEND_SECCOMP: c_int = 1 << 21;

/// Whether a stopped thread has more than `count` seccomp filters. `None`: the kernel does not
/// tell this process (PTRACE_SECCOMP_GET_FILTER takes what [`SUSPEND_SECCOMP`] takes).
pub(crate) fn has_more_filters(pid: Pid, count: u32) -> Option<bool> {
    /// include/uapi/linux/ptrace.h
    const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;
    // SAFETY: with a null pointer as data the request only returns the length of the filter,
    // which `address` selects, counted from the first installed (kernel/seccomp.c,
    // `seccomp_get_filter`).
    let outcome = unsafe { ptrace(PTRACE_SECCOMP_GET_FILTER, pid, count as usize, 0) };
    match outcome.map_err(|error| error.raw_os_error()) {
        Ok(_) => Some(true),
        // There is none of that number, or none at all.
        Err(Some(libc::ENOENT | libc::EINVAL)) => Some(false),
        // Its instructions were not kept (CONFIG_CHECKPOINT_RESTORE), so it exists.
        Err(Some(libc::EMEDIUMTYPE)) => Some(true),
        Err(_) => None,
    }
}

/// Where a thread has registered its restartable sequences (rseq(2)), and the signature that
/// stands before an abort handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rseq {
    pub(crate) address: u64,
    pub(crate) signature: u32,
}

/// The registration of a stopped thread. `None`: it has none, or the kernel is older than 5.13.
pub(crate) fn rseq(pid: Pid) -> Option<Rseq> {
    /// include/uapi/linux/ptrace.h
    const PTRACE_GET_RSEQ_CONFIGURATION: libc::c_uint = 0x420f;
    /// `struct ptrace_rseq_configuration`.
    #[repr(C)]
    #[derive(Default)]
    struct Configuration {
        address: u64,
        size: u32,
        signature: u32,
        flags: u32,
        padding: u32,
    }
    let mut found = Configuration::default();
    let size = size_of::<Configuration>();
    // SAFETY: the request writes at most `address` bytes, the size of `found`.
    unsafe { ptrace_object(PTRACE_GET_RSEQ_CONFIGURATION, pid, size, &mut found) }.ok()?;
    (found.address != 0).then_some(Rseq {
        address: found.address,
        signature: found.signature,
    })
}
