//! The one publisher of a vDSO, and its handles for writing.

use crate::assign::Assignment;
use crate::change::{self, Change};
use crate::error::Error;
use crate::file::Contents;
use crate::heartbeat::{self, Heartbeat};
use crate::lock::Lock;
use crate::mapped_vvar::{LatchRef, MappedVvar, Owner, ScalarRef};
use crate::open::Options;
use crate::scalar_assigner::ScalarAssigner;
use crate::time::HeartbeatClock;
use crate::{find, raw, time};
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use vdsokit_vvar::directory::{Directory, Entry};
use vdsokit_vvar::header::{Header, Publication};
use vdsokit_vvar::pages::Pages;
use vdsokit_vvar::scalar::Scalar;
use vdsokit_vvar::value::Value;

/// The one publisher of a vDSO.
///
/// It holds the lock on the vDSO's name until it and all of its handles are dropped. Dropping
/// the last of them is an orderly end: the vDSO is stopped. A process that is killed, or
/// panics, leaves it live, and readers find it stale some seconds after its last heartbeat;
/// the next publisher resumes with its values.
///
/// # Heartbeat
/// A thread stores a heartbeat once a second, and readers take the values for stale when there
/// was none for five. It says that the process lives, not that its values are right. A
/// publisher that can say more calls [`Publisher::stale_after`] and then
/// [`Publisher::beat`] itself.
///
/// # fork(2)
/// A child inherits the mapping but is not the publisher: it must not write. It does not
/// hold the lock, and dropping the publisher in the child ends nothing.
pub struct Publisher {
    inner: Arc<Inner>,
}

/// The state that the publisher and its handles share.
pub(crate) struct Inner {
    pub(crate) mapping: Arc<MappedVvar>,
    pub(crate) path: PathBuf,
    /// For each variable, whether a [`LatchedWriter`] exists.
    taken: Box<[AtomicBool]>,
    inode: (u64, u64),
    /// Where the vvar pages end in the file.
    end: u64,
    process: u32,
    clock: HeartbeatClock,
    heartbeat: Mutex<Option<Heartbeat>>,
    /// Dropped last: until then no other publisher starts.
    _lock: Lock,
}

impl Owner for Inner {
    fn mapping(&self) -> &MappedVvar {
        &self.mapping
    }
}

/// A publisher that has passed all checks, and has not changed the header yet.
pub(crate) struct Ready(Inner);

impl Ready {
    pub(crate) fn new(
        file: &File,
        path: PathBuf,
        contents: &Contents,
        mapping: MappedVvar,
        lock: Lock,
    ) -> Result<Self, Error> {
        let meta = file
            .metadata()
            .map_err(|e| Error::io("publish", &path, e))?;
        let taken = (0..mapping.directory().len())
            .map(|_| AtomicBool::new(false))
            .collect();
        Ok(Self(Inner {
            mapping: Arc::new(mapping),
            path,
            taken,
            inode: (meta.dev(), meta.ino()),
            end: contents.extent.offset + contents.extent.len as u64,
            process: std::process::id(),
            clock: HeartbeatClock::new(),
            heartbeat: Mutex::new(None),
            _lock: lock,
        }))
    }

    /// Publishes; the caller stores heartbeats.
    pub(crate) fn start(self, limit: Duration) -> Publisher {
        self.0.publish(limit);
        Publisher {
            inner: Arc::new(self.0),
        }
    }

    /// Publishes, and starts the thread that stores heartbeats.
    pub(crate) fn start_with_heartbeat(self) -> Result<Publisher, Error> {
        let thread = Heartbeat::start(self.0.mapping.clone(), self.0.clock)
            .map_err(|e| Error::io("start a heartbeat for", &self.0.path, e))?;
        let publisher = self.start(heartbeat::STALE_AFTER);
        *publisher.inner.heartbeat() = Some(thread);
        Ok(publisher)
    }
}

impl Publisher {
    /// Becomes the publisher of the existing vDSO at `path`. The values are those that the
    /// last publisher left, or the declaration's initial ones.
    ///
    /// # Errors
    /// [`Error::Busy`] when another publisher has it, [`Error::Unfit`] when nothing can be
    /// published in its directory, [`Error::LockFile`], [`Error::NotWritable`],
    /// [`Error::NoSpace`], [`Error::Denied`], and those of [`crate::Vdso::open`] for a file
    /// that is not a vDSO. Then the file is as it was.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::options().open(path)
    }

    /// Becomes the publisher of `image` at `path`, which need not exist.
    ///
    /// The same image is resumed, with its values. Another one is replaced in one step:
    /// every reader has one file or the other, and no file that is in use changes its
    /// length. Variables that both have keep their values, and the old file is marked as
    /// replaced.
    ///
    /// # Errors
    /// As [`Publisher::open`]; [`Error::Layout`] when the new image would move, retype or
    /// drop a variable that programs were built against, unless [`Options::replace`] allows
    /// it. A file at `path` that is not a vDSO is left alone.
    pub fn create(path: impl AsRef<Path>, image: &[u8]) -> Result<Self, Error> {
        Self::options().create(path, image)
    }

    /// Options for [`Options::open`] and [`Options::create`].
    #[must_use]
    pub fn options() -> Options {
        Options::default()
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

    /// Takes over the heartbeat: from now on the caller calls [`Publisher::beat`] more often
    /// than `limit`, after which readers take the values for stale; zero means never. The
    /// publisher's own thread ends.
    pub fn stale_after(&self, limit: Duration) {
        drop(self.inner.heartbeat().take());
        self.inner.publish(limit);
    }

    /// Stores a heartbeat: all values are up to date now.
    pub fn beat(&self) {
        self.header().beat(self.inner.clock.now());
    }

    /// A handle that writes the scalar `name`.
    ///
    /// # Errors
    /// [`Error::Unknown`], or [`Error::Mismatch`] when it is not a `T`.
    pub fn var<T: Scalar>(&self, name: &str) -> Result<VarWriter<T>, Error> {
        let path = &self.inner.path;
        let entry = find::scalar::<T>(self.directory(), path, name)?;
        match ScalarRef::new(&self.inner, entry.offset) {
            Some(place) => Ok(VarWriter(place)),
            None => Err(find::outside(path, name)),
        }
    }

    /// The handle that writes the latched variable `name`. One exists at a time.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Mismatch`] when it is not a `T`, or
    /// [`Error::Taken`].
    pub fn latched<T: Value>(&self, name: &str) -> Result<LatchedWriter<T>, Error> {
        let path = &self.inner.path;
        let entry = find::value::<T>(self.directory(), path, name)?;
        let place =
            LatchRef::new(&self.inner, entry.offset).ok_or_else(|| find::outside(path, name))?;
        Ok(LatchedWriter {
            _claim: self.inner.take(&entry)?,
            place,
        })
    }

    /// Makes all of these assignments, or none. Fields of one record are written together.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Value`], or [`Error::Taken`]; then nothing was written.
    pub fn assign(&self, assignments: &[Assignment]) -> Result<(), Error> {
        self.inner.assign(assignments)
    }

    /// A handle that makes assignments in another thread.
    #[must_use]
    pub fn assigner(&self) -> Assigner {
        Assigner(self.inner.clone())
    }

    /// A handle that assigns text to the scalar `name`, of whichever type. Unlike an [`Assigner`], it
    /// looks the variable up once.
    ///
    /// # Errors
    /// [`Error::Unknown`], or [`Error::Mismatch`] when it is not a scalar.
    pub fn scalar(&self, name: &str) -> Result<ScalarAssigner, Error> {
        let entry = find::named(self.directory(), &self.inner.path, name)?;
        ScalarAssigner::new(&self.inner, &entry)
    }

    /// Writes planned changes.
    ///
    /// # Errors
    /// [`Error::Taken`]; then nothing was written.
    pub(crate) fn apply(&self, changes: &[Change]) -> Result<(), Error> {
        self.inner.apply(changes)
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

    /// Whether the path no longer leads to this publisher's file, or the file was cut short.
    /// Then new readers do not find its values: the file was built, installed or removed
    /// meanwhile, or written over.
    #[must_use]
    pub fn is_displaced(&self) -> bool {
        match fs::metadata(&self.inner.path) {
            Ok(meta) => (meta.dev(), meta.ino()) != self.inner.inode || meta.len() < self.inner.end,
            // Any other error says nothing about the file.
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        }
    }

    /// Stops the vDSO now: readers know that the values stay. Handles may still exist, but
    /// must not write any more.
    pub fn retire(self) {
        drop(self.inner.heartbeat().take());
        self.header().stop();
    }
}

impl Inner {
    fn assign(self: &Arc<Self>, assignments: &[Assignment]) -> Result<(), Error> {
        let changes = change::plan(&self.mapping, &self.path, assignments)?;
        self.apply(&changes)
    }

    fn apply(self: &Arc<Self>, changes: &[Change]) -> Result<(), Error> {
        let directory = self.mapping.directory();
        let entries: Vec<Entry<'_>> = changes
            .iter()
            .filter_map(|change| directory.get(change.index))
            .collect();
        let _claims = entries
            .iter()
            .filter(|entry| entry.is_latched())
            .map(|entry| self.take(entry))
            .collect::<Result<Vec<_>, _>>()?;
        let writer = self.mapping.writer();
        for (entry, change) in entries.iter().zip(changes) {
            raw::write(&writer, entry, &change.bytes)
                .ok_or_else(|| find::outside(&self.path, entry.name))?;
        }
        Ok(())
    }

    fn heartbeat(&self) -> std::sync::MutexGuard<'_, Option<Heartbeat>> {
        self.heartbeat
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, limit: Duration) {
        self.mapping.header().publish(Publication {
            publisher: self.process.into(),
            boot: time::boot(),
            now: self.clock.now(),
            stale_after: u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX),
        });
    }

    /// Claims the right to write a latch.
    fn take(self: &Arc<Self>, entry: &Entry<'_>) -> Result<Claim, Error> {
        match self.taken.get(entry.index) {
            Some(taken) if !taken.swap(true, Ordering::Acquire) => Ok(Claim {
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
        // A child of fork(2) is not the publisher. After a panic the values may be wrong, so
        // that is not an orderly end: readers find the vDSO stale.
        if std::process::id() != self.process || std::thread::panicking() {
            return;
        }
        drop(self.heartbeat().take());
        self.mapping.header().stop();
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

/// The right to write a latch, released when it is dropped.
struct Claim {
    inner: Arc<Inner>,
    index: usize,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(taken) = self.inner.taken.get(self.index) {
            taken.store(false, Ordering::Release);
        }
    }
}

/// A handle that makes assignments, as [`Publisher::assign`] does.
///
/// May be cloned and sent to other threads. While one of them makes an assignment to a record, an
/// array or a text, another one's to the same variable fails with [`Error::Taken`].
#[derive(Clone)]
pub struct Assigner(Arc<Inner>);

impl Assigner {
    /// Makes all of these assignments, or none. Fields of one record are written together.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Value`], or [`Error::Taken`]; then nothing was written.
    pub fn assign(&self, assignments: &[Assignment]) -> Result<(), Error> {
        self.0.assign(assignments)
    }

    /// `CLOCK_BOOTTIME` in nanoseconds, in the initial time namespace: the clock of heartbeats.
    #[must_use]
    pub fn boottime(&self) -> u64 {
        self.0.clock.now()
    }
}

impl fmt::Debug for Assigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Assigner").field(&self.0.path).finish()
    }
}

/// A handle that writes a scalar.
///
/// May be cloned and sent to other threads: each write is one atomic store.
pub struct VarWriter<T: Scalar>(ScalarRef<T, Inner>);

impl<T: Scalar> VarWriter<T> {
    /// Writes the value: one atomic store, release.
    #[inline(always)]
    pub fn set(&self, value: T) {
        T::store(self.0.cell(), value);
    }

    /// The current value.
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

/// The handle that writes a record, an array or a text as a whole.
pub struct LatchedWriter<T: Value> {
    place: LatchRef<T, Inner>,
    _claim: Claim,
}

impl<T: Value> LatchedWriter<T> {
    /// Writes the value. Readers see the old one or the new one; a publisher that dies at any
    /// instruction of this leaves one of them.
    #[inline(always)]
    pub fn set(&mut self, value: T) {
        self.place.write(&value);
    }

    /// The current value.
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
    crosses_threads::<Assigner>();
    crosses_threads::<VarWriter<f64>>();
    crosses_threads::<LatchedWriter<[u64; 4]>>();
};
