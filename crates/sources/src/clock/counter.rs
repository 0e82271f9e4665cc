//! Source `counter`: the CPU's counter, disciplined to the kernel's clocks.

use super::vmclock::{self, VmClock};
use super::{ClockPage, cpu, kernel};
use miette::Diagnostic;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::ClockId;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;
use vdsokit_clock::{Clock, Discipline, Offset, Record, Sample, Settings, Source};

/// Why the CPU's counter can't be a clock's source.
#[derive(Clone, Debug, Error, Diagnostic, PartialEq, Eq)]
#[non_exhaustive]
pub enum Untrusted {
    /// Its rate changes with the CPU's frequency.
    #[error("the CPU's counter is not invariant: its rate may change, and it may stop")]
    #[diagnostic(help("use source `kernel`; for a virtual machine, the host can expose the flag"))]
    Rate,
    /// The counters of the CPUs differ.
    #[error("the counter of CPU {cpu} differs from the others by {nanoseconds} ns")]
    #[diagnostic(help(
        "use source `kernel`: the firmware or the host has not synchronised the counters"
    ))]
    Apart {
        /// The CPU whose counter differs.
        cpu: usize,
        /// The difference, at least.
        nanoseconds: u64,
    },
    /// The hypervisor may tell of disruptions of the counter, and this process can't read that.
    #[error("the hypervisor's page {} can't be read: {why}", path.display())]
    #[diagnostic(help(
        "run the publisher as a user who can read the file, as root, or use source `kernel`"
    ))]
    VmClock {
        /// The page's file.
        path: PathBuf,
        /// Why it can't be read.
        why: String,
    },
    /// The kernel's clocks stood still while the counter was measured.
    #[error("the counter's rate could not be measured")]
    #[diagnostic(help("use source `kernel`"))]
    NoRate,
}

/// Keeps the records of a clock page with source `counter`.
///
/// An [update](Self::update) that finds the counter disrupted, by a live migration of which the
/// hypervisor's page tells, by a suspend or by a counter that went back, publishes records
/// without an answer. Readers then make the system call, until the counter has been measured for
/// a tenth of a second.
#[derive(Debug)]
pub struct Counter {
    monotonic: Discipline,
    raw: Discipline,
    /// The hypervisor's page, and its marker when the counter was last measured.
    host: Option<(VmClock, Option<u64>)>,
    settings: Settings,
    /// The CPU to compare next.
    next: usize,
    /// How often in a row it differed from the others.
    apart: u32,
}

/// How often in a row a CPU's counter has to differ from the others before the counter is
/// given up. A single difference may come from the kernel's clock, slewed by more than
/// [`Settings::wander`] since the last update; the next update follows that.
const PATIENCE: u32 = 3;

impl Counter {
    /// Measures the counter for a tenth of a second, on every CPU that this
    /// thread may run on. Where the hypervisor tells of disruptions, in `/dev/vmclock0`, the
    /// updates look there.
    ///
    /// # Errors
    /// [`Untrusted`] says why it can't be used.
    pub fn new(settings: Settings) -> Result<Self, Untrusted> {
        Self::with_vmclock(settings, Path::new(vmclock::DEVICE))
    }

    /// [`new`](Self::new) with the hypervisor's page in another file than `/dev/vmclock0`.
    ///
    /// # Errors
    /// As there.
    pub fn with_vmclock(settings: Settings, path: &Path) -> Result<Self, Untrusted> {
        if !cpu::is_invariant() {
            return Err(Untrusted::Rate);
        }
        let host = VmClock::open(path).map_err(|source| Untrusted::VmClock {
            path: path.to_owned(),
            why: source.to_string(),
        })?;
        // Before the first sample: a disruption in between is found by the first update.
        let host = host.map(|host| {
            let marker = host.marker();
            (host, marker)
        });
        let first = (sample(ClockId::Monotonic), sample(ClockId::MonotonicRaw));
        std::thread::sleep(Duration::from_millis(100));
        let start = |first, clock| {
            Discipline::new(settings, first, sample(clock)).map_err(|_| Untrusted::NoRate)
        };
        let counter = Self {
            monotonic: start(first.0, ClockId::Monotonic)?,
            raw: start(first.1, ClockId::MonotonicRaw)?,
            host,
            settings,
            next: 0,
            apart: 0,
        };
        counter.compare_cpus()?;
        Ok(counter)
    }

    /// Time between two updates.
    #[must_use]
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.settings.promise / 4)
    }

    /// Samples the kernel's clocks and publishes.
    pub fn update(&mut self, page: &mut ClockPage) {
        let wall = super::adjtimex::wall();
        self.monotonic.wall_error(wall.error);
        let offsets = (offset(ClockId::Realtime), offset(ClockId::Boottime));
        self.monotonic
            .offsets(cpu::ticks(), offsets.0, offsets.1, wall.tai);
        let samples = (sample(ClockId::Monotonic), sample(ClockId::MonotonicRaw));
        // The marker is read behind the samples: where it is the same, they are from before any
        // disruption that is yet to be found. Where it is not, they are of no use.
        let (monotonic, raw) = if self.was_disrupted() {
            self.monotonic.disrupt(cpu::ticks());
            self.raw.disrupt(cpu::ticks());
            (true, true)
        } else {
            (
                self.monotonic.update(samples.0, cpu::ticks()),
                self.raw.update(samples.1, cpu::ticks()),
            )
        };
        page.publish(|clock| match clock {
            // Coarse clocks stand still until the next update, whose time a process
            // can't promise; and not every machine has alarm clocks.
            Clock::RealtimeCoarse
            | Clock::MonotonicCoarse
            | Clock::RealtimeAlarm
            | Clock::BoottimeAlarm => Some(Record {
                source: Source::Kernel,
                ..Record::SYSTEM_CALL
            }),
            Clock::MonotonicRaw => raw.then(|| self.raw.record(Clock::Monotonic))?,
            exact => monotonic.then(|| self.monotonic.record(exact))?,
        });
    }

    /// Whether the hypervisor's marker is another one than at the last call.
    fn was_disrupted(&mut self) -> bool {
        let Some((host, last)) = &mut self.host else {
            return false;
        };
        let marker = host.marker();
        // While the hypervisor writes there is no marker: what it is going to say is not known.
        let is_same = marker.is_some() && marker == *last;
        *last = marker;
        !is_same
    }

    /// The discipline of monotonic time: its rate and its bound.
    #[must_use]
    pub fn discipline(&self) -> &Discipline {
        &self.monotonic
    }

    /// Compares the counter with the kernel's clock on every CPU.
    fn compare_cpus(&self) -> Result<(), Untrusted> {
        let Ok(allowed) = sched_getaffinity(None) else {
            return Ok(());
        };
        (0..CpuSet::MAX_CPU)
            .filter(|cpu| allowed.is_set(*cpu))
            .try_for_each(|cpu| match self.apart_on(cpu, &allowed) {
                0 => Ok(()),
                nanoseconds => Err(Untrusted::Apart { cpu, nanoseconds }),
            })
    }

    /// Compares the counter of one CPU with the others, the next CPU in each call. Call it
    /// about once a second, after an update: firmware can change counters that agreed at
    /// the start, and a CPU that is taken offline and back may have a stopped one.
    ///
    /// # Errors
    /// [`Untrusted::Apart`] when one differed several times in a row.
    pub fn compare_next_cpu(&mut self) -> Result<(), Untrusted> {
        // While the counter is measured anew there is nothing to compare it with.
        if self.monotonic.is_disrupted() {
            return Ok(());
        }
        let Ok(allowed) = sched_getaffinity(None) else {
            return Ok(());
        };
        let is_allowed = |cpu: &usize| allowed.is_set(*cpu);
        let next = (self.next..CpuSet::MAX_CPU).find(is_allowed);
        let Some(cpu) = next.or_else(|| (0..self.next).find(is_allowed)) else {
            return Ok(());
        };
        let nanoseconds = self.apart_on(cpu, &allowed);
        if nanoseconds == 0 {
            (self.next, self.apart) = (cpu + 1, 0);
            return Ok(());
        }
        (self.next, self.apart) = (cpu, self.apart + 1);
        if self.apart < PATIENCE {
            return Ok(());
        }
        Err(Untrusted::Apart { cpu, nanoseconds })
    }

    /// By how many nanoseconds at least the counter of a CPU is off; 0 when the difference
    /// is within the uncertainty.
    fn apart_on(&self, cpu: usize, allowed: &CpuSet) -> u64 {
        let mut only = CpuSet::new();
        only.set(cpu);
        // A CPU that was taken offline meanwhile has no counter to compare.
        if sched_setaffinity(None, &only).is_err() {
            return 0;
        }
        let apart = self.monotonic.outside(&sample(ClockId::Monotonic));
        // This restores the set that was allowed before.
        let _ = sched_setaffinity(None, allowed);
        apart
    }
}

/// The best of eight samples of a clock.
fn sample(clock: ClockId) -> Sample {
    let one = || Sample {
        before: cpu::ticks(),
        time: kernel::nanoseconds(clock),
        after: cpu::ticks(),
    };
    let others = (1..8).map(|_| one());
    let first = one();
    Sample::best(others).map_or(first, |best| Sample::best([first, best]).unwrap_or(best))
}

/// By how much a clock is ahead of the monotonic one.
fn offset(clock: ClockId) -> Option<Offset> {
    let offsets = (0..4).map(|_| {
        let before = kernel::nanoseconds(ClockId::Monotonic);
        let time = kernel::nanoseconds(clock);
        Offset::between(before, time, kernel::nanoseconds(ClockId::Monotonic))
    });
    offsets.min_by_key(|offset| offset.most - offset.least)
}
