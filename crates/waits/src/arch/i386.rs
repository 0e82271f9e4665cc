//! i386: the gate of 32-bit programs on x86-64 kernels.
//!
//! The difference to x86-64's is that a call keeps every register but its result. So the gate
//! takes one argument's register for the frame, and two words of the stack to give it back. Flags are
//! not changed.
#![allow(
    unsafe_code,
    reason = "the gate is assembler; its bytes are read through the labels around it"
)]

use super::entries::{REPORT, REPORTING, enclosed};
use crate::gate::{ARGUMENTS, REPORT_NUMBER, RESULT, RETURN, USED};

/// What seccomp calls this architecture (`AUDIT_ARCH_I386`).
pub const AUDIT_I386: u32 = 0x4000_0003;

/// Bytes from the gate's start to the instruction behind the call that reports.
pub(crate) const REPORTED: u64 = REPORT + 2;

std::arch::global_asm!(
    ".macro vdsokit_waits_door32 register, next",
    "   int   0x80",
    "   mov   ebp, \\register",
    "   jmp   \\next",
    ".balign 16, 0x90",
    ".endm",
    ".macro vdsokit_waits_doors32 next",
    "   vdsokit_waits_door32 ebx, \\next",
    "   vdsokit_waits_door32 ecx, \\next",
    "   vdsokit_waits_door32 edx, \\next",
    "   vdsokit_waits_door32 esi, \\next",
    "   vdsokit_waits_door32 edi, \\next",
    "   vdsokit_waits_door32 ebp, \\next",
    ".endm",
    ".pushsection .rodata.vdsokit_waits32, \"a\"",
    ".code32",
    ".balign 64",
    ".globl vdsokit_waits_gate32",
    ".hidden vdsokit_waits_gate32",
    "vdsokit_waits_gate32:",
    "   vdsokit_waits_doors32 2f",
    ".org vdsokit_waits_gate32 + {reporting}, 0x90",
    "   vdsokit_waits_doors32 3f",
    "3: cdq",                            // the result as 64 bits
    "   mov   [ebp + {result}], eax",
    "   mov   [ebp + {result} + 4], edx",
    "4: mov   eax, [ebp + {report_number}]",
    "   mov   ecx, ebp",
    // An argument that no call accepts: nothing happens without an answer.
    "   mov   ebx, -1",
    ".org vdsokit_waits_gate32 + {report}, 0x90",
    "   int   0x80",
    // EINTR: a handler ran before the listener had received the call.
    "   lea   ecx, [eax + {eintr}]",
    "   jecxz 4b",
    "   mov   eax, [ebp + {result}]",
    "2: push  dword ptr [ebp + {ret}]",
    "   push  dword ptr [ebp + {arguments} + 40]",
    "   mov   ebx, [ebp + {arguments}]",
    "   mov   ecx, [ebp + {arguments} + 8]",
    "   mov   edx, [ebp + {arguments} + 16]",
    "   mov   esi, [ebp + {arguments} + 24]",
    "   mov   edi, [ebp + {arguments} + 32]",
    "   mov   dword ptr [ebp + {used}], 0",
    // From here on a call in a signal handler may take the frame.
    "   pop   ebp",
    "   ret",
    ".globl vdsokit_waits_gate32_end",
    ".hidden vdsokit_waits_gate32_end",
    "vdsokit_waits_gate32_end:",
    ".code64",
    ".popsection",
    reporting = const REPORTING,
    report = const REPORT,
    result = const RESULT,
    report_number = const REPORT_NUMBER,
    arguments = const ARGUMENTS,
    ret = const RETURN,
    used = const USED,
    eintr = const libc::EINTR,
);

unsafe extern "C" {
    safe static vdsokit_waits_gate32: u8;
    safe static vdsokit_waits_gate32_end: u8;
}

/// The gate's bytes: position-independent code of 32 bits.
pub(crate) fn gate() -> &'static [u8] {
    let labels = [
        &raw const vdsokit_waits_gate32,
        &raw const vdsokit_waits_gate32_end,
    ];
    // SAFETY: the two labels enclose read-only data of this program, which is never written.
    unsafe { enclosed(labels) }
}

#[cfg(test)]
mod tests {
    use super::super::entries::assert_calls;
    use super::*;

    #[test]
    fn each_entry_begins_with_its_call() {
        const INT_80: [u8; 2] = [0xcd, 0x80];
        assert_calls(gate(), &INT_80, 2);
    }
}
