//! `getcpu`.
#![allow(unsafe_code, reason = "C callers pass pointers")]

use crate::data::DataPages;
use crate::facts;
use core::ffi::c_void;

/// The CPU and NUMA node of the caller; each pointer may be null. The third is
/// unused since Linux 2.6.24 (getcpu(2)).
///
/// # Safety
/// Each pointer is null, or what `getcpu(2)` takes.
#[inline(always)]
pub(crate) unsafe fn getcpu(
    source: impl DataPages,
    cpu: *mut u32,
    node: *mut u32,
    _unused: *mut c_void,
) -> i64 {
    let both = source.cpu_and_node();
    if !cpu.is_null() {
        // SAFETY: the caller vouches for the pointer.
        unsafe { cpu.write(both & facts::CPU_MASK) };
    }
    if !node.is_null() {
        // SAFETY: the caller vouches for the pointer.
        unsafe { node.write(both >> facts::CPU_BITS) };
    }
    0
}
