//! When a clock of the tree will show a time, in terms of the kernel's clocks.

use vdsokit_clock::{Clock, KernelTime, Line, Record, Source};

/// Nanoseconds of a clock.
pub type Nanoseconds = i128;

/// How one clock of the tree goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// As the kernel's clock of the same number, or by reads that only the program can count:
    /// its waits are the kernel's.
    Kernel,
    /// As the kernel's clock of the same number, ahead by this.
    Moved(Nanoseconds),
    /// On lines over another clock of the kernel's.
    Lines {
        /// That clock.
        driver: Clock,
        /// Before `current` starts.
        former: Line,
        /// From its start on.
        current: Line,
    },
    /// It shows this for ever.
    Fixed(Nanoseconds),
    /// It shows this for ever, and its waits pass in real time.
    Halted(Nanoseconds),
}

impl Course {
    /// Whether two clocks of the tree stay as far apart as they are.
    pub fn keeps_distance(&self, other: &Course) -> bool {
        use Course::{Fixed, Halted, Kernel, Lines, Moved};
        match (self, other) {
            (Kernel | Moved(_), Kernel | Moved(_))
            | (Fixed(_) | Halted(_), Fixed(_) | Halted(_)) => true,
            (Lines { current: a, .. }, Lines { current: b, .. }) => a.rate == b.rate,
            _ => false,
        }
    }

    /// What a clock's record says.
    pub fn new(record: &Record) -> Course {
        let base = record.current.base.as_nanoseconds();
        match record.source {
            Source::KernelMoved => Course::Moved(base),
            Source::Fixed => Course::Fixed(base),
            Source::KernelClock(id) => match Clock::from_id(id.into()) {
                Some(driver) => Course::Lines {
                    driver,
                    former: record.former,
                    current: record.current,
                },
                None => Course::Kernel,
            },
            Source::SystemCall | Source::Kernel | Source::Counter { .. } | Source::Reads => {
                Course::Kernel
            }
        }
    }

    /// The course of a clock that nothing can change any more: where it stands still, its waits
    /// pass in real time, because otherwise they would never end.
    pub fn unchangeable(self) -> Course {
        match self {
            Course::Fixed(at) => Course::Halted(at),
            other => other,
        }
    }

    /// What the clock shows when the kernel's show `now`; `clock` is its number.
    pub fn at(&self, clock: Clock, now: &KernelTime) -> Nanoseconds {
        match *self {
            Course::Kernel => reading(clock, now),
            Course::Moved(by) => reading(clock, now) + by,
            Course::Fixed(at) | Course::Halted(at) => at,
            Course::Lines {
                driver,
                former,
                current,
            } => {
                let ticks = reading(driver, now) as u64;
                let line = if ticks >= current.start {
                    current
                } else {
                    former
                };
                let since = ticks.saturating_sub(line.start);
                line.after(since).as_nanoseconds()
            }
        }
    }

    /// In how many nanoseconds of real time the clock shows `moment`: 0 if it does already.
    /// `None`: never, as things are.
    pub fn until(&self, clock: Clock, moment: Nanoseconds, now: &KernelTime) -> Option<u64> {
        let shown = |at: Nanoseconds| u64::try_from((moment - at).max(0)).ok();
        match *self {
            Course::Kernel => shown(reading(clock, now)),
            Course::Moved(by) => shown(reading(clock, now) + by),
            Course::Fixed(at) => (moment <= at).then_some(0),
            Course::Halted(at) => shown(at),
            Course::Lines {
                driver,
                former,
                current,
            } => {
                let ticks = reading(driver, now) as u64;
                if self.at(clock, now) >= moment {
                    return Some(0);
                }
                let on = |line: &Line| {
                    let ahead = moment - line.base.as_nanoseconds();
                    let ahead = u64::try_from(ahead.max(0)).ok()?;
                    line.start.checked_add(line.rate.ticks(ahead)?)
                };
                let early = on(&former).filter(|&at| at < current.start);
                let at = match early.filter(|_| ticks < current.start) {
                    Some(at) => at,
                    None => on(&current)?.max(current.start),
                };
                Some(at.saturating_sub(ticks))
            }
        }
    }

    /// In how many nanoseconds of real time so many of the clock's pass, at the rate that it has
    /// last; 0 only for 0. `None`: it stands still.
    pub fn real(&self, span: u64) -> Option<u64> {
        match self {
            Course::Kernel | Course::Moved(_) | Course::Halted(_) => Some(span),
            Course::Fixed(_) => None,
            Course::Lines { current, .. } => current.rate.ticks(span),
        }
    }
}

impl Course {
    /// How many nanoseconds of the clock pass in so many of real time, at the rate that it has
    /// last.
    pub fn passed(&self, real: u64) -> u64 {
        match self {
            Course::Kernel | Course::Moved(_) => real,
            Course::Fixed(_) | Course::Halted(_) => 0,
            Course::Lines { current, .. } => current
                .rate
                .span(real)
                .map_or(u64::MAX, |span| (span >> 64) as u64),
        }
    }
}

/// What the kernel's clock of this number shows.
pub fn reading(clock: Clock, now: &KernelTime) -> Nanoseconds {
    match clock {
        Clock::Realtime | Clock::RealtimeAlarm => now.realtime.into(),
        Clock::RealtimeCoarse => now.realtime_coarse.into(),
        Clock::Tai => Nanoseconds::from(now.realtime) + Nanoseconds::from(now.tai),
        Clock::Monotonic | Clock::MonotonicCoarse => now.monotonic.into(),
        Clock::MonotonicRaw => now.raw.into(),
        Clock::Boottime | Clock::BoottimeAlarm => now.boottime.into(),
    }
}

#[cfg(test)]
mod tests {
    use vdsokit_clock::{Clocks, Course as Change, VirtualTime};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn kernel(seconds: u64) -> KernelTime {
        KernelTime {
            realtime_coarse: (1_700_000_000 + seconds) * SECOND,
            realtime: (1_700_000_000 + seconds) * SECOND,
            monotonic: (100 + seconds) * SECOND,
            raw: (99 + seconds) * SECOND,
            boottime: (200 + seconds) * SECOND,
            tai: 37 * SECOND as i64,
        }
    }

    fn course(time: &VirtualTime, clock: Clock) -> Course {
        Course::new(&time.record(clock))
    }

    #[test]
    fn a_moved_clock_waits_as_long_and_others_are_the_kernels() {
        let mut time = VirtualTime::new(Clocks::Usual);
        time.step(-86_400 * i128::from(SECOND));
        let now = kernel(5);
        let wall = course(&time, Clock::Realtime);
        let at = wall.at(Clock::Realtime, &now);
        assert_eq!(at, time.at(Clock::Realtime, &now).as_nanoseconds());
        let until = |ahead: i128| wall.until(Clock::Realtime, at + ahead, &now);
        assert_eq!(until(7), Some(7));
        assert_eq!(until(-7), Some(0));
        assert_eq!(course(&time, Clock::Monotonic), Course::Kernel);
    }

    #[test]
    fn a_rate_shortens_waits_and_a_change_ahead_is_reckoned_with() {
        let mut time = VirtualTime::new(Clocks::Usual);
        let lead = SECOND;
        time.run(&kernel(0), 0, Change::Rate(10, 1))
            .expect("a rate");
        time.run(&kernel(5), lead, Change::Rate(1, 2))
            .expect("a rate");
        for clock in Clock::ALL {
            let course = course(&time, clock);
            let now = kernel(5);
            let at = course.at(clock, &now);
            if !clock.is_coarse() {
                assert_eq!(at, time.at(clock, &now).as_nanoseconds(), "{clock:?}");
            }
            let until = |ahead: u64| course.until(clock, at + i128::from(ahead), &now);
            // Ten seconds within the lead, then half a second each.
            assert_eq!(until(5 * SECOND), Some(SECOND / 2), "{clock:?}");
            assert_eq!(until(11 * SECOND), Some(3 * SECOND), "{clock:?}");
            assert_eq!(course.real(SECOND), Some(2 * SECOND));
        }
    }

    #[test]
    fn a_wait_on_time_that_stands_still_for_good_passes_in_real_time() {
        let mut time = VirtualTime::new(Clocks::Usual);
        time.run(&kernel(0), SECOND, Change::Frozen).expect("still");
        time.settle(&kernel(2));
        let now = kernel(5);
        let clock = Clock::Monotonic;
        let course = course(&time, clock).unchangeable();
        let at = course.at(clock, &kernel(2));
        assert_eq!(course.at(clock, &now), at);
        assert_eq!(course.until(clock, at + 7, &now), Some(7));
        assert_eq!(course.until(clock, at, &now), Some(0));
        assert_eq!(course.real(SECOND), Some(SECOND));
    }

    #[test]
    fn what_stands_still_is_waited_for_for_ever() {
        let mut time = VirtualTime::new(Clocks::Usual);
        time.run(&kernel(0), SECOND, Change::Frozen).expect("still");
        let now = kernel(0);
        let clock = Clock::Monotonic;
        let at = course(&time, clock).at(clock, &now);
        let until = |ahead: i128| course(&time, clock).until(clock, at + ahead, &now);
        assert_eq!(until(i128::from(SECOND) / 2), Some(SECOND / 2));
        assert_eq!(until(2 * i128::from(SECOND)), None);
        time.settle(&kernel(2));
        let course = course(&time, clock);
        assert!(matches!(course, Course::Fixed(_)));
        assert_eq!(course.until(clock, at, &kernel(3)), Some(0));
        assert_eq!(
            course.until(clock, at + 2 * i128::from(SECOND), &kernel(3)),
            None
        );
        assert_eq!(course.real(1), None);
    }

    #[test]
    fn clocks_keep_their_distance_if_they_have_one_rate() {
        let lines = |ratio| {
            let mut time = VirtualTime::new(Clocks::Usual);
            time.run(&kernel(0), 0, Change::Rate(ratio, 1))
                .expect("a rate");
            course(&time, Clock::Monotonic)
        };
        let kinds = [
            vec![Course::Kernel, Course::Moved(7)],
            vec![Course::Fixed(7), Course::Halted(9)],
            vec![lines(2)],
            vec![lines(3)],
        ];
        for (a, some) in kinds.iter().enumerate() {
            for (b, others) in kinds.iter().enumerate() {
                for (one, other) in some
                    .iter()
                    .flat_map(|one| others.iter().map(move |b| (one, b)))
                {
                    assert_eq!(one.keeps_distance(other), a == b, "{one:?} {other:?}");
                }
            }
        }
        assert!(lines(2).keeps_distance(&lines(2)));
    }

    #[test]
    fn real_time_passes_at_the_rate_of_the_clock() {
        let mut time = VirtualTime::new(Clocks::Usual);
        time.run(&kernel(0), 0, Change::Rate(5, 2)).expect("a rate");
        let lines = course(&time, Clock::Monotonic);
        assert_eq!(lines.passed(2 * SECOND), 5 * SECOND);
        assert_eq!(lines.real(5 * SECOND), Some(2 * SECOND));
        for (course, passed) in [
            (Course::Kernel, SECOND),
            (Course::Moved(-7), SECOND),
            (Course::Fixed(7), 0),
            (Course::Halted(7), 0),
        ] {
            assert_eq!(course.passed(SECOND), passed, "{course:?}");
        }
    }

    #[test]
    fn a_moved_clock_is_ahead_of_the_kernels_of_its_number() {
        let now = kernel(5);
        for (clock, kernels) in [
            (Clock::Realtime, now.realtime),
            (Clock::RealtimeAlarm, now.realtime),
            (Clock::RealtimeCoarse, now.realtime_coarse),
            (Clock::Tai, now.realtime + 37 * SECOND),
            (Clock::Monotonic, now.monotonic),
            (Clock::MonotonicCoarse, now.monotonic),
            (Clock::MonotonicRaw, now.raw),
            (Clock::Boottime, now.boottime),
            (Clock::BoottimeAlarm, now.boottime),
        ] {
            let kernels = Nanoseconds::from(kernels);
            assert_eq!(reading(clock, &now), kernels, "{clock:?}");
            assert_eq!(Course::Moved(-9).at(clock, &now), kernels - 9, "{clock:?}");
            let until = Course::Kernel.until(clock, kernels + 11, &now);
            assert_eq!(until, Some(11), "{clock:?}");
        }
    }
}
