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

/// Makes a system call: what it returns, or a negative number of errno.h. Arguments that
/// the call doesn't take are not looked at.
///
/// # Safety
/// The arguments are what the call takes; it does to the process what it does.
#[inline(always)]
pub unsafe fn system_call(number: usize, arguments: [usize; 6]) -> isize {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result;
    // SAFETY: (1) Linux's convention: number in rax, arguments in rdi, rsi, rdx, r10, r8
    // and r9, result in rax, rcx and r11 lost (syscall(2)); (2) the caller vouches for
    // the call; (3) memory is not said to be untouched.
    unsafe {
        asm!("syscall", inlateout("rax") number => result,
            in("rdi") first, in("rsi") second, in("rdx") third,
            in("r10") fourth, in("r8") fifth, in("r9") sixth,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}
