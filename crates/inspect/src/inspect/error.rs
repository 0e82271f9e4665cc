//! Why nothing could be shown.

use super::Target;
use miette::Diagnostic;
use std::io;
use std::path::PathBuf;
use thiserror::Error;
use vdsokit_elf::ParseError;
use vdsokit_elf::core_dump::CoreError;
use vdsokit_elf::process::ProcessError;

/// Why a target could not be looked into.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum InspectError {
    /// A file could not be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no image.
    #[error("{} is no vDSO image: {source}", path.display())]
    #[diagnostic(help("name an image, such as libweather.so.1, a core dump, a process or `self`"))]
    NotAnImage {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ParseError,
    },
    /// A core dump holds no vDSO.
    #[error("no vDSO in the core dump {}: {source}", path.display())]
    #[diagnostic(help(
        "a dump keeps the vDSO where bit 1 of /proc/PID/coredump_filter is set, or bit 4, which \
         keeps ELF headers; see core(5)"
    ))]
    Core {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: CoreError,
    },
    /// A process could not be looked into.
    #[error("process {pid} can't be looked into")]
    #[diagnostic(help(
        "it may have ended; otherwise it takes its user's rights, or root's: the right to trace it"
    ))]
    Process {
        /// Which.
        pid: u32,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no vDSO.
    #[error("{target} has no vDSO")]
    #[diagnostic(help("`vdso doctor` says why, if it is to be found out"))]
    NoVdso {
        /// Where there is none.
        target: Target,
    },
    /// What was found at the vDSO's place is no image.
    #[error("what process {pid} has at {address:#x} is no image: {source}")]
    Broken {
        /// Which.
        pid: u32,
        /// Where.
        address: u64,
        /// Why.
        #[source]
        source: ParseError,
    },
}

impl InspectError {
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
