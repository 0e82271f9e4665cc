//! The code by which a stopped thread makes system calls for its tracer, on x86-64.
//!
//! A tracer that dies resumes its tracees. So whatever the thread does here, it ends by going back
//! into the program by itself: behind the call it restores the signal mask and all registers. The
//! tracer stops it behind the call, by PTRACE_SYSCALL, as long as it lives.
//!
//! The code uses no stack of the program's, which may have no room, and writes no memory: it and
//! the [`Frame`] behind it lie in pages that are executable and not writable.
#![allow(
    unsafe_code,
    reason = "the code is assembler; its bytes are read through the two labels around it"
)]

use std::io;
use std::slice;

use crate::kernel::KernelVdso;
use crate::memory::Memory;
use crate::sys::{self, Pid, Registers, SignalSet};
use crate::visit::Failure;

std::arch::global_asm!(
    ".pushsection .rodata.vdsokit_guest, \"a\"",
    ".globl vdsokit_guest",
    ".hidden vdsokit_guest",
    "vdsokit_guest:",
    "   syscall",
    "   lea   rsp, [rip + 9f + 8 * 0]", // flags; nothing behind this but `syscall` changes them
    "   popfq",
    "   mov   rsp, [rip + 9f + 8 * 1]",
    "   mov   edi, {set_mask}",         // rt_sigprocmask(SIG_SETMASK, mask, NULL, 8)
    "   lea   rsi, [rip + 9f + 8 * 2]",
    "   mov   edx, 0",
    "   mov   r10d, 8",
    "   mov   eax, 14",
    "   syscall",                       // handlers run behind this, on the program's stack
    "   mov   rax, [rip + 9f + 8 * 4]",
    "   mov   rbx, [rip + 9f + 8 * 5]",
    "   mov   rcx, [rip + 9f + 8 * 6]",
    "   mov   rdx, [rip + 9f + 8 * 7]",
    "   mov   rsi, [rip + 9f + 8 * 8]",
    "   mov   rdi, [rip + 9f + 8 * 9]",
    "   mov   rbp, [rip + 9f + 8 * 10]",
    "   mov   r8, [rip + 9f + 8 * 11]",
    "   mov   r9, [rip + 9f + 8 * 12]",
    "   mov   r10, [rip + 9f + 8 * 13]",
    "   mov   r11, [rip + 9f + 8 * 14]",
    "   mov   r12, [rip + 9f + 8 * 15]",
    "   mov   r13, [rip + 9f + 8 * 16]",
    "   mov   r14, [rip + 9f + 8 * 17]",
    "   mov   r15, [rip + 9f + 8 * 18]",
    ".globl vdsokit_guest_jump",
    ".hidden vdsokit_guest_jump",
    "vdsokit_guest_jump:",
    "   jmp   [rip + 9f + 8 * 3]",
    ".balign 8, 0xcc",
    "9:",
    ".globl vdsokit_guest_end",
    ".hidden vdsokit_guest_end",
    "vdsokit_guest_end:",
    ".popsection",
    set_mask = const libc::SIG_SETMASK,
);

unsafe extern "C" {
    safe static vdsokit_guest: u8;
    safe static vdsokit_guest_end: u8;
    safe static vdsokit_guest_jump: u8;
}

/// Words of a frame.
const WORDS: usize = 19;

/// Bytes of code and frame together.
pub(crate) fn length() -> usize {
    code().len() + WORDS * 8
}

/// The code, which makes the call that its registers hold at once.
pub(crate) fn code() -> &'static [u8] {
    let start = &raw const vdsokit_guest;
    let length = &raw const vdsokit_guest_end as usize - start as usize;
    // SAFETY: the labels are the first byte of the code and the byte behind its last, in one
    // section of this program's read-only data, which is never written.
    unsafe { slice::from_raw_parts(start, length) }
}

/// Where in the kernel's vDSO there is room for code and frame, in bytes from the image's start.
pub(crate) fn spare(kernel: &KernelVdso) -> Option<u64> {
    kernel.spare(length())
}

/// The bytes of that place in the kernel's vDSO: 0.
pub(crate) fn before(_: &Memory, _: u64) -> io::Result<Vec<u8>> {
    Ok(vec![0; length()])
}

/// The code with a frame from which the thread `pid` goes on as `registers` say and with the signals
/// of `blocked` blocked.
///
/// A 32-bit program is continued by a far jump, which loads the code selector too. Its operand is an
/// address of 32 bits with the selector behind it, and it differs from the near jump in the second byte
/// only (Intel SDM, volume 2, JMP: `FF /4` and `FF /5`).
pub(crate) fn bytes(_: Pid, registers: &Registers, blocked: SignalSet) -> io::Result<Vec<u8>> {
    /// The second byte of `jmp far [rip + displacement]`.
    const FAR: u8 = 0x2d;
    let r = registers;
    let mut bytes = code().to_vec();
    let mut target = r.rip;
    if super::is_narrow(r) {
        let jump = &raw const vdsokit_guest_jump as usize - &raw const vdsokit_guest as usize;
        bytes[jump + 1] = FAR;
        target |= r.cs << 32;
    }
    let words: [u64; WORDS] = [
        r.eflags, r.rsp, blocked, target, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.r8,
        r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15,
    ];
    bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    Ok(bytes)
}

/// Sets `registers` to make a call by the code at `address`, which is of 64 bits also in a 32-bit program.
pub(crate) fn enter(registers: &mut Registers, address: u64, number: u64, arguments: [u64; 6]) {
    registers.cs = super::USER_CODE;
    registers.rip = address;
    registers.rax = number;
    registers.orig_rax = u64::MAX;
    super::set_arguments(registers, arguments);
}

/// The registers with which a stopped thread goes on. Those with which the kernel would restart a call
/// become those with which the program makes it again (arch/x86/kernel/signal.c,
/// `arch_do_signal_or_restart`): the kernel restarts none for a thread that was given other registers
/// meanwhile.
pub(crate) fn settled(pid: Pid, _: &Memory, _: u64) -> Result<Registers, Failure> {
    restarting(pid)
}

fn restarting(pid: Pid) -> Result<Registers, Failure> {
    /// restart_syscall(2): the kernel knows the rest of the time-out.
    const RESTART_SYSCALL: u64 = 219;
    let (mut registers, _) = sys::registers(pid)?;
    let number = match registers.rax.wrapping_neg() {
        _ if (registers.orig_rax as i64) < 0 => return Ok(registers),
        // ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND (include/linux/errno.h).
        512..=514 => registers.orig_rax,
        // ERESTART_RESTARTBLOCK.
        516 => RESTART_SYSCALL,
        _ => return Ok(registers),
    };
    registers.rax = number;
    registers.rip -= 2;
    registers.orig_rax = u64::MAX;
    Ok(registers)
}

/// The registers with which a program begins that is stopped at the exit of execve(2), or at a signal
/// before its first instruction.
pub(crate) fn begun(pid: Pid, _: &Registers) -> Result<Registers, Failure> {
    restarting(pid)
}

/// The registers of a thread that a system call does not keep: `rcx` and `r11`, which are in the frame.
#[derive(Debug)]
pub(crate) struct Fleeting;

impl Fleeting {
    pub(crate) fn read(_: Pid) -> Fleeting {
        Fleeting
    }

    pub(crate) fn restore(&self, _: Pid) -> io::Result<()> {
        Ok(())
    }
}

/// Has the kernel restart no call of a thread that was given other registers at the exit of one.
/// Nothing is to be done: `orig_rax` says that.
pub(crate) fn leave_call(_: Pid) -> Result<(), Failure> {
    Ok(())
}
