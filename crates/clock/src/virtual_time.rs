//! Virtual time: wall time moved, time at another rate, time that stands still.

mod words;

use crate::Error;
use crate::clocks::Clock;
use crate::line::Line;
use crate::moment::Moment;
use crate::rate::{NANOSECONDS, Rate};
use crate::record::{Record, Source};

/// Readings of the kernel's clocks, in nanoseconds, taken one right after another.
#[derive(Clone, Copy, Debug)]
pub struct KernelTime {
    /// `CLOCK_REALTIME_COARSE`, read before `realtime`: at most one timer tick behind it.
    pub realtime_coarse: u64,
    /// `CLOCK_REALTIME`; up to the year 2554.
    pub realtime: u64,
    /// `CLOCK_MONOTONIC`.
    pub monotonic: u64,
    /// `CLOCK_MONOTONIC_RAW`.
    pub raw: u64,
    /// `CLOCK_BOOTTIME`.
    pub boottime: u64,
    /// `CLOCK_TAI` minus `CLOCK_REALTIME`, in nanoseconds.
    pub tai: i64,
}

impl KernelTime {
    /// The reading of a clock. `CLOCK_MONOTONIC_COARSE` has none of its own here, and that of
    /// its exact clock is given.
    fn of(&self, clock: Clock) -> i128 {
        let nanoseconds = match clock {
            Clock::Realtime | Clock::RealtimeAlarm | Clock::Tai => self.realtime,
            Clock::RealtimeCoarse => self.realtime_coarse,
            Clock::Monotonic | Clock::MonotonicCoarse => self.monotonic,
            Clock::MonotonicRaw => self.raw,
            Clock::Boottime | Clock::BoottimeAlarm => self.boottime,
        };
        let tai = if clock == Clock::Tai { self.tai } else { 0 };
        i128::from(nanoseconds) + i128::from(tai)
    }
}

/// How virtual time advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// At a multiple of real time: numerator and denominator, both above 0.
    Rate(u32, u32),
    /// Not at all.
    Frozen,
    /// By this many nanoseconds at each read of a clock, and not otherwise. Each
    /// process counts its own reads.
    EachRead(u64),
}

impl Course {
    fn rate(self) -> Result<Rate, Error> {
        match self {
            Self::Rate(0, _) | Self::Rate(_, 0) => Err(Error::Frequency),
            Self::Rate(numerator, denominator) => Rate::NANOSECOND.scaled(numerator, denominator),
            Self::Frozen => Ok(Rate::FROZEN),
            Self::EachRead(nanoseconds) => Ok(Rate::from_words(nanoseconds, 0)),
        }
    }
}

/// A virtual clock as a function of one of the kernel's clocks, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Track {
    driver: Clock,
    former: Line,
    current: Line,
}

impl Track {
    /// Advances as its driver does from `at` on, and has the value `base` before:
    /// a driver's reading below `at` must not expose real time.
    fn new(driver: Clock, at: u64, base: Moment) -> Self {
        let current = Line {
            start: at,
            length: u64::MAX - at,
            rate: Rate::NANOSECOND,
            base,
        };
        let former = Line {
            start: 0,
            length: at,
            rate: Rate::FROZEN,
            base,
        };
        Self {
            driver,
            former,
            current,
        }
    }

    /// Changes the rate at tick `at`.
    fn turn(&mut self, at: u64, rate: Rate) {
        self.former = self.current.until(at);
        self.current = Line {
            start: at,
            length: u64::MAX - at,
            rate,
            base: self.current.after(at - self.current.start),
        };
    }

    /// The time when the kernel's clocks are at `now`.
    fn read(&self, course: Course, now: &KernelTime) -> Moment {
        if let Course::EachRead(_) = course {
            return self.current.base;
        }
        let ticks = now.of(self.driver) as u64;
        if ticks >= self.current.start {
            self.current.after(ticks - self.current.start)
        } else {
            self.former.after(ticks.saturating_sub(self.former.start))
        }
    }

    /// Whether the current line is valid when the kernel's clocks are at `now`.
    fn has_turned(&self, now: &KernelTime) -> bool {
        now.of(self.driver) as u64 >= self.current.start
    }

    fn record(&self, course: Course) -> Record {
        if let Course::EachRead(_) = course {
            // Reads are counted from 0.
            return Record {
                source: Source::Reads,
                current: Line {
                    start: 0,
                    length: u64::MAX,
                    ..self.current
                },
                ..Record::SYSTEM_CALL
            };
        }
        Record {
            source: Source::KernelClock(self.driver.id() as u8),
            current: self.current,
            former: self.former,
            ..Record::SYSTEM_CALL
        }
    }

    fn moved(&self, nanoseconds: i128) -> Self {
        Self {
            driver: self.driver,
            former: self.former.moved(nanoseconds),
            current: self.current.moved(nanoseconds),
        }
    }
}

/// Which clocks virtual time moves, and which ones it scales or freezes.
///
/// | | [`step`](VirtualTime::step), [`set`](VirtualTime::set) | [`advance`](VirtualTime::advance) | [`run`](VirtualTime::run) |
/// | --- | --- | --- | --- |
/// | `Usual` | wall | none | wall, monotonic |
/// | `Wall` | wall | none | wall |
/// | `Monotonic` | none | monotonic | monotonic |
/// | `All` | wall | monotonic | wall, monotonic |
///
/// *Wall* are the clocks for which [`Clock::is_wall`] is true, *monotonic* all
/// others. A clock to which nothing applies is the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clocks {
    /// A date or an offset moves the wall clocks, as setting a machine's clock does; a
    /// rate or a freeze applies to all clocks, so that they agree on how much time passes.
    #[default]
    Usual,
    /// The wall clocks alone: waits on monotonic clocks are real ones.
    Wall,
    /// The monotonic clocks alone.
    Monotonic,
    /// All clocks, with offsets too.
    All,
}

impl Clocks {
    /// Whether a date or an offset moves the wall clocks.
    pub const fn moves_wall(self) -> bool {
        !matches!(self, Self::Monotonic)
    }

    /// Whether an offset moves the monotonic clocks.
    pub const fn moves_monotonic(self) -> bool {
        matches!(self, Self::Monotonic | Self::All)
    }

    /// Whether a course applies to the wall clocks.
    pub const fn runs_wall(self) -> bool {
        !matches!(self, Self::Monotonic)
    }

    /// Whether a course applies to the monotonic clocks.
    pub const fn runs_monotonic(self) -> bool {
        !matches!(self, Self::Wall)
    }
}

/// Virtual time over the kernel's clocks, made into records.
///
/// As long as it is only stepped or set, wall time is the kernel's moved by an
/// offset: it follows when the machine's clock is set. From the first [`Course`]
/// on, the clocks that the course applies to run on kernel clocks that cannot
/// be set. All other clocks are the kernel's own.
///
/// # Order
/// Clocks that were not stepped never run backwards. A change of course is
/// announced `lead` nanoseconds before it happens, and the record has both the old
/// line and the new one, so that every reader changes over at the same nanosecond.
/// That holds if the record is published within `lead`;
/// [`happens_at`](Self::happens_at) lets a publisher find out.
///
/// # Coarse clocks
/// A coarse clock is never ahead of its exact one and at most a timer tick behind
/// it, and no clock has a time before the one that [`set`](Self::set) asked for.
/// Where the wall clocks are the kernel's moved by an offset, that offset is taken
/// from the coarse clock; where they run on a line, coarse clocks run on the line
/// of the exact one, and with its driver: one that lags could have a reading that
/// no line is valid for.
#[derive(Clone, Copy, Debug)]
pub struct VirtualTime {
    clocks: Clocks,
    /// Wall time ahead of the kernel's, while there is no track of it.
    offset: i128,
    /// What [`set`](Self::set) adds to the offset, so that the kernel's coarse clock, and not
    /// the exact one, has the time that was asked for.
    lag: i128,
    tai: i64,
    course: Course,
    /// When the course begins or began, on the kernel's monotonic clock.
    happens_at: Option<u64>,
    /// The course has begun on all clocks that it applies to.
    settled: bool,
    wall: Option<Track>,
    monotonic: Option<Monotonic>,
}

/// The clocks that are not wall clocks.
#[derive(Clone, Copy, Debug)]
struct Monotonic {
    monotonic: Track,
    raw: Track,
    boottime: Track,
}

impl VirtualTime {
    /// The kernel's time. `clocks` is which clocks later changes apply to.
    pub const fn new(clocks: Clocks) -> Self {
        Self {
            clocks,
            offset: 0,
            lag: 0,
            tai: 0,
            course: Course::Rate(1, 1),
            happens_at: None,
            settled: false,
            wall: None,
            monotonic: None,
        }
    }

    /// Moves the wall clocks by nanoseconds, at once.
    pub fn step(&mut self, nanoseconds: i128) {
        match &mut self.wall {
            Some(track) => *track = track.moved(nanoseconds),
            None => self.offset += nanoseconds,
        }
    }

    /// Sets the wall clocks to `wall`, at once. Exact clocks may have up to a timer
    /// tick more: see "Coarse clocks" above.
    pub fn set(&mut self, now: &KernelTime, wall: Moment) {
        let wall = wall.as_nanoseconds();
        match &mut self.wall {
            Some(track) => {
                let by = wall - track.read(self.course, now).as_nanoseconds();
                *track = track.moved(by);
            }
            None => {
                self.offset = wall - i128::from(now.realtime);
                let lag = i128::from(now.realtime) - i128::from(now.realtime_coarse);
                // The machine's clock may have been set between the two readings.
                self.lag = lag.clamp(0, i128::from(NANOSECONDS));
            }
        }
    }

    /// Moves the monotonic clocks forward by nanoseconds, at once.
    pub fn advance(&mut self, now: &KernelTime, nanoseconds: u64) {
        let by = i128::from(nanoseconds);
        let clocks = self.monotonic.unwrap_or_else(|| Monotonic::of_kernel(now));
        self.monotonic = Some(Monotonic {
            monotonic: clocks.monotonic.moved(by),
            raw: clocks.raw.moved(by),
            boottime: clocks.boottime.moved(by),
        });
    }

    /// Changes the course, `lead` nanoseconds from now; a `lead` of 0 is for a time
    /// that has not been published yet.
    ///
    /// # Errors
    /// [`Error::Frequency`] for a rate of 0 or one that is too high,
    /// [`Error::Pending`] while an earlier change is still to happen.
    pub fn run(&mut self, now: &KernelTime, lead: u64, course: Course) -> Result<(), Error> {
        let rate = course.rate()?;
        if self.happens_at.is_some_and(|at| now.monotonic < at) {
            return Err(Error::Pending);
        }
        if self.clocks.runs_wall() {
            let track = self.wall.get_or_insert_with(|| {
                // Unpublished time has the very moment that was asked for.
                let lag = if lead == 0 { 0 } else { self.lag };
                let wall = i128::from(now.realtime) + self.offset + lag;
                let wall = Moment::from_nanoseconds(wall);
                Track::new(Clock::Boottime, now.boottime, wall)
            });
            track.turn(now.boottime + lead, rate);
        }
        if self.clocks.runs_monotonic() {
            let mut clocks = self.monotonic.unwrap_or_else(|| Monotonic::of_kernel(now));
            clocks.monotonic.turn(now.monotonic + lead, rate);
            clocks.raw.turn(now.raw + lead, rate);
            clocks.boottime.turn(now.boottime + lead, rate);
            self.monotonic = Some(clocks);
        }
        self.tai = now.tai;
        self.course = course;
        self.happens_at = Some(now.monotonic + lead);
        self.settled = false;
        Ok(())
    }

    /// Notes that the kernel's clocks are at `now`: once the change of course has happened on all
    /// clocks, records no longer need the line before it, and readers of a frozen clock need no
    /// clock of the kernel's. The records after this give the same times as those before.
    ///
    /// Returns whether there is something new to publish.
    pub fn settle(&mut self, now: &KernelTime) -> bool {
        let before = self.settled;
        let tracks = self.wall.into_iter().chain(
            self.monotonic
                .into_iter()
                .flat_map(|clocks| [clocks.monotonic, clocks.raw, clocks.boottime]),
        );
        self.settled = self.happens_at.is_some() && tracks.into_iter().all(|it| it.has_turned(now));
        self.settled != before && self.course == Course::Frozen
    }

    /// When the last change of course happens, on the kernel's monotonic clock;
    /// `None` when there was none. If that is past right after publishing, the
    /// publisher was delayed, and readers may have seen time run backwards.
    pub fn happens_at(&self) -> Option<u64> {
        self.happens_at
    }

    /// The course that was set last.
    pub const fn course(&self) -> Course {
        self.course
    }

    /// Which clocks changes apply to.
    pub const fn clocks(&self) -> Clocks {
        self.clocks
    }

    /// The time of a clock when the kernel's clocks are at `now`; with
    /// [`Course::EachRead`], before the first read.
    pub fn at(&self, clock: Clock, now: &KernelTime) -> Moment {
        if let Some(track) = self.track(clock) {
            return track.read(self.course, now);
        }
        let offset = match clock.is_wall() {
            true => self.offset + self.lag,
            false => 0,
        };
        Moment::from_nanoseconds(now.of(clock) + offset)
    }

    /// The record to publish for a clock.
    pub fn record(&self, clock: Clock) -> Record {
        if let Some(track) = self.track(clock) {
            return match self.settled && self.course == Course::Frozen {
                // With the start, a reader of file times knows since when.
                true => Record {
                    current: Line {
                        start: track.current.start,
                        base: track.current.base,
                        ..Line::NONE
                    },
                    ..Record::fixed(track.current.base)
                },
                false => track.record(self.course),
            };
        }
        let offset = self.offset + self.lag;
        if offset == 0 || !clock.is_wall() {
            return Record {
                source: Source::Kernel,
                ..Record::SYSTEM_CALL
            };
        }
        Record::kernel_moved(Moment::from_nanoseconds(offset))
    }

    /// The clock's track, where it is not the kernel's clock, moved or not.
    fn track(&self, clock: Clock) -> Option<Track> {
        let monotonic = self.monotonic;
        match clock {
            Clock::Monotonic | Clock::MonotonicCoarse => monotonic.map(|clocks| clocks.monotonic),
            Clock::MonotonicRaw => monotonic.map(|clocks| clocks.raw),
            Clock::Boottime | Clock::BoottimeAlarm => monotonic.map(|clocks| clocks.boottime),
            Clock::Tai => self.wall.map(|track| track.moved(i128::from(self.tai))),
            Clock::Realtime | Clock::RealtimeAlarm | Clock::RealtimeCoarse => self.wall,
        }
    }
}

impl Default for VirtualTime {
    fn default() -> Self {
        Self::new(Clocks::default())
    }
}

impl Monotonic {
    /// The kernel's clocks from `now` on.
    fn of_kernel(now: &KernelTime) -> Self {
        let track = |driver: Clock| {
            let kernel = now.of(driver);
            Track::new(driver, kernel as u64, Moment::from_nanoseconds(kernel))
        };
        Self {
            monotonic: track(Clock::Monotonic),
            raw: track(Clock::MonotonicRaw),
            boottime: track(Clock::Boottime),
        }
    }
}
