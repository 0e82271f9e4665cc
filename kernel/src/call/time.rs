//! Calls about time. Programs with a vDSO make those that read clocks only where that has no answer.

use crate::errno::Errno;
use crate::task::{Key, Outcome, schedule};
use crate::time::{self, SECOND};
use crate::user;
use linux_raw_sys::general as linux;
use vdsokit_clock::Moment;

/// Nanoseconds of a `timespec` of the program; `None` where there is none.
pub fn duration(address: usize) -> Result<Option<u64>, Errno> {
    if address == 0 {
        return Ok(None);
    }
    let [seconds, nanoseconds] = user::words(address)?;
    if (seconds as isize) < 0 || nanoseconds as u64 >= SECOND {
        return Err(Errno::INVALID);
    }
    let whole = (seconds as u64).saturating_mul(SECOND);
    Ok(Some(whole.saturating_add(nanoseconds as u64)))
}

/// Nanoseconds of a time-out in milliseconds; `None` for a negative one, which never ends.
pub fn milliseconds(timeout: usize) -> Option<u64> {
    let milliseconds = u64::try_from(timeout as i32).ok()?;
    Some(milliseconds * 1_000_000)
}

fn timespec(nanoseconds: u64) -> [usize; 2] {
    [
        (nanoseconds / SECOND) as usize,
        (nanoseconds % SECOND) as usize,
    ]
}

pub fn read(clock: usize, address: usize) -> Result<usize, Errno> {
    let now = time::read(clock as u32).ok_or(Errno::INVALID)?;
    user::write_words(address, &timespec(now))?;
    Ok(0)
}

/// `clock_settime`: wall time alone.
pub fn set(clock: usize, address: usize) -> Result<usize, Errno> {
    let wall = duration(address)?.ok_or(Errno::FAULT)?;
    if clock as u32 != linux::CLOCK_REALTIME {
        return Err(Errno::INVALID);
    }
    let wall = Moment::from_nanoseconds(wall.into());
    time::change(|keeper| keeper.set_wall(keeper.updated(), wall));
    Ok(0)
}

/// `clock_adjtime`: the frequency (`ADJ_FREQUENCY`), and a slew (`ADJ_OFFSET_SINGLESHOT`).
pub fn adjust(clock: usize, address: usize) -> Result<usize, Errno> {
    const ADJ_FREQUENCY: u32 = 2;
    const ADJ_OFFSET_SINGLESHOT: u32 = 0x8001;
    // `struct timex` (linux/timex.h) begins with the modes, microseconds, and millionths of a
    // millionth with 16 bits behind the point.
    let [modes, offset, frequency] = user::words(address)?;
    if clock as u32 != linux::CLOCK_REALTIME {
        return Err(Errno::INVALID);
    }
    match modes as u32 {
        0 => Ok(0),
        ADJ_FREQUENCY => time::change(|keeper| keeper.correct(frequency as i64))
            .map_or(Err(Errno::INVALID), |()| Ok(0)),
        ADJ_OFFSET_SINGLESHOT => {
            let nanoseconds = (offset as i64).saturating_mul(1000);
            time::change(|keeper| keeper.slew(nanoseconds));
            Ok(0)
        }
        _ => Err(Errno::INVALID),
    }
}

pub fn resolution(clock: usize, address: usize) -> Result<usize, Errno> {
    time::read(clock as u32).ok_or(Errno::INVALID)?;
    let resolution = match clock as u32 {
        linux::CLOCK_REALTIME_COARSE | linux::CLOCK_MONOTONIC_COARSE => time::TICK,
        _ => 1,
    };
    if address != 0 {
        user::write_words(address, &timespec(resolution))?;
    }
    Ok(0)
}

pub fn time_of_day(address: usize, zone: usize) -> Result<usize, Errno> {
    let now = time::read(linux::CLOCK_REALTIME).ok_or(Errno::INVALID)?;
    if address != 0 {
        let [seconds, nanoseconds] = timespec(now);
        user::write_words(address, &[seconds, nanoseconds / 1000])?;
    }
    if zone != 0 {
        user::write_words(zone, &[0])?;
    }
    Ok(0)
}

#[cfg(target_arch = "x86_64")]
pub fn seconds(address: usize) -> Result<usize, Errno> {
    let now = time::read(linux::CLOCK_REALTIME_COARSE).ok_or(Errno::INVALID)?;
    let seconds = (now / SECOND) as usize;
    if address != 0 {
        user::write_words(address, &[seconds])?;
    }
    Ok(seconds)
}

/// `clock_nanosleep`, and `nanosleep` with the monotonic clock.
pub fn sleep(clock: usize, flags: usize, request: usize, remain: usize) -> Result<usize, Errno> {
    let duration = duration(request)?.ok_or(Errno::FAULT)?;
    let is_absolute = flags as u32 & linux::TIMER_ABSTIME != 0;
    let deadline = match is_absolute {
        true => time::on_monotonic(clock as u32, duration).ok_or(Errno::INVALID)?,
        false => {
            time::read(clock as u32).ok_or(Errno::INVALID)?;
            time::monotonic().saturating_add(duration)
        }
    };
    match schedule::wait(Key::Time, Some(deadline)) {
        Outcome::TimedOut | Outcome::Woken => Ok(0),
        Outcome::Signal => {
            if remain != 0 && !is_absolute {
                let left = deadline.saturating_sub(time::monotonic());
                user::write_words(remain, &timespec(left))?;
            }
            Err(Errno::INTERRUPTED)
        }
    }
}
