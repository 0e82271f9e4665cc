//! The vvar pages as the image sees them.
#![allow(
    unsafe_code,
    reason = "the image has the address of its pages, of which references are made here"
)]

use crate::arch;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use vdsokit_clock::Clock;
use vdsokit_clock::page::{RECORD_SIZE, STRIDE, record_offset, source_offset};
#[cfg(not(target_arch = "x86"))]
use vdsokit_vvar::latch::Copy;
use vdsokit_vvar::latch::{self, Latch, Word};

/// The number of words of a record's latch.
const WORDS: usize = latch::size_of(RECORD_SIZE) / 8;

/// The address of the byte at `AT` of the vvar pages.
#[inline(always)]
fn pages<const AT: usize>() -> NonNull<u8> {
    // SAFETY: the pages are behind the image's code, and no byte of either is at address 0.
    unsafe { NonNull::new_unchecked(arch::vvar::<AT>().cast_mut()) }
}

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

    /// The source of this clock's time, as a hint: see [`source_offset`].
    #[inline(always)]
    pub(crate) fn source(self) -> u64 {
        let sources = pages::<{ source_offset(0) }>().cast::<Word>();
        // SAFETY: (1) the vvar pages are mapped behind the image, readable, for as long as the
        // image is; (2) the sources lie side by side, each within the first page for every number
        // that `new` accepts, and at a multiple of 8; (3) the word is an atomic, and the
        // publisher stores it as such.
        let word = unsafe { sources.add(self.0 as usize).as_ref() };
        word.load(Ordering::Relaxed)
    }

    /// Reads the clock's record through its latch.
    #[cfg(not(target_arch = "x86"))]
    #[inline(always)]
    pub(crate) fn read<R: Default>(self, decode: impl Fn(Copy<'static>) -> R) -> R {
        self.latch()
            .map(|latch| latch.read(decode))
            .unwrap_or_default()
    }

    /// The latch of the record. It is always there: the number of words is odd, as the compiler
    /// knows.
    #[inline(always)]
    pub(crate) fn latch(self) -> Option<Latch<'static>> {
        let records = pages::<{ record_offset(0) }>();
        // SAFETY: (1) the vvar pages are mapped behind the image, readable, for as long as the image
        // is; (2) the latches lie `STRIDE` apart, each within the first page for every number that
        // `new` accepts, and at a multiple of 8; (3) its words are atomics, and the publisher stores
        // them as such.
        let words: &[Word; WORDS] =
            unsafe { records.add(self.0 as usize * STRIDE).cast().as_ref() };
        Latch::new(words)
    }
}

/// The word of the generation of random bytes.
#[cfg(not(target_arch = "x86"))]
#[inline(always)]
pub(crate) fn random_generation() -> &'static Word {
    // SAFETY: (1) the vvar pages are mapped behind the image, readable, for as long as the
    // image is; (2) the offset is within the first page and a multiple of 8, as `page` of
    // vdsokit-random asserts; (3) the word is an atomic, and its publisher stores it as such.
    unsafe { pages::<{ vdsokit_random::page::OFFSET }>().cast().as_ref() }
}
