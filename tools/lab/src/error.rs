//! What can keep the lab from opening.

use std::path::PathBuf;

/// Why the lab could not be set up.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// This machine lacks something, and the lab may not or can't get it.
    #[error("the lab needs {what}, which is not here")]
    Missing {
        /// What is missing.
        what: String,
        /// What to do about it.
        #[help]
        advice: String,
    },
    /// A command that the lab relies on ended badly.
    #[error("`{command}` failed: {how}")]
    #[diagnostic(help("run it by hand to see more"))]
    Command {
        /// The command, as it was run.
        command: String,
        /// Its exit status, or why it could not be run.
        how: String,
    },
    /// Cargo built, but not what a check needs.
    #[error("cargo built no program `{name}` in package `{package}`")]
    #[diagnostic(help("the `needs` of a row in tools/lab/src/checks name it: correct them"))]
    NotBuilt {
        /// The package asked for.
        package: String,
        /// The program or test asked for.
        name: String,
    },
    /// A file or directory of the lab's own.
    #[error("can't use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The archive that the kernel unpacks has no room for this.
    #[error("{what} does not fit into the guest's initial file system")]
    #[diagnostic(help("a name has to be free of NUL and a file smaller than 4 GiB"))]
    Unpackable {
        /// The file's place in the guest.
        what: String,
    },
}

impl Error {
    /// Whether the lab may be skipped on a machine that is not CI.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Ties an I/O error to the path that it is about.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
