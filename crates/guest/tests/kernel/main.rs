//! A simulated kernel: it maps the plan into this process, and programs call the image's functions
//! while it ticks.
#![cfg(target_arch = "x86_64")]

mod guest;
mod stopped;

use guest::{Guest, counter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use vdsokit_clock::{Clock, Leap, Moment, Start, Timekeeper};
use vdsokit_guest::{Facts, Image, Plan, Process};
use vdsokit_test_support::compiles_for;

const LOONGARCH: &str = "loongarch64-unknown-linux-gnu";

/// Far from what the kernel of this machine says.
const MONOTONIC: i64 = 77_000_000_000;
const WALL: i64 = 99_000_000_000;
/// Clocks with a record.
const CLOCKS: [Clock; 7] = [
    Clock::Realtime,
    Clock::Monotonic,
    Clock::MonotonicRaw,
    Clock::RealtimeCoarse,
    Clock::MonotonicCoarse,
    Clock::Boottime,
    Clock::Tai,
];

/// Of a counter that is said to have 1 GHz: no test needs the right frequency.
fn keeper(promise: u64) -> Timekeeper {
    Timekeeper::new(Start {
        frequency: 1_000_000_000,
        ticks: counter(),
        monotonic: Moment::from_seconds(MONOTONIC),
        wall: Moment::from_seconds(WALL),
        promise,
        tai: 37,
    })
    .unwrap()
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn programs_read_the_timekeeper_s_time_without_a_system_call() {
    let mut guest = Guest::new();
    let mut keeper = keeper(3600 * SECOND);
    keeper.update(counter());
    guest.publisher.publish(&keeper);
    let offset = |clock: Clock| match clock {
        Clock::Realtime | Clock::RealtimeCoarse => (WALL - MONOTONIC) as i128 * SECOND as i128,
        Clock::Tai => (WALL - MONOTONIC + 37) as i128 * SECOND as i128,
        _ => 0,
    };
    for clock in CLOCKS {
        let earliest = if clock.is_coarse() {
            keeper.updated()
        } else {
            counter()
        };
        let seen = guest.nanoseconds(clock) - offset(clock);
        let latest = counter();
        let at = |ticks| keeper.at(ticks).as_nanoseconds();
        assert!(
            at(earliest) <= seen && seen <= at(latest),
            "{clock:?}: {} {seen} {}",
            at(earliest),
            at(latest)
        );
    }
    assert_eq!(guest.time(), WALL);
}

#[test]
fn a_page_that_was_not_published_is_the_system_call_s() {
    let guest = Guest::new();
    for clock in CLOCKS {
        let here = guest::system_call(clock);
        let there = guest.nanoseconds(clock);
        assert!(
            here <= there && there <= guest::system_call(clock),
            "{clock:?}"
        );
    }
}

/// Whole records are stored after each change, ends of lines otherwise.
#[test]
fn readers_do_not_wait_for_a_publisher_that_is_stopped_at_any_instruction() {
    const MONOTONE: [Clock; 4] = [
        Clock::Monotonic,
        Clock::MonotonicRaw,
        Clock::MonotonicCoarse,
        Clock::Boottime,
    ];
    let mut guest = Guest::new();
    let mut keeper = keeper(3600 * SECOND);
    guest.publisher.publish(&keeper);
    let calls = guest.calls;
    // A reader that was sent to this machine's kernel has a much smaller result.
    let read = |last: &mut [i128; 12]| {
        for clock in MONOTONE {
            let seen = calls.nanoseconds(clock);
            let last = &mut last[clock.id() as usize];
            assert!(seen >= *last, "{clock:?}: {seen} after {last}");
            assert!(seen >= i128::from(MONOTONIC) * i128::from(SECOND));
            *last = seen;
        }
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = [0; 12];
            while !done.load(Ordering::Relaxed) {
                read(&mut last);
            }
        });
        let mut last = [0; 12];
        let updates = || {
            for update in 0..4 {
                match update {
                    1 => keeper.slew(1_000_000),
                    2 => keeper.set_wall(counter(), Moment::from_seconds(WALL + 5)),
                    _ => {}
                }
                keeper.update(counter());
                guest.publisher.publish(&keeper);
            }
        };
        let instructions = stopped::at_each_instruction(updates, || read(&mut last));
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        // Seven clocks have at least one word to store in each update.
        assert!(instructions > 4 * 7, "{instructions}");
    });
}

#[test]
fn time_does_not_step_back_while_it_is_slewed_and_stepped() {
    let mut guest = Guest::new();
    let mut keeper = keeper(2 * SECOND);
    guest.publisher.publish(&keeper);
    let (calls, done) = (guest.calls, AtomicBool::new(false));
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut last, mut reads) = ([0; 12], 0u64);
                    while !done.load(Ordering::Relaxed) {
                        for clock in [Clock::Monotonic, Clock::Boottime, Clock::MonotonicCoarse] {
                            let seen = calls.nanoseconds(clock);
                            let last = &mut last[clock.id() as usize];
                            assert!(seen >= *last, "{clock:?}: {seen} after {last}");
                            *last = seen;
                            reads += 1;
                        }
                        let wall = calls.nanoseconds(Clock::Realtime) / i128::from(SECOND);
                        assert!((wall - i128::from(WALL)).abs() < 1000, "{wall}");
                    }
                    reads
                })
            })
            .collect();
        for tick in 0..20_000u64 {
            match tick % 16 {
                3 => keeper.slew((tick % 7) as i64 * 1_000_000 - 3_000_000),
                7 => keeper
                    .correct((tick % 5) as i64 * (1 << 22) - (1 << 23))
                    .unwrap(),
                9 => {
                    let now = keeper.updated();
                    let away = (tick % 11) as i64 - 5;
                    keeper.set_wall(now, Moment::from_seconds(WALL + away));
                }
                11 => keeper.set_leap(Some(Leap::Insert(WALL + 20))),
                13 => keeper.set_tai(30 + (tick % 9) as i32),
                _ => {}
            }
            keeper.update(counter());
            guest.publisher.publish(&keeper);
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}

/// A child of vfork runs in the address space of its parent, and has another id.
#[test]
fn ids_of_a_process_are_those_of_its_page_unless_its_address_space_is_shared() {
    let mut guest = Guest::new();
    let real = (std::process::id(), std::os::unix::process::parent_id());
    let facts = Facts {
        pid: 1_000_001,
        ppid: 1_000_000,
    };
    let mut process = Process::new(guest.process, facts);
    // The kernel has not said that there are such pages.
    assert_eq!(guest.ids(), real);
    guest.publisher.process_pages();
    assert_eq!(guest.ids(), (1_000_001, 1_000_000));
    process.set_parent(1);
    assert_eq!(guest.ids(), (1_000_001, 1));
    process.share();
    assert_eq!(guest.ids(), real);
    process.share();
    process.unshare();
    process.set_parent(2);
    assert_eq!(guest.ids(), real);
    process.unshare();
    assert_eq!(guest.ids(), (1_000_001, 2));
    // The process ends before a child that runs in its address space.
    process.share();
    process.pass_to(Facts { pid: 7, ppid: 1 });
    assert_eq!(guest.ids(), (7, 1));
    // Publishing time leaves it as it is.
    let mut keeper = keeper(SECOND);
    keeper.update(counter());
    guest.publisher.publish(&keeper);
    assert_eq!(guest.ids(), (7, 1));
}

/// A reader on another CPU never has the ids of one process while another one's thread runs.
#[test]
fn ids_are_never_those_of_the_other_process() {
    let mut guest = Guest::new();
    let real = std::process::id();
    let facts = Facts { pid: 77, ppid: 1 };
    let mut process = Process::new(guest.process, facts);
    guest.publisher.process_pages();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = [0u64; 2];
            while !done.load(Ordering::Relaxed) || seen.contains(&0) {
                match guest.ids().0 {
                    77 => seen[0] += 1,
                    id if id == real => seen[1] += 1,
                    id => panic!("{id}"),
                }
            }
            seen
        });
        for _ in 0..20_000 {
            process.share();
            // This thread is the child.
            assert_eq!(guest.ids().0, real);
            process.unshare();
            assert_eq!(guest.ids().0, 77);
        }
        done.store(true, Ordering::Relaxed);
        // The reader ends once it has seen both.
        for turn in 0u32.. {
            if reader.is_finished() {
                break;
            }
            if turn % 2 == 0 {
                process.share();
            } else {
                process.unshare();
            }
            thread::yield_now();
        }
        reader.join().unwrap();
    });
}

#[test]
fn every_image_has_what_a_kernel_and_its_programs_look_for() {
    for (architecture, prefix) in [
        ("x86_64", "__vdso_"),
        ("aarch64", "__kernel_"),
        ("riscv64", "__vdso_"),
        ("loongarch64", "__vdso_"),
    ] {
        let Some(image) = Image::of(architecture) else {
            // Without a target to compile for.
            assert!(architecture == "loongarch64" && compiles_for(LOONGARCH).is_none());
            continue;
        };
        for name in ["clock_gettime", "clock_getres", "gettimeofday", "getrandom"] {
            let name = format!("{prefix}{name}");
            assert!(image.symbol(&name).is_some(), "{architecture}: {name}");
        }
        assert!(image.symbol("vdso_getppid").is_some(), "{architecture}");
        assert_eq!(
            image.rt_sigreturn().is_some(),
            architecture != "x86_64",
            "{architecture}"
        );
        let bytes = image.text();
        if let Some(offset) = image.rt_sigreturn() {
            // What unwinders compare with, and the instruction before it.
            let expected: [u32; 3] = match architecture {
                "aarch64" => [0xd503_201f, 0xd280_1168, 0xd400_0001],
                "loongarch64" => [0x0340_0000, 0x0382_2c0b, 0x002b_0000],
                _ => [0x0000_0013, 0x08b0_0893, 0x0000_0073],
            };
            let words = bytes[offset - 4..].as_chunks::<4>().0;
            let words: Vec<u32> = words[..3]
                .iter()
                .map(|word| u32::from_le_bytes(*word))
                .collect();
            assert_eq!(words, expected, "{architecture}");
        }
    }
    assert!(Image::of("sparc").is_none());
}

#[test]
fn a_plan_is_refused_for_pages_that_the_image_was_not_linked_for() {
    let image = Image::native().unwrap();
    for size in [0, 1, 2048, 4097, 8192, 16384, 65536, usize::MAX] {
        let error = Plan::new(image, size).unwrap_err();
        assert_eq!((error.asked, error.largest), (size, 4096));
        assert!(error.to_string().contains(&size.to_string()), "{error}");
    }
    assert!(Plan::new(image, 4096).is_ok());
}
