//! AArch64.
#![allow(unsafe_code, reason = "the gate is assembler")]

pub use super::generic as number;

use super::entries::{REPORT, REPORTING};
use crate::gate::{ARGUMENTS, REPORT_NUMBER, RESULT, RETURN, USED};

/// Bytes of the largest page.
pub const PAGE: u64 = 0x1_0000;

/// What seccomp calls this architecture (include/uapi/linux/audit.h, `AUDIT_ARCH_AARCH64`).
pub const AUDIT: u32 = 0xc000_00b7;

/// The calls that execute a program by a number of 32-bit Arm (arch/arm/tools/syscall.tbl). Each is
/// the architecture as seccomp calls it, and the number.
pub const OTHER_EXECS: [(u32, u32); 2] = [(AUDIT_ARM, 11), (AUDIT_ARM, 387)];

/// The calls that set or adjust the machine's clocks: of this architecture and of 32-bit Arm. Each is
/// the architecture and the number.
pub const CLOCK_SETTERS: [(u32, u32); 10] = [
    (AUDIT, 112),     // clock_settime
    (AUDIT, 170),     // settimeofday
    (AUDIT, 171),     // adjtimex
    (AUDIT, 266),     // clock_adjtime
    (AUDIT_ARM, 79),  // settimeofday
    (AUDIT_ARM, 124), // adjtimex
    (AUDIT_ARM, 262), // clock_settime
    (AUDIT_ARM, 372), // clock_adjtime
    (AUDIT_ARM, 404), // clock_settime64
    (AUDIT_ARM, 405), // clock_adjtime64
];

/// `AUDIT_ARCH_ARM`.
const AUDIT_ARM: u32 = 0x4000_0028;

/// Bytes from an entry to the instruction behind its call.
pub const CALL: u64 = 8;
/// Bytes from the gate's start to the instruction behind the call that reports.
pub(crate) const REPORTED: u64 = REPORT + 4;

std::arch::global_asm!(
    // No stack is used: that of a goroutine has no room. A system call changes x0 alone, and a jump
    // to any address needs a register. It is x17, of which programs can't expect much: whatever
    // links them may change it at any call of a function (AAPCS64, 6.1.1). No flag is changed.
    //
    // An entry is one instruction before its call: a thread that is to make the call again with
    // another time goes on at an address to which the kernel does not restart calls, and so makes
    // none of its own (arch/arm64/kernel/signal.c, `do_signal`).
    ".pushsection .rodata.vdsokit_waits, \"a\"",
    ".balign 64",
    ".globl vdsokit_waits_gate",
    ".hidden vdsokit_waits_gate",
    "vdsokit_waits_gate:",
    ".macro vdsokit_waits_doors next",
    ".irp frame, x0, x1, x2, x3, x4, x5",
    "   mov   x17, \\frame",
    "   svc   #0",
    "   b     \\next",
    "   brk   #0",
    ".endr",
    ".endm",
    "   vdsokit_waits_doors 2f",
    ".org vdsokit_waits_gate + {reporting}",
    "   vdsokit_waits_doors 3f",
    ".org vdsokit_waits_gate + {report} - 16",
    "3: str   x0, [x17, #{result}]",
    "   ldr   x8, [x17, #{report_number}]",
    "   mov   x1, x17",
    // An argument that no call accepts: nothing happens without an answer.
    "4: mov   x0, #-1",
    "   svc   #0",
    // EINTR: a handler ran before the listener had received the call.
    "   add   x2, x0, #{eintr}",
    "   cbz   x2, 4b",
    "   ldr   x0, [x17, #{result}]",
    "2: ldp   x1, x2, [x17, #{arguments} + 8]",
    "   ldp   x3, x4, [x17, #{arguments} + 24]",
    "   ldr   x5, [x17, #{arguments} + 40]",
    "   ldr   x8, [x17, #{report_number}]",
    "   str   xzr, [x17, #{used}]",
    "   ldr   x17, [x17, #{ret}]",
    // The instruction behind a call is no landing pad (BTI), which `br` requires in a guarded page
    // and `ret` does not.
    "   ret   x17",
    ".globl vdsokit_waits_gate_end",
    ".hidden vdsokit_waits_gate_end",
    "vdsokit_waits_gate_end:",
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

/// Call frame instructions for the gate. There are none: DWARF has one column for the return address
/// and for x30 here, and the gate returns to a call whose x30 is another address.
pub(crate) fn call_frame() -> Option<Vec<u8>> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::entries::{assert_calls, gate};
    use super::*;

    #[test]
    fn each_entry_has_its_call_where_it_is_said_to_be() {
        const SVC: [u8; 4] = 0xd400_0001u32.to_le_bytes();
        assert_calls(gate(), &SVC, CALL);
        assert_eq!(REPORTED, REPORT + 4);
    }
}
