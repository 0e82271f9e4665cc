//! Typed access to mapped vvar pages: the crate's only unsafe code.
#![allow(
    unsafe_code,
    reason = "memory that another process or a kernel maps is reached through a pointer; \
              this module turns it into references to atomics once, with the bounds checked"
)]

use crate::header::{self, Header, Unrecognised};
use crate::latch::{self, Latch, LatchWriter, Word};
use crate::scalar::Scalar;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Vvar pages, mapped for reading for as long as `'m`.
#[derive(Clone, Copy)]
pub struct Pages<'m> {
    base: NonNull<u8>,
    size: usize,
    mapped: PhantomData<&'m [Word]>,
}

// SAFETY: (1) `Pages` returns only shared references to atomics, which are `Sync`;
// (2) the memory stays mapped for `'m` in every thread of the process.
unsafe impl Send for Pages<'_> {}
// SAFETY: a shared `Pages` allows only the same loads and stores of atomics, which are
// `Sync`; it has no other state.
unsafe impl Sync for Pages<'_> {}

impl<'m> Pages<'m> {
    /// The pages of `size` bytes at `base`.
    ///
    /// # Errors
    /// [`PagesError`] when the memory is too small or misaligned, or when this version does
    /// not read its header.
    ///
    /// # Safety
    /// 1. `size` bytes at `base` are mapped readable and stay so for `'m`, regardless of
    ///    other processes (rule 5).
    /// 2. Every store into them during `'m` is an atomic instruction of the width that this
    ///    crate uses for that location (rule 3).
    pub unsafe fn new(base: NonNull<u8>, size: usize) -> Result<Self, PagesError> {
        if base.as_ptr().addr() % align_of::<Header>() != 0 || size < header::SIZE {
            return Err(PagesError::Size(size));
        }
        let pages = Self {
            base,
            size,
            mapped: PhantomData,
        };
        pages.header().recognise()?;
        let used = pages.header().size() as usize;
        if used > size || used < header::SIZE {
            return Err(PagesError::Used { used, size });
        }
        Ok(pages)
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &'m Header {
        // SAFETY: (1) `new` checked alignment and size; (2) the memory is mapped for
        // `'m`; (3) `Header` consists of atomics, for which any bits are valid, and a
        // load needs no writable memory (std::sync::atomic, "Atomic accesses to
        // read-only memory": loads up to the width of a pointer).
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    /// The scalar at `offset`; `None` when it is misaligned or reaches out of the pages.
    #[must_use]
    pub fn scalar<T: Scalar>(&self, offset: usize) -> Option<&'m T::Cell> {
        let place = self.place(offset, size_of::<T::Cell>(), align_of::<T::Cell>())?;
        // SAFETY: (1) `place` checked bounds and alignment; (2) the memory is mapped for
        // `'m`; (3) `T::Cell` is an unsigned atomic (the trait is sealed).
        Some(unsafe { place.cast::<T::Cell>().as_ref() })
    }

    /// The latch at `offset` of a value of `size` bytes; `None` when it is misaligned,
    /// empty, or reaches out of the pages.
    #[must_use]
    pub fn latch(&self, offset: usize, size: usize) -> Option<Latch<'m>> {
        let bytes = size
            .checked_next_multiple_of(8)?
            .checked_mul(2)?
            .checked_add(8)?;
        debug_assert_eq!(bytes, latch::size_of(size));
        let place = self.place(offset, bytes, align_of::<Word>())?;
        // SAFETY: (1) `place` checked bounds and alignment of all the words; (2) the
        // memory is mapped for `'m`; (3) a word is an atomic.
        let words = unsafe { NonNull::slice_from_raw_parts(place.cast(), bytes / 8).as_ref() };
        Latch::new(words)
    }

    fn place(&self, offset: usize, size: usize, align: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(size)?;
        if end > self.size || offset % align != 0 {
            return None;
        }
        // SAFETY: `offset` is within the `size` bytes at `base`, which are one mapping by
        // the contract of `new`.
        Some(unsafe { self.base.add(offset) })
    }
}

impl fmt::Debug for Pages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("base", &self.base)
            .field("size", &self.size)
            .finish()
    }
}

/// Vvar pages, mapped for writing for as long as `'m`, and their one writer.
#[derive(Debug)]
pub struct PagesMut<'m>(Pages<'m>);

impl<'m> PagesMut<'m> {
    /// The writer of `pages`.
    ///
    /// # Safety
    /// 1. The memory is mapped writable for `'m`.
    /// 2. There is no other writer during `'m` (rule 1).
    #[must_use]
    pub unsafe fn new(pages: Pages<'m>) -> Self {
        Self(pages)
    }

    /// The pages, for reading.
    #[must_use]
    pub fn pages(&self) -> Pages<'m> {
        self.0
    }

    /// The header, for its stores.
    #[must_use]
    pub fn header(&self) -> &'m Header {
        self.0.header()
    }

    /// The scalar at `offset`, for [`Scalar::store`].
    #[must_use]
    pub fn scalar<T: Scalar>(&self, offset: usize) -> Option<&'m T::Cell> {
        self.0.scalar::<T>(offset)
    }

    /// The writer of the latch at `offset`.
    #[must_use]
    pub fn latch(&self, offset: usize, size: usize) -> Option<LatchWriter<'m>> {
        self.0.latch(offset, size).map(LatchWriter::new)
    }
}

/// Why memory was not accepted as vvar pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagesError {
    /// Too small for a header, or misaligned.
    Size(usize),
    /// The header states more bytes in use than are mapped, or fewer than its own.
    Used {
        /// Bytes in use by the header.
        used: usize,
        /// Bytes mapped.
        size: usize,
    },
    /// This version does not read the header.
    Header(Unrecognised),
}

impl From<Unrecognised> for PagesError {
    fn from(error: Unrecognised) -> Self {
        Self::Header(error)
    }
}

impl fmt::Display for PagesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => write!(f, "{size} bytes cannot hold vvar pages"),
            Self::Used { used, size } => write!(
                f,
                "the header states {used} bytes in use, but {size} are mapped"
            ),
            Self::Header(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for PagesError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Publication;
    use core::sync::atomic::Ordering;

    /// Page-sized memory that begins with `header`.
    fn memory(header: &Header) -> Vec<Word> {
        let bytes = header.to_bytes();
        let words = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|chunk| Word::new(u64::from_ne_bytes(*chunk)));
        words
            .chain(core::iter::repeat_with(|| Word::new(0)))
            .take(512)
            .collect()
    }

    fn pages(memory: &[Word]) -> Result<Pages<'_>, PagesError> {
        let base = NonNull::from(memory).cast();
        // SAFETY: (1) the slice is borrowed for the result's lifetime; (2) it consists
        // of atomics, and all stores into it are atomic.
        unsafe { Pages::new(base, size_of_val(memory)) }
    }

    #[test]
    fn the_reader_loads_what_the_writer_stores() {
        let memory = memory(&Header::new(1, 2, 4096));
        let pages = pages(&memory).unwrap();
        // SAFETY: (1) the memory is writable; (2) there is no other writer.
        let writer = unsafe { PagesMut::new(pages) };
        f64::store(writer.scalar::<f64>(64).unwrap(), 21.5);
        writer.latch(128, 16).unwrap().write(|copy| {
            copy.set_word(0, 7);
            copy.set_word(1, 8);
        });
        writer.header().publish(Publication {
            publisher: 9,
            boot: 0,
            now: 10,
            stale_after: 0,
        });
        assert_eq!(f64::load(pages.scalar::<f64>(64).unwrap()), 21.5);
        let latch = pages.latch(128, 16).unwrap();
        assert_eq!(latch.read(|copy| (copy.word(0), copy.word(1))), (7, 8));
        assert_eq!(pages.header().publisher(), 9);
    }

    #[test]
    fn places_beyond_the_pages_are_refused() {
        let memory = memory(&Header::new(1, 2, 4096));
        let pages = pages(&memory).unwrap();
        assert!(pages.scalar::<u8>(4095).is_some());
        assert!(pages.scalar::<u8>(4096).is_none());
        assert!(pages.scalar::<u64>(4090).is_none());
        assert!(pages.scalar::<u64>(usize::MAX - 7).is_none());
        assert!(pages.scalar::<u32>(66).is_none());
        assert!(pages.latch(4096 - 24, 8).is_some());
        assert!(pages.latch(4096 - 16, 8).is_none());
        assert!(pages.latch(64, 0).is_none());
        assert!(pages.latch(64, usize::MAX).is_none());
    }

    #[test]
    fn foreign_memory_is_refused() {
        let ours = memory(&Header::new(1, 2, 5000));
        assert_eq!(
            pages(&ours).unwrap_err(),
            PagesError::Used {
                used: 5000,
                size: 4096
            }
        );
        assert_eq!(pages(&ours[..7]).unwrap_err(), PagesError::Size(56));
        ours[1].store(2, Ordering::Relaxed);
        assert_eq!(
            pages(&ours).unwrap_err(),
            PagesError::Header(Unrecognised::Format(2))
        );
        ours[0].store(0, Ordering::Relaxed);
        assert_eq!(
            pages(&ours).unwrap_err(),
            PagesError::Header(Unrecognised::Foreign)
        );
    }
}
