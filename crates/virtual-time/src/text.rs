//! Dates, durations and rates as people write them.

use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use vdsokit_clock::Moment;

use crate::error::{Error, What};

/// The highest rate, so that 584 years of its time, which is as far as a clock image
/// reckons from the last change, are two days at least.
pub const MAX_RATE: u32 = 100_000;

/// The moment that `text` says: a date, a date and a time with or without an offset or a
/// time zone (RFC 3339, RFC 9557; in this machine's time zone where none is given), RFC
/// 2822, `@` and seconds since 1970, `now`, or a duration from `now`.
///
/// ```
/// use vdsokit_clock::Moment;
/// use vdsokit_virtual_time::text;
///
/// let now = Moment::from_seconds(1_000_000_000);
/// let last = Moment::from_seconds(i32::MAX.into());
/// for date in [
///     "2038-01-19 03:14:07Z",
///     "2038-01-19T04:14:07+01:00",
///     "Tue, 19 Jan 2038 03:14:07 +0000",
///     "@2147483647",
///     "+1147483647s",
/// ] {
///     assert_eq!(text::date(date, now)?, last, "{date}");
/// }
/// # Ok::<(), vdsokit_virtual_time::Error>(())
/// ```
///
/// # Errors
/// [`Error::Unreadable`].
pub fn date(text: &str, now: Moment) -> Result<Moment, Error> {
    let trimmed = text.trim();
    let refuse = |why: String| Error::Unreadable {
        text: text.to_owned(),
        what: What::Date,
        why,
    };
    if trimmed == "now" {
        return Ok(now);
    }
    if let Some(seconds) = trimmed.strip_prefix('@') {
        return epoch(seconds).ok_or_else(|| refuse("it is no number of seconds".to_owned()));
    }
    if trimmed.starts_with(['+', '-']) {
        let by = duration(trimmed, now).map_err(|error| refuse(error.to_string()))?;
        return Ok(now.moved(by));
    }
    let parsed = trimmed
        .parse::<Zoned>()
        .map(|zoned| zoned.timestamp())
        .or_else(|_| trimmed.parse::<Timestamp>())
        .or_else(|_| rfc2822::parse(trimmed).map(|zoned| zoned.timestamp()))
        .or_else(|_| local(trimmed));
    parsed
        .map(|timestamp| Moment::from_nanoseconds(timestamp.as_nanosecond()))
        .map_err(|error| refuse(error.to_string()))
}

/// A date without an offset, in this machine's time zone.
fn local(text: &str) -> Result<Timestamp, jiff::Error> {
    let local: DateTime = text.parse()?;
    Ok(zone().to_zoned(local)?.timestamp())
}

/// This machine's time zone, or that of the environment.
///
/// The file is read as it is. Its name, of which only the data base of time zones knows, is of
/// no use here, and to look it up takes longer than to start a program.
fn zone() -> TimeZone {
    let file = match std::env::var_os("TZ") {
        None => std::fs::read("/etc/localtime").ok(),
        Some(_) => None,
    };
    let zone = file.and_then(|bytes| TimeZone::tzif("localtime", &bytes).ok());
    zone.unwrap_or_else(TimeZone::system)
}

/// Seconds since 1970, with up to nine digits behind the point.
fn epoch(text: &str) -> Option<Moment> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (seconds, part) = decimal(digits, 9)?;
    let nanoseconds = i128::from(seconds) * 1_000_000_000 + i128::from(part);
    Some(Moment::from_nanoseconds(sign * nanoseconds))
}

/// A number without a sign: what is before the point, and what is behind it in so many
/// digits.
fn decimal(text: &str, digits: usize) -> Option<(u64, u64)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > digits || !are_digits(whole) || !are_digits(part) {
        return None;
    }
    Some((
        whole.parse().ok()?,
        format!("{part:0<digits$}").parse().ok()?,
    ))
}

/// The nanoseconds from `now` to what `text` away from it is: `+1h`, `-30d`, `2 weeks 3
/// days`, `P1Y`. Years, months, weeks and days are those of this machine's calendar and time
/// zone.
///
/// ```
/// use vdsokit_clock::Moment;
/// use vdsokit_virtual_time::text;
///
/// let now = Moment::from_seconds(0);
/// assert_eq!(text::duration("-90m", now)?, -5_400_000_000_000);
/// assert_eq!(text::duration("1h 250ms", now)?, 3_600_250_000_000);
/// # Ok::<(), vdsokit_virtual_time::Error>(())
/// ```
///
/// # Errors
/// [`Error::Unreadable`].
pub fn duration(text: &str, now: Moment) -> Result<i128, Error> {
    let refuse = |error: jiff::Error| Error::Unreadable {
        text: text.to_owned(),
        what: What::Duration,
        why: error.to_string(),
    };
    let span: Span = text.trim().parse().map_err(refuse)?;
    let start = Timestamp::from_nanosecond(now.as_nanoseconds()).map_err(refuse)?;
    let end = start.to_zoned(zone()).checked_add(span);
    Ok(end.map_err(refuse)?.timestamp().as_nanosecond() - now.as_nanoseconds())
}

/// The longest step of a clock at each read: 300 million of them are 584 years, as far as a
/// clock image reckons.
pub const MAX_STEP: u64 = 60_000_000_000;

/// By how many nanoseconds each read moves a clock: a [`duration`] of 1 ns to [`MAX_STEP`].
///
/// ```
/// use vdsokit_virtual_time::text;
///
/// assert_eq!(text::step("250ms")?, 250_000_000);
/// assert!(text::step("-1s").is_err());
/// # Ok::<(), vdsokit_virtual_time::Error>(())
/// ```
///
/// # Errors
/// [`Error::Unreadable`].
pub fn step(text: &str) -> Result<u64, Error> {
    let step = duration(text, Moment::from_seconds(0))?;
    let step = u64::try_from(step).ok();
    step.filter(|step| (1..=MAX_STEP).contains(step))
        .ok_or_else(|| Error::Unreadable {
            text: text.to_owned(),
            what: What::Duration,
            why: "a step is 1 ns to 1 minute".to_owned(),
        })
}

/// A rate: how many times as fast as real time, as a whole number, a decimal fraction, or a
/// ratio of whole numbers. The answer is a ratio as well, neither of them 0.
///
/// ```
/// use vdsokit_virtual_time::text;
///
/// assert_eq!(text::rate("60")?, (60, 1));
/// assert_eq!(text::rate("0.25")?, (1, 4));
/// assert_eq!(text::rate("1/3")?, (1, 3));
/// assert!(text::rate("0").is_err());
/// assert!(text::rate("-1").is_err());
/// # Ok::<(), vdsokit_virtual_time::Error>(())
/// ```
///
/// # Errors
/// [`Error::Unreadable`], also for a rate of 0 or below, and for one over [`MAX_RATE`].
pub fn rate(text: &str) -> Result<(u32, u32), Error> {
    let refuse = |why: &str| Error::Unreadable {
        text: text.to_owned(),
        what: What::Rate,
        why: why.to_owned(),
    };
    let trimmed = text.trim();
    if trimmed.starts_with('-') {
        return Err(refuse("time does not run backwards; `step` moves it back"));
    }
    let ratio = match trimmed.split_once('/') {
        Some((numerator, denominator)) => numerator.parse().ok().zip(denominator.parse().ok()),
        None => decimal(trimmed, DIGITS).map(|(whole, part)| {
            let one = 10_u64.pow(DIGITS as u32);
            (
                u128::from(whole) * u128::from(one) + u128::from(part),
                u128::from(one),
            )
        }),
    };
    let (numerator, denominator) = ratio.ok_or_else(|| refuse("it is no number"))?;
    if numerator == 0 {
        return Err(refuse(
            "a rate is more than 0; `freeze` makes time stand still",
        ));
    }
    if denominator == 0 {
        return Err(refuse("nothing can be divided by 0"));
    }
    if numerator > denominator.saturating_mul(MAX_RATE.into()) {
        return Err(refuse("it is too high"));
    }
    let common = greatest_common_divisor(numerator, denominator);
    let (Ok(numerator), Ok(denominator)) = (
        u32::try_from(numerator / common),
        u32::try_from(denominator / common),
    ) else {
        return Err(refuse("it has too many digits"));
    };
    Ok((numerator, denominator))
}

/// Digits behind the point of a rate.
const DIGITS: usize = 6;

fn greatest_common_divisor(a: u128, b: u128) -> u128 {
    match b {
        0 => a,
        _ => greatest_common_divisor(b, a % b),
    }
}

/// A wall clock's moment, in UTC (RFC 3339); seconds since 1970 where the year has more
/// than four digits.
pub fn show(moment: Moment) -> String {
    match Timestamp::from_nanosecond(moment.as_nanoseconds()) {
        Ok(timestamp) => timestamp.to_string(),
        Err(_) => format!("@{}.{:09}", moment.seconds, moment.nanoseconds),
    }
}
