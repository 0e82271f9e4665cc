//! The two readings that take a few nanoseconds, by hand.
//!
//! Each is [`Latch::try_read`](vdsokit_vvar::latch::Latch::try_read) of a record, and what to do
//! with it. rustc makes half as many instructions again, since it never lets an instruction that
//! computes load an atomic word; and it moves computations behind the counter's reading, where
//! each of them counts.
//!
//! What the blocks below rest on: (1) they load words of a latch, each with one instruction, which
//! is what a relaxed atomic load is on x86-64, and an acquiring one too; (2) loads are not
//! reordered there, so the number is loaded before the words, and after them once more; (3) they
//! write to `time` only, when all else is done.

use crate::gettime::Timespec;
use crate::page::Latched;
use core::arch::asm;
use core::mem::offset_of;
use vdsokit_clock::page::RECORD_SIZE;
use vdsokit_clock::{Line, NANOSECONDS, Record, Source};

/// Bytes from a latch to the first copy.
const COPY: usize = 8;
/// Bytes from a copy to its first line.
const FIRST: usize = Record::FIRST * 8;

/// Writes the time that a counter's record says now, if its first line does, at a rate below one
/// nanosecond a tick, within the second of its base. Whether it did.
///
/// It is [`Line::extend_fast`]. `rdtscp` waits for all that comes before it, and what comes after
/// waits for it: the next reading too. So nothing comes before but the address, and nothing waits
/// for the counter that needn't.
///
/// # Safety
/// `time` may be written, or a write there ends the program by a signal.
#[inline(always)]
pub(crate) unsafe fn by_counter(latch: &Latched, time: *mut Timespec) -> bool {
    // SAFETY: the facts above; the caller's; the counter: as in `counter`.
    unsafe {
        asm!(
            "lea {copy}, [{latch} + {COPY}]",
            "rdtscp",
            "shl rdx, 32",
            "or rax, rdx",
            "mov rcx, rax",
            "mov {number}, qword ptr [{latch}]",
            "test {number:l}, 1",
            "jz 2f",
            "add {copy}, {SIZE}",
            "2:",
            "cmp byte ptr [{copy} + {SOURCE}], {COUNTER}",
            "jne {otherwise}",
            "sub rcx, qword ptr [{copy} + {START}]",
            "mul qword ptr [{copy} + {FRACTION}]",
            "add rax, qword ptr [{copy} + {ORIGIN_FRACTION}]",
            "adc rdx, qword ptr [{copy} + {ORIGIN}]",
            "cmp qword ptr [{copy} + {WHOLE}], 0",
            "jne {otherwise}",
            "cmp rcx, qword ptr [{copy} + {LENGTH}]",
            "jae {otherwise}",
            "mov rax, qword ptr [{copy} + {SECONDS}]",
            "cmp rdx, {SECOND}",
            "jae {otherwise}",
            "cmp {number}, qword ptr [{latch}]",
            "jne {otherwise}",
            "mov qword ptr [{time} + {TV_SEC}], rax",
            "mov qword ptr [{time} + {TV_NSEC}], rdx",
            latch = in(reg) latch.as_ptr(),
            time = in(reg) time,
            copy = out(reg) _,
            number = out(reg) _,
            out("rax") _,
            out("rcx") _,
            out("rdx") _,
            otherwise = label { return false },
            COPY = const COPY,
            SIZE = const RECORD_SIZE,
            SOURCE = const Record::SOURCE * 8,
            COUNTER = const Source::COUNTER,
            START = const FIRST + Line::START * 8,
            LENGTH = const FIRST + Line::LENGTH * 8,
            WHOLE = const FIRST + Line::WHOLE * 8,
            FRACTION = const FIRST + Line::FRACTION * 8,
            SECONDS = const FIRST + Line::SECONDS * 8,
            ORIGIN = const FIRST + Line::ORIGIN * 8,
            ORIGIN_FRACTION = const FIRST + Line::ORIGIN_FRACTION * 8,
            SECOND = const NANOSECONDS,
            TV_SEC = const offset_of!(Timespec, seconds),
            TV_NSEC = const offset_of!(Timespec, nanoseconds),
            options(nostack)
        );
    }
    true
}

/// Writes the time that a fixed record says: its first line's base. Whether it is one.
///
/// # Safety
/// As for [`by_counter`].
#[inline(always)]
pub(crate) unsafe fn fixed(latch: &Latched, time: *mut Timespec) -> bool {
    // SAFETY: the facts above; the caller's.
    unsafe {
        asm!(
            "mov {number}, qword ptr [{latch}]",
            "lea {copy}, [{latch} + {COPY}]",
            "test {number:l}, 1",
            "jz 2f",
            "add {copy}, {SIZE}",
            "2:",
            "cmp byte ptr [{copy} + {SOURCE}], {FIXED}",
            "jne {otherwise}",
            "mov {seconds}, qword ptr [{copy} + {SECONDS}]",
            "mov {copy}, qword ptr [{copy} + {ORIGIN}]",
            "cmp {number}, qword ptr [{latch}]",
            "jne {otherwise}",
            "mov qword ptr [{time} + {TV_SEC}], {seconds}",
            "mov qword ptr [{time} + {TV_NSEC}], {copy}",
            latch = in(reg) latch.as_ptr(),
            time = in(reg) time,
            copy = out(reg) _,
            number = out(reg) _,
            seconds = out(reg) _,
            otherwise = label { return false },
            COPY = const COPY,
            SIZE = const RECORD_SIZE,
            SOURCE = const Record::SOURCE * 8,
            FIXED = const Source::FIXED,
            SECONDS = const FIRST + Line::SECONDS * 8,
            ORIGIN = const FIRST + Line::ORIGIN * 8,
            TV_SEC = const offset_of!(Timespec, seconds),
            TV_NSEC = const offset_of!(Timespec, nanoseconds),
            options(nostack)
        );
    }
    true
}
