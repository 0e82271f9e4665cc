//! Errors: what failed, on which file or variable, and what to do next.

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

    /// There is no directory for the file.
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },

    /// No file can be created in the directory: publishing needs one for its lock.
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What to do instead.
        help: String,
    },

    /// The lock file beside the vDSO cannot be used.
    LockFile {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        why: String,
    },

    /// The image would move, retype or drop a variable of the file that it replaces, and
    /// programs were built against that.
    Layout {
        /// The file.
        path: PathBuf,
        /// The first variable that differs.
        name: String,
        /// Its type and offset in the file.
        found: String,
        /// The same in the new image, or that it is absent.
        wanted: String,
    },

    /// The kernel did not allow it.
    Denied {
        /// The operation, as a verb.
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

    /// Any other error of a system call.
    Io {
        /// The operation, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },

    /// The file is not a vDSO that holds vvar pages.
    Foreign {
        /// The file.
        path: PathBuf,
        /// Which part is missing.
        why: String,
    },

    /// The file ends before its vvar pages do.
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length.
        has: u64,
        /// The length by its program headers.
        needs: u64,
    },

    /// The header of the pages is not valid.
    Pages {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PagesError,
    },

    /// The directory is not valid.
    Directory {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Malformed,
    },

    /// Header and directory of one file have different layouts.
    Torn {
        /// The file.
        path: PathBuf,
        /// The header's layout hash.
        pages: u64,
        /// The directory's.
        directory: u64,
    },

    /// Another publisher holds the vDSO.
    Busy {
        /// The file.
        path: PathBuf,
        /// The publisher's process id, if it is visible here.
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
        /// The names that exist.
        help: String,
    },

    /// The variable has another type than the one asked for.
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

    /// A text is not a value of the variable's type.
    Value {
        /// The variable, or the field of one.
        name: String,
        /// The text.
        text: String,
        /// Its type.
        ty: String,
        /// What is wrong.
        why: String,
    },

    /// A line is not a list of assignments.
    Line {
        /// The line.
        line: String,
        /// What is wrong.
        why: &'static str,
    },

    /// The latch already has a writer.
    Taken {
        /// The variable.
        name: String,
    },

    /// No image can be built from a declaration.
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
            Self::NoDirectory { path } => format!("make it first: `mkdir -p {}`", path.display()),
            Self::NotWritable { help, .. } => help.clone(),
            Self::LockFile { .. } => {
                "remove it if no publisher runs; nothing was written to it".to_owned()
            }
            Self::Layout { .. } => "programs that were built against the old layout would read \
                 other values: append variables instead, give the image another soname, or \
                 replace the file on purpose (`vdso serve --replace`, `Options::replace`)"
                .to_owned(),
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

    /// [`Error::Busy`] with the name of the process, if this one may see it.
    pub(crate) fn busy(path: &Path, pid: Option<u32>) -> Self {
        let name = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok());
        Self::Busy {
            path: path.to_owned(),
            pid,
            name: name.map(|name| name.trim_end().to_owned()),
        }
    }

    /// As [`Error::io`], for a call that needs `bytes` of space.
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
            Self::NoDirectory { path } => {
                write!(f, "{}: there is no such directory", path.display())
            }
            Self::NotWritable { path, .. } => write!(
                f,
                "{}: no permission to create files in this directory",
                path.display()
            ),
            Self::LockFile { path, why } => write!(
                f,
                "{}: this lock file cannot be used: {why}",
                path.display()
            ),
            Self::Layout {
                path,
                name,
                found,
                wanted,
            } => write!(
                f,
                "{}: `{name}` is {found} in this file and {wanted} in the new image",
                path.display()
            ),
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
            } => write!(f, "{}: `{name}` is {found}, not {wanted}", path.display()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_errors_of_a_write() {
        let error = |kind: io::ErrorKind| Error::space(Path::new("/lib.so"), 5, kind);
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert!(matches!(error(full), Error::NoSpace { bytes: 5, .. }));
        }
        let other = error(io::ErrorKind::FileTooLarge);
        assert!(matches!(other, Error::Io { doing: "write", .. }));
    }
}
