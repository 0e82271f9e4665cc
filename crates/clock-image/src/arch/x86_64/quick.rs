//! `clock_gettime` in assembly, for the common cases.
//!
//! A call for a coarse clock takes as many cycles as it has taken branches. `rdtscp` waits for all
//! instructions before it, and those after it, of the next call too, wait for it. So each
//! instruction counts, and so does its place: the most frequent case falls through, only what is
//! needed for it comes before the counter is read, and loads are operands of arithmetic instructions
//! where possible, which rustc never does with atomic words. All other cases jump to Rust code.

use crate::gettime::{Timespec, otherwise};
use core::arch::{global_asm, naked_asm};
use core::mem::offset_of;
use vdsokit_clock::page::{RECORD_SIZE, STRIDE, record_offset, source_offset};
use vdsokit_clock::{Clock, Line, NANOSECONDS, Record, Source};
use vdsokit_vvar::latch;

/// Bytes from a latch to the words at `word` of its first copy.
const fn copied(word: usize) -> usize {
    latch::COPIES + word * 8
}

const fn first(word: usize) -> usize {
    copied(Record::FIRST + word)
}

// One comparison tells them apart.
const _: () = assert!(Source::COUNTER < Source::FIXED);
const _: () = assert!(Source::FIXED < Source::KERNEL && Source::FIXED < Source::KERNEL_MOVED);

/// Restores what was pushed while the kernel's function ran.
///
/// The unwind information here states absolute offsets only. LLVM's assembler does not restore the
/// offset that `.cfi_adjust_cfa_offset` counts from at `.cfi_restore_state`, so that relative ones
/// behind it describe frames that do not exist.
macro_rules! pop_kept {
    () => {
        "pop rbp
        .cfi_def_cfa_offset 24
        .cfi_restore rbp
        pop rbx
        .cfi_def_cfa_offset 16
        .cfi_restore rbx
        pop rdi
        .cfi_def_cfa_offset 8"
    };
}

global_asm!(
    ".globl __vdso_clock_gettime",
    ".set __vdso_clock_gettime, {function}",
    ".weak clock_gettime",
    ".set clock_gettime, {function}",
    function = sym clock_gettime,
);

/// The translation of [`crate::gettime::clock_gettime`].
///
/// A latch is read correctly because (1) each word is loaded by one instruction, which on x86-64 is
/// a relaxed atomic load and an acquiring one too; (2) loads are not reordered there, so the
/// sequence number is loaded before the words and once more after them; (3) `time` is written when
/// all checks are done, but for a moved clock: there the kernel's function writes first, and if a
/// check fails that is overwritten. It calls nothing but the kernel's function, with the stack
/// aligned as the ABI requires.
///
/// # Safety
/// `time` is what `clock_gettime(2)` takes. A wrong pointer ends the program by a signal.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn clock_gettime(clock: u32, time: *mut Timespec) -> i32 {
    naked_asm!(
        ".hidden __vdsokit_vvar",
        ".cfi_startproc",
        "cmp edi, {CLOCKS}",
        "jae 9f",
        "mov eax, edi",
        "lea r8, [rip + __vdsokit_vvar]",
        "movzx ecx, byte ptr [r8 + rax * 8 + {SOURCES}]",
        // r8: the record's latch, r9: the copy in use, r10: the number of writes.
        "imul r9d, eax, {STRIDE}",
        "lea r8, [r8 + r9 + {RECORDS}]",
        "cmp ecx, {FIXED}",
        "ja 4f",
        "jb 2f",

        // The base of the first line. The copy is selected by arithmetic, since a branch could not
        // be predicted.
        "mov r10, qword ptr [r8]",
        "mov r9d, r10d",
        "and r9d, 1",
        "imul r9d, r9d, {SIZE}",
        "add r9, r8",
        "cmp byte ptr [r9 + {SOURCE}], {FIXED}",
        "jne 9f",
        "mov rax, qword ptr [r9 + {SECONDS}]",
        "mov rdx, qword ptr [r9 + {ORIGIN}]",
        "cmp r10, qword ptr [r8]",
        "jne 9f",
        "mov qword ptr [rsi + {TV_SEC}], rax",
        "mov qword ptr [rsi + {TV_NSEC}], rdx",
        "xor eax, eax",
        "ret",

        "2:",
        "cmp ecx, {COUNTER}",
        "jne 4f",
        // `Line::extend_fast` of the first line, if it is valid and the time is within the second of
        // its base.
        "mov r9, r8",
        "rdtscp",
        "shl rdx, 32",
        "or rax, rdx",
        "mov rcx, rax",
        "mov r10, qword ptr [r8]",
        "test r10b, 1",
        "jz 3f",
        "add r9, {SIZE}",
        "3:",
        "cmp byte ptr [r9 + {SOURCE}], {COUNTER}",
        "jne 9f",
        "sub rcx, qword ptr [r9 + {START}]",
        "mul qword ptr [r9 + {FRACTION}]",
        "add rax, qword ptr [r9 + {ORIGIN_FRACTION}]",
        "adc rdx, qword ptr [r9 + {ORIGIN}]",
        "cmp qword ptr [r9 + {WHOLE}], 0",
        "jne 12f",
        "13:",
        "cmp rcx, qword ptr [r9 + {LENGTH}]",
        "jae 9f",
        "mov rax, qword ptr [r9 + {SECONDS}]",
        "cmp rdx, {SECOND}",
        "jae 9f",
        "cmp r10, qword ptr [r8]",
        "jne 9f",
        "mov qword ptr [rsi + {TV_SEC}], rax",
        "mov qword ptr [rsi + {TV_NSEC}], rdx",
        "xor eax, eax",
        "ret",

        // The rest of `Line::extend`: a counter of less than 1 GHz, as in emulators.
        "12:",
        "mov r11, qword ptr [r9 + {START}]",
        "add r11, rcx",
        "imul r11, qword ptr [r9 + {WHOLE}]",
        "add rdx, r11",
        "jmp 13b",

        "4:",
        "mov rax, qword ptr [rip + \"vdsokit_link.__vdso_clock_gettime\"]",
        "cmp ecx, {KERNEL_MOVED}",
        "jne 5f",
        "test rax, rax",
        "jz 9f",
        // The kernel's function writes to `time`, and the first line's base is added there: the
        // function stores the seconds before it has read the counter, and an offset of whole
        // seconds does not wait for the nanoseconds. The pointer is kept in a register, since a
        // load from the stack would be waited for too.
        "push rdi",
        ".cfi_def_cfa_offset 16",
        "push rbx",
        ".cfi_def_cfa_offset 24",
        ".cfi_offset rbx, -24",
        "push rbp",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset rbp, -32",
        "mov rbx, r8",
        "mov rbp, rsi",
        "call rax",
        "test eax, eax",
        "jne 8f",
        "mov r10, qword ptr [rbx]",
        "mov r9, rbx",
        "test r10b, 1",
        "jz 6f",
        "add r9, {SIZE}",
        "6:",
        "cmp byte ptr [r9 + {SOURCE}], {KERNEL_MOVED}",
        "jne 8f",
        "mov rcx, qword ptr [r9 + {SECONDS}]",
        "mov rdx, qword ptr [r9 + {ORIGIN}]",
        "cmp r10, qword ptr [rbx]",
        "jne 8f",
        "test rdx, rdx",
        "jz 7f",
        "add rdx, qword ptr [rbp + {TV_NSEC}]",
        "cmp rdx, {SECOND}",
        "jb 66f",
        "sub rdx, {SECOND}",
        "inc rcx",
        "66:",
        "mov qword ptr [rbp + {TV_NSEC}], rdx",
        "7:",
        "add qword ptr [rbp + {TV_SEC}], rcx",
        ".cfi_remember_state",
        pop_kept!(),
        "ret",
        "8:",
        ".cfi_restore_state",
        "mov rsi, rbp",
        pop_kept!(),
        "jmp 9f",

        "5:",
        "cmp ecx, {KERNEL}",
        "jne 9f",
        "test rax, rax",
        "jz 9f",
        "jmp rax",
        "9:",
        "jmp {otherwise}",
        ".cfi_endproc",
        otherwise = sym otherwise,
        CLOCKS = const Clock::RECORDS,
        SOURCES = const source_offset(0),
        STRIDE = const STRIDE,
        RECORDS = const record_offset(0),
        SIZE = const latch::stride(RECORD_SIZE),
        SOURCE = const copied(Record::SOURCE),
        FIXED = const Source::FIXED,
        COUNTER = const Source::COUNTER,
        KERNEL = const Source::KERNEL,
        KERNEL_MOVED = const Source::KERNEL_MOVED,
        START = const first(Line::START),
        LENGTH = const first(Line::LENGTH),
        WHOLE = const first(Line::WHOLE),
        FRACTION = const first(Line::FRACTION),
        SECONDS = const first(Line::SECONDS),
        ORIGIN = const first(Line::ORIGIN),
        ORIGIN_FRACTION = const first(Line::ORIGIN_FRACTION),
        SECOND = const NANOSECONDS,
        TV_SEC = const offset_of!(Timespec, seconds),
        TV_NSEC = const offset_of!(Timespec, nanoseconds),
    )
}
