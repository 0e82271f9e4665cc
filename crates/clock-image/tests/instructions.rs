//! What a call costs, in instructions: they don't depend on the machine's load or clock rate.
//!
//! A child calls each function under PTRACE_SINGLESTEP. An instruction counts once for a call: a read of the
//! kernel's page that meets an update starts again, and stepping makes that likely.
#![cfg(target_arch = "x86_64")]

mod image;
#[path = "tracee/mod.rs"]
mod tracee;

use image::{Calls, Loaded, image};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use tracee::Tracee;
use vdsokit_clock::{Clock, ErrorBound, Line, Moment, Rate, Record, Source};

/// What is published, the function, and how many instructions of the image a call takes at most.
const BOUNDS: [(&str, u32); 6] = [
    ("a counter, clock_gettime", 45),
    ("a counter, gettimeofday", 70),
    ("a counter, time", 60),
    ("an offset, beside the kernel's clock_gettime", 50),
    ("a rate, beside the kernel's clock_gettime", 170),
    ("a clock that stands still, clock_gettime", 30),
];

/// Where the child's copy of this process writes times.
static TIMES: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// The addresses of the instructions that a call runs.
struct Course(BTreeSet<u64>);

impl Course {
    fn of(tracee: &Tracee, function: usize, arguments: &[u64]) -> Self {
        let caller = tracee.enter(function as u64, arguments);
        let mut addresses = BTreeSet::new();
        loop {
            let pc = tracee.registers().pc;
            if pc == caller.pc {
                break;
            }
            addresses.insert(pc);
            tracee.step();
        }
        tracee.leave();
        Self(addresses)
    }

    /// How many there are of the image that lies at `base`.
    fn within(&self, base: usize) -> u32 {
        let end = base + vdsokit_virtual_time::IMAGE.len();
        self.0.range(base as u64..end as u64).count() as u32
    }

    fn has_system_call(&self, tracee: &Tracee) -> bool {
        // `syscall` is 0f 05.
        self.0.iter().any(|pc| tracee.word(*pc) as u16 == 0x050f)
    }
}

/// A line that covers the present, at the given moment of its time.
fn line(start: u64, hertz: u64, base: Moment) -> Line {
    Line {
        start,
        length: 1 << 62,
        rate: Rate::from_frequency(hertz).unwrap(),
        base,
    }
}

#[test]
fn a_call_costs_few_instructions_and_a_counter_no_more_than_the_kernels() {
    let loaded = Loaded::new(image());
    loaded.link_kernel();
    let calls = loaded.calls;
    let tracee = Tracee::start();
    let times = TIMES.as_ptr() as u64;
    let monotonic = u64::from(Clock::Monotonic.id());
    let publish = |record: Record| {
        // Wall clocks are what `gettimeofday` and `time` read.
        for clock in [Clock::Monotonic, Clock::Realtime, Clock::RealtimeCoarse] {
            loaded.publish(clock.id(), &record);
        }
    };
    let gettime = |calls: &Calls| {
        let function = calls.clock_gettime as usize;
        Course::of(&tracee, function, &[monotonic, times])
    };
    let day = Moment::from_timespec(86_400, 5).unwrap();

    publish(Record {
        source: Source::Counter { monotonic: true },
        current: line(image::counter::ticks(), 2_000_000_000, day),
        former: Line::NONE,
        error: ErrorBound::default(),
    });
    let counter = gettime(&calls);
    let microseconds = Course::of(&tracee, calls.gettimeofday as usize, &[times, 0]);
    let seconds = Course::of(&tracee, calls.time as usize, &[0]);
    publish(Record::kernel_moved(
        Moment::from_timespec(7, 999_999_999).unwrap(),
    ));
    let offset = gettime(&calls);
    publish(Record {
        source: Source::KernelClock(Clock::Monotonic.id() as u8),
        current: line(0, 500_000_000, day),
        ..Record::SYSTEM_CALL
    });
    let rate = gettime(&calls);
    publish(Record::fixed(day));
    let fixed = gettime(&calls);

    let mut table = String::from("| call | instructions | at most |\n| --- | --- | --- |\n");
    let mut missed = Vec::new();
    let courses = [&counter, &microseconds, &seconds, &offset, &rate, &fixed];
    for ((what, bound), course) in BOUNDS.into_iter().zip(courses) {
        let measured = course.within(loaded.base());
        writeln!(table, "| {what} | {measured} | {bound} |").unwrap();
        if measured > bound {
            missed.push(what);
        }
    }
    // Where programs can't read the machine's counter, the kernel's function makes a system call, which
    // is one instruction.
    let kernel = gettime(&Calls::kernel());
    if !kernel.has_system_call(&tracee) {
        let (measured, bound) = (counter.0.len(), kernel.0.len());
        let what = "a counter, and the kernel's own clock_gettime";
        writeln!(table, "| {what} | {measured} | {bound} |").unwrap();
        if measured > bound {
            missed.push(what);
        }
    }
    println!("{table}");
    assert!(missed.is_empty(), "{missed:#?}\n{table}");
    for course in [counter, microseconds, seconds, fixed] {
        assert!(!course.has_system_call(&tracee));
    }
}
