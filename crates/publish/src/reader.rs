//! Reading a published vDSO.

use crate::dynamic::Dynamic;
use crate::error::Error;
use crate::file::{self, Contents, Extent};
use crate::find;
use crate::mapped_vvar::{LatchRef, MappedVvar, ScalarRef};
use crate::raw;
use crate::time;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use vdsokit_vvar::directory::{Directory, Variable};
use vdsokit_vvar::header::{Condition, Header};
use vdsokit_vvar::latch;
use vdsokit_vvar::mapping::Access;
use vdsokit_vvar::scalar::Scalar;
use vdsokit_vvar::value::Value;

/// A published vDSO, open for reading.
///
/// Needs read permission only, and costs the publisher and other readers nothing. It stays with
/// the file that it opened: when another file takes that one's name, [`Vdso::status`] is
/// [`Condition::Replaced`], and opening the path again gives the new one.
#[derive(Clone, Debug)]
pub struct Vdso {
    mapping: Arc<MappedVvar>,
    path: Arc<Path>,
    inode: (u64, u64),
}

impl Vdso {
    /// Opens the vDSO at `path`. It need not have a publisher.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Denied`]; [`Error::Foreign`], [`Error::Truncated`],
    /// [`Error::Pages`], [`Error::Directory`] and [`Error::Torn`] for a file that is not a
    /// valid vDSO.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_file(&file::open(path)?, path)
    }

    /// Opens the vDSO in a file that is open for reading; `path` is for messages and for
    /// [`Vdso::is_replaced`].
    ///
    /// # Errors
    /// As [`Vdso::open`].
    pub fn from_file(mut file: &File, path: &Path) -> Result<Self, Error> {
        file::check_regular(file, path)?;
        std::io::Seek::rewind(&mut file).map_err(|e| Error::io("read", path, e))?;
        let meta = file.metadata().map_err(|e| Error::io("read", path, e))?;
        let contents = file::examine(path, &file::bytes(file, path)?)?;
        Ok(Self {
            mapping: Arc::new(MappedVvar::new(file, path, &contents, Access::Read)?),
            path: path.into(),
            inode: (meta.dev(), meta.ino()),
        })
    }

    /// Opens the vDSO at `path` over pages that lie elsewhere: in the first `len` bytes of
    /// `pages`, which can be mapped and have the layout of the file at `path`.
    ///
    /// # Errors
    /// As [`Vdso::open`]; [`Error::Torn`] when the layouts differ.
    pub fn with_pages(path: impl AsRef<Path>, pages: &File, len: usize) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = file::open(path)?;
        let meta = file.metadata().map_err(|e| Error::io("read", path, e))?;
        let contents = Contents {
            extent: Extent { offset: 0, len },
            ..file::examine(path, &file::bytes(&file, path)?)?
        };
        Ok(Self {
            mapping: Arc::new(MappedVvar::new(pages, path, &contents, Access::Read)?),
            path: path.into(),
            inode: (meta.dev(), meta.ino()),
        })
    }

    /// The path by which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every variable's name, type, unit and place.
    #[must_use]
    pub fn directory(&self) -> Directory<'_> {
        self.mapping.directory()
    }

    /// The header of the pages.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.mapping.header()
    }

    /// The condition of the values, and the state of the publisher.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::from_header(self.header())
    }

    /// Whether the path no longer leads to this file.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        !std::fs::metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.inode)
    }

    /// A handle on the scalar `name`.
    ///
    /// # Errors
    /// [`Error::Unknown`], or [`Error::Mismatch`] when it is not a `T`.
    pub fn var<T: Scalar>(&self, name: &str) -> Result<Var<T>, Error> {
        let entry = find::scalar::<T>(self.directory(), &self.path, name)?;
        match ScalarRef::new(&self.mapping, entry.offset) {
            Some(place) => Ok(Var(place)),
            None => Err(find::outside(&self.path, name)),
        }
    }

    /// A handle on the latched variable `name`: a record, an array or a text.
    ///
    /// # Errors
    /// [`Error::Unknown`], or [`Error::Mismatch`] when it is not a `T`.
    pub fn latched<T: Value>(&self, name: &str) -> Result<Latched<T>, Error> {
        let entry = find::value::<T>(self.directory(), &self.path, name)?;
        match LatchRef::new(&self.mapping, entry.offset) {
            Some(place) => Ok(Latched(place)),
            None => Err(find::outside(&self.path, name)),
        }
    }

    /// The current value of `name`, of any type.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn get(&self, name: &str) -> Result<Dynamic, Error> {
        let entry = find::named(self.directory(), &self.path, name)?;
        let bytes = raw::read(self.mapping.pages(), &entry)
            .ok_or_else(|| find::outside(&self.path, name))?;
        Ok(Dynamic::decode(&entry, &bytes))
    }

    /// Checks that the variables that a program was built with exist and are the same. When
    /// the layout hash after as many variables equals the program's, that is one comparison.
    ///
    /// # Errors
    /// The first difference: [`Error::Unknown`] or [`Error::Mismatch`].
    pub fn expect(&self, layout: u64, variables: &[Variable<'_>]) -> Result<(), Error> {
        find::expect(self.directory(), &self.path, layout, variables)
    }
}

/// A handle that reads a scalar.
///
/// Keeps the vDSO mapped for as long as it lives; may be cloned, sent to other threads
/// and used in a child after fork(2).
pub struct Var<T: Scalar>(ScalarRef<T, MappedVvar>);

impl<T: Scalar> Var<T> {
    /// The current value: one atomic load, acquire. Async-signal-safe.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> T {
        T::load(self.0.cell())
    }
}

impl<T: Scalar> Clone for Var<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Scalar + fmt::Debug> fmt::Debug for Var<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Var").field(&self.get()).finish()
    }
}

/// A handle that reads a record, an array or a text as a whole.
///
/// Keeps the vDSO mapped for as long as it lives; may be cloned, sent to other threads
/// and used in a child after fork(2).
pub struct Latched<T: Value>(LatchRef<T, MappedVvar>);

impl<T: Value> Latched<T> {
    /// The current value, as one write stored it. Never waits; retries when a whole write
    /// completed meanwhile. Async-signal-safe.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> T {
        self.0.read()
    }

    /// The result of `decode` on the value, of which it loads the words that it needs; `None`
    /// when `decode` returns `None`, or a whole write completed meanwhile. See
    /// [`latch::Latch::try_read_some`].
    #[inline(always)]
    pub fn try_read_some<R>(&self, decode: impl FnOnce(latch::Copy<'_>) -> Option<R>) -> Option<R> {
        self.0.try_read_some(decode)
    }
}

impl<T: Value> Clone for Latched<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Value + fmt::Debug> fmt::Debug for Latched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Latched").field(&self.get()).finish()
    }
}

/// The condition of a vDSO's values, and the state of its publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The condition of the values.
    pub condition: Condition,
    /// The publisher's process id in its own PID namespace; `None` is a kernel, or none yet.
    pub publisher: Option<u64>,
    /// Time since its last heartbeat; `None` before the first. Values may have been written
    /// since: a write is not a heartbeat.
    pub age: Option<Duration>,
    /// The age at which the values become stale, if ever.
    pub stale_after: Option<Duration>,
}

impl Status {
    fn from_header(header: &Header) -> Self {
        let condition = header.condition(time::boot(), time::now);
        let (updated, now) = (header.updated(), time::now());
        let some = |number: u64| (number != 0).then_some(number);
        Self {
            condition,
            publisher: some(header.publisher()),
            age: some(updated).map(|then| Duration::from_nanos(now.saturating_sub(then))),
            stale_after: some(header.stale_after()).map(Duration::from_nanos),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)?;
        if let Some(publisher) = self.publisher {
            write!(f, ", publisher {publisher}")?;
        }
        match self.age {
            Some(age) => write!(f, ", last heartbeat {:.1} s ago", age.as_secs_f64()),
            None => Ok(()),
        }
    }
}

const _: () = {
    const fn crosses_threads<T: Send + Sync + Clone + 'static>() {}
    crosses_threads::<Vdso>();
    crosses_threads::<Var<f64>>();
    crosses_threads::<Latched<[u64; 4]>>();
};
