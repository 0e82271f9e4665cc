//! AArch64 as Linux has it.

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
                ::core::concat!("adrp {0}, ", $symbol),
                ::core::concat!("add {0}, {0}, :lo12:", $symbol),
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
    // SAFETY: (1) Linux's convention: number in x8, arguments in x0 to x5, result in x0, no
    // other register lost (syscall(2)); (2) the caller vouches for the call; (3) the assembly is
    // not declared to leave memory alone.
    unsafe {
        if N <= 3 {
            asm!("svc 0", in("x8") number, inlateout("x0") argument(0) => result, in("x1") argument(1), in("x2") argument(2), options(nostack));
        } else {
            asm!("svc 0", in("x8") number, inlateout("x0") argument(0) => result, in("x1") argument(1), in("x2") argument(2), in("x3") argument(3), in("x4") argument(4), in("x5") argument(5), options(nostack));
        }
    }
    result
}
