//! What can keep a kernel tree from being changed.

use miette::Diagnostic;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why nothing was changed.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// The directory is no Linux source tree.
    #[error("{} is no Linux source tree: {why}", tree.display())]
    #[diagnostic(help("name the directory that `make` of the kernel is run in: --tree DIR"))]
    NoTree {
        /// The directory.
        tree: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A tree whose vDSO is built in a way that nothing here knows.
    #[error("the vDSO of Linux {version} is built in a way that this program does not know: {why}")]
    #[diagnostic(help("known are the trees of 6.1 to 6.12 and those from 7.2 on"))]
    UnknownTree {
        /// The kernel's version.
        version: String,
        /// What is not as it should be.
        why: String,
    },
    /// A tree that can have functions, but not the clock.
    #[error("the clock can't take the place of that of Linux {version}: {why}")]
    #[diagnostic(help("it reads the data page as Linux 6.12 has it; nothing was changed"))]
    NoClock {
        /// The kernel's version.
        version: String,
        /// Why not.
        why: String,
    },
    /// A line that an insertion has to stand beside isn't there.
    #[error("{}:{line}: no place for an insertion: expected {looked_for}", file.display())]
    #[diagnostic(help(
        "this file was changed by hand, or comes from a kernel that this program does not know; \
         nothing was changed"
    ))]
    NoAnchor {
        /// The file, from the root of the tree.
        file: PathBuf,
        /// From which line on the place was looked for.
        line: usize,
        /// What.
        looked_for: String,
    },
    /// A line that an insertion has to stand beside is there twice.
    #[error(
        "{}:{}: `{looked_for}` is also in line {}: where an insertion belongs is not clear",
        file.display(), lines[0], lines[1]
    )]
    #[diagnostic(help("this file was changed by hand; nothing was changed"))]
    TwoAnchors {
        /// The file, from the root of the tree.
        file: PathBuf,
        /// The first two lines.
        lines: [usize; 2],
        /// What.
        looked_for: String,
    },
    /// An insertion, or a file that was generated, is not as it was written.
    #[error("{}:{line}: changed by hand: {found}", file.display())]
    #[diagnostic(help(
        "put it back as `vdso kernel add` wrote it, or take out by hand every line with the \
         word vdsokit in this file; nothing was changed"
    ))]
    Changed {
        /// The file, from the root of the tree.
        file: PathBuf,
        /// The line.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// The list of what was added can't be read.
    #[error("{} can't be read: {why}", file.display())]
    #[diagnostic(help("it is written by `vdso kernel add` alone; restore it from a copy"))]
    List {
        /// The file, from the root of the tree.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The crate can't go into a kernel.
    #[error("{} can't go into a kernel: {why}", root.display())]
    Crate {
        /// The crate's directory.
        root: PathBuf,
        /// Why.
        why: String,
        /// What to do about it.
        #[help]
        advice: String,
    },
    /// The clock was not added.
    #[error("the clock was not added to this tree")]
    #[diagnostic(help("`vdso kernel add --clock` does that"))]
    NoClockThere,
    /// Nothing of this name was added.
    #[error("no crate `{name}` was added to this tree")]
    #[diagnostic(help("{}", there(.names)))]
    NotThere {
        /// The name asked for.
        name: String,
        /// What was added.
        names: Vec<String>,
    },
    /// A file of the tree or of the crate.
    #[error("{} could not be {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read`, `made`, `written` or `removed`.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A path of the tree goes through a symbolic link.
    #[error("{} is a symbolic link, or lies behind one", path.display())]
    #[diagnostic(help(
        "files of a tree are read, written and removed in the tree itself only: put a directory \
         or a file in the link's place"
    ))]
    Linked {
        /// The file or directory, from the root of the tree.
        path: PathBuf,
    },
    /// A file changed between the look at it and the writing.
    #[error("{} changed meanwhile", file.display())]
    #[diagnostic(help("run the command again when nothing else edits the tree"))]
    Meanwhile {
        /// The file, from the root of the tree.
        file: PathBuf,
    },
}

fn there(names: &[String]) -> String {
    match names {
        [] => "nothing was added to it".into(),
        names => format!("added were: {}", names.join(", ")),
    }
}

impl Error {
    /// Ties an I/O error to the file that it is about.
    pub(crate) fn file(
        path: impl Into<PathBuf>,
        what: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, what, source }
    }
}
