//! The functions' public names, as the kernel's linker script exports them.
#![allow(
    unsafe_code,
    reason = "a symbol's name is chosen; nothing else in the image has it"
)]

use crate::kernel::Linux;
use crate::time::{Timespec, Timeval, Timezone};
use core::ffi::c_void;

/// Gives a function its strong name, `__vdso_NAME`, and its weak one, `NAME`.
macro_rules! export {
    ($module:ident, fn $name:ident($($argument:ident: $of:ty),*) -> $result:ty) => {
        mod $name {
            use super::*;

            #[unsafe(export_name = concat!("__vdso_", stringify!($name)))]
            unsafe extern "C" fn exported($($argument: $of),*) -> $result {
                // SAFETY: the C caller fulfils the requirements of the C function.
                unsafe { crate::$module::$name(Linux, $($argument),*) }
            }
            core::arch::global_asm!(
                concat!(".weak ", stringify!($name)),
                concat!(".set ", stringify!($name), ", __vdso_", stringify!($name)),
            );
        }
    };
}

export!(time, fn clock_gettime(clock: u32, time: *mut Timespec) -> i32);
export!(time, fn clock_getres(clock: u32, resolution: *mut Timespec) -> i32);
export!(time, fn gettimeofday(time: *mut Timeval, zone: *mut Timezone) -> i32);
export!(time, fn time(seconds: *mut i64) -> i64);
export!(cpu, fn getcpu(cpu: *mut u32, node: *mut u32, unused: *mut c_void) -> i64);
