//! Opening a file for publishing. Every check comes before the first store, so that a call
//! that is refused changes nothing.

use crate::assign::Assignment;
use crate::change;
use crate::dir::Dir;
use crate::error::Error;
use crate::file::{self, Contents};
use crate::heartbeat::STALE_AFTER;
use crate::lock::Lock;
use crate::mapped_vvar::MappedVvar;
use crate::place::{self, Unfit};
use crate::publisher::{Publisher, Ready};
use crate::replace::{self, New};
use crate::{identity, time};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use vdsokit_vvar::mapping::Access;

/// How to become a publisher: see [`Publisher::options`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    replace: bool,
    stale_after: Option<Duration>,
}

impl Options {
    /// Whether [`create`](Self::create) may replace a file whose layout has a variable
    /// that the new image moves, retypes or drops. Programs that were built against the old
    /// layout then read other values. False by default.
    #[must_use]
    pub fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// Leaves the heartbeat to the caller: it calls [`Publisher::beat`] more often than
    /// `limit`, after which readers take the values for stale; zero means never. No thread
    /// is started. As [`Publisher::stale_after`], from the start.
    #[must_use]
    pub fn stale_after(mut self, limit: Duration) -> Self {
        self.stale_after = Some(limit);
        self
    }

    /// As [`Publisher::open`], with these options.
    ///
    /// # Errors
    /// Those of [`Publisher::open`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Publisher, Error> {
        let (existing, lock) = Existing::lock(path.as_ref())?;
        self.resume(existing, lock)
    }

    /// As [`Publisher::create`], with these options.
    ///
    /// # Errors
    /// Those of [`Publisher::create`].
    pub fn create(&self, path: impl AsRef<Path>, image: &[u8]) -> Result<Publisher, Error> {
        let (directory, name) = place::split(path.as_ref())?;
        let path = directory.join(&name);
        let dir = place::open(&directory)?;
        let contents = file::examine(&path, image)?;
        let lock = Lock::take(&dir, &name)?;
        let Some(old) = Existing::open(&dir, &name)? else {
            let new = New::write(&dir, &name, image, None)?;
            return self.publish_new(new, &path, &contents, lock, None);
        };
        place::check_file(&old.file, &path)?;
        if old.is(image, &contents) {
            return self.resume(old, lock);
        }
        if !self.replace {
            let (new, _) = file::image_parts(&path, image)?;
            replace::check_layout(&path, old.mapping.directory(), new)?;
        }
        old.claim()?;
        let new = New::write(&dir, &name, image, Some(&old.file))?;
        let publisher = self.publish_new(new, &path, &contents, lock, Some(&old.mapping))?;
        old.mapping.header().replace();
        Ok(publisher)
    }

    fn resume(&self, existing: Existing, lock: Lock) -> Result<Publisher, Error> {
        let Existing {
            dir,
            name,
            path,
            file,
            contents,
            mapping,
            ..
        } = existing;
        place::check_file(&file, &path)?;
        replace::allocate(&file, &path, &contents)?;
        prove(&dir, &name, &contents, &mapping)?;
        identity::claim(&file, &path, &mapping)?;
        self.start(Ready::new(&file, path, &contents, mapping, lock)?)
    }

    fn publish_new(
        &self,
        new: New,
        path: &Path,
        contents: &Contents,
        lock: Lock,
        old: Option<&MappedVvar>,
    ) -> Result<Publisher, Error> {
        let mapping = MappedVvar::new(&new.file, path, contents, Access::Write)?;
        prove(&new.dir, &new.name, contents, &mapping)?;
        if let Some(old) = old {
            replace::carry_over(old, &mapping);
        }
        let ready = Ready::new(&new.file, path.to_owned(), contents, mapping, lock)?;
        let publisher = self.start(ready)?;
        new.rename()?;
        Ok(publisher)
    }

    fn start(&self, ready: Ready) -> Result<Publisher, Error> {
        match self.stale_after {
            Some(limit) => Ok(ready.start(limit)),
            None => ready.start_with_heartbeat(),
        }
    }
}

/// The file of an existing vDSO, mapped for writing. Its name is locked by the caller.
pub(crate) struct Existing {
    dir: Arc<Dir>,
    name: OsString,
    path: PathBuf,
    pub(crate) file: File,
    bytes: Vec<u8>,
    contents: Contents,
    pub(crate) mapping: MappedVvar,
}

impl Existing {
    /// Locks the name at `path` and opens its file.
    fn lock(path: &Path) -> Result<(Self, Lock), Error> {
        let (directory, name) = place::split(path)?;
        let path = directory.join(&name);
        let missing = || Error::Missing { path: path.clone() };
        let dir = place::open(&directory)?;
        // Before the lock: a file that is missing, or not this user's to write, is the better
        // reason.
        drop(dir.open(&name, true)?);
        let lock = Lock::take(&dir, &name)?;
        let existing = Self::open(&dir, &name)?.ok_or_else(missing)?;
        Ok((existing, lock))
    }

    /// Opens a file; `None` when there is none.
    pub(crate) fn open(dir: &Arc<Dir>, name: &OsStr) -> Result<Option<Self>, Error> {
        let path = dir.path().join(name);
        let file = match dir.open(name, true) {
            Ok(file) => file,
            Err(Error::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = file::bytes(&file, &path)?;
        let contents = file::examine(&path, &bytes)?;
        let mapping = MappedVvar::new(&file, &path, &contents, Access::Write)?;
        Ok(Some(Self {
            dir: dir.clone(),
            name: name.to_owned(),
            path,
            file,
            bytes,
            contents,
            mapping,
        }))
    }

    /// Whether the file is this image, whatever values its pages have.
    pub(crate) fn is(&self, image: &[u8], contents: &Contents) -> bool {
        replace::is_same(&self.bytes, &self.contents, image, contents)
    }

    /// See [`identity::claim`].
    pub(crate) fn claim(&self) -> Result<(), Error> {
        identity::claim(&self.file, &self.path, &self.mapping)
    }
}

/// Writes values into a vDSO that no process publishes: publishes it, writes, and ends in
/// order. All values are written, or none.
///
/// # Errors
/// As [`Publisher::open`] and [`Publisher::assign`]; then the file is as it was.
pub fn set(path: impl AsRef<Path>, assignments: &[Assignment]) -> Result<(), Error> {
    let (existing, lock) = Existing::lock(path.as_ref())?;
    // Before the header says that there is a publisher.
    let changes = change::plan(&existing.mapping, &existing.path, assignments)?;
    let publisher = Options::default()
        .stale_after(STALE_AFTER)
        .resume(existing, lock)?;
    publisher.apply(&changes)?;
    publisher.retire();
    Ok(())
}

/// Checks that readers see what the publisher writes: a loader's mapping of the file must
/// show a heartbeat. The heartbeat is taken back if it does not.
fn prove(dir: &Dir, name: &OsStr, contents: &Contents, mapping: &MappedVvar) -> Result<(), Error> {
    let path = dir.path().join(name);
    let loaded = MappedVvar::new(&dir.open(name, false)?, &path, contents, Access::Load)?;
    let before = mapping.header().updated();
    mapping.header().beat(time::now());
    if loaded.header().updated() == mapping.header().updated() {
        return Ok(());
    }
    mapping.header().beat(before);
    Err(place::unfit(dir.path(), Unfit::Incoherent))
}
