//! What the tests of a published clock share: its publisher, and the kernel to compare with.
#![allow(dead_code, reason = "each test program uses a part of it")]

use serde_json::Value;
use std::fmt;
use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use vdsokit_clock::{Clock, Record, Source};
use vdsokit_publish::{Vdso, place};
use vdsokit_sources::clock::{FILE, Reader};

/// `vdso serve clock --json`, live; killed when it is dropped.
pub(crate) struct Publisher {
    pub(crate) child: Child,
    /// What it said when it was live.
    pub(crate) live: Value,
    /// Why it doesn't trust the counter, if it said so before.
    pub(crate) untrusted: Option<String>,
    events: Lines<BufReader<ChildStdout>>,
}

impl Publisher {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut events = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut untrusted = None;
        let live = loop {
            let line = events.next().expect("it ended before it was live").unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == "live" {
                break event;
            }
            assert_eq!(event["event"], "untrusted", "{line}");
            untrusted = Some(event["why"].as_str().unwrap().to_owned());
        };
        Self {
            child,
            live,
            untrusted,
            events,
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.live["file"].as_str().unwrap().into()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// What it says next.
    pub(crate) fn event(&mut self) -> Value {
        serde_json::from_str(&self.events.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Whether it has ended by itself is for the test to say.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The kernel, by system call, whatever vDSO this process has.
pub(crate) struct Kernel;

impl Kernel {
    /// `CLOCK_MONOTONIC`.
    #[allow(unsafe_code, reason = "libc would ask the vDSO")]
    pub(crate) fn nanoseconds() -> u64 {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the kernel writes the one structure that it is given a pointer to.
        let result = unsafe {
            libc::syscall(
                libc::SYS_clock_gettime,
                libc::CLOCK_MONOTONIC,
                &raw mut time,
            )
        };
        assert_eq!(result, 0);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

/// The page of monotonic time, for its bound.
pub(crate) struct Published(Reader);

impl Published {
    /// Where `vdso serve clock` publishes without `--at`.
    pub(crate) fn find() -> Self {
        Self::open(
            place::find(FILE)
                .expect("a published clock")
                .path()
                .to_owned(),
        )
    }

    pub(crate) fn open(path: PathBuf) -> Self {
        Self(Reader::new(&Vdso::open(path).unwrap(), Clock::Monotonic).unwrap())
    }

    pub(crate) fn record(&self) -> Record {
        self.0.record()
    }
}

/// The counter.
#[allow(unsafe_code, reason = "a counter is read by an instruction of its own")]
pub(crate) fn ticks() -> u64 {
    // SAFETY: it reads a register.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// What a comparison has found.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How many reads there were, each between two answers of the kernel.
    pub(crate) compared: u64,
    /// How many may have come from the kernel, the page having no answer at the end.
    pub(crate) fallbacks: u64,
    /// How many were further from the kernel than the bound.
    pub(crate) outside: u64,
    /// How many were before the one before.
    pub(crate) back: u64,
    /// The bounds, in nanoseconds, by size: how many.
    bounds: std::collections::BTreeMap<u64, u64>,
}

impl Seen {
    /// The bound that so many hundredths of all don't exceed.
    pub(crate) fn bound(&self, hundredths: u64) -> u64 {
        let mut left = self.bounds.values().sum::<u64>() * hundredths / 100;
        for (bound, count) in &self.bounds {
            if left < *count {
                return *bound;
            }
            left -= count;
        }
        self.bounds.keys().next_back().copied().unwrap_or(0)
    }

    fn compare(&mut self, before: u64, seen: u64, after: u64, records: [Record; 2]) {
        self.compared += 1;
        let ticks = ticks();
        let by_counter = |record: &Record| matches!(record.source, Source::Counter { .. });
        // It grows until the next update: what it is now, it was not when the clock was read.
        let bounds = records.iter().filter(|record| by_counter(record));
        let bound = bounds.filter_map(|record| record.error_at(ticks)).max();
        if records
            .iter()
            .all(|record| by_counter(record) && record.at(ticks).is_some())
        {
            *self.bounds.entry(bound.unwrap_or(0)).or_default() += 1;
        } else {
            self.fallbacks += 1;
        }
        let bound = bound.unwrap_or(0);
        if seen + bound < before || seen.saturating_sub(bound) > after {
            self.outside += 1;
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} reads compared, {} outside the bound, {} back, {} fallbacks; bound {} ns at the \
             median, {} at 99 %, {} at most",
            self.compared,
            self.outside,
            self.back,
            self.fallbacks,
            self.bound(50),
            self.bound(99),
            self.bounds.keys().next_back().unwrap_or(&0),
        )
    }
}

/// Compares a clock with the kernel, so many times.
pub(crate) fn compare(times: u64, published: &Published, read: impl Fn() -> u64) -> Seen {
    compare_while(published, read, |seen| seen.compared < times)
}

/// The same as long as `goes_on` says so.
pub(crate) fn compare_while(
    published: &Published,
    read: impl Fn() -> u64,
    mut goes_on: impl FnMut(&Seen) -> bool,
) -> Seen {
    let (mut seen, mut last) = (Seen::default(), 0);
    while goes_on(&seen) {
        let before = Kernel::nanoseconds();
        let first = published.record();
        let now = read();
        let second = published.record();
        let after = Kernel::nanoseconds();
        seen.back += u64::from(now < last);
        last = now;
        seen.compare(before, now, after, [first, second]);
    }
    seen
}
