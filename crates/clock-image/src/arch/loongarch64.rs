//! Linux on LoongArch, 64 bits.
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

/// The stable counter. Linux's vDSO has no barrier around the read either
/// (arch/loongarch/include/asm/vdso/gettimeofday.h, `__arch_get_hw_counter()`).
#[inline(always)]
pub(crate) fn counter() -> u64 {
    let ticks;
    // SAFETY: it writes one register and touches no memory; Linux lets programs read this
    // counter.
    unsafe {
        asm!("rdtime.d {}, $zero", out(reg) ticks, options(nostack, preserves_flags));
    }
    ticks
}

/// The address of the byte at `AT` of the vvar pages, which the image's linker places behind the text.
#[inline(always)]
pub(crate) fn vvar<const AT: usize>() -> *const u8 {
    let address;
    // SAFETY: it computes an address.
    unsafe {
        asm!(".hidden __vdsokit_vvar", "la.pcrel {0}, __vdsokit_vvar + {1}", out(reg) address, const AT,
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
                concat!("pcalau12i {0}, %pc_hi20(\"vdsokit_link.", $name, "\")"),
                concat!("ld.d {0}, {0}, %pc_lo12(\"vdsokit_link.", $name, "\")"),
                out(reg) word, options(nostack, preserves_flags, readonly)
            );
        }
        word
    }};
}
#[cfg(vdsokit_image)]
pub(crate) use load_link;

/// The number of the CPU is what Linux sets as the counter's id, but the number of its node is in pages
/// of the kernel's own vDSO (arch/loongarch/vdso/vgetcpu.c).
#[inline(always)]
pub(crate) fn cpu_and_node() -> Option<(u32, u32)> {
    None
}

// The return address of signal handlers: the kernel sets that of its own vDSO
// (arch/loongarch/kernel/signal.c, `setup_rt_frame`), and programs have no `SA_RESTORER` here.
//
// Unwinders recognise a signal frame by these two instructions: libgcc
// (libgcc/config/loongarch/linux-unwind.h), libunwind and gdb alike. Linux's own has no unwind
// information that is mapped (arch/loongarch/vdso/sigreturn.S). The no-op is for those that look up the
// address before a return address.
#[cfg(vdsokit_image)]
core::arch::global_asm!(
    ".pushsection .text.__vdso_rt_sigreturn, \"ax\", %progbits",
    ".balign 4",
    "nop",
    ".globl __vdso_rt_sigreturn",
    ".type __vdso_rt_sigreturn, %function",
    "__vdso_rt_sigreturn:",
    "li.w $a7, {call}",
    "syscall 0",
    ".size __vdso_rt_sigreturn, . - __vdso_rt_sigreturn",
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
    "add.d $a2, $a1, $a2",
    "move $a3, $a0",
    "2: beq $a1, $a2, 3f",
    "ld.b $a4, $a1, 0",
    "st.b $a4, $a3, 0",
    "addi.d $a1, $a1, 1",
    "addi.d $a3, $a3, 1",
    "b 2b",
    "3: move $a4, $zero",
    "ret",
    ".cfi_endproc",
    ".size memcpy, . - memcpy",
    ".hidden memset",
    ".globl memset",
    ".type memset, %function",
    "memset:",
    ".cfi_startproc",
    "add.d $a2, $a0, $a2",
    "move $a3, $a0",
    "2: beq $a3, $a2, 3f",
    "st.b $a1, $a3, 0",
    "addi.d $a3, $a3, 1",
    "b 2b",
    "3: ret",
    ".cfi_endproc",
    ".size memset, . - memset",
    ".popsection",
);
