//! The CPU's counter: reading it, and whether it is invariant. An architecture that is not here has
//! none, so its published clocks are answered by system calls.
#![allow(
    unsafe_code,
    reason = "the counter is read by an instruction without a safe function"
)]

/// The counter, read after all earlier instructions have completed, as the image reads it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn ticks() -> u64 {
    let mut processor = 0;
    // SAFETY: (1) the pointer is to a local variable; (2) the CPU has the instruction: only
    // records of source `counter` lead here, and their publisher has checked it
    // (`is_invariant`).
    unsafe { std::arch::x86_64::__rdtscp(&raw mut processor) }
}

/// The counter, read after all earlier instructions have completed, as the image reads it.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) fn ticks() -> u64 {
    let ticks;
    // SAFETY: Linux enables reads of this counter at EL0; no memory is accessed.
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

/// The counter at about the time of this call: the CPU may reorder the read with the
/// instructions around it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn ticks_unordered() -> u64 {
    // SAFETY: the instruction reads a register. A process for which it is disabled
    // (PR_SET_TSC) gets SIGSEGV, as it does from the kernel's own vDSO.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The counter at about the time of this call: the CPU may reorder the read with the
/// instructions around it.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) fn ticks_unordered() -> u64 {
    let ticks;
    // SAFETY: Linux enables reads of this counter at EL0; no memory is accessed.
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
    // SAFETY: Linux enables reads of this counter at EL0; no memory is accessed.
    unsafe {
        std::arch::asm!("rdtime {}", out(reg) ticks, options(nomem, nostack, preserves_flags));
    }
    ticks
}

/// No record of source `counter` is published where [`is_invariant`] is false.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
pub(super) fn ticks() -> u64 {
    0
}

/// See [`ticks`].
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
pub(super) fn ticks_unordered() -> u64 {
    0
}

/// Whether the counter runs at one rate in all states of the CPU, and the CPU has
/// `rdtscp` (Intel SDM, volume 3, "Invariant TSC"; AMD APM, volume 3,
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
#[cfg(all(feature = "publish", not(target_arch = "x86_64")))]
pub(super) fn is_invariant() -> bool {
    cfg!(any(target_arch = "aarch64", target_arch = "riscv64"))
}
