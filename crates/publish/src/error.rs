//! What can go wrong between a path and a value, and what to do about it.

use crate::place::Unfit;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use vdsokit_vvar::directory::Malformed;
use vdsokit_vvar::pages::PagesError;

/// Why a vDSO was not opened, published, read or written.
///
/// Every variant names the file or the variable. `Display` is one line without the cause,
/// which [`source`](std::error::Error::source) returns; [`hint`](Error::hint) says what to
/// do next. `Debug` is all of that as sentences, so that `fn main() -> Result<(), Error>`
/// and `unwrap` print them.
#[non_exhaustive]
pub enum Error {
    /// There is no file of that name.
    Missing {
        /// The file.
        path: PathBuf,
    },

    /// The kernel did not allow it.
    Denied {
        /// What was to be done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
    },

    /// The file system is full, or a quota is.
    NoSpace {
        /// The file.
        path: PathBuf,
        /// How many it needs.
        bytes: u64,
    },

    /// Any other answer of the kernel.
    Io {
        /// What was to be done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },

    /// The file is not a vDSO that holds vvar pages.
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        why: String,
    },

    /// The file ends before its vvar pages do.
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length.
        has: u64,
        /// The length that its program headers tell.
        needs: u64,
    },

    /// The header of the pages was not taken.
    Pages {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PagesError,
    },

    /// The directory was not taken.
    Directory {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Malformed,
    },

    /// Header and directory of one file tell of different layouts.
    Torn {
        /// The file.
        path: PathBuf,
        /// The header's layout hash.
        pages: u64,
        /// The directory's.
        directory: u64,
    },

    /// Somebody else is the publisher.
    Busy {
        /// The file.
        path: PathBuf,
        /// The publisher's process id as it sees itself, if it has said.
        pid: Option<u32>,
        /// Its program's name, if this process may see it.
        name: Option<String>,
    },

    /// Nothing can be published there.
    Unfit {
        /// The directory.
        directory: PathBuf,
        /// Why not.
        reason: Unfit,
        /// What to do instead.
        help: String,
    },

    /// No variable has that name.
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// What there is.
        help: String,
    },

    /// The variable is of another type than the one asked for.
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
    Line {
        /// The line.
        line: String,
        /// What is wrong.
        why: &'static str,
    },

    /// The latch has a writer already.
    Taken {
        /// The variable.
        name: String,
    },

    /// A declaration of which no image can be made.
    Image {
        /// Its soname.
        soname: String,
        /// What is wrong.
        why: String,
    },
}

impl Error {
    /// What to do about it, where this library knows.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } => {
                "`vdso build` makes it from a declaration; `vdso serve system` makes its own"
                    .to_owned()
            }
            Self::Denied { path, .. } => format!(
                "reading needs read permission and no more; publishing is for the file's owner: \
                 see `ls -l {}`",
                path.display()
            ),
            Self::NoSpace { .. } => "make room, or publish elsewhere; nothing was changed, and no \
                 reader will meet a missing page"
                .to_owned(),
            Self::Io { .. } => return None,
            Self::Foreign { path, .. } => {
                format!("`vdso check {}` says more about what it is", path.display())
            }
            Self::Truncated { .. } => "build it again, and install it by renaming: never copy \
                 over a vDSO that is in use"
                .to_owned(),
            Self::Pages { .. } | Self::Directory { .. } => {
                "build the image again with this version of vdsokit".to_owned()
            }
            Self::Torn { .. } => {
                "the file was put together from two images: build it again".to_owned()
            }
            Self::Busy { .. } => "a vDSO has one publisher at a time: end that one, or write \
                 through it"
                .to_owned(),
            Self::Unfit { help, .. } | Self::Unknown { help, .. } => help.clone(),
            Self::Mismatch { .. } => "build the program against this image, or ask for the type \
                 that the image has"
                .to_owned(),
            Self::Value { name, ty, .. } => format!("`{name}` is of type {ty}"),
            Self::Line { .. } => "write `name=value`, `name.field=value`, `name=\"a text\"` or \
                 `name=1,2,3`, several with spaces between"
                .to_owned(),
            Self::Taken { .. } => "a latch has one writer at a time: drop that handle, or write \
                 through it"
                .to_owned(),
            Self::Image { .. } => {
                "`vdso build` on the same declaration shows where it is wrong".to_owned()
            }
        })
    }

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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(f, "{}: there is no such file", path.display()),
            Self::Denied { doing, path } => {
                write!(f, "{}: no permission to {doing} it", path.display())
            }
            Self::NoSpace { path, bytes } => {
                write!(f, "{}: no space left for {bytes} bytes", path.display())
            }
            Self::Io { doing, path, .. } => write!(f, "{}: cannot {doing} it", path.display()),
            Self::Foreign { path, why } => write!(
                f,
                "{}: this is no vDSO with vvar pages: {why}",
                path.display()
            ),
            Self::Truncated { path, has, needs } => write!(
                f,
                "{}: the file is cut short: its vvar pages end at byte {needs}, the file at {has}",
                path.display()
            ),
            Self::Pages { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Directory { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Torn {
                path,
                pages,
                directory,
            } => write!(
                f,
                "{}: its pages have layout {pages:#018x}, its directory {directory:#018x}",
                path.display()
            ),
            Self::Busy { path, pid, name } => {
                write!(f, "{}: ", path.display())?;
                match (pid, name) {
                    (Some(pid), Some(name)) => write!(f, "process {pid} (`{name}`)")?,
                    (Some(pid), None) => write!(f, "process {pid}")?,
                    (None, _) => f.write_str("another process")?,
                }
                f.write_str(" is its publisher")
            }
            Self::Unfit {
                directory, reason, ..
            } => write!(
                f,
                "{}: nothing can be published here: {reason}",
                directory.display()
            ),
            Self::Unknown { path, name, .. } => {
                write!(f, "{}: no variable is called `{name}`", path.display())
            }
            Self::Mismatch {
                path,
                name,
                found,
                wanted,
            } => write!(
                f,
                "{}: `{name}` is {found}; asked for was {wanted}",
                path.display()
            ),
            Self::Value {
                name, text, why, ..
            } => write!(f, "`{text}` is no value for `{name}`: {why}"),
            Self::Line { line, why } => write!(f, "`{line}`: {why}"),
            Self::Taken { name } => write!(f, "`{name}` has a writer already"),
            Self::Image { soname, why } => {
                write!(f, "no image of {soname} can be built: {why}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            // The other causes are part of the message.
            _ => None,
        }
    }
}

/// The message, its causes and the help, each on a line.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, "\n  cause: {error}")?;
            cause = error.source();
        }
        match self.hint() {
            Some(hint) => write!(f, "\n  help: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(feature = "miette")]
impl miette::Diagnostic for Error {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint()
            .map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }
}
