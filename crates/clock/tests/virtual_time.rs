//! Virtual time against the same sums done by hand.

use proptest::prelude::*;
use vdsokit_clock::{Clock, Course, Error, KernelTime, Moment, Record, Source, VirtualTime};

const SECOND: u64 = 1_000_000_000;
/// 2026-01-01.
const WALL: u64 = 1_767_225_600 * SECOND;

fn kernel(since: u64) -> KernelTime {
    KernelTime {
        realtime: WALL + since,
        monotonic: 1000 * SECOND + since,
        raw: 1001 * SECOND + since,
        boottime: 5000 * SECOND + since,
        tai: 37 * SECOND as i64,
    }
}

/// What an image makes of a record, with the kernel's clocks at `since`.
fn read(record: &Record, clock: Clock, since: u64) -> Option<i128> {
    let now = kernel(since);
    let of = |id: u32| match Clock::from_id(id)? {
        Clock::Realtime | Clock::RealtimeAlarm | Clock::RealtimeCoarse => Some(now.realtime),
        Clock::Tai => now.realtime.checked_add_signed(now.tai),
        Clock::Monotonic | Clock::MonotonicCoarse => Some(now.monotonic),
        Clock::MonotonicRaw => Some(now.raw),
        Clock::Boottime | Clock::BoottimeAlarm => Some(now.boottime),
    };
    match record.source {
        Source::Kernel => of(clock.id()).map(i128::from),
        Source::KernelClock(id) => record.at(of(u32::from(id))?).map(Moment::as_nanoseconds),
        Source::KernelMoved => record.at(of(clock.id())?).map(Moment::as_nanoseconds),
        _ => None,
    }
}

#[test]
fn untouched_time_is_the_kernels() {
    let time = VirtualTime::new();
    for clock in Clock::ALL {
        assert_eq!(time.record(clock).source, Source::Kernel);
    }
}

#[test]
fn a_step_moves_wall_clocks_only() {
    let mut time = VirtualTime::new();
    time.step(-30 * 86_400 * i128::from(SECOND));
    for clock in Clock::ALL {
        let at = read(&time.record(clock), clock, 5).unwrap();
        let plain = read(&VirtualTime::new().record(clock), clock, 5).unwrap();
        let by = if clock.is_wall() { -30 * 86_400 } else { 0 };
        assert_eq!(at - plain, by * i128::from(SECOND), "{}", clock.name());
        assert_eq!(at, time.at(clock, &kernel(5)).as_nanoseconds());
    }
}

#[test]
fn wall_time_is_set_before_1970_and_after_2554() {
    for wall in [-4_000_000_000i64, 0, 40_000_000_000] {
        let mut time = VirtualTime::new();
        time.set(&kernel(7), Moment::from_seconds(wall));
        let record = time.record(Clock::Realtime);
        let expected = i128::from(wall) * i128::from(SECOND);
        assert_eq!(read(&record, Clock::Realtime, 7), Some(expected));
        assert_eq!(
            read(&record, Clock::Realtime, 7 + SECOND),
            Some(expected + i128::from(SECOND))
        );
    }
}

#[test]
fn a_frozen_clock_stands_where_it_was_frozen() {
    let mut time = VirtualTime::new();
    time.run(&kernel(100), 50, Course::Frozen).unwrap();
    for clock in Clock::ALL {
        let record = time.record(clock);
        let plain = |since| read(&VirtualTime::new().record(clock), clock, since);
        for since in [100, 149, 150] {
            assert_eq!(
                read(&record, clock, since),
                plain(since),
                "{}",
                clock.name()
            );
        }
        assert_eq!(
            read(&record, clock, 1 << 50),
            plain(150),
            "{}",
            clock.name()
        );
    }
}

#[test]
fn a_clock_that_stands_still_needs_no_other_once_all_have_stopped() {
    let mut time = VirtualTime::new();
    assert!(!time.settle(&kernel(0)));
    time.run(&kernel(100), 50, Course::Frozen).unwrap();
    // Not yet, and one of the kernel's clocks may be later than the others.
    let late = KernelTime {
        raw: kernel(149).raw,
        ..kernel(150)
    };
    for early in [kernel(149), late] {
        assert!(!time.settle(&early));
        assert_ne!(time.record(Clock::MonotonicRaw).source, Source::Fixed);
    }
    let before = Clock::ALL.map(|clock| read(&time.record(clock), clock, 150));
    assert!(time.settle(&kernel(150)));
    assert!(!time.settle(&kernel(151)));
    let stands = |time: &VirtualTime| {
        Clock::ALL.map(|clock| {
            let record = time.record(clock);
            assert_eq!(record.source, Source::Fixed);
            Some(record.current.base.as_nanoseconds())
        })
    };
    assert_eq!(stands(&time), before);
    // Steps are still steps.
    time.step(5);
    assert_eq!(
        stands(&time)[0],
        before[0].map(|at| at + i128::from(Clock::ALL[0].is_wall()) * 5)
    );
    // A new course is announced over the kernel's clocks again.
    time.run(&kernel(200), 50, Course::Rate(1, 1)).unwrap();
    assert_ne!(time.record(Clock::Monotonic).source, Source::Fixed);
}

#[test]
fn reads_are_steps() {
    let mut time = VirtualTime::new();
    time.run(&kernel(0), 0, Course::EachRead(250)).unwrap();
    let record = time.record(Clock::Realtime);
    assert_eq!(record.source, Source::Reads);
    assert_eq!(
        record.at(4).unwrap().as_nanoseconds(),
        i128::from(WALL) + 1000
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut time = VirtualTime::new();
    let now = kernel(0);
    assert_eq!(time.run(&now, 5, Course::Rate(0, 1)), Err(Error::Frequency));
    assert_eq!(time.run(&now, 5, Course::Rate(1, 0)), Err(Error::Frequency));
    time.run(&now, 5, Course::Rate(2, 1)).unwrap();
    assert_eq!(time.run(&kernel(4), 5, Course::Frozen), Err(Error::Pending));
    assert_eq!(time.course(), Course::Rate(2, 1));
    time.run(&kernel(5), 5, Course::Frozen).unwrap();
}

proptest! {
    /// Whatever courses follow one another: a reader with any record published
    /// so far, and one with the next, agree; clocks run at the rate asked for.
    #[test]
    fn every_reader_changes_at_the_same_nanosecond(
        courses in prop::collection::vec((1u32..1000, 1u32..100, 1_000u64..10_000_000_000), 1..20),
    ) {
        const LEAD: u64 = 1_000;
        let mut time = VirtualTime::new();
        let mut since = 0u64;
        let mut before: Option<(u64, i128)> = None;
        for (numerator, denominator, lasts) in courses {
            let old = time.record(Clock::Monotonic);
            time.run(&kernel(since), LEAD, Course::Rate(numerator, denominator)).unwrap();
            let new = time.record(Clock::Monotonic);
            let change = since + LEAD;
            prop_assert_eq!(time.happens_at(), Some(kernel(change).monotonic));
            for at in [since, since + LEAD / 2, change - 1, change] {
                prop_assert_eq!(read(&old, Clock::Monotonic, at), read(&new, Clock::Monotonic, at));
            }
            let start = read(&new, Clock::Monotonic, change).unwrap();
            if let Some((_, last)) = before {
                prop_assert!(start >= last);
            }
            let end = read(&new, Clock::Monotonic, change + lasts).unwrap();
            let exact = i128::from(lasts) * i128::from(numerator) / i128::from(denominator);
            prop_assert!((end - start - exact).abs() <= 1);
            prop_assert_eq!(time.at(Clock::Monotonic, &kernel(change + lasts)).as_nanoseconds(), end);
            since = change + lasts;
            before = Some((since, end));
        }
    }
}

proptest! {
    #[test]
    fn words_hold_all_of_it(
        steps in proptest::collection::vec(any::<i64>(), 0..3),
        courses in proptest::collection::vec((0u32..4, 1u32..1000, 1u32..1000), 0..4),
    ) {
        let mut time = VirtualTime::new();
        let mut since = 0;
        for step in steps {
            time.step(i128::from(step) * 1000);
        }
        for (kind, numerator, denominator) in courses {
            let course = match kind {
                0 => Course::Frozen,
                1 => Course::EachRead(numerator.into()),
                _ => Course::Rate(numerator, denominator),
            };
            time.run(&kernel(since), 1000, course).expect("a course");
            since += 5000;
        }
        let words = time.to_words();
        let again = VirtualTime::from_words(&words).expect("words of this version");
        prop_assert_eq!(again.to_words(), words);
        prop_assert_eq!(again.course(), time.course());
        prop_assert_eq!(again.happens_at(), time.happens_at());
        for clock in Clock::ALL {
            prop_assert_eq!(again.record(clock), time.record(clock));
            prop_assert_eq!(again.at(clock, &kernel(since)), time.at(clock, &kernel(since)));
        }
    }
}
