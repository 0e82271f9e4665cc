//! The functions, their batches, and the bounds of their ratios.
#![allow(unsafe_code, reason = "functions of an image are called as C has them")]

use crate::figures::{Figures, Limit, each};
use crate::image::counter::{Counter, ticks};
use crate::image::{Calls, Loaded, image};
use std::ffi::c_void;
use std::process::ExitCode;
use std::ptr::null_mut;
use vdsokit_clock::page::RECORD_SIZE;
use vdsokit_clock::{Clock, Moment, Record, Settings, Source, Start, Timekeeper};
use vdsokit_clock_image::gettime::Timespec;
use vdsokit_random::{Parameters, Reseeds};
use vdsokit_vvar::latch::{self, Latch, LatchWriter, Word};

/// Calls of a batch: some 10 µs, far below a time slice.
const CALLS: u32 = 400;

/// Asks a clock, as a program does: the clock's number and the function are known beforehand. From
/// memory they would come later, and `rdtscp` waits for that.
fn gettime<const CLOCK: u32>(calls: Calls) -> impl FnMut() {
    let mut time = Timespec::default();
    move || {
        let (call, time) = (calls.clock_gettime, &raw mut time);
        // SAFETY: a pointer to a variable of this closure's.
        each(CALLS, || unsafe { call(CLOCK, time) })
    }
}

const MONOTONIC: u32 = Clock::Monotonic.id();
const COARSE: u32 = Clock::MonotonicCoarse.id();
const BOOTTIME: u32 = Clock::Boottime.id();

fn getcpu(calls: Calls) -> impl FnMut() {
    let call = calls.getcpu;
    let (mut cpu, mut node) = (0, 0);
    move || {
        each(CALLS, || {
            // SAFETY: pointers to variables of this closure's.
            unsafe { call(&raw mut cpu, &raw mut node, null_mut()) }
        })
    }
}

fn libc_getcpu() -> impl FnMut() {
    let (mut cpu, mut node) = (0u32, 0u32);
    // SAFETY: glibc's function is of this type.
    let call = unsafe {
        let at = libc::dlsym(libc::RTLD_DEFAULT, c"getcpu".as_ptr());
        assert!(!at.is_null(), "libc has no getcpu");
        std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut u32, *mut u32) -> i32>(at)
    };
    // SAFETY: pointers to local variables.
    move || each(CALLS, || unsafe { call(&raw mut cpu, &raw mut node) })
}

/// 32 random bytes with a state, as libc asks for them; none where that isn't had, since the
/// kernel's vDSO doesn't have it.
fn getrandom(calls: Calls) -> Option<impl FnMut()> {
    let mut params = Parameters::default();
    let at = (&raw mut params).cast();
    // SAFETY: the size query writes the parameters there.
    if unsafe { (calls.getrandom)(null_mut(), 0, 0, at, usize::MAX) } != 0 {
        return None;
    }
    let size = params.size as usize;
    // SAFETY: a new mapping, as the kernel asks for it; it stays for ever.
    let state = unsafe {
        let (protection, flags) = (params.protection as i32, params.flags as i32);
        libc::mmap(null_mut(), 4096, protection, flags, -1, 0)
    };
    assert_ne!(state, libc::MAP_FAILED);
    let call = calls.getrandom;
    let mut bytes = [0u8; 32];
    Some(move || {
        each(CALLS, || {
            // SAFETY: the buffer and the state are as long as is said.
            let got = unsafe { call(bytes.as_mut_ptr().cast(), 32, 0, state, size) };
            assert_eq!(got, 32);
        });
    })
}

/// A kernel's timer interrupt: every clock's record, computed and published in pages of its own.
fn update() -> impl FnMut() {
    const WORDS: usize = latch::size_of(RECORD_SIZE) / 8;
    let page = [const { [const { Word::new(0) }; WORDS] }; Clock::RECORDS];
    let mut now = ticks();
    let mut keeper = Timekeeper::new(Start {
        frequency: 2_000_000_000,
        ticks: now,
        monotonic: Moment::from_seconds(1),
        wall: Moment::from_seconds(1 << 30),
        promise: 3_000_000,
        tai: 37,
    })
    .expect("a frequency");
    move || {
        each(CALLS / 8, || {
            now += 2_000_000;
            keeper.update(now);
            keeper.publish(|clock, words| {
                let record =
                    Latch::new(&page[clock.id() as usize]).expect("an odd number of words");
                LatchWriter::new(record).write(|copy| copy.set_words(words));
            });
        });
    }
}

pub(crate) fn main() -> ExitCode {
    let kernel = Calls::kernel();
    let [by_counter, by_kernel] = [(); 2].map(|()| Loaded::new(image()));
    by_kernel.link_kernel();
    let record = Record {
        source: Source::Kernel,
        ..Record::SYSTEM_CALL
    };
    by_kernel.publish(MONOTONIC, &record);
    let fixed = Record::fixed(Moment::from_seconds(1));
    by_kernel.publish(COARSE, &fixed);
    let by = Moment::from_timespec(86_400, 500_000_000).expect("half a second");
    let moved = Record::kernel_moved(by);
    by_kernel.publish(BOOTTIME, &moved);
    let mut counter = Counter::new(Settings::default());

    let mut figures = Figures::new(CALLS);
    figures.add("rdtscp", || each(CALLS, ticks));
    figures.add("monotonic, kernel's", gettime::<MONOTONIC>(kernel));
    let ours = by_counter.calls;
    figures.add("monotonic, counter", gettime::<MONOTONIC>(ours));
    let ours = by_kernel.calls;
    figures.add("monotonic, kernel", gettime::<MONOTONIC>(ours));
    figures.add("boottime, kernel's", gettime::<BOOTTIME>(kernel));
    figures.add("boottime, moved", gettime::<BOOTTIME>(ours));
    figures.add("coarse, kernel's", gettime::<COARSE>(kernel));
    figures.add("coarse", gettime::<COARSE>(ours));
    figures.add("getcpu, libc's", libc_getcpu());
    figures.add("getcpu, kernel's", getcpu(kernel));
    figures.add("getcpu", getcpu(ours));
    Reseeds::new(by_counter.generation()).reseeded();
    for (name, calls) in [
        ("getrandom, kernel's", kernel),
        ("getrandom, handed on", ours),
        ("getrandom, generation", by_counter.calls),
    ] {
        if let Some(batch) = getrandom(calls) {
            figures.add(name, batch);
        }
    }
    figures.add("update", update());
    figures.measure(|| counter.update(&by_counter));

    let per_call = f64::from(CALLS) / f64::from(CALLS / 8);
    figures.finish(&[
        Limit::ratio(
            "counter : kernel's vDSO",
            "monotonic, counter",
            "monotonic, kernel's",
            0.92,
        ),
        Limit::ratio(
            "counter : bare rdtscp",
            "monotonic, counter",
            "rdtscp",
            1.15,
        ),
        Limit::ratio(
            "kernel : kernel's vDSO",
            "monotonic, kernel",
            "monotonic, kernel's",
            1.10,
        ),
        Limit::ratio(
            "kernel, moved : kernel's vDSO",
            "boottime, moved",
            "boottime, kernel's",
            1.12,
        ),
        Limit::ratio("coarse : kernel's vDSO", "coarse", "coarse, kernel's", 0.75),
        Limit::ratio("getcpu : libc's", "getcpu", "getcpu, libc's", 1.0),
        Limit::ratio(
            "getrandom, handed on : kernel's",
            "getrandom, handed on",
            "getrandom, kernel's",
            1.05,
        ),
        Limit::ratio(
            "getrandom, generation : kernel's",
            "getrandom, generation",
            "getrandom, kernel's",
            1.05,
        ),
        Limit::nanoseconds("publish a time update, 9 clocks", "update", per_call, 100.0),
    ])
}
