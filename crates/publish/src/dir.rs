//! A directory held open, in which files are opened and renamed by their names alone.
//!
//! A path that is checked and then opened again can lead to another file by then. So a path
//! is walked once, component by component and without following symbolic links; what is
//! checked is what fstat(2) says of each open component, and files are opened beneath the
//! last one.

use crate::error::Error;
use crate::file;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// A directory, open, and its path without symbolic links.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens the directory at the absolute `path`, none of whose components may be a
    /// symbolic link. `visit` gets the metadata of each component, from the root on.
    pub(crate) fn walk(path: &Path, mut visit: impl FnMut(&Path, &Stat)) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut walked = PathBuf::new();
        let mut open: Option<OwnedFd> = None;
        for component in path.components() {
            if !matches!(component, Component::RootDir | Component::Normal(_)) {
                return Err(Errno::INVAL);
            }
            walked.push(component);
            let at = open.as_ref().map_or(CWD, AsFd::as_fd);
            let fd = rustix::fs::openat(at, component.as_os_str(), flags, Mode::empty())?;
            visit(&walked, &rustix::fs::fstat(&fd)?);
            open = Some(fd);
        }
        match open {
            Some(fd) if path.is_absolute() => Ok(Self { fd, path: walked }),
            _ => Err(Errno::INVAL),
        }
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file that no symbolic link stands for.
    pub(crate) fn open(&self, name: &OsStr, write: bool) -> Result<File, Error> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        let path = self.path.join(name);
        let doing = if write { "publish" } else { "read" };
        let file = self
            .open_with(name, access, Mode::empty())
            .map_err(|e| Error::io(doing, &path, e))?;
        file::check_regular(&file, &path)?;
        Ok(file)
    }

    /// openat(2) that neither follows a symbolic link nor waits for a FIFO's other end.
    pub(crate) fn open_with(&self, name: &OsStr, flags: OFlags, mode: Mode) -> Result<File, Errno> {
        let always = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, name, flags | always, mode).map(File::from)
    }

    /// The metadata of what has this name; of a symbolic link, its own.
    pub(crate) fn stat(&self, name: &OsStr) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    pub(crate) fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to)
    }

    /// Removes a file. Success when there is none.
    pub(crate) fn remove(&self, name: &OsStr) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether this is a regular file.
pub(crate) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// The name of the hidden file `.NAME.SUFFIX`.
pub(crate) fn hidden(name: &OsStr, suffix: &str) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(suffix);
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    /// A directory with one entry of each kind.
    fn entries() -> (tempfile::TempDir, PathBuf) {
        let temporary = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(temporary.path()).unwrap();
        fs::create_dir(path.join("directory")).unwrap();
        fs::write(path.join("file"), "content").unwrap();
        symlink("directory", path.join("link")).unwrap();
        symlink("file", path.join("alias")).unwrap();
        let fifo = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(CWD, path.join("fifo"), FileType::Fifo, fifo, 0).unwrap();
        (temporary, path)
    }

    fn walk(path: &Path) -> Result<Dir, Errno> {
        Dir::walk(path, |_, _| {})
    }

    #[test]
    fn every_component_is_visited_and_the_last_one_is_opened() {
        let (_temporary, path) = entries();
        let path = path.join("directory");
        let mut visited = vec![];
        let dir = Dir::walk(&path, |at, stat| visited.push((at.to_owned(), stat.st_ino))).unwrap();
        let expected: Vec<_> = path.ancestors().map(|at| (at, inode(at))).collect();
        let visited: Vec<_> = visited
            .iter()
            .rev()
            .map(|(at, ino)| (&**at, *ino))
            .collect();
        assert_eq!(visited, expected);
        assert_eq!(dir.path(), path);
        assert_eq!(rustix::fs::fstat(&dir).unwrap().st_ino, inode(&path));
    }

    fn inode(path: &Path) -> u64 {
        fs::symlink_metadata(path).unwrap().ino()
    }

    /// What is no directory is not opened, so that a FIFO makes nothing wait.
    #[test]
    fn a_walk_ends_at_what_is_no_directory() {
        let (_temporary, path) = entries();
        for name in ["file", "fifo", "link", "alias", "link/below", "file/below"] {
            let refused = walk(&path.join(name)).map(|_| ());
            assert_eq!(refused, Err(Errno::NOTDIR), "{name}");
        }
        let missing = walk(&path.join("missing")).map(|_| ());
        assert_eq!(missing, Err(Errno::NOENT));
        for path in [Path::new("directory"), Path::new(""), &path.join("../x")] {
            let refused = walk(path).map(|_| ());
            assert!(refused.is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_name_is_opened_itself_and_only_a_regular_file() {
        let (_temporary, path) = entries();
        let dir = walk(&path).unwrap();
        let open = |name: &str, write| dir.open(OsStr::new(name), write);
        for write in [false, true] {
            let file = open("file", write).unwrap();
            assert_eq!(file.metadata().unwrap().ino(), inode(&path.join("file")));
            let flags = rustix::io::fcntl_getfd(&file).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            for name in ["alias", "link", "directory", "fifo", "missing"] {
                assert!(open(name, write).is_err(), "{name}");
            }
        }
        let stat = dir.stat(OsStr::new("alias")).unwrap();
        assert!(!is_regular(&stat));
        assert_eq!(stat.st_ino, inode(&path.join("alias")));
        assert!(is_regular(&dir.stat(OsStr::new("file")).unwrap()));
    }

    #[test]
    fn files_are_renamed_and_removed_beneath_the_directory() {
        let (_temporary, path) = entries();
        let dir = walk(&path).unwrap();
        let [file, other, directory] = ["file", "other", "directory"].map(OsStr::new);
        dir.rename(file, other).unwrap();
        assert_eq!(fs::read(path.join(other)).unwrap(), b"content");
        dir.remove(other).unwrap();
        assert!(!path.join(other).exists());
        dir.remove(other).expect("there is none");
        assert!(dir.remove(directory).is_err());
        assert_eq!(hidden(file, "lock"), ".file.lock");
    }
}
