//! Processes, signals and system calls that only the supervisor needs.
#![allow(
    unsafe_code,
    reason = "signalfd(2) and sigprocmask(2) exist only as foreign functions"
)]

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::DumpableBehavior;
use rustix::thread::CapabilitySet;

use super::transit::TcpInfo;
use crate::proc;
use crate::sys::{self, Pid};

/// Gives up the controlling terminal, if there is one: what looks for the processes of a terminal, as
/// ps(1) and `pkill -t` do, then leaves this one out (tty_ioctl(4), TIOCNOTTY).
pub(crate) fn leave_terminal() {
    // Without one there is nothing to open.
    if let Ok(terminal) = File::open("/dev/tty") {
        // SAFETY: the request takes no argument.
        unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) };
    }
}

/// Asks the scheduler for short turns that come soon (sched_setattr(2), `sched_runtime` of an ordinary
/// thread, Linux 6.12). A program waits in each of them. Elsewhere nothing is lost but time.
pub(crate) fn take_short_slices() {
    /// The shortest that there is (kernel/sched/syscalls.c, `__setparam_fair`).
    const SLICE: u64 = 100_000;
    let size = size_of::<libc::sched_attr>() as u32;
    // SAFETY: sched_attr is a C structure of integers, for which 0 is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY:
    // 1. sched_getattr(2) writes at most `size` bytes, those of `attributes`, which lives.
    // 2. sched_setattr(2) reads as many as its field `size` says, which the former has set to no more.
    unsafe {
        let got = libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0);
        if got == 0 && attributes.sched_policy == libc::SCHED_OTHER as u32 {
            attributes.sched_runtime = SLICE;
            libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0);
        }
    }
}

/// Whether orphans of this process's descendants become its children.
pub(crate) fn is_reaper() -> bool {
    let mut subreaper: libc::c_int = 0;
    // SAFETY: the request writes one int, which lives.
    let asked = unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut subreaper) };
    std::process::id() == 1 || (asked == 0 && subreaper != 0)
}

/// Whether this process may trace any process of its user at any time: it has the right to, or
/// Yama doesn't restrict it (Documentation/admin-guide/LSM/Yama.rst) and its memory is not kept
/// from others (prctl(2), PR_SET_DUMPABLE).
pub(crate) fn may_trace_later() -> bool {
    if has(CapabilitySet::SYS_PTRACE) {
        return true;
    }
    let is_dumpable = rustix::process::dumpable_behavior();
    if !is_dumpable.is_ok_and(|behavior| behavior == DumpableBehavior::Dumpable) {
        return false;
    }
    match std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope") {
        Ok(scope) => scope.trim() == "0",
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Whether setuid programs gain their rights under this process as their tracer
/// (security/commoncap.c, `cap_bprm_creds_from_file`) and with its filter: that was installed with
/// CAP_SYS_ADMIN, and so without PR_SET_NO_NEW_PRIVS.
pub(crate) fn leaves_rights() -> bool {
    has(CapabilitySet::SYS_PTRACE | CapabilitySet::SYS_ADMIN)
}

fn has(capabilities: CapabilitySet) -> bool {
    let sets = rustix::thread::capabilities(None);
    sets.is_ok_and(|sets| sets.effective.contains(capabilities))
}

/// The signals that this process has to hear of, as a descriptor.
#[derive(Debug)]
pub(crate) struct Signals(File);

impl Signals {
    /// Blocks all signals for good: none but SIGKILL and SIGSTOP changes what this process does.
    /// Stops of tracees are told through the descriptor, and so is `extra`.
    pub(crate) fn block_all(extra: libc::c_int) -> io::Result<Signals> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY:
        // 1. The set is initialised by the first call on it, and lives.
        // 2. A default action is a valid one. Were SIGCHLD ignored, stops would not be told.
        // 3. The descriptor returned is new and nobody else's.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
            libc::sigaddset(set.as_mut_ptr(), extra);
            let flags = libc::SFD_NONBLOCK | libc::SFD_CLOEXEC;
            match libc::signalfd(-1, set.as_ptr(), flags) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Signals(OwnedFd::from_raw_fd(fd).into())),
            }
        }
    }

    /// The signals that came since the last call, each once.
    pub(crate) fn take(&mut self) -> Vec<libc::c_int> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        let mut came = Vec::new();
        let mut buffer = [0; SIZE * 8];
        let mut length = buffer.len();
        // A buffer that is not full has the last of them.
        while length == buffer.len() {
            length = self.0.read(&mut buffer).unwrap_or(0);
            for info in buffer[..length].chunks_exact(SIZE) {
                // ssi_signo is the first field.
                let signal = libc::c_int::from_ne_bytes([info[0], info[1], info[2], info[3]]);
                if !came.contains(&signal) {
                    came.push(signal);
                }
            }
        }
        came
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The process that the thread `pid` belongs to.
pub(crate) fn thread_group(pid: Pid) -> Option<Pid> {
    proc::status(pid, "Tgid").ok()??.parse().ok()
}

/// The parent of the process `pid`.
pub(crate) fn parent(pid: Pid) -> Option<Pid> {
    proc::status(pid, "PPid").ok()??.parse().ok()
}

/// The threads of `process`.
pub(crate) fn threads(process: Pid) -> impl Iterator<Item = Pid> {
    numbers(&format!("/proc/{process}/task"))
}

/// The descriptors of `process`, each with the process and with what it leads to
/// (proc_pid_fd(5)).
pub(crate) fn descriptors(process: Pid) -> impl Iterator<Item = (Pid, i32, String)> {
    let all = numbers(&format!("/proc/{process}/fd"));
    all.filter_map(move |fd| Some((process, fd, target(process, fd)?)))
}

/// What descriptor `fd` of a process or thread leads to.
pub(crate) fn target(thread: Pid, fd: i32) -> Option<String> {
    let target = std::fs::read_link(format!("/proc/{thread}/fd/{fd}")).ok()?;
    target.into_os_string().into_string().ok()
}

/// The names in a directory that are numbers.
pub(crate) fn numbers(directory: &str) -> impl Iterator<Item = i32> + use<> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Reads another process's memory where that may itself read.
pub(crate) fn read(pid: Pid, address: u64, bytes: &mut [u8]) -> io::Result<()> {
    let local = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let remote = libc::iovec {
        iov_base: address as *mut _,
        iov_len: bytes.len(),
    };
    // SAFETY: `local` names bytes that live and are only written; `remote` is memory of another process.
    let got = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
    match got {
        -1 => Err(io::Error::last_os_error()),
        // Cut short where its memory ends.
        got if (got as usize) < bytes.len() => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        _ => Ok(()),
    }
}

/// Reads words of another process.
pub(crate) fn words<const N: usize>(pid: Pid, address: u64) -> io::Result<[i64; N]> {
    let mut bytes = vec![0; N * 8];
    read(pid, address, &mut bytes)?;
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = i64::from_ne_bytes(*bytes);
    }
    Ok(words)
}

/// Another process's descriptor, as one of this process.
pub(crate) fn descriptor(process: Pid, fd: i32) -> io::Result<OwnedFd> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
    let process = rustix::process::Pid::from_raw(process).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    Ok(pidfd_getfd(process, fd, PidfdGetfdFlags::empty())?)
}

/// Has a read of a timerfd return `count`, which is not 0 (include/uapi/linux/timerfd.h).
pub(crate) fn set_timer_count(timer: &OwnedFd, count: u64) -> io::Result<()> {
    /// `TFD_IOC_SET_TICKS`, _IOW('T', 0, __u64).
    const SET_TICKS: libc::c_ulong = 0x4008_5400;
    // SAFETY: the request reads a u64, which lives.
    match unsafe { libc::ioctl(timer.as_raw_fd(), SET_TICKS as _, &raw const count) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// What the kernel knows of a TCP connection. `None`: the socket is another one, or the kernel is too
/// old to know all of that.
pub(crate) fn tcp_info(socket: &OwnedFd) -> Option<TcpInfo> {
    let mut info: TcpInfo = [0; _];
    let mut length = size_of_val(&info) as libc::socklen_t;
    let (option, value) = (libc::TCP_INFO, info.as_mut_ptr().cast());
    let fd = socket.as_raw_fd();
    // SAFETY: the kernel writes `length` bytes of `info` at most, and both live. All bytes are words.
    let got = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, option, value, &raw mut length) };
    (got == 0 && length as usize == size_of_val(&info)).then_some(info)
}

/// Asks the kernel to run the answered thread on this CPU at once, as this one waits next
/// (SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6). Where it can't, nothing is lost but time.
pub(crate) fn wake_synchronously(listener: &OwnedFd) {
    /// `SECCOMP_IOCTL_NOTIF_SET_FLAGS`, SECCOMP_IOW(4, __u64).
    const SET_FLAGS: libc::c_ulong = 0x4008_2104;
    // SAFETY: the request takes a number.
    unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS, 1u64) };
}

/// Waits for the stop of a thread that was interrupted. The signal is to be delivered on resuming.
pub(crate) fn stopped(thread: Pid) -> Option<(sys::Registers, libc::c_int)> {
    use crate::stop::Stop;
    let (_, status) = sys::wait(thread).ok()??;
    let signal = match Stop::decode(status) {
        Stop::Ended => return None,
        Stop::Signal(signal) => signal,
        _ => 0,
    };
    let (registers, _) = sys::registers(thread).ok()?;
    Some((registers, signal))
}

/// Where a blocked thread is, as `/proc/PID/syscall` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// The call's number.
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 6],
    /// The instruction behind the call.
    pub(crate) pointer: u64,
}

impl Blocked {
    /// `None`: the thread runs, has ended, or can't be looked at.
    pub(crate) fn read(thread: Pid) -> Option<Blocked> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?)
    }

    pub(super) fn parse(text: &str) -> Option<Blocked> {
        let mut fields = text.split_whitespace();
        let number = fields.next()?.parse().ok()?;
        let mut hexadecimal = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
        let mut arguments = [0; 6];
        if number >= 0 {
            for argument in &mut arguments {
                *argument = hexadecimal()?;
            }
        }
        hexadecimal()?;
        let pointer = hexadecimal()?;
        Some(Blocked {
            number,
            arguments,
            pointer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_call_is_read() {
        let text = "202 0x1 0x89 0x0 0x7e8000002000 0x0 0xffffffff 0x7ffd 0x7e8000001032\n";
        let blocked = Blocked::parse(text).expect("a blocked thread");
        assert_eq!(blocked.number, 202);
        assert_eq!(blocked.arguments[3], 0x7e80_0000_2000);
        assert_eq!(blocked.pointer, 0x7e80_0000_1032);
        assert_eq!(Blocked::parse("running\n"), None);
        let outside = Blocked::parse("-1 0x7ffd 0x401000\n").expect("a stopped thread");
        assert_eq!((outside.number, outside.pointer), (-1, 0x40_1000));
    }

    #[test]
    fn memory_is_read_as_far_as_it_goes() {
        let here = [1i64, 2, 3];
        let pid = std::process::id() as Pid;
        let address = here.as_ptr().addr() as u64;
        assert_eq!(words::<3>(pid, address).expect("own memory"), here);
        assert!(words::<1>(pid, 8).is_err());
    }
}
