//! The kernel's own clocks, by system call: the vDSO of this process may itself have virtual
//! time, as when a program under `vdso run` calls `vdso clock`.
#![allow(
    unsafe_code,
    reason = "system calls for which libc would call the vDSO, and adjtimex(2)"
)]

use std::io;

use vdsokit_clock::{Clock, KernelTime};

/// Reads all clocks.
pub(crate) fn now() -> io::Result<KernelTime> {
    let realtime = read(Clock::Realtime)?;
    // Read right after, so that the difference is off by the time of one read at most.
    let tai = read(Clock::Tai)?;
    let tai = whole_seconds(i128::from(tai) - i128::from(realtime));
    let since_1970 = |time: i64| u64::try_from(time).unwrap_or(0);
    Ok(KernelTime {
        realtime_coarse: since_1970(read(Clock::RealtimeCoarse)?),
        realtime: since_1970(read(Clock::Realtime)?),
        monotonic: since_1970(read(Clock::Monotonic)?),
        raw: since_1970(read(Clock::MonotonicRaw)?),
        boottime: since_1970(read(Clock::Boottime)?),
        // A small number.
        tai: tai as i64,
    })
}

/// The nearest whole number of seconds, in nanoseconds.
fn whole_seconds(nanoseconds: i128) -> i128 {
    (nanoseconds + SECOND / 2).div_euclid(SECOND) * SECOND
}

/// What adjtimex(2) returns and stores without modes, which needs no right and changes nothing.
pub(crate) fn adjustment() -> io::Result<(i32, libc::timex)> {
    // SAFETY:
    // 1. The structure has numbers alone, for which 0 is a value.
    // 2. The kernel writes to it while it lives; `modes` is 0, so nothing is set.
    unsafe {
        let mut adjustment: libc::timex = std::mem::zeroed();
        match libc::adjtimex(&raw mut adjustment) {
            -1 => Err(io::Error::last_os_error()),
            state => Ok((state, adjustment)),
        }
    }
}

const SECOND: i128 = 1_000_000_000;

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) fn monotonic() -> io::Result<u64> {
    Ok(u64::try_from(read(Clock::Monotonic)?).unwrap_or(0))
}

/// `CLOCK_BOOTTIME` in nanoseconds.
pub(crate) fn boottime() -> io::Result<u64> {
    Ok(u64::try_from(read(Clock::Boottime)?).unwrap_or(0))
}

/// A clock in nanoseconds.
pub(crate) fn read(clock: Clock) -> io::Result<i64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes to the pointer, which is to a local structure of that type.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clock_gettime,
            libc::c_long::from(clock.id()),
            &raw mut time,
        )
    };
    match result {
        0 => Ok(time.tv_sec * 1_000_000_000 + time.tv_nsec),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::time::{ClockId, clock_gettime};

    #[test]
    fn the_offset_of_atomic_time_is_the_nearest_whole_number_of_seconds() {
        for seconds in [-37, -1, 0, 1, 37] {
            for off in [-SECOND / 2, -900, 0, 900, SECOND / 2 - 1] {
                assert_eq!(whole_seconds(seconds * SECOND + off), seconds * SECOND);
            }
        }
    }

    #[test]
    fn each_clock_is_between_two_readings_of_it() {
        let clocks = [
            ClockId::RealtimeCoarse,
            ClockId::Realtime,
            ClockId::Monotonic,
            ClockId::MonotonicRaw,
            ClockId::Boottime,
            ClockId::Monotonic,
            ClockId::Boottime,
        ];
        let readings = || {
            clocks.map(|clock| {
                let time = clock_gettime(clock);
                time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
            })
        };
        let before = readings();
        let now = now().unwrap();
        let read = [
            now.realtime_coarse,
            now.realtime,
            now.monotonic,
            now.raw,
            now.boottime,
            monotonic().unwrap(),
            boottime().unwrap(),
        ];
        let after = readings();
        for (clock, (read, (before, after))) in
            read.iter().zip(before.iter().zip(after)).enumerate()
        {
            assert!(
                (*before..=after).contains(read),
                "{clock}: {before} {read} {after}"
            );
        }
        assert_eq!(
            now.tai,
            i64::from(adjustment().unwrap().1.tai) * 1_000_000_000
        );
    }
}
