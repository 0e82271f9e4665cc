//! x86-64.
#![allow(
    unsafe_code,
    reason = "the gate is assembler; its bytes are read through the labels around it"
)]

use super::entries::{REPORT, REPORTING, enclosed};
use super::i386::AUDIT_I386;
use crate::gate::{ARGUMENTS, REPORT_NUMBER, RESULT, RETURN, USED};

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

/// Call numbers (arch/x86/entry/syscalls/syscall_64.tbl).
#[allow(missing_docs, reason = "they are the calls' names")]
pub mod number {
    pub const READ: u32 = 0;
    pub const WRITE: u32 = 1;
    pub const STAT: u32 = 4;
    pub const FSTAT: u32 = 5;
    pub const LSTAT: u32 = 6;
    pub const POLL: u32 = 7;
    pub const READV: u32 = 19;
    pub const WRITEV: u32 = 20;
    pub const SELECT: u32 = 23;
    pub const NANOSLEEP: u32 = 35;
    pub const GETITIMER: u32 = 36;
    pub const ALARM: u32 = 37;
    pub const SETITIMER: u32 = 38;
    pub const SENDFILE: u32 = 40;
    pub const CONNECT: u32 = 42;
    pub const ACCEPT: u32 = 43;
    pub const SENDTO: u32 = 44;
    pub const RECVFROM: u32 = 45;
    pub const SENDMSG: u32 = 46;
    pub const RECVMSG: u32 = 47;
    pub const SETSOCKOPT: u32 = 54;
    pub const GETSOCKOPT: u32 = 55;
    pub const EXECVE: u32 = 59;
    pub const GETTIMEOFDAY: u32 = 96;
    pub const SYSINFO: u32 = 99;
    pub const RT_SIGTIMEDWAIT: u32 = 128;
    pub const UTIME: u32 = 132;
    pub const PRCTL: u32 = 157;
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
    pub const UTIMES: u32 = 235;
    pub const MQ_TIMEDSEND: u32 = 242;
    pub const MQ_TIMEDRECEIVE: u32 = 243;
    pub const FUTIMESAT: u32 = 261;
    pub const NEWFSTATAT: u32 = 262;
    pub const PSELECT6: u32 = 270;
    pub const PPOLL: u32 = 271;
    pub const UTIMENSAT: u32 = 280;
    pub const EPOLL_PWAIT: u32 = 281;
    pub const TIMERFD_SETTIME: u32 = 286;
    pub const TIMERFD_GETTIME: u32 = 287;
    pub const ACCEPT4: u32 = 288;
    pub const RECVMMSG: u32 = 299;
    pub const CLOCK_ADJTIME: u32 = 305;
    pub const SENDMMSG: u32 = 307;
    pub const SECCOMP: u32 = 317;
    pub const EXECVEAT: u32 = 322;
    pub const STATX: u32 = 332;
    pub const IO_PGETEVENTS: u32 = 333;
    pub const IO_URING_SETUP: u32 = 425;
    pub const EPOLL_PWAIT2: u32 = 441;
    pub const FUTEX_WAITV: u32 = 449;
    pub const FUTEX_WAIT: u32 = 455;
}

/// Bytes from an entry to the instruction behind its call.
pub const CALL: u64 = 2;
/// Bytes from the gate's start to the instruction behind the call that reports.
pub(crate) const REPORTED: u64 = REPORT + 2;

/// Bytes of an unwind row.
const ROW: usize = 4;
/// Stands in an unwind row for the DWARF register of the frame: the program's own registers are
/// back, and `rcx` holds the address at which it goes on.
const LEAVING: u16 = 0xffff;
/// The DWARF number of `rcx` (System V psABI, figure 3.36).
const RCX: u8 = 2;

std::arch::global_asm!(
    // No stack is used: that of a goroutine has no room. No flag is changed. rcx and r11 are
    // free, as `syscall` itself changes them.
    //
    // `vdsokit_waits_row` says in which register, by its DWARF number, the frame's address is from
    // here on.
    ".pushsection .rodata.vdsokit_waits_rows, \"a\"",
    ".balign 2",
    ".globl vdsokit_waits_rows",
    ".hidden vdsokit_waits_rows",
    "vdsokit_waits_rows:",
    ".popsection",
    ".macro vdsokit_waits_row register",
    "99:",
    ".pushsection .rodata.vdsokit_waits_rows, \"a\"",
    "   .2byte 99b - vdsokit_waits_gate, \\register",
    ".popsection",
    ".endm",
    ".macro vdsokit_waits_door frame, register, next",
    "   vdsokit_waits_row \\register",
    "   syscall",
    "   mov   r11, \\frame",
    "   jmp   \\next",
    ".balign 16",
    ".endm",
    ".macro vdsokit_waits_doors next",
    "   vdsokit_waits_door rdi, 5, \\next",
    "   vdsokit_waits_door rsi, 4, \\next",
    "   vdsokit_waits_door rdx, 1, \\next",
    "   vdsokit_waits_door r10, 10, \\next",
    "   vdsokit_waits_door r8, 8, \\next",
    "   vdsokit_waits_door r9, 9, \\next",
    ".endm",
    ".pushsection .rodata.vdsokit_waits, \"a\"",
    ".balign 64",
    ".globl vdsokit_waits_gate",
    ".hidden vdsokit_waits_gate",
    "vdsokit_waits_gate:",
    "   vdsokit_waits_doors 2f",
    ".org vdsokit_waits_gate + {reporting}",
    "   vdsokit_waits_doors 3f",
    "   vdsokit_waits_row 11",
    "3: mov   [r11 + {result}], rax",
    "   mov   rsi, r11",
    // A call that is restarted has the flags in r11.
    "   vdsokit_waits_row 4",
    "4: mov   rax, [rsi + {report_number}]",
    // An argument that no call accepts: nothing happens without an answer.
    "   mov   rdi, -1",
    ".org vdsokit_waits_gate + {report}, 0x90",
    "   syscall",
    // EINTR: a handler ran before the listener had received the call.
    "   lea   rcx, [rax + {eintr}]",
    "   jrcxz 4b",
    "   mov   r11, rsi",
    "   vdsokit_waits_row 11",
    "   mov   rax, [r11 + {result}]",
    "2: mov   rdi, [r11 + {arguments}]",
    "   mov   rsi, [r11 + {arguments} + 8]",
    "   mov   rdx, [r11 + {arguments} + 16]",
    "   mov   r10, [r11 + {arguments} + 24]",
    "   mov   r8, [r11 + {arguments} + 32]",
    "   mov   r9, [r11 + {arguments} + 40]",
    "   mov   rcx, [r11 + {ret}]",
    "   mov   qword ptr [r11 + {used}], 0",
    // From here on a call in a signal handler may take the frame.
    "   vdsokit_waits_row {leaving}",
    "   jmp   rcx",
    ".globl vdsokit_waits_gate_end",
    ".hidden vdsokit_waits_gate_end",
    "vdsokit_waits_gate_end:",
    ".popsection",
    ".pushsection .rodata.vdsokit_waits_rows, \"a\"",
    ".globl vdsokit_waits_rows_end",
    ".hidden vdsokit_waits_rows_end",
    "vdsokit_waits_rows_end:",
    ".popsection",
    reporting = const REPORTING,
    report = const REPORT,
    result = const RESULT,
    report_number = const REPORT_NUMBER,
    arguments = const ARGUMENTS,
    ret = const RETURN,
    used = const USED,
    leaving = const LEAVING,
    eintr = const libc::EINTR,
);

unsafe extern "C" {
    safe static vdsokit_waits_rows: u8;
    safe static vdsokit_waits_rows_end: u8;
}

/// The unwind rows: from which byte of the gate each holds, and its register.
fn rows() -> impl Iterator<Item = (u16, u16)> {
    let labels = [
        &raw const vdsokit_waits_rows,
        &raw const vdsokit_waits_rows_end,
    ];
    // SAFETY: the two labels enclose read-only data of this program, which is never written: nothing
    // else is in their section.
    let rows = unsafe { enclosed(labels) };
    let half = |row: &[u8; ROW], at| u16::from_ne_bytes([row[at], row[at + 1]]);
    let rows = rows.as_chunks().0.iter();
    rows.map(move |row| (half(row, 0), half(row, 2)))
}

/// Call frame instructions (DWARF 5, 6.4.2) for the gate, behind those of a common information
/// entry by which the return address is on top of the stack.
///
/// The gate has no frame on the stack: the program's stack pointer is its own, the return address
/// is in the frame, and so are the argument registers.
pub(crate) fn call_frame() -> Option<Vec<u8>> {
    const ADVANCE_LOC4: u8 = 0x04;
    const SAME_VALUE: u8 = 0x08;
    const REGISTER: u8 = 0x09;
    const DEF_CFA_OFFSET: u8 = 0x0e;
    const EXPRESSION: u8 = 0x10;
    const OP_BREG: u8 = 0x70;
    const RIP: u8 = 16;
    // rdi, rsi, rdx, r10, r8, r9 in the order of arguments.
    let arguments = [5, 4, 1, 10, 8, 9].into_iter().zip(0..);
    let arguments = arguments.map(|(register, index)| (register, ARGUMENTS + 8 * index));
    let mut bytes = vec![DEF_CFA_OFFSET, 0];
    let mut before = 0;
    for (at, place) in rows() {
        bytes.push(ADVANCE_LOC4);
        bytes.extend(u32::from(at - before).to_ne_bytes());
        before = at;
        if place == LEAVING {
            bytes.extend([REGISTER, RIP, RCX]);
            bytes.extend(arguments.clone().flat_map(|(own, _)| [SAME_VALUE, own]));
            continue;
        }
        for (saved, offset) in arguments.clone().chain([(RIP, RETURN)]) {
            // A block of three bytes: the register, and an offset below 2^13 as SLEB128.
            let offset = [offset as u8 & 0x7f | 0x80, (offset >> 7) as u8];
            let block = [OP_BREG + place as u8, offset[0], offset[1]];
            bytes.extend([EXPRESSION, saved, block.len() as u8]);
            bytes.extend(block);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::entries::{assert_calls, door, gate};
    use super::*;
    use crate::gate::Then;

    /// x32's numbers have bit 30 set (arch/x86/include/uapi/asm/unistd.h, `__X32_SYSCALL_BIT`).
    #[test]
    fn the_calls_of_x32_programs_are_those_of_others_with_bit_30() {
        let setters = [
            libc::SYS_adjtimex,
            libc::SYS_settimeofday,
            libc::SYS_clock_settime,
            libc::SYS_clock_adjtime,
        ];
        for number in setters.map(|number| number as u32) {
            for number in [number, number + 0x4000_0000] {
                assert!(CLOCK_SETTERS.contains(&(AUDIT, number)), "{number:#x}");
            }
        }
        // execve and execveat have numbers of their own there.
        for number in [520, 545] {
            assert!(OTHER_EXECS.contains(&(AUDIT, number + 0x4000_0000)));
        }
    }

    #[test]
    fn each_entry_begins_with_its_call() {
        const SYSCALL: [u8; 2] = [0x0f, 0x05];
        assert_calls(gate(), &SYSCALL, 2);
    }

    #[test]
    fn the_unwind_rows_cover_the_gate_in_order() {
        let rows: Vec<_> = rows().map(|(at, _)| u64::from(at)).collect();
        assert_eq!(rows[0], 0);
        assert!(rows.is_sorted());
        for then in [Then::Return, Then::Report] {
            for argument in 0..6 {
                assert!(rows.contains(&door(argument, then)), "{argument} {then:?}");
            }
        }
        assert!(rows.iter().all(|row| *row < gate().len() as u64));
    }

    /// The instructions say for each row that the registers of the program are in the frame, which
    /// is where a register points, or are back.
    #[test]
    fn the_call_frame_instructions_name_the_place_of_each_register() {
        const ARGUMENT_REGISTERS: [u8; 6] = [5, 4, 1, 10, 8, 9];
        const RIP: u8 = 16;
        let code = call_frame().expect("instructions");
        let (start, mut rest) = code.split_at(2);
        assert_eq!(start, [0x0e, 0], "DW_CFA_def_cfa_offset 0");
        let mut take = |length: usize| {
            let (taken, left) = rest.split_at(length);
            rest = left;
            taken
        };
        // The entries, once for each way to go on; then the report and the end.
        let [r11, rsi] = [11, 4];
        let doors = ARGUMENT_REGISTERS;
        let frames = [&doors[..], &doors[..], &[r11, rsi, r11]].concat();
        let mut at = 0;
        let mut rows = rows();
        for frame in frames {
            let (begin, _) = rows.next().expect("a row");
            assert_eq!(take(1), [0x04], "DW_CFA_advance_loc4");
            at += u32::from_ne_bytes(take(4).try_into().expect("four bytes"));
            assert_eq!(at, u32::from(begin));
            let arguments = (0..).zip(ARGUMENT_REGISTERS);
            let arguments = arguments.map(|(nth, register)| (register, ARGUMENTS + 8 * nth));
            for (register, offset) in arguments.chain([(RIP, RETURN)]) {
                assert_eq!(take(3), [0x10, register, 3], "DW_CFA_expression");
                // DW_OP_breg with an offset as SLEB128 (DWARF 5, 7.6): seven bits a byte, the
                // highest bit set in all but the last, whose second highest is the sign.
                let [base, low, high] = take(3).try_into().expect("three bytes");
                assert_eq!(base, 0x70 + frame);
                assert!(low & 0x80 != 0 && high & 0xc0 == 0);
                assert_eq!(u64::from(low & 0x7f) | u64::from(high) << 7, offset);
            }
        }
        let (begin, _) = rows.next().expect("a row");
        assert_eq!(take(1), [0x04], "DW_CFA_advance_loc4");
        at += u32::from_ne_bytes(take(4).try_into().expect("four bytes"));
        assert_eq!(at, u32::from(begin));
        assert_eq!(take(3), [0x09, RIP, RCX], "DW_CFA_register");
        for register in ARGUMENT_REGISTERS {
            assert_eq!(take(2), [0x08, register], "DW_CFA_same_value");
        }
        assert!(rows.next().is_none() && rest.is_empty());
    }
}
