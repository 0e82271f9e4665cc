//! Linux on i386: 32-bit programs, here on x86-64 kernels.
//!
//! The kernel's names of functions with 64-bit times differ from those of other architectures: see
//! `kernel_name`.
#![allow(
    unsafe_code,
    reason = "the counter and addresses need instructions of their own"
)]

use core::arch::asm;

/// Numbers of system calls (arch/x86/entry/syscalls/syscall_32.tbl).
pub(crate) mod number {
    pub(crate) const GETTIMEOFDAY: usize = 78;
    /// `clock_gettime64`, since Linux 5.1.
    pub(crate) const CLOCK_GETTIME: usize = 403;
    /// `clock_getres_time64`, since Linux 5.1.
    pub(crate) const CLOCK_GETRES: usize = 406;
    #[cfg(vdsokit_guest)]
    pub(crate) const GETPID: usize = 20;
    #[cfg(vdsokit_guest)]
    pub(crate) const GETPPID: usize = 64;
    #[cfg(vdsokit_guest)]
    pub(crate) const SIGRETURN: usize = 119;
    #[cfg(vdsokit_guest)]
    pub(crate) const RT_SIGRETURN: usize = 173;
}

/// Linux's vDSO function that takes the types of this name on 64-bit architectures.
#[cfg(vdsokit_image)]
macro_rules! kernel_name {
    (clock_gettime) => {
        "__vdso_clock_gettime64"
    };
    (clock_getres) => {
        "__vdso_clock_getres_time64"
    };
    (gettimeofday) => {
        "__vdso_gettimeofday"
    };
}
#[cfg(vdsokit_image)]
pub(crate) use kernel_name;

// What the compiler would call too: returns its return address, as i386 has no other way to learn
// the address of an instruction. A call that is returned from keeps the CPU's return predictor right.
core::arch::global_asm!(
    ".pushsection .text.vdsokit_here, \"ax\", @progbits",
    ".hidden vdsokit_here",
    ".globl vdsokit_here",
    ".type vdsokit_here, @function",
    "vdsokit_here:",
    ".cfi_startproc",
    "mov eax, [esp]",
    "ret",
    ".cfi_endproc",
    ".size vdsokit_here, . - vdsokit_here",
    ".popsection",
);

// The entry of system calls, whose address programs take from AT_SYSINFO, and the return addresses of
// signal handlers without SA_RESTORER. Unwinders recognise the latter by their instructions (libgcc:
// config/i386/linux-unwind.h).
#[cfg(all(vdsokit_image, vdsokit_guest))]
core::arch::global_asm!(
    ".pushsection .text.__kernel_rt_sigreturn, \"ax\", @progbits",
    ".globl __kernel_vsyscall",
    ".type __kernel_vsyscall, @function",
    "__kernel_vsyscall:",
    ".cfi_startproc",
    "int 0x80",
    "ret",
    ".cfi_endproc",
    ".size __kernel_vsyscall, . - __kernel_vsyscall",
    ".balign 16",
    ".globl __kernel_sigreturn",
    ".type __kernel_sigreturn, @function",
    "__kernel_sigreturn:",
    "pop eax",
    "mov eax, {sigreturn}",
    "int 0x80",
    ".size __kernel_sigreturn, . - __kernel_sigreturn",
    // A no-op for those that look up the address before a return address.
    "nop",
    ".balign 16",
    ".globl __kernel_rt_sigreturn",
    ".type __kernel_rt_sigreturn, @function",
    "__kernel_rt_sigreturn:",
    "mov eax, {rt_sigreturn}",
    "int 0x80",
    ".size __kernel_rt_sigreturn, . - __kernel_rt_sigreturn",
    ".popsection",
    sigreturn = const number::SIGRETURN,
    rt_sigreturn = const number::RT_SIGRETURN,
);

/// The time-stamp counter, read after all instructions before it were executed: see x86-64's.
#[inline(always)]
pub(crate) fn counter() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: it writes the three registers named and touches no memory. A program for which the
    // instruction is forbidden (PR_SET_TSC) is ended by a signal, as it would be by Linux's own vDSO.
    unsafe {
        asm!("rdtscp", out("eax") low, out("edx") high, out("ecx") _,
            options(nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// The address of the byte at `AT` of the vvar pages, which the image's linker places behind the text.
#[inline(always)]
pub(crate) fn vvar<const AT: usize>() -> *const u8 {
    let address;
    // SAFETY: it computes an address, and writes only below the stack pointer. Inline assembly,
    // since rustc would load the address from a table that needs a relocation.
    unsafe {
        asm!(".hidden __vdsokit_vvar", "call vdsokit_here", "2:",
            "leal __vdsokit_vvar + {} - 2b(%eax), %eax", const AT, out("eax") address,
            options(preserves_flags, att_syntax));
    }
    address
}

/// Loads the word of a link, whose upper half is 0.
#[cfg(vdsokit_image)]
macro_rules! load_link {
    ($name:expr) => {{
        let word: usize;
        // SAFETY: it loads a word of the image, and writes only below the stack pointer. Inline
        // assembly, so that the compiler does not replace it by the 0 that is in the file.
        unsafe {
            core::arch::asm!(
                "call vdsokit_here",
                "2:",
                concat!("movl \"vdsokit_link.", $name, "\" - 2b(%eax), %eax"),
                out("eax") word, options(preserves_flags, att_syntax)
            );
        }
        word
    }};
}
#[cfg(vdsokit_image)]
pub(crate) use load_link;
