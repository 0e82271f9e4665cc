//! Virtual time against the same sums done by hand.

use proptest::prelude::*;
use vdsokit_clock::{
    Clock, Clocks, Course, Error, KernelTime, Moment, Record, Source, VirtualTime,
};

const SECOND: u64 = 1_000_000_000;
/// 2026-01-01.
const WALL: u64 = 1_767_225_600 * SECOND;

/// By how much the kernel's coarse wall clock is behind.
const LAG: u64 = 3_999_999;

fn kernel(since: u64) -> KernelTime {
    KernelTime {
        realtime_coarse: WALL + since - LAG,
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
        Clock::Realtime | Clock::RealtimeAlarm => Some(now.realtime),
        Clock::RealtimeCoarse => Some(now.realtime_coarse),
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
    let time = VirtualTime::default();
    for clock in Clock::ALL {
        assert_eq!(time.record(clock).source, Source::Kernel);
    }
}

#[test]
fn a_step_moves_wall_clocks_only() {
    let mut time = VirtualTime::default();
    time.step(-30 * 86_400 * i128::from(SECOND));
    for clock in Clock::ALL {
        let at = read(&time.record(clock), clock, 5).unwrap();
        let plain = read(&VirtualTime::default().record(clock), clock, 5).unwrap();
        let by = if clock.is_wall() { -30 * 86_400 } else { 0 };
        assert_eq!(at - plain, by * i128::from(SECOND), "{}", clock.name());
        assert_eq!(at, time.at(clock, &kernel(5)).as_nanoseconds());
    }
}

#[test]
fn wall_time_is_set_before_1970_and_after_2554() {
    for wall in [-4_000_000_000i64, 0, 40_000_000_000] {
        let mut time = VirtualTime::default();
        time.set(&kernel(7), Moment::from_seconds(wall));
        let start = i128::from(wall) * i128::from(SECOND);
        let lag = i128::from(LAG);
        let at = |clock, since| {
            let read = read(&time.record(clock), clock, since).unwrap();
            assert_eq!(read, time.at(clock, &kernel(since)).as_nanoseconds());
            read
        };
        assert_eq!(at(Clock::RealtimeCoarse, 7), start);
        assert_eq!(at(Clock::Realtime, 7), start + lag);
        assert_eq!(
            at(Clock::Realtime, 7 + SECOND),
            start + lag + i128::from(SECOND)
        );
    }
}

/// A date is that of the coarse clock; the exact one is ahead of it by the kernel's own distance.
#[test]
fn a_change_of_course_goes_on_from_the_date_that_was_set() {
    let mut time = VirtualTime::default();
    time.set(&kernel(7), Moment::from_seconds(946_684_800));
    let before = read(&time.record(Clock::Realtime), Clock::Realtime, 9);
    time.run(&kernel(9), SECOND, Course::Rate(2, 1)).unwrap();
    let after = read(&time.record(Clock::Realtime), Clock::Realtime, 9);
    assert!(before.is_some());
    assert_eq!(after, before);
}

/// A reader of file times has to know which of them are from before.
#[test]
fn a_clock_that_stands_still_says_since_when() {
    let mut time = VirtualTime::default();
    time.run(&kernel(0), 3 * SECOND, Course::Frozen).unwrap();
    assert!(time.settle(&kernel(4 * SECOND)));
    let now = kernel(3 * SECOND);
    for (clock, since) in [
        (Clock::Realtime, now.boottime),
        (Clock::Monotonic, now.monotonic),
        (Clock::MonotonicRaw, now.raw),
        (Clock::Boottime, now.boottime),
    ] {
        let record = time.record(clock);
        assert_eq!(record.source, Source::Fixed, "{clock:?}");
        assert_eq!(record.current.start, since, "{clock:?}");
        assert_eq!(record.current.base, time.at(clock, &now), "{clock:?}");
        assert_eq!(record.current.length, 0, "{clock:?}");
    }
}

#[test]
fn frozen_time_has_the_very_moment_that_was_set() {
    for order in [true, false] {
        let mut time = VirtualTime::default();
        let wall = Moment::from_seconds(946_684_800);
        if order {
            time.set(&kernel(7), wall);
        }
        time.run(&kernel(7), 0, Course::Frozen).unwrap();
        if !order {
            time.set(&kernel(7), wall);
        }
        for clock in [Clock::Realtime, Clock::RealtimeCoarse] {
            assert_eq!(
                read(&time.record(clock), clock, 9),
                Some(wall.as_nanoseconds())
            );
        }
    }
}

/// Which clocks are not the kernel's.
fn virtual_clocks(time: &VirtualTime) -> Vec<Clock> {
    let is_virtual = |clock: &Clock| time.record(*clock).source != Source::Kernel;
    Clock::ALL.into_iter().filter(is_virtual).collect()
}

#[test]
fn changes_apply_to_the_clocks_that_were_named() {
    let (wall, monotonic): (Vec<Clock>, Vec<Clock>) =
        Clock::ALL.into_iter().partition(|clock| clock.is_wall());
    for (clocks, stepped, run) in [
        (Clocks::Usual, wall.clone(), Clock::ALL.to_vec()),
        (Clocks::Wall, wall.clone(), wall),
        (Clocks::Monotonic, monotonic.clone(), monotonic),
        (Clocks::All, Clock::ALL.to_vec(), Clock::ALL.to_vec()),
    ] {
        let mut time = VirtualTime::new(clocks);
        if clocks.moves_wall() {
            time.step(5);
        }
        if clocks.moves_monotonic() {
            time.advance(&kernel(0), 5);
        }
        assert_eq!(virtual_clocks(&time), stepped, "{clocks:?}");
        for clock in &stepped {
            let plain = read(&VirtualTime::default().record(*clock), *clock, 9);
            let moved = read(&time.record(*clock), *clock, 9);
            assert_eq!(moved, plain.map(|at| at + 5), "{clock:?}");
        }
        let mut time = VirtualTime::new(clocks);
        time.run(&kernel(0), 50, Course::Frozen).unwrap();
        assert_eq!(virtual_clocks(&time), run, "{clocks:?}");
        assert_eq!(time.happens_at(), Some(kernel(50).monotonic));
        assert_eq!(
            time.run(&kernel(49), 5, Course::Frozen),
            Err(Error::Pending)
        );
        assert!(time.settle(&kernel(50)));
        for clock in run {
            assert_eq!(time.record(clock).source, Source::Fixed, "{clocks:?}");
        }
        let again = VirtualTime::from_words(&time.to_words()).unwrap();
        assert_eq!(again.clocks(), clocks);
        assert_eq!(virtual_clocks(&again), virtual_clocks(&time));
    }
}

#[test]
fn a_frozen_clock_stands_where_it_was_frozen() {
    let mut time = VirtualTime::default();
    time.run(&kernel(100), 50, Course::Frozen).unwrap();
    for clock in Clock::ALL {
        let record = time.record(clock);
        // A coarse clock that is not the kernel's runs with its exact one.
        let exact = match clock {
            Clock::RealtimeCoarse => Clock::Realtime,
            other => other,
        };
        let plain = |since| read(&VirtualTime::default().record(exact), exact, since);
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
    let mut time = VirtualTime::default();
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
    let mut time = VirtualTime::default();
    time.run(&kernel(0), 0, Course::EachRead(250)).unwrap();
    let record = time.record(Clock::Realtime);
    assert_eq!(record.source, Source::Reads);
    assert_eq!((record.current.start, record.current.length), (0, u64::MAX));
    assert_eq!(
        record.at(4).unwrap().as_nanoseconds(),
        i128::from(WALL) + 1000
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut time = VirtualTime::default();
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
        let mut time = VirtualTime::default();
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
        date in proptest::option::of(0..4_000_000_000_i64),
        courses in proptest::collection::vec((0u32..4, 1u32..1000, 1u32..1000), 0..4),
    ) {
        let mut time = VirtualTime::default();
        let mut since = 0;
        for step in steps {
            time.step(i128::from(step) * 1000);
        }
        if let Some(date) = date {
            time.set(&kernel(since), Moment::from_seconds(date));
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

/// A change of virtual time.
#[derive(Clone, Debug)]
enum Change {
    Set(i64),
    Step(i64),
    Run(Course),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (-5_000_000_000i64..5_000_000_000).prop_map(Change::Set),
        (-5_000_000_000i64..5_000_000_000).prop_map(Change::Step),
        (1u32..100, 1u32..10).prop_map(|(up, down)| Change::Run(Course::Rate(up, down))),
        Just(Change::Run(Course::Frozen)),
    ]
}

proptest! {
    /// `time()` under `--time 2000-01-01T00:00:00Z` was 1999-12-31 23:59:59, since it reads the
    /// coarse clock, and that was the kernel's, moved as far as the exact one.
    #[test]
    fn no_clock_is_before_the_time_that_was_set_and_coarse_clocks_agree_with_exact_ones(
        changes in prop::collection::vec((change(), 1u64..20_000_000), 1..12),
        tick in 1u64..10_000_000,
    ) {
        const LEAD: u64 = 50_000_000;
        // The kernel's coarse clocks stand at the last multiple of a tick.
        let now = |since: u64| {
            let behind = since % tick;
            let exact = kernel(since);
            (KernelTime { realtime_coarse: exact.realtime - behind, ..exact }, behind)
        };
        let read = |time: &VirtualTime, clock: Clock, since: u64| {
            let (exact, behind) = now(since);
            let record = time.record(clock);
            let of = |clock: Clock| match clock {
                Clock::Realtime => exact.realtime,
                Clock::RealtimeCoarse => exact.realtime_coarse,
                Clock::Monotonic => exact.monotonic,
                Clock::MonotonicCoarse => exact.monotonic - behind,
                _ => exact.boottime,
            };
            match record.source {
                Source::Kernel => Some(i128::from(of(clock))),
                Source::KernelMoved => record.at(of(clock)).map(Moment::as_nanoseconds),
                Source::KernelClock(id) => {
                    record.at(of(Clock::from_id(id.into())?)).map(Moment::as_nanoseconds)
                }
                _ => Some(record.current.base.as_nanoseconds()),
            }
        };
        let mut time = VirtualTime::default();
        let mut since = 77 * tick + tick / 3;
        let mut rate = 1;
        for (change, later) in changes {
            let mut start = None;
            match change {
                Change::Set(seconds) => {
                    let wall = Moment::from_seconds(seconds);
                    time.set(&now(since).0, wall);
                    start = Some(wall.as_nanoseconds());
                }
                Change::Step(seconds) => time.step(i128::from(seconds) * i128::from(SECOND)),
                Change::Run(course) => {
                    time.run(&now(since).0, LEAD, course).unwrap();
                    if let Course::Rate(up, down) = course {
                        rate = rate.max(i128::from(up.div_ceil(down)));
                    }
                }
            }
            // Around each of the next ticks, and after them.
            let next = since.next_multiple_of(tick);
            for at in [since, since + 1, next, next + tick - 1, since + later, since + LEAD] {
                for (exact, coarse) in [
                    (Clock::Realtime, Clock::RealtimeCoarse),
                    (Clock::Monotonic, Clock::MonotonicCoarse),
                ] {
                    let (exact, coarse) = (read(&time, exact, at), read(&time, coarse, at));
                    // Every reading has an answer: a program never gets the kernel's time.
                    let (exact, coarse) = (exact.unwrap(), coarse.unwrap());
                    prop_assert!(coarse <= exact);
                    prop_assert!(exact - coarse <= i128::from(tick) * rate);
                }
                for clock in [Clock::Realtime, Clock::RealtimeCoarse] {
                    prop_assert!(start.is_none_or(|start| read(&time, clock, at) >= Some(start)));
                }
            }
            since += LEAD + later;
        }
    }
}
