//! Keeping a counter to another clock: a publisher's half of source `counter`.

use crate::Error;
use crate::clocks::Clock;
use crate::moment::Moment;
use crate::rate::{NANOSECONDS, NTP_UNIT, Rate};
use crate::record::{ErrorBound, Record};
use crate::timekeeper::{Start, Timekeeper};

/// What a clock said between two readings of the counter.
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

    /// The best of several: the one in which least could happen between the
    /// readings of the counter. What interrupts a sampler makes the others wide.
    pub fn best(samples: impl IntoIterator<Item = Self>) -> Option<Self> {
        samples.into_iter().min_by_key(Self::width)
    }
}

/// By how much one clock is ahead of another, in nanoseconds: at least and at
/// most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// At least.
    pub least: i128,
    /// At most.
    pub most: i128,
}

impl Offset {
    /// From a clock read between two readings of the other.
    pub const fn between(before: i128, time: i128, after: i128) -> Self {
        Self {
            least: time - after,
            most: time - before,
        }
    }

    /// What both say of an offset that doesn't change; the newer, where they
    /// contradict each other: the clock was set.
    const fn narrowed(self, newer: Self) -> Self {
        let least = if self.least > newer.least {
            self.least
        } else {
            newer.least
        };
        let most = if self.most < newer.most {
            self.most
        } else {
            newer.most
        };
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

/// How a counter is kept to a clock.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// For how many nanoseconds a record answers; updates are to come at least
    /// four times as often.
    pub promise: u64,
    /// How far, in parts in 10⁹, the clock's rate may be at any time from its
    /// mean of the last samples kept: what the bound supposes. A clock that is
    /// turned further than that may leave the bound until the next update.
    pub wander: u32,
}

impl Default for Settings {
    /// A promise of 20 ms, a wander of one part in a million.
    ///
    /// A short promise is a small lead: with it a page is so near to the kernel's
    /// clock that its answer falls between those of two system calls around it.
    fn default() -> Self {
        Self {
            promise: 20_000_000,
            wander: 1000,
        }
    }
}

/// By how much the kernel's maximum error of wall time grows, in parts in 10⁹:
/// 500 parts in a million (kernel/time/ntp.c, `second_overflow()`, `MAXFREQ`).
pub const WALL_GROWTH: u32 = 500_000;

/// How many samples the rate is taken from.
const KEPT: usize = 32;

/// How much wider than the best of those kept a sample may be: wider ones come
/// from a sampler that was interrupted, and are no use.
const WIDEST: u64 = 3;

/// Keeps a counter to one of the kernel's clocks, and makes the records of it
/// and of those that go with it.
///
/// *F*, what readers get, is a [`Timekeeper`]'s: it never runs backwards, and a
/// change of rate comes when what was promised before has ended. *K* is the
/// kernel's clock. At each update:
///
/// 1. the best of several samples says how far *F* is from *K*, to half the
///    sample's width; samples that are too wide are rejected;
/// 2. the samples kept, 32 of them a promise apart, say *K*'s rate;
/// 3. *F*'s next rate is that, and the difference shared out over eight
///    promises.
///
/// **The bound**: what the sample said, half its width, and from then on the
/// difference of the two rates, what is uncertain of it, and the
/// [wander](Settings::wander).
///
/// **The lead**: *F* is kept not at *K*, but ahead of it by as much as may be
/// uncertain. So a reader that goes from the kernel's answer to the page's, after
/// a publisher was late, sees no step back; one that goes the other way has its
/// answer raised to the promise's end (see [`Source`](crate::Source)).
///
/// Past a suspend, or when the publisher was stopped for longer than the
/// promise, it begins anew, ahead of *K* and of all that was promised.
#[derive(Clone, Debug)]
pub struct Discipline {
    settings: Settings,
    keeper: Timekeeper,
    kept: [Sample; KEPT],
    count: usize,
    rate: Rate,
    /// Of the rate, in parts in 10⁹.
    uncertain: u64,
    /// The last sample of use; those kept are a promise apart.
    last: Sample,
    difference: i128,
    wall: Option<Offset>,
    boot: Option<Offset>,
    wall_error: Option<u64>,
}

impl Discipline {
    /// Begins with two samples, some time apart: a tenth of a second is well.
    ///
    /// # Errors
    /// [`Error::Frequency`] when they give no rate, [`Error::Promise`] for a
    /// promise that is none.
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
            difference: ahead,
            wall: None,
            boot: None,
            wall_error: None,
        };
        discipline.keep(second);
        discipline.promise(second.after);
        Ok(discipline)
    }

    /// What wall time and boot time are ahead of the clock that is kept to, each
    /// where it is known, and the seconds of atomic time ahead of wall time.
    pub fn offsets(&mut self, wall: Option<Offset>, boot: Option<Offset>, tai: i32) {
        let narrowed = |old: Option<Offset>, new: Option<Offset>| match (old, new) {
            (Some(old), Some(new)) => Some(old.narrowed(new)),
            (_, new) => new,
        };
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

    /// How far the kernel's own wall time may be from true time, in nanoseconds,
    /// where anybody knows: `adjtimex`'s `maxerror`, which the kernel lets grow by
    /// [`WALL_GROWTH`] until it is set again.
    pub fn wall_error(&mut self, nanoseconds: Option<u64>) {
        self.wall_error = nanoseconds;
    }

    /// Takes a sample, and promises time anew from `ticks`, the counter now.
    ///
    /// True when the records are to be published; not when there has been no
    /// sample of use for so long that readers had better ask the kernel.
    pub fn update(&mut self, sample: Sample, ticks: u64) -> bool {
        if !self.keeper.answers(ticks) || !self.keeper.answers(sample.before) {
            self.kept_since(sample);
            return self.begin(sample, ticks);
        }
        if sample.width() > self.narrowest().saturating_mul(WIDEST) {
            let since = self.rate.span(ticks.wrapping_sub(self.last.middle()));
            let since = since.map_or(u64::MAX, |span| (span >> 64) as u64);
            if since > self.settings.promise.saturating_mul(16) {
                // The machine has changed: what was narrow is no measure.
                self.count = 0;
                return false;
            }
            self.promise(ticks);
            return true;
        }
        self.kept_since(sample);
        self.difference = self.keeper.at(sample.middle()).as_nanoseconds() - sample.time;
        self.steer();
        self.promise(ticks);
        true
    }

    /// Keeps a sample and takes the rate from those kept; from as many as tell of
    /// one rate.
    fn kept_since(&mut self, sample: Sample) {
        match self.surprise(&sample) {
            Surprise::None => {}
            Surprise::Turned => {
                self.kept[0] = self.last;
                self.count = 1;
            }
            Surprise::Slept => self.count = 0,
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

    /// Is the sample where the newest one kept, and the rate, have it?
    fn surprise(&self, sample: &Sample) -> Surprise {
        if self.count == 0 {
            return Surprise::None;
        }
        let newest = self.last;
        let passed = sample.middle().checked_sub(newest.middle());
        let Some(passed) = passed.and_then(|ticks| self.rate.span(ticks)) else {
            return Surprise::Slept;
        };
        let passed = (passed >> 64) as i128;
        let off = (sample.time - newest.time - passed).abs();
        let parts = i128::from(self.settings.wander) + i128::from(self.uncertain);
        let expected = half_width(self.rate, sample)
            + half_width(self.rate, &newest)
            + passed * parts / i128::from(NANOSECONDS);
        if off <= expected {
            Surprise::None
        } else if off <= expected + passed / 8 {
            Surprise::Turned
        } else {
            Surprise::Slept
        }
    }

    /// Begins a line at the sample, ahead of it; but not before the kernel's clock
    /// has come to where the last promise ended: until then readers have that.
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

    /// Sets the rate that is to bring the difference to the lead.
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
        // Of the two rates while the current line lasts; before it starts, of
        // whatever rate there is, and that is no further off than the steering.
        let apart = self.rate.parts_from(rate);
        let growth = u64::from(self.settings.wander) + self.uncertain + apart;
        let until = if before(start, ticks) { ticks } else { start };
        let since = self.rate.span(until.wrapping_sub(self.last.middle()));
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

    /// How many nanoseconds a sample is from where this discipline has the clock,
    /// beyond all that may be uncertain: 0 unless the counter that it was taken
    /// with is another one. To be asked within some promises of the last update.
    pub fn outside(&self, sample: &Sample) -> u64 {
        let error = self.keeper.error();
        let since = self.rate.span(sample.middle().abs_diff(self.last.middle()));
        let since = since.map_or(u64::MAX, |span| (span >> 64) as u64);
        let bound = i128::from(error.after(since)) + half_width(self.rate, sample);
        let off = self.keeper.at(sample.middle()).as_nanoseconds() - sample.time;
        u64::try_from(off.abs() - bound).unwrap_or(0)
    }

    /// The bound of the clock that is kept to.
    pub fn error(&self) -> ErrorBound {
        self.keeper.error()
    }

    /// The rate of the clock that is kept to, of all samples kept.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The record to publish for a clock, if it is known; coarse ones are the
    /// last update's.
    pub fn record(&self, clock: Clock) -> Option<Record> {
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
        if self.count < KEPT {
            0
        } else {
            self.count % KEPT
        }
    }

    fn narrowest(&self) -> u64 {
        let kept = &self.kept[..self.count.min(KEPT)];
        kept.iter().map(Sample::width).min().unwrap_or(u64::MAX)
    }
}

/// How far ahead of the kernel's clock readers are kept: as far as it may come
/// from where it was sampled, before the promise has ended.
fn lead(settings: &Settings, rate: Rate, uncertain: u64, sample: &Sample) -> i128 {
    let growth = i128::from(settings.wander) + i128::from(uncertain);
    let grown = growth * i128::from(settings.promise) / i128::from(NANOSECONDS);
    half_width(rate, sample) + grown + 1
}

fn half_width(rate: Rate, sample: &Sample) -> i128 {
    let width = rate.span(sample.width()).unwrap_or(u128::MAX);
    (width >> 65) as i128 + 1
}

/// What a sample says of those before it.
enum Surprise {
    /// Nothing new.
    None,
    /// The kernel's clock has been given another rate.
    Turned,
    /// The counter or the clock stood still, or was set.
    Slept,
}

/// The rate between two samples, and what is uncertain of it in parts in 10⁹.
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

/// Whether tick `a` comes before tick `b`.
const fn before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}
