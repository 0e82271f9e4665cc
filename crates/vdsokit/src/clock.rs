//! The machine's clock, read at the cost of a load and the counter.

mod bounds;

use crate::{Error, Instant, Vdso, place};
use std::path::Path;
use std::time::Duration;
use vdsokit_clock::Clock as Id;
use vdsokit_sources::clock::{FILE, Reader, is_delivered, is_machine_time, monotonic_now};

/// Monotonic time: the machine's published clock where there is one, else the kernel's.
///
/// `vdso serve clock` publishes it. With source `counter` a read loads from a page and reads the
/// CPU's counter, whatever clocksource the kernel has; and there is **one calibrator for the
/// whole machine**, which keeps the page within a published bound of `CLOCK_MONOTONIC`. Other
/// crates that read the counter calibrate it once in each process, and drift away from the
/// kernel's clock, and from each other, by the error of that calibration.
///
/// # Which clock it is
/// | | a read is |
/// | --- | --- |
/// | a page with source `counter`, up to date | the counter's |
/// | the page's promise has ended: its publisher was stopped or killed, or the machine slept | `clock_gettime(CLOCK_MONOTONIC)`, not before what was promised |
/// | a page with another source; none at all | `clock_gettime(CLOCK_MONOTONIC)` |
/// | the process runs under `vdso run`, or in a time namespace of its own | likewise, by its own vDSO |
///
/// # What is promised
/// * **Never backwards**, for ordered reads of all clones in all threads and processes that
///   have the page, across every change of the table above: the page is kept ahead of the
///   kernel's clock by what is uncertain of it, and a fallback is raised to what the page has
///   promised ([`Reader`] has the argument and what it rests on).
/// * **Within the bound** of `CLOCK_MONOTONIC`: see [`error`](Self::error).
/// * A read makes no allocation, takes no lock and is async-signal-safe. It works in a child
///   after fork(2).
///
/// The page is looked for once, when the clock is made. A publisher that ends and starts again
/// is followed; one that starts for the first time is found by the next `Clock::new`.
///
/// ```
/// use vdsokit::Clock;
///
/// let clock = Clock::new();
/// let start = clock.now();
/// let end = clock.now();
/// assert!(start <= end);
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Option<Reader>);

impl Clock {
    /// The clock that `vdso serve clock` publishes in a place of this user's or of root's;
    /// where there is none, or one that may not be used here, the kernel's.
    #[must_use]
    pub fn new() -> Self {
        let found =
            place::find_for_machine(FILE).and_then(|found| Self::of(&found.open().ok()?).ok());
        found.unwrap_or(Self(None))
    }

    /// The clock that is published at `path`: `vdso serve clock --at PATH`.
    ///
    /// In a process whose time is not the machine's it is the kernel's clock all the same.
    ///
    /// # Errors
    /// As [`Vdso::open`]; [`Error::Unknown`] and [`Error::Mismatch`] for a file that is no
    /// clock image.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::of(&Vdso::open(path)?)
    }

    fn of(vdso: &Vdso) -> Result<Self, Error> {
        let reader = Reader::new(vdso, Id::Monotonic)?;
        let may = is_machine_time() && !is_delivered();
        Ok(Self(may.then_some(reader)))
    }

    /// The time now, ordered: the counter is read after all earlier instructions have
    /// completed, as in `std::time::Instant::now`. So a time that one thread sends to another
    /// is not later than what the other then reads.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_nanoseconds(match &self.0 {
            Some(reader) => reader.nanoseconds(),
            None => monotonic_now(),
        })
    }

    /// The time about now, unordered: the CPU may read its counter some instructions earlier
    /// or later, by tens of nanoseconds, and needs not wait for what comes before. Of two such
    /// reads, or of one and [`now`](Self::now), neither is promised to be the later one.
    ///
    /// For time stamps, and for durations well above that. quanta's `now` is unordered too.
    #[inline]
    #[must_use]
    pub fn now_unordered(&self) -> Instant {
        Instant::from_nanoseconds(match &self.0 {
            Some(reader) => reader.nanoseconds_unordered(),
            None => monotonic_now(),
        })
    }

    /// The bound of the difference between [`now`](Self::now) and the kernel's
    /// `CLOCK_MONOTONIC`, as published; zero where a read is the kernel's.
    #[must_use]
    pub fn error(&self) -> Duration {
        let error = self.0.as_ref().and_then(Reader::error);
        Duration::from_nanos(error.unwrap_or(0))
    }

    /// Whether a read now is the counter's, without a system call.
    #[must_use]
    pub fn is_counter(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|reader| reader.error().is_some())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = {
    const fn crosses_threads<T: Send + Sync + Clone + 'static>() {}
    crosses_threads::<Clock>();
    crosses_threads::<Instant>();
};
