//! Replacing a file in one step, and the values that are kept from the one before.

use crate::dir::{Dir, hidden};
use crate::dynamic::type_of;
use crate::error::Error;
use crate::file::{Contents, Extent};
use crate::mapped_vvar::MappedVvar;
use crate::raw;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use std::sync::Arc;
use vdsokit_vvar::directory::{Directory, Entry};
use vdsokit_vvar::header::State;

/// Whether two files are the same image, whatever values their pages have.
pub(crate) fn is_same(one: &[u8], found: &Contents, other: &[u8], contents: &Contents) -> bool {
    let Extent { offset, len } = found.extent;
    let (start, end) = (offset as usize, offset as usize + len);
    found.extent == contents.extent && one[..start] == other[..start] && one[end..] == other[end..]
}

/// Checks that programs that were built against `old` find every variable that `new` has
/// too at its place: one layout must be an earlier version of the other.
///
/// # Errors
/// [`Error::Layout`] with the first variable that differs.
pub(crate) fn check_layout(
    path: &Path,
    old: Directory<'_>,
    new: Directory<'_>,
) -> Result<(), Error> {
    let shared = old.shared_with(&new);
    let Some(before) = old.get(shared).filter(|_| shared < new.len()) else {
        return Ok(());
    };
    let describe = |entry: &Entry<'_>| format!("{} at byte {}", type_of(entry), entry.offset);
    let now = new.find(before.name);
    Err(Error::Layout {
        path: path.to_owned(),
        name: before.name.to_owned(),
        found: describe(&before),
        wanted: now.map_or_else(|| "absent".to_owned(), |now| describe(&now)),
    })
}

/// Allocates the blocks of the vvar pages, so that no store into them fails later (SIGBUS).
pub(crate) fn allocate(file: &File, path: &Path, contents: &Contents) -> Result<(), Error> {
    let Extent { offset, len } = contents.extent;
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), offset, len as u64) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            // A file system without fallocate(2) allocated them when the file was written.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => return Ok(()),
            Err(error) => return Err(Error::space(path, len as u64, error)),
        }
    }
}

/// A new file beside the one that it will replace; removed unless it does.
pub(crate) struct New {
    pub(crate) dir: Arc<Dir>,
    /// Its name until it is renamed.
    pub(crate) name: OsString,
    pub(crate) file: File,
    target: OsString,
    len: u64,
    renamed: bool,
}

impl New {
    /// Writes `image` to a file for `target`, to be read by the same users as `old`; the caller
    /// holds the lock on that name.
    pub(crate) fn write(
        dir: &Arc<Dir>,
        target: &OsStr,
        image: &[u8],
        old: Option<&File>,
    ) -> Result<Self, Error> {
        let name = hidden(target, "new");
        let path = dir.path().join(&name);
        // A publisher that crashed may have left one. While the lock is held no other
        // publisher makes this file.
        dir.remove(&name)
            .map_err(|e| Error::io("replace", &path, e))?;
        let len = image.len() as u64;
        let target_path = dir.path().join(target);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = dir
            .open_with(&name, flags, Mode::from_raw_mode(0o600))
            .map_err(|e| Error::space(&target_path, len, e))?;
        let mut new = Self {
            dir: dir.clone(),
            name,
            file,
            target: target.to_owned(),
            len,
            renamed: false,
        };
        set_access(&new.file, old)
            .and_then(|()| new.file.write_all(image))
            // After a crash of the machine there is the old file or the complete new one. And
            // a file system that allocates late (delayed allocation) does so now.
            .and_then(|()| new.file.sync_all())
            .map_err(|e| Error::space(&target_path, len, e))?;
        Ok(new)
    }

    /// Renames it to its target.
    pub(crate) fn rename(mut self) -> Result<(), Error> {
        self.dir
            .rename(&self.name, &self.target)
            .map_err(|e| Error::space(&self.dir.path().join(&self.target), self.len, e))?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = self.dir.remove(&self.name);
        }
    }
}

/// Gives a new file the group and the mode of the one that it replaces, without permission to write for
/// others. Without one it is readable for all, whatever the umask, and writable for its owner.
fn set_access(new: &File, old: Option<&File>) -> io::Result<()> {
    let mut mode = 0o644;
    if let Some(old) = old {
        let (old, new_meta) = (old.metadata()?, new.metadata()?);
        mode = old.mode() & 0o755;
        if old.gid() != new_meta.gid() && fchown(new, None, Some(old.gid())).is_err() {
            // Its group is another one, which could not read the old file.
            mode &= 0o705;
        }
    }
    new.set_permissions(Permissions::from_mode(mode))
}

/// Copies the values of variables with the same name and type from `old` to `new`, unless
/// `old` was never published.
pub(crate) fn carry_over(old: &MappedVvar, new: &MappedVvar) {
    if old.header().state() == State::NeverPublished {
        return;
    }
    let writer = new.writer();
    for entry in new.directory().iter() {
        let before = old.directory().find(entry.name);
        let before = before.filter(|before| before.is_like(&entry));
        if let Some(bytes) = before.and_then(|before| raw::read(old.pages(), &before)) {
            // The directory was checked against its pages when they were mapped.
            let _ = raw::write(&writer, &entry, &bytes);
        }
    }
}
