//! Rates: nanoseconds per tick.

use crate::Error;

/// Nanoseconds in a second.
pub const NANOSECONDS: u64 = 1_000_000_000;

/// Linux's unit for a frequency correction: 2⁻¹⁶ parts per million, as
/// `adjtimex(2)` has it in `freq` (man page adjtimex.2).
pub const NTP_UNIT: i64 = 1_000_000 << 16;

/// The largest correction, in [`NTP_UNIT`]ths: one tenth, the range of Linux's `tick`
/// (kernel/time/ntp.c, 900,000 to 1,100,000 / USER_HZ).
pub const MAX_NTP: i64 = NTP_UNIT / 10;

/// Nanoseconds per tick, as a 64.64 fixed-point number.
///
/// It is Linux's mult and shift in one: `ticks × rate` has the nanoseconds in its
/// upper word, which takes a 64-bit machine one multiplication and no shift, and
/// which does not overflow before 2⁶⁴ ns, 584 years. A rate made from a frequency
/// is off by at most 2⁻⁶⁵ ns per tick: half a nanosecond after 2⁶⁴ ticks.
///
/// The slowest counter is 1 Hz, so a rate is at most 10⁹ ns a tick before a
/// correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u128);

impl Rate {
    /// Time stands still.
    pub const FROZEN: Self = Self(0);
    /// A tick is a nanosecond: for lines over another clock.
    pub const NANOSECOND: Self = Self(1 << 64);

    /// The rate of a counter with a frequency of `hertz`.
    ///
    /// ```
    /// use vdsokit_clock::Rate;
    ///
    /// let rate = Rate::from_frequency(2_000_000_000)?;
    /// assert_eq!((rate.whole(), rate.fraction()), (0, 1 << 63)); // half a nanosecond
    /// # Ok::<(), vdsokit_clock::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Frequency`] for 0 Hz.
    pub const fn from_frequency(hertz: u64) -> Result<Self, Error> {
        if hertz == 0 {
            return Err(Error::Frequency);
        }
        let hertz = hertz as u128;
        Ok(Self((((NANOSECONDS as u128) << 64) + hertz / 2) / hertz))
    }

    /// The rate of a clock that advanced `nanoseconds` while a counter made
    /// `ticks`.
    ///
    /// # Errors
    /// [`Error::Frequency`] when `ticks` is 0 or the rate is over 10⁹ ns a tick.
    pub const fn from_ratio(nanoseconds: u64, ticks: u64) -> Result<Self, Error> {
        if ticks == 0 || nanoseconds / ticks >= NANOSECONDS {
            return Err(Error::Frequency);
        }
        // Below 2¹²⁸ together: a half of the ticks is less than the fraction's first bit.
        let (numerator, ticks) = ((nanoseconds as u128) << 64, ticks as u128);
        Ok(Self((numerator + ticks / 2) / ticks))
    }

    /// Decodes the words of the page.
    #[inline]
    pub const fn from_words(whole: u64, fraction: u64) -> Self {
        Self(((whole as u128) << 64) | fraction as u128)
    }

    /// Whole nanoseconds a tick; 0 for a counter faster than 1 GHz.
    #[inline]
    pub const fn whole(self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// The fraction of a nanosecond, in 2⁻⁶⁴ ns.
    #[inline]
    pub const fn fraction(self) -> u64 {
        self.0 as u64
    }

    /// This rate, `correction` / [`NTP_UNIT`] faster: 65,536 is one part in a
    /// million. The result is rounded down, by less than 2⁻⁶⁴ ns a tick.
    ///
    /// # Errors
    /// [`Error::Correction`] beyond ± [`MAX_NTP`], [`Error::Frequency`] for a
    /// rate over 10⁹ ns a tick.
    pub const fn corrected(self, correction: i64) -> Result<Self, Error> {
        if correction > MAX_NTP || correction < -MAX_NTP {
            return Err(Error::Correction);
        }
        if self.0 > (NANOSECONDS as u128) << 64 {
            return Err(Error::Frequency);
        }
        // rate ≤ 2⁹⁴ and |correction| < 2³³: the product has its sign bit free.
        let by = (self.0 as i128 * correction as i128).div_euclid(NTP_UNIT as i128);
        Ok(Self((self.0 as i128 + by) as u128))
    }

    /// This rate times `numerator` / `denominator`, for a virtual clock.
    ///
    /// # Errors
    /// [`Error::Frequency`] when `denominator` is 0, or the result is over 2³²
    /// ns a tick.
    pub const fn scaled(self, numerator: u32, denominator: u32) -> Result<Self, Error> {
        if denominator == 0 {
            return Err(Error::Frequency);
        }
        let Some(product) = self.0.checked_mul(numerator as u128) else {
            return Err(Error::Frequency);
        };
        let scaled = product / denominator as u128;
        if scaled >> 96 != 0 {
            return Err(Error::Frequency);
        }
        Ok(Self(scaled))
    }

    /// The time that passes in `ticks`, in 2⁻⁶⁴ ns, exactly; `None` from 2⁶⁴ ns on.
    #[inline]
    pub const fn span(self, ticks: u64) -> Option<u128> {
        let fraction = self.fraction() as u128 * ticks as u128;
        match self.whole().checked_mul(ticks) {
            Some(whole) => ((whole as u128) << 64).checked_add(fraction),
            None => None,
        }
    }

    /// The least number of ticks whose [`span`](Self::span) is `nanoseconds` or more;
    /// `None` for a rate of 0, or beyond 2⁶⁴.
    pub const fn ticks(self, nanoseconds: u64) -> Option<u64> {
        self.ticks_from(0, nanoseconds)
    }

    /// The same, less `fraction` × 2⁻⁶⁴ ns.
    pub(crate) const fn ticks_from(self, fraction: u64, nanoseconds: u64) -> Option<u64> {
        let span = ((nanoseconds as u128) << 64).saturating_sub(fraction as u128);
        if self.0 == 0 {
            return None;
        }
        let ticks = span.div_ceil(self.0);
        if ticks >> 64 != 0 {
            return None;
        }
        Some(ticks as u64)
    }

    /// This rate plus `each` × 2⁻⁶⁴ ns per tick; not below 0.
    pub(crate) const fn plus(self, each: i128) -> Self {
        Self(self.0.saturating_add_signed(each))
    }

    /// The difference from another rate, in parts in 10⁹ of that, rounded up.
    pub(crate) fn parts_from(self, other: Self) -> u64 {
        let apart = self.0.abs_diff(other.0);
        // Plus 1, so that it is never 0.
        let unit = other.0 / u128::from(NANOSECONDS) + 1;
        apart.div_ceil(unit).min(u128::from(u32::MAX)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_of_two_rates_is_rounded_up_to_parts_in_a_billion() {
        let nanosecond = Rate::NANOSECOND;
        // One part, and 2⁻⁶⁴ ns more.
        let part = (1 << 64) / i128::from(NANOSECONDS) + 1;
        for (by, parts) in [
            (0, 0),
            (1, 1),
            (part, 1),
            (part + 1, 2),
            (-part, 1),
            (500_000 * part, 500_000),
            (-500_000 * part - 1, 500_001),
        ] {
            assert_eq!(nanosecond.plus(by).parts_from(nanosecond), parts, "{by}");
        }
        // Half a nanosecond a tick: a part is half as much.
        let half = Rate(1 << 63);
        assert_eq!(half.plus(500 * part).parts_from(half), 1000);
        let most = u64::from(u32::MAX);
        assert_eq!(nanosecond.parts_from(Rate::FROZEN), most);
        assert_eq!(Rate::FROZEN.parts_from(Rate::FROZEN), 0);
    }
}
