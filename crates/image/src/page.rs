//! The vvar pages as the image sees them.
#![allow(
    unsafe_code,
    reason = "the pages' address is all that an image has; here it becomes references"
)]

use crate::arch;
use crate::gettime::Timespec;
use core::arch::asm;
use core::hint::cold_path;
use core::sync::atomic::Ordering;
use vdsokit_clock::page::{RECORD_SIZE, record_offset, source_offset};
use vdsokit_clock::{Clock, Line, NANOSECONDS, Record, Source};
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

    /// Reads the clock's record; none when it was published anew meanwhile.
    #[inline(always)]
    pub(crate) fn try_read<R>(self, decode: impl FnOnce(Copy<'static>) -> Option<R>) -> Option<R> {
        self.latch()?.try_read_opaquely(opaque, decode)?
    }

    /// The time by the counter, if the record is a counter's, and its first line, of a
    /// rate below one nanosecond a tick, answers within the second of its base.
    ///
    /// The counter is read first, and the record while that is under way.
    #[inline(always)]
    pub(crate) fn first_line(self) -> Option<Timespec> {
        let ticks = arch::counter_for_line();
        self.try_read(|copy| {
            if copy.word(Record::SOURCE) as u8 != Source::COUNTER {
                cold_path();
                return None;
            }
            // SAFETY: a copy has a record's words.
            let (since, nanoseconds) = unsafe { arch::on_line(copy.words().as_ptr(), ticks) };
            let first = |at| copy.word(Record::FIRST + at);
            if first(Line::WHOLE) != 0 {
                cold_path();
                return None;
            }
            if since >= first(Line::LENGTH) {
                cold_path();
                return None;
            }
            // Loaded here, not below, so that the compiler has two branches, which
            // are foretold, and not one on the sum of two conditions.
            let seconds = first(Line::SECONDS) as i64;
            if nanoseconds >= NANOSECONDS {
                cold_path();
                return None;
            }
            Some(Timespec {
                seconds,
                nanoseconds: nanoseconds as i64,
            })
        })
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

/// The same words: the compiler doesn't see that.
#[allow(
    clippy::pointers_in_nomem_asm_block,
    reason = "nothing is read there or written: it hides where the pointer comes from"
)]
#[inline(always)]
fn opaque(words: &[Word]) -> &[Word] {
    let mut at = words.as_ptr();
    // SAFETY: (1) the assembly is empty; (2) so these are the words that came in.
    unsafe {
        asm!("/* {0} */", inout(reg) at, options(nostack, preserves_flags, nomem));
        core::slice::from_raw_parts(at, words.len())
    }
}

/// The time at `ticks` by a record's lines.
#[inline(always)]
pub(crate) fn lines(copy: Copy<'_>, ticks: u64) -> Option<(i64, u64)> {
    let line = |first| Line::read(|at| copy.word(first + at), ticks);
    line(Record::FIRST).or_else(|| line(Record::SECOND))
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
