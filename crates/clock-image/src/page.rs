//! The vvar pages as the image sees them.
#![allow(
    unsafe_code,
    reason = "the pages' address is all that an image has; here it becomes references"
)]

use crate::arch;
use core::sync::atomic::Ordering;
use vdsokit_clock::Clock;
use vdsokit_clock::page::{RECORD_SIZE, record_offset, source_offset};
use vdsokit_vvar::latch::{self, Copy, Latch, Word};

/// Words of a record's latch.
const WORDS: usize = latch::size_of(RECORD_SIZE) / 8;

/// The number of a clock that has a record.
#[derive(Clone, Copy)]
pub(crate) struct Id(u32);

impl Id {
    #[inline(always)]
    pub(crate) fn new(clock: u32) -> Option<Self> {
        (clock < Clock::RECORDS as u32).then_some(Self(clock))
    }

    /// The number.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// What the publisher says of where this clock's time comes from; a hint:
    /// see [`source_offset`].
    #[inline(always)]
    pub(crate) fn source(self) -> u64 {
        // SAFETY: as in `latch`, for `source_offset`.
        let word = unsafe { &*arch::vvar().add(source_offset(self.0)).cast::<Word>() };
        word.load(Ordering::Relaxed)
    }

    /// Reads the clock's record through its latch.
    #[inline(always)]
    pub(crate) fn read<R: Default>(self, decode: impl Fn(Copy<'static>) -> R) -> R {
        self.latch()
            .map(|latch| latch.read(decode))
            .unwrap_or_default()
    }

    /// There is one: the number of words is odd, and known to the compiler.
    #[inline(always)]
    fn latch(self) -> Option<Latch<'static>> {
        // SAFETY: (1) the vvar pages are mapped behind the image, readable, for
        // as long as the image is; (2) a latch at `record_offset` is within the
        // first page for every number that `new` lets through, and a multiple of
        // 8; (3) its words are atomics, and the publisher stores them as such.
        let words = unsafe {
            &*arch::vvar()
                .add(record_offset(self.0))
                .cast::<[Word; WORDS]>()
        };
        Latch::new(words)
    }
}

/// The word of the generation of random bytes.
#[inline(always)]
pub(crate) fn random_generation() -> &'static Word {
    // SAFETY: as in `Id::latch`, for an offset behind the clocks.
    unsafe {
        &*arch::vvar()
            .add(vdsokit_random::page::OFFSET)
            .cast::<Word>()
    }
}
