//! Dates, durations and rates as people write them.

mod words;

use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use vdsokit_clock::Moment;

use crate::error::{Error, What};
use crate::time::Change;

/// The highest rate. A clock image computes up to 584 years from the last change, which at
/// this rate are two days.
pub const MAX_RATE: u32 = 100_000;

/// The moment that `text` describes:
///
/// - a date, or a date and a time, with or without an offset or a time zone (RFC 3339, RFC
///   9557); in this machine's time zone where there is none;
/// - RFC 2822;
/// - `@` and seconds since 1970; or `@` and one of the above, as libfaketime has it;
/// - `now`, or a [`duration`] from now with its sign;
/// - words, as `date -d` has them: `last friday 5 pm`, `yesterday`, `2 days ago`.
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
///     "@2038-01-19 03:14:07Z",
///     "+1147483647s",
///     "+1147483647",
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
    if let Some(start) = trimmed.strip_prefix('@') {
        return epoch(start)
            .or_else(|| written(start).ok())
            .ok_or_else(|| refuse("behind @ are seconds since 1970, or a date".to_owned()));
    }
    if trimmed.starts_with(['+', '-']) {
        let by = duration(trimmed, now).map_err(|error| refuse(error.to_string()))?;
        return Ok(now.moved(by));
    }
    written(trimmed).or_else(|error| {
        let start = Timestamp::from_nanosecond(now.as_nanoseconds()).ok();
        let start = start.map(|start| start.to_zoned(zone()));
        let found = start.and_then(|start| words::parse(trimmed, &start));
        let found = found.map(|date| Moment::from_nanoseconds(date.timestamp().as_nanosecond()));
        found.ok_or_else(|| refuse(error.to_string()))
    })
}

/// A date in one of the written standards.
fn written(text: &str) -> Result<Moment, jiff::Error> {
    let timestamp = text
        .parse::<Zoned>()
        .map(|zoned| zoned.timestamp())
        .or_else(|_| text.parse::<Timestamp>())
        .or_else(|_| rfc2822::parse(text).map(|zoned| zoned.timestamp()))
        .or_else(|_| local(text))?;
    Ok(Moment::from_nanoseconds(timestamp.as_nanosecond()))
}

/// The changes that `text` describes, as the `faketime` program takes them: a [`date`], or a
/// [`duration`] with its sign by which the wall clocks are moved; then, or alone, `x` and a
/// [`rate`], or `i` and the seconds by which each read of a clock moves all of them. A comma
/// in a number is a decimal point.
///
/// ```
/// use vdsokit_clock::Moment;
/// use vdsokit_virtual_time::{Change, text};
///
/// let now = Moment::from_seconds(0);
/// assert_eq!(text::changes("-1d", now)?, [Change::Step(-86_400_000_000_000)]);
/// assert_eq!(
///     text::changes("@2000-01-01 00:00:00Z x0,5", now)?,
///     [Change::Set(Moment::from_seconds(946_684_800)), Change::Rate(1, 2)],
/// );
/// assert_eq!(text::changes("i2,0", now)?, [Change::EachRead(2_000_000_000)]);
/// # Ok::<(), vdsokit_virtual_time::Error>(())
/// ```
///
/// Unlike libfaketime, where a date without `@` freezes the clocks, a date starts them here
/// either way: [`Change::Freeze`] is a change of its own.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn changes(text: &str, now: Moment) -> Result<Vec<Change>, Error> {
    let trimmed = text.trim();
    let (start, last) = match trimmed.rsplit_once(char::is_whitespace) {
        Some((start, last)) => (start.trim(), last),
        None => ("", trimmed),
    };
    let point = |number: &str| number.replace(',', ".");
    let is_number =
        |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || "-.,".contains(c));
    let course = match (last.strip_prefix('x'), last.strip_prefix('i')) {
        (Some(number), _) if is_number(number) => {
            let (numerator, denominator) = rate(&point(number))?;
            Some(Change::Rate(numerator, denominator))
        }
        (_, Some(number)) if is_number(number) => {
            Some(Change::EachRead(step(&format!("{}s", point(number)))?))
        }
        _ => None,
    };
    let start = if course.is_some() { start } else { trimmed };
    let start = match start {
        "" if course.is_some() => None,
        moved if moved.starts_with(['+', '-']) => Some(Change::Step(duration(moved, now)?)),
        start => Some(Change::Set(date(start, now)?)),
    };
    Ok(start.into_iter().chain(course).collect())
}

/// A date without an offset, in this machine's time zone.
fn local(text: &str) -> Result<Timestamp, jiff::Error> {
    let local: DateTime = text.parse()?;
    Ok(zone().to_zoned(local)?.timestamp())
}

/// This machine's time zone, or that of the environment.
///
/// The file is read directly: its name in the time zone database is not needed here, and finding
/// that takes longer than starting a program.
fn zone() -> TimeZone {
    let file = match std::env::var_os("TZ") {
        None => std::fs::read("/etc/localtime").ok(),
        Some(_) => None,
    };
    let zone = file.and_then(|bytes| TimeZone::tzif("localtime", &bytes).ok());
    zone.unwrap_or_else(TimeZone::system)
}

/// Seconds since 1970, with up to nine digits after the point.
fn epoch(text: &str) -> Option<Moment> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (seconds, part) = decimal(digits, 9)?;
    let nanoseconds = i128::from(seconds) * 1_000_000_000 + i128::from(part);
    Some(Moment::from_nanoseconds(sign * nanoseconds))
}

/// A number without a sign: its part before the point, and the one after it as a number of
/// `digits` digits.
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

/// The nanoseconds from `now` to a point that is `text` away from it: `+1h`, `-30d`, `2 weeks 3
/// days`, `P1Y`; or a number of seconds with its sign, `+3600`. Years, months, weeks and days are
/// those of the calendar in this machine's time zone.
///
/// ```
/// use vdsokit_clock::Moment;
/// use vdsokit_virtual_time::text;
///
/// let now = Moment::from_seconds(0);
/// assert_eq!(text::duration("-90m", now)?, -5_400_000_000_000);
/// assert_eq!(text::duration("1h 250ms", now)?, 3_600_250_000_000);
/// assert_eq!(text::duration("+3600.5", now)?, 3_600_500_000_000);
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
    let trimmed = text.trim();
    if let Some(seconds) = trimmed.strip_prefix(['+', '-'])
        && let Some((whole, part)) = decimal(seconds, 9)
    {
        let nanoseconds = i128::from(whole) * 1_000_000_000 + i128::from(part);
        let is_back = trimmed.starts_with('-');
        return Ok(if is_back { -nanoseconds } else { nanoseconds });
    }
    if let Some(nanoseconds) = fraction(trimmed) {
        return Ok(nanoseconds);
    }
    let span: Span = trimmed.parse().map_err(refuse)?;
    let start = Timestamp::from_nanosecond(now.as_nanoseconds()).map_err(refuse)?;
    let end = start.to_zoned(zone()).checked_add(span);
    Ok(end.map_err(refuse)?.timestamp().as_nanosecond() - now.as_nanoseconds())
}

/// A number with a fraction of days, weeks or years (of 365 days), as libfaketime takes it: `+1.5y`.
fn fraction(text: &str) -> Option<i128> {
    const DAY: i128 = 86_400_000_000_000;
    let unit = match text.chars().last()? {
        'd' => DAY,
        'w' => 7 * DAY,
        'y' => 365 * DAY,
        _ => return None,
    };
    let number = text[..text.len() - 1].replace(',', ".");
    let (is_back, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number.strip_prefix('+').unwrap_or(&number)),
    };
    let (whole, part) = digits.contains('.').then(|| decimal(digits, 9))??;
    let nanoseconds = unit * i128::from(whole) + unit * i128::from(part) / 1_000_000_000;
    Some(if is_back { -nanoseconds } else { nanoseconds })
}

/// The longest step of a clock at each read. A clock image computes up to 584 years from the
/// start, which are 300 million of them.
pub const MAX_STEP: u64 = 60_000_000_000;

/// The nanoseconds by which each read moves a clock: a [`duration`] of 1 ns to [`MAX_STEP`].
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

/// A rate, as a multiple of real time: a whole number, a decimal fraction with up to six digits
/// after the point, or a ratio of whole numbers. The result is a ratio of numbers above 0.
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
/// [`Error::Unreadable`], also for a rate of 0 or below, and for one above [`MAX_RATE`].
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
    let (numerator, denominator) = ratio.ok_or_else(|| {
        refuse(&format!(
            "it is not a number of at most {DIGITS} digits behind the point"
        ))
    })?;
    if numerator == 0 {
        return Err(refuse("a rate is above 0; `freeze` makes time stand still"));
    }
    if denominator == 0 {
        return Err(refuse("the divisor is 0"));
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

/// Digits after the point of a rate.
const DIGITS: usize = 6;

fn greatest_common_divisor(a: u128, b: u128) -> u128 {
    match b {
        0 => a,
        _ => greatest_common_divisor(b, a % b),
    }
}

/// Formats a wall clock's moment in UTC (RFC 3339), or as seconds since 1970 if the year has
/// more than four digits.
pub fn show(moment: Moment) -> String {
    match Timestamp::from_nanosecond(moment.as_nanoseconds()) {
        Ok(timestamp) => timestamp.to_string(),
        Err(_) => format!("@{}.{:09}", moment.seconds, moment.nanoseconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_seconds(1_000_000_000);

    fn nanoseconds(text: &str) -> Option<i128> {
        date(text, NOW).ok().map(Moment::as_nanoseconds)
    }

    #[test]
    fn seconds_since_1970_have_a_sign_and_up_to_nine_digits_after_the_point() {
        assert_eq!(nanoseconds("@-5"), Some(-5_000_000_000));
        assert_eq!(nanoseconds("@-5.25"), Some(-5_250_000_000));
        assert_eq!(nanoseconds("@0"), Some(0));
        assert_eq!(nanoseconds("@5."), Some(5_000_000_000));
        assert_eq!(nanoseconds("@1.123456789"), Some(1_123_456_789));
        for text in [
            "@1.1234567891",
            "@+5",
            "@+1h",
            "@",
            "@.5",
            "@--5",
            "@5 s",
            "@ now",
        ] {
            assert_eq!(nanoseconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_rate_has_up_to_six_digits_after_the_point_and_a_maximum() {
        assert_eq!(rate("0.000001").ok(), Some((1, 1_000_000)));
        assert_eq!(rate("1.234567").ok(), Some((1_234_567, 1_000_000)));
        assert_eq!(rate("1.2345678").ok(), None);
        assert_eq!(rate("100000").ok(), Some((MAX_RATE, 1)));
        assert_eq!(rate("100000.000000").ok(), Some((MAX_RATE, 1)));
        for text in [
            "100000.000001",
            "100001",
            "200001/2",
            "1/0",
            "0/1",
            "x",
            "",
            "+1",
            "1/3.5",
        ] {
            assert_eq!(rate(text).ok(), None, "{text}");
        }
        assert_eq!(rate("200000/2").ok(), Some((MAX_RATE, 1)));
    }

    #[test]
    fn a_step_is_a_nanosecond_to_a_minute() {
        assert_eq!(step("1ns").ok(), Some(1));
        assert_eq!(step("1m").ok(), Some(MAX_STEP));
        for text in ["0s", "60.000000001s", "-1s", "1"] {
            assert_eq!(step(text).ok(), None, "{text}");
        }
    }

    #[test]
    fn a_number_with_a_sign_is_seconds() {
        for (text, seconds) in [("+3600", 3600), ("-90", -90), (" +0 ", 0)] {
            let expected = seconds * 1_000_000_000;
            assert_eq!(duration(text, NOW).ok(), Some(expected), "{text}");
            assert_eq!(
                nanoseconds(text),
                Some(NOW.as_nanoseconds() + expected),
                "{text}"
            );
        }
        for text in ["3600", "+", "+1e3", "+0.1234567891", "+-5"] {
            assert_eq!(duration(text, NOW).ok(), None, "{text}");
        }
        assert_eq!(duration("+3600.5", NOW).ok(), Some(3_600_500_000_000));
        assert_eq!(duration("-0.000000001", NOW).ok(), Some(-1));
    }

    #[test]
    fn a_moment_is_shown_in_utc_or_as_seconds_beyond_the_year_9999() {
        let half = Moment::from_timespec(1_000_000_000, 500_000_000).unwrap();
        assert_eq!(show(half), "2001-09-09T01:46:40.5Z");
        assert_eq!(show(Moment::from_seconds(-1)), "1969-12-31T23:59:59Z");
        let far = Moment::from_timespec(400_000_000_000, 7).unwrap();
        assert_eq!(show(far), "@400000000000.000000007");
    }

    #[test]
    fn an_error_says_what_a_text_should_have_been_and_how_to_write_it() {
        use miette::Diagnostic;
        for (error, what, help) in [
            (date("soon", NOW).unwrap_err(), "date", "2"),
            (duration("long", NOW).unwrap_err(), "duration", "+1h"),
            (rate("fast").unwrap_err(), "rate", "0.5"),
        ] {
            let text = error.to_string();
            assert!(text.contains(&format!(" is not a {what}: ")), "{text}");
            let found = error.help().expect("a help").to_string();
            assert!(found.contains(help), "{found}");
        }
        // A word that begins like a rate or a step, and is followed by no number, is neither.
        for text in ["xmas", "in"] {
            let error = changes(text, NOW).unwrap_err().to_string();
            assert!(error.contains(" is not a date: "), "{error}");
        }
    }

    #[test]
    fn days_weeks_and_years_may_have_a_fraction() {
        let day = 86_400_000_000_000;
        for (text, expected) in [
            ("+1.5d", day * 3 / 2),
            ("-0,5w", -day * 7 / 2),
            ("+1,5y", day * 365 * 3 / 2),
        ] {
            assert_eq!(duration(text, NOW).ok(), Some(expected), "{text}");
        }
        for text in ["+1.5.0d", "1.d5", "+.5d", "x1.5d"] {
            assert_eq!(duration(text, NOW).ok(), None, "{text}");
        }
    }

    #[test]
    fn faketimes_forms_are_changes() {
        let day = 86_400_000_000_000;
        let start = Change::Set(Moment::from_seconds(946_684_800));
        for (text, expected) in [
            ("+3600", vec![Change::Step(3_600_000_000_000)]),
            ("-1d", vec![Change::Step(-day)]),
            ("-1d x10", vec![Change::Step(-day), Change::Rate(10, 1)]),
            ("x0,25", vec![Change::Rate(1, 4)]),
            ("x1/3", vec![Change::Rate(1, 3)]),
            ("i2.0", vec![Change::EachRead(2_000_000_000)]),
            (
                "+1d  i0,5",
                vec![Change::Step(day), Change::EachRead(500_000_000)],
            ),
            ("@2000-01-01 00:00:00Z", vec![start]),
            ("2000-01-01T00:00:00Z x2", vec![start, Change::Rate(2, 1)]),
            (
                "@946684800 i1",
                vec![start, Change::EachRead(1_000_000_000)],
            ),
        ] {
            assert_eq!(changes(text, NOW).ok(), Some(expected), "{text}");
        }
        for text in [
            "", "x", "i", "x0", "x-1", "i-1", "i0", "x1 x2", "5 x2", "x2 +1d",
        ] {
            assert_eq!(changes(text, NOW).ok(), None, "{text}");
        }
    }
}
