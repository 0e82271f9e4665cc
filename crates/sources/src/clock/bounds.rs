//! The interval in which true time lies: the image's `vdso_clock_bound`, in Rust.

use super::adjtimex::wall;
use super::{Reader, cpu};
use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};
use std::fmt;
use vdsokit_clock::page::record_name;
use vdsokit_clock::{Clock, Moment, Record, Source, split};

/// Why a clock has no bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unbounded {
    /// A wall clock that no NTP daemon keeps: how far it is off is unknown (`ENODATA` of
    /// `vdso_clock_bound`).
    NotSynchronised,
    /// The machine has no such clock: an alarm clock without a real-time clock (`EINVAL`).
    NoClock,
}

impl fmt::Display for Unbounded {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::NotSynchronised => {
                "this machine's wall clock is not synchronised, so its error is unknown: \
                 start chronyd, ntpd or systemd-timesyncd"
            }
            Self::NoClock => "this machine has no such clock",
        })
    }
}

impl std::error::Error for Unbounded {}

impl Reader {
    /// The interval in which the true time of a clock lies, earliest and latest; see
    /// [`kernel_bounds`] for what true time is. From the page where its record is valid, with
    /// the publisher's bound; else the kernel's.
    ///
    /// # Errors
    /// [`Unbounded`].
    pub fn bounds(&self, clock: Clock) -> Result<(Moment, Moment), Unbounded> {
        let clock = exact(clock);
        match self.published_bounds(clock) {
            Some(bounds) => Ok(bounds),
            None => kernel_bounds(clock),
        }
    }

    fn published_bounds(&self, clock: Clock) -> Option<(Moment, Moment)> {
        let record = self.vdso.latched(record_name(clock.id())).ok()?;
        let words: [u64; Record::WORDS] = record.get();
        let (time, error) = match Source::from_word(words[Record::SOURCE]) {
            Source::Counter { .. } => Record::read_with_error(|at| words[at], cpu::ticks())?,
            Source::SystemCall | Source::Kernel => return None,
            // Virtual time is for the programs to which it is delivered.
            Source::KernelClock(_) | Source::KernelMoved | Source::Fixed | Source::Reads => {
                return None;
            }
        };
        let (more, nanoseconds) = split(time.1);
        let time = Moment::from_seconds(time.0.wrapping_add(more as i64));
        let time = time.moved(nanoseconds.into());
        Some(around(time, error))
    }
}

/// The interval in which the true time of one of the kernel's clocks lies, earliest and latest.
///
/// The true time of a wall clock is UTC or TAI, and the bound is the kernel's maximum error,
/// which NTP daemons set (adjtimex(2), `maxerror`). For the other clocks it is the kernel's
/// clock itself, and the interval is a point. A coarse clock counts as its exact one.
///
/// # Errors
/// [`Unbounded`].
pub fn kernel_bounds(clock: Clock) -> Result<(Moment, Moment), Unbounded> {
    let clock = exact(clock);
    let time = kernel_time(clock).ok_or(Unbounded::NoClock)?;
    let error = match clock.is_wall() {
        true => wall().error.ok_or(Unbounded::NotSynchronised)?,
        false => 0,
    };
    Ok(around(time, error))
}

/// The exact clock of a coarse one.
fn exact(clock: Clock) -> Clock {
    match clock {
        Clock::RealtimeCoarse => Clock::Realtime,
        Clock::MonotonicCoarse => Clock::Monotonic,
        exact => exact,
    }
}

/// `error` nanoseconds before and after `time`.
fn around(time: Moment, error: u64) -> (Moment, Moment) {
    let error = i128::from(error);
    (time.moved(-error), time.moved(error))
}

/// A clock of this process: by its vDSO, or by system call. `None` if there is none.
pub(super) fn kernel_time(clock: Clock) -> Option<Moment> {
    let id = match clock {
        Clock::Realtime => DynamicClockId::Known(ClockId::Realtime),
        Clock::RealtimeCoarse => DynamicClockId::Known(ClockId::RealtimeCoarse),
        Clock::Monotonic => DynamicClockId::Known(ClockId::Monotonic),
        Clock::MonotonicCoarse => DynamicClockId::Known(ClockId::MonotonicCoarse),
        Clock::MonotonicRaw => DynamicClockId::Known(ClockId::MonotonicRaw),
        Clock::Boottime => DynamicClockId::Boottime,
        Clock::RealtimeAlarm => DynamicClockId::RealtimeAlarm,
        Clock::BoottimeAlarm => DynamicClockId::BoottimeAlarm,
        Clock::Tai => DynamicClockId::Tai,
    };
    let time = clock_gettime_dynamic(id).ok()?;
    Moment::from_timespec(time.tv_sec, time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_monotonic_clocks_are_exact() {
        for clock in [Clock::Monotonic, Clock::MonotonicRaw, Clock::Boottime] {
            let before = kernel_time(clock).unwrap();
            let (earliest, latest) = kernel_bounds(clock).unwrap();
            assert_eq!(earliest, latest, "{clock:?}");
            assert!(before <= earliest && latest <= kernel_time(clock).unwrap());
        }
    }

    #[test]
    fn wall_time_has_the_kernels_maximum_error_or_no_bound() {
        for clock in [Clock::Realtime, Clock::RealtimeCoarse, Clock::Tai] {
            let before = kernel_time(exact(clock)).unwrap();
            match (kernel_bounds(clock), wall().error) {
                (Ok((earliest, latest)), Some(_)) => {
                    assert!(earliest <= kernel_time(exact(clock)).unwrap());
                    assert!(before <= latest);
                }
                (found, None) => assert_eq!(found, Err(Unbounded::NotSynchronised)),
                (found, Some(_)) => panic!("{found:?}"),
            }
        }
    }

    #[test]
    fn an_interval_may_begin_before_the_clocks_zero() {
        let time = Moment::from_timespec(0, 5).unwrap();
        let (earliest, latest) = around(time, 10);
        assert_eq!(earliest.as_nanoseconds(), -5);
        assert_eq!(latest.as_nanoseconds(), 15);
    }
}
