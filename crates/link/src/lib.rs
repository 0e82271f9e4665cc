//! Compiles and links the code of vDSO images.
//!
//! | module | contents |
//! | --- | --- |
//! | [`Architecture`] | the architectures, and the names that Rust, GNU's tools and Linux have for them |
//! | [`Package`] | the run of cargo that compiles a package, with the profile of images |
//! | [`declarations`] | what the macros of `vdsokit-rt` wrote into the compiled code |
//! | [`Linker`], [`link`] | the linkers, and a run of one |
//! | [`Script`], [`version_node`] | the linker script and the version script |
//!
//! Users' crates (`vdsokit-build`) and the clock's image go through the same functions. The caller
//! describes what differs: a package's flags, the sections of a script.

mod arch;
mod compile;
mod declaration;
mod linker;
mod script;

pub use arch::Architecture;
pub use compile::{
    FLAGS, Kind, Optimize, Package, has_core, has_core_source, host_target, profile,
    rerun_if_changed,
};
pub use declaration::{DECLARATION, declarations};
pub use linker::{Linker, link};
pub use script::{PAGES, Pages, Script, Section, VARIABLE, version_node};

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why code could not be compiled or linked.
///
/// Exhaustive: `vdsokit-build` has an error of its own, with advice, for each.
#[derive(Debug)]
pub enum Error {
    /// A file could not be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// What was tried: a participle, such as `read`.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A program could not be started.
    Program {
        /// Which.
        program: String,
        /// Why not.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// cargo ended with an error, which it has printed.
    Compile {
        /// Rust's name of the target.
        target: String,
    },
    /// cargo made no library of the package.
    NoLibrary,
    /// The compiled code could not be read.
    Archive {
        /// What is wrong with it.
        reason: String,
    },
    /// The linker ended with an error.
    Link {
        /// What it printed, without warnings.
        linker: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, what, source } => {
                write!(f, "{} could not be {what}: {source}", path.display())
            }
            Self::Program {
                program,
                source,
                advice,
            } => write!(f, "{program} could not be run: {source}; {advice}"),
            Self::Compile { target } => write!(
                f,
                "the package does not compile for {target}: cargo says above why"
            ),
            Self::NoLibrary => f.write_str("cargo made no library of the package"),
            Self::Archive { reason } => write!(f, "the compiled code could not be read: {reason}"),
            Self::Link { linker } => write!(f, "the code could not be linked:\n{linker}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } | Self::Program { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
