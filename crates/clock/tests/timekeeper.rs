//! A timekeeper through random histories: time is one function of the counter,
//! whichever record a reader holds, and it is the right one.

use proptest::prelude::*;
use vdsokit_clock::{Clock, Leap, Moment, NANOSECONDS, Record, Start, Timekeeper};

const SECOND: u64 = NANOSECONDS;

fn start(frequency: u64, ticks: u64, wall: i64) -> Timekeeper {
    Timekeeper::new(Start {
        frequency,
        ticks,
        monotonic: Moment::default(),
        wall: Moment::from_seconds(wall),
        promise: SECOND / 50,
        tai: 37,
    })
    .unwrap()
}

/// What is published at once is what each clock's record says.
fn assert_published(keeper: &Timekeeper) {
    let mut published = vec![];
    keeper.publish(|clock, words| {
        assert_eq!(*words, keeper.record(clock).to_words(), "{clock:?}");
        published.push(clock.id());
    });
    published.sort_unstable();
    let mut all = Clock::ALL.map(Clock::id);
    all.sort_unstable();
    assert_eq!(published, all);
}

#[derive(Clone, Debug)]
enum Event {
    /// The next update comes after so many thousandths of a promise.
    Update(u64),
    Correct(i64),
    Slew(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..900u64).prop_map(Event::Update),
        1 => (900..5000u64).prop_map(Event::Update),
        2 => (-(500i64 << 16)..500 << 16).prop_map(Event::Correct),
        1 => (-20_000i64..20_000).prop_map(Event::Slew),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Readers that hold any record ever published, read anywhere.
    #[test]
    fn every_record_tells_the_same_time(
        frequency in 1_000_000..5_000_000_000u64,
        first in 0..1u64 << 62,
        wall in -(1i64 << 40)..1 << 40,
        leap: bool,
        events in prop::collection::vec(event(), 1..60),
        at in prop::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        let mut keeper = start(frequency, first, wall);
        if leap {
            keeper.set_leap(Some(Leap::Delete(wall + 1)));
        }
        let promise = frequency / 50;
        let mut now = first;
        let mut records = vec![keeper.record(Clock::Monotonic)];
        // Ticks since the first, and what the kernel itself said there and then.
        let mut asked: Vec<(u64, Moment)> = vec![];
        for event in &events {
            match event {
                Event::Update(thousandths) => {
                    now = now.wrapping_add(1 + promise * thousandths / 1000);
                    asked.push((now.wrapping_sub(first), keeper.at(now)));
                    keeper.update(now);
                    asked.push((now.wrapping_sub(first), keeper.at(now)));
                    records.push(keeper.record(Clock::Monotonic));
                    assert_published(&keeper);
                }
                Event::Correct(by) => keeper.correct(*by).unwrap(),
                Event::Slew(by) => keeper.slew(*by),
            }
        }
        let length = now.wrapping_sub(first) + promise;
        for index in at {
            let since = index.index(length as usize + 1) as u64;
            for record in &records {
                asked.extend(record.at(first.wrapping_add(since)).map(|time| (since, time)));
            }
        }
        for record in &records {
            for tick in [
                record.current.start,
                record.current.end().wrapping_sub(1),
                record.current.start.wrapping_sub(1),
            ] {
                asked.extend(record.at(tick).map(|time| (tick.wrapping_sub(first), time)));
                // What another record says at this one's edges.
                for other in &records {
                    asked.extend(other.at(tick).map(|time| (tick.wrapping_sub(first), time)));
                }
            }
        }
        asked.sort_unstable();
        for pair in asked.windows(2) {
            let [(a, at_a), (b, at_b)] = pair else { unreachable!() };
            prop_assert!(at_a <= at_b, "{a}: {at_a:?}, {b}: {at_b:?}");
            if a == b {
                prop_assert_eq!(at_a, at_b, "two answers at tick {}", a);
            }
        }
    }

    /// A slew comes to its end, and moves time by what was asked.
    #[test]
    fn a_slew_moves_time_by_what_was_asked(
        frequency in 1_000_000..5_000_000_000u64, by in -100_000i64..100_000, again in -100_000i64..100_000,
        when in 1..200u64,
    ) {
        let mut keeper = start(frequency, 0, 0);
        let mut now = 0;
        keeper.slew(by);
        let mut asked = 0i128;
        // 100 µs take 0.2 s at 500 parts in a million, and there are 6 s.
        for tick in 0..600u64 {
            now += frequency / 100;
            if tick == when {
                // What is promised already is not taken back.
                let ahead = keeper.record(Clock::Monotonic);
                let end = ahead.current.end();
                asked = ahead.ceiling().as_nanoseconds()
                    - i128::from(end) * i128::from(SECOND) / i128::from(frequency);
                keeper.slew(again);
                asked += i128::from(again);
            }
            keeper.update(now);
        }
        let exact = i128::from(now) * i128::from(SECOND) / i128::from(frequency);
        let moved = keeper.at(now).as_nanoseconds() - exact;
        prop_assert!((moved - asked).abs() <= 4, "moved {moved}, asked {asked}");
    }

    /// Steps of wall time don't touch monotonic time.
    #[test]
    fn wall_time_is_set_at_once(wall in 0..4_000_000_000i64, ticks in 0..1u64 << 40) {
        let mut keeper = start(2_000_000_000, 0, 0);
        keeper.update(ticks);
        let before = keeper.record(Clock::Monotonic);
        keeper.set_wall(ticks, Moment::from_seconds(wall));
        prop_assert_eq!(keeper.record(Clock::Monotonic), before);
        let at = |clock| keeper.record(clock).at(ticks).unwrap().as_nanoseconds();
        prop_assert_eq!(at(Clock::Realtime), i128::from(wall) * i128::from(SECOND));
        prop_assert_eq!(at(Clock::Tai), (i128::from(wall) + 37) * i128::from(SECOND));
    }
}

#[test]
fn frequency_corrections_last() {
    let mut keeper = start(1_000_000_000, 0, 0);
    keeper.correct(100 << 16).unwrap();
    let mut now = 0;
    for _ in 0..1000 {
        now += 10_000_000;
        keeper.update(now);
    }
    // One promise of 20 ms without, the rest of 10 s with 100 parts in a million.
    let expected = 10_000_000_000 + (10_000_000_000 - 20_000_000) / 10_000;
    let time = keeper.at(now).as_nanoseconds();
    assert!((time - expected).abs() <= 1, "{time} for {expected}");
    let raw = keeper.record(Clock::MonotonicRaw).at(now).unwrap();
    assert_eq!(raw.as_nanoseconds(), 10_000_000_000);
}

/// Wall time around a leap second, from the last record of each update.
fn around(leap: Leap, correct: bool) -> Vec<(i128, i128, i128)> {
    let mut keeper = start(1_000_000_000, 7, 1_483_228_795);
    keeper.set_leap(Some(leap));
    let mut seen = vec![];
    let mut now = 7u64;
    for update in 0..1000u64 {
        now += 10_000_000;
        if correct {
            keeper.correct((update % 7) as i64 * 65536).unwrap();
        }
        keeper.update(now);
        let wall: Record = keeper.record(Clock::Realtime);
        for part in 0..10 {
            let tick = now + part * 1_000_000;
            let at = |clock| keeper.record(clock).at(tick).unwrap().as_nanoseconds();
            let time = wall.at(tick).expect("no gap").as_nanoseconds();
            seen.push((at(Clock::Monotonic), time, at(Clock::Tai)));
        }
    }
    seen
}

#[test]
fn an_inserted_second_repeats_the_last_of_the_day() {
    for correct in [false, true] {
        let midnight = 1_483_228_800;
        let seen = around(Leap::Insert(midnight), correct);
        let second = i128::from(SECOND);
        let start = 1_483_228_795 * second;
        for (monotonic, wall, tai) in &seen {
            let leapt = start + monotonic >= i128::from(midnight) * second;
            assert_eq!(wall - monotonic, start - i128::from(leapt) * second);
            assert_eq!(tai - monotonic, start + 37 * second);
        }
        assert!(seen.last().unwrap().1 > i128::from(midnight) * second + 3 * second);
    }
}

#[test]
fn a_deleted_second_is_left_out() {
    let midnight = 1_483_228_800;
    let second = i128::from(SECOND);
    let start = 1_483_228_795 * second;
    for (monotonic, wall, tai) in around(Leap::Delete(midnight), false) {
        let leapt = start + monotonic >= i128::from(midnight - 1) * second;
        assert_eq!(wall - monotonic, start + i128::from(leapt) * second);
        assert_eq!(tai - monotonic, start + 37 * second);
    }
}

#[test]
fn sleep_counts_for_wall_time_and_boot_time_only() {
    let mut keeper = start(1_000_000_000, 1000, 0);
    let before = keeper.record(Clock::Monotonic).ceiling();
    // The counter was reset.
    keeper.resumed(1000 + 5_000_000, 3, 60 * SECOND);
    let at = |clock| keeper.record(clock).at(3).unwrap();
    assert!(at(Clock::Monotonic) >= before);
    assert_eq!(
        at(Clock::Boottime).as_nanoseconds(),
        60 * i128::from(SECOND) + 5_000_000
    );
    assert_eq!(
        at(Clock::Realtime).as_nanoseconds(),
        60 * i128::from(SECOND) + 5_000_000
    );
    // A counter that jumps on has no answer.
    assert_eq!(keeper.record(Clock::Monotonic).at(1 << 40), None);
}

#[test]
fn coarse_clocks_stand_still_between_updates() {
    let mut keeper = start(1_000_000_000, 0, 5);
    keeper.update(10_000_000);
    let coarse = keeper.record(Clock::RealtimeCoarse);
    assert_eq!(
        coarse.current.base,
        Moment::from_timespec(5, 10_000_000).unwrap()
    );
}

/// Readers of a record that was published before a leap second read past it: one second was wrong
/// from the last update before it to the next.
#[test]
fn a_leap_second_between_two_updates_happens_at_its_tick() {
    const MIDNIGHT: i64 = 1_483_228_800;
    let hertz = 1_000_000_000;
    for (leap, at, step) in [
        (Leap::Insert(MIDNIGHT), MIDNIGHT, -1),
        (Leap::Delete(MIDNIGHT), MIDNIGHT - 1, 1),
    ] {
        // Wall time reads `at` 7.5 ms after the last update before it, and 2.5 ms before the next.
        let first = 5 * hertz;
        let mut keeper = start(hertz, first, at - 1);
        keeper.set_leap(Some(leap));
        let tick = first + hertz;
        let before = tick - 7_500_000;
        let mut now = first;
        while now + 10_000_000 <= before {
            now += 10_000_000;
            keeper.update(now);
        }
        keeper.update(before);
        for published_after in [false, true] {
            if published_after {
                keeper.update(tick + 2_500_000);
            }
            let record = keeper.record(Clock::Realtime);
            let wall = |ticks| record.at(ticks).map(Moment::as_nanoseconds);
            let nanoseconds = |seconds: i64| i128::from(seconds) * i128::from(SECOND);
            if !published_after {
                assert_eq!(wall(tick - 1), Some(nanoseconds(at) - 1), "{leap:?}");
                assert_eq!(wall(tick), Some(nanoseconds(at + step)), "{leap:?}");
            }
            assert_eq!(
                wall(tick + 3_000_000),
                Some(nanoseconds(at + step) + 3_000_000),
                "{leap:?}"
            );
            // Neither atomic time nor monotonic time has a leap second.
            let tai = keeper.record(Clock::Tai).at(tick + 3_000_000).unwrap();
            assert_eq!(tai.as_nanoseconds(), nanoseconds(at + 37) + 3_000_000);
            assert_published(&keeper);
        }
    }
}

/// `slewed_rate` clamped the length of a slew between twice the promise and 2⁶² ticks, which panics
/// where the former is more.
#[test]
fn a_slew_with_the_longest_promise_does_not_panic() {
    let mut keeper = Timekeeper::new(Start {
        frequency: 1_000_000_000,
        ticks: 0,
        monotonic: Moment::from_seconds(0),
        wall: Moment::from_seconds(0),
        promise: (1 << 62) - 1,
        tai: 0,
    })
    .unwrap();
    keeper.slew(1_000_000);
    keeper.update(1000);
    assert!(keeper.record(Clock::Monotonic).at(1000).is_some());
}
