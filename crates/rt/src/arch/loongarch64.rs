//! LoongArch, 64 bits, as Linux has it.

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
                ::core::concat!("la.pcrel {0}, ", $symbol),
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
    // SAFETY: (1) Linux's convention: number in a7, arguments in a0 to a5, result in a0, and t0 to t8 may
    // be lost (arch/loongarch/include/asm/vdso/gettimeofday.h); (2) the caller vouches for the call;
    // (3) the assembly is not declared to leave memory alone.
    unsafe {
        if N <= 3 {
            asm!("syscall 0", in("$a7") number, inlateout("$a0") argument(0) => result, in("$a1") argument(1), in("$a2") argument(2),
                lateout("$t0") _, lateout("$t1") _, lateout("$t2") _, lateout("$t3") _, lateout("$t4") _, lateout("$t5") _, lateout("$t6") _, lateout("$t7") _, lateout("$t8") _, options(nostack));
        } else {
            asm!("syscall 0", in("$a7") number, inlateout("$a0") argument(0) => result, in("$a1") argument(1), in("$a2") argument(2), in("$a3") argument(3), in("$a4") argument(4), in("$a5") argument(5),
                lateout("$t0") _, lateout("$t1") _, lateout("$t2") _, lateout("$t3") _, lateout("$t4") _, lateout("$t5") _, lateout("$t6") _, lateout("$t7") _, lateout("$t8") _, options(nostack));
        }
    }
    result
}
