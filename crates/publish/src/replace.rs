//! Putting a file in its place in one step, and what is kept of the one before.

use crate::error::Error;
use crate::file::{Contents, Extent};
use crate::mapping::Mapping;
use crate::place::beside;
use crate::raw;
use rustix::fs::FallocateFlags;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use vdsokit_vvar::directory::{Entry, Kind};
use vdsokit_vvar::header::State;

/// Are two files one image, whatever their pages hold now?
pub(crate) fn is_same(one: &[u8], found: &Contents, other: &[u8], contents: &Contents) -> bool {
    let (start, end) = {
        let Extent { offset, len } = found.extent;
        (offset as usize, offset as usize + len)
    };
    found.extent == contents.extent && one[..start] == other[..start] && one[end..] == other[end..]
}

/// Makes sure that every page of the vvar pages has its place on the disk, so that no
/// store into them fails later (SIGBUS).
pub(crate) fn allocate(file: &File, path: &Path, contents: &Contents) -> Result<(), Error> {
    let Extent { offset, len } = contents.extent;
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), offset, len as u64) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            // A file system that cannot, has given them when the file was written.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => return Ok(()),
            Err(error) => return Err(Error::space(path, len as u64, error)),
        }
    }
}

/// A new file beside the one it will replace; removed unless it does.
pub(crate) struct New {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    renamed: bool,
}

impl New {
    /// Writes `image` to a file for `target`; the caller holds the lock on that.
    pub(crate) fn write(target: &Path, image: &[u8]) -> Result<Self, Error> {
        let path = beside(target, "new");
        // What a crash left: nobody else makes this file while the lock is held.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("replace", &path, error));
            }
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&path)
            .map_err(|e| Error::space(target, image.len() as u64, e))?;
        let mut new = Self {
            file,
            path,
            renamed: false,
        };
        // Whatever the umask: readers read it, and nobody else writes it.
        new.file
            .set_permissions(Permissions::from_mode(0o644))
            .and_then(|()| new.file.write_all(image))
            // A crash of the machine leaves the old file or a whole new one; and a file
            // system that gives space late (delayed allocation) gives it now.
            .and_then(|()| new.file.sync_all())
            .map_err(|e| Error::space(target, image.len() as u64, e))?;
        Ok(new)
    }

    /// Puts it in its place.
    pub(crate) fn rename(mut self, target: &Path) -> Result<(), Error> {
        fs::rename(&self.path, target).map_err(|e| Error::space(target, 0, e))?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Gives the variables of `new` the values that those of the same name and type have in
/// `old`, if anybody ever published there.
pub(crate) fn carry_over(old: &Mapping, new: &Mapping) {
    if old.header().state() == State::NeverPublished {
        return;
    }
    let writer = new.writer();
    for entry in new.directory().iter() {
        let before = old.directory().find(entry.name);
        if let Some(before) = before.filter(|before| is_alike(before, &entry))
            && let Some(bytes) = raw::read(old.pages(), &before)
        {
            // A directory was checked against its pages when they were mapped.
            let _ = raw::write(&writer, &entry, &bytes);
        }
    }
}

fn is_alike(one: &Entry<'_>, other: &Entry<'_>) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Plain(one), Kind::Plain(other)) => one == other,
        (Kind::Record(ours), Kind::Record(theirs)) => {
            let key = |field: vdsokit_vvar::layout::Field<'_>| (field.ty, field.offset);
            ours.clone().count() == theirs.clone().count()
                && ours
                    .clone()
                    .zip(theirs.clone())
                    .all(|(one, other)| one.name == other.name && key(one) == key(other))
        }
        _ => false,
    }
}
