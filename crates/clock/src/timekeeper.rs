//! The writer's side for a kernel: records from the state of its timekeeper.

mod events;
mod publish;

pub use publish::Shape;

use crate::Error;
use crate::clocks::Clock;
use crate::leap::Leap;
use crate::line::Line;
use crate::moment::Moment;
use crate::rate::{NANOSECONDS, NTP_UNIT, Rate};
use crate::record::{ErrorBound, Record, Source};

/// The fastest slew, in [`NTP_UNIT`]ths: 500 parts in a million, as Linux's
/// `adjtime` has it (kernel/time/ntp.c, `MAX_TICKADJ`).
pub const MAX_SLEW: i64 = 500 << 16;

/// The state with which a kernel starts keeping time.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The counter's frequency in Hz.
    pub frequency: u64,
    /// The counter now.
    pub ticks: u64,
    /// Monotonic time now: 0 at boot.
    pub monotonic: Moment,
    /// Wall time now: the real-time clock's, or 1970.
    pub wall: Moment,
    /// The promise: for how many nanoseconds a record is valid. Updates must come
    /// more often than that; twice as often leaves a whole period for a late one. A
    /// change of rate waits for the end of the promise before it.
    pub promise: u64,
    /// International atomic time minus wall time, in seconds: 37 since 2017,
    /// 0 when it is not known.
    pub tai: i32,
}

/// Keeps the time of a machine with one counter, and makes the records for
/// readers in user space.
///
/// # Why time never runs backwards
/// Monotonic time is one function *F* of the counter, made of lines that meet.
/// A record promises *F* up to a tick, its end, and no further: for a counter past
/// that end it is not valid.
///
/// 1. An update never changes *F* before the end of any record published
///    earlier: a new rate begins there, at the value that the old line has
///    there. Until then the record carries both lines.
/// 2. So a reader's result is *F*(ticks) **whichever record it read**, however
///    long ago, and wherever it was interrupted: no order is needed between
///    reading the record and reading the counter.
/// 3. *F* does not fall: rates are not negative, and each line starts where the
///    one before it ends.
/// 4. So if one read happens before another, the second is not less, provided
///    that the counter of the second is not less: that the counters of all CPUs
///    agree, and that reading the counter isn't moved before the call (x86:
///    `rdtscp` or `lfence; rdtsc`; AArch64: `isb; mrs`).
///
/// It does not matter how fast a publisher writes, whether it is interrupted while
/// it writes, or in which order CPUs see its stores. Linux's readers wait for the
/// writer instead, and where they can't, in `ktime_get_mono_fast_ns()`, time may
/// step back when the rate falls (kernel/time/timekeeping.c).
///
/// Where no line is valid, the reader makes the kernel's system call, whose result
/// is [`at`](Self::at): the same *F*, continued at its last rate.
///
/// The cost is that a change of rate waits for at most one promise. Wall time is
/// monotonic time plus an offset, and can be stepped at once.
#[derive(Clone, Debug)]
pub struct Timekeeper {
    nominal: Rate,
    /// With the frequency correction, without the slew.
    wanted: Rate,
    promise: u64,
    former: Line,
    current: Line,
    /// The current line's rate without its slew.
    unslewed: Rate,
    /// The tick at which the current line's slew is complete.
    slew_end: Option<u64>,
    /// A slew was requested and has no line yet.
    slew_asked: bool,
    /// The remaining slew, in 2⁻⁶⁴ ns, with the current line's part.
    slew: i128,
    raw_former: Line,
    raw: Line,
    updated: u64,
    wall: i128,
    boot: i128,
    tai: i32,
    leap: Option<Leap>,
    error: ErrorBound,
}

impl Timekeeper {
    /// Starts keeping time.
    ///
    /// # Errors
    /// [`Error::Frequency`] for 0 Hz, [`Error::Promise`] for a promise of no
    /// tick or of 2⁶² ticks or more.
    pub fn new(start: Start) -> Result<Self, Error> {
        Self::with_rate(start, Rate::from_frequency(start.frequency)?)
    }

    /// Starts keeping time with a counter of this rate: where a hypervisor says the rate and not
    /// the frequency. [`Start::frequency`] is not used.
    ///
    /// # Errors
    /// [`Error::Promise`] for a promise of no tick or of 2⁶² ticks or more.
    pub fn with_rate(start: Start, rate: Rate) -> Result<Self, Error> {
        let promise = rate
            .ticks(start.promise)
            .filter(|ticks| (1..1 << 62).contains(ticks))
            .ok_or(Error::Promise)?;
        let line = Line {
            start: start.ticks,
            length: promise,
            rate,
            base: start.monotonic,
        };
        Ok(Self {
            nominal: rate,
            wanted: rate,
            promise,
            former: Line::NONE,
            current: line,
            unslewed: rate,
            slew_end: None,
            slew_asked: false,
            slew: 0,
            raw_former: Line::NONE,
            raw: line,
            updated: start.ticks,
            wall: start.wall.as_nanoseconds() - start.monotonic.as_nanoseconds(),
            boot: 0,
            tai: start.tai,
            leap: None,
            error: ErrorBound::default(),
        })
    }

    /// Corrects the frequency, `adjtimex`'s `freq`, from the end of the promise on.
    /// It replaces an earlier correction.
    ///
    /// # Errors
    /// [`Error::Correction`] beyond one tenth.
    pub fn correct(&mut self, correction: i64) -> Result<(), Error> {
        self.wanted = self.nominal.corrected(correction)?;
        Ok(())
    }

    /// Sets the rate from the end of the promise on.
    pub(crate) fn want(&mut self, rate: Rate) {
        self.wanted = rate;
    }

    /// Slews time by `nanoseconds`, as `adjtime` does. It replaces what remains of an
    /// earlier slew.
    pub fn slew(&mut self, nanoseconds: i64) {
        // The current line's part is promised, and stays.
        self.slew = ((nanoseconds as i128) << 64).saturating_add(self.slewed(&self.current));
        self.slew_end = None;
        self.slew_asked = true;
    }

    /// Sets wall time, at once, as `settimeofday` does. It cancels a leap second.
    pub fn set_wall(&mut self, ticks: u64, wall: Moment) {
        self.wall = wall.as_nanoseconds() - self.at(ticks).as_nanoseconds();
        self.leap = None;
    }

    /// Sets the offset of wall time from monotonic time, in nanoseconds.
    pub(crate) fn set_wall_offset(&mut self, nanoseconds: i128) {
        self.wall = nanoseconds;
    }

    /// Sets the offset of boot time from monotonic time, in nanoseconds.
    pub(crate) fn set_boot_offset(&mut self, nanoseconds: i128) {
        self.boot = nanoseconds;
    }

    /// The counter at the last [`update`](Self::update), or start.
    #[inline]
    pub const fn updated(&self) -> u64 {
        self.updated
    }

    /// Whether one of the two lines is valid at `ticks`.
    pub(crate) fn answers(&self, ticks: u64) -> bool {
        self.current.at(ticks).is_some() || self.former.at(ticks).is_some()
    }

    /// Where the current line starts, and its rate.
    pub(crate) fn current(&self) -> (u64, Rate) {
        (self.current.start, self.current.rate)
    }

    /// The latest time that was promised.
    pub(crate) fn ceiling(&self) -> Moment {
        self.current.after(self.current.length)
    }

    /// Starts again at `ticks`, after the end of every promise, with a rate and a
    /// time not below the [`ceiling`](Self::ceiling).
    pub(crate) fn restart(&mut self, ticks: u64, base: Moment, rate: Rate) {
        self.nominal = rate;
        self.wanted = rate;
        self.unslewed = rate;
        self.slew = 0;
        self.slew_asked = false;
        self.slew_end = None;
        self.former = Line::NONE;
        self.current = Line {
            start: ticks,
            length: self.promise,
            rate,
            base,
        };
        self.updated = ticks;
    }

    /// Ends both lines at `ticks`, the counter now: no reader of the records has an answer
    /// from then on, and the [`ceiling`](Self::ceiling) stays what it was.
    pub(crate) fn end(&mut self, ticks: u64) {
        self.former = Line::NONE;
        self.current = Line {
            start: ticks,
            length: 0,
            rate: self.current.rate,
            base: self.ceiling(),
        };
        self.updated = ticks;
    }

    /// Sets the offset of atomic time from wall time, in seconds.
    pub fn set_tai(&mut self, seconds: i32) {
        self.tai = seconds;
    }

    /// Sets the next leap second, if there is one.
    pub fn set_leap(&mut self, leap: Option<Leap>) {
        self.leap = leap;
    }

    /// Sets how far off the time may be.
    pub fn set_error(&mut self, error: ErrorBound) {
        self.error = error;
    }

    pub(crate) fn error(&self) -> ErrorBound {
        self.error
    }

    /// Makes a new promise from `ticks`, the counter now. To be called at each timer
    /// interrupt; after it, all records have to be published.
    pub fn update(&mut self, ticks: u64) {
        self.updated = ticks;
        let end = ticks.wrapping_add(self.promise);
        self.raw_former = self.raw.until(ticks);
        self.raw = self.raw.restarted(ticks).until(end);
        self.pass_leap(ticks);
        if before(ticks, self.current.start) {
            // A change of rate is announced and has not happened: there is no third line.
            self.current = self.current.until(end);
            return;
        }
        // After a late update: system calls had results beyond the promise.
        let promised = later(self.current.end(), ticks);
        let change = if self.leap_is_near(ticks) {
            None
        } else if self.wanted != self.unslewed || self.slew_asked {
            Some(promised)
        } else {
            self.slew_end
                .filter(|slewed| !before(end, *slewed))
                .map(|slewed| later(slewed, promised))
        };
        match change {
            Some(at) => self.turn(at, end),
            None => {
                self.former = self.current.until(ticks);
                self.current = self.current.restarted(ticks).until(end);
                self.slew = self.slew.saturating_sub(self.slewed(&self.former));
            }
        }
    }

    /// Starts a line of another rate at tick `at`.
    fn turn(&mut self, at: u64, end: u64) {
        self.former = self.current.until(at);
        self.slew = self.slew.saturating_sub(self.slewed(&self.former));
        self.slew_asked = false;
        let rest = self.current.restarted(at);
        self.unslewed = self.wanted;
        let (rate, length) = self.slewed_rate();
        self.slew_end = length.map(|ticks| at.wrapping_add(ticks));
        self.current = Line { rate, ..rest };
        // A slew takes two promises at least, so it does not end before this.
        self.current = self.current.until(later(end, at.wrapping_add(1)));
    }

    /// The rate that does the slew, and for how many ticks: at most [`MAX_SLEW`], for
    /// at least two promises.
    fn slewed_rate(&mut self) -> (Rate, Option<u64>) {
        let nanoseconds = self.slew / (1 << 64);
        if nanoseconds == 0 {
            self.slew = 0;
            return (self.wanted, None);
        }
        let over = nanoseconds * NTP_UNIT as i128;
        let least = self.promise as i128 * 2;
        let fastest = self
            .wanted
            .ticks((over / MAX_SLEW as i128).unsigned_abs().min(1 << 62) as u64)
            .map_or(least, i128::from);
        let length = fastest.min(1 << 62).max(least) as u64;
        // The slew per tick, in 2⁻⁶⁴ ns, rounded towards 0: never more than requested.
        let each = self.slew.checked_div(length.into()).unwrap_or(0);
        let rate = self.wanted.plus(each);
        (rate, Some(length))
    }

    /// The part of the slew that a part of the current line does.
    fn slewed(&self, line: &Line) -> i128 {
        if line.rate == self.unslewed {
            return 0;
        }
        let span = |rate: Rate| {
            rate.span(line.length)
                .map_or(i128::MAX, |span| span as i128)
        };
        span(line.rate).saturating_sub(span(self.unslewed))
    }

    /// Monotonic time at a tick, for the kernel's own system calls. After the end of
    /// the promise it continues at the last rate.
    pub fn at(&self, ticks: u64) -> Moment {
        if !before(ticks, self.current.start) {
            return self.current.after(ticks.wrapping_sub(self.current.start));
        }
        if self.former.length == 0 || before(ticks, self.former.start) {
            // The counter of this CPU is behind that of the CPU that updated.
            return if self.former.length == 0 {
                self.current.base
            } else {
                self.former.base
            };
        }
        self.former.after(ticks.wrapping_sub(self.former.start))
    }

    /// The record to publish for a clock.
    pub fn record(&self, clock: Clock) -> Record {
        let offset = self.offset(clock);
        if clock.is_coarse() {
            return self.coarse(self.at(self.updated).moved(offset));
        }
        let (former, current) = match clock {
            Clock::MonotonicRaw => (self.raw_former, self.raw),
            _ => (self.former, self.current),
        };
        let (former, current) = (former.moved(offset), current.moved(offset));
        match clock {
            Clock::Realtime | Clock::RealtimeAlarm => self.wall_lines(former, current),
            _ => self.lines(former, current, !clock.is_wall()),
        }
    }

    /// The record of a clock that has this time until the next update.
    fn coarse(&self, time: Moment) -> Record {
        Record {
            error: self.error,
            ..Record::fixed(time)
        }
    }

    fn lines(&self, former: Line, current: Line, monotonic: bool) -> Record {
        Record {
            source: Source::Counter { monotonic },
            current,
            former,
            error: self.error,
        }
    }

    /// The offset of a clock from monotonic time, in nanoseconds.
    fn offset(&self, clock: Clock) -> i128 {
        match clock {
            Clock::Monotonic | Clock::MonotonicRaw | Clock::MonotonicCoarse => 0,
            Clock::Boottime | Clock::BoottimeAlarm => self.boot,
            Clock::Realtime | Clock::RealtimeAlarm | Clock::RealtimeCoarse => self.wall,
            Clock::Tai => self.wall + self.tai as i128 * NANOSECONDS as i128,
        }
    }

    /// Wall time's record: where a leap second is near, one line ends at it and the other
    /// begins.
    fn wall_lines(&self, former: Line, current: Line) -> Record {
        let (former, current) = match self.leap_tick() {
            Some((leap, at)) if before(at, self.current.end()) => {
                if before(self.updated, self.current.start) {
                    // Both lines are needed before the leap second: none is left for after it.
                    (former, current.until(at))
                } else {
                    let after = current.restarted(at).moved(leap.step());
                    (current.until(at), after)
                }
            }
            _ => (former, current),
        };
        self.lines(former, current, false)
    }

    /// The next leap second and the tick at which it happens, if it happens on the
    /// current line.
    fn leap_tick(&self) -> Option<(Leap, u64)> {
        let leap = self.leap?;
        let base = self.current.moved(self.wall).base;
        let until = Moment::from_seconds(leap.at()).as_nanoseconds() - base.as_nanoseconds();
        // The first tick at which wall time is the second or more: the base's fraction is
        // part of it.
        let ticks = match u64::try_from(until) {
            Ok(0) | Err(_) if until <= 0 => 0,
            Ok(nanoseconds) => self.current.rate.ticks_from(base.fraction, nanoseconds)?,
            Err(_) => return None,
        };
        (ticks < 1 << 62).then(|| (leap, self.current.start.wrapping_add(ticks)))
    }

    fn leap_is_near(&self, ticks: u64) -> bool {
        self.leap_tick()
            .is_some_and(|(_, at)| before(at, ticks.wrapping_add(self.promise.saturating_mul(3))))
    }

    fn pass_leap(&mut self, ticks: u64) {
        let due = self.leap_tick().filter(|(_, at)| !before(ticks, *at));
        if let Some((leap, _)) = due {
            self.wall += leap.step();
            self.tai = self
                .tai
                .wrapping_sub((leap.step() / NANOSECONDS as i128) as i32);
            self.leap = None;
        }
    }
}

/// Whether tick `a` comes before tick `b`, of two less than 2⁶³ apart.
const fn before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}

const fn later(a: u64, b: u64) -> u64 {
    if before(a, b) { b } else { a }
}
