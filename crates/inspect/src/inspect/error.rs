//! Errors of inspection.

use super::Target;
use miette::Diagnostic;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use vdsokit_elf::constants::ET_REL;
use vdsokit_elf::core_dump::CoreError;
use vdsokit_elf::process::ProcessError;
use vdsokit_elf::{Header, ParseError};

/// Why a target could not be inspected.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum InspectError {
    /// A file could not be read.
    #[error("{} could not be read", path.display())]
    Read {
        /// The target.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A file is not an image.
    #[error("{} is not a vDSO image: {reason}", path.display())]
    #[diagnostic(help("name an image, such as libweather.so.1, a core dump, a process or `self`"))]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: ParseError,
    },
    /// A file is an object file, which is not linked.
    #[error("{} is an object file that is not linked: it has no segments", path.display())]
    #[diagnostic(help("link it first, such as by `cc -shared`; `vdso build` makes vDSOs"))]
    ObjectFile {
        /// The file.
        path: PathBuf,
    },
    /// A core dump holds no vDSO.
    #[error("no vDSO was found in the core dump {}: {reason}", path.display())]
    #[diagnostic(help("{}", core_help(reason)))]
    Core {
        /// The target.
        path: PathBuf,
        /// The reason.
        reason: CoreError,
    },
    /// A process could not be inspected.
    #[error("process {pid} could not be inspected")]
    #[diagnostic(help("{}", process_help(*pid)))]
    Process {
        /// The target.
        pid: u32,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A kernel thread was named.
    #[error("process {pid} is a kernel thread: it has no memory of its own, and no vDSO")]
    #[diagnostic(help("name a process of a user, or a file"))]
    KernelThread {
        /// The thread.
        pid: u32,
    },
    /// There is no vDSO.
    #[error("{target} has no vDSO")]
    #[diagnostic(help("`vdso doctor` reports the reason, where it can be found"))]
    NoVdso {
        /// The target.
        target: Target,
    },
    /// The bytes at the vDSO's address are not an image.
    #[error("the memory of process {pid} at {address:#x} is not an image: {reason}")]
    Broken {
        /// The target.
        pid: u32,
        /// The address.
        address: u64,
        /// The reason.
        reason: ParseError,
    },
}

fn core_help(error: &CoreError) -> &'static str {
    match error {
        CoreError::Truncated { .. } => {
            "copy or dump it again; RLIMIT_CORE (`ulimit -c`) and a full disk cut dumps short"
        }
        _ => {
            "a dump has the vDSO where bit 1 of /proc/PID/coredump_filter is set, or bit 4, which \
             includes ELF headers; see core(5)"
        }
    }
}

fn process_help(pid: u32) -> &'static str {
    if !std::path::Path::new("/proc/self").exists() {
        return "/proc is not mounted here: `mount -t proc proc /proc`";
    }
    let id = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let is_there = |id| rustix::process::test_kill_process(id) != Err(rustix::io::Errno::SRCH);
    match std::path::Path::new(&format!("/proc/{pid}")).exists() {
        true => "run as the process's user, or with CAP_SYS_PTRACE",
        false if id.is_some_and(is_there) => {
            "/proc is mounted with `hidepid` (proc(5)): be the process's user, root, or in the group of `gid`"
        }
        false => "there is no such process, or it has ended",
    }
}

impl InspectError {
    /// The error for a file whose bytes can't be parsed as an image.
    #[must_use]
    pub fn not_an_image(path: &Path, bytes: &[u8], reason: ParseError) -> Self {
        let path = path.to_owned();
        match Header::read(bytes) {
            Ok(header) if header.kind == ET_REL => Self::ObjectFile { path },
            _ => Self::NotAnImage { path, reason },
        }
    }

    pub(super) fn process(pid: u32) -> impl Fn(io::Error) -> Self {
        move |source| Self::Process {
            pid,
            source: source.into(),
        }
    }

    pub(super) fn of_process(pid: u32, error: ProcessError) -> Self {
        Self::Process {
            pid,
            source: error.into(),
        }
    }
}
