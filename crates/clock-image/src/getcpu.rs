//! `getcpu`.
#![allow(
    unsafe_code,
    reason = "C callers pass pointers; the last resort is a system call"
)]

use crate::{arch, link};
use core::ffi::c_void;

/// The CPU and NUMA node of the caller, from the kernel's own vDSO where that is linked:
/// it has the fastest instruction (`rdpid`, where there is one:
/// arch/x86/include/asm/segment.h, `vdso_read_cpunode()`). Each pointer may be null; the
/// third is unused since Linux 2.6.24 (getcpu(2)).
///
/// # Safety
/// The pointers are what `getcpu(2)` takes.
#[inline(always)]
pub unsafe fn getcpu(cpu: *mut u32, node: *mut u32, cache: *mut c_void) -> i64 {
    if let Some(kernel) = link::getcpu() {
        return kernel(cpu, node, cache);
    }
    let Some((its_cpu, its_node)) = arch::cpu_and_node() else {
        // SAFETY: the caller vouches for the pointers, and the kernel checks them.
        return unsafe {
            arch::system_call(
                arch::number::GETCPU,
                [cpu.expose_provenance(), node.expose_provenance(), 0],
            ) as i64
        };
    };
    if !cpu.is_null() {
        // SAFETY: the caller vouches for the pointer.
        unsafe { cpu.write(its_cpu) };
    }
    if !node.is_null() {
        // SAFETY: the caller vouches for the pointer.
        unsafe { node.write(its_node) };
    }
    0
}
