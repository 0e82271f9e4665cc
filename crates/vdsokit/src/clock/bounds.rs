//! Bounded time: the interval in which the true time lies.

use super::Clock;
use std::time::Duration;
use vdsokit_clock::{Clock as ClockId, Moment};
use vdsokit_sources::clock::{Unbounded, kernel_bounds};

impl Clock {
    /// The interval in which the true time of `clock` lies, earliest and latest, as durations
    /// since the clock's zero (1970 for wall clocks; an earlier moment counts as zero).
    ///
    /// The true time of a wall clock is UTC or TAI, and the interval is as wide as the NTP daemon
    /// of this machine knows (adjtimex(2), `maxerror`), plus the error of the published page. For
    /// the other clocks it is the kernel's clock: the interval is a point where the kernel's own
    /// time is returned, and as wide as the publisher's bound where the page's is.
    ///
    /// If two machines take intervals of [`ClockId::Realtime`] for two events, and the first
    /// interval's latest moment is before the second one's earliest, the first event surely
    /// happened first; if the intervals overlap, their order is unknown. `examples/order` does this.
    ///
    /// It is what `vdso_clock_bound` of the clock image does for other languages
    /// (`vdso_clock.h`).
    ///
    /// ```
    /// use vdsokit::{Clock, ClockId};
    ///
    /// let clock = Clock::new();
    /// let (earliest, latest) = clock.bounds(ClockId::Monotonic)?;
    /// assert!(earliest <= latest);
    /// # Ok::<(), vdsokit::Unbounded>(())
    /// ```
    ///
    /// # Errors
    /// [`Unbounded::NotSynchronised`] for a wall clock that no NTP daemon keeps,
    /// [`Unbounded::NoClock`] for an alarm clock on a machine without a real-time clock.
    pub fn bounds(&self, clock: ClockId) -> Result<(Duration, Duration), Unbounded> {
        let (earliest, latest) = match &self.0 {
            Some(reader) => reader.bounds(clock)?,
            None => kernel_bounds(clock)?,
        };
        Ok((duration(earliest), duration(latest)))
    }
}

/// Since the clock's zero; not before it.
fn duration(moment: Moment) -> Duration {
    match u64::try_from(moment.seconds) {
        Ok(seconds) => Duration::new(seconds, moment.nanoseconds),
        Err(_) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_the_clocks_zero_count_as_zero() {
        assert_eq!(duration(Moment::from_nanoseconds(-1)), Duration::ZERO);
        assert_eq!(duration(Moment::from_nanoseconds(0)), Duration::ZERO);
        assert_eq!(
            duration(Moment::from_nanoseconds(1_500_000_000)),
            Duration::from_millis(1500)
        );
    }

    /// The kernel's clock is inside the interval, whichever daemon keeps the time of this machine.
    #[test]
    fn the_kernels_clock_is_within_the_bounds() {
        let clock = Clock::new();
        let before = clock.bounds(ClockId::Monotonic).unwrap().0;
        let now = Duration::from_nanos(vdsokit_sources::clock::monotonic_now());
        let after = clock.bounds(ClockId::Monotonic).unwrap().1;
        assert!(
            before <= now && now <= after,
            "{before:?} {now:?} {after:?}"
        );
    }
}
