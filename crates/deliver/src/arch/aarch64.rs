//! AArch64.
//!
//! The [`stub`] is the only code that a delivery executes inside the process. It is written behind
//! the kernel's vDSO image, into the private copy of the page that the write makes; a write through
//! `/proc/PID/mem` makes the instruction cache coherent (arch/arm64/mm/flush.c,
//! `copy_to_user_page`). The stub keeps its state in registers that system calls preserve, and
//! accesses no memory but the [`Block`] that `x19` points to, the memory that the block describes,
//! and what it maps. The page may be guarded (BTI): the stub is entered by a change of registers
//! and left by `ret`, and neither needs a landing pad.
#![allow(
    unsafe_code,
    reason = "the stub is assembler; its bytes are read through the two labels around it"
)]

use std::ffi::c_int;
use std::mem::offset_of;
use std::ops::Range;

pub(crate) mod guest;

use super::block::{Block, Entry, MemoryMap, Word, bytes};
use super::{OPEN_FLAGS, SignalFrame, error_of, stub};
use crate::memory::Memory;
use crate::stop::Stop;
use crate::supervisor::process::Blocked;
use crate::sys::{self, Pid, Registers, Resume};

/// System call numbers (include/uapi/asm-generic/unistd.h).
pub(crate) mod number {
    pub(crate) const OPENAT: u64 = 56;
    pub(crate) const CLOSE: u64 = 57;
    pub(crate) const FSTAT: u64 = 80;
    pub(crate) const PRCTL: u64 = 167;
    pub(crate) const GETPID: u64 = 172;
    pub(crate) const SOCKETPAIR: u64 = 199;
    pub(crate) const RECVMSG: u64 = 212;
    pub(crate) const MUNMAP: u64 = 215;
    pub(crate) const MMAP: u64 = 222;
    pub(crate) const MPROTECT: u64 = 226;
}

/// The calls by which a thread may wait for its child to execute a program or end.
pub(crate) const FORKS: [i64; 2] = [libc::SYS_clone, libc::SYS_clone3];

/// `e_machine` of images for this architecture.
pub(crate) const MACHINE: u16 = vdsokit_elf::constants::EM_AARCH64;

/// Bytes below the stack pointer that the running function may use: none (AAPCS64, 6.4.5.1).
pub(crate) const RED_ZONE: u64 = 0;

/// Addresses where nothing lies when a program begins. They are below the middle of the address
/// space, where position-independent programs are loaded at two thirds, mappings grow down from its
/// end, and up from a quarter where the stack is unlimited (arch/arm64/include/asm/elf.h,
/// `ELF_ET_DYN_BASE`; processor.h, `TASK_UNMAPPED_BASE`). The address space has 39, 42, 47 or 48
/// bits, as the kernel was configured, of which this process's own stack is at the end.
pub(crate) fn free_addresses() -> Range<u64> {
    let on_stack = 0u8;
    let middle = ((&raw const on_stack).addr() as u64).next_power_of_two() / 2;
    middle / 0x8000 * 0x7e80..middle / 0x8000 * 0x7ef0
}

/// Words of a [`frame`]: x0 to x30, the condition flags, and where to continue.
const FRAME_WORDS: usize = 33;
/// Bytes below the stack pointer that a [`frame`] takes.
pub(crate) const FRAME: u64 = FRAME_WORDS as u64 * 8;

/// The registers as the stub loads them. The stack pointer stays what it is, and `x17` is lost:
/// it holds the address to continue at.
pub(crate) fn frame(registers: &Registers) -> Vec<u8> {
    let general = registers.regs.iter().copied();
    bytes(general.chain([registers.pstate & CONDITION_FLAGS, registers.pc]))
}

/// N, Z, C and V in PSTATE.
const CONDITION_FLAGS: u64 = 0xf << 28;
/// BTYPE in PSTATE: the kind of the branch that was taken last, which the next instruction of a
/// guarded page has to match.
const BRANCH_TYPE: u64 = 3 << 10;
/// In PSTATE: the thread executes AArch32 instructions.
const MODE_32_BIT: u64 = 1 << 4;

const BLOCK_HEAD: usize = size_of::<Block>();
const BLOCK_STAT: usize = offset_of!(Block, stat);

std::arch::global_asm!(
    ".pushsection .rodata.vdsokit_deliver, \"a\"",
    ".balign 4",
    ".globl vdsokit_deliver_stub",
    ".hidden vdsokit_deliver_stub",
    "vdsokit_deliver_stub:",
    "   mov   x20, #0",                 // x20: where entry 0 came to lie
    "   ldr   x21, [x19]",              // x21: entries left
    "   add   x22, x19, #{head}",       // x22: this entry
    "2: ldr   x23, [x22]",              // x23: path, then descriptor
    "   cmn   x23, #1",                 // anonymous
    "   b.eq  20f",
    "   cmp   x23, #4096",
    "   b.lo  3f",
    "   mov   x0, #{at_fdcwd}",         // openat(AT_FDCWD, path, flags, 0)
    "   mov   x1, x23",
    "   movz  x2, #{open_flags_low}",
    "   movk  x2, #{open_flags_high}, lsl #16",
    "   mov   x3, #0",
    "   mov   x8, #56",
    "   svc   #0",
    "   mov   x24, x0",                 // x24: the outcome
    "   tbnz  x0, #63, 6f",
    "   mov   x23, x0",
    "3: mov   x0, x23",                 // fstat(descriptor, stat)
    "   add   x1, x19, #{stat}",
    "   movz  x5, #{delivery_low}",     // no filter hands it over
    "   movk  x5, #{delivery_high}, lsl #16",
    "   mov   x8, #80",
    "   svc   #0",
    "   mov   x24, x0",
    "   tbnz  x0, #63, 5f",
    "   mov   x24, #{stale}",           // is it the file that was meant?
    "   ldr   x9, [x19, #{stat}]",
    "   ldr   x10, [x22, #8]",
    "   cmp   x9, x10",
    "   b.ne  5f",
    "   ldr   x9, [x19, #{stat} + 8]",
    "   ldr   x10, [x22, #16]",
    "   cmp   x9, x10",
    "   b.ne  5f",
    "20: ldr  x0, [x22, #24]",          // mmap(base + distance, …, descriptor, offset)
    "   add   x0, x0, x20",
    "   ldp   x1, x2, [x22, #32]",
    "   ldr   x3, [x22, #48]",
    "   mov   x4, x23",
    "   ldr   x5, [x22, #56]",
    "   mov   x8, #222",
    "   svc   #0",
    "   mov   x24, x0",
    "   cmn   x0, #4095",
    "   b.hs  5f",
    "   cmp   x20, #0",
    "   csel  x20, x24, x20, eq",
    "   cmn   x23, #1",
    "   b.eq  21f",
    "   mov   x0, x23",                 // close(descriptor)
    "   mov   x8, #57",
    "   svc   #0",
    "21: ldr  x10, [x22, #{words}]",
    "   cbz   x10, 8f",
    "   ldr   x11, [x22, #{first_word}]",
    "7: ldr   x9, [x11, #{is_relative}]", // write its words
    "   and   x9, x9, x20",
    "   ldr   x12, [x11, #{value}]",
    "   add   x9, x9, x12",
    "   ldr   x12, [x11, #{distance}]",
    "   str   x9, [x20, x12]",
    "   add   x11, x11, #{word}",
    "   subs  x10, x10, #1",
    "   b.ne  7b",
    "   mov   x0, x24",                 // mprotect(what was mapped, length, protection)
    "   ldr   x1, [x22, #32]",
    "   ldr   x2, [x22, #{becomes}]",
    "   mov   x8, #226",
    "   svc   #0",
    "   mov   x24, x0",
    "   tbnz  x0, #63, 6f",
    "8: add   x22, x22, #{entry}",
    "   subs  x21, x21, #1",
    "   b.ne  2b",
    "   mov   x24, #0",
    "   ldr   x9, [x19, #{slot}]",
    "   cbz   x9, 4f",
    "   str   x20, [x9]",               // the address, for the program's C library
    "   add   x2, x19, #{saved}",       // prctl(PR_SET_MM, PR_SET_MM_MAP, saved, size, 0)
    "   ldr   x9, [x2]",
    "   cbz   x9, 1f",
    "   mov   x0, #{set_mm}",
    "   mov   x1, #{set_mm_map}",
    "   mov   x3, #{saved_size}",
    "   mov   x4, #0",
    "   mov   x8, #167",
    "   svc   #0",                      // if it fails, the kernel's copy stays as it was
    "1: ldr   x17, [x19, #{frame}]",    // continue into the program
    "   ldr   x0, [x17, #248]",
    "   msr   nzcv, x0",
    "   ldp   x0, x1, [x17]",
    "   ldp   x2, x3, [x17, #16]",
    "   ldp   x4, x5, [x17, #32]",
    "   ldp   x6, x7, [x17, #48]",
    "   ldp   x8, x9, [x17, #64]",
    "   ldp   x10, x11, [x17, #80]",
    "   ldp   x12, x13, [x17, #96]",
    "   ldp   x14, x15, [x17, #112]",
    "   ldr   x16, [x17, #128]",
    "   ldp   x18, x19, [x17, #144]",
    "   ldp   x20, x21, [x17, #160]",
    "   ldp   x22, x23, [x17, #176]",
    "   ldp   x24, x25, [x17, #192]",
    "   ldp   x26, x27, [x17, #208]",
    "   ldp   x28, x29, [x17, #224]",
    "   ldr   x30, [x17, #240]",
    "   ldr   x17, [x17, #256]",
    // A program's first instruction need not be a landing pad, which `br` requires in a guarded
    // page and `ret` does not.
    "   ret   x17",
    ".globl vdsokit_deliver_stub_done",
    ".hidden vdsokit_deliver_stub_done",
    "vdsokit_deliver_stub_done:",
    "4: brk   #0",
    "5: mov   x0, x23",                 // failed with a descriptor open: close it
    "   mov   x8, #57",
    "   svc   #0",
    "6: cbz   x20, 9f",                 // and take back what is mapped
    "   mov   x0, x20",
    "   ldr   x1, [x19, #{head} + 32]",
    "   mov   x8, #215",
    "   svc   #0",
    "9: ldr   x9, [x19, #{slot}]",
    "   cbz   x9, 4b",
    "   mov   x8, #172",                // kill(getpid(), SIGURG): only a tracer sees it
    "   svc   #0",
    "   mov   x1, #{sigurg}",
    "   mov   x8, #129",
    "   svc   #0",
    ".globl vdsokit_deliver_stub_signalled",
    ".hidden vdsokit_deliver_stub_signalled",
    "vdsokit_deliver_stub_signalled:",
    "   mov   x0, #0",                  // execve(NULL, NULL, NULL): a supervisor gets it
    "   mov   x1, #0",
    "   mov   x2, #0",
    "   mov   x8, #221",
    "   svc   #0",
    ".globl vdsokit_deliver_stub_reported",
    ".hidden vdsokit_deliver_stub_reported",
    "vdsokit_deliver_stub_reported:",
    "   b     1b",                      // neither is there: begin without the object
    ".globl vdsokit_deliver_stub_call",
    ".hidden vdsokit_deliver_stub_call",
    "vdsokit_deliver_stub_call:",       // any one system call
    "   svc   #0",
    ".globl vdsokit_deliver_stub_called",
    ".hidden vdsokit_deliver_stub_called",
    "vdsokit_deliver_stub_called:",     // reached by a fault if the call unmapped the stub
    "   b     4b",
    ".globl vdsokit_deliver_stub_end",
    ".hidden vdsokit_deliver_stub_end",
    "vdsokit_deliver_stub_end:",
    ".popsection",
    head = const BLOCK_HEAD,
    stat = const BLOCK_STAT,
    delivery_low = const vdsokit_waits::files::DELIVERY & 0xffff,
    delivery_high = const vdsokit_waits::files::DELIVERY >> 16,
    saved = const offset_of!(Block, saved),
    saved_size = const size_of::<MemoryMap>(),
    set_mm = const libc::PR_SET_MM,
    set_mm_map = const libc::PR_SET_MM_MAP,
    slot = const offset_of!(Block, slot),
    frame = const offset_of!(Block, frame),
    words = const offset_of!(Entry, words),
    first_word = const offset_of!(Entry, first_word),
    becomes = const offset_of!(Entry, becomes),
    distance = const offset_of!(Word, distance),
    value = const offset_of!(Word, value),
    is_relative = const offset_of!(Word, is_relative),
    word = const size_of::<Word>(),
    entry = const size_of::<Entry>(),
    at_fdcwd = const libc::AT_FDCWD,
    sigurg = const libc::SIGURG,
    open_flags_low = const OPEN_FLAGS & 0xffff,
    open_flags_high = const OPEN_FLAGS >> 16,
    stale = const -libc::ESTALE,
);

/// Sets `registers` to run the stub at `address` on the block at `block`.
pub(crate) fn enter_stub(registers: &mut Registers, address: u64, block: u64) {
    set_instruction_pointer(registers, address);
    registers.regs[19] = block;
}

/// Sets `registers` to run one system call by the stub at `address`.
pub(crate) fn enter_call(
    registers: &mut Registers,
    address: u64,
    number: u64,
    arguments: [u64; 6],
) {
    set_instruction_pointer(registers, address + stub::call());
    registers.regs[..6].copy_from_slice(&arguments);
    registers.regs[8] = number;
}

/// The result of the mapping stub: the address of entry 0, or the error.
pub(crate) fn stub_result(registers: &Registers) -> Result<u64, i32> {
    error_of(registers.regs[24]).map_or(Ok(registers.regs[20]), Err)
}

/// The result of a single system call.
pub(crate) fn call_result(registers: &Registers) -> Result<u64, i32> {
    error_of(registers.regs[0]).map_or(Ok(registers.regs[0]), Err)
}

/// Marks registers as those of a thread outside a system call, so that the kernel doesn't restart
/// one. Nothing is to be done: the kernel has decided that before a tracer can see the thread, and
/// leaves the registers alone where the tracer has changed the instruction pointer
/// (arch/arm64/kernel/signal.c, `do_signal`).
pub(crate) fn leave_syscall(_: &mut Registers) {}

/// Sets the result of execve(2) for a thread in its exec stop: the kernel does so only later.
pub(crate) fn leave_exec(registers: &mut Registers) {
    registers.regs[0] = 0;
}

/// Whether the registers of a thread behind a call lack an argument of that: the result is where the
/// first was.
pub(crate) const LOSES_ARGUMENT: bool = true;

/// Makes a thread repeat `call`, which it was in before it was interrupted, if the call failed for that
/// reason. Returns whether it did.
pub(crate) fn restart_interrupted(registers: &mut Registers, call: Option<&Blocked>) -> bool {
    let Some(call) = call else {
        return false;
    };
    let is_behind = registers.pc == call.pointer
        && registers.regs[8] as i64 == call.number
        && registers.regs[1..6] == call.arguments[1..];
    if error_of(registers.regs[0]) != Some(libc::EINTR)
        || !is_behind
        // close(2) has closed the descriptor even if it fails with EINTR.
        || registers.regs[8] == number::CLOSE
    {
        return false;
    }
    registers.regs[0] = call.arguments[0];
    registers.pc -= CALL.len() as u64;
    true
}

/// Has the `registers` of a stopped thread say all that it goes on with, and be all that it has.
/// Returns the signal to deliver on resuming it: one that came first, with which nothing has changed
/// (0: none); `None`: it has ended.
///
/// The instruction pointer of a thread that restarts a call was set back to it already. Whether the
/// kernel will have it call restart_syscall(2) instead, because it knows the rest of a time-out,
/// shows only at the entry of that call, and is lost if the thread goes on elsewhere: a sleep would
/// begin anew. So the thread is led to the entry, and skips the call (PTRACE_SYSEMU). It then stands
/// before the call again, with the call's number.
pub(crate) fn settle(pid: Pid, registers: &mut Registers) -> Option<c_int> {
    if !is_call(pid, registers.pc) {
        return Some(0);
    }
    sys::resume(pid, Resume::Emulate, 0).ok()?;
    let (_, status) = sys::wait(pid).ok()??;
    let signal = match Stop::decode(status) {
        Stop::Ended => return None,
        Stop::Signal(signal) => signal,
        _ => return Some(0),
    };
    let (at_entry, _) = sys::registers(pid).ok()?;
    if at_entry.pc != registers.pc + CALL.len() as u64 {
        return Some(signal);
    }
    // x7 shows at such a stop whether it is an entry or an exit, and is restored behind it
    // (arch/arm64/kernel/ptrace.c, `report_syscall`).
    registers.regs[8] = at_entry.regs[8];
    sys::forget_call(pid).ok()?;
    sys::set_registers(pid, registers).ok()?;
    Some(0)
}

/// Whether the instruction at `address` makes a system call.
pub(crate) fn is_call(pid: Pid, address: u64) -> bool {
    let mut code = [0; CALL.len()];
    Memory::open(pid).is_ok_and(|memory| memory.read_exact(address, &mut code).is_ok())
        && code == CALL
}

/// The instruction `svc #0`.
const CALL: [u8; 4] = 0xd400_0001u32.to_le_bytes();

/// A common information entry of `.eh_frame` ("zR", pcrel sdata4): at each instruction the return
/// address is in x30 and the stack is the caller's. DW_CFA_def_cfa sp+0.
pub(crate) const LEAF_FRAMES: [u8; 24] = [
    20, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 30, 1, 0x1b, 0x0c, 31, 0, 0, 0, 0, 0,
];

/// Bytes of a [`forward`].
pub(crate) const FORWARD: usize = 16;

/// A function that jumps to the address in the word that lies `distance` bytes from its first byte:
/// `bti c; ldr x16, word; br x16`. The word is at a multiple of 4 and within 1 MiB.
pub(crate) fn forward(distance: i32) -> [u8; FORWARD] {
    const BTI_C: u32 = 0xd503_245f;
    const LDR_X16: u32 = 0x5800_0010;
    // Relative to the load, in instructions.
    let words = ((distance - 4) >> 2) as u32 & 0x7_ffff;
    code([BTI_C, LDR_X16 | words << 5, BR_X16, BRK])
}

/// `br x16`. With x16 it may lead to a landing pad of functions (`bti c`).
const BR_X16: u32 = 0xd61f_0200;
/// `brk #0`.
const BRK: u32 = 0xd420_0000;

/// The bytes of four instructions.
fn code(instructions: [u32; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (bytes, instruction) in bytes.as_chunks_mut().0.iter_mut().zip(instructions) {
        *bytes = instruction.to_le_bytes();
    }
    bytes
}

/// The signal frames in the words of a stack. In the kernel's frame `sp`, `pc` and `pstate` follow
/// each other; behind them and a word of padding begins the record of the floating-point registers,
/// which is always there and the first (struct sigcontext and fpsimd_context,
/// arch/arm64/include/uapi/asm/sigcontext.h).
pub(crate) fn signal_frames(stack: &[u64]) -> impl Iterator<Item = SignalFrame> {
    stack
        .windows(5)
        .filter(|words| words[4] == FLOATING_POINT)
        .map(|words| SignalFrame {
            instruction_pointer: words[1],
            stack_pointer: words[0],
        })
}

/// The first word of the record of the floating-point registers: `FPSIMD_MAGIC`, and its size.
const FLOATING_POINT: u64 = 528 << 32 | 0x4650_8001;

/// Where a thread continues.
pub(crate) fn instruction_pointer(registers: &Registers) -> u64 {
    registers.pc
}

/// Makes a thread continue at `address`.
pub(crate) fn set_instruction_pointer(registers: &mut Registers, address: u64) {
    registers.pc = address;
    registers.pstate &= !BRANCH_TYPE;
}

pub(crate) fn stack_pointer(registers: &Registers) -> u64 {
    registers.sp
}

/// Whether a register set of `length` bytes is that of a 64-bit program.
pub(crate) fn is_native(registers: &Registers, length: usize) -> bool {
    length == size_of::<Registers>() && registers.pstate & MODE_32_BIT == 0
}
