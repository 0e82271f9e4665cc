//! CPU time beside what the system calls return.

use super::tasks::{cpus, next, run_on, tid};
use super::{Published, reader, until_asleep, until_known};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use vdsokit_current::{Clamp, Hint, Reader};

fn system_call(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes the local variable. Not by the C library, which might call a vDSO.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[derive(Default)]
struct Triples {
    count: AtomicU64,
    unknown: AtomicU64,
    /// The kernel's time was less than one that was read before it.
    ahead: AtomicU64,
    farthest: AtomicU64,
    /// The kernel's time was more than one that was read after it.
    behind: AtomicU64,
    backwards: AtomicU64,
}

impl Triples {
    fn count(&self, before: Option<u64>, kernel: u64, after: Option<u64>, last: &mut u64) {
        let raise = |counter: &AtomicU64, is_so: bool| {
            counter.fetch_add(is_so.into(), Ordering::Relaxed);
        };
        raise(&self.count, true);
        let (Some(before), Some(after)) = (before, after) else {
            return raise(&self.unknown, true);
        };
        raise(&self.ahead, before > kernel);
        self.farthest
            .fetch_max(before.saturating_sub(kernel), Ordering::Relaxed);
        raise(&self.behind, after < kernel);
        raise(&self.backwards, before < *last || after < before);
        *last = after;
    }

    /// Prints the counts, and asserts what is promised.
    fn check(&self, what: &str) {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        println!(
            "{what}: {} triples, {} unknown, {} behind, {} backwards, {} ahead, by up to {} ns",
            number(&self.count),
            number(&self.unknown),
            number(&self.behind),
            number(&self.backwards),
            number(&self.ahead),
            number(&self.farthest),
        );
        assert!(number(&self.count) > number(&self.unknown), "{what}");
        assert_eq!(
            (number(&self.behind), number(&self.backwards)),
            (0, 0),
            "{what}"
        );
    }
}

fn thread_time(reader: Reader, (hint, clamp): &(Hint, Clamp)) -> Option<u64> {
    let time = reader.thread_cpu_time(hint)?;
    Some(clamp.raise(time.tid, time.of_slot))
}

/// Waits for the first tick as well.
#[track_caller]
fn until_timed(reader: Reader) {
    until_known(reader);
    until_asleep(|| reader.thread_cpu_time(&Hint::new()).is_some(), reader);
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-cpu-time"]
fn cpu_time_is_never_behind_the_kernels_and_never_goes_back() {
    let _published = Published::for_everybody();
    let reader = reader();
    until_timed(reader);
    let seconds = std::env::var("SOAK_SECONDS").map_or(4, |text| text.parse().unwrap());
    let (triples, stop) = (Triples::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let kept = (Hint::new(), Clamp::new());
                let (mut last, mut state) = (0, tid());
                while !stop.load(Ordering::Relaxed) {
                    let before = thread_time(reader, &kept);
                    let kernel = system_call(libc::CLOCK_THREAD_CPUTIME_ID);
                    let after = thread_time(reader, &kept);
                    triples.count(before, kernel, after, &mut last);
                    match next(&mut state) % 128 {
                        0 => run_on(state as usize >> 8 & (cpus() - 1)),
                        1 => std::thread::sleep(Duration::from_micros(200)),
                        2..6 => std::thread::yield_now(),
                        _ => {}
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
    });
    triples.check("threads");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-process-time"]
fn the_time_of_a_process_is_known_while_it_has_one_thread() {
    let _published = Published::for_everybody();
    // The test harness has a thread of its own.
    let child = super::tasks::fork(|| {
        let reader = reader();
        until_timed(reader);
        let (hint, clamp) = (Hint::new(), Clamp::new());
        let process_time = || {
            let time = reader.process_cpu_time(&hint)?;
            Some(clamp.raise(time.tid, time.of_slot))
        };
        let compare = |what| {
            let (triples, mut last) = (Triples::default(), 0);
            for turn in 0..5_000 {
                let before = process_time();
                let kernel = system_call(libc::CLOCK_PROCESS_CPUTIME_ID);
                let after = process_time();
                triples.count(before, kernel, after, &mut last);
                if turn % 100 == 0 {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
            triples.check(what);
        };
        compare("a process of one thread");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| std::thread::sleep(Duration::from_millis(50)));
            assert_eq!(process_time(), None, "a second thread has begun");
            while !thread.is_finished() {
                std::hint::black_box(process_time());
            }
        });
        compare("a process that had another thread");
    });
    assert!(super::tasks::wait(child));
}

/// No heartbeat comes for long: a reader that is stopped in the middle has no time.
#[test]
#[ignore = "runs in the lab: cargo xtask vm current-no-clock"]
fn without_a_stable_counter_the_kernel_alone_knows_cpu_times() {
    let _published = Published::for_everybody();
    let reader = reader();
    until_known(reader);
    assert_eq!(reader.tid(&Hint::new()), Some(tid()));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(reader.thread_cpu_time(&Hint::new()), None);
    assert_eq!(reader.process_cpu_time(&Hint::new()), None);
}
