//! Timer interrupts of a machine whose counter the test turns.

mod hypervisors;
mod reader;

use reader::{CLOCKS, Frame};
use std::cell::Cell;
use vdsokit_clock::{Clock, Leap, Moment, Record, Source, Start, Timekeeper};
use vdsokit_guest::{Page, Publisher, Reseeds};
use vdsokit_random::{Generation, page};

const SECOND: u64 = 1_000_000_000;
/// The counter's frequency.
const HERTZ: u64 = 2_100_000_000;
/// Ticks between two timer interrupts: 10 ms.
const TICK: u64 = HERTZ / 100;
const BOOT: u64 = 77_000_000_000_000;
const WALL: i64 = 1_700_000_000;

fn keeper(promise: u64) -> Timekeeper {
    Timekeeper::new(Start {
        frequency: HERTZ,
        ticks: BOOT,
        monotonic: Moment::from_seconds(0),
        wall: Moment::from_seconds(WALL),
        promise,
        tai: 37,
    })
    .expect("a counter of 2.1 GHz")
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        // D. E. Knuth's MMIX generator.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// One of the changes that a kernel makes.
fn change(keeper: &mut Timekeeper, random: &mut Random, ticks: u64) {
    match random.below(8) {
        0 => keeper
            .correct(random.below(1 << 24) as i64 - (1 << 23))
            .expect("a small correction"),
        1 => keeper.slew(random.below(20_000_000) as i64 - 10_000_000),
        2 => keeper.set_wall(
            ticks,
            Moment::from_seconds(WALL + random.below(1000) as i64),
        ),
        3 => keeper.set_tai(random.below(40) as i32),
        4 => keeper.set_leap(Some(Leap::Insert(WALL + random.below(2000) as i64))),
        5 => keeper.set_leap(None),
        6 => keeper.resumed(ticks, ticks + TICK, random.below(SECOND)),
        _ => keeper.set_error(vdsokit_clock::ErrorBound {
            at_start: random.below(1000) as u32,
            growth: 1,
        }),
    }
}

/// The page has the timekeeper's time, whether whole records were stored or ends of lines only.
#[test]
fn what_is_published_is_the_timekeeper_s_state_after_any_changes() {
    let mut random = Random(1);
    for _ in 0..40 {
        let frame = Frame::new();
        let mut publisher = Publisher::new(frame.words());
        let mut keeper = keeper(25_000_000);
        let mut ticks = BOOT;
        for _ in 0..500 {
            if random.below(10) == 0 {
                change(&mut keeper, &mut random, ticks);
                ticks = ticks.max(keeper.updated());
            } else {
                ticks += TICK + random.below(TICK / 4);
                keeper.update(ticks);
            }
            publisher.publish(&keeper);
            for clock in CLOCKS {
                let record = keeper.record(clock);
                for after in [0, 1, random.below(TICK), random.below(3 * TICK)] {
                    let at = ticks + after;
                    let expected = match record.source {
                        Source::Fixed => Some(record.current.base.as_nanoseconds()),
                        _ => record.at(at).map(Moment::as_nanoseconds),
                    };
                    assert_eq!(frame.time(clock, at), expected, "{clock:?} {after}");
                    let system_call = keeper.time(clock, at).as_nanoseconds();
                    match expected {
                        Some(expected) => assert_eq!(system_call, expected, "{clock:?} {after}"),
                        // Where the page's lines have ended, the system call continues.
                        None if clock.is_wall() => {}
                        None => assert!(system_call >= record.ceiling().as_nanoseconds()),
                    }
                }
                assert_eq!(frame.hint(clock), record.source, "{clock:?}");
                assert_eq!(frame.error(clock), record.error, "{clock:?}");
            }
        }
    }
}

#[test]
fn after_a_month_of_ticks_no_nanosecond_is_lost() {
    const MONTH: u64 = 30 * 86_400;
    let frame = Frame::new();
    let mut publisher = Publisher::new(frame.words());
    let mut keeper = keeper(2 * SECOND);
    let mut random = Random(2);
    let (mut ticks, mut last) = (BOOT, 0);
    for second in 0..MONTH {
        ticks = BOOT + second * HERTZ + random.below(HERTZ / 2);
        keeper.update(ticks);
        publisher.publish(&keeper);
        let at = ticks + random.below(HERTZ);
        let now = frame.time(Clock::Monotonic, ticks).expect("a valid line");
        let later = frame.time(Clock::Monotonic, at).expect("a valid line");
        assert!(
            last <= now && now <= later,
            "{second}: {last} {now} {later}"
        );
        last = now;
    }
    // 2.1 GHz is no whole number of 2⁻⁶⁴ ns a tick: half of one is lost with each tick at most.
    let passed = i128::from(ticks - BOOT);
    let exact = passed * i128::from(SECOND) / i128::from(HERTZ);
    let seen = frame.time(Clock::Monotonic, ticks).expect("a valid line");
    assert!((seen - exact).abs() <= 1, "{seen} {exact}");
    let wall = frame.time(Clock::Realtime, ticks).expect("a valid line");
    assert_eq!(wall - seen, i128::from(WALL) * i128::from(SECOND));
}

/// Every call with the numbers at the ends of its arguments' types, in any order: in a build with
/// overflow checks, as tests are.
#[test]
fn no_call_panics_however_extreme_its_arguments_are() {
    const ENDS: [i64; 9] = [
        0,
        1,
        -1,
        i64::MIN,
        i64::MAX,
        1 << 62,
        i32::MAX as i64,
        i32::MIN as i64,
        1_000_000_000,
    ];
    let mut random = Random(5);
    for _ in 0..300 {
        let frame = Frame::new();
        let mut publisher = Publisher::new(frame.words());
        let mut end = || ENDS[random.below(ENDS.len() as u64) as usize];
        let start = Start {
            frequency: end() as u64,
            ticks: end() as u64,
            monotonic: Moment::from_seconds(end()),
            wall: Moment::from_seconds(end()),
            promise: end() as u64,
            tai: end() as i32,
        };
        let Ok(mut keeper) = Timekeeper::new(start) else {
            continue;
        };
        for _ in 0..40 {
            match end().rem_euclid(11) {
                0 => keeper.update(end() as u64),
                // Some corrections are refused.
                1 => _ = keeper.correct(end()),
                2 => keeper.slew(end()),
                3 => keeper.set_wall(end() as u64, Moment::from_seconds(end())),
                4 => keeper.set_tai(end() as i32),
                5 => keeper.set_leap(Some(Leap::Insert(end()))),
                6 => keeper.set_leap(Some(Leap::Delete(end()))),
                7 => keeper.resumed(end() as u64, end() as u64, end() as u64),
                8 => keeper = keeper.in_namespace(end(), end()),
                9 => {
                    let rate = vdsokit_clock::Rate::from_frequency(end() as u64);
                    if let Ok(rate) = rate {
                        _ = keeper.change_counter(end() as u64, end() as u64, rate);
                    }
                }
                _ => keeper.set_error(vdsokit_clock::ErrorBound {
                    at_start: end() as u32,
                    growth: end() as u32,
                }),
            }
            publisher.publish(&keeper);
            for clock in CLOCKS {
                frame.read(clock, end() as u64);
                keeper.time(clock, end() as u64);
            }
        }
    }
}

#[test]
fn a_time_namespace_has_its_own_monotonic_and_boot_time() {
    let (frame, inner) = (Frame::new(), Frame::new());
    let mut publisher = Publisher::new(frame.words());
    let mut namespace = Publisher::new(inner.words());
    let mut keeper = keeper(25_000_000);
    let mut random = Random(4);
    let (monotonic, boottime) = (-5_300_000_000, 86_400_000_000_123);
    let mut ticks = BOOT;
    for turn in 0..300 {
        if turn % 9 == 0 {
            change(&mut keeper, &mut random, ticks);
            ticks = ticks.max(keeper.updated());
        }
        ticks += TICK;
        keeper.update(ticks);
        publisher.publish(&keeper);
        namespace.publish(&keeper.in_namespace(monotonic, boottime));
        for clock in CLOCKS {
            let offset = match clock {
                Clock::Boottime => boottime,
                clock if clock.is_wall() => 0,
                _ => monotonic,
            };
            let at = ticks + random.below(TICK);
            let outside = frame.time(clock, at).map(|time| time + i128::from(offset));
            assert_eq!(inner.time(clock, at), outside, "{clock:?}");
        }
    }
}

/// A page whose publisher stops at each store, while a reader runs.
struct Stopping<'a> {
    frame: &'a Frame,
    stores: Cell<usize>,
    read: &'a dyn Fn(usize),
}

impl Page for Stopping<'_> {
    fn store(&self, index: usize, word: u64) {
        self.frame.words().store(index, word);
        let count = self.stores.get() + 1;
        self.stores.set(count);
        (self.read)(count);
    }
}

/// Prepares a timekeeper's next publication. The number says which.
fn next(keeper: &mut Timekeeper, kind: usize, ticks: u64) {
    match kind {
        0 => {}
        1 => keeper.correct(1 << 22).expect("a small correction"),
        2 => keeper.set_wall(ticks, Moment::from_seconds(WALL + 500)),
        3 => keeper.set_leap(Some(Leap::Insert(WALL + 1))),
        4 => keeper.slew(1_000_000),
        _ => keeper.resumed(ticks, ticks, SECOND),
    }
    keeper.update(ticks);
}

#[test]
fn a_publisher_that_is_stopped_at_any_store_leaves_whole_records() {
    for kind in 0..6 {
        // Publications of which the last one is stopped at.
        for count in [1, 2, 3, 8] {
            let frame = Frame::new();
            let mut keeper = keeper(25_000_000);
            let records = |keeper: &Timekeeper| CLOCKS.map(|clock| keeper.record(clock));
            let watch = Cell::new(None::<([Record; 7], [Record; 7], u64)>);
            let seen = Cell::new(0);
            let reader = |_: usize| {
                let Some((old, new, ticks)) = watch.get() else {
                    return;
                };
                seen.set(seen.get() + 1);
                for (at, clock) in CLOCKS.into_iter().enumerate() {
                    let time = frame.time(clock, ticks);
                    let of = |record: &Record| match record.source {
                        Source::Fixed => Some(record.current.base.as_nanoseconds()),
                        _ => record.at(ticks).map(Moment::as_nanoseconds),
                    };
                    let expected = [of(&old[at]), of(&new[at])];
                    assert!(
                        time.is_some() && expected.contains(&time),
                        "{clock:?} {kind} {count}: {time:?} {expected:?}"
                    );
                }
            };
            let mut publisher = Publisher::new(Stopping {
                frame: &frame,
                stores: Cell::new(0),
                read: &reader,
            });
            let mut ticks = BOOT;
            for _ in 0..count {
                ticks += TICK;
                keeper.update(ticks);
                publisher.publish(&keeper);
            }
            let old = records(&keeper);
            ticks += TICK;
            next(&mut keeper, kind, ticks);
            watch.set(Some((old, records(&keeper), ticks)));
            publisher.publish(&keeper);
            assert!(seen.get() >= 16, "{}", seen.get());
        }
    }
}

/// The kernel's timer interrupt does the same work however its state changes.
#[test]
fn the_number_of_stores_is_bounded() {
    let frame = Frame::new();
    let mut publisher = Publisher::new(Stopping {
        frame: &frame,
        stores: Cell::new(0),
        read: &|_| {},
    });
    let mut keeper = keeper(25_000_000);
    let mut random = Random(3);
    let (mut ticks, mut most) = (BOOT, 0);
    for turn in 0..2000 {
        if turn % 7 == 0 {
            change(&mut keeper, &mut random, ticks);
            ticks = ticks.max(keeper.updated());
        }
        ticks += TICK;
        keeper.update(ticks);
        publisher.page().stores.set(0);
        publisher.publish(&keeper);
        if turn > 0 {
            most = most.max(publisher.page().stores.get());
        }
    }
    // Five records of 16 words, two of which four words matter, and seven sequence numbers.
    assert_eq!(most, 5 * 16 + 2 * 4 + 7);
}

#[test]
fn a_counter_that_stops_is_the_system_call_s_until_it_moves() {
    let frame = Frame::new();
    let mut publisher = Publisher::new(frame.words());
    let mut keeper = keeper(25_000_000);
    for _ in 0..8 {
        keeper.update(BOOT + 5);
        publisher.publish(&keeper);
        assert!(frame.time(Clock::Monotonic, BOOT + 5).is_some());
    }
    for _ in 0..3 {
        keeper.update(BOOT + 5);
        publisher.publish(&keeper);
        for clock in CLOCKS {
            assert_eq!(frame.time(clock, BOOT + 5), None, "{clock:?}");
            assert_eq!(frame.hint(clock), Source::SystemCall, "{clock:?}");
        }
    }
    keeper.update(BOOT + TICK);
    publisher.publish(&keeper);
    for clock in CLOCKS {
        assert!(frame.time(clock, BOOT + TICK).is_some(), "{clock:?}");
        assert_eq!(frame.hint(clock), keeper.record(clock).source, "{clock:?}");
    }
}

#[test]
fn a_publisher_that_is_late_is_the_system_call_s() {
    let frame = Frame::new();
    let mut publisher = Publisher::new(frame.words());
    let mut keeper = keeper(25_000_000);
    keeper.update(BOOT);
    publisher.publish(&keeper);
    assert!(frame.time(Clock::Realtime, BOOT + 2 * TICK).is_some());
    assert_eq!(frame.time(Clock::Realtime, BOOT + 3 * TICK), None);
}

#[test]
fn the_header_says_what_the_page_s_format_is() {
    let frame = Frame::new();
    let page = frame.words();
    // What a bootloader may leave there.
    page.iter()
        .for_each(|word| word.store(u64::MAX, std::sync::atomic::Ordering::Relaxed));
    Publisher::new(page);
    let bytes: Vec<u8> = page
        .iter()
        .flat_map(|word| {
            word.load(std::sync::atomic::Ordering::Relaxed)
                .to_ne_bytes()
        })
        .collect();
    // The image was linked with the same header, not yet live.
    let mut cursor = vdsokit_vvar::layout::Cursor::PAGES;
    let hash = page::VARIABLES
        .iter()
        .fold(vdsokit_vvar::layout::Hash::EMPTY, |hash, variable| {
            let offset = cursor.variable(&variable.shape);
            hash.variable(variable.name, &variable.shape, offset)
        });
    let count = page::VARIABLES.len() as u32;
    let header = vdsokit_vvar::header::Header::new(hash.get(), count, page::SIZE as u32);
    assert_eq!(
        (vdsokit_guest::LAYOUT, vdsokit_guest::VARIABLES),
        (hash.get(), count)
    );
    let mut expected = header.to_bytes();
    expected[12] = vdsokit_vvar::header::State::Live as u8;
    assert_eq!(bytes[..64], expected);
    assert!(bytes[64..].iter().all(|byte| *byte == 0));
}

#[test]
fn generations_of_random_bytes_are_published_beside_the_clocks() {
    let frame = Frame::new();
    let mut publisher = Publisher::new(frame.words());
    let word = &frame.words()[page::OFFSET / 8];
    let generation = || Generation::from_word(word.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(generation(), Generation::NONE);
    let mut reseeds = Reseeds::new(frame.words());
    assert_eq!(generation(), Generation::NOT_READY);
    reseeds.reseeded();
    let first = generation();
    assert!(first.is_ready());
    publisher.publish(&keeper(SECOND));
    publisher.system_calls();
    assert_eq!(generation(), first);
    reseeds.reseeded();
    assert_eq!(generation(), first.next());
}
