//! The kernel's clocks and what it says of them.
#![allow(
    unsafe_code,
    reason = "a system call has no safe function for which libc would not call the vDSO"
)]

use super::adjtimex::wall;
use super::process::is_replaced;
use rustix::time::{ClockId, clock_gettime};
use vdsokit_clock::KernelTime;

/// A clock of the kernel's in nanoseconds: by its own vDSO, by system call where this
/// process has another one in its place. That may tell virtual time, or the very page that
/// is kept by what this says.
pub(super) fn nanoseconds(clock: ClockId) -> i128 {
    if is_replaced() {
        return by_system_call(clock);
    }
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

fn by_system_call(clock: ClockId) -> i128 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes the one structure that it is given a pointer to. It doesn't
    // fail: these clocks are on every machine.
    unsafe {
        libc::syscall(
            libc::SYS_clock_gettime,
            clock as libc::c_long,
            &raw mut time,
        )
    };
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// The same as a word: none of these clocks is before its zero, and 2⁶⁴ ns are
/// 584 years.
fn word(clock: ClockId) -> u64 {
    nanoseconds(clock).try_into().unwrap_or_default()
}

pub(super) fn time() -> KernelTime {
    KernelTime {
        realtime_coarse: word(ClockId::RealtimeCoarse),
        realtime: word(ClockId::Realtime),
        monotonic: word(ClockId::Monotonic),
        raw: word(ClockId::MonotonicRaw),
        boottime: word(ClockId::Boottime),
        tai: i64::from(wall().tai) * 1_000_000_000,
    }
}
