//! Links: words of the image that delivery fills with addresses.
//!
//! Each is a word in the image's read-only segment, 0 in the file. Delivery may fill it in the
//! process's own copy of the page; the ELF note of type [`vdsokit_vvar::NOTE_LINKS`] lists where
//! the words are and what each one is for. Loaded as a library, the image has no links, and makes
//! system calls.
#![allow(
    unsafe_code,
    reason = "a word that delivery writes becomes the address of a function"
)]

use crate::gettime::Timespec;
use crate::wall::{Timeval, Timezone};
#[cfg(not(target_arch = "x86"))]
use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};

/// The type of the kernel's own `clock_gettime` and `clock_getres`.
pub(crate) type OfClock = extern "C" fn(u32, *mut Timespec) -> i32;
/// The type of the kernel's own `gettimeofday`.
pub(crate) type GetTimeOfDay = extern "C" fn(*mut Timeval, *mut Timezone) -> i32;
/// The type of the kernel's own `getcpu`.
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86")))]
pub(crate) type GetCpu = extern "C" fn(*mut u32, *mut u32, *mut c_void) -> i64;
/// The type of the kernel's own `getrandom`.
#[cfg(not(target_arch = "x86"))]
pub(crate) type GetRandom = extern "C" fn(*mut c_void, usize, u32, *mut c_void, usize) -> isize;

/// Defines a link: its word in the image, and a function that loads it. Outside of
/// an image the word is always 0.
macro_rules! link {
    ($load:ident = $name:expr) => {
        #[cfg(vdsokit_image)]
        core::arch::global_asm!(
            ".pushsection .rodata.vdsokit.links, \"a\"",
            ".balign 8",
            concat!(".globl \"vdsokit_link.", $name, "\""),
            concat!(".hidden \"vdsokit_link.", $name, "\""),
            concat!(".type \"vdsokit_link.", $name, "\", %object"),
            concat!("\"vdsokit_link.", $name, "\": .quad 0"),
            ".popsection",
        );

        #[cfg(vdsokit_image)]
        #[inline(always)]
        fn $load() -> usize {
            crate::arch::load_link!($name)
        }

        #[cfg(not(vdsokit_image))]
        fn $load() -> usize {
            0
        }
    };
}

link!(load_clock_gettime = crate::arch::kernel_name!(clock_gettime));
link!(load_clock_getres = crate::arch::kernel_name!(clock_getres));
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86")))]
link!(load_getcpu = crate::arch::kernel_name!(getcpu));
link!(load_gettimeofday = crate::arch::kernel_name!(gettimeofday));
#[cfg(not(target_arch = "x86"))]
link!(load_getrandom = crate::arch::kernel_name!(getrandom));
link!(load_reads = "vdsokit_reads");
#[cfg(target_arch = "x86_64")]
link!(load_current = "vdsokit_current");

/// The kernel's own `clock_gettime`, if linked.
#[inline(always)]
pub(crate) fn clock_gettime() -> Option<OfClock> {
    // SAFETY: (1) the word is 0, which is `None`, or the address of the function that
    // the note names, which has this type; (2) the kernel's vDSO stays mapped.
    unsafe { core::mem::transmute::<usize, Option<OfClock>>(load_clock_gettime()) }
}

/// The kernel's own `clock_getres`, if linked.
#[inline(always)]
pub(crate) fn clock_getres() -> Option<OfClock> {
    // SAFETY: (1) the word is 0, which is `None`, or the address of the function that
    // the note names, which has this type; (2) the kernel's vDSO stays mapped.
    unsafe { core::mem::transmute::<usize, Option<OfClock>>(load_clock_getres()) }
}

/// The kernel's own `getcpu`, if linked.
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86")))]
#[inline(always)]
pub(crate) fn getcpu() -> Option<GetCpu> {
    // SAFETY: (1) the word is 0, which is `None`, or the address of the function that
    // the note names, which has this type; (2) the kernel's vDSO stays mapped.
    unsafe { core::mem::transmute::<usize, Option<GetCpu>>(load_getcpu()) }
}

/// The kernel's own `gettimeofday`, if linked.
#[inline(always)]
pub(crate) fn gettimeofday() -> Option<GetTimeOfDay> {
    // SAFETY: (1) the word is 0, which is `None`, or the address of the function that
    // the note names, which has this type; (2) the kernel's vDSO stays mapped.
    unsafe { core::mem::transmute::<usize, Option<GetTimeOfDay>>(load_gettimeofday()) }
}

/// AArch64's vDSO has no such function.
#[cfg(target_arch = "aarch64")]
pub(crate) fn getcpu() -> Option<extern "C" fn(*mut u32, *mut u32, *mut c_void) -> i64> {
    None
}

/// The kernel's own `getrandom`, if linked.
#[cfg(not(target_arch = "x86"))]
#[inline(always)]
pub(crate) fn getrandom() -> Option<GetRandom> {
    // SAFETY: (1) the word is 0, which is `None`, or the address of the function that
    // the note names, which has this type; (2) the kernel's vDSO stays mapped.
    unsafe { core::mem::transmute::<usize, Option<GetRandom>>(load_getrandom()) }
}

/// The word in which this process counts its reads of clocks.
#[inline(always)]
fn reads() -> Option<&'static AtomicU64> {
    // SAFETY: the word is 0, which is `None`, or the address of an aligned word of this
    // process's memory that stays mapped and is used for nothing else, as the note's name
    // for it requires.
    unsafe { core::ptr::with_exposed_provenance::<AtomicU64>(load_reads()).as_ref() }
}

/// The CPU-time clocks of the running task, if its pages are linked.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn cpu_clocks() -> Option<vdsokit_current::CpuClocks> {
    let memory = core::ptr::with_exposed_provenance_mut(load_current());
    // SAFETY: the word is 0, or the address of memory of this process's own, zeros at first, which
    // is used for nothing else and stays mapped with the pages behind it, as the note's name
    // for it requires.
    core::ptr::NonNull::new(memory).map(|memory| unsafe { vdsokit_current::CpuClocks::new(memory) })
}

/// Counts a read of a clock. Returns how many there were before in this process; 0
/// without the link.
pub(crate) fn count_read() -> u64 {
    reads().map_or(0, |reads| reads.fetch_add(1, Ordering::Relaxed))
}
