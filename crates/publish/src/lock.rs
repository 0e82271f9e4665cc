//! One publisher at a time.
//!
//! The lock is on a file beside the vDSO, `.NAME.lock`, which only its owner may open
//! (mode 0600). A lock on the vDSO itself would be anybody's to take: who may read a
//! file may lock it, with flock(2) wholly and with fcntl(2) against writers. And the
//! vDSO may be replaced while its publisher lives; the name stays.
//!
//! flock(2) belongs to the open file, so the kernel releases it however its holder ends.
//! The file tells the holder's process id to whoever is refused; it is removed at an
//! orderly end, and one that a crash left behind stands in nobody's way.

use crate::error::Error;
use crate::place::beside;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Held for as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock on the vDSO `target`, whose path has no symbolic links.
    pub(crate) fn take(target: &Path) -> Result<Self, Error> {
        let path = beside(target, "lock");
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
                .open(&path)
                .map_err(|e| Error::io("lock", target, e))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(busy(target, file)),
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", target, e)),
            }
            // Whoever held it before may have removed the file between our opening it
            // and our locking it; then the lock on the name is still to be had.
            let ours = file.metadata().map_err(|e| Error::io("lock", target, e))?;
            let named = fs::metadata(&path);
            if named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
                let mut lock = Self { file, path };
                lock.sign(target)?;
                return Ok(lock);
            }
        }
    }

    fn sign(&mut self, target: &Path) -> Result<(), Error> {
        let signature = format!("{}\n", std::process::id());
        self.file
            .set_len(0)
            .and_then(|()| self.file.write_all(signature.as_bytes()))
            .map_err(|e| Error::space(target, signature.len() as u64, e))
    }

    /// At an orderly end: removes the file while the lock on it is still held.
    pub(crate) fn release(&self) {
        // A file that cannot be removed stands in nobody's way.
        let _ = fs::remove_file(&self.path);
    }
}

fn busy(target: &Path, mut file: File) -> Error {
    let mut signature = String::new();
    let pid = file
        .read_to_string(&mut signature)
        .ok()
        .and_then(|_| signature.trim().parse().ok());
    let name = pid.and_then(|pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    Error::Busy {
        path: target.to_owned(),
        pid,
        name: name.map(|name| name.trim_end().to_owned()),
    }
}
