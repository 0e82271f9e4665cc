//! A publisher of source `counter` for the tests: samples this machine's clocks
//! and keeps an image's page.

use super::Loaded;
use vdsokit_clock::{Clock, Discipline, Offset, Record, Sample, Settings, Source};

/// The counter, as the image reads it.
pub(crate) fn ticks() -> u64 {
    let mut processor = 0;
    #[allow(unsafe_code, reason = "an instruction that all these machines have")]
    // SAFETY: x86-64 Linux lets programs read the counter.
    unsafe {
        std::arch::x86_64::__rdtscp(&raw mut processor)
    }
}

/// A clock of the kernel's, in nanoseconds, by libc.
pub(crate) fn kernel(clock: Clock) -> i128 {
    let id = match clock {
        Clock::Realtime => rustix::time::ClockId::Realtime,
        Clock::MonotonicRaw => rustix::time::ClockId::MonotonicRaw,
        Clock::Boottime => rustix::time::ClockId::Boottime,
        _ => rustix::time::ClockId::Monotonic,
    };
    let time = rustix::time::clock_gettime(id);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

pub(crate) fn sample(clock: Clock) -> Sample {
    let samples = (0..8).map(|_| Sample {
        before: ticks(),
        time: kernel(clock),
        after: ticks(),
    });
    Sample::best(samples).expect("eight samples")
}

/// By how much a clock is ahead of the monotonic one.
fn offset(clock: Clock) -> Offset {
    let offsets = (0..4).map(|_| {
        let before = kernel(Clock::Monotonic);
        let time = kernel(clock);
        Offset::between(before, time, kernel(Clock::Monotonic))
    });
    offsets
        .min_by_key(|offset| offset.most - offset.least)
        .expect("four")
}

/// Keeps the page of an image.
pub(crate) struct Counter {
    monotonic: Discipline,
    raw: Discipline,
}

impl Counter {
    pub(crate) fn new(settings: Settings) -> Self {
        let first = (sample(Clock::Monotonic), sample(Clock::MonotonicRaw));
        // Long enough for a rate, and nothing that a test would wait for.
        while kernel(Clock::Monotonic) < first.0.time + 50_000_000 {
            std::thread::yield_now();
        }
        let start = |clock, first| Discipline::new(settings, first, sample(clock)).expect("a rate");
        Self {
            monotonic: start(Clock::Monotonic, first.0),
            raw: start(Clock::MonotonicRaw, first.1),
        }
    }

    pub(crate) fn update(&mut self, loaded: &Loaded) {
        let (wall, boot) = (offset(Clock::Realtime), offset(Clock::Boottime));
        self.monotonic.offsets(ticks(), Some(wall), Some(boot), 0);
        let monotonic = self.monotonic.update(sample(Clock::Monotonic), ticks());
        let raw = self.raw.update(sample(Clock::MonotonicRaw), ticks());
        for clock in Clock::ALL {
            let record = match clock {
                // Coarse ones stand still until the next update, which a process
                // can't promise; and alarm clocks are not on every machine.
                Clock::RealtimeCoarse
                | Clock::MonotonicCoarse
                | Clock::RealtimeAlarm
                | Clock::BoottimeAlarm => Some(Record {
                    source: Source::Kernel,
                    ..Record::SYSTEM_CALL
                }),
                Clock::MonotonicRaw if raw => self.raw.record(Clock::Monotonic),
                Clock::MonotonicRaw => None,
                exact if monotonic => self.monotonic.record(exact),
                _ => None,
            };
            if let Some(record) = record {
                loaded.publish(clock.id(), &record);
            }
        }
    }

    pub(crate) fn discipline(&self) -> &Discipline {
        &self.monotonic
    }
}
