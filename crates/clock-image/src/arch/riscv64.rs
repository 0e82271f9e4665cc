//! Linux on RISC-V, 64 bits.
#![allow(
    unsafe_code,
    reason = "the counter and addresses need instructions of their own"
)]

#[cfg(vdsokit_image)]
use super::number;
use core::arch::asm;

/// Linux's vDSO function of this name.
#[cfg(vdsokit_image)]
macro_rules! kernel_name {
    ($name:ident) => {
        concat!("__vdso_", stringify!($name))
    };
}
#[cfg(vdsokit_image)]
pub(crate) use kernel_name;

/// The wall-clock timer. `rdtime` traps to machine mode or reads a device's register, so that it is
/// not speculated; Linux's vDSO has no fence around it either
/// (arch/riscv/include/asm/vdso/gettimeofday.h, `__arch_get_hw_counter()`).
#[inline(always)]
pub(crate) fn counter() -> u64 {
    let ticks;
    // SAFETY: it writes one register and touches no memory; Linux lets programs read this
    // counter.
    unsafe {
        asm!("rdtime {}", out(reg) ticks, options(nostack, preserves_flags));
    }
    ticks
}

/// The address of the byte at `AT` of the vvar pages, which the image's linker places behind the text.
#[inline(always)]
pub(crate) fn vvar<const AT: usize>() -> *const u8 {
    let address;
    // SAFETY: it computes an address.
    unsafe {
        asm!(".hidden __vdsokit_vvar", "lla {0}, __vdsokit_vvar + {1}", out(reg) address, const AT,
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
                concat!("lla {0}, \"vdsokit_link.", $name, "\""),
                "ld {0}, 0({0})",
                out(reg) word, options(nostack, preserves_flags, readonly)
            );
        }
        word
    }};
}
#[cfg(vdsokit_image)]
pub(crate) use load_link;

/// Linux has the CPU's number in no place that a program can read.
#[inline(always)]
pub(crate) fn cpu_and_node() -> Option<(u32, u32)> {
    None
}

// The return address of signal handlers: no C library for this architecture sets one
// (`SA_RESTORER` does not exist here).
//
// Unwinders recognise a signal frame by these two instructions, each of four bytes, where there
// is no unwind information: libgcc (libgcc/config/riscv/linux-unwind.h), LLVM's libunwind and gdb
// alike. Linux's own has unwind information that does not say where the registers are
// (arch/riscv/kernel/vdso/rt_sigreturn.S). The no-op is for those that look up the address before
// a return address.
#[cfg(vdsokit_image)]
core::arch::global_asm!(
    ".pushsection .text.__vdso_rt_sigreturn, \"ax\", %progbits",
    ".balign 4",
    ".option push",
    ".option norvc",
    "nop",
    ".globl __vdso_rt_sigreturn",
    ".type __vdso_rt_sigreturn, %function",
    "__vdso_rt_sigreturn:",
    "li a7, {call}",
    "ecall",
    ".size __vdso_rt_sigreturn, . - __vdso_rt_sigreturn",
    ".option pop",
    ".popsection",
    call = const number::RT_SIGRETURN,
);

// What the compiler makes of copies and clearings of arrays in the cipher, which is Rust here
// (`vdsokit_random::chacha`): a few words for each request of random bytes.
#[cfg(vdsokit_image)]
core::arch::global_asm!(
    ".pushsection .text.memory, \"ax\", %progbits",
    ".hidden memcpy",
    ".globl memcpy",
    ".type memcpy, %function",
    "memcpy:",
    ".cfi_startproc",
    "add a2, a1, a2",
    "mv a3, a0",
    "2: beq a1, a2, 3f",
    "lbu a4, 0(a1)",
    "sb a4, 0(a3)",
    "addi a1, a1, 1",
    "addi a3, a3, 1",
    "j 2b",
    "3: li a4, 0",
    "ret",
    ".cfi_endproc",
    ".size memcpy, . - memcpy",
    ".hidden memset",
    ".globl memset",
    ".type memset, %function",
    "memset:",
    ".cfi_startproc",
    "add a2, a0, a2",
    "mv a3, a0",
    "2: beq a3, a2, 3f",
    "sb a1, 0(a3)",
    "addi a3, a3, 1",
    "j 2b",
    "3: ret",
    ".cfi_endproc",
    ".size memset, . - memset",
    ".popsection",
);
