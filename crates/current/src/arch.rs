//! The instructions of x86-64.
#![allow(
    unsafe_code,
    reason = "the CPU's number, the counter and system calls need instructions of their own"
)]

use core::arch::asm;

/// The CPU that this thread runs on, which may have changed when this returns; `None` where
/// Linux keeps no number there. The assembly is a barrier for the compiler: no load moves across it.
#[inline(always)]
#[must_use]
pub fn cpu(rdpid: bool) -> Option<u32> {
    // Linux keeps the CPU's number in the lower 12 bits of IA32_TSC_AUX, which rdpid reads, and of
    // the limit of a segment (arch/x86/include/asm/segment.h, `vdso_encode_cpunode`).
    const MASK: u32 = 0xfff;
    const SEGMENT: u32 = 0x7b;
    if rdpid {
        let number: u64;
        // SAFETY: it writes the register named and touches no memory; the kernel has found that the
        // CPUs have the instruction.
        unsafe { asm!("rdpid {}", out(reg) number, options(nostack, preserves_flags)) };
        return Some(number as u32 & MASK);
    }
    let limit: u32;
    let found: u8;
    // SAFETY: `lsl` loads a segment's limit, or clears the zero flag where there is none; it
    // touches nothing else.
    unsafe {
        asm!("lsl {limit:e}, {segment:e}", "setz {found}", segment = in(reg) SEGMENT,
            limit = inout(reg) 0_u32 => limit, found = out(reg_byte) found, options(nostack));
    }
    (found != 0).then_some(limit & MASK)
}

/// Whether the CPU has the instruction `rdpid` (Intel SDM, volume 2, CPUID leaf 7, ECX bit 22).
#[must_use]
pub fn has_rdpid() -> bool {
    use core::arch::x86_64::{__cpuid_count, __get_cpuid_max};
    // SAFETY: every x86-64 CPU has the instruction `cpuid`.
    #[allow(unused_unsafe, reason = "both functions are safe in newer Rust")]
    let leaf = unsafe { (__get_cpuid_max(0).0 >= 7).then(|| __cpuid_count(7, 0)) };
    leaf.is_some_and(|leaf| leaf.ecx >> 22 & 1 != 0)
}

/// The time-stamp counter, unordered: some instructions earlier or later.
#[inline(always)]
#[must_use]
pub fn counter() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: it writes the two registers named and touches no memory. A program for which the
    // instruction is forbidden (PR_SET_TSC) is ended by a signal, as by Linux's own vDSO.
    unsafe {
        asm!("rdtsc", out("rax") low, out("rdx") high, options(nostack, preserves_flags));
    }
    high << 32 | low
}

/// Makes a system call.
///
/// # Safety
/// The arguments are valid for the call, and so are its effects on the process.
#[inline(always)]
pub(crate) unsafe fn system_call(number: usize, arguments: [usize; 6]) -> isize {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result;
    // SAFETY: (1) Linux's convention: number in rax, arguments in rdi, rsi, rdx, r10, r8, r9,
    // result in rax, rcx and r11 lost (syscall(2)); (2) the caller vouches for the call; (3) the
    // assembly is not declared to leave memory alone.
    unsafe {
        asm!("syscall", inlateout("rax") number => result,
            in("rdi") first, in("rsi") second, in("rdx") third,
            in("r10") fourth, in("r8") fifth, in("r9") sixth,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}
