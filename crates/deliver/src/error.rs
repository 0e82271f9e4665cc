//! The errors of a delivery, and what is reported of single processes.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;
use vdsokit_elf::ParseError;
use vdsokit_elf::check::Finding;

use crate::{proc, program};

/// Why a delivery could not be set up. Nothing has been changed in any process.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// No such program.
    #[error("no program {program:?}")]
    #[diagnostic(help("give a path with a '/', or a name that is in a directory of PATH"))]
    NotFound {
        /// The program as the caller named it.
        program: OsString,
        /// The error of execvp(3).
        source: io::Error,
    },
    /// The program exists, but names an interpreter that doesn't: in the first line of a script, or
    /// in the ELF segment PT_INTERP.
    #[error("can't execute {program:?}: its interpreter {interpreter:?} doesn't exist")]
    #[diagnostic(help(
        "install the interpreter or the C library that the program was made for, or correct the \
         first line of the script"
    ))]
    NoInterpreter {
        /// The program as the caller named it.
        program: OsString,
        /// The path that the program names.
        interpreter: PathBuf,
        /// The error of execvp(3).
        source: io::Error,
    },
    /// The program exists, and the kernel refuses to execute it.
    #[error("can't execute {program:?}")]
    #[diagnostic(help("is it executable, and of an architecture and format of this machine?"))]
    CannotExecute {
        /// The program as the caller named it.
        program: OsString,
        /// The error of execvp(3).
        source: io::Error,
    },
    /// The image can't be delivered.
    #[error("the image can't be delivered")]
    #[diagnostic(transparent)]
    Image(#[from] ImageError),
    /// The kernel refuses to let this process trace another.
    #[error("no permission to trace process {pid}")]
    #[diagnostic(help(
        "a user may trace the user's own processes, unless /proc/sys/kernel/yama/ptrace_scope is \
         2 or 3, or a seccomp filter forbids ptrace(2), as in some containers (docker: --cap-add \
         SYS_PTRACE)"
    ))]
    Trace {
        /// The process.
        pid: u32,
        /// The error of ptrace(2).
        source: io::Error,
    },
    /// Another process traces it already.
    #[error("process {pid} is traced by process {tracer} ({name})")]
    #[diagnostic(help(
        "a process has one tracer: end that debugger, or `vdso attach --follow` or `vdso run`, \
         with `kill {tracer}`, and try again"
    ))]
    Traced {
        /// The process.
        pid: u32,
        /// Its tracer.
        tracer: u32,
        /// The name of the tracer's program.
        name: String,
    },
    /// Processes can't be found or changed: no `/proc` is mounted in this root.
    #[error("/proc is not mounted here")]
    #[diagnostic(help("in a chroot or container: `mount -t proc proc /proc`"))]
    NoProc,
    /// `/proc` names processes by other ids than this process does, or than its children would.
    #[error("/proc shows another pid namespace than that of this process and its children")]
    #[diagnostic(help(
        "mount one that shows it, `mount -t proc proc /proc`, or have unshare(1) do so: \
         `unshare --pid --fork --mount-proc`"
    ))]
    OtherPidNamespace,
    /// A program that is required to see no real time can't be followed by a supervisor.
    #[error("it can't be ensured that no part of the program sees real time")]
    #[diagnostic(help(
        "that takes CAP_SYS_PTRACE, or 0 in /proc/sys/kernel/yama/ptrace_scope, so that every \
         program can be reached when it starts"
    ))]
    NoSupervisor,
    /// The image or its pages don't fit the limit on the size of files.
    #[error(
        "the limit on file sizes, {limit} bytes, is less than the {needed} bytes that are kept in \
         memory files"
    )]
    #[diagnostic(help("raise it: `ulimit -f unlimited`"))]
    FileSizeLimit {
        /// RLIMIT_FSIZE, in bytes.
        limit: u64,
        /// Bytes of the file that was to be made.
        needed: u64,
    },
    /// No such process.
    #[error("no process {pid}")]
    #[diagnostic(help("it may have ended; `ps` lists those that live"))]
    NoProcess {
        /// The id as the caller gave it.
        pid: u32,
    },
    /// The process lives, and `/proc` does not show it.
    #[error("/proc does not show process {pid}")]
    #[diagnostic(help(
        "it is mounted with `hidepid` (proc(5)): be the process's user, root, or in the group of `gid`"
    ))]
    HiddenProcess {
        /// The id as the caller gave it.
        pid: u32,
    },
    /// The process is in a state in which it can't be changed, and is as it was.
    #[error("process {pid} is left as it is: {reason}")]
    #[diagnostic(help(
        "try again if the reason passes with time, such as a stop or a call in progress"
    ))]
    Unserved {
        /// The process.
        pid: u32,
        /// Why.
        reason: Unserved,
    },
    /// Another call to the system failed.
    #[error("can't {what}")]
    #[diagnostic(help("the operating system's reason says why"))]
    System {
        /// The attempt that failed.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// The exit status that env(1) and timeout(1) have for this: 127 for a program that
    /// isn't found, 126 for one that can't be executed, 125 for everything of our own.
    pub fn exit_status(&self) -> u8 {
        match self {
            Error::NotFound { .. } | Error::NoInterpreter { .. } => 127,
            Error::CannotExecute { .. } => 126,
            _ => 125,
        }
    }

    /// The error of an attempt to execute `program`, found at `path`.
    pub(crate) fn of_exec(program: &OsStr, source: io::Error) -> Error {
        let program = program.to_owned();
        if source.kind() != io::ErrorKind::NotFound {
            return Error::CannotExecute { program, source };
        }
        match missing_interpreter(&program) {
            Some(interpreter) => Error::NoInterpreter {
                program,
                interpreter,
                source,
            },
            None => Error::NotFound { program, source },
        }
    }

    /// The error of a refused PTRACE_SEIZE.
    pub(crate) fn of_seize(pid: u32, source: io::Error) -> Error {
        match proc::tracer(pid as i32) {
            Some((tracer, name)) => Error::Traced {
                pid,
                tracer: tracer as u32,
                name,
            },
            None => Error::Trace { pid, source },
        }
    }

    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::System { what, source }
    }
}

/// The interpreter that `program`, looked for in `PATH` as execvp(3) does, names and that doesn't
/// exist.
fn missing_interpreter(program: &OsStr) -> Option<PathBuf> {
    let path = match program.as_bytes().contains(&b'/') {
        true => PathBuf::from(program),
        false => {
            let directories = std::env::var_os("PATH")?;
            let mut paths = std::env::split_paths(&directories).map(|dir| dir.join(program));
            paths.find(|path| path.is_file())?
        }
    };
    program::interpreter(&path).filter(|interpreter| !interpreter.exists())
}

/// Why an image can't be delivered.
#[derive(Debug, Error, Diagnostic)]
#[diagnostic(help("build it with `vdso build`, which gives images the shape that delivery needs"))]
#[non_exhaustive]
pub enum ImageError {
    /// It is no ELF object.
    #[error("{0}")]
    Parse(ParseError),
    /// It is an ELF object of another kind: a relocatable object file, a program, a core dump.
    #[error("it is {0}, not a shared object")]
    Kind(&'static str),
    /// It breaks a rule of `vdso check`.
    #[error("{0}")]
    Broken(Finding),
    /// It is for another architecture: its `e_machine`.
    #[error("it is for another architecture (e_machine {0})")]
    Machine(u16),
    /// Its segments don't have the shape that ld.so, glibc, musl and Go read alike.
    #[error("{0}")]
    Segments(&'static str),
    /// Its note of links is truncated, or names a word outside its text.
    #[error("its note of links is broken")]
    Links,
    /// It has no link of the name asked for.
    #[error("it has no such link")]
    NoLink,
    /// It has no vvar pages to be taken from elsewhere.
    #[error("it has no vvar pages")]
    NoVvar,
    /// The file given for the vvar pages is too short for them, or the offset is not a multiple of
    /// the page size.
    #[error("{needed} bytes of vvar pages at offset {offset} of a file of {length} bytes")]
    VvarOffset {
        /// The offset in the file, in bytes.
        offset: u64,
        /// Bytes of the image's vvar pages.
        needed: u64,
        /// Bytes of the file.
        length: u64,
    },
}

/// Why a program or a process continues with the vDSO that it had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unserved {
    /// An x32 program, or a 32-bit program and the object has nothing for those: they have another
    /// vDSO.
    #[error("it is not a 64-bit program")]
    NotNative,
    /// It runs with more rights than its caller (AT_SECURE): setuid, setgid or file
    /// capabilities.
    #[error("it runs with more rights than its caller")]
    Privileged,
    /// Another process traces it.
    #[error("another process traces it")]
    Traced,
    /// The kernel gave it no vDSO (boot parameter `vdso=0`).
    #[error("the kernel gave it no vDSO")]
    NoVdso,
    /// It can't open the image's file, or may not map it.
    #[error("it can't map the image: {0}")]
    Map(#[source] io::Error),
    /// The tracer could not read or write its state.
    #[error("it can't be changed: {0}")]
    Access(#[source] io::Error),
    /// It is stopped, as by SIGSTOP.
    #[error("it is stopped; continue it first")]
    Stopped,
    /// A thread of it does not stop, as in vfork(2), or ended meanwhile.
    #[error("one of its threads ends, or sleeps where it can't be stopped, as in vfork(2)")]
    Busy,
    /// A thread of it is in a vDSO function, or in a signal handler that interrupted one.
    #[error("one of its threads is inside a vDSO function")]
    InsideVdso,
    /// The kernel does not map its vDSO again (CONFIG_CHECKPOINT_RESTORE), without which the process
    /// could not be restored.
    #[error("this kernel is built without CONFIG_CHECKPOINT_RESTORE")]
    NoSecondVdso,
    /// Its vDSO is sealed (mseal(2), CONFIG_MSEAL_SYSTEM_MAPPINGS), so that nothing can be mapped in
    /// its place.
    #[error(
        "its vDSO is sealed, so it can't be replaced while the program runs; programs started by \
         `vdso run` have it replaced from their start"
    )]
    Sealed,
    /// A seccomp filter may end it for the system calls of the change, and this process may not
    /// suspend the filter.
    #[error(
        "a seccomp filter restricts it, which only a process with CAP_SYS_ADMIN and without a \
         filter may suspend"
    )]
    Filtered,
    /// Another process has the same memory (clone(2) with CLONE_VM): its threads can't be stopped
    /// along with those of this one.
    #[error("it shares its memory with process {0}")]
    SharesMemory(u32),
    /// It is a thread of the kernel.
    #[error("it is a thread of the kernel, which has no vDSO")]
    KernelThread,
    /// It has been attached to before.
    #[error("it has been attached to before; `vdso detach` it first")]
    AlreadyAttached,
    /// It began with a delivered object.
    #[error("it was started with a delivered vDSO")]
    Delivered,
    /// It has not been attached to.
    #[error("it has no vDSO that was attached")]
    NotAttached,
    /// The kernel's vDSO is of a shape that leaves no room for jumps.
    #[error("its vDSO has no room for jumps to another")]
    NoRoom,
    /// The kernel does not show a tracer how it restarts a system call: RISC-V before Linux 6.6.
    #[error("the kernel hides how it restarts system calls, which it shows from Linux 6.6 on")]
    OldKernel,
}

/// Why waits of a program are the kernel's, in real time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnservedWait {
    /// Another process traces the thread: none can be told to make another call.
    #[error("another process traces it")]
    Traced,
    /// Time-outs are submitted to io_uring(7), in memory that no call shows.
    #[error("io_uring's time-outs can't be converted")]
    IoUring,
    /// It is a 32-bit program and sets a time-out of a socket; or it waits and has a seccomp filter of
    /// its own, which may forbid the calls that its waits are made by.
    #[error(
        "socket time-outs of 32-bit programs, and waits under their own filters, can't be converted"
    )]
    I386,
}

/// Why file times of a program are the file system's, in real time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnservedFileTimes {
    /// Another process traces the thread: none can be told to make another call.
    #[error("another process traces it")]
    Traced,
    /// It has an io_uring(7), by which it may read them without a call.
    #[error("those that io_uring reads can't be converted")]
    IoUring,
    /// It is a 32-bit program that sets them and has a seccomp filter of its own, which may forbid the call
    /// with 64-bit times.
    #[error("a 32-bit program with its own filter can't set others")]
    Filter,
}

/// A report of the tracer about one process. All but [`Event::Delivered`] are reported once for
/// each executable.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A new program has the object. For most this is reported at their next event: when they
    /// start a process, or exit.
    Delivered {
        /// The process.
        pid: u32,
    },
    /// A new program runs without it, unchanged.
    Unserved {
        /// The process.
        pid: u32,
        /// Its executable, if known.
        program: Option<PathBuf>,
        /// Why.
        reason: Unserved,
    },
    /// Waits of a program are in real time, though its clocks are not.
    UnservedWait {
        /// The process.
        pid: u32,
        /// Its executable, where that can be told.
        program: Option<PathBuf>,
        /// Why.
        reason: UnservedWait,
    },
    /// File times of a program are in real time, though its clocks are not.
    UnservedFileTimes {
        /// The process.
        pid: u32,
        /// Its executable, where that can be told.
        program: Option<PathBuf>,
        /// Why.
        reason: UnservedFileTimes,
    },
    /// A setuid or setgid program runs without the rights of its file's owner: the kernel
    /// withholds them if the tracer does not have them itself
    /// (security/commoncap.c, `cap_bprm_creds_from_file`).
    RightsWithheld {
        /// The process.
        pid: u32,
        /// Its executable, if known.
        program: Option<PathBuf>,
    },
    /// A new program is valgrind, which runs programs in its own process and gives them no vDSO:
    /// they read the clock by system call.
    Emulates {
        /// The process.
        pid: u32,
        /// Its executable, if known.
        program: Option<PathBuf>,
    },
    /// A new program imports ptrace(2): it has the object and is no longer traced, so that it can
    /// trace others. What it starts is not followed.
    TracesOthers {
        /// The process.
        pid: u32,
        /// Its executable, if known.
        program: Option<PathBuf>,
    },
}
