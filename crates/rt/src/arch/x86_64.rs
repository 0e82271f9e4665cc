//! x86-64 as Linux has it.

use core::arch::asm;

/// The address of a symbol that the image's linker defines in the vvar pages. Through
/// assembly, since rustc would take it from a table that needs a relocation.
#[doc(hidden)]
#[macro_export]
macro_rules! __address {
    ($symbol:literal) => {{
        let address: *const u8;
        // SAFETY: it computes an address, and touches neither memory nor flags.
        unsafe {
            ::core::arch::asm!(
                ::core::concat!(".hidden ", $symbol),
                ::core::concat!("lea {}, [rip + ", $symbol, "]"),
                out(reg) address, options(pure, nomem, nostack, preserves_flags)
            );
        }
        address
    }};
}

/// Makes a system call of up to six arguments: what it returns, or a negative number of errno.h. Calls
/// of three or fewer leave the registers of the others alone.
///
/// # Safety
/// The arguments are valid for the call, and so are its effects on the process.
#[inline(always)]
pub unsafe fn system_call<const N: usize>(number: usize, arguments: [usize; N]) -> isize {
    const { assert!(N <= 6, "a system call has at most six arguments") };
    let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
    let result;
    // SAFETY: (1) Linux's convention: number in rax, arguments in rdi, rsi, rdx, r10, r8
    // and r9, result in rax, rcx and r11 lost (syscall(2)); (2) the caller vouches for
    // the call; (3) the assembly is not declared to leave memory alone.
    unsafe {
        if N <= 3 {
            asm!("syscall", inlateout("rax") number => result, in("rdi") argument(0), in("rsi") argument(1), in("rdx") argument(2), lateout("rcx") _, lateout("r11") _, options(nostack));
        } else {
            asm!("syscall", inlateout("rax") number => result, in("rdi") argument(0), in("rsi") argument(1), in("rdx") argument(2), in("r10") argument(3), in("r8") argument(4), in("r9") argument(5), lateout("rcx") _, lateout("r11") _, options(nostack));
        }
    }
    result
}
