//! `vdso_clock_bound`: the interval that true time lies in.
#![allow(
    unsafe_code,
    reason = "C callers pass pointers; the kernel's error takes a system call"
)]

use crate::arch;
use crate::gettime::{Timespec, clock_gettime, kernel};
use crate::page::Id;
use core::mem::MaybeUninit;
use vdsokit_clock::{Clock, ErrorBound, NANOSECONDS, Record, Source, split};

/// `EINVAL`, negative.
const NO_SUCH_CLOCK: i32 = -22;
/// `ENODATA`, negative.
const NO_BOUND: i32 = -61;

/// The interval in which the true time of a clock lies: 0, `*earliest` and
/// `*latest`; or a negative number of errno.h, with nothing written:
///
/// | result | when |
/// | --- | --- |
/// | `-EINVAL` | the clock has no true time: a CPU-time clock, a dynamic or unknown one, or an alarm clock on a machine without a real-time clock |
/// | `-ENODATA` | no bound is known: a wall clock that no NTP daemon keeps |
///
/// The true time of a wall clock is UTC or TAI: the bound is the publisher's, or
/// the kernel's maximum error, which NTP daemons set (adjtimex(2), `maxerror`).
/// For the other clocks it is the kernel's clock, and the interval is a point where
/// the kernel's own time is returned. A coarse clock counts as its exact one.
///
/// # Safety
/// Both pointers point to writable memory for a `timespec` each.
pub unsafe fn clock_bound(clock: u32, earliest: *mut Timespec, latest: *mut Timespec) -> i32 {
    let Some(clock) = Clock::from_id(clock) else {
        return NO_SUCH_CLOCK;
    };
    let clock = match clock {
        Clock::RealtimeCoarse => Clock::Realtime,
        Clock::MonotonicCoarse => Clock::Monotonic,
        exact => exact,
    };
    match bounded(clock) {
        Ok((time, error)) => {
            // SAFETY: the caller vouches for the pointers.
            unsafe {
                earliest.write(earlier(time, error));
                latest.write(later(time, error));
            }
            0
        }
        Err(error) => error,
    }
}

/// A clock's time and how many nanoseconds it may be off.
fn bounded(clock: Clock) -> Result<(Timespec, u64), i32> {
    let by_page = Id::new(clock.id()).and_then(|id| {
        let source = id.read(|copy| copy.word(Record::SOURCE));
        match Source::from_word(source) {
            Source::Counter { .. } => {
                let ticks = arch::counter();
                id.read(|copy| {
                    if copy.word(Record::SOURCE) != source {
                        return None;
                    }
                    let (time, error) = Record::read_with_error(|at| copy.word(at), ticks)?;
                    Some((Timespec::new(time), error))
                })
            }
            Source::SystemCall | Source::Kernel => None,
            Source::KernelClock(_) | Source::KernelMoved | Source::Fixed | Source::Reads => {
                let error = ErrorBound::from_word(id.read(|copy| copy.word(Record::ERROR)));
                if error.at_start == ErrorBound::UNKNOWN {
                    return None;
                }
                Some((by_call(clock, clock_gettime).ok()?, error.after(0)))
            }
        }
    });
    match by_page {
        Some(found) => Ok(found),
        // The kernel's own answer, which is exact: not one that is raised to what readers of the
        // page may have got.
        None if clock.is_wall() => Ok((by_call(clock, kernel)?, maximum_error()?)),
        None => Ok((by_call(clock, kernel)?, 0)),
    }
}

fn by_call(
    clock: Clock,
    call: unsafe extern "C" fn(u32, *mut Timespec) -> i32,
) -> Result<Timespec, i32> {
    let mut time = Timespec::default();
    // SAFETY: both functions that are passed here write to the pointer, which is to a local
    // variable, and have no other requirement.
    match unsafe { call(clock.id(), &raw mut time) } {
        0 => Ok(time),
        error => Err(error),
    }
}

/// `nanoseconds` earlier.
fn earlier(time: Timespec, nanoseconds: u64) -> Timespec {
    let (seconds, nanoseconds) = split(nanoseconds);
    let before = time.nanoseconds - i64::from(nanoseconds);
    let borrowed = before < 0;
    Timespec {
        seconds: time
            .seconds
            .wrapping_sub(seconds as i64 + i64::from(borrowed)),
        nanoseconds: if borrowed {
            before + NANOSECONDS as i64
        } else {
            before
        },
    }
}

/// `nanoseconds` later.
fn later(time: Timespec, nanoseconds: u64) -> Timespec {
    let (seconds, nanoseconds) = split(nanoseconds);
    let total = time.nanoseconds as u64 + u64::from(nanoseconds);
    Timespec::new((time.seconds.wrapping_add(seconds as i64), total))
}

/// The start of C's `struct timex` on 64-bit Linux, and room for the rest
/// (include/uapi/linux/timex.h).
#[repr(C)]
struct Timex {
    modes: u32,
    _offset: i64,
    _frequency: i64,
    maximum_error: i64,
    _rest: [u64; 22],
}

const _: () = assert!(size_of::<Timex>() == 208);

/// The kernel's maximum error of wall time in nanoseconds; [`NO_BOUND`] while its
/// clock is not synchronised.
fn maximum_error() -> Result<u64, i32> {
    /// `adjtimex`'s result for a clock that is not synchronised.
    const TIME_ERROR: isize = 5;
    let mut now = MaybeUninit::<Timex>::uninit();
    let at = now.as_mut_ptr();
    // SAFETY: a field of a local variable.
    unsafe { (&raw mut (*at).modes).write(0) };
    // SAFETY: a pointer to a local variable of the size that the kernel writes;
    // no modes: it only reads, and looks at no other field.
    let result =
        unsafe { arch::system_call(arch::number::ADJTIMEX, [at.expose_provenance(), 0, 0]) };
    match result {
        TIME_ERROR => Err(NO_BOUND),
        error if error < 0 => Err(error as i32),
        _ => {
            // SAFETY: the kernel has written all of it.
            let microseconds = unsafe { (*at).maximum_error };
            Ok(microseconds.unsigned_abs().saturating_mul(1000))
        }
    }
}
