//! The functions of i386's vDSO, with times of 32 bits and of 64.
//!
//! | function | time |
//! | --- | --- |
//! | `__vdso_clock_gettime64`, `__vdso_clock_getres_time64` | [`Timespec`](crate::gettime::Timespec): seconds and nanoseconds of 64 bits |
//! | `__vdso_clock_gettime`, `__vdso_clock_getres` | [`Timespec32`] |
//! | `__vdso_gettimeofday` | [`Timeval`](crate::wall::Timeval) |
//! | `__vdso_time` | seconds of 32 bits |
//!
//! Of a time that has more than 32 bits these give the lower ones, as the kernel's do
//! (lib/vdso/gettimeofday.c, `__cvdso_clock_gettime32`).
#![allow(
    unsafe_code,
    reason = "C callers pass pointers; symbols get names that nothing else in the image has"
)]

use crate::gettime::{Timespec, clock_getres, clock_gettime};

/// C's `struct timespec` with 32-bit times (`struct old_timespec32` of the kernel).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timespec32 {
    /// `tv_sec`.
    pub seconds: i32,
    /// `tv_nsec`, 0 to 999,999,999.
    pub nanoseconds: i32,
}

impl From<Timespec> for Timespec32 {
    fn from(time: Timespec) -> Self {
        Self {
            seconds: time.seconds as i32,
            nanoseconds: time.nanoseconds as i32,
        }
    }
}

/// The time of a clock in 32 bits: 0 and `*time`, or a negative number of errno.h.
///
/// # Safety
/// `time` is what `clock_gettime(2)` takes.
#[inline(always)]
pub unsafe fn clock_gettime32(clock: u32, time: *mut Timespec32) -> i32 {
    let mut now = Timespec::default();
    // SAFETY: a pointer to a local variable.
    let result = unsafe { clock_gettime(clock, &raw mut now) };
    if result == 0 {
        // SAFETY: the caller vouches for the pointer.
        unsafe { time.write(now.into()) };
    }
    result
}

/// The kernel's resolution of a clock in 32 bits: 0 and `*resolution`, which may be null, or a
/// negative number of errno.h.
///
/// # Safety
/// `resolution` is what `clock_getres(2)` takes.
#[inline(always)]
pub unsafe fn clock_getres32(clock: u32, resolution: *mut Timespec32) -> i32 {
    let mut found = Timespec::default();
    // SAFETY: a pointer to a local variable.
    let result = unsafe { clock_getres(clock, &raw mut found) };
    if result == 0 && !resolution.is_null() {
        // SAFETY: the caller vouches for the pointer.
        unsafe { resolution.write(found.into()) };
    }
    result
}

/// The functions under their public names.
#[cfg(vdsokit_image)]
mod exports {
    use super::*;
    use crate::wall::{Timeval, Timezone, gettimeofday, time};
    use core::ffi::c_long;

    macro_rules! export {
        ($name:literal = $function:path: fn($($argument:ident: $of:ty),*)) => {
            const _: () = {
                #[unsafe(export_name = $name)]
                unsafe extern "C" fn exported($($argument: $of),*) -> i32 {
                    // SAFETY: the C caller fulfils the requirements of the C function.
                    unsafe { $function($($argument),*) }
                }
            };
        };
    }

    export!("__vdso_clock_gettime64" = clock_gettime: fn(clock: u32, time: *mut Timespec));
    export!("__vdso_clock_gettime" = clock_gettime32: fn(clock: u32, time: *mut Timespec32));
    export!("__vdso_clock_getres_time64" = clock_getres: fn(clock: u32, time: *mut Timespec));
    export!("__vdso_clock_getres" = clock_getres32: fn(clock: u32, time: *mut Timespec32));
    export!("__vdso_gettimeofday" = gettimeofday: fn(time: *mut Timeval, zone: *mut Timezone));
    export!("__vdso_time" = time: fn(seconds: *mut c_long));
}
