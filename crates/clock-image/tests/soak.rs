//! All CPUs read clocks while a publisher keeps changing them: no step back, and
//! none away from the kernel's clock by more than the bound.
//!
//! `VDSOKIT_SOAK` says for how many seconds, some when it isn't set; `VDSOKIT_SOAK_READS`
//! how many reads there have to be, none when it isn't set. It goes on for both.
#![cfg(target_arch = "x86_64")]

mod image;

use image::counter::{Counter, kernel, ticks};
use image::{Loaded, image};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use vdsokit_clock::{Clock, Moment, Settings, Start, Timekeeper};

/// A number that the environment gives.
fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(number) => number
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => otherwise,
    }
}

/// What all readers have seen so far, together.
struct Readers<'a> {
    loaded: &'a Loaded,
    clock: Clock,
    latest: AtomicU64,
    reads: AtomicU64,
    done: AtomicBool,
}

impl Readers<'_> {
    /// Reads, and compares with what any CPU has read before: that was told of
    /// through memory, so it happened before.
    fn read(&self) {
        while !self.done.load(Ordering::Relaxed) {
            for _ in 0..64 {
                let before = self.latest.load(Ordering::Acquire);
                let mut own = before;
                for _ in 0..16 {
                    let now = self.loaded.calls.nanoseconds(self.clock) as u64;
                    assert!(now >= own, "{} back on one CPU", own - now);
                    own = now;
                }
                self.latest.fetch_max(own, Ordering::AcqRel);
            }
            self.reads.fetch_add(64 * 16, Ordering::Relaxed);
        }
    }
}

/// Runs readers on every CPU while `publish` is called again and again.
fn soak(loaded: &Loaded, clock: Clock, mut publish: impl FnMut(u64)) -> u64 {
    let readers = Readers {
        loaded,
        clock,
        latest: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        done: AtomicBool::new(false),
    };
    let cpus = thread::available_parallelism()
        .map_or(2, |cpus| cpus.get())
        .max(2);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cpus).map(|_| scope.spawn(|| readers.read())).collect();
        let seconds = number("VDSOKIT_SOAK", 2);
        let end = kernel(Clock::Monotonic) + i128::from(seconds) * 1_000_000_000;
        let wanted = number("VDSOKIT_SOAK_READS", 0);
        let mut round = 0;
        let goes_on =
            || kernel(Clock::Monotonic) < end || readers.reads.load(Ordering::Relaxed) < wanted;
        while goes_on() && !threads.iter().any(|one| one.is_finished()) {
            publish(round);
            round += 1;
        }
        println!("{round} updates");
        readers.done.store(true, Ordering::Relaxed);
    });
    readers.reads.into_inner()
}

/// A timekeeper that is turned, slewed and late, a thousand times a second.
#[test]
fn time_does_not_run_backwards_whatever_the_publisher_does() {
    let loaded = Loaded::new(image());
    let measured = Counter::new(Settings::default()).discipline().rate();
    let frequency = measured.ticks(1_000_000_000).unwrap();
    let first = ticks();
    let begin = kernel(Clock::Monotonic);
    let mut keeper = Timekeeper::new(Start {
        frequency,
        ticks: first,
        // So far ahead that a system call's result which is not raised is less than what readers
        // were given; and the kernel's clock has passed a record's end when that ceases to raise
        // it (`Record::read`), if a busy machine lets the publisher wait for so long.
        monotonic: Moment::from_nanoseconds(begin + 100_000_000),
        wall: Moment::from_seconds(0),
        promise: 3_000_000,
        tai: 0,
    })
    .unwrap();
    loaded.publish(1, &keeper.record(Clock::Monotonic));
    let reads = soak(&loaded, Clock::Monotonic, |round| {
        // The next update comes after a millisecond; now and then after four,
        // when readers have been told the promise's end for a while.
        let wait = if round % 97 == 0 {
            8_000_000
        } else {
            2_000_000
        };
        let until = ticks() + wait;
        while ticks() < until {
            thread::yield_now();
        }
        let turn = (round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as i64 % (500 << 16);
        keeper.correct(turn - (250 << 16)).unwrap();
        if round % 13 == 0 {
            keeper.slew(turn % 100_000 - 50_000);
        }
        keeper.update(ticks());
        loaded.publish(1, &keeper.record(Clock::Monotonic));
    });
    println!("{reads} reads of a timekeeper's clock, none back");
    assert!(reads > 0);
}

#[test]
fn the_counter_stays_within_its_bound_of_the_kernel() {
    let loaded = Loaded::new(image());
    loaded.link_kernel();
    let mut counter = Counter::new(Settings::default());
    counter.update(&loaded);
    let (mut outside, mut compared, mut bounds) = (vec![], 0u64, vec![]);
    let reads = soak(&loaded, Clock::Monotonic, |_| {
        let until = kernel(Clock::Monotonic) + 5_000_000;
        counter.update(&loaded);
        while kernel(Clock::Monotonic) < until {
            thread::yield_now();
            for clock in [
                Clock::Monotonic,
                Clock::Realtime,
                Clock::Boottime,
                Clock::MonotonicRaw,
            ] {
                let before = kernel(clock);
                let (seen, bound) = (
                    loaded.calls.nanoseconds(clock),
                    loaded.clock_bound(clock.id()),
                );
                let after = kernel(clock);
                let Ok((earliest, latest)) = bound else {
                    continue;
                };
                let bound = (latest - earliest) / 2;
                compared += 1;
                bounds.push(bound);
                if seen + bound < before || seen - bound > after {
                    outside.push((clock, before - seen, seen - after, bound));
                }
            }
        }
    });
    bounds.sort_unstable();
    println!(
        "{reads} reads, {compared} compared; bound {} ns at the median, {} at most; off {:?}, rate {:?}",
        bounds[bounds.len() / 2],
        bounds[bounds.len() - 1],
        counter.discipline().error(),
        counter.discipline().rate(),
    );
    assert!(
        outside.is_empty(),
        "{} of {compared}: {outside:?}",
        outside.len()
    );
}
