//! Hidden symbolic links beside a vDSO, which lead to what publishes it.

use crate::dir::{Dir, hidden};
use crate::error::Error;
use crate::place;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// The directory of a vDSO, held open, in which none but this user and root can replace a file.
///
/// Links are made and removed beneath the open directory, so that a directory that is exchanged
/// after the check has no influence on where that happens.
#[derive(Debug)]
pub struct Beside {
    dir: Arc<Dir>,
    name: OsString,
}

impl Beside {
    /// Opens the directory of the vDSO at `path`, which need not exist itself.
    ///
    /// # Errors
    /// [`Error::Unfit`] when another user could replace files in the directory;
    /// [`Error::NoDirectory`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (directory, name) = place::split(path)?;
        let dir = place::open_for_install(&directory)?;
        Ok(Self { dir, name })
    }

    /// Makes the symbolic link `.NAME.SUFFIX` to `target`, in place of any file of that name:
    /// readers find the former link or this one.
    ///
    /// # Errors
    /// [`Error::Denied`] and [`Error::Io`].
    pub fn link(&self, suffix: &str, target: &Path) -> Result<(), Error> {
        let link = hidden(&self.name, suffix);
        let fresh = hidden(&self.name, &format!("{suffix}-new"));
        self.dir
            .remove(&fresh)
            .and_then(|()| rustix::fs::symlinkat(target, &self.dir, &fresh))
            .and_then(|()| self.dir.rename(&fresh, &link))
            .map_err(|error| Error::io("link", &self.dir.path().join(link), error))
    }

    /// Removes the symbolic link `.NAME.SUFFIX`. Success when there is none.
    ///
    /// # Errors
    /// [`Error::Denied`] and [`Error::Io`].
    pub fn unlink(&self, suffix: &str) -> Result<(), Error> {
        let link = hidden(&self.name, suffix);
        self.dir
            .remove(&link)
            .map_err(|error| Error::io("remove", &self.dir.path().join(link), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_link_is_made_replaced_and_removed_where_the_directory_was_opened() {
        let base = tempfile::tempdir().unwrap();
        let (directory, moved) = (base.path().join("a"), base.path().join("b"));
        fs::create_dir(&directory).unwrap();
        let beside = Beside::open(&directory.join("libx.so.1")).unwrap();
        // Another directory takes the name of the one that was checked.
        fs::rename(&directory, &moved).unwrap();
        fs::create_dir(&directory).unwrap();
        for target in ["/one", "/two"] {
            beside.link("kernel", Path::new(target)).unwrap();
            let link = moved.join(".libx.so.1.kernel");
            assert_eq!(fs::read_link(link).unwrap(), Path::new(target));
        }
        assert_eq!(fs::read_dir(&moved).unwrap().count(), 1);
        beside.unlink("kernel").unwrap();
        beside.unlink("kernel").unwrap();
        assert_eq!(fs::read_dir(&moved).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
}
