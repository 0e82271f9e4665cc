//! x86-64.
#![allow(
    unsafe_code,
    reason = "the gate is assembler; its bytes are read through the two labels around it"
)]

use std::slice;

use crate::gate::{ARGUMENTS, REPORT_NUMBER, RESULT, RETURN, Then, USED};

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// What seccomp calls this architecture (include/uapi/linux/audit.h, `AUDIT_ARCH_X86_64`).
pub const AUDIT: u32 = 0xc000_003e;

/// The calls that execute a program by another number: of i386, and of x32, whose numbers have bit
/// 30 set. Each is the architecture as seccomp calls it, and the number.
pub const OTHER_EXECS: [(u32, u32); 4] = [
    (AUDIT_I386, 11),
    (AUDIT_I386, 358),
    (AUDIT, 520 | 1 << 30),
    (AUDIT, 545 | 1 << 30),
];

/// The calls that set or adjust the machine's clocks: of this architecture, of x32 and of i386
/// (arch/x86/entry/syscalls/syscall_32.tbl). Each is the architecture and the number.
pub const CLOCK_SETTERS: [(u32, u32); 15] = [
    (AUDIT, 159),           // adjtimex
    (AUDIT, 164),           // settimeofday
    (AUDIT, 227),           // clock_settime
    (AUDIT, 305),           // clock_adjtime
    (AUDIT, 159 | 1 << 30), // the same by x32
    (AUDIT, 164 | 1 << 30),
    (AUDIT, 227 | 1 << 30),
    (AUDIT, 305 | 1 << 30),
    (AUDIT_I386, 25),  // stime
    (AUDIT_I386, 79),  // settimeofday
    (AUDIT_I386, 124), // adjtimex
    (AUDIT_I386, 264), // clock_settime
    (AUDIT_I386, 343), // clock_adjtime
    (AUDIT_I386, 404), // clock_settime64
    (AUDIT_I386, 405), // clock_adjtime64
];

/// `AUDIT_ARCH_I386`.
const AUDIT_I386: u32 = 0x4000_0003;

/// Call numbers (arch/x86/entry/syscalls/syscall_64.tbl).
#[allow(missing_docs, reason = "they are the calls' names")]
pub mod number {
    pub const POLL: u32 = 7;
    pub const SELECT: u32 = 23;
    pub const NANOSLEEP: u32 = 35;
    pub const GETITIMER: u32 = 36;
    pub const ALARM: u32 = 37;
    pub const SETITIMER: u32 = 38;
    pub const SETSOCKOPT: u32 = 54;
    pub const GETSOCKOPT: u32 = 55;
    pub const EXECVE: u32 = 59;
    pub const GETTIMEOFDAY: u32 = 96;
    pub const RT_SIGTIMEDWAIT: u32 = 128;
    pub const ADJTIMEX: u32 = 159;
    pub const SETTIMEOFDAY: u32 = 164;
    pub const TIME: u32 = 201;
    pub const FUTEX: u32 = 202;
    pub const IO_GETEVENTS: u32 = 208;
    pub const SEMTIMEDOP: u32 = 220;
    pub const TIMER_SETTIME: u32 = 223;
    pub const TIMER_GETTIME: u32 = 224;
    pub const TIMER_DELETE: u32 = 226;
    pub const CLOCK_SETTIME: u32 = 227;
    pub const CLOCK_GETTIME: u32 = 228;
    pub const CLOCK_NANOSLEEP: u32 = 230;
    pub const EPOLL_WAIT: u32 = 232;
    pub const MQ_TIMEDSEND: u32 = 242;
    pub const MQ_TIMEDRECEIVE: u32 = 243;
    pub const PSELECT6: u32 = 270;
    pub const PPOLL: u32 = 271;
    pub const EPOLL_PWAIT: u32 = 281;
    pub const TIMERFD_SETTIME: u32 = 286;
    pub const TIMERFD_GETTIME: u32 = 287;
    pub const RECVMMSG: u32 = 299;
    pub const CLOCK_ADJTIME: u32 = 305;
    pub const EXECVEAT: u32 = 322;
    pub const IO_PGETEVENTS: u32 = 333;
    pub const IO_URING_SETUP: u32 = 425;
    pub const EPOLL_PWAIT2: u32 = 441;
    pub const FUTEX_WAITV: u32 = 449;
    pub const FUTEX_WAIT: u32 = 455;
}

/// Bytes from the gate's start to the entry for a call whose argument `argument` is its frame.
pub(crate) const fn door(argument: usize, then: Then) -> u64 {
    let row = match then {
        Then::Return => 0,
        Then::Report => REPORTING,
        Then::Resume => RESUMING,
    };
    row + SIZE * argument as u64
}

/// Bytes of an entry.
const SIZE: u64 = 16;
/// Bytes from an entry to the instruction behind its call.
pub const CALL: u64 = 2;
/// Where the entries begin behind which the result is reported.
const REPORTING: u64 = 128;
/// Where the entries begin behind which the result is replaced.
const RESUMING: u64 = 256;
/// Where the call stands that reports.
const REPORT: u64 = 384;
/// Bytes from the gate's start to the instruction behind the call that reports.
pub(crate) const REPORTED: u64 = REPORT + 2;

std::arch::global_asm!(
    // No stack is used: that of a goroutine has no room. No flag is changed. rcx and r11 are
    // free, as `syscall` itself changes them.
    ".pushsection .rodata.vdsokit_waits, \"a\"",
    ".balign 64",
    ".globl vdsokit_waits_gate",
    ".hidden vdsokit_waits_gate",
    "vdsokit_waits_gate:",
    ".macro vdsokit_waits_doors next",
    ".irp frame, rdi, rsi, rdx, r10, r8",
    "   syscall",
    "   mov   r11, \\frame",
    "   jmp   \\next",
    ".balign 16",
    ".endr",
    ".endm",
    "   vdsokit_waits_doors 2f",
    ".org vdsokit_waits_gate + {reporting}",
    "   vdsokit_waits_doors 3f",
    ".org vdsokit_waits_gate + {resuming}",
    "   vdsokit_waits_doors 4f",
    "3: mov   [r11 + {result}], rax",
    "   mov   rax, [r11 + {report_number}]",
    "   mov   rsi, r11",
    // An argument that no call accepts: nothing happens should nobody answer.
    "   mov   rdi, -1",
    ".org vdsokit_waits_gate + {report}, 0x90",
    "   syscall",
    "   mov   r11, rsi",
    "4: mov   rax, [r11 + {result}]",
    "2: mov   rdi, [r11 + {arguments}]",
    "   mov   rsi, [r11 + {arguments} + 8]",
    "   mov   rdx, [r11 + {arguments} + 16]",
    "   mov   r10, [r11 + {arguments} + 24]",
    "   mov   r8, [r11 + {arguments} + 32]",
    "   mov   r9, [r11 + {arguments} + 40]",
    "   mov   rcx, [r11 + {ret}]",
    "   mov   qword ptr [r11 + {used}], 0",
    "   jmp   rcx",
    ".globl vdsokit_waits_gate_end",
    ".hidden vdsokit_waits_gate_end",
    "vdsokit_waits_gate_end:",
    ".popsection",
    reporting = const REPORTING,
    resuming = const RESUMING,
    report = const REPORT,
    result = const RESULT,
    report_number = const REPORT_NUMBER,
    arguments = const ARGUMENTS,
    ret = const RETURN,
    used = const USED,
);

unsafe extern "C" {
    safe static vdsokit_waits_gate: u8;
    safe static vdsokit_waits_gate_end: u8;
}

/// The gate's bytes: position-independent code.
pub(crate) fn gate() -> &'static [u8] {
    let (start, end) = (
        &raw const vdsokit_waits_gate,
        &raw const vdsokit_waits_gate_end,
    );
    let length = end as usize - start as usize;
    // SAFETY: the two labels enclose `length` bytes of this program's read-only data.
    unsafe { slice::from_raw_parts(start, length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_begins_with_its_call() {
        const SYSCALL: [u8; 2] = [0x0f, 0x05];
        let gate = gate();
        for then in [Then::Return, Then::Report, Then::Resume] {
            for argument in 0..5 {
                let at = door(argument, then) as usize;
                assert_eq!(gate[at..at + 2], SYSCALL, "{argument} {then:?}");
            }
        }
        let report = REPORT as usize;
        assert_eq!(gate[report..report + 2], SYSCALL);
        let calls = gate.windows(2).filter(|pair| *pair == SYSCALL).count();
        assert_eq!(calls, 16);
    }
}
