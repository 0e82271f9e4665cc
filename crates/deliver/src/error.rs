//! What can go wrong for the caller, and for one process among many.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;
use vdsokit_elf::ParseError;

/// Why a delivery could not be set up. Nothing has been changed in any process.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// No such program.
    #[error("no program {program:?}")]
    #[diagnostic(help("give a path with a '/', or a name that is in a directory of PATH"))]
    NotFound {
        /// As it was asked for.
        program: OsString,
        /// What execvp(3) said.
        source: io::Error,
    },
    /// The program is there, and the kernel refuses to execute it.
    #[error("can't execute {program:?}")]
    #[diagnostic(help("is it executable, and of an architecture and format of this machine?"))]
    CannotExecute {
        /// As it was asked for.
        program: OsString,
        /// What execvp(3) said.
        source: io::Error,
    },
    /// The image can't be delivered.
    #[error("the image can't be delivered")]
    #[diagnostic(transparent)]
    Image(#[from] ImageError),
    /// The kernel refuses to let us trace.
    #[error("no permission to trace process {pid}")]
    #[diagnostic(help(
        "one's own processes may be traced unless another tracer has them, or \
         /proc/sys/kernel/yama/ptrace_scope is 2 or 3, or a seccomp filter forbids ptrace(2), \
         as in some containers (docker: --cap-add SYS_PTRACE)"
    ))]
    Trace {
        /// The process.
        pid: u32,
        /// What ptrace(2) said.
        source: io::Error,
    },
    /// No such process.
    #[error("no process {pid}")]
    #[diagnostic(help("it may have ended; `ps` lists those that live"))]
    NoProcess {
        /// As it was asked for.
        pid: u32,
    },
    /// The process is in a state in which it can't be changed, and is as it was.
    #[error("process {pid} is left as it is: {reason}")]
    #[diagnostic(help(
        "what passes with time, like a stop or a call in progress, may be tried again"
    ))]
    Unserved {
        /// The process.
        pid: u32,
        /// Why.
        reason: Unserved,
    },
    /// Another call to the system failed.
    #[error("can't {what}")]
    #[diagnostic(help("the operating system's reason is given below"))]
    System {
        /// What was tried.
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
            Error::NotFound { .. } => 127,
            Error::CannotExecute { .. } => 126,
            _ => 125,
        }
    }

    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::System { what, source }
    }
}

/// Why an image can't be delivered.
#[derive(Debug, Error, Diagnostic)]
#[diagnostic(help("build it with `vdso build`, which gives images the shape that delivery needs"))]
#[non_exhaustive]
pub enum ImageError {
    /// It is no ELF object.
    #[error("{0}")]
    Parse(ParseError),
    /// It is for another architecture: its `e_machine`.
    #[error("it is for another architecture (e_machine {0})")]
    Machine(u16),
    /// Its segments don't have the shape that ld.so, glibc, musl and Go all read alike.
    #[error("{0}")]
    Segments(&'static str),
    /// Its note of links is cut off, or names a word outside its text.
    #[error("its note of links is broken")]
    Links,
    /// It has no link of the name asked for.
    #[error("it has no such link")]
    NoLink,
    /// It has no vvar pages to be taken from elsewhere.
    #[error("it has no vvar pages")]
    NoVvar,
    /// The file given for the vvar pages doesn't have them there.
    #[error("{needed} bytes of vvar pages at offset {offset} of a file of {length} bytes")]
    VvarOffset {
        /// Where they were said to be.
        offset: u64,
        /// How many the image has.
        needed: u64,
        /// The file's length.
        length: u64,
    },
}

/// Why a program or a process runs on without our vDSO.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unserved {
    /// A 32-bit or x32 program: another vDSO, which images of ours don't replace.
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
    /// It can't reach the image's file, or may not map it.
    #[error("it can't map the image: {0}")]
    Map(#[source] io::Error),
    /// The tracer could not look into it or change it.
    #[error("it can't be changed: {0}")]
    Access(#[source] io::Error),
    /// It is stopped, as by SIGSTOP.
    #[error("it is stopped; continue it first")]
    Stopped,
    /// A thread of it can't be stopped, or ended meanwhile.
    #[error("one of its threads ends, or sleeps where it can't be stopped")]
    Busy,
    /// A thread of it is in a vDSO function, or in a signal handler that interrupted one.
    #[error("one of its threads is inside a vDSO function")]
    InsideVdso,
    /// It ignores SIGTRAP or SIGSEGV, which the change needs.
    #[error("it ignores SIGTRAP or SIGSEGV")]
    IgnoresTrap,
    /// It has been attached to before.
    #[error("it has a vDSO of ours; detach that first")]
    AlreadyAttached,
    /// It began with a vDSO of ours.
    #[error("it was started with a vDSO of ours")]
    Delivered,
    /// It has not been attached to.
    #[error("it has no vDSO that was attached")]
    NotAttached,
    /// The kernel's vDSO is of a shape that leaves no room for jumps.
    #[error("its vDSO has no room for jumps to another")]
    NoRoom,
}

/// What the tracer has to say about one process. Of each executable it says everything but
/// [`Event::Delivered`] once.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A new program has our vDSO. Most are said to when they next show themselves: when they
    /// start another, or end by themselves.
    Delivered {
        /// The process.
        pid: u32,
    },
    /// A new program runs without it, untouched.
    Unserved {
        /// The process.
        pid: u32,
        /// Its executable, where that can be told.
        program: Option<PathBuf>,
        /// Why.
        reason: Unserved,
    },
    /// A setuid or setgid program runs without the rights that it would have: the kernel
    /// withholds them from a program whose tracer doesn't have them itself
    /// (security/commoncap.c, `cap_bprm_creds_from_file`).
    RightsWithheld {
        /// The process.
        pid: u32,
        /// Its executable, where that can be told.
        program: Option<PathBuf>,
    },
    /// A new program imports ptrace(2): it has our vDSO, and is let go, so that it can trace
    /// others. What it starts is not followed.
    TracesOthers {
        /// The process.
        pid: u32,
        /// Its executable, where that can be told.
        program: Option<PathBuf>,
    },
}
