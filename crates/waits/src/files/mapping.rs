//! The times of files at the time of the tree.

use vdsokit_clock::{Clock, KernelTime, Line, Rate, Record, Source};

use crate::course::Nanoseconds;

/// How a file time, the kernel's wall time, is shown in the tree.
///
/// It is the present course of the tree's wall clock, from the moment on at which that course began.
/// Earlier times keep their distance to that moment. So the order of files is kept, and a file that
/// was written a minute before the run is a minute old at its start.
///
/// The kernel stamps files by its coarse clock, which is behind by a timer tick at most. A file that is
/// written right after the course began may so have a time from just before. It is shown as the time at
/// which the course began: no file that is written at a frozen date is older than that date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// As it is.
    Real,
    /// Later by this.
    Moved(Nanoseconds),
    /// On a line over the kernel's wall clock.
    Line {
        /// When the line begins, of the kernel's wall clock.
        start: Nanoseconds,
        /// What it shows then.
        base: Nanoseconds,
        /// The rest of that, in 2⁻⁶⁴ ns.
        fraction: u64,
        /// How it goes on.
        rate: Rate,
        /// The length of a timer tick.
        tick: Nanoseconds,
    },
}

impl Mapping {
    /// The mapping by the `record` of the wall clock. `ahead` is by how much the kernel's wall clock is
    /// ahead of `CLOCK_BOOTTIME`, `tick` the resolution of its coarse clocks.
    pub fn new(
        record: &Record,
        ahead: Nanoseconds,
        tick: Nanoseconds,
        now: &KernelTime,
    ) -> Mapping {
        let on = |line: &Line, rate| Mapping::Line {
            start: Nanoseconds::from(line.start) + ahead,
            base: line.base.as_nanoseconds(),
            fraction: line.base.fraction,
            rate,
            tick,
        };
        let Record {
            current, former, ..
        } = record;
        match record.source {
            Source::KernelMoved => Mapping::Moved(current.base.as_nanoseconds()),
            Source::Fixed => on(current, Rate::FROZEN),
            // Lines of wall clocks are over this clock, which can't be set (`VirtualTime::run`).
            Source::KernelClock(driver) if u32::from(driver) == Clock::Boottime.id() => {
                match now.boottime >= current.start {
                    true => on(current, current.rate),
                    false => on(former, former.rate),
                }
            }
            Source::KernelClock(_)
            | Source::SystemCall
            | Source::Kernel
            | Source::Counter { .. }
            | Source::Reads => Mapping::Real,
        }
    }

    /// What a file time is shown as.
    pub fn shown(&self, real: Nanoseconds) -> Nanoseconds {
        match *self {
            Mapping::Real => real,
            Mapping::Moved(by) => real + by,
            Mapping::Line {
                start,
                base,
                fraction,
                rate,
                tick,
            } => match real - start {
                since if since < -tick => base + since,
                since => {
                    let since = u64::try_from(since.max(0)).unwrap_or(u64::MAX);
                    let span = rate.span(since).unwrap_or(u128::MAX);
                    let span = span.saturating_add(u128::from(fraction));
                    base + (span >> 64) as Nanoseconds
                }
            },
        }
    }

    /// The earliest file time that is shown as `shown`, or later where none is shown so: at a rate above
    /// 1 some nanoseconds are skipped. Where time stands still, one after it that will be shown so when
    /// time has gone on.
    pub fn real(&self, shown: Nanoseconds) -> Nanoseconds {
        match *self {
            Mapping::Real => shown,
            Mapping::Moved(by) => shown - by,
            Mapping::Line {
                start, base, rate, ..
            } => {
                let Ok(ahead) = u64::try_from(shown - base) else {
                    let is_before = shown < base;
                    return match is_before {
                        true => start - (base - shown),
                        false => start + Nanoseconds::from(u64::MAX),
                    };
                };
                let ticks = match rate {
                    Rate::FROZEN => ahead,
                    rate => rate.ticks(ahead).unwrap_or(u64::MAX),
                };
                let real = start + Nanoseconds::from(ticks);
                // The fraction of the base may be what is missing.
                match ticks > 0 && self.shown(real - 1) >= shown {
                    true => real - 1,
                    false => real,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vdsokit_clock::{Clocks, Course, Moment, VirtualTime};

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const TICK: Nanoseconds = 4_000_000;
    const AHEAD: Nanoseconds = 1_700_000_000 * SECOND as Nanoseconds;

    fn kernel(seconds: u64) -> KernelTime {
        let realtime = AHEAD as u64 + (200 + seconds) * SECOND;
        KernelTime {
            realtime_coarse: realtime - TICK as u64 / 2,
            realtime,
            monotonic: (100 + seconds) * SECOND,
            raw: (99 + seconds) * SECOND,
            boottime: (200 + seconds) * SECOND,
            tai: 0,
        }
    }

    fn mapping(time: &VirtualTime, now: &KernelTime) -> Mapping {
        Mapping::new(&time.record(Clock::Realtime), AHEAD, TICK, now)
    }

    fn at(rate: (u32, u32), now: &KernelTime) -> VirtualTime {
        let mut time = VirtualTime::new(Clocks::Usual);
        time.set(now, Moment::from_seconds(946_684_800));
        let (numerator, denominator) = rate;
        let course = match rate {
            (0, _) => Course::Frozen,
            _ => Course::Rate(numerator, denominator),
        };
        time.run(now, 0, course).expect("a course");
        time.settle(now);
        time
    }

    #[test]
    fn a_file_written_now_has_the_time_that_the_clock_shows() {
        let start = kernel(0);
        let mut moved = VirtualTime::new(Clocks::Usual);
        moved.step(-86_400 * i128::from(SECOND));
        let times = [(60, 1), (1, 1), (1, 3), (0, 1)].map(|rate| at(rate, &start));
        for time in times.iter().chain([&moved]) {
            for seconds in [0, 5, 100_000] {
                let now = kernel(seconds);
                let shown = mapping(time, &now).shown(now.realtime.into());
                let clock = time.at(Clock::Realtime, &now).as_nanoseconds();
                assert_eq!(shown, clock, "{time:?} after {seconds} s");
            }
        }
    }

    #[test]
    fn a_file_from_before_keeps_its_distance_and_none_is_older_than_a_frozen_date() {
        let start = kernel(0);
        let real = Nanoseconds::from(start.realtime);
        for rate in [(60, 1), (1, 3), (0, 1)] {
            let time = at(rate, &start);
            let mapping = mapping(&time, &kernel(7));
            let date = time.at(Clock::Realtime, &start).as_nanoseconds();
            let minute = 60 * Nanoseconds::from(SECOND);
            assert_eq!(mapping.shown(real - minute), date - minute);
            assert_eq!(mapping.shown(start.realtime_coarse.into()), date);
        }
        let frozen = mapping(&at((0, 1), &start), &kernel(7));
        assert_eq!(frozen.shown(real), frozen.shown(real + 7));
    }

    #[test]
    fn what_is_set_is_read_again() {
        let start = kernel(0);
        let hour = 3600 * Nanoseconds::from(SECOND);
        for rate in [(1, 1), (1, 3), (7, 9), (60, 1), (0, 1)] {
            let time = at(rate, &start);
            let date = time.at(Clock::Realtime, &start).as_nanoseconds();
            let mapping = mapping(&time, &kernel(7));
            // Before the date, and beyond 1970.
            for shown in [date - hour - 1, date - 40 * 365 * 24 * hour + 7] {
                assert_eq!(mapping.shown(mapping.real(shown)), shown, "{rate:?}");
            }
            for ahead in (0..1000).map(|step| step * 1_234_567_891) {
                let (shown, back) = (date + ahead, mapping.shown(mapping.real(date + ahead)));
                match rate {
                    (0, _) => assert_eq!(back, date),
                    (60, _) => assert!((shown..shown + 60).contains(&back)),
                    _ => assert_eq!(back, shown, "{rate:?}"),
                }
            }
        }
    }

    #[test]
    fn a_time_that_was_read_is_set_to_what_it_was() {
        let start = kernel(0);
        let mut time = at((60, 7), &start);
        // So that the base has a fraction.
        let later = kernel(13);
        time.run(&later, 0, Course::Rate(100_000, 3))
            .expect("a rate");
        let mapping = mapping(&time, &kernel(20));
        for step in 0..1000 {
            let real = Nanoseconds::from(later.realtime) + step * 7_654_321;
            assert_eq!(mapping.real(mapping.shown(real)), real);
        }
    }

    #[test]
    fn times_far_off_are_shown() {
        let start = kernel(0);
        for rate in [(100_000, 1), (0, 1), (1, 1)] {
            let mapping = mapping(&at(rate, &start), &kernel(1));
            let far = Nanoseconds::from(i64::MAX) * Nanoseconds::from(SECOND);
            for time in [far, -far] {
                let _ = (mapping.shown(time), mapping.real(time));
            }
            assert!(mapping.shown(-far) < mapping.shown(0));
        }
    }
}
