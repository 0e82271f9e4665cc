//! Pages as they are published: which clocks they change, and by how much.
#![cfg(target_arch = "x86_64")]

use vdsokit_clock::{Clock, Moment};
use vdsokit_virtual_time::{Change, Clocks, Error, Reader, Reading, Time};

const SECOND: i128 = 1_000_000_000;
/// 2000-01-01.
const START: Moment = Moment::from_seconds(946_684_800);

/// The clocks that the pages do not leave to the kernel. Its alarm clock of wall time is not on
/// every machine.
fn virtual_clocks(reader: &Reader) -> Vec<Clock> {
    let is_virtual =
        |clock: &Clock| *clock != Clock::RealtimeAlarm && reader.read(*clock).is_some();
    Clock::ALL.into_iter().filter(is_virtual).collect()
}

fn of(is_wanted: impl Fn(Clock) -> bool) -> Vec<Clock> {
    Clock::ALL
        .into_iter()
        .filter(|clock| *clock != Clock::RealtimeAlarm && is_wanted(*clock))
        .collect()
}

/// Asserts that a clock is `by` nanoseconds ahead of the kernel's, or some more: a coarse clock
/// that is not the kernel's has the time of its exact one.
fn is_moved(reader: &Reader, clock: Clock, by: i128) {
    let exact = match clock {
        Clock::MonotonicCoarse => Clock::Monotonic,
        other => other,
    };
    let kernel = || Reading::of_kernel().unwrap().kernel(exact).as_nanoseconds();
    let before = kernel();
    let seen = reader
        .read(clock)
        .expect("a virtual clock")
        .as_nanoseconds();
    let after = kernel();
    assert!(
        before + by <= seen && seen <= after + by,
        "{clock:?} {}",
        seen - before
    );
}

/// `time()` under `--time 2000-01-01T00:00:00Z` was a second before it in most runs.
#[test]
fn no_clock_is_before_the_date_that_was_set() {
    for changes in [
        vec![Change::Set(START)],
        vec![Change::Set(START), Change::Rate(60, 1)],
        vec![Change::Set(START), Change::Freeze],
        vec![Change::Rate(1, 3), Change::Set(START)],
    ] {
        let mut time = Time::create(None, &changes).unwrap();
        let reader = time.reader().unwrap();
        for _ in 0..1000 {
            let coarse = reader.read(Clock::RealtimeCoarse).unwrap();
            let exact = reader.read(Clock::Realtime).unwrap();
            assert!(
                START <= coarse && coarse <= exact,
                "{changes:?}: {coarse:?} {exact:?}"
            );
        }
        let now = time.read().unwrap();
        assert!(now.at(Clock::RealtimeCoarse) >= START);
        // Set again, while programs read it.
        let past = Moment::from_seconds(5);
        time.change(|_| Ok(Change::Set(past))).unwrap();
        let coarse = reader.read(Clock::RealtimeCoarse).unwrap();
        assert!(past <= coarse && coarse < START, "{changes:?}");
    }
}

#[test]
fn frozen_time_is_the_date_to_the_nanosecond() {
    for changes in [
        [Change::Set(START), Change::Freeze],
        [Change::Freeze, Change::Set(START)],
    ] {
        let time = Time::create(None, &changes).unwrap();
        let reader = time.reader().unwrap();
        for clock in [Clock::Realtime, Clock::RealtimeCoarse] {
            assert_eq!(reader.read(clock), Some(START), "{changes:?}");
        }
    }
}

#[test]
fn a_course_applies_to_the_clocks_that_were_chosen() {
    for (clocks, expected) in [
        (Clocks::Usual, of(|_| true)),
        (Clocks::Wall, of(Clock::is_wall)),
        (Clocks::Monotonic, of(|clock| !clock.is_wall())),
        (Clocks::All, of(|_| true)),
    ] {
        for change in [Change::Freeze, Change::Rate(2, 1)] {
            let mut time = Time::create_for(None, clocks, &[change]).unwrap();
            let reader = time.reader().unwrap();
            assert_eq!(virtual_clocks(&reader), expected, "{clocks:?} {change:?}");
            assert_eq!(time.read().unwrap().clocks(), clocks);
        }
        // The choice stays with the pages.
        let mut time = Time::create_for(None, clocks, &[]).unwrap();
        let reader = time.reader().unwrap();
        assert_eq!(virtual_clocks(&reader), [], "{clocks:?}");
        assert!(time.change(|_| Ok(Change::Freeze)).is_ok());
        assert_eq!(virtual_clocks(&reader), expected, "{clocks:?}");
    }
}

#[test]
fn an_offset_moves_the_clocks_that_were_chosen() {
    let step = [Change::Step(5 * SECOND)];
    for (clocks, expected) in [
        (Clocks::Usual, of(Clock::is_wall)),
        (Clocks::Wall, of(Clock::is_wall)),
        (Clocks::Monotonic, of(|clock| !clock.is_wall())),
        (Clocks::All, of(|_| true)),
    ] {
        let time = Time::create_for(None, clocks, &step).unwrap();
        let reader = time.reader().unwrap();
        assert_eq!(virtual_clocks(&reader), expected, "{clocks:?}");
        for clock in expected {
            // The kernel's coarse clock is behind its exact one.
            if !matches!(clock, Clock::RealtimeCoarse | Clock::Tai) {
                is_moved(&reader, clock, 5 * SECOND);
            }
        }
    }
    // Once more, while programs read it.
    let mut time = Time::create_for(None, Clocks::All, &step).unwrap();
    let reader = time.reader().unwrap();
    time.change(|_| Ok(Change::Step(SECOND))).unwrap();
    for clock in [
        Clock::Realtime,
        Clock::Monotonic,
        Clock::Boottime,
        Clock::MonotonicRaw,
    ] {
        is_moved(&reader, clock, 6 * SECOND);
    }
}

#[test]
fn a_change_that_the_chosen_clocks_cannot_make_is_refused() {
    let refused = |clocks, change| {
        let created = Time::create_for(None, clocks, &[change]).map(|_| ());
        let mut time = Time::create_for(None, clocks, &[]).unwrap();
        let changed = time.change(|_| Ok(change)).map(|_| ());
        let is_refused = |result| matches!(result, Err(Error::Clocks(_)));
        is_refused(created) && is_refused(changed)
    };
    // Monotonic clocks never go back, and have no date.
    assert!(refused(Clocks::Monotonic, Change::Step(-1)));
    assert!(refused(Clocks::All, Change::Step(-1)));
    assert!(refused(Clocks::Monotonic, Change::Set(START)));
    assert!(!refused(Clocks::Wall, Change::Step(-1)));
    assert!(!refused(Clocks::All, Change::Set(START)));
}
