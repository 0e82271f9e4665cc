//! The numbers that are refused and those beside them that are not, how results are rounded, and the
//! places in the page.

use proptest::prelude::*;
use std::collections::BTreeSet;
use vdsokit_clock::page::{
    RECORD_SIZE, SIZE, STRIDE, VARIABLES, record_name, record_offset, source_name, source_offset,
};
use vdsokit_clock::{
    Clock, Error, MAX_NTP, Moment, NANOSECONDS, NTP_UNIT, Rate, Record, Source, VirtualTime,
};
use vdsokit_vvar::layout::{Cursor, Shape, Type};

/// Nanoseconds a tick, 2⁻⁶⁴.
fn bits(rate: Rate) -> u128 {
    u128::from(rate.whole()) << 64 | u128::from(rate.fraction())
}

proptest! {
    #[test]
    fn a_frequency_is_rounded_to_the_nearest_rate(hertz in 1..=u64::MAX) {
        let rate = bits(Rate::from_frequency(hertz).unwrap());
        let off = (rate * u128::from(hertz)).abs_diff(u128::from(NANOSECONDS) << 64);
        prop_assert!(off <= u128::from(hertz / 2), "{off}");
    }

    #[test]
    fn a_ratio_is_rounded_to_the_nearest_rate(ticks in 1..=u64::MAX, part: u64) {
        // Up to a nanosecond a tick, so that the product below has 128 bits.
        let nanoseconds = ((u128::from(ticks) * u128::from(part)) >> 64) as u64;
        let rate = bits(Rate::from_ratio(nanoseconds, ticks).unwrap());
        let off = (rate * u128::from(ticks)).abs_diff(u128::from(nanoseconds) << 64);
        prop_assert!(off <= u128::from(ticks / 2), "{off}");
    }
}

#[test]
fn the_longest_ratio_is_rounded_to_the_nearest_rate_too() {
    for ticks in [100 * NANOSECONDS, u64::MAX / 2, u64::MAX - 1] {
        let rate = bits(Rate::from_ratio(u64::MAX, ticks).unwrap());
        let (ticks, numerator) = (u128::from(ticks), u128::from(u64::MAX) << 64);
        let (least, rest) = (numerator / ticks, numerator % ticks);
        let expected = least + u128::from(rest >= ticks.div_ceil(2));
        assert_eq!(rate, expected, "{ticks}");
    }
}

#[test]
fn a_rate_is_refused_from_a_second_a_tick_on() {
    assert!(Rate::from_ratio(NANOSECONDS - 1, 1).is_ok());
    assert!(Rate::from_ratio(10 * NANOSECONDS - 1, 10).is_ok());
    for (nanoseconds, ticks) in [
        (NANOSECONDS, 1),
        (u64::MAX, 1),
        (10 * NANOSECONDS, 10),
        (5, 0),
    ] {
        let refused = Rate::from_ratio(nanoseconds, ticks);
        assert_eq!(refused, Err(Error::Frequency), "{nanoseconds} / {ticks}");
    }
    assert_eq!(Rate::from_frequency(0), Err(Error::Frequency));
    assert_eq!(
        Rate::from_frequency(1),
        Ok(Rate::from_words(NANOSECONDS, 0))
    );
}

#[test]
fn a_correction_is_refused_beyond_a_tenth() {
    let rate = Rate::from_words(1, 0);
    assert_eq!((NTP_UNIT, MAX_NTP), (65_536_000_000, 6_553_600_000));
    let tenth = (1_u128 << 64) / 10;
    assert_eq!(bits(rate.corrected(MAX_NTP).unwrap()), (1 << 64) + tenth);
    assert_eq!(
        bits(rate.corrected(-MAX_NTP).unwrap()),
        (1 << 64) - tenth - 1
    );
    for correction in [MAX_NTP + 1, -MAX_NTP - 1, i64::MAX, i64::MIN] {
        assert_eq!(rate.corrected(correction), Err(Error::Correction));
    }
    assert!(Rate::from_words(NANOSECONDS, 0).corrected(1).is_ok());
    let refused = Rate::from_words(NANOSECONDS, 1).corrected(1);
    assert_eq!(refused, Err(Error::Frequency));
}

#[test]
fn a_scaled_rate_is_refused_from_4294967296_nanoseconds_a_tick_on() {
    let most = Rate::from_words(u64::from(u32::MAX), u64::MAX);
    assert_eq!(most.scaled(1, 1), Ok(most));
    assert_eq!(most.scaled(4, 4), Ok(most));
    for (rate, numerator, denominator) in [
        (Rate::from_words(1 << 32, 0), 1, 1),
        (Rate::from_words(1 << 31, 0), 2, 1),
        (Rate::from_words(u64::MAX, 0), u32::MAX, 1),
        (Rate::NANOSECOND, 1, 0),
    ] {
        let refused = rate.scaled(numerator, denominator);
        assert_eq!(
            refused,
            Err(Error::Frequency),
            "{rate:?} {numerator} {denominator}"
        );
    }
    assert_eq!(
        Rate::NANOSECOND.scaled(3, 2),
        Ok(Rate::from_words(1, 1 << 63))
    );
}

#[test]
fn ticks_and_spans_end_at_64_bits() {
    assert_eq!(Rate::NANOSECOND.ticks(u64::MAX), Some(u64::MAX));
    assert_eq!(Rate::from_words(0, 1 << 63).ticks(u64::MAX), None);
    assert_eq!(Rate::from_words(0, 1 << 63).ticks(1 << 62), Some(1 << 63));
    assert_eq!(Rate::FROZEN.ticks(1), None);
    assert_eq!(
        Rate::NANOSECOND.span(u64::MAX),
        Some(u128::from(u64::MAX) << 64)
    );
    assert_eq!(Rate::from_words(2, 0).span(1 << 63), None);
    let almost = Rate::from_words(1, u64::MAX);
    assert_eq!(
        almost.span(1 << 63),
        Some((1 << 127) + (u128::from(u64::MAX) << 63))
    );
    assert_eq!(almost.span(u64::MAX), None);
}

#[test]
fn a_timespec_has_less_than_a_second_of_nanoseconds() {
    for (nanoseconds, is_valid) in [
        (i64::MIN, false),
        (-1, false),
        (0, true),
        (999_999_999, true),
        (1_000_000_000, false),
        (i64::MAX, false),
    ] {
        let moment = Moment::from_timespec(-7, nanoseconds);
        assert_eq!(moment.is_some(), is_valid, "{nanoseconds}");
        if let Some(moment) = moment {
            let expected = -7 * i128::from(NANOSECONDS) + i128::from(nanoseconds);
            assert_eq!(moment.as_nanoseconds(), expected);
        }
    }
}

#[test]
fn an_error_says_what_was_refused() {
    for (error, words) in [
        (Error::Frequency, "frequency"),
        (Error::Correction, "correction"),
        (Error::Promise, "promise"),
        (Error::Pending, "has not happened yet"),
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// The directory of an image is made from these variables, and its code from these functions.
#[test]
fn records_and_sources_lie_where_the_layout_rules_place_the_variables() {
    let mut cursor = Cursor::PAGES;
    let places = VARIABLES.map(|variable| cursor.variable(&variable.shape));
    let (records, sources) = places.split_at(Clock::RECORDS);
    let names = VARIABLES.map(|variable| variable.name);
    for id in 0..Clock::RECORDS as u32 {
        let index = id as usize;
        assert_eq!(record_offset(id), records[index]);
        assert_eq!(source_offset(id), sources[index]);
        assert_eq!(record_name(id), names[index]);
        assert_eq!(source_name(id), names[Clock::RECORDS + index]);
        assert_eq!(source_name(id), format!("{}_source", record_name(id)));
        let clock = Clock::from_id(id).map_or("not used", Clock::name);
        assert_eq!(VARIABLES[index].doc, clock);
    }
    assert_eq!(SIZE, cursor.end());
    assert_eq!(BTreeSet::from(names).len(), VARIABLES.len());
}

/// Images and publishers of other versions have compiled these numbers in.
#[test]
fn the_places_in_the_page_are_pinned() {
    assert_eq!((Record::WORDS, RECORD_SIZE, STRIDE), (16, 128, 320));
    assert_eq!([0, 1, 11].map(record_offset), [64, 384, 3584]);
    assert_eq!([0, 1, 11].map(source_offset), [3848, 3856, 3936]);
    assert_eq!(SIZE, 3944);
    assert_eq!((Record::FIRST, Record::SECOND, Record::ERROR), (1, 8, 15));
    assert_eq!((Source::ORDERED, Source::FORMER_FIRST), (1 << 16, 1 << 17));
    assert_eq!(VirtualTime::WORDS, 64);
    for variable in &VARIABLES[..Clock::RECORDS] {
        assert!(matches!(variable.shape, Shape::Plain(Type::Array(_, 16))));
    }
}
