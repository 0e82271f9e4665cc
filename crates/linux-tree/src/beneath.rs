//! Files of a tree, reached from its root and never through a symbolic link.
//!
//! A tree may come from anybody. A symbolic link in it could lead a read, a write or a removal
//! to any file of the user's, and could be put there after a look at the path. So each path is
//! resolved by the kernel in one go, from a descriptor of the root: `openat2(2)` with
//! `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`. What is created, renamed or removed is named by
//! its last component in a directory that was opened so, and those system calls follow no link
//! in the last component.

use crate::error::Error;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory below which everything lies.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    directory: Arc<OwnedFd>,
    path: PathBuf,
}

/// The mode of a file that is new, as `open(2)` takes it.
const NEW_FILE: u32 = 0o644;
const NEW_DIRECTORY: u32 = 0o777;

impl Root {
    /// Opens the root, which may itself be named by a symbolic link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            directory: Arc::new(rustix::fs::open(path, flags, Mode::empty())?),
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn open_beneath(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let path = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => path,
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = flags | OFlags::CLOEXEC;
        let opened = rustix::fs::openat2(&*self.directory, path, flags, Mode::empty(), resolve)?;
        Ok(opened)
    }

    pub(crate) fn is_directory(&self, path: &Path) -> bool {
        self.open_beneath(path, OFlags::PATH | OFlags::DIRECTORY)
            .is_ok()
    }

    pub(crate) fn is_file(&self, path: &Path) -> bool {
        self.open_beneath(path, OFlags::PATH)
            .and_then(|file| File::from(file).metadata())
            .is_ok_and(|metadata| metadata.is_file())
    }

    /// Reads a file, named from the root of the tree; `None` when there is none.
    pub(crate) fn read(&self, file: &Path) -> Result<Option<String>, Error> {
        // A FIFO in the file's place is not waited for.
        let opened = self.open_beneath(file, OFlags::RDONLY | OFlags::NONBLOCK);
        let read = opened.and_then(|opened| {
            let mut opened = File::from(opened);
            if !opened.metadata()?.is_file() {
                return Err(io::Error::other("not a regular file"));
            }
            let mut text = String::new();
            opened.read_to_string(&mut text)?;
            Ok(text)
        });
        match read {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error(file, "read")(error)),
        }
    }

    /// Replaces a file whole, keeping its permissions; its directory exists.
    pub(crate) fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        let (directory, name) = self.parent(file)?;
        let mode = match self.open_beneath(file, OFlags::PATH) {
            Ok(before) => File::from(before).metadata()?.mode() & 0o7777,
            Err(error) if error.kind() == io::ErrorKind::NotFound => NEW_FILE,
            Err(error) => return Err(error),
        };
        let mut temporary = name.to_owned();
        temporary.push(format!(".vdsokit-{}", std::process::id()));
        // A run with the same process id that was killed may have left its temporary file.
        let _ = rustix::fs::unlinkat(&directory, &temporary, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let created = rustix::fs::openat(&directory, &temporary, flags, Mode::from(NEW_FILE))?;
        let mut created = File::from(created);
        let replaced = created
            .write_all(text.as_bytes())
            .and_then(|()| Ok(rustix::fs::fchmod(&created, Mode::from(mode))?))
            .and_then(|()| {
                Ok(rustix::fs::renameat(
                    &directory, &temporary, &directory, name,
                )?)
            });
        if replaced.is_err() {
            let _ = rustix::fs::unlinkat(&directory, &temporary, AtFlags::empty());
        }
        replaced
    }

    /// Removes a file, or the symbolic link that has its name.
    pub(crate) fn remove_file(&self, file: &Path) -> io::Result<()> {
        let (directory, name) = self.parent(file)?;
        Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?)
    }

    /// Makes a directory and those above it that are not there, and adds them to `made`.
    pub(crate) fn make_directories(
        &self,
        directory: &Path,
        made: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        match self.open_beneath(directory, OFlags::PATH | OFlags::DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened.map(drop),
        }
        if let Some(above) = directory.parent() {
            self.make_directories(above, made)?;
        }
        let (above, name) = self.parent(directory)?;
        rustix::fs::mkdirat(above, name, Mode::from(NEW_DIRECTORY))?;
        made.push(directory.to_owned());
        Ok(())
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        let (above, name) = self.parent(directory)?;
        Ok(rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR)?)
    }

    /// The entries of a directory, and the directory to name them in; `None` when there is none.
    pub(crate) fn entries(&self, directory: &Path) -> io::Result<Option<Entries>> {
        match self.open_beneath(directory, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(directory) => Entries::of(directory).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parent<'path>(&self, path: &'path Path) -> io::Result<(OwnedFd, &'path OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        let directory = self.open_beneath(parent, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok((directory, name))
    }

    /// Ties an I/O error to a path of the tree; one that means a link says so.
    pub(crate) fn error(&self, path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Error {
        let (path, whole) = (path.to_owned(), self.path.join(path));
        move |source| match rustix::io::Errno::from_io_error(&source) {
            Some(rustix::io::Errno::LOOP | rustix::io::Errno::XDEV) => Error::Linked { path },
            _ => Error::file(whole, what)(source),
        }
    }
}

/// What is in a directory.
pub(crate) struct Entries {
    directory: OwnedFd,
    names: Vec<(std::ffi::CString, FileType)>,
}

impl Entries {
    fn of(directory: OwnedFd) -> io::Result<Self> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            // Some file systems leave the type out of the entry.
            let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            names.push((name.to_owned(), FileType::from_raw_mode(stat.st_mode)));
        }
        Ok(Self { directory, names })
    }

    /// Their names and types; a symbolic link is one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CStr, FileType)> {
        self.names
            .iter()
            .map(|(name, kind)| (name.as_c_str(), *kind))
    }

    /// Whether the directory `name` holds a regular file of that name.
    pub(crate) fn holds(&self, name: &CStr, file: &CStr) -> bool {
        self.inside(name).is_ok_and(|inside| {
            inside
                .iter()
                .any(|(name, kind)| name == file && kind == FileType::RegularFile)
        })
    }

    fn inside(&self, name: &CStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::of(rustix::fs::openat(
            &self.directory,
            name,
            flags,
            Mode::empty(),
        )?)
    }

    /// Removes an entry with all that is below it.
    pub(crate) fn remove(&self, name: &CStr, kind: FileType) -> io::Result<()> {
        if kind != FileType::Directory {
            return Ok(rustix::fs::unlinkat(
                self.directory.as_fd(),
                name,
                AtFlags::empty(),
            )?);
        }
        let inside = self.inside(name)?;
        for (name, kind) in inside.iter() {
            inside.remove(name, kind)?;
        }
        Ok(rustix::fs::unlinkat(
            self.directory.as_fd(),
            name,
            AtFlags::REMOVEDIR,
        )?)
    }
}
