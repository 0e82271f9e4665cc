//! RISC-V, 64 bits.
#![allow(unsafe_code, reason = "the gate is assembler")]

pub use super::generic as number;

use super::entries::{REPORT, REPORTING};
use crate::gate::{ARGUMENTS, REPORT_NUMBER, RESULT, RETURN, USED};

/// Bytes of the largest page.
pub const PAGE: u64 = 0x1000;

/// What seccomp calls this architecture (include/uapi/linux/audit.h, `AUDIT_ARCH_RISCV64`).
pub const AUDIT: u32 = 0xc000_00f3;

/// The calls that execute a program by a number of 32-bit RISC-V, which are those of this architecture.
/// Each is the architecture as seccomp calls it, and the number.
pub const OTHER_EXECS: [(u32, u32); 2] = [
    (AUDIT_RISCV32, number::EXECVE),
    (AUDIT_RISCV32, number::EXECVEAT),
];

/// The calls that set or adjust the machine's clocks: of this architecture, and of 32-bit RISC-V, where
/// those with times of 32 bits do not exist. Each is the architecture and the number.
pub const CLOCK_SETTERS: [(u32, u32); 6] = [
    (AUDIT, number::CLOCK_SETTIME),
    (AUDIT, number::SETTIMEOFDAY),
    (AUDIT, number::ADJTIMEX),
    (AUDIT, number::CLOCK_ADJTIME),
    (AUDIT_RISCV32, 404), // clock_settime64
    (AUDIT_RISCV32, 405), // clock_adjtime64
];

/// `AUDIT_ARCH_RISCV32`.
const AUDIT_RISCV32: u32 = 0x4000_00f3;
/// Bytes from an entry to the instruction behind its call.
pub const CALL: u64 = 8;
/// Bytes from the gate's start to the instruction behind the call that reports.
pub(crate) const REPORTED: u64 = REPORT + 4;

std::arch::global_asm!(
    // No stack is used: that of a goroutine has no room. A system call changes a0 alone, and a jump
    // to any address needs a register. It is t6, which hardly any program has in use during a call:
    // GCC and LLVM take nearly all others that a function may change before it
    // (gcc/config/riscv/riscv.h, `REG_ALLOC_ORDER`; RISCVRegisterInfo.td, `GPR`), and Go's assembler
    // keeps it for itself (cmd/internal/obj/riscv/cpu.go, `REG_TMP`).
    //
    // An entry is one instruction before its call: a thread that is to make the call again with
    // another time goes on at an address to which the kernel does not restart calls, and so makes
    // none of its own (arch/riscv/kernel/signal.c, `arch_do_signal_or_restart`).
    //
    // All instructions have four bytes, also where the processor has shorter ones.
    ".pushsection .rodata.vdsokit_waits, \"a\"",
    ".option push",
    ".option norvc",
    ".option norelax",
    ".balign 64",
    ".globl vdsokit_waits_gate",
    ".hidden vdsokit_waits_gate",
    "vdsokit_waits_gate:",
    ".macro vdsokit_waits_doors next",
    ".irp frame, a0, a1, a2, a3, a4, a5",
    "   mv    t6, \\frame",
    "   ecall",
    "   j     \\next",
    "   ebreak",
    ".endr",
    ".endm",
    "   vdsokit_waits_doors 2f",
    ".org vdsokit_waits_gate + {reporting}",
    "   vdsokit_waits_doors 3f",
    ".org vdsokit_waits_gate + {report} - 16",
    "3: sd    a0, {result}(t6)",
    "   ld    a7, {report_number}(t6)",
    "   mv    a1, t6",
    // An argument that no call accepts: nothing happens without an answer.
    "4: li    a0, -1",
    "   ecall",
    // EINTR: a handler ran before the listener had received the call.
    "   addi  a2, a0, {eintr}",
    "   beqz  a2, 4b",
    "   ld    a0, {result}(t6)",
    "2: ld    a1, {arguments} + 8(t6)",
    "   ld    a2, {arguments} + 16(t6)",
    "   ld    a3, {arguments} + 24(t6)",
    "   ld    a4, {arguments} + 32(t6)",
    "   ld    a5, {arguments} + 40(t6)",
    "   ld    a7, {report_number}(t6)",
    "   sd    zero, {used}(t6)",
    "   ld    t6, {ret}(t6)",
    "   jr    t6",
    ".globl vdsokit_waits_gate_end",
    ".hidden vdsokit_waits_gate_end",
    "vdsokit_waits_gate_end:",
    ".option pop",
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
/// and for ra here, and the gate returns to a call whose ra is another address.
pub(crate) fn call_frame() -> Option<Vec<u8>> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::entries::{assert_calls, gate};
    use super::*;

    #[test]
    fn each_entry_has_its_call_where_it_is_said_to_be() {
        const ECALL: [u8; 4] = 0x73u32.to_le_bytes();
        assert_calls(gate(), &ECALL, CALL);
        assert_eq!(REPORTED, REPORT + 4);
    }
}
