//! Files mapped into memory, and typed references into them.
#![allow(
    unsafe_code,
    reason = "this module maps a file and points into the mapping; all other modules use \
              its safe interface"
)]

use crate::error::Error;
use crate::file::{Contents, Extent};
use std::fs::File;
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use vdsokit_vvar::directory::Directory;
use vdsokit_vvar::header::Header;
use vdsokit_vvar::latch::{self, Copy, Latch, LatchWriter, Word};
use vdsokit_vvar::mapping::{Access, MappedFile};
use vdsokit_vvar::pages::{Pages, PagesMut};
use vdsokit_vvar::scalar::Scalar;
use vdsokit_vvar::value::Value;

/// The mapped vvar pages of a file, and its directory.
#[derive(Debug)]
pub(crate) struct MappedVvar {
    memory: MappedFile,
    pages: Pages<'static>,
    directory: Directory<'static>,
    /// The bytes that `directory` points into.
    _note: Arc<[u8]>,
    access: Access,
}

impl MappedVvar {
    /// Maps the pages of `file` and checks that they and the directory have the same layout.
    pub(crate) fn new(
        file: &File,
        path: &Path,
        contents: &Contents,
        access: Access,
    ) -> Result<Self, Error> {
        let Extent { offset, len } = contents.extent;
        let memory = MappedFile::new(file, offset, len, access)
            .map_err(|error| Error::io(purpose(access), path, error))?;
        // SAFETY: (1) the mapping is `len` bytes long and lives as long as `self`; everything that
        // this type returns borrows it or holds an `Arc` of it, so `'static` never leaves
        // this module; publishers never truncate a file (rule 5); (2) the publisher, which is
        // this crate, stores through vvar's atomics only.
        let pages = unsafe { Pages::new(memory.base(), len) }.map_err(|source| Error::Pages {
            path: path.to_owned(),
            source,
        })?;
        let note = contents.note.clone();
        // SAFETY: the note is in an `Arc` that `self` keeps and that is never written;
        // `directory` is only returned with the lifetime of `&self`.
        let bytes: &'static [u8] = unsafe { &*ptr::from_ref(&*note) };
        let directory = Directory::parse(bytes).map_err(|source| Error::Directory {
            path: path.to_owned(),
            source,
        })?;
        let header = pages.header();
        if header.layout() != directory.layout() || header.size() as usize != directory.used() {
            return Err(Error::Torn {
                path: path.to_owned(),
                pages: header.layout(),
                directory: directory.layout(),
            });
        }
        Ok(Self {
            memory,
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

    /// The pages, for writing. The caller holds the publisher's lock.
    pub(crate) fn writer(&self) -> PagesMut<'_> {
        assert_eq!(self.access, Access::Write, "mapped for reading");
        // SAFETY: (1) just checked; (2) only [`crate::open`] maps for writing, with the lock
        // on the file's name, which [`crate::publisher`] holds as long as the mapping.
        unsafe { PagesMut::new(self.pages) }
    }
}

/// What a file is mapped for, as an error names it.
fn purpose(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Load => "load",
        Access::Write => "publish",
    }
}

/// An owner of a mapping.
pub(crate) trait Owner: Send + Sync {
    fn mapping(&self) -> &MappedVvar;
}

impl Owner for MappedVvar {
    fn mapping(&self) -> &MappedVvar {
        self
    }
}

/// A reference to a scalar, and the owner of its mapping.
pub(crate) struct ScalarRef<T: Scalar, O> {
    cell: NonNull<T::Cell>,
    owner: Arc<O>,
}

// SAFETY: (1) the cell is an atomic; (2) the owner is `Send + Sync` and keeps it mapped
// in the whole process.
unsafe impl<T: Scalar, O: Owner> Send for ScalarRef<T, O> {}
// SAFETY: a shared reference allows loads and stores of an atomic, and the owner is `Sync`.
unsafe impl<T: Scalar, O: Owner> Sync for ScalarRef<T, O> {}

impl<T: Scalar, O: Owner> ScalarRef<T, O> {
    /// The scalar at `offset`, which is from a checked directory.
    pub(crate) fn new(owner: &Arc<O>, offset: usize) -> Option<Self> {
        let cell = owner.mapping().pages().scalar::<T>(offset)?;
        Some(Self {
            cell: NonNull::from(cell),
            owner: owner.clone(),
        })
    }

    #[inline(always)]
    pub(crate) fn cell(&self) -> &T::Cell {
        // SAFETY: `pages.scalar` gave the reference; `owner` keeps it mapped.
        unsafe { self.cell.as_ref() }
    }
}

impl<T: Scalar, O> Clone for ScalarRef<T, O> {
    fn clone(&self) -> Self {
        Self {
            cell: self.cell,
            owner: self.owner.clone(),
        }
    }
}

/// A reference to a latch, and the owner of its mapping.
pub(crate) struct LatchRef<T, O> {
    words: NonNull<Word>,
    pub(crate) owner: Arc<O>,
    value: PhantomData<fn() -> T>,
}

// SAFETY: (1) words are atomics; (2) the owner is `Send + Sync` and keeps them mapped in
// the whole process.
unsafe impl<T, O: Owner> Send for LatchRef<T, O> {}
// SAFETY: a shared reference allows loads and stores of atomics, and the owner is `Sync`.
unsafe impl<T, O: Owner> Sync for LatchRef<T, O> {}

impl<T: Value, O: Owner> LatchRef<T, O> {
    /// A constant, so that a read contains no length check.
    const WORDS: usize = latch::size_of(T::SHAPE.size()) / size_of::<Word>();

    /// The latch at `offset`, which is from a checked directory.
    pub(crate) fn new(owner: &Arc<O>, offset: usize) -> Option<Self> {
        let mapping = owner.mapping();
        mapping.pages().latch(offset, T::SHAPE.size())?;
        Some(Self {
            // SAFETY: `pages.latch` found all of it within the mapping.
            words: unsafe { mapping.memory.base().add(offset) }.cast(),
            owner: owner.clone(),
            value: PhantomData,
        })
    }

    #[inline(always)]
    fn latch(&self) -> Latch<'_> {
        // SAFETY: (1) `new` found this many aligned words there; (2) `owner` keeps them
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

impl<T, O> Clone for LatchRef<T, O> {
    fn clone(&self) -> Self {
        Self {
            words: self.words,
            owner: self.owner.clone(),
            value: PhantomData,
        }
    }
}
