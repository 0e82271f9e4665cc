//! Links: addresses that delivery puts into the image.
//!
//! A word each, in the image's read-only segment, 0 in the file. Whoever brings
//! the image into a process may fill them, in that process's own copy of the
//! page; the ELF note of type [`vdsokit_vvar::NOTE_LINKS`] says where they are
//! and what belongs there. Loaded as a library, the image has none, and makes
//! system calls.
#![allow(
    unsafe_code,
    reason = "a number becomes a function; and it may change under the compiler's eyes"
)]

use crate::gettime::Timespec;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};

/// The kernel's own `clock_gettime` and `clock_getres`.
pub(crate) type OfClock = extern "C" fn(u32, *mut Timespec) -> i32;
/// The kernel's own `getcpu`.
#[cfg(target_arch = "x86_64")]
pub(crate) type GetCpu = extern "C" fn(*mut u32, *mut u32, *mut c_void) -> i64;
/// The kernel's own `getrandom`.
pub(crate) type GetRandom = extern "C" fn(*mut c_void, usize, u32, *mut c_void, usize) -> isize;

/// A link: its word in the image, and a function that loads it. Outside of an
/// image there is nobody to fill it.
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
#[cfg(target_arch = "x86_64")]
link!(load_getcpu = crate::arch::kernel_name!(getcpu));
link!(load_getrandom = crate::arch::kernel_name!(getrandom));
link!(load_reads = "vdsokit_reads");

/// The kernel's own `clock_gettime`, if linked.
#[inline(always)]
pub(crate) fn clock_gettime() -> Option<OfClock> {
    // SAFETY: (1) the word is 0, which is `None`, or what the note asks for, the
    // address of a function of this type; (2) the kernel's vDSO stays mapped.
    unsafe { core::mem::transmute::<usize, Option<OfClock>>(load_clock_gettime()) }
}

/// The kernel's own `clock_getres`, if linked.
#[inline(always)]
pub(crate) fn clock_getres() -> Option<OfClock> {
    // SAFETY: as for `clock_gettime`.
    unsafe { core::mem::transmute::<usize, Option<OfClock>>(load_clock_getres()) }
}

/// The kernel's own `getcpu`, if linked.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn getcpu() -> Option<GetCpu> {
    // SAFETY: as for `clock_gettime`.
    unsafe { core::mem::transmute::<usize, Option<GetCpu>>(load_getcpu()) }
}

/// AArch64's vDSO has no such function.
#[cfg(target_arch = "aarch64")]
pub(crate) fn getcpu() -> Option<extern "C" fn(*mut u32, *mut u32, *mut c_void) -> i64> {
    None
}

/// The kernel's own `getrandom`, if linked.
#[inline(always)]
pub(crate) fn getrandom() -> Option<GetRandom> {
    // SAFETY: as for `clock_gettime`.
    unsafe { core::mem::transmute::<usize, Option<GetRandom>>(load_getrandom()) }
}

/// Where this process counts its reads of clocks: writable memory of its own.
#[inline(always)]
fn reads() -> Option<&'static AtomicU64> {
    // SAFETY: the word is 0, or what the note asks for, the address of an
    // aligned word of this process's memory that stays mapped and is used for
    // nothing else.
    unsafe { core::ptr::with_exposed_provenance::<AtomicU64>(load_reads()).as_ref() }
}

/// How often this process has read a clock before; 0 where nobody counts.
pub(crate) fn count_read() -> u64 {
    reads().map_or(0, |reads| reads.fetch_add(1, Ordering::Relaxed))
}
