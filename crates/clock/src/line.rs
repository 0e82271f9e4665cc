//! A straight line from ticks to time, over a stated interval of ticks.

use crate::moment::Moment;
use crate::rate::{NANOSECONDS, Rate};

/// Time as a function of a counter: `base + (ticks - start) × rate` for
/// `start ≤ ticks < start + length`, and nothing outside.
///
/// Ticks are a CPU counter's, or the nanoseconds of another clock (virtual
/// time). They may wrap; the interval is counted from `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The first tick that the line answers for.
    pub start: u64,
    /// How many ticks it answers for. 0: none.
    pub length: u64,
    /// Nanoseconds a tick.
    pub rate: Rate,
    /// The time at `start`.
    pub base: Moment,
}

impl Line {
    /// Answers for nothing.
    pub const NONE: Self = Self {
        start: 0,
        length: 0,
        rate: Rate::FROZEN,
        base: Moment::from_seconds(0),
    };

    /// How many words a line takes in the page.
    pub const WORDS: usize = 7;

    /// The line as the page holds it: start, length, whole nanoseconds and
    /// fraction of the rate, then seconds, nanoseconds and fraction of the base.
    pub const fn to_words(self) -> [u64; Self::WORDS] {
        [
            self.start,
            self.length,
            self.rate.whole(),
            self.rate.fraction(),
            self.base.seconds as u64,
            self.base.nanoseconds as u64,
            self.base.fraction,
        ]
    }

    /// The line that these words hold. Whatever they are, reading it is safe:
    /// a wrong page gives a wrong time, never a panic.
    #[inline]
    pub const fn from_words(words: &[u64; Self::WORDS]) -> Self {
        Self {
            start: words[0],
            length: words[1],
            rate: Rate::from_words(words[2], words[3]),
            base: Moment {
                seconds: words[4] as i64,
                nanoseconds: words[5] as u32,
                fraction: words[6],
            },
        }
    }

    /// The time at `ticks`, or none where the line doesn't answer.
    #[inline]
    pub const fn at(&self, ticks: u64) -> Option<Moment> {
        let since = ticks.wrapping_sub(self.start);
        if since >= self.length {
            return None;
        }
        Some(self.after(since))
    }

    /// The time `since` ticks after the start, whether the line answers for it
    /// or not: what the writer needs to go on where a line ends.
    #[inline]
    pub const fn after(&self, since: u64) -> Moment {
        let (nanoseconds, fraction) = elapsed(
            since,
            self.rate,
            self.base.nanoseconds as u64,
            self.base.fraction,
        );
        let (seconds, nanoseconds) = split(nanoseconds);
        Moment {
            seconds: self.base.seconds.wrapping_add(seconds as i64),
            nanoseconds,
            fraction,
        }
    }

    /// The first tick that the line no longer answers for.
    #[inline]
    pub const fn end(&self) -> u64 {
        self.start.wrapping_add(self.length)
    }

    /// The same function of ticks with another start: exact, since a whole
    /// number of ticks times a 64.64 rate is a 64.64 number. The end stays.
    #[must_use]
    pub const fn restarted(&self, start: u64) -> Self {
        let since = start.wrapping_sub(self.start);
        Self {
            start,
            length: self.length.saturating_sub(since),
            rate: self.rate,
            base: self.after(since),
        }
    }

    /// The same line with its base moved by whole nanoseconds.
    #[must_use]
    pub const fn moved(&self, nanoseconds: i128) -> Self {
        Self {
            base: self.base.moved(nanoseconds),
            ..*self
        }
    }

    /// The same line, answering up to `end` (not included).
    #[must_use]
    pub const fn until(&self, end: u64) -> Self {
        Self {
            length: end.wrapping_sub(self.start),
            ..*self
        }
    }
}

/// The reader's arithmetic: nanoseconds over the base's second after `since`
/// ticks, with their fraction.
///
/// Two multiplications and two additions with carry; the first multiplication
/// is by 0 for a counter faster than 1 GHz and off the critical path. The sum
/// wraps after 2⁶⁴ ns, 584 years, which no valid interval reaches.
#[inline(always)]
pub const fn elapsed(since: u64, rate: Rate, nanoseconds: u64, fraction: u64) -> (u64, u64) {
    // At most (2⁶⁴ - 1)² + 2⁶⁴ - 1 < 2¹²⁸: no carry is lost.
    let product = since as u128 * rate.fraction() as u128 + fraction as u128;
    let whole = since.wrapping_mul(rate.whole()).wrapping_add(nanoseconds);
    (whole.wrapping_add((product >> 64) as u64), product as u64)
}

/// Seconds and nanoseconds of a number of nanoseconds.
///
/// Mostly the base was set less than a second ago: one comparison. After that a
/// division by a constant, which compilers turn into a multiplication.
#[inline(always)]
pub const fn split(nanoseconds: u64) -> (u64, u32) {
    if nanoseconds < NANOSECONDS {
        return (0, nanoseconds as u32);
    }
    (
        nanoseconds / NANOSECONDS,
        (nanoseconds % NANOSECONDS) as u32,
    )
}
