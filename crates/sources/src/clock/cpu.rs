//! The CPU's counter: reading it, and whether it may be trusted.
#![allow(unsafe_code, reason = "a counter is read by an instruction of its own")]

/// The counter, after everything before it; as the image reads it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn ticks() -> u64 {
    let mut processor = 0;
    // SAFETY: a pointer to a local variable; whoever publishes source `counter` has found
    // that the CPU has the instruction.
    unsafe { std::arch::x86_64::__rdtscp(&raw mut processor) }
}

/// The counter, after everything before it; as the image reads it.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) fn ticks() -> u64 {
    let ticks;
    // SAFETY: Linux lets programs read this counter; no memory is touched.
    unsafe {
        std::arch::asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks,
            options(nostack, preserves_flags));
    }
    ticks
}

/// The counter. Linux's own vDSO puts no fence around this read either, since firmware may
/// emulate it by a trap (arch/riscv/include/asm/vdso/gettimeofday.h).
#[cfg(target_arch = "riscv64")]
#[inline(always)]
pub(super) fn ticks() -> u64 {
    ticks_unordered()
}

/// The counter, at some time near to this call: the CPU may read it before what comes
/// before, and after what comes after.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn ticks_unordered() -> u64 {
    // SAFETY: it reads a register. A program for which the instruction is forbidden
    // (PR_SET_TSC) is ended by a signal, as it would be by the kernel's own vDSO.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The counter, at some time near to this call: the CPU may read it before what comes
/// before, and after what comes after.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) fn ticks_unordered() -> u64 {
    let ticks;
    // SAFETY: Linux lets programs read this counter; no memory is touched.
    unsafe {
        std::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks,
            options(nomem, nostack, preserves_flags));
    }
    ticks
}

/// The counter, at some time near to this call.
#[cfg(target_arch = "riscv64")]
#[inline(always)]
pub(super) fn ticks_unordered() -> u64 {
    let ticks;
    // SAFETY: Linux lets programs read this counter; no memory is touched.
    unsafe {
        std::arch::asm!("rdtime {}", out(reg) ticks, options(nomem, nostack, preserves_flags));
    }
    ticks
}

/// Does the counter run at one rate whatever the CPU does, and has it the
/// instruction? (Intel SDM, volume 3, "Invariant TSC"; AMD APM, volume 3,
/// CPUID Fn8000_0007_EDX, and Fn8000_0001_EDX for `rdtscp`.)
#[cfg(all(feature = "publish", target_arch = "x86_64"))]
pub(super) fn is_invariant() -> bool {
    use std::arch::x86_64::__cpuid;
    let has =
        |leaf, bit: u32| __cpuid(0x8000_0000).eax >= leaf && __cpuid(leaf).edx >> bit & 1 == 1;
    has(0x8000_0007, 8) && has(0x8000_0001, 27)
}

/// The architecture says so (Arm ARM, D13, the system counter; RISC-V unprivileged ISA,
/// Zicntr, RDTIME).
#[cfg(all(
    feature = "publish",
    any(target_arch = "aarch64", target_arch = "riscv64")
))]
pub(super) fn is_invariant() -> bool {
    true
}
