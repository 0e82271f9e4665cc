//! A published clock inside machines whose kernels have lost their fast one. The lab's table
//! names the tests.
#![cfg(target_arch = "x86_64")]

mod real_time;
mod time_namespace;
mod wall_time;

use real_time::{Kernel, Published, Publisher, compare};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use vdsokit::Clock;
use vdsokit_inspect::call::Callee;
use vdsokit_inspect::function::{self, Function, Route};
use vdsokit_inspect::probe::{Served, probe};
use vdsokit_sources::clock::is_delivered;

/// A clock whose publisher may be held up for a moment by the emulator is tried so often: each
/// try is a process of its own.
const TRIES: u32 = 1000;

#[test]
#[ignore = "runs in the lab: cargo xtask vm real-time-hpet real-time-acpi-pm"]
fn the_counter_is_read_though_the_kernel_does_not() {
    let advice = advice();
    assert!(advice.contains("`vdso serve clock`"), "{advice}");
    // The kernel's own vDSO is slow: this is what `auto` has to come to.
    let publisher = Publisher::start(Command::new("vdso").args(["serve", "clock", "--json"]));
    assert_eq!(publisher.live["source"], "counter");

    let clock = Clock::new();
    // The emulator may hold the publisher up for longer than it promises. The lab's own limit ends
    // a wait for a page that never answers.
    while !clock.is_counter() {
        std::thread::yield_now();
    }
    let published = Published::find();
    agrees("vdsokit::Clock", &published, || clock.now().nanoseconds());

    let inside = Command::new("vdso")
        .args(["run", "--clock", "--", "/bin/clock_lab"])
        .args(["--ignored", "--exact", "--nocapture", "inside"])
        .status()
        .unwrap();
    assert!(inside.success());
}

/// What a program does that runs on the published clock, and knows nothing of it.
#[test]
#[ignore = "run by another test, under `vdso run --clock`"]
fn inside() {
    assert!(is_delivered(), "this is to run under `vdso run --clock`");
    for clock in [
        function::ClockId::Monotonic,
        function::ClockId::Realtime,
        function::ClockId::Boottime,
        function::ClockId::Tai,
        function::ClockId::MonotonicRaw,
    ] {
        let callee = Callee::resolve(Function::ClockGettime(clock), Route::Libc, None).unwrap();
        let directly = (0..TRIES).any(|_| probe(&callee).unwrap() == Served::Directly);
        assert!(directly, "{clock:?} makes a system call");
    }
    let libc = || rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let nanoseconds = || {
        let now = libc();
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    };
    agrees("clock_gettime", &Published::find(), nanoseconds);

    let (ours, kernels) = (cost(nanoseconds), cost(Kernel::nanoseconds));
    let ratio = ours.as_secs_f64() / kernels.as_secs_f64();
    println!(
        "clock_gettime on the published clock : by system call = {ours:?} : {kernels:?} = {ratio:.3}"
    );
}

/// How often a comparison is made before a read outside the bound counts as a fault of the clock. Counter
/// and clocksource are the emulator's, and once one read of 20,000 was outside, for a reason not found. On
/// real hardware (`serve_clock`) none may be.
const ROUNDS: u32 = 3;

/// Compares a clock with the kernel: it never steps back, and in one of the rounds keeps its bound.
#[track_caller]
fn agrees(name: &str, published: &Published, read: impl Fn() -> u64) {
    let keeps_its_bound = (0..ROUNDS).any(|_| {
        let seen = compare(20_000, published, &read);
        println!("{name}: {seen}");
        assert_eq!(seen.back, 0);
        seen.outside == 0
    });
    assert!(keeps_its_bound);
}

/// Of 10,000 reads.
fn cost(read: impl Fn() -> u64) -> Duration {
    let start = Kernel::nanoseconds();
    for _ in 0..10_000 {
        std::hint::black_box(read());
    }
    Duration::from_nanos(Kernel::nanoseconds() - start)
}

/// What the doctor advises for the kernel's clocksource.
fn advice() -> String {
    let output = Command::new("vdso")
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = diagnosis["findings"].as_array().unwrap();
    let clocksource = findings
        .iter()
        .find(|finding| finding["cause"] == "clocksource");
    let advice = clocksource.expect("the clocksource is slow")["advice"].as_str();
    advice
        .expect("there is something to do about it")
        .to_owned()
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm real-time-refused"]
fn a_counter_that_is_not_invariant_is_refused() {
    assert!(!advice().contains("`vdso serve clock`"));
    let refused = Command::new("vdso")
        .args(["serve", "clock", "--source", "counter"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("not invariant"), "{why}");

    // Without an explicit source there is a clock, and the reason for the source chosen.
    let publisher = Publisher::start(Command::new("vdso").args(["serve", "clock", "--json"]));
    let why = publisher.untrusted.as_deref().unwrap();
    assert!(why.contains("not invariant"), "{why}");
    assert_eq!(publisher.live["source"], "kernel");
    let clock = Clock::new();
    assert!(!clock.is_counter());
    let seen = compare(1000, &Published::find(), || clock.now().nanoseconds());
    assert_eq!((seen.outside, seen.back), (0, 0), "{seen}");
}

/// Monotonic time is another there than in the page.
#[test]
#[ignore = "runs in the lab: cargo xtask vm real-time-namespace"]
fn a_process_with_a_time_of_its_own_has_the_kernels_clock() {
    let publisher = ["serve", "clock", "--source", "counter", "--json"];
    let _publisher = Publisher::start(Command::new("vdso").args(publisher));
    let offset = 86_400;
    time_namespace::for_children(&format!("monotonic {offset} 0\n"));
    for (arguments, status) in [
        (&["run", "--clock", "--", "busybox", "true"][..], 125),
        (&["serve", "clock", "--at", "/tmp/other"], 1),
    ] {
        let mut command = Command::new("vdso");
        let refused = time_namespace::forked(command.args(arguments))
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(status), "{refused:?}");
        let why = String::from_utf8(refused.stderr).unwrap();
        assert!(why.contains("time namespace"), "{why}");
    }
    let mut inside = Command::new("/bin/clock_lab");
    inside.args(["--ignored", "--exact", "--nocapture", "in_a_time_namespace"]);
    assert!(
        time_namespace::forked(&mut inside)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
#[ignore = "run by another test, in a time namespace"]
fn in_a_time_namespace() {
    let clock = Clock::new();
    assert!(!clock.is_counter());
    let before = Kernel::nanoseconds();
    assert!(before > 86_400 * 1_000_000_000, "no time namespace");
    let seen = clock.now().nanoseconds();
    assert!(before <= seen && seen <= Kernel::nanoseconds());
}
