//! Readings of the kernel's clocks, for publishers.
#![allow(
    unsafe_code,
    reason = "a system call has no safe function for which libc would not call the vDSO"
)]

use super::adjtimex::wall;
use super::process::is_replaced;
use rustix::time::{ClockId, clock_gettime};
use vdsokit_clock::KernelTime;

/// One of the kernel's clocks in nanoseconds: by the kernel's own vDSO, or by system call
/// where this process has another vDSO. That vDSO may show virtual time, or the very page
/// that this reading is going to discipline.
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
    // SAFETY: the kernel writes one `timespec`, to which the pointer is. It doesn't fail:
    // every kernel has these clocks.
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
