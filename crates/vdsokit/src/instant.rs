//! A point in time, as `std::time::Instant` is one.

use crate::Clock;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::sync::OnceLock;
use std::time::Duration;

/// A point in monotonic time: `std::time::Instant` in 8 bytes, from the machine's published
/// [`Clock`].
///
/// Everything that `std::time::Instant` has is here with the same meaning, so that a program
/// changes a `use` and no more. Its zero is `CLOCK_MONOTONIC`'s, so it can be compared with
/// what the kernel and other processes say ([`Instant::nanoseconds`]).
///
/// ```
/// use std::time::Duration;
/// use vdsokit::Instant;
///
/// let start = Instant::now();
/// assert!(start.elapsed() < Duration::from_secs(60));
/// assert_eq!(start + Duration::from_millis(5) - start, Duration::from_millis(5));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

/// The clock of [`Instant::now`].
fn clock() -> &'static Clock {
    static CLOCK: OnceLock<Clock> = OnceLock::new();
    CLOCK.get_or_init(Clock::new)
}

impl Instant {
    /// The time now, by the clock that [`Clock::new`] finds at the first call: ordered, see
    /// [`Clock::now`].
    #[inline]
    #[must_use]
    pub fn now() -> Self {
        clock().now()
    }

    /// The time about now, by the same clock: unordered, see [`Clock::now_unordered`].
    #[inline]
    #[must_use]
    pub fn now_unordered() -> Self {
        clock().now_unordered()
    }

    #[inline(always)]
    pub(crate) const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// `CLOCK_MONOTONIC`, in nanoseconds: 584 years from boot fit.
    #[inline]
    #[must_use]
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }

    /// How long ago this was; zero when it is yet to come.
    #[inline]
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Self::now().saturating_duration_since(*self)
    }

    /// How long after `earlier` this is; zero when it is before.
    #[inline]
    #[must_use]
    pub const fn duration_since(&self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }

    /// How long after `earlier` this is; zero when it is before.
    #[inline]
    #[must_use]
    pub const fn saturating_duration_since(&self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// How long after `earlier` this is; none when it is before.
    #[inline]
    #[must_use]
    pub const fn checked_duration_since(&self, earlier: Self) -> Option<Duration> {
        match self.0.checked_sub(earlier.0) {
            Some(nanoseconds) => Some(Duration::from_nanos(nanoseconds)),
            None => None,
        }
    }

    /// So much later; none beyond what an instant can hold.
    #[must_use]
    pub fn checked_add(&self, duration: Duration) -> Option<Self> {
        let nanoseconds = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_add(nanoseconds).map(Self)
    }

    /// So much earlier; none before the clock's zero.
    #[must_use]
    pub fn checked_sub(&self, duration: Duration) -> Option<Self> {
        let nanoseconds = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_sub(nanoseconds).map(Self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// # Panics
    /// As `std::time::Instant`, beyond what an instant can hold;
    /// [`checked_add`](Self::checked_add) doesn't.
    fn add(self, duration: Duration) -> Self {
        let sum = self.checked_add(duration);
        sum.expect("overflow when adding duration to instant")
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// # Panics
    /// As `std::time::Instant`, before what an instant can hold;
    /// [`checked_sub`](Self::checked_sub) doesn't.
    fn sub(self, duration: Duration) -> Self {
        let difference = self.checked_sub(duration);
        difference.expect("overflow when subtracting duration from instant")
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// As [`duration_since`](Self::duration_since).
    fn sub(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, rest) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        f.debug_tuple("Instant")
            .field(&format_args!("{seconds}.{rest:09} s"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const ZERO: Instant = Instant(0);
    const LAST: Instant = Instant(u64::MAX);

    #[test]
    fn sums_and_differences_are_those_of_durations() {
        let second = Duration::from_secs(1);
        let mut time = ZERO + second;
        assert_eq!(time.nanoseconds(), 1_000_000_000);
        time += second;
        time -= second / 2;
        assert_eq!(time - ZERO, Duration::from_millis(1500));
        assert_eq!(time - second, Instant(500_000_000));
        assert_eq!(format!("{time:?}"), "Instant(1.500000000 s)");
        assert!(ZERO < time && HashSet::from([time]).contains(&time));
    }

    #[test]
    fn what_is_before_saturates_or_is_none() {
        let (early, late) = (Instant(5), Instant(7));
        assert_eq!(late.duration_since(early), Duration::from_nanos(2));
        assert_eq!(early.duration_since(late), Duration::ZERO);
        assert_eq!(early - late, Duration::ZERO);
        assert_eq!(early.saturating_duration_since(late), Duration::ZERO);
        assert_eq!(early.checked_duration_since(late), None);
        assert_eq!(
            late.checked_duration_since(early),
            Some(Duration::from_nanos(2))
        );
    }

    #[test]
    fn what_can_not_be_held_is_none() {
        let nanosecond = Duration::from_nanos(1);
        assert_eq!(LAST.checked_add(nanosecond), None);
        assert_eq!(ZERO.checked_add(Duration::MAX), None);
        assert_eq!(ZERO.checked_sub(nanosecond), None);
        assert_eq!(LAST.checked_sub(Duration::MAX), None);
        assert_eq!(Instant(3).checked_sub(nanosecond), Some(Instant(2)));
    }
}
