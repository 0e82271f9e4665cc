//! The vvar pages as the image sees them.
#![allow(
    unsafe_code,
    reason = "the pages' address is all that an image has; here it becomes references"
)]

use crate::arch;
use core::sync::atomic::{Ordering, compiler_fence};
use vdsokit_clock::page::{RECORD_SIZE, record_offset};
use vdsokit_clock::{Clock, Line, Record};
use vdsokit_vvar::latch::{self, Copy, Latch, Reading, Word};

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

    /// Reads the clock's record through its latch.
    #[inline(always)]
    pub(crate) fn read<R: Default>(self, decode: impl Fn(Copy<'static>) -> R) -> R {
        self.latch()
            .map(|latch| latch.read(decode))
            .unwrap_or_default()
    }

    /// Begins to read the clock's record.
    #[inline(always)]
    pub(crate) fn begin_reading(self) -> Option<Reading<'static>> {
        Some(self.latch()?.begin_reading())
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

/// The time at `ticks` by a record's lines.
#[inline(always)]
pub(crate) fn lines(copy: Copy<'_>, ticks: u64) -> Option<(i64, u64)> {
    let line = |first| {
        let word = move |at| copy.word(first + at);
        (ticks.wrapping_sub(word(Line::START)) < word(Line::LENGTH)).then_some(word)
    };
    if let Some(word) = line(Record::FIRST) {
        return Some(Line::extend(word, ticks));
    }
    let word = line(Record::SECOND)?;
    // No instruction, but it keeps the compiler from computing which line it is:
    // that would have to be waited for, and a branch is foretold.
    compiler_fence(Ordering::SeqCst);
    Some(Line::extend(word, ticks))
}
