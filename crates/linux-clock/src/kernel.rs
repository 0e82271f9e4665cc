//! The pages beside the image, and the CPU.
#![allow(
    unsafe_code,
    reason = "addresses, counters and system calls need instructions of their own"
)]

use crate::data::{DataPages, Page};
use crate::facts;
use core::arch::asm;

/// Linux's own pages, in a process that has Linux's own vDSO.
#[derive(Clone, Copy)]
pub(crate) struct Linux;

/// The address of a symbol of the kernel's linker script (`vdso-layout.lds.S`, `vvar.h`).
/// Inline assembly, since rustc would load it from a table that needs a relocation.
macro_rules! page {
    ($symbol:literal) => {{
        let address: *const u8;
        // SAFETY: it computes an address, and touches neither memory nor flags.
        unsafe {
            asm!(
                concat!(".hidden ", $symbol),
                concat!("lea {}, [rip + ", $symbol, "]"),
                out(reg) address, options(pure, nomem, nostack, preserves_flags)
            );
        }
        Page::at(address)
    }};
}

// SAFETY: (1) the kernel maps these pages before the image in every process, and a fault
// maps their content; the pages of hypervisors' clocks only while the page names their mode;
// (2) the layout comes from the kernel's headers, and the kernel aligns its structures;
// (3) kernel and hypervisor write in address spaces of their own.
unsafe impl DataPages for Linux {
    #[inline(always)]
    fn shown(self) -> Page {
        page!("vvar__vdso_data")
    }

    #[inline(always)]
    fn outside(self) -> Page {
        page!("timens__vdso_data")
    }

    #[inline(always)]
    fn pvclock(self) -> Page {
        page!("pvclock_page")
    }

    #[inline(always)]
    fn hvclock(self) -> Page {
        page!("hvclock_page")
    }

    #[inline(always)]
    fn tsc(self) -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: the kernel's own text, which is patched at boot to one of `rdtsc`, `lfence;
        // rdtsc` and `rdtscp`: it writes these three registers. The assembly is not declared to
        // leave memory alone, so that no load of the page moves across it.
        unsafe {
            asm!(read_tsc!(), out("eax") low, out("edx") high, out("ecx") _,
                options(att_syntax, raw, nostack));
        }
        u64::from(high) << 32 | u64::from(low)
    }

    #[inline(always)]
    fn cpu_and_node(self) -> u32 {
        let both;
        // SAFETY: the kernel's own text, `lsl` or at boot `rdpid`: it reads ecx, writes eax
        // and flags, and touches no memory.
        unsafe {
            asm!(read_cpu!(), in("ecx") facts::CPU_SEGMENT, out("eax") both,
                options(att_syntax, raw, nostack, nomem));
        }
        both
    }

    #[inline(always)]
    unsafe fn call(self, number: usize, first: usize, second: usize) -> isize {
        let result;
        // SAFETY: (1) Linux's convention: number in rax, arguments in rdi and rsi, result in
        // rax, rcx and r11 lost (syscall(2)); (2) the caller vouches for the call; (3) the
        // assembly is not declared to leave memory alone.
        unsafe {
            asm!("syscall", inlateout("rax") number => result, in("rdi") first,
                in("rsi") second, lateout("rcx") _, lateout("r11") _, options(nostack));
        }
        result
    }
}
