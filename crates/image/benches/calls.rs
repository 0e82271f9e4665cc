//! What the image's functions cost, beside the kernel's own, all called by
//! pointer: `cargo bench --package vdsokit-image`. Compare within one run.
#![allow(unsafe_code, reason = "functions of an image are called as C has them")]

#[path = "../tests/image/mod.rs"]
mod image;

use criterion::{Criterion, criterion_group, criterion_main};
use image::counter::{Counter, ticks};
use image::{Calls, Loaded, image};
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use vdsokit_clock::{Clock, Moment, Record, Settings, Source};
use vdsokit_image::gettime::Timespec;

fn gettime(criterion: &mut Criterion, group: &str, clock: Clock, sources: &[(&str, Calls)]) {
    let mut group = criterion.benchmark_group(group);
    for (name, calls) in sources {
        let call = calls.clock_gettime;
        group.bench_function(*name, |bencher| {
            let mut time = Timespec::default();
            // SAFETY: a pointer to a local variable.
            bencher.iter(|| unsafe { call(black_box(clock.id()), black_box(&raw mut time)) });
        });
    }
    group.finish();
}

fn calls(criterion: &mut Criterion) {
    let kernel = Calls::kernel();
    let counter = Mutex::new(Counter::new(Settings::default()));
    let [by_counter, by_kernel] = [Loaded::new(image()), Loaded::new(image())];
    by_counter.link_kernel();
    by_kernel.link_kernel();
    let record = Record {
        source: Source::Kernel,
        ..Record::SYSTEM_CALL
    };
    by_kernel.publish(Clock::Monotonic.id(), &record);
    let done = AtomicBool::new(false);
    criterion.bench_function("rdtscp", |bencher| bencher.iter(ticks));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                counter
                    .lock()
                    .expect("the one publisher")
                    .update(&by_counter);
                // A publisher's period, not a wait for anything.
                thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let sources = [
            ("kernel's vDSO", kernel),
            ("source counter", by_counter.calls),
            ("source kernel", by_kernel.calls),
        ];
        gettime(criterion, "clock_gettime", Clock::Monotonic, &sources);
        done.store(true, Ordering::Relaxed);
    });
    let fixed = Record::fixed(Moment::from_seconds(1));
    by_kernel.publish(Clock::MonotonicCoarse.id(), &fixed);
    let sources = [
        ("kernel's vDSO", kernel),
        ("one latched read", by_kernel.calls),
    ];
    gettime(criterion, "coarse", Clock::MonotonicCoarse, &sources);
    others(criterion, &kernel, &by_kernel.calls);
    let mut writer = by_kernel.writer(Clock::Monotonic.id());
    let words = fixed.to_words();
    criterion.bench_function("publish one clock", |bencher| {
        bencher.iter(|| {
            writer.write(|copy| {
                for (at, word) in black_box(words).into_iter().enumerate() {
                    copy.set_word(at, word);
                }
            });
        });
    });
}

fn others(criterion: &mut Criterion, kernel: &Calls, ours: &Calls) {
    let mut group = criterion.benchmark_group("getcpu");
    let (mut cpu, mut node) = (0, 0);
    for (name, calls) in [("kernel's vDSO", kernel), ("ours", ours)] {
        let call = calls.getcpu;
        group.bench_function(name, |bencher| {
            // SAFETY: pointers to local variables.
            bencher.iter(|| unsafe { call(&raw mut cpu, &raw mut node, std::ptr::null_mut()) });
        });
    }
    group.bench_function("libc", |bencher| {
        // SAFETY: it has no arguments.
        bencher.iter(|| unsafe { libc::sched_getcpu() });
    });
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
