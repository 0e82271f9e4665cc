//! `gettimeofday` and `time`.
#![allow(
    unsafe_code,
    reason = "C callers pass pointers; the last resort is a system call"
)]

use crate::gettime::{Timespec, clock_gettime};
use crate::{arch, link};
use core::ffi::c_long;
use vdsokit_clock::Clock;

/// C's `struct timeval`, with the times of the architecture's words: 32 bits on i386, whose functions
/// give the lower ones of a time that has more, as the kernel's do (lib/vdso/gettimeofday.c).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeval {
    /// `tv_sec`.
    pub seconds: c_long,
    /// `tv_usec`, 0 to 999,999.
    pub microseconds: c_long,
}

/// C's `struct timezone`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Timezone {
    /// `tz_minuteswest`.
    pub minutes_west: i32,
    /// `tz_dsttime`.
    pub dst: i32,
}

/// Wall time in microseconds, and the time zone that was set by settimeofday(2);
/// both pointers may be null.
///
/// # Safety
/// The pointers are what `gettimeofday(2)` takes.
#[inline(always)]
pub unsafe fn gettimeofday(time: *mut Timeval, zone: *mut Timezone) -> i32 {
    if !time.is_null() {
        let mut now = Timespec::default();
        // SAFETY: a pointer to a local variable.
        let result = unsafe { clock_gettime(Clock::Realtime.id(), &raw mut now) };
        if result != 0 {
            return result;
        }
        // SAFETY: the caller vouches for the pointer.
        unsafe {
            time.write(Timeval {
                seconds: now.seconds as c_long,
                microseconds: (now.nanoseconds as u32 / 1000) as c_long,
            });
        }
    }
    if zone.is_null() {
        return 0;
    }
    if let Some(kernel) = link::gettimeofday() {
        return kernel(core::ptr::null_mut(), zone);
    }
    // SAFETY: the caller vouches for the pointer, and the kernel checks it.
    unsafe {
        arch::system_call(arch::number::GETTIMEOFDAY, [0, zone.expose_provenance(), 0]) as i32
    }
}

/// Wall time in seconds, as of the last update; `seconds` may be null.
///
/// # Safety
/// The pointer is what `time(2)` takes.
#[inline(always)]
pub unsafe fn time(seconds: *mut c_long) -> c_long {
    let mut now = Timespec::default();
    // SAFETY: a pointer to a local variable.
    let result = unsafe { clock_gettime(Clock::RealtimeCoarse.id(), &raw mut now) };
    if result != 0 {
        return c_long::from(result);
    }
    if !seconds.is_null() {
        // SAFETY: the caller vouches for the pointer.
        unsafe { seconds.write(now.seconds as c_long) };
    }
    now.seconds as c_long
}
