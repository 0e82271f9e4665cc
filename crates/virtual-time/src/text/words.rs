//! Dates in words, as `date -d` of GNU coreutils and the `faketime` program read them: "last
//! friday 5 pm", "yesterday", "tomorrow noon", "2 days ago", "next month", "2000-01-01 5:30 am".
//!
//! What an item means is GNU's (Gnulib, doc/parse-datetime.texi): a weekday is the next such
//! day, today included; with `next` or `last`, today is not; a day or a date without a time is
//! its midnight, and `today`, `yesterday` and `tomorrow` keep the time of day.

use jiff::civil::{Date, Time, Weekday};
use jiff::{Span, Zoned};

/// The date that `text` describes relative to `now`, in the time zone of `now`; `None` if it has
/// a word that is none of those above.
pub(super) fn parse(text: &str, now: &Zoned) -> Option<Zoned> {
    let words = split(text);
    let mut items = Items::default();
    let mut rest = words.as_slice();
    loop {
        rest = items.take(rest)?;
        if rest.is_empty() {
            return items.resolve(now);
        }
    }
}

/// Words in lower case; numbers and letters that were written together are two.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.to_lowercase().split([' ', '\t', ',']) {
        let digits = word.find(|c: char| c.is_ascii_alphabetic());
        let (number, letters) = word.split_at(digits.unwrap_or(word.len()));
        words.extend([number, letters].map(str::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The items of a date, as far as they were read.
#[derive(Default)]
struct Items {
    date: Option<Date>,
    /// A weekday and how many of them away: 0 for the next, today included.
    weekday: Option<(Weekday, i64)>,
    time: Option<Time>,
    /// `today` and the like, which need no other item.
    days: Option<i64>,
    spans: Vec<Span>,
}

impl Items {
    /// Reads one item from the front of `words`; the rest of them.
    fn take<'w>(&mut self, words: &'w [String]) -> Option<&'w [String]> {
        let (first, rest) = words.split_first()?;
        match first.as_str() {
            "now" | "today" => put(&mut self.days, 0)?,
            "yesterday" => put(&mut self.days, -1)?,
            "tomorrow" => put(&mut self.days, 1)?,
            "midnight" => put(&mut self.time, Time::midnight())?,
            "noon" => put(&mut self.time, Time::constant(12, 0, 0, 0))?,
            "last" | "next" | "this" => return self.take_ordinal(first, rest),
            word => {
                if let Some(weekday) = weekday(word) {
                    put(&mut self.weekday, (weekday, 0))?;
                } else if let Ok(date) = word.parse::<Date>() {
                    put(&mut self.date, date)?;
                } else {
                    return self.take_number(first, rest);
                }
            }
        }
        Some(rest)
    }

    /// `last`, `next` or `this`, with a weekday or a unit.
    fn take_ordinal<'w>(&mut self, ordinal: &str, words: &'w [String]) -> Option<&'w [String]> {
        let (name, rest) = words.split_first()?;
        let count = match ordinal {
            "last" => -1,
            "next" => 1,
            _ => 0,
        };
        match weekday(name) {
            Some(weekday) => put(&mut self.weekday, (weekday, count))?,
            None => self.spans.push(span(count, name)?),
        }
        Some(rest)
    }

    /// A time of day, or so many units, which may be `ago`.
    fn take_number<'w>(&mut self, number: &str, words: &'w [String]) -> Option<&'w [String]> {
        let next = words.first().map(String::as_str);
        if let Some(half @ ("am" | "pm")) = next {
            put(&mut self.time, time(number, Some(half))?)?;
            return words.get(1..);
        }
        if number.contains(':') {
            put(&mut self.time, time(number, None)?)?;
            return Some(words);
        }
        let count: i64 = number.parse().ok()?;
        let is_ago = words.get(1).is_some_and(|word| word == "ago");
        let count = if is_ago { count.checked_neg()? } else { count };
        self.spans.push(span(count, next?)?);
        words.get(1 + usize::from(is_ago)..)
    }

    fn resolve(&self, now: &Zoned) -> Option<Zoned> {
        let days = Span::new().try_days(self.days.unwrap_or(0)).ok()?;
        let mut date = self.date.unwrap_or(now.date()).checked_add(days).ok()?;
        if let Some((weekday, count)) = self.weekday {
            let ahead = i64::from(date.weekday().until(weekday));
            // Gnulib, parse-datetime.y: `next` counts today's weekday for none.
            let weeks = count - i64::from(count > 0 && ahead != 0);
            let days = Span::new().try_days(ahead + 7 * weeks).ok()?;
            date = date.checked_add(days).ok()?;
        }
        let is_day = self.date.is_some() || self.weekday.is_some();
        let midnight = is_day.then(Time::midnight);
        let time = self.time.or(midnight).unwrap_or(now.time());
        let start = date
            .to_datetime(time)
            .to_zoned(now.time_zone().clone())
            .ok()?;
        // One after another: a span has one sign for all its units.
        let add = |sum: Zoned, span: &Span| sum.checked_add(*span).ok();
        self.spans.iter().try_fold(start, add)
    }
}

/// Sets an item, which a date has once.
fn put<T>(item: &mut Option<T>, value: T) -> Option<()> {
    item.replace(value).is_none().then_some(())
}

fn span(count: i64, unit: &str) -> Option<Span> {
    let unit = unit.strip_suffix('s').unwrap_or(unit);
    let span = Span::new();
    match unit {
        "sec" | "second" => span.try_seconds(count),
        "min" | "minute" => span.try_minutes(count),
        "hour" => span.try_hours(count),
        "day" => span.try_days(count),
        "week" => span.try_weeks(count),
        "fortnight" => span.try_weeks(count.checked_mul(2)?),
        "month" => span.try_months(count),
        "year" => span.try_years(count),
        _ => return None,
    }
    .ok()
}

fn weekday(name: &str) -> Option<Weekday> {
    Some(match name {
        "mon" | "monday" => Weekday::Monday,
        "tue" | "tues" | "tuesday" => Weekday::Tuesday,
        "wed" | "wednesday" => Weekday::Wednesday,
        "thu" | "thur" | "thurs" | "thursday" => Weekday::Thursday,
        "fri" | "friday" => Weekday::Friday,
        "sat" | "saturday" => Weekday::Saturday,
        "sun" | "sunday" => Weekday::Sunday,
        _ => return None,
    })
}

/// `H`, `H:MM` or `H:MM:SS`, of 24 hours, or of 12 in one half of a day.
fn time(text: &str, half: Option<&str>) -> Option<Time> {
    let mut parts = text.split(':').map(|part| part.parse::<i8>().ok());
    let hour = parts.next()??;
    let minute = parts.next().unwrap_or(Some(0))?;
    let second = parts.next().unwrap_or(Some(0))?;
    let hour = match half {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some("pm") => hour % 12 + 12,
        Some(_) => hour % 12,
    };
    match parts.next() {
        None => Time::new(hour, minute, second, 0).ok(),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// The results of `TZ=UTC date -d TEXT` of coreutils 9.1 where the clock is at this moment,
    /// a Wednesday.
    const NOW: &str = "2026-11-25T13:14:15+00:00[UTC]";

    #[test]
    fn words_mean_what_they_mean_to_gnu_date() {
        let now = NOW.parse().unwrap();
        for (text, expected) in [
            ("last friday 5 pm", "2026-11-20T17:00:00"),
            ("last friday 5pm", "2026-11-20T17:00:00"),
            ("5 pm last friday", "2026-11-20T17:00:00"),
            ("yesterday", "2026-11-24T13:14:15"),
            ("today 0:00", "2026-11-25T00:00:00"),
            ("friday", "2026-11-27T00:00:00"),
            ("next friday", "2026-11-27T00:00:00"),
            ("this fri 12 am", "2026-11-27T00:00:00"),
            ("wednesday", "2026-11-25T00:00:00"),
            ("next wednesday", "2026-12-02T00:00:00"),
            ("last wed", "2026-11-18T00:00:00"),
            ("2 days ago", "2026-11-23T13:14:15"),
            ("1 month 3 days", "2026-12-28T13:14:15"),
            ("2 weeks ago 12 pm", "2026-11-11T12:00:00"),
            ("next month", "2026-12-25T13:14:15"),
            ("2000-02-29 5:06:07 am", "2000-02-29T05:06:07"),
            ("23:59", "2026-11-25T23:59:00"),
            ("2 days ago 3 hours", "2026-11-23T16:14:15"),
            ("yesterday 17:00", "2026-11-24T17:00:00"),
            ("2000-01-01 2 days", "2000-01-03T00:00:00"),
            ("90 seconds", "2026-11-25T13:15:45"),
            ("5 sec ago", "2026-11-25T13:14:10"),
            ("10 min", "2026-11-25T13:24:15"),
            ("2 minutes ago", "2026-11-25T13:12:15"),
            ("1 fortnight ago", "2026-11-11T13:14:15"),
            ("monday", "2026-11-30T00:00:00"),
            ("tues", "2026-12-01T00:00:00"),
            ("thursday", "2026-11-26T00:00:00"),
            ("sat", "2026-11-28T00:00:00"),
            ("sunday", "2026-11-29T00:00:00"),
            // Beyond GNU's.
            ("Last Friday, 5:30 PM", "2026-11-20T17:30:00"),
            ("tomorrow noon", "2026-11-26T12:00:00"),
            ("last year midnight", "2025-11-25T00:00:00"),
        ] {
            let found = parse(text, &now).unwrap_or_else(|| panic!("{text} is not read"));
            assert_eq!(found.datetime().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_date_in_words_is_refused() {
        let now = NOW.parse().unwrap();
        for text in [
            "",
            "last",
            "next 5",
            "5",
            "5 apples",
            "13 pm",
            "0 am",
            "25:00",
            "1:2:3:4",
            "friday sunday",
            "noon 5 pm",
            "yesterday today",
            "ago",
            "2 days ago ago",
            "2000-02-30",
            "99999999999999999999 days",
            "9999999 years",
        ] {
            assert_eq!(parse(text, &now), None, "{text:?}");
        }
    }
}
