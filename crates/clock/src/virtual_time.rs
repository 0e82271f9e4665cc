//! Virtual time: wall time moved, time at another rate, time that stands still.

mod words;

use crate::Error;
use crate::clocks::Clock;
use crate::line::Line;
use crate::moment::Moment;
use crate::rate::Rate;
use crate::record::{Record, Source};

/// What the kernel's clocks say, in nanoseconds, read one right after another.
#[derive(Clone, Copy, Debug)]
pub struct KernelTime {
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

/// How virtual time goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// As many times as fast as real time: numerator and denominator.
    Rate(u32, u32),
    /// It stands still.
    Frozen,
    /// It stands still, and each read of a clock moves it by so many
    /// nanoseconds, counted by each process for itself.
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

/// One clock that runs on nanoseconds of one of the kernel's.
#[derive(Clone, Copy, Debug)]
struct Track {
    driver: Clock,
    former: Line,
    current: Line,
}

impl Track {
    /// Runs as its driver does, from `at` on; stands still before, should
    /// anybody ask: no real time comes through.
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

    fn turn(&mut self, at: u64, rate: Rate) {
        self.former = self.current.until(at);
        self.current = Line {
            start: at,
            length: u64::MAX - at,
            rate,
            base: self.current.after(at - self.current.start),
        };
    }

    fn at(&self, ticks: u64) -> Moment {
        if ticks >= self.current.start {
            self.current.after(ticks - self.current.start)
        } else {
            self.former.after(ticks.saturating_sub(self.former.start))
        }
    }

    fn record(&self, course: Course) -> Record {
        let source = match course {
            Course::EachRead(_) => Source::Reads,
            _ => Source::KernelClock(self.driver.id() as u8),
        };
        if source == Source::Reads {
            // Reads are counted from 0.
            return Record {
                source,
                current: Line {
                    start: 0,
                    length: u64::MAX,
                    ..self.current
                },
                ..Record::SYSTEM_CALL
            };
        }
        Record {
            source,
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

/// Virtual time over the kernel's clocks, made into records.
///
/// Which clocks each change touches:
///
/// | | wall clocks | the others |
/// | --- | --- | --- |
/// | [`step`](Self::step), [`set`](Self::set) | at once | not |
/// | [`run`](Self::run) with a [`Course`] | from the moment announced | likewise |
///
/// As long as nothing but steps was asked for, wall time is the kernel's moved
/// by an offset, and follows where the kernel's is set; the other clocks are the
/// kernel's own. After the first other course all run on the kernel's clocks
/// that nobody can set. Clocks that were not stepped never run backwards: a
/// change of course is announced `lead` before it happens, and both the old and
/// the new line are in the record, so that every reader changes at the same
/// nanosecond. That holds if the record is published within `lead`;
/// [`happens_at`](Self::happens_at) tells a publisher whether it was.
#[derive(Clone, Copy, Debug)]
pub struct VirtualTime {
    /// Wall time ahead of the kernel's, while that is all.
    offset: i128,
    tai: i64,
    course: Course,
    /// The course has come on all clocks.
    settled: bool,
    tracks: Option<Tracks>,
}

#[derive(Clone, Copy, Debug)]
struct Tracks {
    wall: Track,
    monotonic: Track,
    raw: Track,
    boottime: Track,
}

impl VirtualTime {
    /// Time as the kernel has it.
    pub const fn new() -> Self {
        Self {
            offset: 0,
            tai: 0,
            course: Course::Rate(1, 1),
            settled: false,
            tracks: None,
        }
    }

    /// Moves wall time by nanoseconds, at once.
    pub fn step(&mut self, nanoseconds: i128) {
        self.offset += nanoseconds;
        if let Some(tracks) = &mut self.tracks {
            tracks.wall = tracks.wall.moved(nanoseconds);
        }
    }

    /// Sets wall time, at once.
    pub fn set(&mut self, now: &KernelTime, wall: Moment) {
        let by = wall.as_nanoseconds() - self.at(Clock::Realtime, now).as_nanoseconds();
        self.step(by);
    }

    /// Changes the course, `lead` nanoseconds from now.
    ///
    /// # Errors
    /// [`Error::Frequency`] for a rate of 0 or one that is too high,
    /// [`Error::Pending`] while an earlier change is still to happen.
    pub fn run(&mut self, now: &KernelTime, lead: u64, course: Course) -> Result<(), Error> {
        let rate = course.rate()?;
        if self
            .tracks
            .is_some_and(|tracks| now.monotonic < tracks.monotonic.current.start)
        {
            return Err(Error::Pending);
        }
        let mut tracks = self.tracks.unwrap_or_else(|| self.tracks_from(now));
        for (track, kernel) in [
            (&mut tracks.wall, now.boottime),
            (&mut tracks.monotonic, now.monotonic),
            (&mut tracks.raw, now.raw),
            (&mut tracks.boottime, now.boottime),
        ] {
            track.turn(kernel + lead, rate);
        }
        self.tai = now.tai;
        self.tracks = Some(tracks);
        self.course = course;
        self.settled = false;
        Ok(())
    }

    /// Says that the kernel's clocks show `now`: where the change of course has come on all of
    /// them, records no longer need to say what was before, and readers of time that stands still
    /// needn't ask a clock. The records after this say the same times as those before.
    ///
    /// Returns whether there is something new to publish.
    pub fn settle(&mut self, now: &KernelTime) -> bool {
        let before = self.settled;
        self.settled = self.tracks.is_some_and(|tracks| tracks.have_turned(now));
        self.settled != before && self.course == Course::Frozen
    }

    fn tracks_from(&self, now: &KernelTime) -> Tracks {
        let plain = |driver, kernel: u64| {
            Track::new(driver, kernel, Moment::from_nanoseconds(i128::from(kernel)))
        };
        let wall = Moment::from_nanoseconds(i128::from(now.realtime) + self.offset);
        Tracks {
            wall: Track::new(Clock::Boottime, now.boottime, wall),
            monotonic: plain(Clock::Monotonic, now.monotonic),
            raw: plain(Clock::MonotonicRaw, now.raw),
            boottime: plain(Clock::Boottime, now.boottime),
        }
    }

    /// When the last change of course happens, on the kernel's monotonic clock;
    /// none when there was none. A publisher that finds this past right after
    /// publishing was held up, and readers may have seen time run backwards.
    pub fn happens_at(&self) -> Option<u64> {
        Some(self.tracks?.monotonic.current.start)
    }

    /// The course asked for last.
    pub const fn course(&self) -> Course {
        self.course
    }

    /// What a clock says when the kernel's say `now`: what `show` shows. With
    /// [`Course::EachRead`]: before the first read.
    pub fn at(&self, clock: Clock, now: &KernelTime) -> Moment {
        let kernel =
            |nanoseconds: u64, by: i128| Moment::from_nanoseconds(i128::from(nanoseconds) + by);
        let Some(tracks) = &self.tracks else {
            return match clock {
                Clock::Monotonic | Clock::MonotonicCoarse => kernel(now.monotonic, 0),
                Clock::MonotonicRaw => kernel(now.raw, 0),
                Clock::Boottime | Clock::BoottimeAlarm => kernel(now.boottime, 0),
                Clock::Tai => kernel(now.realtime, self.offset + i128::from(now.tai)),
                Clock::Realtime | Clock::RealtimeAlarm | Clock::RealtimeCoarse => {
                    kernel(now.realtime, self.offset)
                }
            };
        };
        let track = tracks.of(clock, self.tai);
        let ticks = match (self.course, track.driver) {
            (Course::EachRead(_), _) => return track.current.base,
            (_, Clock::MonotonicRaw) => now.raw,
            (_, Clock::Boottime) => now.boottime,
            _ => now.monotonic,
        };
        track.at(ticks)
    }

    /// The record to publish for a clock.
    pub fn record(&self, clock: Clock) -> Record {
        let Some(tracks) = &self.tracks else {
            if self.offset == 0 || !clock.is_wall() {
                return Record {
                    source: Source::Kernel,
                    ..Record::SYSTEM_CALL
                };
            }
            // Only steps: the kernel's own wall clock, all of it, moved.
            let offset = Moment::from_nanoseconds(self.offset);
            return Record::kernel_moved(offset);
        };
        let track = tracks.of(clock, self.tai);
        if self.settled && self.course == Course::Frozen {
            return Record::fixed(track.current.base);
        }
        track.record(self.course)
    }
}

impl Default for VirtualTime {
    fn default() -> Self {
        Self::new()
    }
}

impl Tracks {
    /// Whether all clocks are past their change of course.
    fn have_turned(&self, now: &KernelTime) -> bool {
        let has_turned = |track: &Track, kernel: u64| kernel >= track.current.start;
        has_turned(&self.wall, now.boottime)
            && has_turned(&self.monotonic, now.monotonic)
            && has_turned(&self.raw, now.raw)
            && has_turned(&self.boottime, now.boottime)
    }

    fn of(&self, clock: Clock, tai: i64) -> Track {
        match clock {
            Clock::Monotonic => self.monotonic,
            // One line for both: the coarse clock is never ahead of the other.
            Clock::MonotonicCoarse => Track {
                driver: Clock::MonotonicCoarse,
                ..self.monotonic
            },
            Clock::MonotonicRaw => self.raw,
            Clock::Boottime | Clock::BoottimeAlarm => self.boottime,
            Clock::Tai => self.wall.moved(i128::from(tai)),
            Clock::Realtime | Clock::RealtimeAlarm | Clock::RealtimeCoarse => self.wall,
        }
    }
}
