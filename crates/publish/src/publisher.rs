//! The writing half: the one publisher of a vDSO.

use crate::assign::Assignment;
use crate::error::Error;
use crate::file::{self, Contents};
use crate::lock::Lock;
use crate::mapping::{Access, Keeper, LatchPlace, Mapping, Place};
use crate::place::{self, Unfit};
use crate::{change, find, raw, replace, time};
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use vdsokit_vvar::directory::{Directory, Entry};
use vdsokit_vvar::header::{Header, Publication, State};
use vdsokit_vvar::pages::Pages;
use vdsokit_vvar::scalar::Scalar;
use vdsokit_vvar::value::Value;

/// The one publisher of a vDSO.
///
/// It holds the lock on the vDSO's name until it and all of its handles are gone. The
/// last of them to go retires the vDSO: an orderly end. A process that is killed, or
/// panics, leaves it live, and readers find it stale when it has been silent for longer
/// than [`Publisher::stale_after`] allows; the next publisher resumes with its values.
///
/// A child of fork(2) inherits mapping and lock but is not the publisher: it must not
/// write, and what it drops does not end anything.
pub struct Publisher {
    inner: Arc<Inner>,
}

/// What the publisher and its handles share.
pub(crate) struct Inner {
    pub(crate) mapping: Mapping,
    pub(crate) path: PathBuf,
    /// For each variable: does a [`LatchedWriter`] write it?
    taken: Box<[AtomicBool]>,
    inode: (u64, u64),
    process: u32,
    lock: Lock,
}

impl Keeper for Inner {
    fn mapping(&self) -> &Mapping {
        &self.mapping
    }
}

impl Publisher {
    /// Becomes the publisher of the vDSO at `path`, which was built and is there. The
    /// values are those that the last publisher left, or the declaration's initial ones.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody else is, [`Error::Unfit`] when nothing can be
    /// published there, [`Error::NoSpace`], [`Error::Denied`], and what
    /// [`crate::Vdso::open`] says of files that are not what they should be.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let path = fs::canonicalize(path).map_err(|e| Error::io("publish", path, e))?;
        place::check(directory_of(&path))?;
        // Before the lock, so that a wrong path makes no lock file.
        drop(file::open(&path, true)?);
        let lock = Lock::take(&path)?;
        Self::resume(path, lock)
    }

    /// Becomes the publisher of `image` at `path`, which need not exist.
    ///
    /// The same image is resumed, with its values. Another one that is there is
    /// replaced in one step, so that every reader has one or the other and no file that
    /// is in use ever changes its length; variables that both have keep their values,
    /// and the old file is retired, so that its readers know.
    ///
    /// # Errors
    /// As [`Publisher::open`]; a file at `path` that is no vDSO is left alone.
    pub fn create(path: impl AsRef<Path>, image: &[u8]) -> Result<Self, Error> {
        let path = place::resolve(path.as_ref())?;
        place::check(directory_of(&path))?;
        let contents = file::examine(&path, image)?;
        let lock = Lock::take(&path)?;
        let old = match file::open(&path, true) {
            Err(Error::Missing { .. }) => None,
            Err(error) => return Err(error),
            Ok(file) => Some(file),
        };
        if let Some(old) = old {
            let bytes = file::bytes(&old, &path)?;
            let found = file::examine(&path, &bytes)?;
            place::check_file(&old, &path)?;
            if replace::is_same(&bytes, &found, image, &contents) {
                return Self::resume(path, lock);
            }
            let old = Mapping::new(&old, &path, &found, Access::Write)?;
            let new = Self::fresh(path, image, &contents, lock, Some(&old))?;
            old.writer().header().replace();
            return Ok(new);
        }
        Self::fresh(path, image, &contents, lock, None)
    }

    fn resume(path: PathBuf, lock: Lock) -> Result<Self, Error> {
        let file = file::open(&path, true)?;
        let contents = file::examine(&path, &file::bytes(&file, &path)?)?;
        place::check_file(&file, &path)?;
        replace::allocate(&file, &path, &contents)?;
        let publisher = Self::begin(&file, &path, path.clone(), &contents, lock)?;
        publisher.inner.prove(&path, &contents)?;
        Ok(publisher)
    }

    fn fresh(
        path: PathBuf,
        image: &[u8],
        contents: &Contents,
        lock: Lock,
        old: Option<&Mapping>,
    ) -> Result<Self, Error> {
        let new = replace::New::write(&path, image)?;
        let publisher = Self::begin(&new.file, &new.path, path.clone(), contents, lock)?;
        publisher.inner.prove(&new.path, contents)?;
        if let Some(old) = old {
            replace::carry_over(old, &publisher.inner.mapping);
        }
        new.rename(&path)?;
        Ok(publisher)
    }

    fn begin(
        file: &File,
        mapped: &Path,
        path: PathBuf,
        contents: &Contents,
        lock: Lock,
    ) -> Result<Self, Error> {
        let meta = file
            .metadata()
            .map_err(|e| Error::io("publish", mapped, e))?;
        let mapping = Mapping::new(file, mapped, contents, Access::Write)?;
        let taken = (0..mapping.directory().len())
            .map(|_| AtomicBool::new(false))
            .collect();
        let process = std::process::id();
        mapping.header().publish(publication(process, 0));
        Ok(Self {
            inner: Arc::new(Inner {
                mapping,
                path,
                taken,
                inode: (meta.dev(), meta.ino()),
                process,
                lock,
            }),
        })
    }

    /// The path, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Every variable's name, type, unit and place.
    #[must_use]
    pub fn directory(&self) -> Directory<'_> {
        self.inner.mapping.directory()
    }

    /// The header of the pages.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.inner.mapping.header()
    }

    /// Promises a sign of life ([`Publisher::beat`]) at least this often; zero, as it is
    /// at first, promises nothing, and the values are never stale.
    pub fn stale_after(&self, limit: Duration) {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        self.header()
            .publish(publication(self.inner.process, limit));
    }

    /// A sign of life: all values are up to date now.
    pub fn beat(&self) {
        self.header().beat(time::now());
    }

    /// A handle that writes the scalar `name`.
    ///
    /// # Errors
    /// [`Error::Unknown`], or [`Error::Mismatch`] when it is not a `T`.
    pub fn var<T: Scalar>(&self, name: &str) -> Result<VarWriter<T>, Error> {
        let path = &self.inner.path;
        let entry = find::scalar::<T>(self.directory(), path, name)?;
        match Place::new(&self.inner, entry.offset) {
            Some(place) => Ok(VarWriter(place)),
            None => Err(find::outside(path, name)),
        }
    }

    /// The handle that writes the latched variable `name`: there is one at a time.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Mismatch`] when it is not a `T`, or
    /// [`Error::Taken`].
    pub fn latched<T: Value>(&self, name: &str) -> Result<LatchedWriter<T>, Error> {
        let path = &self.inner.path;
        let entry = find::value::<T>(self.directory(), path, name)?;
        let place =
            LatchPlace::new(&self.inner, entry.offset).ok_or_else(|| find::outside(path, name))?;
        Ok(LatchedWriter {
            turn: self.inner.take(&entry)?,
            place,
        })
    }

    /// Makes all of these assignments, or none: fields of one record are written
    /// together.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Value`], or [`Error::Taken`]; then nothing was
    /// written.
    pub fn assign(&self, assignments: &[Assignment]) -> Result<(), Error> {
        let changes = change::plan(&self.inner, assignments)?;
        let writer = self.inner.mapping.writer();
        for change in changes {
            let entry = self.directory().get(change.index);
            let written = entry.and_then(|entry| raw::write(&writer, &entry, &change.bytes));
            written.ok_or_else(|| find::outside(&self.inner.path, &change.name))?;
        }
        Ok(())
    }

    /// Copies every value that differs from `pages`, which have the layout of these. Each
    /// value is copied whole; the caller has made no handle that writes one.
    ///
    /// # Errors
    /// [`Error::Torn`] when the layouts differ; then nothing was written.
    pub fn copy_from(&self, pages: Pages<'_>) -> Result<(), Error> {
        let (found, layout) = (pages.header().layout(), self.directory().layout());
        if found != layout {
            return Err(Error::Torn {
                path: self.inner.path.clone(),
                pages: found,
                directory: layout,
            });
        }
        let writer = self.inner.mapping.writer();
        for entry in self.directory().iter() {
            let Some(bytes) = raw::read(pages, &entry) else {
                return Err(find::outside(&self.inner.path, entry.name));
            };
            if raw::read(self.inner.mapping.pages(), &entry).is_none_or(|old| old != bytes) {
                // The directory was checked against these pages when they were mapped.
                let _ = raw::write(&writer, &entry, &bytes);
            }
        }
        Ok(())
    }

    /// Does the path name another file by now, or none? Then new readers don't find
    /// this publisher's values: somebody has built, installed or removed it meanwhile.
    #[must_use]
    pub fn is_displaced(&self) -> bool {
        match fs::metadata(&self.inner.path) {
            Ok(meta) => (meta.dev(), meta.ino()) != self.inner.inode,
            // Any other error says nothing about the file.
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        }
    }

    /// Tells readers that no value will change again, at once: also when there are
    /// handles left, with which nothing should be written any more.
    pub fn retire(self) {
        self.header().stop();
    }
}

fn publication(process: u32, stale_after: u64) -> Publication {
    Publication {
        publisher: process.into(),
        boot: time::boot(),
        now: time::now(),
        stale_after,
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

impl Inner {
    /// Tries what readers rely on: a loader's mapping of the file shows what has just
    /// been written.
    fn prove(&self, path: &Path, contents: &Contents) -> Result<(), Error> {
        let loaded = Mapping::new(&file::open(path, false)?, path, contents, Access::Load)?;
        let (ours, theirs) = (self.mapping.header(), loaded.header());
        if theirs.state() == State::Live && theirs.updated() == ours.updated() {
            return Ok(());
        }
        Err(place::unfit(directory_of(path), Unfit::Incoherent))
    }

    /// The right to write a latch.
    pub(crate) fn take(self: &Arc<Self>, entry: &Entry<'_>) -> Result<Turn, Error> {
        match self.taken.get(entry.index) {
            Some(taken) if !taken.swap(true, Ordering::Acquire) => Ok(Turn {
                inner: self.clone(),
                index: entry.index,
            }),
            _ => Err(Error::Taken {
                name: entry.name.to_owned(),
            }),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A child of fork(2) is not the publisher. A panic is no orderly end: the values
        // may be wrong, and whoever watches should see them go stale.
        if std::process::id() != self.process || std::thread::panicking() {
            return;
        }
        self.mapping.header().stop();
        self.lock.release();
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

/// The right to write a latch, given back when it is dropped.
pub(crate) struct Turn {
    inner: Arc<Inner>,
    index: usize,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(taken) = self.inner.taken.get(self.index) {
            taken.store(false, Ordering::Release);
        }
    }
}

/// A scalar that is written.
///
/// May be cloned and sent to other threads: each write is one atomic store.
pub struct VarWriter<T: Scalar>(Place<T, Inner>);

impl<T: Scalar> VarWriter<T> {
    /// The value from now on: one atomic store, release.
    #[inline(always)]
    pub fn set(&self, value: T) {
        T::store(self.0.cell(), value);
    }

    /// The value now.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> T {
        T::load(self.0.cell())
    }
}

impl<T: Scalar> Clone for VarWriter<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A record, an array or a text that is written as a whole: the one writer of it.
pub struct LatchedWriter<T: Value> {
    place: LatchPlace<T, Inner>,
    #[expect(dead_code, reason = "held for its drop")]
    turn: Turn,
}

impl<T: Value> LatchedWriter<T> {
    /// The value from now on. Readers have the old one or the new one; a publisher that
    /// dies at any instruction of this leaves one of them.
    #[inline(always)]
    pub fn set(&mut self, value: T) {
        self.place.write(&value);
    }

    /// The value now.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> T {
        self.place.read()
    }
}

impl<T: Scalar + fmt::Debug> fmt::Debug for VarWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VarWriter").field(&self.get()).finish()
    }
}

impl<T: Value + fmt::Debug> fmt::Debug for LatchedWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LatchedWriter").field(&self.get()).finish()
    }
}

const _: () = {
    const fn crosses_threads<T: Send + Sync + 'static>() {}
    crosses_threads::<Publisher>();
    crosses_threads::<VarWriter<f64>>();
    crosses_threads::<LatchedWriter<[u64; 4]>>();
};
