//! The image's functions, loaded into this process as a library.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code, reason = "functions of an image are called as C has them")]

mod image;

use image::{Calls, Loaded, image};
use std::sync::atomic::{AtomicU64, Ordering};
use vdsokit_clock::page::READS;
use vdsokit_clock::{Clock, ErrorBound, Line, Moment, Rate, Record, Source};
use vdsokit_clock_image::wall::{Timeval, Timezone};
use vdsokit_current::{RETIRED, SEVERAL, Slot, in_memory};

const SECOND: i128 = 1_000_000_000;

fn ticks() -> u64 {
    let mut aux = 0;
    // SAFETY: x86-64 Linux has the instruction.
    unsafe { std::arch::x86_64::__rdtscp(&raw mut aux) }
}

fn base() -> Moment {
    Moment::from_timespec(86_400 * 365, 999_999_000).unwrap()
}

/// A line of half a nanosecond a tick that began a moment ago.
fn line(start: u64) -> Line {
    Line {
        start,
        length: 1 << 40,
        rate: Rate::from_frequency(2_000_000_000).unwrap(),
        base: base(),
    }
}

fn counter(current: Line, former: Line) -> Record {
    Record {
        source: Source::Counter { monotonic: true },
        current,
        former,
        error: ErrorBound {
            at_start: 1000,
            growth: 500,
        },
    }
}

/// Asserts that what is called answers between two answers of the kernel's.
fn as_the_kernel(what: &str, clock: Clock, call: impl Fn() -> i128) {
    let kernel = Calls::kernel();
    let before = kernel.nanoseconds(clock);
    let seen = call();
    let after = kernel.nanoseconds(clock);
    assert!(
        before <= seen && seen <= after,
        "{what}: {before} {seen} {after}"
    );
}

#[test]
fn the_image_is_as_a_kernel_would_have_it() {
    let bytes = std::fs::read(image()).unwrap();
    let image = vdsokit_elf::Image::parse(&bytes).unwrap();
    let findings = vdsokit_elf::check::check(&image, vdsokit_elf::check::Profile::Own);
    assert!(findings.is_empty(), "{findings:#?}");
    for name in [
        "clock_gettime",
        "clock_getres",
        "gettimeofday",
        "time",
        "getcpu",
        "getrandom",
    ] {
        let strong = image
            .lookup_version(&format!("__vdso_{name}"), "LINUX_2.6")
            .unwrap();
        let weak = image.lookup_version(name, "LINUX_2.6").unwrap();
        assert_eq!(strong.value, weak.value, "{name}");
    }
    assert_eq!(image.soname().unwrap().to_string(), "linux-vdso.so.1");
}

#[test]
fn a_page_that_was_never_published_leads_to_system_calls() {
    let loaded = Loaded::new(image());
    for linked in [false, true] {
        if linked {
            loaded.link_kernel();
        }
        for clock in Clock::ALL {
            // Without a real-time clock there are no alarm clocks.
            if let Err(error) = Calls::kernel().gettime(clock.id()) {
                assert_eq!(loaded.calls.gettime(clock.id()), Err(error));
                continue;
            }
            as_the_kernel(clock.name(), clock, || loaded.calls.nanoseconds(clock));
        }
        the_others_are_the_kernels(&loaded);
    }
}

/// Clocks that no page has, and calls that fail.
fn the_others_are_the_kernels(loaded: &Loaded) {
    let (ours, kernel) = (loaded.calls, Calls::kernel());
    for clock in [2u32, 3, -6i32 as u32, -2i32 as u32] {
        assert!(
            ours.gettime(clock).unwrap() <= kernel.gettime(clock).unwrap(),
            "{clock}"
        );
    }
    for clock in [10u32, 12, 99, 1 << 31, u32::MAX] {
        assert_eq!(
            ours.gettime(clock).is_ok(),
            kernel.gettime(clock).is_ok(),
            "{clock}"
        );
        assert_eq!(
            ours.gettime(clock).err(),
            kernel.gettime(clock).err(),
            "{clock}"
        );
    }
    for clock in (0..14u32).chain([99, u32::MAX]) {
        let resolution = |calls: &Calls| {
            let mut time = Default::default();
            // SAFETY: a pointer to a local variable.
            let result = unsafe { (calls.clock_getres)(clock, &raw mut time) };
            // SAFETY: the pointer may be null.
            let null = unsafe { (calls.clock_getres)(clock, std::ptr::null_mut()) };
            (result, null, time)
        };
        assert_eq!(resolution(&ours), resolution(&kernel), "{clock}");
    }
}

#[test]
fn the_counter_is_read_as_the_record_says() {
    let loaded = Loaded::new(image());
    let now = ticks();
    // Now in the current line, and in the former.
    for record in [
        counter(line(now - 1000), Line::NONE),
        counter(line(now + (1 << 39)), line(now - 1000)),
    ] {
        for id in [0, 1, 4, 7, 8, 9, 11] {
            loaded.publish(id, &record);
            for _ in 0..1000 {
                let before = record.at(ticks()).unwrap();
                let (seconds, nanoseconds) = loaded.calls.gettime(id).unwrap();
                let after = record.at(ticks()).unwrap();
                let seen = Moment::from_timespec(seconds, nanoseconds).unwrap();
                let before = Moment {
                    fraction: 0,
                    ..before
                };
                assert!(
                    before <= seen && seen <= after,
                    "{before:?} {seen:?} {after:?}"
                );
            }
        }
    }
}

#[test]
fn outside_of_its_lines_the_kernel_is_asked() {
    let loaded = Loaded::new(image());
    let now = ticks();
    let mut past = line(now - 10_000);
    past.length = 5000;
    // Monotonic time goes on from the promise, which is behind the kernel's.
    past.base = Moment::from_seconds(1);
    for record in [
        counter(past, Line::NONE),
        counter(line(now + (1 << 40)), past),
    ] {
        for clock in [Clock::Realtime, Clock::Boottime] {
            let record = Record {
                source: Source::Counter { monotonic: false },
                ..record
            };
            loaded.publish(clock.id(), &record);
            as_the_kernel(clock.name(), clock, || loaded.calls.nanoseconds(clock));
        }
    }
}

#[test]
fn a_monotonic_clock_does_not_fall_behind_its_promise() {
    let loaded = Loaded::new(image());
    let now = ticks();
    let mut past = line(now - 10_000);
    past.length = 5000;
    past.base = Moment::from_seconds(1 << 40);
    let record = counter(past, Line::NONE);
    loaded.publish(1, &record);
    let (seconds, nanoseconds) = loaded.calls.gettime(1).unwrap();
    let promised = record.ceiling();
    assert_eq!(
        (seconds, nanoseconds),
        (promised.seconds, i64::from(promised.nanoseconds))
    );
}

#[test]
fn fixed_time_stands_still() {
    let loaded = Loaded::new(image());
    loaded.publish(6, &Record::fixed(base()));
    loaded.publish(5, &Record::fixed(base()));
    loaded.publish(0, &Record::fixed(base()));
    let expected = (base().seconds, i64::from(base().nanoseconds));
    assert_eq!(loaded.calls.gettime(6), Ok(expected));
    let mut seconds = 0;
    // SAFETY: pointers to local variables, or null.
    unsafe {
        assert_eq!((loaded.calls.time)(&raw mut seconds), expected.0);
        assert_eq!((loaded.calls.time)(std::ptr::null_mut()), expected.0);
        assert_eq!(seconds, expected.0);
        let (mut time, mut zone) = (Timeval::default(), Timezone::default());
        assert_eq!((loaded.calls.gettimeofday)(&raw mut time, &raw mut zone), 0);
        assert_eq!((time.seconds, time.microseconds), (expected.0, 999_999));
        assert_eq!(
            (loaded.calls.gettimeofday)(std::ptr::null_mut(), &raw mut zone),
            0
        );
        assert_eq!(
            (loaded.calls.gettimeofday)(std::ptr::null_mut(), std::ptr::null_mut()),
            0
        );
    }
}

/// Quotients and remainders of all sizes, when nanoseconds are split into seconds.
#[test]
fn a_line_over_a_clock_of_the_kernels_is_read_as_its_writer_has_it() {
    let loaded = Loaded::new(image());
    loaded.link_kernel();
    let kernel = Calls::kernel();
    let now = || kernel.nanoseconds(Clock::Monotonic) as u64;
    // Knuth's constants for a linear congruential generator (MMIX).
    let mut state = 1_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    for shift in (0..3000).map(|turn| turn % 40) {
        let start = now().saturating_sub(random() << shift >> 20);
        let record = Record {
            source: Source::KernelClock(Clock::Monotonic.id() as u8),
            current: Line {
                start,
                length: u64::MAX - start,
                rate: Rate::NANOSECOND
                    .scaled(random() as u32 % 100_000, random() as u32 % 1000 + 1)
                    .unwrap(),
                base: Moment::from_timespec(random() as i64, random() as i64 % 1_000_000_000)
                    .unwrap(),
            },
            ..Record::SYSTEM_CALL
        };
        loaded.publish(0, &record);
        let at = || record.at(now()).unwrap().as_nanoseconds();
        let before = at();
        let seen = loaded.calls.nanoseconds(Clock::Realtime);
        let after = at();
        assert!(
            (before..=after).contains(&seen),
            "{before} {seen} {after}: {record:?}"
        );
    }
}

#[test]
fn the_kernels_time_is_moved_and_scaled() {
    let loaded = Loaded::new(image());
    let kernel = Calls::kernel();
    let start = kernel.nanoseconds(Clock::Monotonic) as u64;
    let record = Record {
        source: Source::KernelClock(Clock::Monotonic.id() as u8),
        current: Line {
            start,
            length: u64::MAX - start,
            rate: Rate::NANOSECOND.scaled(60, 1).unwrap(),
            base: base(),
        },
        ..Record::SYSTEM_CALL
    };
    for linked in [false, true] {
        if linked {
            loaded.link_kernel();
        }
        // 1.7 s back, so that some are before and some behind the full second; a day ahead.
        for (seconds, nanoseconds) in [(-2, 300_000_000), (86_400, 0)] {
            let by = Moment::from_timespec(seconds, nanoseconds).unwrap();
            loaded.publish(0, &Record::kernel_moved(by));
            let moved = || kernel.nanoseconds(Clock::Realtime) + by.as_nanoseconds();
            for _ in 0..1000 {
                let before = moved();
                let seen = loaded.calls.nanoseconds(Clock::Realtime);
                assert!((before..=moved()).contains(&seen));
            }
        }

        loaded.publish(0, &record);
        let before = record
            .at(kernel.nanoseconds(Clock::Monotonic) as u64)
            .unwrap();
        let seen = loaded.calls.nanoseconds(Clock::Realtime);
        let after = record
            .at(kernel.nanoseconds(Clock::Monotonic) as u64)
            .unwrap();
        assert!(before.as_nanoseconds() <= seen && seen <= after.as_nanoseconds());
    }
}

#[test]
fn reads_are_counted_in_this_process() {
    let loaded = Loaded::new(image());
    let record = Record {
        source: Source::Reads,
        current: Line {
            start: 0,
            length: u64::MAX,
            rate: Rate::from_words(250, 0),
            base: Moment::from_seconds(7),
        },
        ..Record::SYSTEM_CALL
    };
    loaded.publish(1, &record);
    // No word counts the reads.
    assert_eq!(loaded.calls.nanoseconds(Clock::Monotonic), 7 * SECOND);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loaded.link(READS, COUNT.as_ptr() as usize);
    for read in 0..5 {
        assert_eq!(
            loaded.calls.nanoseconds(Clock::Monotonic),
            7 * SECOND + 250 * read
        );
    }
    assert_eq!(COUNT.load(Ordering::Relaxed), 5);
}

#[test]
fn cpu_time_is_that_of_the_running_tasks_page_where_it_is_linked() {
    const PROCESS: u32 = 2;
    const THREAD: u32 = 3;
    let loaded = Loaded::new(image());
    let thread_of_kernel = || Calls::kernel().gettime(THREAD);
    let before = thread_of_kernel();
    let unlinked = loaded.calls.gettime(THREAD);
    assert!(before <= unlinked && unlinked <= thread_of_kernel());
    loaded.link_kernel();
    assert!(unlinked <= loaded.calls.gettime(THREAD));

    let (memory, reader) = in_memory(1).unwrap();
    // A clock that stands still.
    reader.head().shift.store(63, Ordering::Relaxed);
    let each = |change: &dyn Fn(&Slot)| {
        let slots = (0..u32::MAX).map_while(|cpu| reader.slot(cpu));
        slots.for_each(change);
    };
    each(&|slot| slot.sum.store(7_000_000_005, Ordering::Relaxed));
    each(&|slot| slot.group_sum.store(2_000_000_000, Ordering::Relaxed));
    loaded.link(vdsokit_current::LINK, memory.addr().get());
    assert_eq!(loaded.calls.gettime(THREAD), Ok((7, 5)));
    assert_eq!(loaded.calls.gettime(PROCESS), Ok((9, 5)));
    // Other clocks are as without it.
    as_the_kernel("monotonic", Clock::Monotonic, || {
        loaded.calls.nanoseconds(Clock::Monotonic)
    });
    assert!(loaded.calls.gettime(12).is_err());
    each(&|slot| slot.group_sum.store(SEVERAL, Ordering::Relaxed));
    let process = loaded.calls.gettime(PROCESS).unwrap();
    assert!(
        process < (9, 5),
        "a process of several threads: {process:?}"
    );
    reader.head().state.store(RETIRED, Ordering::Relaxed);
    let thread = loaded.calls.gettime(THREAD).unwrap();
    assert!(thread < (7, 5), "retired pages: {thread:?}");
}

#[test]
fn a_source_that_is_not_known_is_the_system_call() {
    let loaded = Loaded::new(image());
    let mut words = counter(line(ticks()), Line::NONE).to_words();
    words[Record::SOURCE] = 77;
    loaded.writer(1).write(|copy| copy.set_words(&words));
    as_the_kernel("monotonic", Clock::Monotonic, || {
        loaded.calls.nanoseconds(Clock::Monotonic)
    });
}

#[test]
fn true_time_is_within_the_bound() {
    let loaded = Loaded::new(image());
    let record = counter(line(ticks()), Line::NONE);
    loaded.publish(1, &record);
    let before = record.at(ticks()).unwrap().as_nanoseconds();
    let (earliest, latest) = loaded.clock_bound(1).unwrap();
    let after = record.at(ticks()).unwrap().as_nanoseconds();
    assert!(earliest <= after - 1000 && before + 1000 <= latest);
    let width = latest - earliest;
    assert!((2000..2000 + 20_000).contains(&width), "{width}");
    // The error is unknown.
    let error = ErrorBound {
        at_start: u32::MAX,
        growth: 0,
    };
    loaded.publish(1, &Record { error, ..record });
    assert!(loaded.clock_bound(2).is_err());
    // The kernel's own clock is exact.
    loaded.publish(1, &Record::SYSTEM_CALL);
    let (earliest, latest) = loaded.clock_bound(1).unwrap();
    assert_eq!(earliest, latest);
}

#[test]
fn the_cpu_is_one_that_the_thread_may_run_on() {
    let loaded = Loaded::new(image());
    // SAFETY: a set of CPUs of the size that is said; pointers to local variables.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut set);
        assert_eq!(
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set),
            0
        );
        let null = std::ptr::null_mut;
        for linked in [false, true] {
            if linked {
                loaded.link_kernel();
            }
            let (mut cpu, mut node) = (9, 9);
            assert_eq!(
                (loaded.calls.getcpu)(&raw mut cpu, &raw mut node, null()),
                0
            );
            let (mut cpu_by_call, mut node_by_call) = (7u32, 7u32);
            libc::syscall(
                libc::SYS_getcpu,
                &raw mut cpu_by_call,
                &raw mut node_by_call,
                0,
            );
            assert_eq!((cpu, node), (cpu_by_call, node_by_call));
            assert_eq!(
                (loaded.calls.getcpu)(std::ptr::null_mut(), std::ptr::null_mut(), null()),
                0
            );
        }
    }
}

#[test]
fn random_bytes_come_with_and_without_the_kernels_function() {
    let loaded = Loaded::new(image());
    let null = std::ptr::null_mut;
    let fill = || {
        let mut bytes = [0u8; 64];
        // SAFETY: the buffer is as long as is said.
        let got = unsafe {
            (loaded.calls.getrandom)(bytes.as_mut_ptr().cast(), bytes.len(), 0, null(), 0)
        };
        assert_eq!(got, 64);
        assert_ne!(bytes, [0; 64]);
    };
    let query = |params: *mut u8| {
        // SAFETY: the size query writes the parameters there.
        unsafe { (loaded.calls.getrandom)(null(), 0, 0, params.cast(), usize::MAX) }
    };
    let mut params = [0u8; 256];
    fill();
    assert_eq!(query(params.as_mut_ptr()), -38);
    loaded.link_kernel();
    fill();
    assert_eq!(query(params.as_mut_ptr()), 0);
    assert_ne!(params, [0; 256]);
}

/// Functions to link in place of the kernel's.
mod counted {
    use super::{AtomicU64, Ordering, Timeval, Timezone};
    use vdsokit_clock_image::gettime::Timespec;

    pub(super) static CALLS: AtomicU64 = AtomicU64::new(0);

    pub(super) extern "C" fn clock(clock: u32, _: *mut Timespec) -> i32 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        clock as i32
    }

    pub(super) extern "C" fn day(time: *mut Timeval, zone: *mut Timezone) -> i32 {
        assert!(time.is_null() && !zone.is_null());
        CALLS.fetch_add(1, Ordering::Relaxed);
        7
    }
}

/// What a newer kernel's vDSO may answer without a system call: `CLOCK_AUX` (16 and up, Linux
/// 6.17), dynamic clocks, and a time zone.
#[test]
fn clocks_that_no_page_has_and_the_time_zone_are_the_kernels_vdsos() {
    let loaded = Loaded::new(image());
    loaded.link("__vdso_clock_gettime", counted::clock as *const () as usize);
    loaded.link("__vdso_clock_getres", counted::clock as *const () as usize);
    loaded.link("__vdso_gettimeofday", counted::day as *const () as usize);
    let calls = |call: &dyn Fn() -> i32| {
        let before = counted::CALLS.load(Ordering::Relaxed);
        let result = call();
        (counted::CALLS.load(Ordering::Relaxed) - before, result)
    };
    for clock in (2..=3)
        .chain([10])
        .chain(12..=32)
        .chain([u32::MAX - 5, u32::MAX])
    {
        let mut time = Default::default();
        let before = counted::CALLS.load(Ordering::Relaxed);
        // SAFETY: a pointer to a local variable, which the linked function does not use.
        let gettime = unsafe { (loaded.calls.clock_gettime)(clock, &raw mut time) };
        assert_eq!(gettime, clock as i32);
        // SAFETY: a null pointer, which the linked function does not use.
        let getres = unsafe { (loaded.calls.clock_getres)(clock, std::ptr::null_mut()) };
        assert_eq!(getres, clock as i32);
        assert_eq!(
            counted::CALLS.load(Ordering::Relaxed) - before,
            2,
            "{clock}"
        );
    }
    loaded.publish(0, &Record::fixed(base()));
    let (mut time, mut zone) = (Timeval::default(), Timezone::default());
    let (time, zone) = (&raw mut time, &raw mut zone);
    // SAFETY: pointers to local variables, or null.
    let (null, day) = unsafe {
        let null = calls(&|| (loaded.calls.gettimeofday)(std::ptr::null_mut(), zone));
        (null, calls(&|| (loaded.calls.gettimeofday)(time, zone)))
    };
    assert_eq!((null, day), ((1, 7), (1, 7)));
    // SAFETY: the variable was written by the call before.
    assert_eq!(unsafe { time.read() }.seconds, base().seconds);
}

/// The page of an earlier boot, whose counter was further: `sleep` never returned, as
/// `CLOCK_MONOTONIC` was ten days ahead.
#[test]
fn the_page_of_another_boot_does_not_move_the_kernels_time() {
    let loaded = Loaded::new(image());
    let ten_days = 10 * 86_400 * 2_000_000_000u64;
    let length = 40_000_000;
    let lines = |start: u64| {
        let mut former = line(start);
        former.length = length;
        let mut current = line(start + length);
        current.length = length;
        counter(current, former)
    };
    // The counter of this boot is behind; or it is ahead, since a kexec does not set it back.
    for start in [ticks() + ten_days, ticks() - (1 << 33)] {
        loaded.publish(Clock::Monotonic.id(), &lines(start));
        loaded.publish(Clock::Boottime.id(), &lines(start));
        for clock in [Clock::Monotonic, Clock::Boottime] {
            as_the_kernel(clock.name(), clock, || loaded.calls.nanoseconds(clock));
            let (earliest, latest) = loaded.clock_bound(clock.id()).unwrap();
            assert_eq!(earliest, latest, "the kernel's clock is exact");
        }
    }
}
