//! What can go wrong between a path and a value, and what to do about it.

use crate::place::Unfit;
use miette::Diagnostic;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use vdsokit_vvar::directory::Malformed;
use vdsokit_vvar::pages::PagesError;

/// Why a vDSO was not opened, published, read or written.
///
/// Every variant names the file or the variable, and its help says what to do next.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// There is no file of that name.
    #[error("{}: there is no such file", path.display())]
    #[diagnostic(help(
        "`vdso build` makes it from a declaration; `vdso serve system` makes its own"
    ))]
    Missing {
        /// The file.
        path: PathBuf,
    },

    /// The kernel did not allow it.
    #[error("{}: no permission to {doing} it", path.display())]
    #[diagnostic(help("reading needs read permission and no more; publishing is for the file's owner: see `ls -l {}`", path.display()))]
    Denied {
        /// What was to be done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
    },

    /// The file system is full, or a quota is.
    #[error("{}: no space left for {bytes} bytes", path.display())]
    #[diagnostic(help(
        "make room, or publish elsewhere; nothing was changed, and no reader will meet a missing page"
    ))]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// How many it needs.
        bytes: u64,
    },

    /// Any other answer of the kernel.
    #[error("{}: cannot {doing} it", path.display())]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },

    /// The file is not a vDSO that holds vvar pages.
    #[error("{}: this is no vDSO with vvar pages: {why}", path.display())]
    #[diagnostic(help("`vdso check {}` says more about what it is", path.display()))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        why: String,
    },

    /// The file ends before its vvar pages do.
    #[error("{}: the file is cut short: its vvar pages end at byte {needs}, the file at {has}", path.display())]
    #[diagnostic(help(
        "build it again, and install it by renaming: never copy over a vDSO that is in use"
    ))]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length.
        has: u64,
        /// The length that its program headers tell.
        needs: u64,
    },

    /// The header of the pages was not taken.
    #[error("{}: {source}", path.display())]
    #[diagnostic(help("build the image again with this version of vdsokit"))]
    Pages {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PagesError,
    },

    /// The directory was not taken.
    #[error("{}: {source}", path.display())]
    #[diagnostic(help("build the image again with this version of vdsokit"))]
    Directory {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Malformed,
    },

    /// Header and directory of one file tell of different layouts.
    #[error("{}: its pages have layout {pages:#018x}, its directory {directory:#018x}", path.display())]
    #[diagnostic(help("the file was put together from two images: build it again"))]
    Torn {
        /// The file.
        path: PathBuf,
        /// The header's layout hash.
        pages: u64,
        /// The directory's.
        directory: u64,
    },

    /// Somebody else is the publisher.
    #[error("{}: {} is its publisher", path.display(), who(*pid, name.as_deref()))]
    #[diagnostic(help("a vDSO has one publisher at a time: end that one, or write through it"))]
    Busy {
        /// The file.
        path: PathBuf,
        /// The publisher's process id as it sees itself, if it has said.
        pid: Option<u32>,
        /// Its program's name, if this process may see it.
        name: Option<String>,
    },

    /// Nothing can be published there.
    #[error("{}: nothing can be published here: {reason}", directory.display())]
    Unfit {
        /// The directory.
        directory: PathBuf,
        /// Why not.
        reason: Unfit,
        /// What to do instead.
        #[help]
        help: String,
    },

    /// No variable has that name.
    #[error("{}: no variable is called `{name}`", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// What there is.
        #[help]
        help: String,
    },

    /// The variable is of another type than the one asked for.
    #[error("{}: `{name}` is {found}; asked for was {wanted}", path.display())]
    #[diagnostic(help(
        "build the program against this image, or ask for the type that the image has"
    ))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The variable.
        name: String,
        /// Its type.
        found: String,
        /// The type asked for.
        wanted: String,
    },

    /// A text that should be a value is none.
    #[error("`{text}` is no value for `{name}`: {why}")]
    #[diagnostic(help("`{name}` is of type {ty}"))]
    Value {
        /// The variable, or the field of one.
        name: String,
        /// What was given.
        text: String,
        /// Its type.
        ty: String,
        /// What is wrong.
        why: String,
    },

    /// A line that should assign values does not.
    #[error("`{line}`: {why}")]
    #[diagnostic(help(
        "write `name=value`, `name.field=value`, `name=\"a text\"` or `name=1,2,3`, several with spaces between"
    ))]
    Line {
        /// The line.
        line: String,
        /// What is wrong.
        why: &'static str,
    },

    /// The latch has a writer already.
    #[error("`{name}` has a writer already")]
    #[diagnostic(help("a latch has one writer at a time: drop that handle, or write through it"))]
    Taken {
        /// The variable.
        name: String,
    },

    /// A declaration of which no image can be made.
    #[error("no image of {soname} can be built: {why}")]
    #[diagnostic(help("`vdso build` on the same declaration shows where it is wrong"))]
    Image {
        /// Its soname.
        soname: String,
        /// What is wrong.
        why: String,
    },
}

fn who(pid: Option<u32>, name: Option<&str>) -> String {
    match (pid, name) {
        (Some(pid), Some(name)) => format!("process {pid} (`{name}`)"),
        (Some(pid), None) => format!("process {pid}"),
        (None, _) => "another process".into(),
    }
}

impl Error {
    /// The error for a system call on `path` that failed: [`Error::Missing`] or
    /// [`Error::Denied`] where they apply, otherwise [`Error::Io`]. `doing` is a verb, as in
    /// "cannot read it".
    #[must_use]
    pub fn io(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::PermissionDenied => Self::Denied { doing, path },
            _ => Self::Io {
                doing,
                path,
                source,
            },
        }
    }

    /// As [`Error::io`], where `bytes` were to be had.
    pub(crate) fn space(path: &Path, bytes: u64, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace {
                path: path.to_owned(),
                bytes,
            },
            _ => Self::io("write", path, source),
        }
    }
}
