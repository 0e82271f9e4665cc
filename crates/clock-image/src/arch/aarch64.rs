//! Linux on AArch64.
#![allow(
    unsafe_code,
    reason = "the counter and addresses need instructions of their own"
)]

#[cfg(vdsokit_image)]
use super::number;
use core::arch::asm;
use vdsokit_clock::{Line, Record};
use vdsokit_vvar::latch::Word;

/// Linux's vDSO function of this name.
#[cfg(vdsokit_image)]
macro_rules! kernel_name {
    ($name:ident) => {
        concat!("__kernel_", stringify!($name))
    };
}
#[cfg(vdsokit_image)]
pub(crate) use kernel_name;

/// The virtual counter, read after all instructions before it were executed: `isb`
/// keeps the read from being speculated (Arm ARM, D13, "the counter can be read
/// speculatively"), as Linux's vDSO does
/// (arch/arm64/include/asm/vdso/gettimeofday.h).
#[inline(always)]
pub(crate) fn counter() -> u64 {
    let ticks;
    // SAFETY: it writes one register and touches no memory; Linux lets programs
    // read this counter.
    unsafe {
        asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nostack, preserves_flags));
    }
    ticks
}

/// The address of the byte at `AT` of the vvar pages, which the image's linker places behind the text:
/// less than 1 MiB ahead, since an image is smaller.
#[inline(always)]
pub(crate) fn vvar<const AT: usize>() -> *const u8 {
    let address;
    // SAFETY: it computes an address.
    unsafe {
        asm!(".hidden __vdsokit_vvar", "adr {0}, __vdsokit_vvar + {1}", out(reg) address, const AT,
            options(pure, nomem, nostack, preserves_flags));
    }
    address
}

/// Loads the first line of a record, and returns a function from an index to its word. One instruction
/// loads two words, each as an atomic load does (Arm ARM, B2.2.1, "requirements for single-copy
/// atomicity").
#[inline(always)]
pub(crate) fn first_line(record: &[Word; Record::WORDS]) -> impl Fn(usize) -> u64 {
    let mut line = [0; Line::WORDS];
    // SAFETY: (1) the words lie within the record; (2) they are atomics that a publisher stores to, and
    // so are these loads, which the assembly is not declared to be free to repeat or to leave out.
    unsafe {
        asm!(
            "ldp {0}, {1}, [{7}, #8 * {8}]",
            "ldp {2}, {3}, [{7}, #8 * {8} + 16]",
            "ldp {4}, {5}, [{7}, #8 * {8} + 32]",
            "ldr {6}, [{7}, #8 * {8} + 48]",
            out(reg) line[0], out(reg) line[1], out(reg) line[2], out(reg) line[3], out(reg) line[4],
            out(reg) line[5], lateout(reg) line[6], in(reg) record, const Record::FIRST,
            options(nostack, preserves_flags, readonly)
        );
    }
    move |at| line[at]
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
                concat!("adrp {0}, \"vdsokit_link.", $name, "\""),
                concat!("ldr {0}, [{0}, :lo12:\"vdsokit_link.", $name, "\"]"),
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

// The return address of signal handlers for programs that set none (`SA_RESTORER`). On
// x86-64 there is none, since C libraries always set one.
//
// Unwinders recognise a signal frame by the two instructions, where there is no unwind
// information; the no-op is for those that look up the address before a return address
// (arch/arm64/kernel/vdso/sigreturn.S).
#[cfg(vdsokit_image)]
core::arch::global_asm!(
    ".pushsection .text.__kernel_rt_sigreturn, \"ax\", %progbits",
    ".balign 4",
    "nop",
    ".globl __kernel_rt_sigreturn",
    ".type __kernel_rt_sigreturn, %function",
    "__kernel_rt_sigreturn:",
    "mov x8, #{call}",
    "svc #0",
    ".size __kernel_rt_sigreturn, . - __kernel_rt_sigreturn",
    ".popsection",
    call = const number::RT_SIGRETURN,
);
