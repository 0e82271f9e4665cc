//! seccomp(2) and its user notification (seccomp_unotify(2)).
#![allow(
    unsafe_code,
    reason = "seccomp(2), its ioctls and process_vm_writev(2) exist only as foreign functions"
)]

use std::ffi::c_ulong;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags};

use crate::sys::Pid;

/// An instruction of a filter.
pub(crate) type Instruction = libc::sock_filter;

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notification {
    id: u64,
    /// The thread that makes it.
    pub(crate) pid: Pid,
    pub(crate) number: i64,
    /// Whose number that is, as seccomp calls the architecture.
    pub(crate) architecture: u32,
    /// The instruction behind it.
    pub(crate) pointer: u64,
    pub(crate) arguments: [u64; 6],
}

/// What a waiting system call ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It returns this.
    Returns(i64),
    /// It fails with this error.
    Fails(i32),
    /// The kernel makes it after all.
    Made,
}

/// Filters the system calls of this thread and of everything that it starts from now on. Returns
/// the listener that gets those that the filter hands over.
///
/// A process without CAP_SYS_ADMIN sets PR_SET_NO_NEW_PRIVS: setuid programs no longer gain rights.
/// Under a tracer without rights they don't either.
pub(crate) fn listen(filter: &mut [Instruction]) -> io::Result<OwnedFd> {
    let killable = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let mut outcome = install(filter, killable);
    if code(&outcome) == Some(libc::EACCES) {
        // SAFETY: this request takes numbers only.
        if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as c_ulong, 0, 0, 0) } == -1 {
            return Err(io::Error::last_os_error());
        }
        outcome = install(filter, killable);
    }
    // Linux before 5.19 doesn't know the flag: a signal makes a waiting call start again.
    if code(&outcome) == Some(libc::EINVAL) {
        install(filter, 0)
    } else {
        outcome
    }
}

/// Whether a filter refuses to set the clock: without one, a null pointer is EFAULT.
pub(crate) fn refuses_clock_settime() -> bool {
    // SAFETY: the call reads the time through a null pointer, and fails before it sets anything.
    let outcome = unsafe { libc::syscall(libc::SYS_clock_settime, libc::CLOCK_REALTIME, 0) };
    outcome == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Filters the system calls of this thread and of everything that it starts, without a listener.
///
/// # Errors
/// EACCES without CAP_SYS_ADMIN, unless PR_SET_NO_NEW_PRIVS is set.
pub(crate) fn restrict(filter: &mut [Instruction]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: `program` names `len` instructions that live until the call returns; the kernel
    // copies them.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn code(outcome: &io::Result<OwnedFd>) -> Option<i32> {
    outcome.as_ref().err().and_then(io::Error::raw_os_error)
}

fn install(filter: &mut [Instruction], flags: c_ulong) -> io::Result<OwnedFd> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_mut_ptr(),
    };
    let flags = flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY:
    // 1. `program` names `len` instructions that live until the call returns.
    // 2. The descriptor returned is new and nobody else's.
    unsafe {
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        match libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd as i32)),
        }
    }
}

/// The next system call that waits for an answer. An error: its thread was killed.
pub(crate) fn receive(listener: &impl AsFd) -> io::Result<Notification> {
    // SAFETY: seccomp_notif is a C structure of integers, for which 0 is a value.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the structure is zeroed, as the kernel wants it, lives until the ioctl returns, and is
    // of the size that the request's number says.
    match unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(Notification::new(&notification)),
    }
}

impl Notification {
    fn new(notification: &libc::seccomp_notif) -> Notification {
        Notification {
            id: notification.id,
            pid: notification.pid as Pid,
            number: i64::from(notification.data.nr),
            architecture: notification.data.arch,
            pointer: notification.data.instruction_pointer,
            arguments: notification.data.args,
        }
    }
}

/// Memory in which one process receives calls and another sees the last one, once the first has
/// died. The kernel itself fills it, so there is no moment at which a call was received and is not
/// there.
#[derive(Debug)]
pub(crate) struct Inbox(NonNull<libc::seccomp_notif>);

impl Inbox {
    /// An empty one, which children of this process share.
    pub(crate) fn new() -> io::Result<Inbox> {
        // SAFETY: a new mapping at an address that the kernel chooses changes no other mapping.
        let memory = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                size_of::<libc::seccomp_notif>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
            )?
        };
        let memory = NonNull::new(memory.cast());
        memory
            .map(Inbox)
            .ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// As [`receive`]. One process calls this, the first of the two.
    pub(crate) fn receive(&self, listener: &impl AsFd) -> io::Result<Notification> {
        let fd = listener.as_fd().as_raw_fd();
        // SAFETY:
        // 1. The mapping is never removed, is of this type, and begins at a page.
        // 2. The other process reads it only when this one has died.
        // 3. The structure is zeroed, as the kernel wants it, and of the size that the request's
        //    number says.
        unsafe {
            self.0.write_volatile(std::mem::zeroed());
            match libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, self.0.as_ptr()) {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(Notification::new(&self.0.read_volatile())),
            }
        }
    }

    /// The call that a process which has died received last, whether or not it answered.
    pub(crate) fn last(&self) -> Option<Notification> {
        // SAFETY: the mapping is never removed, and its only writer has died.
        let last = Notification::new(&unsafe { self.0.read_volatile() });
        (last.id != 0).then_some(last)
    }
}

/// Whether the thread that makes the call still waits. Otherwise its id may be reused by now.
pub(crate) fn waits(listener: &impl AsFd, notification: &Notification) -> bool {
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the request reads a u64, which lives.
    unsafe {
        libc::ioctl(
            fd,
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
            &raw const notification.id,
        ) == 0
    }
}

/// Answers a call. A call that no longer waits needs no answer.
pub(crate) fn answer(listener: &impl AsFd, notification: &Notification, outcome: Outcome) {
    let (val, error, flags) = match outcome {
        Outcome::Returns(value) => (value, 0, 0),
        Outcome::Fails(error) => (0, -error, 0),
        Outcome::Made => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
    };
    let response = libc::seccomp_notif_resp {
        id: notification.id,
        val,
        error,
        flags,
    };
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the request reads the structure, which lives and is of the size that its number
    // says.
    unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const response) };
}

/// Writes to another process's memory where that may itself write, as the kernel does for a
/// system call.
pub(crate) fn write(pid: Pid, address: u64, bytes: &[u8]) -> io::Result<()> {
    let local = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let remote = libc::iovec {
        iov_base: address as *mut _,
        iov_len: bytes.len(),
    };
    // SAFETY: `local` names bytes that live and are only read; `remote` is memory of another process.
    let written = unsafe { libc::process_vm_writev(pid, &local, 1, &remote, 1, 0) };
    match written {
        -1 => Err(io::Error::last_os_error()),
        // Cut short where its memory ends.
        written if (written as usize) < bytes.len() => {
            Err(io::Error::from_raw_os_error(libc::EFAULT))
        }
        _ => Ok(()),
    }
}
