//! RISC-V, 64 bits, as Linux has it.

use core::arch::asm;

/// The address of a symbol that the image's linker defines in the vvar pages. Through
/// assembly, since rustc would take it from a table that needs a relocation.
#[doc(hidden)]
#[macro_export]
macro_rules! __address {
    ($symbol:literal) => {{
        let address: *const u8;
        // SAFETY: it computes an address, and touches no memory.
        unsafe {
            ::core::arch::asm!(
                ::core::concat!(".hidden ", $symbol),
                ::core::concat!("lla {0}, ", $symbol),
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
    // SAFETY: (1) Linux's convention: number in a7, arguments in a0 to a5, result in a0,
    // nothing else lost (syscall(2)); (2) the caller vouches for the call; (3) memory is
    // not said to be untouched.
    unsafe {
        asm!("ecall", in("a7") number, inlateout("a0") first => result,
            in("a1") second, in("a2") third, in("a3") fourth,
            in("a4") fifth, in("a5") sixth, options(nostack));
    }
    result
}
