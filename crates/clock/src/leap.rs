//! Leap seconds.

use crate::rate::NANOSECONDS;

/// The next leap second.
///
/// Wall time steps as Linux's does (kernel/time/ntp.c,
/// `second_overflow()`): an inserted second repeats the last one of the day, a
/// deleted one is left out. Atomic time does not step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leap {
    /// When wall time reaches this second, the midnight after the leap second, it
    /// goes back by one.
    Insert(i64),
    /// This second, the midnight after it, comes one second early.
    Delete(i64),
}

impl Leap {
    /// The second of wall time at which it happens.
    pub(crate) const fn at(self) -> i64 {
        match self {
            Self::Insert(midnight) => midnight,
            Self::Delete(midnight) => midnight.saturating_sub(1),
        }
    }

    /// The step of wall time, in nanoseconds.
    pub(crate) const fn step(self) -> i128 {
        match self {
            Self::Insert(_) => -(NANOSECONDS as i128),
            Self::Delete(_) => NANOSECONDS as i128,
        }
    }
}
