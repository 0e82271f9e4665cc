//! Reading a published clock in Rust, as the image reads it.

use super::{cpu, monotonic};
use rustix::time::{ClockId, clock_gettime};
use vdsokit_clock::page::record_name;
use vdsokit_clock::{Answer, Clock, Line, NANOSECONDS, Record, Source};
use vdsokit_publish::{Error, Latched, Vdso};

/// One of the clocks that never run backwards, in a published clock image.
///
/// A read is one latched read and one read of the counter. Where the record has no answer, it
/// is `clock_gettime(2)`, by this process's vDSO.
///
/// # Never backwards
/// 1. As long as records answer, all readers on all CPUs have the same function of the
///    counter (`vdsokit_clock::Timekeeper`), which never falls and is kept ahead of the
///    kernel's clock by as much as is uncertain. So from the kernel's answer to the page's
///    time goes forwards, or stands.
/// 2. Where a record has none, its publisher was silent for longer than it had promised to
///    be. The kernel's answer is then raised to the end of that promise, which no reader
///    has passed. So from the page's answer to the kernel's time goes forwards, or stands.
/// 3. A publisher that starts again starts ahead of both, and one that ends in order waits
///    for the kernel's clock before it says so.
///
/// What that rests on: that the counters of all CPUs agree, which publishers check, and that
/// the kernel's clock is not turned by more than [`wander`](vdsokit_clock::Settings) between
/// two updates; by as much as it is, time may step at a fallback.
#[derive(Clone, Debug)]
pub struct Reader {
    record: Latched<[u64; Record::WORDS]>,
    clock: ClockId,
    /// For the records of the other clocks.
    pub(super) vdso: Vdso,
}

impl Reader {
    /// A reader of `clock`, which is `Monotonic`, `MonotonicRaw` or `Boottime`.
    ///
    /// # Errors
    /// [`Error::Unknown`] or [`Error::Mismatch`] when this is no clock image, and
    /// [`Error::Unknown`] for another clock.
    pub fn new(vdso: &Vdso, clock: Clock) -> Result<Self, Error> {
        Ok(Self {
            record: vdso.latched(record_name(clock.id()))?,
            clock: monotonic(clock).ok_or_else(|| Error::Unknown {
                path: vdso.path().to_owned(),
                name: clock.name().to_owned(),
                help: "a reader is for a clock that never runs backwards".to_owned(),
            })?,
            vdso: vdso.clone(),
        })
    }

    /// Nanoseconds since the clock's zero, ordered: the counter is read after everything
    /// that comes before this call.
    #[inline(always)]
    #[must_use]
    pub fn nanoseconds(&self) -> u64 {
        match self.by_first_line(cpu::ticks) {
            Some(nanoseconds) => nanoseconds,
            None => self.by_record_or_kernel(),
        }
    }

    /// The same without an order: the CPU may read the counter some instructions before
    /// this call or after it.
    #[inline(always)]
    #[must_use]
    pub fn nanoseconds_unordered(&self) -> u64 {
        match self.by_first_line(cpu::ticks_unordered) {
            Some(nanoseconds) => nanoseconds,
            None => self.by_record_or_kernel(),
        }
    }

    /// What is published of the clock.
    #[must_use]
    pub fn record(&self) -> Record {
        Record::from_words(&self.record.get())
    }

    /// The largest difference between the page's time and the kernel's clock, in
    /// nanoseconds; `None` where a read is the kernel's.
    #[must_use]
    pub fn error(&self) -> Option<u64> {
        let record = self.record();
        let Source::Counter { .. } = record.source else {
            return None;
        };
        let ticks = cpu::ticks();
        record.at(ticks)?;
        record.error_at(ticks)
    }

    /// The answer of the first line: the common case.
    #[inline(always)]
    fn by_first_line(&self, ticks: impl FnOnce() -> u64) -> Option<u64> {
        self.record.try_read_some(|copy| {
            if copy.word(Record::SOURCE) as u8 != Source::COUNTER {
                return None;
            }
            // The counter last, because its read waits for earlier loads; as in the image.
            let ticks = ticks();
            let first = |at| copy.word(Record::FIRST + at);
            let since = ticks.wrapping_sub(first(Line::START));
            if since >= first(Line::LENGTH) {
                return None;
            }
            let (seconds, nanoseconds) = if first(Line::WHOLE) == 0 {
                Line::extend_fast(first, ticks)
            } else {
                Line::extend(first, ticks)
            };
            Some(
                (seconds as u64)
                    .wrapping_mul(NANOSECONDS)
                    .wrapping_add(nanoseconds),
            )
        })
    }

    #[cold]
    #[inline(never)]
    fn by_record_or_kernel(&self) -> u64 {
        let words = self.record.get();
        let nanoseconds = |(seconds, nanoseconds): (i64, u64)| {
            (seconds as u64)
                .wrapping_mul(NANOSECONDS)
                .wrapping_add(nanoseconds)
        };
        let least = match Source::from_word(words[Record::SOURCE]) {
            Source::Counter { .. } => match Record::read(|at| words[at], cpu::ticks()) {
                Answer::Time(time) => return nanoseconds(time),
                Answer::AtLeast(time) => nanoseconds(time),
                Answer::None => 0,
            },
            Source::SystemCall | Source::Kernel => 0,
            // Virtual time is for the programs to which it is delivered.
            Source::KernelClock(_) | Source::KernelMoved | Source::Fixed | Source::Reads => 0,
        };
        now(self.clock).max(least)
    }
}

/// A clock as this process sees it, in nanoseconds since the clock's zero.
fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    word(i128::from(time.tv_sec) * i128::from(NANOSECONDS) + i128::from(time.tv_nsec))
}

/// `CLOCK_MONOTONIC` of this process, in nanoseconds: by its vDSO, or by system call.
#[must_use]
pub fn monotonic_now() -> u64 {
    now(ClockId::Monotonic)
}

/// None of these clocks is before its zero, and 2⁶⁴ ns are 584 years.
fn word(nanoseconds: i128) -> u64 {
    nanoseconds.try_into().unwrap_or_default()
}
