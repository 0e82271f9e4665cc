//! One publisher at a time.
//!
//! The lock is on a file beside the vDSO, `.NAME.lock`, which only its owner may open
//! (mode 0600). A lock on the vDSO itself could be taken by every reader: read permission
//! suffices for flock(2), and for an fcntl(2) lock that excludes a writer's. And the vDSO may
//! be replaced while its publisher lives; the name stays.
//!
//! It is a POSIX record lock (fcntl(2), `F_SETLK`), because that belongs to the process: the
//! kernel releases it however the process ends, also when a child of fork(2) lives on.
//! flock(2) and `F_OFD_SETLK` belong to the open file, which the child shares. A record lock
//! has two weaknesses, both dealt with here: it does not exclude the same process, so there is a
//! table of the locks that this process holds; and closing any descriptor of the file releases
//! it, so a file in that table is not opened again.
//!
//! Before it is used, the lock file must be a regular file of this user with one link. So
//! neither a symbolic link nor a hard link to another file is written to, and another user
//! who made the file first cannot hold the lock.
//!
//! For people, the file holds the publisher's process id. It is removed when the lock is
//! released; one that a crash left behind does not exclude the next publisher.

use crate::dir::{Dir, hidden, is_regular};
use crate::error::Error;
use crate::place;
use rustix::fs::{FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A lock file: its process and its inode.
type Key = (u32, u64, u64);

/// The locks that this process holds. A child of fork(2) has a copy of the table but none of
/// the locks, hence the process id.
static HELD: Mutex<Vec<Key>> = Mutex::new(Vec::new());

fn held() -> MutexGuard<'static, Vec<Key>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(stat: &Stat) -> Key {
    (std::process::id(), stat.st_dev, stat.st_ino)
}

/// The publisher's lock, held until it is dropped by the process that took it.
#[derive(Debug)]
pub(crate) struct Lock {
    dir: Arc<Dir>,
    name: OsString,
    /// `None` only while it is dropped.
    file: Option<File>,
    key: Key,
}

impl Lock {
    /// Takes the lock on the name `target` in `dir`.
    pub(crate) fn take(dir: &Arc<Dir>, target: &OsStr) -> Result<Self, Error> {
        let name = hidden(target, "lock");
        let path = dir.path().join(target);
        // Held throughout: two threads must not both find that this process has no lock.
        let mut held = held();
        loop {
            if dir.stat(&name).is_ok_and(|stat| held.contains(&key(&stat))) {
                return Err(Error::busy(&path, Some(std::process::id())));
            }
            let flags = OFlags::RDWR | OFlags::CREATE;
            let file = match dir.open_with(&name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => file,
                Err(error) => return Err(refused(dir, &name, error)),
            };
            let stat = rustix::fs::fstat(&file).map_err(|e| Error::io("lock", &path, e))?;
            let key = key(&stat);
            if held.contains(&key) {
                // Renamed to this name since it was looked up: closing it would release the
                // lock.
                std::mem::forget(file);
                return Err(Error::busy(&path, Some(std::process::id())));
            }
            check(dir, &name, &stat)?;
            match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::ACCESS) => return Err(busy(&path, &file)),
                Err(error) => return Err(Error::io("lock", &path, error)),
            }
            // The former holder may have removed the file after it was opened here. Then
            // the lock on the name is still free.
            let named = dir.stat(&name).is_ok_and(|named| self::key(&named) == key);
            if !named {
                continue;
            }
            held.push(key);
            write_pid(&file);
            return Ok(Self {
                dir: dir.clone(),
                name,
                file: Some(file),
                key,
            });
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let file = self.file.take();
        // In a child of fork(2) the lock is the parent's. The descriptor stays open there:
        // closing it would release a lock of the child's own on the same file.
        if std::process::id() != self.key.0 {
            std::mem::forget(file);
            return;
        }
        let mut held = held();
        // Removed while it is still locked. A file that cannot be removed excludes no later publisher.
        let named = self.dir.stat(&self.name);
        if named.is_ok_and(|named| key(&named) == self.key) {
            let _ = self.dir.remove(&self.name);
        }
        drop(file);
        held.retain(|other| *other != self.key);
    }
}

/// The lock file must be a regular file of this user's, with no other name.
fn check(dir: &Dir, name: &OsStr, stat: &Stat) -> Result<(), Error> {
    let why = if !is_regular(stat) {
        "it is not a regular file".to_owned()
    } else if stat.st_uid != rustix::process::geteuid().as_raw() {
        format!("it belongs to user {}", stat.st_uid)
    } else if stat.st_nlink > 1 {
        format!("it has {} names (hard links)", stat.st_nlink)
    } else {
        return Ok(());
    };
    Err(Error::LockFile {
        path: dir.path().join(name),
        why,
    })
}

/// The error for a lock file that could not be opened.
fn refused(dir: &Dir, name: &OsStr, error: Errno) -> Error {
    let path = dir.path().join(name);
    let exists = dir.stat(name).is_ok();
    let why = match error {
        Errno::LOOP => "it is a symbolic link",
        Errno::ISDIR => "it is a directory",
        Errno::NXIO | Errno::NODEV => "it is not a regular file",
        Errno::ACCESS | Errno::PERM if exists => "it belongs to another user",
        // No permission to create a file there.
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            return place::not_writable(dir.path());
        }
        error => return Error::space(&path, 0, error),
    };
    Error::LockFile {
        path,
        why: why.to_owned(),
    }
}

/// For people: readers of the file need not know what a record lock is. Without the
/// lock's protection nothing depends on it, so a full disk does not matter.
fn write_pid(mut file: &File) {
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
}

/// The error for a lock that another process holds.
fn busy(path: &Path, file: &File) -> Error {
    let exclusive = Flock::from(FlockType::WriteLock);
    let holder = fcntl_getlk(file, &exclusive).ok().flatten();
    let pid = holder.and_then(|holder| holder.pid);
    // A holder in another PID namespace has no id here.
    Error::busy(
        path,
        pid.and_then(|pid| pid.as_raw_nonzero().get().try_into().ok()),
    )
}
