//! The functions' public names.
#![allow(
    unsafe_code,
    reason = "symbols get names that nothing else in the image has"
)]

use crate::arch::export;
#[cfg(not(target_arch = "aarch64"))]
use crate::getcpu::getcpu;
use crate::getrandom::getrandom;
#[cfg(not(target_arch = "x86_64"))]
use crate::gettime::clock_gettime;
use crate::gettime::{Timespec, clock_getres};
use crate::wall::{Timeval, Timezone, gettimeofday};
use core::ffi::c_void;

#[cfg(not(target_arch = "x86_64"))]
export!(fn clock_gettime(clock: u32, time: *mut Timespec) -> i32);
export!(fn clock_getres(clock: u32, resolution: *mut Timespec) -> i32);
export!(fn gettimeofday(time: *mut Timeval, zone: *mut Timezone) -> i32);
export!(fn getrandom(
    buffer: *mut c_void,
    length: usize,
    flags: u32,
    state: *mut c_void,
    state_length: usize
) -> isize);
#[cfg(not(target_arch = "aarch64"))]
export!(fn getcpu(cpu: *mut u32, node: *mut u32, cache: *mut c_void) -> i64);

/// Not a function of Linux's vDSO, so its name is the same on all architectures.
#[unsafe(no_mangle)]
unsafe extern "C" fn vdso_clock_bound(
    clock: u32,
    earliest: *mut Timespec,
    latest: *mut Timespec,
) -> i32 {
    // SAFETY: the C caller fulfils the requirements of the C function.
    unsafe { crate::bound::clock_bound(clock, earliest, latest) }
}

#[cfg(target_arch = "x86_64")]
mod time {
    use crate::arch::export;
    use crate::wall::time;

    export!(fn time(seconds: *mut i64) -> i64);
}
