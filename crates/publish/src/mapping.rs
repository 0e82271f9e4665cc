//! Files mapped into memory, and typed places in them.
#![allow(
    unsafe_code,
    reason = "mapping a file and pointing into it is this module's whole purpose; everything \
              above it is safe"
)]

use crate::error::Error;
use crate::file::{Contents, Extent};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use vdsokit_vvar::directory::Directory;
use vdsokit_vvar::header::Header;
use vdsokit_vvar::latch::{self, Copy, Latch, LatchWriter, Word};
use vdsokit_vvar::pages::{Pages, PagesMut};
use vdsokit_vvar::scalar::Scalar;
use vdsokit_vvar::value::Value;

/// How pages are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// By a reader: the file's own pages.
    Read,
    /// As a loader maps them: privately, and the file's own pages until written, which
    /// they never are.
    Load,
    /// By the publisher.
    Write,
}

/// The vvar pages and the directory of one file, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    pages: Pages<'static>,
    directory: Directory<'static>,
    /// What `directory` points into.
    _note: Arc<[u8]>,
    access: Access,
}

// SAFETY: (1) the pages are reached only through atomics; (2) the note is never written;
// (3) the mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: as for `Send`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps what `file` was found to hold, and checks that pages and directory agree.
    pub(crate) fn new(
        file: &File,
        path: &Path,
        contents: &Contents,
        access: Access,
    ) -> Result<Self, Error> {
        let (base, len) = map(file, path, contents.extent, access)?;
        // From here on an error has to unmap.
        let unmapped = |error| {
            // SAFETY: `map` made this mapping, and nothing points into it.
            let _ = unsafe { munmap(base.as_ptr().cast(), len) };
            error
        };
        // SAFETY: (1) the mapping is `len` bytes long and stays until `drop`; a
        // `&Mapping` or an `Arc` of it is behind everything that this hands out, so
        // `'static` never leaves this module; the file is never cut short (rule 5);
        // (2) the publisher, which is this crate, stores through vvar's atomics only.
        let pages = unsafe { Pages::new(base, len) }
            .map_err(|source| Error::Pages {
                path: path.to_owned(),
                source,
            })
            .map_err(unmapped)?;
        let note = contents.note.clone();
        // SAFETY: the note lives in an `Arc` that this keeps and never gives out to be
        // written; the same argument about `'static` holds.
        let bytes: &'static [u8] = unsafe { &*ptr::from_ref(&*note) };
        let directory = Directory::parse(bytes)
            .map_err(|source| Error::Directory {
                path: path.to_owned(),
                source,
            })
            .map_err(unmapped)?;
        let header = pages.header();
        if header.layout() != directory.layout() || header.size() as usize != directory.used() {
            return Err(unmapped(Error::Torn {
                path: path.to_owned(),
                pages: header.layout(),
                directory: directory.layout(),
            }));
        }
        Ok(Self {
            base,
            len,
            pages,
            directory,
            _note: note,
            access,
        })
    }

    pub(crate) fn pages(&self) -> Pages<'_> {
        self.pages
    }

    pub(crate) fn header(&self) -> &Header {
        self.pages.header()
    }

    pub(crate) fn directory(&self) -> Directory<'_> {
        self.directory
    }

    /// The writing half. The caller is the file's one publisher: it holds the lock.
    pub(crate) fn writer(&self) -> PagesMut<'_> {
        assert_eq!(self.access, Access::Write, "mapped for reading");
        // SAFETY: (1) just checked; (2) only [`crate::publisher`] maps for writing, and
        // it holds the lock for as long as the mapping lives.
        unsafe { PagesMut::new(self.pages) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `map` made this mapping; everything that points into it has a
        // reference to, or an `Arc` of, this, and so is gone.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping");
    }
}

fn map(
    file: &File,
    path: &Path,
    extent: Extent,
    access: Access,
) -> Result<(NonNull<u8>, usize), Error> {
    let (doing, protection, flags) = match access {
        Access::Read => ("read", ProtFlags::READ, MapFlags::SHARED),
        Access::Load => ("load", ProtFlags::READ, MapFlags::PRIVATE),
        Access::Write => (
            "publish",
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
        ),
    };
    // SAFETY: a new mapping at an address of the kernel's choice touches no other.
    let base = unsafe {
        mmap(
            ptr::null_mut(),
            extent.len,
            protection,
            flags,
            file,
            extent.offset,
        )
    }
    .map_err(|e| Error::io(doing, path, e))?;
    let base = NonNull::new(base.cast())
        .ok_or_else(|| Error::io(doing, path, std::io::Error::other("mapped at address zero")))?;
    Ok((base, extent.len))
}

/// Whatever keeps a mapping alive.
pub(crate) trait Keeper: Send + Sync {
    fn mapping(&self) -> &Mapping;
}

impl Keeper for Mapping {
    fn mapping(&self) -> &Mapping {
        self
    }
}

/// A scalar's place, and what keeps it mapped.
pub(crate) struct Place<T: Scalar, K> {
    cell: NonNull<T::Cell>,
    keeper: Arc<K>,
}

// SAFETY: (1) the cell is an atomic; (2) the keeper is `Send + Sync` and keeps it mapped
// in the whole process.
unsafe impl<T: Scalar, K: Keeper> Send for Place<T, K> {}
// SAFETY: as for `Send`.
unsafe impl<T: Scalar, K: Keeper> Sync for Place<T, K> {}

impl<T: Scalar, K: Keeper> Place<T, K> {
    /// The scalar at `offset`, which a checked directory told.
    pub(crate) fn new(keeper: &Arc<K>, offset: usize) -> Option<Self> {
        let cell = keeper.mapping().pages().scalar::<T>(offset)?;
        Some(Self {
            cell: NonNull::from(cell),
            keeper: keeper.clone(),
        })
    }

    #[inline(always)]
    pub(crate) fn cell(&self) -> &T::Cell {
        // SAFETY: `pages.scalar` gave the reference; `keeper` keeps it mapped.
        unsafe { self.cell.as_ref() }
    }
}

impl<T: Scalar, K> Clone for Place<T, K> {
    fn clone(&self) -> Self {
        Self {
            cell: self.cell,
            keeper: self.keeper.clone(),
        }
    }
}

/// A latch's place, and what keeps it mapped.
pub(crate) struct LatchPlace<T, K> {
    words: NonNull<Word>,
    pub(crate) keeper: Arc<K>,
    value: PhantomData<fn() -> T>,
}

// SAFETY: (1) words are atomics; (2) the keeper is `Send + Sync` and keeps them mapped in
// the whole process.
unsafe impl<T, K: Keeper> Send for LatchPlace<T, K> {}
// SAFETY: as for `Send`.
unsafe impl<T, K: Keeper> Sync for LatchPlace<T, K> {}

impl<T: Value, K: Keeper> LatchPlace<T, K> {
    /// A constant, so that a read has no check left in it.
    const WORDS: usize = latch::size_of(T::SHAPE.size()) / size_of::<Word>();

    /// The latch at `offset`, which a checked directory told.
    pub(crate) fn new(keeper: &Arc<K>, offset: usize) -> Option<Self> {
        let mapping = keeper.mapping();
        mapping.pages().latch(offset, T::SHAPE.size())?;
        Some(Self {
            // SAFETY: `pages.latch` found all of it within the mapping.
            words: unsafe { mapping.base.add(offset) }.cast(),
            keeper: keeper.clone(),
            value: PhantomData,
        })
    }

    #[inline(always)]
    fn latch(&self) -> Latch<'_> {
        // SAFETY: (1) `new` found this many aligned words there; (2) `keeper` keeps them
        // mapped; (3) a word is an atomic.
        let words = unsafe { NonNull::slice_from_raw_parts(self.words, Self::WORDS).as_ref() };
        match Latch::new(words) {
            Some(latch) => latch,
            None => unreachable!("`new` made one of as many words"),
        }
    }

    #[inline(always)]
    pub(crate) fn read(&self) -> T {
        self.latch().read(T::load)
    }

    #[inline(always)]
    pub(crate) fn try_read_some<R>(&self, decode: impl FnOnce(Copy<'_>) -> Option<R>) -> Option<R> {
        self.latch().try_read_some(decode)
    }

    /// The caller is the one writer of this latch.
    #[inline(always)]
    pub(crate) fn write(&mut self, value: &T) {
        LatchWriter::new(self.latch()).write(|copy| value.store(&copy));
    }
}

impl<T, K> Clone for LatchPlace<T, K> {
    fn clone(&self) -> Self {
        Self {
            words: self.words,
            keeper: self.keeper.clone(),
            value: PhantomData,
        }
    }
}
