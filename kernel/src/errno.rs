//! Errors of system calls, with Linux's numbers.

/// Why a system call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(u32);

macro_rules! errnos {
    ($($name:ident = $number:ident, $doc:literal;)*) => {
        impl Errno {
            $(#[doc = $doc] pub const $name: Self = Self(linux_raw_sys::errno::$number);)*
        }
    };
}

errnos! {
    ACCESS = EACCES, "The rights of an area do not permit it.";
    AGAIN = EAGAIN, "Nothing is there yet.";
    BAD_DESCRIPTOR = EBADF, "No such descriptor, or not open for this.";
    CHILD = ECHILD, "There is no child to wait for.";
    EXISTS = EEXIST, "It exists already.";
    FAULT = EFAULT, "An address of the caller's is not mapped for this.";
    FORMAT = ENOEXEC, "Not a static program for this machine.";
    INTERRUPTED = EINTR, "A signal handler ran.";
    INVALID = EINVAL, "An argument is not valid.";
    IS_DIRECTORY = EISDIR, "A directory.";
    LOOP = ELOOP, "A symbolic link leads to too many others.";
    MEMORY = ENOMEM, "No memory, or no address range, is left.";
    NAME_TOO_LONG = ENAMETOOLONG, "A path is too long.";
    NOT_DIRECTORY = ENOTDIR, "Not a directory.";
    NOT_FOUND = ENOENT, "No such file.";
    NO_CALL = ENOSYS, "This kernel has no such system call.";
    NO_NETWORK = EAFNOSUPPORT, "There are no networks.";
    NO_PROCESS = ESRCH, "No such process.";
    NO_TERMINAL = ENOTTY, "Not a terminal.";
    PERMISSION = EPERM, "Not permitted.";
    PIPE = EPIPE, "The pipe has no reader.";
    RANGE = ERANGE, "The result does not fit.";
    READ_ONLY = EROFS, "Files can't be changed.";
    SEEK = ESPIPE, "Not a file that has positions.";
    TIMED_OUT = ETIMEDOUT, "The time-out ended.";
    TOO_BIG = E2BIG, "The arguments are too long.";
    TOO_MANY_FILES = EMFILE, "No descriptor is left.";
}

impl Errno {
    /// A signal arrived. The call is made again when the handler permits it, or fails with EINTR.
    /// Linux's `ERESTARTSYS`: no program sees this number.
    pub const RESTART: Self = Self(512);

    /// The call replaced the registers of the program, which has no result in them. No program sees
    /// this number.
    pub const REPLACED: Self = Self(513);

    /// The result register of a call that failed.
    pub fn result(self) -> usize {
        (self.0 as usize).wrapping_neg()
    }
}
