//! The code by which a stopped thread makes system calls for its tracer, on 64-bit RISC-V.
//!
//! A tracer that dies resumes its tracees. So whatever the thread does here, it ends by going back
//! into the program by itself: behind the call it makes rt_sigreturn(2), which restores all
//! registers and the signal mask at once from a signal frame. Nothing less can: each instruction
//! that leads to any address leaves that address in a register. The tracer stops the thread behind
//! the call, by PTRACE_SYSCALL, as long as it lives, and then the frame is not used.
//!
//! rt_sigreturn(2) forgets how long an interrupted sleep still lasts (arch/riscv/kernel/signal.c,
//! `do_no_restart_syscall`): if the tracer dies, a sleep of this one thread may fail with EINTR.
//!
//! Vector registers, which no system call keeps, are restored by a tracer that lives.
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
use super::{CALL, number, set_call};
use crate::error::Unserved;
use crate::kernel::{self, KernelVdso};
use crate::memory::Memory;
use crate::stop::Stop;
use crate::supervisor::process::Blocked;
use crate::sys::{self, Pid, Registers, Resume, SignalSet};
use crate::visit::Failure;

std::arch::global_asm!(
    ".pushsection .rodata.vdsokit_guest, \"a\"",
    ".option push",
    ".option norvc",
    ".option norelax",
    ".balign 4",
    ".globl vdsokit_guest",
    ".hidden vdsokit_guest",
    "vdsokit_guest:",
    "   ecall",
    "   auipc sp, 0",
    "   addi  sp, sp, {frame}",
    "   li    a7, 139", // rt_sigreturn()
    "   ecall",
    "   ebreak",
    ".globl vdsokit_guest_end",
    ".hidden vdsokit_guest_end",
    "vdsokit_guest_end:",
    ".option pop",
    ".popsection",
    // From the second instruction.
    frame = const CONTEXT - SIGNAL_INFORMATION - CALL.len() as i64,
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
/// Where `struct sigcontext` begins in `ucontext_t`: the registers.
const REGISTERS: usize = 176;
/// Where the floating-point registers begin in `ucontext_t`.
const FLOATING_POINT: usize = REGISTERS + size_of::<Registers>();
/// Bytes of the room for them, 64 registers of 64 bits and 16 bytes. The last 12 have to be 0: a
/// reserved word, and the header that ends the list of extensions (arch/riscv/include/uapi/asm/ptrace.h,
/// `struct __riscv_extra_ext_header`).
const FLOATING_POINT_ROOM: usize = 528;
/// Bytes of them as ptrace(2) gives them and a frame has them: 32 registers, and `fcsr` in a word.
const FLOATING_POINT_LENGTH: usize = 264;

/// Bytes of code and frame together.
pub(crate) fn length() -> usize {
    CONTEXT as usize + FLOATING_POINT + FLOATING_POINT_ROOM
}

/// The code, which makes the call that its registers hold at once.
pub(crate) fn code() -> &'static [u8] {
    let start = &raw const vdsokit_guest;
    let length = &raw const vdsokit_guest_end as usize - start as usize;
    // SAFETY: the labels are the first byte of the code and the byte behind its last, in one
    // section of this program's read-only data, which is never written.
    unsafe { slice::from_raw_parts(start, length) }
}

/// Where in the kernel's vDSO there is room for code and frame, in bytes from the image's start: where
/// the section headers are, which no program reads.
pub(crate) fn spare(kernel: &KernelVdso) -> Option<u64> {
    kernel.unloaded(length())
}

/// The bytes of that place, at the address `spare` in a process, before code is written there.
pub(crate) fn before(memory: &Memory, spare: u64) -> io::Result<Vec<u8>> {
    kernel::before(memory, spare, code(), length())
}

/// The code with a frame from which the thread `pid` goes on as `registers` say and with the signals
/// of `blocked` blocked (struct rt_sigframe, arch/riscv/kernel/signal.c).
pub(crate) fn bytes(pid: Pid, registers: &Registers, blocked: SignalSet) -> io::Result<Vec<u8>> {
    /// `ss_flags` of an alternate stack that the kernel takes for an error and ignores, so that the
    /// thread keeps the one that it has (kernel/signal.c, `restore_altstack`).
    const UNCHANGED_STACK: u64 = 3;
    let floating_point = sys::register_set(pid, libc::NT_PRFPREG as usize, FLOATING_POINT_LENGTH)?;
    let mut bytes = vec![0; length()];
    bytes[..code().len()].copy_from_slice(code());
    let mut put = |at: usize, values: &[u8]| {
        let at = CONTEXT as usize + at;
        bytes[at..at + values.len()].copy_from_slice(values);
    };
    let signals = [0, UNCHANGED_STACK, 0, blocked].map(u64::to_ne_bytes);
    put(16, signals.as_flattened());
    put(REGISTERS, &super::words(registers));
    put(FLOATING_POINT, &floating_point);
    Ok(bytes)
}

/// Sets `registers` to make a call by the code at `address`.
pub(crate) fn enter(registers: &mut Registers, address: u64, call: u64, arguments: [u64; 6]) {
    registers.pc = address;
    set_call(registers, call, arguments);
}

/// The registers with which a stopped thread goes on. It has the option PTRACE_O_TRACESYSGOOD, and
/// code can be written at `spare`.
///
/// Older kernels than 6.6 set a restart up when no tracer sees the thread any more, and are refused.
///
/// A thread that restarts a call is led to its entry. There is no PTRACE_SYSEMU by which it would skip the
/// call: it makes another in its place, which changes nothing, and goes on behind the call of the code at
/// `spare`, from where it would return to its own call if the tracer died.
pub(crate) fn settled(pid: Pid, memory: &Memory, spare: u64) -> Result<Registers, Failure> {
    if !shows_restarts() {
        return Err(Unserved::OldKernel.into());
    }
    let (registers, is_in_call) = entry::lead(pid, Resume::Call)?;
    if !is_in_call {
        return Ok(registers);
    }
    let (at_entry, _) = sys::registers(pid)?;
    // The place of the first argument has the result by now (arch/riscv/kernel/traps.c,
    // `do_trap_ecall_u`).
    let call = Blocked::read(pid).ok_or(Unserved::Busy)?;
    let registers = Registers {
        pc: at_entry.pc - CALL.len() as u64,
        a0: call.arguments[0],
        ..at_entry
    };
    memory.write(spare, &bytes(pid, &registers, sys::blocked(pid)?)?)?;
    let elsewhere = Registers {
        pc: spare + CALL.len() as u64,
        a7: number::GETPID,
        ..at_entry
    };
    sys::set_registers(pid, &elsewhere)?;
    entry::leave(pid)?;
    Ok(registers)
}

/// Whether a tracer sees how a call is restarted: since Linux 6.6 (`arch_do_signal_or_restart`).
fn shows_restarts() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-', '+']).map(str::parse::<u32>);
    let mut number = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (number(), number()) >= (6, 6)
}

/// The registers with which a program begins that is stopped at the exit of execve(2), or at a signal
/// before its first instruction.
pub(crate) fn begun(pid: Pid, _: &Registers) -> Result<Registers, Failure> {
    Ok(sys::registers(pid)?.0)
}

/// The registers of a thread that a system call does not keep: those of the vector extension
/// (Documentation/arch/riscv/vector.rst, "Vector Register State Across System Calls"). Those of a thread
/// that is in a call have no meaning.
#[derive(Debug)]
pub(crate) struct Fleeting(Option<Vec<u8>>);

impl Fleeting {
    /// `NT_RISCV_VECTOR` (include/uapi/linux/elf.h).
    const SET: usize = 0x901;

    pub(crate) fn read(pid: Pid) -> Fleeting {
        /// The most bytes of the set: five words, and 32 vectors of 65536 bits.
        const MOST: usize = 5 * 8 + 32 * 8192;
        // A processor without the extension has no such set, nor has a thread that has not used it.
        Fleeting(sys::register_set(pid, Self::SET, MOST).ok())
    }

    pub(crate) fn restore(&self, pid: Pid) -> io::Result<()> {
        match &self.0 {
            Some(bytes) => sys::set_register_set(pid, Self::SET, bytes),
            None => Ok(()),
        }
    }
}

/// Leads a thread at the exit of a call to where the kernel has decided that it restarts none. With
/// registers that it is given before that, the kernel would compare what is in a0 with the results that
/// mean a restart (arch/riscv/kernel/signal.c, `arch_do_signal_or_restart`).
pub(crate) fn leave_call(pid: Pid) -> Result<(), Failure> {
    sys::interrupt(pid)?;
    sys::resume(pid, Resume::Continue, 0)?;
    // The interruption comes before any signal (kernel/signal.c, `get_signal`).
    match sys::wait(pid)?.map(|(_, status)| Stop::decode(status)) {
        None | Some(Stop::Ended) => Err(Failure::Ended),
        Some(_) => Ok(()),
    }
}
