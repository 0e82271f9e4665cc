//! The reader's arithmetic against exact fractions, over 584 years.

use proptest::prelude::*;
use vdsokit_clock::{
    Answer, Clock, ErrorBound, Line, Moment, NANOSECONDS, NTP_UNIT, Rate, Record, Source, reading,
    split,
};

/// A frequency of every order of magnitude, from 1 Hz to 10 THz.
fn frequency() -> impl Strategy<Value = u64> {
    prop_oneof![
        1..=10_000_000_000_000u64,
        (0..=43u32).prop_map(|power| 1 << power),
        Just(24_000_000u64),
        Just(1_000_000_000u64),
        (1_000_000_000..6_000_000_000u64),
    ]
}

/// The nanoseconds of an answer.
fn whole(answer: Answer) -> Option<i128> {
    let (Answer::Time((seconds, nanoseconds)) | Answer::AtLeast((seconds, nanoseconds))) = answer
    else {
        return None;
    };
    Some(i128::from(seconds) * i128::from(NANOSECONDS) + i128::from(nanoseconds))
}

/// Ticks of every order of magnitude.
fn ticks() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..64u32, any::<u64>()).prop_map(|(by, n)| n >> by)
    ]
}

fn base() -> impl Strategy<Value = Moment> {
    (-(1i64 << 40)..1 << 40, 0..NANOSECONDS as u32, any::<u64>()).prop_map(
        |(seconds, nanoseconds, fraction)| Moment {
            seconds,
            nanoseconds,
            fraction,
        },
    )
}

/// A line of less than 584 years, on a counter that doesn't wrap on it.
fn line() -> impl Strategy<Value = Line> {
    (ticks(), ticks(), frequency(), base()).prop_map(|(start, length, hertz, base)| {
        let rate = Rate::from_frequency(hertz).unwrap();
        let most = rate.ticks(u64::MAX - 2 * NANOSECONDS).unwrap_or(u64::MAX);
        Line {
            start,
            length: length.min(most).min(u64::MAX - start),
            rate,
            base,
        }
    })
}

/// `a × b` as upper and lower half, from 32-bit digits: another way to the
/// result than the one under test.
fn wide_product(a: u128, b: u128) -> (u128, u128) {
    let mut digits = [0u64; 8];
    for i in 0..4 {
        let mut carry = 0u64;
        for j in 0..4 {
            let (x, y) = ((a >> (32 * i)) as u32, (b >> (32 * j)) as u32);
            let sum = u128::from(x) * u128::from(y) + u128::from(digits[i + j]) + u128::from(carry);
            digits[i + j] = sum as u32 as u64;
            carry = (sum >> 32) as u64;
        }
        digits[i + 4] = carry;
    }
    let word = |at: usize| (0..4).map(|i| u128::from(digits[at + i]) << (32 * i)).sum();
    (word(4), word(0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_second_is_a_second_for_584_years(hertz in frequency(), nanoseconds in ticks()) {
        let ticks = u128::from(nanoseconds) * u128::from(hertz) / u128::from(NANOSECONDS);
        let ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
        let rate = Rate::from_frequency(hertz).unwrap();
        let exact = u128::from(ticks) * u128::from(NANOSECONDS) / u128::from(hertz);
        if let Some(span) = rate.span(ticks) {
            prop_assert_eq!(reading(ticks, rate, 0), span);
            prop_assert!((span >> 64).abs_diff(exact) <= 1, "{} for {}", span >> 64, exact);
        } else {
            // Rounding alone may pass the end.
            prop_assert!(exact >= (1 << 64) - 2);
        }
    }

    #[test]
    fn the_fraction_is_carried(ticks in ticks(), whole in 0..1u64 << 30, part: u64, base in base()) {
        let rate = Rate::from_words(whole, part);
        // Of any whole and ticks, as many ticks as fit into 584 years.
        let ticks = if whole == 0 { ticks } else { ticks % ((u64::MAX - 2 * NANOSECONDS) / (whole + 1)) };
        let (above, below) = wide_product(u128::from(ticks), u128::from(whole) << 64 | u128::from(part));
        prop_assert_eq!(above, 0);
        let line = Line { start: 0, length: u64::MAX, rate, base };
        let (sum, carry) = below.overflowing_add(
            (u128::from(base.nanoseconds) << 64) + u128::from(base.fraction),
        );
        prop_assert!(!carry);
        let time = line.after(ticks);
        let nanoseconds = sum >> 64;
        prop_assert_eq!(time.fraction, sum as u64);
        prop_assert_eq!(u128::from(time.nanoseconds), nanoseconds % u128::from(NANOSECONDS));
        prop_assert_eq!(
            i128::from(time.seconds - base.seconds),
            (nanoseconds / u128::from(NANOSECONDS)) as i128
        );
        prop_assert_eq!(time, base.after(rate.span(ticks).unwrap()));
    }

    #[test]
    fn a_line_answers_in_its_interval_only(start: u64, length in ticks(), ticks: u64) {
        let line = Line { start, length, rate: Rate::NANOSECOND, base: Moment::default() };
        let since = ticks.wrapping_sub(start);
        prop_assert_eq!(line.at(ticks).is_some(), since < length);
    }

    #[test]
    fn a_restarted_line_is_the_same_line(
        hertz in frequency(), start: u64, a in ticks(), b in ticks(), base in base()
    ) {
        let rate = Rate::from_frequency(hertz).unwrap();
        // At most 2⁶² ns and 2⁵² ticks.
        let most = (1 << 51).min(rate.ticks(1 << 61).unwrap_or(u64::MAX));
        let (a, b) = (a % most, b % most);
        let line = Line { start, length: 1 << 52, rate, base };
        let tick = start.wrapping_add(a + b);
        let again = line.restarted(start.wrapping_add(a));
        prop_assert_eq!(again.at(tick), line.at(tick));
        prop_assert_eq!(again.end(), line.end());
    }

    #[test]
    fn a_correction_is_what_it_says(hertz in 1000..1u64 << 43, correction in -(500i64 << 16)..=500 << 16) {
        let rate = Rate::from_frequency(hertz).unwrap();
        let corrected = rate.corrected(correction).unwrap();
        // After `hertz` ticks, one second: a correction of one unit is 1/65536 ns a second
        // times a thousand.
        let second = corrected.span(hertz).unwrap() as i128;
        let exact = (i128::from(NANOSECONDS) << 64)
            + ((i128::from(NANOSECONDS) * i128::from(correction)) << 64) / i128::from(NTP_UNIT);
        prop_assert!((second - exact).unsigned_abs() <= 2 * u128::from(hertz) + 2);
    }

    #[test]
    fn ticks_are_the_least_that_reach(hertz in frequency(), nanoseconds in 1..1u64 << 62) {
        let rate = Rate::from_frequency(hertz).unwrap();
        if let Some(ticks) = rate.ticks(nanoseconds) {
            let reached = rate.span(ticks);
            prop_assert!(reached.is_none_or(|span| span >> 64 >= u128::from(nanoseconds)));
            prop_assert!(rate.span(ticks - 1).unwrap() >> 64 < u128::from(nanoseconds));
        }
    }

    #[test]
    fn a_ratio_is_its_quotient(nanoseconds: u64, ticks in 1..=u64::MAX) {
        match Rate::from_ratio(nanoseconds, ticks) {
            Ok(rate) => {
                let (above, below) = wide_product(u128::from(ticks), u128::from(rate.whole()) << 64 | u128::from(rate.fraction()));
                prop_assert_eq!(above, 0);
                prop_assert!(below.abs_diff(u128::from(nanoseconds) << 64) <= u128::from(ticks));
            }
            Err(_) => prop_assert!(nanoseconds / ticks >= NANOSECONDS),
        }
    }

    #[test]
    fn any_words_can_be_read(words: [u64; Record::WORDS], ticks: u64) {
        let record = Record::from_words(&words);
        let _ = (record.at(ticks), record.ceiling(), record.error.after(ticks));
    }

    #[test]
    fn words_hold_a_record(
        source in prop_oneof![
            Just(Source::SystemCall), Just(Source::Kernel), Just(Source::Fixed), Just(Source::Reads),
            Just(Source::KernelMoved),
            any::<bool>().prop_map(|monotonic| Source::Counter { monotonic }),
            any::<u8>().prop_map(Source::KernelClock),
        ],
        current in line(), former in line(), at_start: u32, growth: u32,
    ) {
        let record = Record { source, current, former, error: ErrorBound { at_start, growth } };
        prop_assert_eq!(Record::from_words(&record.to_words()), record);
    }

    /// What readers run on a record's words gives the times of its lines.
    #[test]
    fn words_are_read_as_the_lines_are(
        current in line(), former in line(), ticks in ticks(), inside in 0..3u8,
        at_start in 0..u32::MAX, growth: u32,
    ) {
        let ticks = match inside {
            0 if current.length > 0 => current.start.wrapping_add(ticks % current.length),
            1 if former.length > 0 => former.start.wrapping_add(ticks % former.length),
            _ => ticks,
        };
        let error = ErrorBound { at_start, growth };
        let record = Record { source: Source::KernelClock(1), current, former, error };
        let words = record.to_words();
        // Of two lines that are valid, the words have the longer one first.
        let (first, second) = match former.length > current.length {
            true => (former, current),
            false => (current, former),
        };
        let expected = first.at(ticks).or(second.at(ticks));
        let answer = Record::read(|at| words[at], ticks);
        match expected {
            Some(time) => prop_assert_eq!(whole(answer), Some(time.as_nanoseconds())),
            None => prop_assert_eq!(answer, Answer::None),
        }
        let found = Record::read_with_error(|at| words[at], ticks);
        let bound = record.error_at(ticks);
        prop_assert_eq!(found.is_some(), expected.is_some() && bound.is_some());
        if let Some((time, error)) = found {
            prop_assert_eq!(whole(Answer::Time(time)), expected.map(Moment::as_nanoseconds));
            prop_assert_eq!(Some(error), bound);
        }
    }

    /// `CLOCK_MONOTONIC` was ten days ahead with the page of an earlier boot: the system call's
    /// result was raised to the times in it.
    #[test]
    fn only_times_that_readers_may_have_been_given_are_promised(
        start in 1u64 << 50..1 << 60, former in 1u64..1 << 40, current in 1u64..1 << 40,
        away in 0u64..1 << 45, monotonic: bool,
    ) {
        let line = |start, length, seconds| Line {
            start, length,
            rate: Rate::from_frequency(2_000_000_000).unwrap(),
            base: Moment::from_seconds(seconds),
        };
        let record = Record {
            source: Source::Counter { monotonic },
            former: line(start, former, 864_000),
            current: line(start + former, current, 864_001),
            error: ErrorBound::default(),
        };
        let words = record.to_words();
        let read = |ticks| Record::read(|at| words[at], ticks);
        // Before both lines: another boot's counter.
        prop_assert_eq!(read(start - 1 - away), Answer::None);
        let end = start + former + current;
        let expected = match monotonic && away < (former + current).max(1 << 30) {
            true => Some(record.ceiling().as_nanoseconds()),
            false => None,
        };
        prop_assert_eq!(whole(read(end + away)), expected);
        prop_assert!(!matches!(read(end + away), Answer::Time(_)));
    }

    #[test]
    fn moved_is_there_and_back(base in base(), by in -(1i128 << 60)..1 << 60) {
        prop_assert_eq!(base.moved(by).moved(-by), base);
        prop_assert_eq!(base.moved(by).as_nanoseconds(), base.as_nanoseconds() + by);
    }
}

/// As long as the lines last, and half a second of a counter of 2 GHz at least. Without a former line
/// that is the current one alone.
#[test]
fn a_promise_is_kept_for_as_long_as_the_lines_last() {
    for (length, former, kept) in [
        (1_000, None, 1 << 30),
        (1 << 31, None, 1 << 31),
        (1 << 31, Some(1 << 20), (1 << 31) + (1 << 20)),
        // One that was replaced at once has a start and no length.
        (1 << 31, Some(0), 1 << 31),
    ] {
        let rate = Rate::from_frequency(2_000_000_000).unwrap();
        let line = |start, length| Line {
            start,
            length,
            rate,
            base: Moment::from_seconds(7),
        };
        let start = 1 << 50;
        let record = Record {
            source: Source::Counter { monotonic: true },
            former: former.map_or(Line::NONE, |length| match length {
                0 => line(start - (1 << 40), 0),
                _ => line(start - length, length),
            }),
            current: line(start, length),
            error: ErrorBound::default(),
        };
        let words = record.to_words();
        let read = |ticks| Record::read(|at| words[at], ticks);
        let end = start + length;
        assert_eq!(
            whole(read(end + kept - 1)),
            Some(record.ceiling().as_nanoseconds())
        );
        assert_eq!(read(end + kept), Answer::None);
    }
}

#[test]
fn a_fixed_time_is_read_at_any_ticks() {
    let time = Moment::from_timespec(-5, 123_456_789).unwrap();
    let words = Record::fixed(time).to_words();
    for ticks in [0, 1, 1 << 40, u64::MAX] {
        let answer = Record::read(|at| words[at], ticks);
        assert_eq!(answer, Answer::Time((-5, 123_456_789)), "{ticks}");
    }
}

#[test]
fn a_full_second_is_split_off() {
    assert_eq!(split(NANOSECONDS - 1), (0, 999_999_999));
    assert_eq!(split(NANOSECONDS), (1, 0));
    assert_eq!(split(NANOSECONDS + 1), (1, 1));
    assert_eq!(split(u64::MAX), (18_446_744_073, 709_551_615));
}

#[test]
fn moments_move_by_more_than_292_years() {
    let start = Moment::from_timespec(-7, 999_999_999).unwrap();
    for years in [291, 292, 293, 600, -291, -293, -600] {
        let by = i128::from(years) * 31_556_952 * i128::from(NANOSECONDS) + 2;
        let moved = start.moved(by);
        assert_eq!(moved.seconds, -6 + years * 31_556_952, "{years}");
        assert_eq!(moved.nanoseconds, 1, "{years}");
    }
}

#[test]
fn a_number_is_that_of_one_clock_or_of_none() {
    for id in (0..100).chain([u32::MAX - 6, u32::MAX]) {
        let expected = Clock::ALL.into_iter().find(|clock| clock.id() == id);
        assert_eq!(Clock::from_id(id), expected, "{id}");
    }
}

#[test]
fn clocks_have_the_names_of_linux() {
    let names = Clock::ALL.map(|clock| (clock.id(), clock.name()));
    let expected = [
        (0, "CLOCK_REALTIME"),
        (1, "CLOCK_MONOTONIC"),
        (4, "CLOCK_MONOTONIC_RAW"),
        (5, "CLOCK_REALTIME_COARSE"),
        (6, "CLOCK_MONOTONIC_COARSE"),
        (7, "CLOCK_BOOTTIME"),
        (8, "CLOCK_REALTIME_ALARM"),
        (9, "CLOCK_BOOTTIME_ALARM"),
        (11, "CLOCK_TAI"),
    ];
    assert_eq!(names, expected);
}
