//! A point in time, finer than a `timespec`.

use crate::line::split;
use crate::rate::NANOSECONDS;

/// Seconds, nanoseconds and 2⁻⁶⁴ nanoseconds since a clock's zero.
///
/// The base of a line has this type: without the fraction, each of a chain of updates
/// would lose part of a nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Whole seconds; negative before the clock's zero.
    pub seconds: i64,
    /// 0 to 999,999,999, counted forwards from `seconds`.
    pub nanoseconds: u32,
    /// The rest, in 2⁻⁶⁴ ns.
    pub fraction: u64,
}

impl Moment {
    /// A whole number of seconds.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
            fraction: 0,
        }
    }

    /// The moment of a `timespec`; `None` if its nanoseconds are not 0 to 999,999,999.
    pub const fn from_timespec(seconds: i64, nanoseconds: i64) -> Option<Self> {
        if nanoseconds < 0 || nanoseconds >= NANOSECONDS as i64 {
            return None;
        }
        Some(Self {
            seconds,
            nanoseconds: nanoseconds as u32,
            fraction: 0,
        })
    }

    /// `nanoseconds` after the clock's zero.
    pub const fn from_nanoseconds(nanoseconds: i128) -> Self {
        let (seconds, part) = parts(nanoseconds);
        Self {
            seconds,
            nanoseconds: part as u32,
            fraction: 0,
        }
    }

    /// Whole nanoseconds since the clock's zero.
    pub const fn as_nanoseconds(self) -> i128 {
        self.seconds as i128 * NANOSECONDS as i128 + self.nanoseconds as i128
    }

    /// This moment, `span` × 2⁻⁶⁴ ns later. Seconds wrap beyond 2⁶³.
    #[inline]
    pub const fn after(self, span: u128) -> Self {
        let (fraction, carry) = self.fraction.overflowing_add(span as u64);
        // In 64 bits, where a division by a constant is a multiplication.
        let (seconds, part) = split((span >> 64) as u64);
        let (more, nanoseconds) = split(part as u64 + self.nanoseconds as u64 + carry as u64);
        Self {
            seconds: self.seconds.wrapping_add((seconds + more) as i64),
            nanoseconds,
            fraction,
        }
    }

    /// This moment moved by whole nanoseconds, in either direction. Seconds wrap
    /// beyond 2⁶³.
    #[inline]
    pub const fn moved(self, nanoseconds: i128) -> Self {
        let (seconds, part) = if nanoseconds as i64 as i128 == nanoseconds {
            // 64 bits suffice for 292 years, and the division is a multiplication.
            let nanoseconds = nanoseconds as i64;
            (
                nanoseconds.div_euclid(NANOSECONDS as i64),
                nanoseconds.rem_euclid(NANOSECONDS as i64) as u64,
            )
        } else {
            parts(nanoseconds)
        };
        let (more, nanoseconds) = split(part + self.nanoseconds as u64);
        Self {
            seconds: self.seconds.wrapping_add(seconds).wrapping_add(more as i64),
            nanoseconds,
            fraction: self.fraction,
        }
    }
}

/// Whole seconds, and the nanoseconds from there. A function of its own, since it is large and
/// rarely needed.
#[cold]
#[inline(never)]
const fn parts(nanoseconds: i128) -> (i64, u64) {
    // One division: that of 128 bits is a function of the compiler's. Seconds wrap beyond 2⁶³.
    let seconds = nanoseconds.div_euclid(NANOSECONDS as i128);
    let part = nanoseconds.wrapping_sub(seconds.wrapping_mul(NANOSECONDS as i128));
    (seconds as i64, part as u64)
}
