//! i386 as Linux has it: 32-bit programs on x86-64 kernels too.

use core::arch::asm;

/// The address of a symbol that the image's linker defines in the vvar pages. Through
/// assembly, since rustc would take it from a table that needs a relocation.
#[doc(hidden)]
#[macro_export]
macro_rules! __address {
    ($symbol:literal) => {{
        let address: *const u8;
        // SAFETY: it computes an address, and writes only below the stack pointer.
        unsafe {
            ::core::arch::asm!(
                ::core::concat!(".hidden ", $symbol),
                "call 2f",
                "2:",
                "popl %eax",
                ::core::concat!("leal ", $symbol, " - 2b(%eax), %eax"),
                out("eax") address, options(preserves_flags, att_syntax)
            );
        }
        address
    }};
}

/// Makes a system call of up to three arguments: what it returns, or a negative number of errno.h.
///
/// # Safety
/// The arguments are valid for the call, and so are its effects on the process.
#[inline(always)]
pub unsafe fn system_call<const N: usize>(number: usize, arguments: [usize; N]) -> isize {
    // The registers of the others are the compiler's own.
    const {
        assert!(
            N <= 3,
            "a system call on i386 has at most three arguments here"
        )
    };
    let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
    let result;
    // SAFETY: (1) Linux's convention: number in eax, arguments in ebx, ecx and edx, result in eax, no
    // other register lost (syscall(2)); ebx, which the compiler may keep for itself, gets its value
    // back; (2) the caller vouches for the call; (3) the assembly is not declared to leave memory
    // alone.
    unsafe {
        asm!("xchg ebx, {first}", "int 0x80", "xchg ebx, {first}", first = inout(reg) argument(0) => _,
            inlateout("eax") number => result, in("ecx") argument(1), in("edx") argument(2),
            options(nostack));
    }
    result
}
