//! Linux on x86-64.
#![allow(
    unsafe_code,
    reason = "the counter and addresses need instructions of their own"
)]

#[cfg(vdsokit_image)]
mod quick;

use core::arch::asm;

#[cfg(vdsokit_image)]
pub(crate) use quick::clock_gettime;

/// Numbers of system calls (arch/x86/entry/syscalls/syscall_64.tbl).
pub(crate) mod number {
    pub(crate) const GETTIMEOFDAY: usize = 96;
    pub(crate) const ADJTIMEX: usize = 159;
    pub(crate) const CLOCK_GETTIME: usize = 228;
    pub(crate) const CLOCK_GETRES: usize = 229;
    pub(crate) const GETCPU: usize = 309;
    pub(crate) const GETRANDOM: usize = 318;
    #[cfg(vdsokit_guest)]
    pub(crate) const GETPID: usize = 39;
    #[cfg(vdsokit_guest)]
    pub(crate) const GETPPID: usize = 110;
}

/// Linux's vDSO function of this name.
#[cfg(vdsokit_image)]
macro_rules! kernel_name {
    ($name:ident) => {
        concat!("__vdso_", stringify!($name))
    };
}
#[cfg(vdsokit_image)]
pub(crate) use kernel_name;

/// Gives a function its strong name, `__vdso_NAME`, and its weak one, `NAME`.
#[cfg(vdsokit_image)]
macro_rules! export {
    (fn $name:ident($($argument:ident: $of:ty),*) -> $result:ty) => {
        mod $name {
            use super::*;

            #[unsafe(export_name = crate::arch::kernel_name!($name))]
            unsafe extern "C" fn exported($($argument: $of),*) -> $result {
                // SAFETY: the C caller fulfils the requirements of the C function.
                unsafe { $name($($argument),*) }
            }
            core::arch::global_asm!(
                concat!(".weak ", stringify!($name)),
                concat!(".set ", stringify!($name), ", ", crate::arch::kernel_name!($name)),
            );
        }
    };
}
#[cfg(vdsokit_image)]
pub(crate) use export;

/// The time-stamp counter, read after all instructions before it were executed
/// (Intel SDM, volume 2, RDTSCP). Linux's vDSO reads it in the same way where
/// the CPU has the instruction. Measured, `lfence; rdtsc` is as fast, but delays
/// the instructions after it too.
#[inline(always)]
pub(crate) fn counter() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: it writes the three registers named and touches no memory. A
    // program for which the instruction is forbidden (PR_SET_TSC) is ended by a
    // signal, as it would be by Linux's own vDSO.
    unsafe {
        asm!("rdtscp", out("rax") low, out("rdx") high, out("rcx") _,
            options(nostack, preserves_flags));
    }
    high << 32 | low
}

/// The address of the byte at `AT` of the vvar pages, which the image's linker places behind the text.
#[inline(always)]
pub(crate) fn vvar<const AT: usize>() -> *const u8 {
    let address;
    // SAFETY: it computes an address. Inline assembly, since rustc would load the
    // address from a table that needs a relocation.
    unsafe {
        asm!(".hidden __vdsokit_vvar", "lea {}, [rip + __vdsokit_vvar + {}]", out(reg) address, const AT,
            options(pure, nomem, nostack, preserves_flags));
    }
    address
}

/// Loads the word of a link.
#[cfg(vdsokit_image)]
macro_rules! load_link {
    ($name:expr) => {{
        let word: usize;
        // SAFETY: it loads a word of the image. Inline assembly, so that the
        // compiler does not replace it by the 0 that is in the file.
        unsafe {
            core::arch::asm!(
                concat!("mov {}, [rip + \"vdsokit_link.", $name, "\"]"),
                out(reg) word, options(nostack, preserves_flags, readonly)
            );
        }
        word
    }};
}
#[cfg(vdsokit_image)]
pub(crate) use load_link;

/// CPU and NUMA node: the CPU in the lower 12 bits of the limit of a segment
/// that Linux keeps for this, the node above (arch/x86/include/asm/segment.h,
/// `__CPUNODE_SEG`). `None` if there is no such segment.
#[inline(always)]
pub(crate) fn cpu_and_node() -> Option<(u32, u32)> {
    const SEGMENT: u32 = 0x7b;
    let limit: u32;
    let found: u8;
    // SAFETY: `lsl` loads a segment's limit, or clears the zero flag where there
    // is none; it touches nothing else.
    unsafe {
        asm!("lsl {limit:e}, {segment:e}", "setz {found}", segment = in(reg) SEGMENT,
            limit = inout(reg) 0u32 => limit, found = out(reg_byte) found,
            options(nomem, nostack));
    }
    (found != 0).then_some((limit & 0xfff, limit >> 12))
}
