//! Time as a linear function of ticks, over an interval of ticks.

use crate::moment::Moment;
use crate::rate::{NANOSECONDS, Rate};

/// Time as a function of a counter: `base + (ticks - start) × rate` for
/// `start ≤ ticks < start + length`, and nothing outside.
///
/// Ticks are those of a CPU's counter, or the nanoseconds of another clock (virtual
/// time): 64 bits that do not wrap while the line is valid. A narrower counter has to
/// be extended to 64 bits first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The first tick at which the line is valid.
    pub start: u64,
    /// The number of ticks for which it is valid; 0 for none.
    pub length: u64,
    /// Nanoseconds a tick.
    pub rate: Rate,
    /// The time at `start`.
    pub base: Moment,
}

impl Line {
    /// The line that is never valid.
    pub const NONE: Self = Self {
        start: 0,
        length: 0,
        rate: Rate::FROZEN,
        base: Moment::from_seconds(0),
    };

    /// The number of words of a line in the page.
    pub const WORDS: usize = 7;
    /// The word of the start.
    pub const START: usize = 0;
    /// The word of the length.
    pub const LENGTH: usize = 1;
    /// The word of the rate's whole nanoseconds.
    pub const WHOLE: usize = 2;
    /// The word of the rate's fraction.
    pub const FRACTION: usize = 3;
    /// The word of the base's seconds.
    pub const SECONDS: usize = 4;
    /// The word of the origin's nanoseconds.
    pub const ORIGIN: usize = 5;
    /// The word of the origin's fraction.
    pub const ORIGIN_FRACTION: usize = 6;

    /// Encodes the line for the page.
    ///
    /// In place of the base's nanoseconds the page has the *origin*: the value that the
    /// line would have at tick 0, modulo 2⁶⁴ ns. So the reader multiplies the counter
    /// itself, in parallel with the check that the line is valid.
    #[inline]
    pub const fn to_words(self) -> [u64; Self::WORDS] {
        let origin = self.origin();
        [
            self.start,
            self.length,
            self.rate.whole(),
            self.rate.fraction(),
            self.base.seconds as u64,
            (origin >> 64) as u64,
            origin as u64,
        ]
    }

    /// The value at tick 0 in 2⁻⁶⁴ ns, modulo 2¹²⁸, without the base's seconds.
    #[inline]
    pub(crate) const fn origin(&self) -> u128 {
        let base = (self.base.nanoseconds as u128) << 64 | self.base.fraction as u128;
        base.wrapping_sub(reading(self.start, self.rate, 0))
    }

    /// Decodes the words of a line. They may hold anything: a wrong page gives a
    /// wrong time, never a panic.
    pub const fn from_words(words: &[u64; Self::WORDS]) -> Self {
        let rate = Rate::from_words(words[Self::WHOLE], words[Self::FRACTION]);
        let start = words[Self::START];
        let origin = (words[Self::ORIGIN] as u128) << 64 | words[Self::ORIGIN_FRACTION] as u128;
        Self {
            start,
            length: words[Self::LENGTH],
            rate,
            base: Moment::from_seconds(words[Self::SECONDS] as i64)
                .after(reading(start, rate, origin)),
        }
    }

    /// The time at `ticks`; `None` where the line is not valid.
    #[inline]
    pub const fn at(&self, ticks: u64) -> Option<Moment> {
        let since = ticks.wrapping_sub(self.start);
        if since >= self.length {
            return None;
        }
        Some(self.after(since))
    }

    /// The time at `ticks`, from a line's words as they lie in a page, whether the line is
    /// valid there or not. Seconds, and nanoseconds that are still to be [`split`].
    #[inline(always)]
    pub fn extend(word: impl Fn(usize) -> u64, ticks: u64) -> (i64, u64) {
        let (seconds, nanoseconds) = Self::extend_fast(&word, ticks);
        let whole = ticks.wrapping_mul(word(Self::WHOLE));
        (seconds, nanoseconds.wrapping_add(whole))
    }

    /// [`extend`](Self::extend) for a rate below one nanosecond a tick.
    #[inline(always)]
    pub fn extend_fast(word: impl Fn(usize) -> u64, ticks: u64) -> (i64, u64) {
        let product = u128::from(ticks) * u128::from(word(Self::FRACTION));
        let (_, carry) = (product as u64).overflowing_add(word(Self::ORIGIN_FRACTION));
        let nanoseconds = ((product >> 64) as u64)
            .wrapping_add(word(Self::ORIGIN))
            .wrapping_add(u64::from(carry));
        (word(Self::SECONDS) as i64, nanoseconds)
    }

    /// The time `since` ticks after the start, whether the line is valid there or
    /// not: the writer needs it to continue where a line ends. Exact for 584 years.
    pub const fn after(&self, since: u64) -> Moment {
        self.base.after(reading(since, self.rate, 0))
    }

    /// The first tick at which the line is no longer valid.
    #[inline]
    pub const fn end(&self) -> u64 {
        self.start.wrapping_add(self.length)
    }

    /// The same function of ticks and the same end, with another start. Exact, since
    /// a whole number of ticks times a 64.64 rate is a 64.64 number.
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

    /// The same line, valid up to `end`, exclusive.
    #[must_use]
    pub const fn until(&self, end: u64) -> Self {
        Self {
            length: end.wrapping_sub(self.start),
            ..*self
        }
    }
}

/// The reader's arithmetic: `ticks × rate + origin` in 2⁻⁶⁴ ns, modulo 2¹²⁸.
///
/// Two multiplications and two additions with carry; the first multiplication
/// is by 0 for a counter faster than 1 GHz, and off the critical path. It is exact
/// modulo 2¹²⁸, so a result less than 2⁶⁴ ns, 584 years, after a line's start is
/// right whatever the counter's own value is.
#[inline(always)]
pub const fn reading(ticks: u64, rate: Rate, origin: u128) -> u128 {
    let whole = (ticks.wrapping_mul(rate.whole()) as u128) << 64;
    let fraction = ticks as u128 * rate.fraction() as u128;
    fraction.wrapping_add(origin.wrapping_add(whole))
}

/// Seconds and nanoseconds of a number of nanoseconds.
///
/// The base was mostly set less than a second ago, which takes one comparison. Else it
/// is a division by a constant, which compilers turn into a multiplication.
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
