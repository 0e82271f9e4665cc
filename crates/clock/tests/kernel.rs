//! What happens to a kernel's machine, and what its system calls and its timer interrupt make of a
//! timekeeper.

use vdsokit_clock::{
    Clock, Error, ErrorBound, Leap, Moment, Rate, Record, Shape, Start, Timekeeper,
};

const SECOND: i128 = 1_000_000_000;
/// Ticks are nanoseconds unless a test says otherwise.
const HERTZ: u64 = 1_000_000_000;
const PROMISE: u64 = 20_000_000;
const FIRST: u64 = 1_000_000;
/// What the monotonic clock and the wall clock show at the first tick, in seconds.
const MONOTONIC: i64 = 5;
const WALL: i64 = 1_700_000_000;

fn start() -> Timekeeper {
    Timekeeper::new(Start {
        frequency: HERTZ,
        ticks: FIRST,
        monotonic: Moment::from_seconds(MONOTONIC),
        wall: Moment::from_seconds(WALL),
        promise: PROMISE,
        tai: 37,
    })
    .unwrap()
}

/// Updates twice in a promise until `end`, a multiple of half a promise after the first tick.
fn run(keeper: &mut Timekeeper, end: u64) {
    while keeper.updated() < end {
        keeper.update(keeper.updated() + PROMISE / 2);
    }
    assert_eq!(keeper.updated(), end);
}

fn at(keeper: &Timekeeper, clock: Clock, ticks: u64) -> Option<i128> {
    keeper.record(clock).at(ticks).map(Moment::as_nanoseconds)
}

/// A timekeeper with a correction, a slew under way, time spent suspended and other offsets.
fn busy() -> Timekeeper {
    let mut keeper = start();
    keeper.correct(100 << 16).unwrap();
    keeper.resumed(FIRST + 7, FIRST + 9, 3_000_000_000);
    let resumed = keeper.updated();
    keeper.set_wall(
        resumed,
        Moment::from_nanoseconds(i128::from(WALL) * SECOND + 123_456_789),
    );
    keeper.slew(1_000_000);
    run(&mut keeper, resumed + 10 * PROMISE);
    keeper
}

const COUNTED: [Clock; 7] = [
    Clock::Realtime,
    Clock::Monotonic,
    Clock::MonotonicRaw,
    Clock::Boottime,
    Clock::RealtimeAlarm,
    Clock::BoottimeAlarm,
    Clock::Tai,
];

#[test]
fn a_system_call_returns_what_a_record_gives() {
    let mut keeper = busy();
    keeper.slew(-50_000);
    for update in 0..40u64 {
        keeper.correct((update as i64 % 3) << 20).unwrap();
        keeper.update(keeper.updated() + 1 + PROMISE * (1 + update % 5) / 6);
        for clock in COUNTED {
            let record = keeper.record(clock);
            let [from, to] = [record.former.start, record.current.end()];
            for ticks in (from..to).step_by(PROMISE as usize / 50).chain([to - 1]) {
                if let Some(time) = record.at(ticks) {
                    assert_eq!(keeper.time(clock, ticks), time, "{clock:?} {ticks}");
                }
            }
            // Behind every promise it goes on at the last rate.
            let last = record.current.after(record.current.length + 1000);
            assert_eq!(keeper.time(clock, to + 1000), last, "{clock:?}");
        }
        for clock in [Clock::RealtimeCoarse, Clock::MonotonicCoarse] {
            let time = keeper.record(clock).current.base;
            assert_eq!(keeper.time(clock, keeper.updated() + 5), time, "{clock:?}");
        }
    }
}

#[test]
fn a_cpu_whose_counter_is_behind_is_given_the_earliest_time_that_is_known() {
    let fresh = start();
    let start_time = Moment::from_seconds(MONOTONIC);
    for clock in [Clock::Monotonic, Clock::MonotonicRaw] {
        assert_eq!(fresh.time(clock, FIRST - 5), start_time);
    }
    let mut keeper = start();
    run(&mut keeper, FIRST + PROMISE);
    let former = keeper.record(Clock::Monotonic).former;
    assert!(former.length > 0);
    assert_eq!(keeper.at(former.start - 5), former.base);
    assert_eq!(
        keeper.at(former.start + 5).as_nanoseconds(),
        former.base.as_nanoseconds() + 5
    );
    let raw = keeper.record(Clock::MonotonicRaw).former;
    assert_eq!(keeper.time(Clock::MonotonicRaw, raw.start - 5), raw.base);
    assert_eq!(
        keeper.time(Clock::MonotonicRaw, raw.start + 5),
        raw.after(5)
    );
}

#[test]
fn a_system_call_makes_the_leap_second_at_its_tick() {
    for (leap, step) in [(Leap::Insert(WALL + 1), -1), (Leap::Delete(WALL + 2), 1)] {
        let mut keeper = start();
        keeper.set_leap(Some(leap));
        let tick = FIRST + HERTZ;
        run(&mut keeper, tick - PROMISE / 2);
        for (ticks, step) in [(tick - 1, 0), (tick, step), (tick + PROMISE, step)] {
            let since = i128::from(ticks - FIRST);
            for clock in [Clock::Realtime, Clock::RealtimeAlarm] {
                let expected = (i128::from(WALL) + step) * SECOND + since;
                assert_eq!(
                    keeper.time(clock, ticks).as_nanoseconds(),
                    expected,
                    "{leap:?}"
                );
            }
            let tai = (i128::from(WALL) + 37) * SECOND + since;
            assert_eq!(
                keeper.time(Clock::Tai, ticks).as_nanoseconds(),
                tai,
                "{leap:?}"
            );
        }
    }
}

#[test]
fn a_leap_second_that_is_far_does_not_lengthen_a_promise() {
    let mut keeper = start();
    for leap in [None, Some(Leap::Insert(WALL + 3600))] {
        keeper.set_leap(leap);
        let end = keeper.updated() + PROMISE;
        run(&mut keeper, end);
        let [wall, monotonic] =
            [Clock::Realtime, Clock::Monotonic].map(|clock| keeper.record(clock).current);
        assert_eq!(
            (wall.start, wall.length),
            (monotonic.start, monotonic.length)
        );
    }
}

/// 100 µs take 0.2 s at 500 parts in a million, 5 µs two promises.
#[test]
fn a_slew_takes_two_promises_or_500_parts_in_a_million() {
    for (by, length) in [
        (100_000, 200_000_000),
        (-100_000, 200_000_000),
        (5000, 2 * PROMISE),
    ] {
        let mut keeper = start();
        keeper.slew(by);
        let begin = FIRST + PROMISE;
        for update in 0..60 {
            // Not all of them are where the slew ends.
            keeper.update(keeper.updated() + PROMISE / (2 + update % 2));
            let now = keeper.updated();
            let done = now.saturating_sub(begin).min(length);
            let expected = i128::from(by) * i128::from(done) / i128::from(length);
            let plain = i128::from(MONOTONIC) * SECOND + i128::from(now - FIRST);
            let moved = keeper.at(now).as_nanoseconds() - plain;
            assert!(
                (moved - expected).abs() <= 1,
                "{by}: {moved} for {expected}"
            );
        }
    }
}

#[test]
fn coarse_clocks_have_the_error_of_the_others() {
    let mut keeper = start();
    let error = ErrorBound {
        at_start: 7,
        growth: 9,
    };
    keeper.set_error(error);
    for clock in Clock::ALL {
        assert_eq!(keeper.record(clock).error, error, "{clock:?}");
    }
}

#[test]
fn a_time_namespace_moves_monotonic_and_boot_time_and_no_other() {
    let keeper = busy();
    let now = keeper.updated() + 5;
    let (monotonic, boottime) = (-3_000_000_007, 9_000_000_011);
    let inside = keeper.in_namespace(monotonic, boottime);
    for clock in COUNTED {
        let by = match clock {
            Clock::Monotonic | Clock::MonotonicRaw => monotonic,
            Clock::Boottime | Clock::BoottimeAlarm => boottime,
            _ => 0,
        };
        let expected = at(&keeper, clock, now).unwrap() + i128::from(by);
        assert_eq!(at(&inside, clock, now), Some(expected), "{clock:?}");
        // Right before the update, by the former line.
        let before = keeper.updated() - 5;
        let expected = at(&keeper, clock, before).unwrap() + i128::from(by);
        assert_eq!(at(&inside, clock, before), Some(expected), "{clock:?}");
    }
    let coarse = |keeper: &Timekeeper, clock| keeper.record(clock).current.base.as_nanoseconds();
    for (clock, by) in [
        (Clock::RealtimeCoarse, 0),
        (Clock::MonotonicCoarse, monotonic),
    ] {
        assert_eq!(
            coarse(&inside, clock),
            coarse(&keeper, clock) + i128::from(by),
            "{clock:?}"
        );
    }
}

#[test]
fn after_another_counter_takes_over_wall_time_goes_on_and_no_clock_runs_back() {
    for hertz in [500_000_000, 3_000_000_000] {
        let mut keeper = busy();
        let now = keeper.updated() + PROMISE / 4;
        let wall = at(&keeper, Clock::Realtime, now).unwrap();
        let boot = at(&keeper, Clock::Boottime, now).unwrap();
        let monotonic = at(&keeper, Clock::Monotonic, now).unwrap();
        let ceiling = keeper.record(Clock::Monotonic).ceiling().as_nanoseconds();
        let raw = keeper
            .record(Clock::MonotonicRaw)
            .ceiling()
            .as_nanoseconds();
        let rate = Rate::from_frequency(hertz).unwrap();
        keeper.change_counter(now, 77, rate).unwrap();
        assert_eq!(keeper.updated(), 77);
        for (clock, expected) in [
            (Clock::Realtime, wall),
            (Clock::Monotonic, ceiling),
            (Clock::MonotonicRaw, raw),
            (Clock::Boottime, boot + ceiling - monotonic),
        ] {
            let record = keeper.record(clock);
            assert_eq!(at(&keeper, clock, 77), Some(expected), "{clock:?}");
            // No record is valid for the old counter, and each as long as before.
            assert_eq!(record.former.length, 0, "{clock:?}");
            let promise = PROMISE * hertz / HERTZ;
            assert!(record.current.length.abs_diff(promise) <= 1, "{clock:?}");
        }
        // A second of the new counter is one, without the correction, and with what remains of the
        // slew: nothing after so long.
        let settled = 77 + 100 * hertz;
        let mut ticks = 77;
        while ticks < settled {
            ticks += hertz / 100;
            keeper.update(ticks);
        }
        for clock in [Clock::Monotonic, Clock::MonotonicRaw] {
            let [first, second] =
                [ticks, ticks + hertz].map(|ticks| keeper.time(clock, ticks).as_nanoseconds());
            assert_eq!(second - first, SECOND, "{clock:?}");
        }
        // All of the slew was made: time is as far ahead of the raw clock's as that says.
        let since = i128::from(ticks - 77) * SECOND / i128::from(hertz);
        let moved = keeper.at(ticks).as_nanoseconds() - ceiling - since;
        assert!((1..1_000_000).contains(&moved), "{moved}");
    }
}

#[test]
fn a_counter_that_is_too_slow_for_the_promise_is_refused() {
    let mut keeper = busy();
    let now = keeper.updated();
    let before = Clock::ALL.map(|clock| keeper.record(clock));
    let too_fast = Rate::from_words(0, 1);
    for rate in [Rate::FROZEN, too_fast] {
        assert_eq!(keeper.change_counter(now, 77, rate), Err(Error::Promise));
        assert_eq!(Clock::ALL.map(|clock| keeper.record(clock)), before);
    }
}

/// What remains of a slew is made after a suspend as well.
#[test]
fn a_suspend_stops_a_slew_and_does_not_end_it() {
    let mut keeper = start();
    keeper.slew(100_000);
    run(&mut keeper, FIRST + 5 * PROMISE);
    let now = keeper.updated() + 1000;
    let slewed = keeper.record(Clock::Monotonic).ceiling().as_nanoseconds()
        - keeper
            .record(Clock::MonotonicRaw)
            .ceiling()
            .as_nanoseconds();
    assert!((1..99_000).contains(&slewed), "{slewed}");
    let time = |keeper: &Timekeeper, clock, ticks| keeper.time(clock, ticks).as_nanoseconds();
    let [monotonic, wall, boot] =
        [Clock::Monotonic, Clock::Realtime, Clock::Boottime].map(|clock| time(&keeper, clock, now));
    let ceiling = keeper.record(Clock::Monotonic).ceiling().as_nanoseconds();
    keeper.resumed(now, 50, 7_000_000_000);
    assert_eq!(time(&keeper, Clock::Monotonic, 50), ceiling);
    assert_eq!(time(&keeper, Clock::Realtime, 50), wall + 7 * SECOND);
    assert_eq!(time(&keeper, Clock::Boottime, 50), boot + 7 * SECOND);
    assert!(ceiling > monotonic);
    run(&mut keeper, 50 + 50 * PROMISE);
    let end = keeper.updated();
    let rest = time(&keeper, Clock::Monotonic, end) - ceiling - i128::from(end - 50);
    assert!((rest + slewed - 100_000).abs() <= 2, "{rest} and {slewed}");
}

/// The words of every clock as a page has them.
type Page = [[u64; Record::WORDS]; Clock::RECORDS];

fn published(keeper: &Timekeeper) -> (Page, Shape) {
    let mut page = [[0; Record::WORDS]; Clock::RECORDS];
    keeper.publish(|clock, words| page[clock.id() as usize] = *words);
    (page, keeper.shape().expect("nothing is announced"))
}

/// A keeper whose correction is in force.
fn settled() -> Timekeeper {
    let mut keeper = start();
    keeper.correct(30 << 16).unwrap();
    run(&mut keeper, FIRST + 3 * PROMISE);
    keeper
}

#[test]
fn a_page_whose_lines_are_extended_gives_the_times_of_one_that_is_stored_whole() {
    let mut keeper = settled();
    // A second of wall time ends meanwhile.
    let wall = Moment::from_timespec(WALL, 950_000_000).unwrap();
    keeper.set_wall(keeper.updated(), wall);
    let (mut page, shape) = published(&keeper);
    for update in 1..30u64 {
        keeper.update(keeper.updated() + PROMISE * (1 + update % 4) / 8);
        assert!(keeper.has(&shape), "{update}");
        keeper.extend(&shape, |clock, word, value| {
            page[clock.id() as usize][word] = value
        });
        let [first, end] = [
            keeper.updated(),
            keeper.record(Clock::Monotonic).current.end(),
        ];
        for clock in COUNTED {
            // The alarm clocks are wall time and boot time, and have no words of their own to extend.
            if matches!(clock, Clock::RealtimeAlarm | Clock::BoottimeAlarm) {
                continue;
            }
            let stored = Record::from_words(&page[clock.id() as usize]);
            for ticks in [first, first + 12_345, end - 1, end, end + 5] {
                let expected = keeper.record(clock).at(ticks);
                assert_eq!(stored.at(ticks), expected, "{clock:?} {}", ticks - first);
            }
        }
        for clock in [Clock::MonotonicCoarse, Clock::RealtimeCoarse] {
            let stored = Record::from_words(&page[clock.id() as usize]).current.base;
            let time = keeper.record(clock).current.base;
            let whole = |time: Moment| (time.seconds, time.nanoseconds);
            assert_eq!(whole(stored), whole(time), "{clock:?}");
        }
    }
}

#[test]
fn a_page_is_stored_whole_after_any_change() {
    let keeper = settled();
    let shape = keeper.shape().unwrap();
    assert!(keeper.has(&shape));
    let now = keeper.updated();
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Timekeeper));
    // Monotonic time alone, and not its distance from the other clocks.
    let moved = |keeper: &mut Timekeeper, by: i64| {
        let wall = keeper.time(Clock::Realtime, now).moved(i128::from(by));
        *keeper = keeper.in_namespace(by, by);
        keeper.set_wall(now, wall);
    };
    let changes: [Change<'_>; 10] = [
        ("another second", &|keeper| moved(keeper, 1_000_000_000)),
        ("another nanosecond", &|keeper| moved(keeper, 1)),
        ("wall time is set", &|keeper| {
            keeper.set_wall(now, Moment::from_seconds(9))
        }),
        ("boot time is moved", &|keeper| {
            *keeper = keeper.in_namespace(0, 1)
        }),
        ("the TAI offset", &|keeper| keeper.set_tai(38)),
        ("the error", &|keeper| {
            keeper.set_error(ErrorBound {
                at_start: 1,
                growth: 0,
            });
        }),
        ("a leap second", &|keeper| {
            keeper.set_leap(Some(Leap::Insert(WALL + 9999)))
        }),
        ("another rate, in force", &|keeper| {
            keeper.correct(31 << 16).unwrap();
            run(keeper, now + 4 * PROMISE);
        }),
        ("the machine was suspended", &|keeper| {
            keeper.resumed(now, 5, 1)
        }),
        ("another counter", &|keeper| {
            let rate = Rate::from_frequency(HERTZ + 1).unwrap();
            keeper.change_counter(now, now, rate).unwrap();
        }),
    ];
    for (what, change) in changes {
        let mut changed = keeper.clone();
        change(&mut changed);
        assert!(!changed.has(&shape), "{what}");
    }
}

#[test]
fn a_page_is_stored_whole_while_a_change_is_announced() {
    let mut keeper = settled();
    keeper.correct(31 << 16).unwrap();
    // Right behind the last update, so that the line that ends lasts longer than the new one.
    keeper.update(keeper.updated() + 10);
    assert!(keeper.shape().is_none());
    let mut keeper = settled();
    keeper.set_leap(Some(Leap::Insert(WALL + 9999)));
    assert!(keeper.shape().is_none());
}

/// A record has two lines, and a leap second needs both.
#[test]
fn the_rate_does_not_change_while_a_leap_second_is_near() {
    let mut keeper = start();
    keeper.set_leap(Some(Leap::Insert(WALL + 1)));
    let tick = FIRST + HERTZ;
    run(&mut keeper, tick - 2 * PROMISE);
    keeper.correct(100 << 16).unwrap();
    loop {
        keeper.update(keeper.updated() + PROMISE / 4);
        if keeper.updated() >= tick {
            break;
        }
        let current = keeper.record(Clock::Monotonic).current;
        assert_eq!(current.rate, Rate::NANOSECOND);
        // Wall time has no gap.
        let record = keeper.record(Clock::Realtime);
        let end = keeper.updated() + PROMISE;
        assert!(
            (keeper.updated()..end)
                .step_by(100_000)
                .all(|at| record.at(at).is_some())
        );
    }
    run(&mut keeper, tick + 3 * PROMISE);
    let current = keeper.record(Clock::Monotonic).current;
    assert!(current.rate > Rate::NANOSECOND);
}

#[test]
fn a_leap_second_that_is_past_is_made_and_one_beyond_all_counters_is_not() {
    for (leap, step) in [
        (Leap::Insert(WALL - 5), -1),
        (Leap::Delete(WALL), 1),
        (Leap::Insert(WALL), -1),
        (Leap::Insert(i64::MAX), 0),
        (Leap::Delete(i64::MAX), 0),
    ] {
        let mut keeper = start();
        keeper.set_leap(Some(leap));
        run(&mut keeper, FIRST + PROMISE);
        let expected = (i128::from(WALL) + step) * SECOND + i128::from(PROMISE);
        let now = keeper.updated();
        assert_eq!(
            at(&keeper, Clock::Realtime, now),
            Some(expected),
            "{leap:?}"
        );
        let time = keeper.time(Clock::Realtime, now).as_nanoseconds();
        assert_eq!(time, expected, "{leap:?}");
    }
}

/// A change of rate near a leap second waits until that has happened.
#[test]
fn the_rate_changes_again_once_a_leap_second_has_happened() {
    let mut keeper = start();
    keeper.set_leap(Some(Leap::Insert(WALL + 1)));
    keeper.correct(100 << 16).unwrap();
    run(&mut keeper, FIRST + 2 * HERTZ);
    let monotonic = keeper.record(Clock::Monotonic).current;
    let raw = keeper.record(Clock::MonotonicRaw).current;
    assert!(monotonic.rate > raw.rate);
    assert!(keeper.shape().is_some());
}

#[test]
fn the_words_of_all_clocks_are_those_of_their_records() {
    let mut keeper = busy();
    for leap in [None, Some(Leap::Insert(WALL + 9999))] {
        keeper.set_leap(leap);
        let mut clocks = vec![];
        keeper.publish(|clock, words| {
            assert_eq!(
                *words,
                keeper.record(clock).to_words(),
                "{clock:?} {leap:?}"
            );
            clocks.push(clock.id());
        });
        clocks.sort_unstable();
        assert_eq!(clocks, Clock::ALL.map(Clock::id));
    }
}
