//! Disciplining a counter to another clock: the publisher's side of source `counter`.

use crate::Error;
use crate::clocks::Clock;
use crate::moment::Moment;
use crate::rate::{NANOSECONDS, NTP_UNIT, Rate};
use crate::record::{ErrorBound, Record};
use crate::timekeeper::{Start, Timekeeper};

/// A reading of a clock between two readings of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The counter before.
    pub before: u64,
    /// The clock, in nanoseconds.
    pub time: i128,
    /// The counter after.
    pub after: u64,
}

impl Sample {
    const fn width(&self) -> u64 {
        self.after.wrapping_sub(self.before)
    }

    const fn middle(&self) -> u64 {
        self.before.wrapping_add(self.width() / 2)
    }

    /// The narrowest of several samples: an interrupt between the readings of the
    /// counter makes a sample wide.
    pub fn best(samples: impl IntoIterator<Item = Self>) -> Option<Self> {
        samples.into_iter().min_by_key(Self::width)
    }
}

/// The offset of one clock from another in nanoseconds, as an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// At least.
    pub least: i128,
    /// At most.
    pub most: i128,
}

impl Offset {
    /// The offset of a clock that was read between two readings of the other.
    pub const fn between(before: i128, time: i128, after: i128) -> Self {
        Self {
            least: time - after,
            most: time - before,
        }
    }

    /// The intersection of two measurements of a constant offset; the newer one if they
    /// are disjoint, because the clock was set in between.
    fn narrowed(self, newer: Self) -> Self {
        let least = self.least.max(newer.least);
        let most = self.most.min(newer.most);
        if least > most {
            newer
        } else {
            Self { least, most }
        }
    }

    const fn middle(self) -> i128 {
        self.least + (self.most - self.least) / 2
    }

    const fn half(self) -> i128 {
        (self.most - self.least + 1) / 2
    }
}

/// The settings of a [`Discipline`].
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// For how many nanoseconds a record is valid; updates should come at least four
    /// times as often.
    pub promise: u64,
    /// The assumption behind the bound: how far, in parts in 10⁹, the clock's rate may
    /// be from its mean over the kept samples. A clock whose rate is changed by more may
    /// leave the bound until the next update.
    pub wander: u32,
}

impl Default for Settings {
    /// A promise of 20 ms, a wander of one part in a million.
    ///
    /// A short promise makes the lead small: the page's time is between those of two
    /// system calls around the read.
    fn default() -> Self {
        Self {
            promise: 20_000_000,
            wander: 1000,
        }
    }
}

/// The growth of the kernel's maximum error of wall time, in parts in 10⁹: 500 parts
/// in a million (kernel/time/ntp.c, `second_overflow()`, `MAXFREQ`).
pub const WALL_GROWTH: u32 = 500_000;

/// The number of samples kept for the rate.
const KEPT: usize = 32;

/// How many times as wide as the narrowest kept sample a sample may be: wider ones are
/// from a sampler that was interrupted, and are rejected.
const WIDEST: u64 = 3;

/// By how many nanoseconds boot time moves away from monotonic time at least when the machine is
/// suspended: a millisecond, which no suspend is shorter than. The kernel rounds each clock by itself,
/// so that measurements of one offset may be a nanosecond apart.
const SUSPENDED: i128 = 1_000_000;

/// For how many promises the rate is measured anew after a disruption: a tenth of a second
/// with the default promise, as at the start.
const MEASURED: u64 = 5;

/// Disciplines a counter to one of the kernel's clocks, and makes the records of that
/// clock and of those at an offset from it.
///
/// *F*, the time of the readers, is that of a [`Timekeeper`]: it never runs backwards,
/// and a change of rate happens when the promise before it has ended. *K* is the
/// kernel's clock. At each update:
///
/// 1. the narrowest of several samples gives the difference between *F* and *K*, to
///    half the sample's width; samples that are too wide are rejected;
/// 2. the kept samples, 32 of them a promise apart, give *K*'s rate;
/// 3. *F*'s next rate is that, corrected so that the difference is gone after eight
///    promises.
///
/// **The bound** is the difference in the sample and half the sample's width. From
/// then on it grows by the difference of the two rates, its uncertainty, and the
/// [wander](Settings::wander).
///
/// **The lead**: *F* is kept not at *K*, but ahead of it by the uncertainty. So a
/// reader that gets the kernel's time while the publisher is late, and then the page's,
/// sees no step back; in the other direction the kernel's time is raised to the end of
/// the promise (see [`Record::read`]).
///
/// When the publisher was stopped for longer than the promise, it starts again, ahead of
/// *K* and of every promise.
///
/// **A disruption** is an event after which no earlier sample says anything about the
/// counter: the counter went back, the counter or the clock stood still (a suspend), boot
/// time moved away from monotonic time (another kind of suspend), or
/// [`disrupt`](Self::disrupt) was called (a live migration). The records then have no
/// answer, until the rate has been measured anew over five promises.
#[derive(Clone, Debug)]
pub struct Discipline {
    settings: Settings,
    keeper: Timekeeper,
    kept: [Sample; KEPT],
    count: usize,
    rate: Rate,
    /// The uncertainty of the rate, in parts in 10⁹.
    uncertain: u64,
    /// The last sample that was not rejected; the kept ones are a promise apart.
    last: Sample,
    /// No sample from before the disruption is kept, and the rate is being measured.
    is_disrupted: bool,
    difference: i128,
    wall: Option<Offset>,
    boot: Option<Offset>,
    wall_error: Option<u64>,
}

impl Discipline {
    /// Starts with two samples, a tenth of a second apart or so.
    ///
    /// # Errors
    /// [`Error::Frequency`] if they give no rate, [`Error::Promise`] for a promise
    /// shorter than a tick or longer than 2⁶² ticks.
    pub fn new(settings: Settings, first: Sample, second: Sample) -> Result<Self, Error> {
        let (rate, uncertain) = rate(&first, &second).ok_or(Error::Frequency)?;
        let ahead = lead(&settings, rate, uncertain, &second);
        let start = Start {
            frequency: 1,
            ticks: second.middle(),
            monotonic: Moment::from_nanoseconds(second.time + ahead),
            wall: Moment::default(),
            promise: settings.promise,
            tai: 0,
        };
        let mut discipline = Self {
            settings,
            keeper: Timekeeper::with_rate(start, rate)?,
            kept: [first; KEPT],
            count: 1,
            rate,
            uncertain,
            last: second,
            is_disrupted: false,
            difference: ahead,
            wall: None,
            boot: None,
            wall_error: None,
        };
        discipline.keep(second);
        discipline.promise(second.after);
        Ok(discipline)
    }

    /// Sets the offsets of wall time and boot time from the disciplined clock, where
    /// they are known, and the offset of atomic time from wall time in seconds; `ticks` is
    /// the counter now. Boot time that moved is a disruption.
    pub fn offsets(&mut self, ticks: u64, wall: Option<Offset>, boot: Option<Offset>, tai: i32) {
        let narrowed = |old: Option<Offset>, new: Option<Offset>| match (old, new) {
            (Some(old), Some(new)) => Some(old.narrowed(new)),
            (_, new) => new,
        };
        // Monotonic time stands still in a suspend and boot time does not.
        let moved = |(old, new): (Offset, Offset)| {
            new.least - old.most > SUSPENDED || old.least - new.most > SUSPENDED
        };
        if self.boot.zip(boot).is_some_and(moved) {
            self.disrupt(ticks);
        }
        self.wall = narrowed(self.wall, wall);
        self.boot = narrowed(self.boot, boot);
        if let Some(wall) = self.wall {
            self.keeper.set_wall_offset(wall.middle());
        }
        if let Some(boot) = self.boot {
            self.keeper.set_boot_offset(boot.middle());
        }
        self.keeper.set_tai(tai);
    }

    /// Sets how far the kernel's own wall time may be from true time, in nanoseconds,
    /// if that is known: `adjtimex`'s `maxerror`, which grows by [`WALL_GROWTH`] until
    /// it is set again.
    pub fn wall_error(&mut self, nanoseconds: Option<u64>) {
        self.wall_error = nanoseconds;
    }

    /// Adds a sample, and makes a new promise from `ticks`, the counter now.
    ///
    /// Returns whether the records are to be published. They are not when all samples
    /// were rejected for so long that readers should make the system call, nor while the
    /// kernel's clock has not reached the end of the last promise. After a disruption they
    /// are, so that readers stop using those that are published.
    pub fn update(&mut self, sample: Sample, ticks: u64) -> bool {
        if matches!(self.deviation(&sample), Deviation::Step) {
            // The sample may be from before it in part.
            self.disrupt(ticks);
            return true;
        }
        if self.is_disrupted {
            self.measure(sample, ticks);
            return true;
        }
        if !self.keeper.answers(ticks) || !self.keeper.answers(sample.before) {
            self.add_sample(sample);
            return self.begin(sample, ticks);
        }
        if sample.width() > self.narrowest().saturating_mul(WIDEST) {
            let since = self.rate.span(ticks.wrapping_sub(self.last.middle()));
            let since = since.map_or(u64::MAX, |span| (span >> 64) as u64);
            if since > self.settings.promise.saturating_mul(16) {
                // The machine has changed: the narrowest sample is no measure any more.
                self.count = 0;
                return false;
            }
            self.promise(ticks);
            return true;
        }
        self.add_sample(sample);
        self.difference = self.keeper.at(sample.middle()).as_nanoseconds() - sample.time;
        self.steer();
        self.promise(ticks);
        true
    }

    /// Ends the validity of all records at `ticks`, the counter now, and forgets all samples:
    /// the counter is not what was measured, since the machine was migrated, restored from
    /// a snapshot or suspended.
    ///
    /// The [records](Self::record) have no answer from then on, and have to be published.
    /// Readers of clocks that must not run backwards raise the system call's result to
    /// what was promised before. The [updates](Self::update) measure the counter anew.
    pub fn disrupt(&mut self, ticks: u64) {
        self.keeper.end(ticks);
        self.count = 0;
        self.is_disrupted = true;
    }

    /// Whether the counter is being measured anew after a [disruption](Self::disrupt).
    #[must_use]
    pub fn is_disrupted(&self) -> bool {
        self.is_disrupted
    }

    /// Measures the rate after a disruption, and starts again when that is done.
    fn measure(&mut self, sample: Sample, ticks: u64) {
        if sample.width() > self.narrowest().saturating_mul(WIDEST) {
            return;
        }
        self.add_sample(sample);
        let measured = sample.time - self.kept[self.oldest()].time;
        if measured >= i128::from(self.settings.promise.saturating_mul(MEASURED)) {
            self.is_disrupted = !self.begin(sample, ticks);
        }
    }

    /// Adds a sample, and computes the rate from the kept samples that have the same
    /// rate as it.
    fn add_sample(&mut self, sample: Sample) {
        match self.deviation(&sample) {
            Deviation::None => {}
            Deviation::Rate => {
                self.kept[0] = self.last;
                self.count = 1;
            }
            // `update` has forgotten all samples.
            Deviation::Step => {}
        }
        if self.count > 0 {
            let oldest = self.kept[self.oldest()];
            if let Some((rate, uncertain)) = rate(&oldest, &sample) {
                self.rate = rate;
                self.uncertain = uncertain;
            }
        }
        self.last = sample;
        let since = sample.time - self.kept[self.newest()].time;
        if self.count == 0 || since >= i128::from(self.settings.promise) {
            self.keep(sample);
        }
    }

    /// Whether the sample is where the newest one and the rate predict it.
    fn deviation(&self, sample: &Sample) -> Deviation {
        if self.count == 0 {
            return Deviation::None;
        }
        let newest = self.last;
        let passed = sample.middle().checked_sub(newest.middle());
        let Some(passed) = passed.and_then(|ticks| self.rate.span(ticks)) else {
            return Deviation::Step;
        };
        let passed = (passed >> 64) as i128;
        let off = (sample.time - newest.time - passed).abs();
        let parts = i128::from(self.settings.wander) + i128::from(self.uncertain);
        let expected = half_width(self.rate, sample)
            + half_width(self.rate, &newest)
            + passed * parts / i128::from(NANOSECONDS);
        if off <= expected {
            Deviation::None
        } else if off <= expected + passed / 8 {
            Deviation::Rate
        } else {
            Deviation::Step
        }
    }

    /// Starts a line ahead of the sample, unless the kernel's clock has not yet reached
    /// the end of the last promise: until then readers get that.
    fn begin(&mut self, sample: Sample, ticks: u64) -> bool {
        let since = ticks.wrapping_sub(sample.middle());
        let now = Moment::from_nanoseconds(sample.time).after(self.rate.span(since).unwrap_or(0));
        let ahead = now.moved(self.lead(&sample));
        if ahead < self.keeper.ceiling() {
            return false;
        }
        self.keeper.restart(ticks, ahead, self.rate);
        self.difference = self.keeper.at(ticks).as_nanoseconds() - now.as_nanoseconds();
        self.promise(ticks);
        true
    }

    /// Sets the rate that brings the difference to the lead.
    fn steer(&mut self) {
        let sample = self.last;
        let off = self.difference - self.lead(&sample);
        let over = self.settings.promise as i128 * 8;
        let most = NTP_UNIT as i128 / 2000;
        let correction = (-off * NTP_UNIT as i128 / over).clamp(-most, most);
        if let Ok(rate) = self.rate.corrected(correction as i64) {
            self.keeper.want(rate);
        }
    }

    fn lead(&self, sample: &Sample) -> i128 {
        lead(&self.settings, self.rate, self.uncertain, sample)
    }

    fn promise(&mut self, ticks: u64) {
        self.keeper.update(ticks);
        let (start, rate) = self.keeper.current();
        let sample = self.last;
        // The difference of the two rates while the current line is valid; before it
        // starts, that of the former line's rate, which is not larger than the correction.
        let apart = self.rate.parts_from(rate);
        let growth = u64::from(self.settings.wander) + self.uncertain + apart;
        // No line starts before `ticks`: an update begins one there or later.
        let since = self.rate.span(start.wrapping_sub(self.last.middle()));
        let since = since.map_or(u64::MAX, |span| (span >> 64) as u64);
        let at_start = ErrorBound {
            at_start: clamp(self.difference.abs() + half_width(self.rate, &sample) + 4),
            growth: clamp(growth as i128),
        };
        self.keeper.set_error(ErrorBound {
            at_start: clamp(at_start.after(since) as i128),
            ..at_start
        });
    }

    /// How many nanoseconds a sample is outside the bound of this discipline: 0, unless
    /// it was taken with another counter. Valid for some promises after the last update.
    pub fn outside(&self, sample: &Sample) -> u64 {
        let error = self.keeper.error();
        let since = self.rate.span(sample.middle().abs_diff(self.last.middle()));
        let since = since.map_or(u64::MAX, |span| (span >> 64) as u64);
        let bound = i128::from(error.after(since)) + half_width(self.rate, sample);
        let off = self.keeper.at(sample.middle()).as_nanoseconds() - sample.time;
        u64::try_from(off.abs() - bound).unwrap_or(0)
    }

    /// The bound of the disciplined clock.
    pub fn error(&self) -> ErrorBound {
        self.keeper.error()
    }

    /// The rate of the disciplined clock, over all kept samples.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The record to publish for a clock; `None` if its offset is not known. Coarse
    /// clocks have the time of the last update. While the counter is
    /// [disrupted](Self::disrupt) no record has an answer.
    pub fn record(&self, clock: Clock) -> Option<Record> {
        if self.is_disrupted {
            return match clock {
                Clock::MonotonicCoarse | Clock::RealtimeCoarse => Some(Record::SYSTEM_CALL),
                Clock::MonotonicRaw => None,
                exact => Some(self.keeper.record(exact)),
            };
        }
        let offset = match clock {
            Clock::Boottime | Clock::BoottimeAlarm => Some(self.boot?),
            Clock::Monotonic | Clock::MonotonicCoarse => None,
            Clock::MonotonicRaw => return None,
            Clock::Realtime | Clock::RealtimeAlarm | Clock::RealtimeCoarse | Clock::Tai => {
                Some(self.wall?)
            }
        };
        let mut record = self.keeper.record(clock);
        let half = offset.map_or(0, Offset::half);
        record.error.at_start = clamp(i128::from(record.error.at_start) + half);
        if clock.is_wall() {
            record.error = match self.wall_error {
                Some(error) => ErrorBound {
                    at_start: clamp(i128::from(record.error.at_start) + i128::from(error)),
                    growth: record.error.growth.saturating_add(WALL_GROWTH),
                },
                None => ErrorBound {
                    at_start: ErrorBound::UNKNOWN,
                    growth: 0,
                },
            };
        }
        Some(record)
    }

    fn keep(&mut self, sample: Sample) {
        self.kept[self.count % KEPT] = sample;
        self.count += 1;
    }

    fn newest(&self) -> usize {
        (self.count + KEPT - 1) % KEPT
    }

    fn oldest(&self) -> usize {
        self.count.saturating_sub(KEPT) % KEPT
    }

    fn narrowest(&self) -> u64 {
        let kept = &self.kept[..self.count.min(KEPT)];
        kept.iter().map(Sample::width).min().unwrap_or(u64::MAX)
    }
}

/// How far readers are kept ahead of the kernel's clock: as far as that clock may get
/// from its prediction before the promise ends.
fn lead(settings: &Settings, rate: Rate, uncertain: u64, sample: &Sample) -> i128 {
    let growth = i128::from(settings.wander) + i128::from(uncertain);
    let grown = growth * i128::from(settings.promise) / i128::from(NANOSECONDS);
    half_width(rate, sample) + grown + 1
}

fn half_width(rate: Rate, sample: &Sample) -> i128 {
    let width = rate.span(sample.width()).unwrap_or(u128::MAX);
    (width >> 65) as i128 + 1
}

/// How a sample compares with those before it.
enum Deviation {
    /// As predicted.
    None,
    /// The kernel's clock has another rate.
    Rate,
    /// The counter or the clock stood still or was set.
    Step,
}

/// The rate between two samples, and its uncertainty in parts in 10⁹.
fn rate(first: &Sample, second: &Sample) -> Option<(Rate, u64)> {
    let ticks = second.middle().checked_sub(first.middle())?;
    let nanoseconds = u64::try_from(second.time - first.time).ok()?;
    if nanoseconds == 0 {
        return None;
    }
    let rate = Rate::from_ratio(nanoseconds, ticks).ok()?;
    let halves = (u128::from(first.width()) + u128::from(second.width())).div_ceil(2) + 2;
    let parts = halves * u128::from(NANOSECONDS) / u128::from(ticks);
    Some((rate, parts.min(u128::from(u32::MAX)) as u64))
}

fn clamp(value: i128) -> u32 {
    value.clamp(0, u32::MAX as i128) as u32
}
