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

/// Makes a system call: what it returns, or a negative number of errno.h. Arguments that
/// the call doesn't take are not looked at.
///
/// # Safety
/// The arguments are what the call takes; it does to the process what it does.
#[inline(always)]
pub unsafe fn system_call(number: usize, arguments: [usize; 6]) -> isize {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result;
    // SAFETY: (1) Linux's convention: number in x8, arguments in x0 to x5, result in x0,
    // nothing else lost (syscall(2)); (2) the caller vouches for the call; (3) memory is
    // not said to be untouched.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") first => result,
            in("x1") second, in("x2") third, in("x3") fourth,
            in("x4") fifth, in("x5") sixth, options(nostack));
    }
    result
}
