//! A reader of a frame, at a counter that the test chooses.

use std::sync::atomic::{AtomicU64, Ordering};
use vdsokit_clock::page::{RECORD_SIZE, record_offset, source_offset};
use vdsokit_clock::{Answer, Clock, ErrorBound, NANOSECONDS, Record, Source};
use vdsokit_guest::WORDS;
use vdsokit_vvar::latch::{self, Latch};

/// The clocks with a record.
pub(crate) const CLOCKS: [Clock; 7] = [
    Clock::Realtime,
    Clock::Monotonic,
    Clock::MonotonicRaw,
    Clock::RealtimeCoarse,
    Clock::MonotonicCoarse,
    Clock::Boottime,
    Clock::Tai,
];

/// A frame of a kernel.
pub(crate) struct Frame(Box<[AtomicU64; WORDS]>);

impl Frame {
    pub(crate) fn new() -> Self {
        Self(Box::new([const { AtomicU64::new(0) }; WORDS]))
    }

    pub(crate) fn words(&self) -> &[AtomicU64; WORDS] {
        &self.0
    }

    /// What a reader of a clock does with the counter at `ticks`.
    pub(crate) fn read(&self, clock: Clock, ticks: u64) -> Answer {
        self.latch(clock)
            .read(|copy| match copy.word(Record::SOURCE) as u8 {
                Source::SYSTEM_CALL => Answer::None,
                _ => Record::read(|index| copy.word(index), ticks),
            })
    }

    /// The error bound of a clock's record.
    pub(crate) fn error(&self, clock: Clock) -> ErrorBound {
        ErrorBound::from_word(self.latch(clock).read(|copy| copy.word(Record::ERROR)))
    }

    fn latch(&self, clock: Clock) -> Latch<'_> {
        let start = record_offset(clock.id()) / 8;
        let words = &self.0[start..start + latch::size_of(RECORD_SIZE) / 8];
        Latch::new(words).expect("a record's latch")
    }

    /// The time of a clock in nanoseconds; `None` where it is the system call's.
    pub(crate) fn time(&self, clock: Clock, ticks: u64) -> Option<i128> {
        match self.read(clock, ticks) {
            Answer::Time((seconds, nanoseconds)) => {
                Some(i128::from(seconds) * i128::from(NANOSECONDS) + i128::from(nanoseconds))
            }
            Answer::AtLeast(_) | Answer::None => None,
        }
    }

    /// The copy of a clock's source outside of its latch.
    pub(crate) fn hint(&self, clock: Clock) -> Source {
        let word = &self.0[source_offset(clock.id()) / 8];
        Source::from_word(word.load(Ordering::Relaxed))
    }
}
