//! The code by which a stopped thread makes system calls for its tracer, on AArch64.
//!
//! A tracer that dies resumes its tracees. So whatever the thread does here, it ends by going back
//! into the program by itself: behind the call it makes rt_sigreturn(2), which restores all
//! registers and the signal mask at once from a signal frame. Nothing less can: each instruction
//! that leads to any address leaves that address in a register. The tracer stops the thread behind
//! the call, by PTRACE_SYSCALL, as long as it lives, and then the frame is not used.
//!
//! rt_sigreturn(2) forgets how long an interrupted sleep still lasts (arch/arm64/kernel/signal.c,
//! `do_no_restart_syscall`): if the tracer dies, a sleep of this one thread may fail with EINTR.
//!
//! Vector registers beyond 128 bits, which no system call keeps, are restored by a tracer that lives.
//!
//! The code uses no stack of the program's, which may have no room, and writes no memory: it and
//! the frame behind it lie in pages that are executable and not writable.
#![allow(
    unsafe_code,
    reason = "the code is assembler; its bytes are read through the two labels around it"
)]

use std::io;
use std::slice;

use super::super::entry;
use super::{FLOATING_POINT, set_instruction_pointer};
use crate::kernel::{self, KernelVdso};
use crate::memory::Memory;
use crate::sys::{self, Pid, Registers, Resume, SignalSet};
use crate::visit::Failure;

std::arch::global_asm!(
    ".pushsection .rodata.vdsokit_guest, \"a\"",
    ".balign 4",
    ".globl vdsokit_guest",
    ".hidden vdsokit_guest",
    "vdsokit_guest:",
    "   svc   #0",
    "   adr   x9, vdsokit_guest + {frame}",
    "   mov   sp, x9",
    "   mov   x8, #139", // rt_sigreturn()
    "   svc   #0",
    "   brk   #0",
    ".globl vdsokit_guest_end",
    ".hidden vdsokit_guest_end",
    "vdsokit_guest_end:",
    ".popsection",
    frame = const CONTEXT - SIGNAL_INFORMATION,
);

unsafe extern "C" {
    safe static vdsokit_guest: u8;
    safe static vdsokit_guest_end: u8;
}

/// Bytes of `siginfo_t`, which a signal frame begins with and rt_sigreturn(2) does not read.
const SIGNAL_INFORMATION: i64 = 128;
/// Where `ucontext_t` begins, in bytes from the code's first. Its first 16 bytes are not read either,
/// and are the end of the code.
const CONTEXT: i64 = 16;
/// Where the record of the floating-point registers begins in `ucontext_t`: behind 176 bytes,
/// `struct sigcontext`'s words and a word of padding.
const RECORDS: usize = 176 + 288;
/// Bytes of that record.
const RECORD: usize = (FLOATING_POINT >> 32) as usize;

/// Bytes of code and frame together. The last record has no magic number and no size.
pub(crate) fn length() -> usize {
    CONTEXT as usize + RECORDS + RECORD + 16
}

/// The code, which makes the call that its registers hold at once.
pub(crate) fn code() -> &'static [u8] {
    let start = &raw const vdsokit_guest;
    let length = &raw const vdsokit_guest_end as usize - start as usize;
    // SAFETY: the labels are the first byte of the code and the byte behind its last, in one
    // section of this program's read-only data, which is never written.
    unsafe { slice::from_raw_parts(start, length) }
}

/// Where in the kernel's vDSO there is room for code and frame, in bytes from the image's start. On
/// kernels with pages of 4 KiB it may be where the section headers are, which no program reads.
pub(crate) fn spare(kernel: &KernelVdso) -> Option<u64> {
    kernel.unloaded(length())
}

/// The bytes of that place, at the address `spare` in a process, before code is written there.
pub(crate) fn before(memory: &Memory, spare: u64) -> io::Result<Vec<u8>> {
    kernel::before(memory, spare, code(), length())
}

/// The code with a frame from which the thread `pid` goes on as `registers` say and with the signals
/// of `blocked` blocked (struct rt_sigframe, arch/arm64/kernel/signal.c).
pub(crate) fn bytes(pid: Pid, registers: &Registers, blocked: SignalSet) -> io::Result<Vec<u8>> {
    /// `ss_flags` of an alternate stack that the kernel takes for an error and ignores, so that the
    /// thread keeps the one that it has (kernel/signal.c, `restore_altstack`).
    const UNCHANGED_STACK: u64 = 3;
    let floating_point = sys::register_set(pid, libc::NT_PRFPREG as usize, RECORD)?;
    let floating_point = floating_point.as_chunks().0.iter();
    let floating_point: Vec<u64> = floating_point
        .map(|word| u64::from_ne_bytes(*word))
        .collect();
    let mut bytes = vec![0; length()];
    bytes[..code().len()].copy_from_slice(code());
    let mut put = |at: usize, words: &[u64]| {
        for (word, value) in words.iter().enumerate() {
            let at = CONTEXT as usize + at + word * 8;
            bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
    };
    put(16, &[0, UNCHANGED_STACK, 0, blocked]);
    put(184, &registers.regs);
    put(432, &[registers.sp, registers.pc, registers.pstate]);
    // FPSR and FPCR, in one word, come before the registers here, and behind their 64 words in what
    // ptrace(2) gives (`struct user_fpsimd_state`, arch/arm64/include/uapi/asm/ptrace.h).
    let Some((values, &[control, ..])) = floating_point.split_at_checked(64) else {
        return Err(io::Error::other(
            "the kernel gives fewer floating-point registers",
        ));
    };
    put(RECORDS, &[FLOATING_POINT, control]);
    put(RECORDS + 16, values);
    Ok(bytes)
}

/// Sets `registers` to make a call by the code at `address`.
pub(crate) fn enter(registers: &mut Registers, address: u64, number: u64, arguments: [u64; 6]) {
    set_instruction_pointer(registers, address);
    registers.regs[..6].copy_from_slice(&arguments);
    registers.regs[8] = number;
}

/// The registers with which a stopped thread goes on. It has the option PTRACE_O_TRACESYSGOOD.
///
/// A thread that restarts a call is led to its entry, and skips it (PTRACE_SYSEMU). It then stands before
/// the call again, with the call's number.
pub(crate) fn settled(pid: Pid, _: &Memory, _: u64) -> Result<Registers, Failure> {
    let (mut registers, is_in_call) = entry::lead(pid, Resume::Emulate)?;
    if is_in_call {
        let (at_entry, _) = sys::registers(pid)?;
        registers.regs[8] = at_entry.regs[8];
        sys::forget_call(pid)?;
        // x7 shows at such a stop whether it is an entry or an exit, and is restored behind it
        // (arch/arm64/kernel/ptrace.c, `report_syscall`).
        sys::set_registers(pid, &registers)?;
        // To the exit of the call that was skipped, before the program executes anything.
        entry::leave(pid)?;
    }
    Ok(registers)
}

/// The registers with which a program begins that is stopped at the exit of execve(2), or at a signal
/// before its first instruction; `start` is what it had at its exec stop. At the exit of a call `x7` shows
/// that it is one (arch/arm64/kernel/ptrace.c, `report_syscall`).
pub(crate) fn begun(pid: Pid, start: &Registers) -> Result<Registers, Failure> {
    let (mut registers, _) = sys::registers(pid)?;
    registers.regs[7] = start.regs[7];
    Ok(registers)
}

/// The registers of a thread that a system call does not keep: those of the scalable vector extension
/// beyond 128 bits, and whether it is in streaming mode (Documentation/arch/arm64/sve.rst, "System call
/// behaviour"). A thread that is in a call has none.
#[derive(Debug)]
pub(crate) struct Fleeting(Option<(usize, Vec<u8>)>);

impl Fleeting {
    pub(crate) fn read(pid: Pid) -> Fleeting {
        /// `NT_ARM_SVE` and `NT_ARM_SSVE`, of which at most one has values.
        const SETS: [usize; 2] = [0x405, 0x40b];
        /// The most bytes of a set: a header, 32 vectors of 256 bytes, 17 predicates, two words.
        const MOST: usize = 16 + 32 * 256 + 17 * 32 + 16;
        /// Where the flags of a set's header are, and the one that says that values follow.
        const FLAGS: usize = 12;
        const HAS_VALUES: u8 = 1;
        let with_values = |set: usize| {
            // A processor without the extension has no such set.
            let bytes = sys::register_set(pid, set, MOST).ok()?;
            (bytes.get(FLAGS)? & HAS_VALUES != 0).then_some((set, bytes))
        };
        Fleeting(SETS.into_iter().find_map(with_values))
    }

    pub(crate) fn restore(&self, pid: Pid) -> io::Result<()> {
        match &self.0 {
            Some((set, bytes)) => sys::set_register_set(pid, *set, bytes),
            None => Ok(()),
        }
    }
}

/// Has the kernel restart no call of a thread that was given other registers at the exit of one: it
/// would compare what is now in x0 with the results that mean that (`do_signal`).
pub(crate) fn leave_call(pid: Pid) -> Result<(), Failure> {
    Ok(sys::forget_call(pid)?)
}
