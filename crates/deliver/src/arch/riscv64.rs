//! RISC-V, 64 bits.
//!
//! The [`stub`] is the only code that a delivery executes inside the process. It is written over the
//! kernel's vDSO image, or behind it where that has room, into the private copy of the page that the
//! write makes; a write through `/proc/PID/mem` makes the instruction caches coherent
//! (arch/riscv/include/asm/cacheflush.h, `flush_icache_user_page`). The stub keeps its state in
//! registers that system calls preserve, and accesses no memory but the [`Block`] that `s1` points to,
//! the memory that the block describes, and what it maps. All of its instructions have four bytes.
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
use crate::supervisor::process::Blocked;
use crate::sys::{Pid, Registers};

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
pub(crate) const MACHINE: u16 = vdsokit_elf::constants::EM_RISCV;

/// Bytes below the stack pointer that the running function may use: none (RISC-V ELF psABI, "Integer
/// Calling Convention").
pub(crate) const RED_ZONE: u64 = 0;

/// Addresses where nothing lies when a program begins. They are below the middle of the address
/// space, where position-independent programs are loaded at two thirds, mappings grow down from its
/// end, and up from a third where the stack is unlimited (arch/riscv/include/asm/elf.h,
/// `ELF_ET_DYN_BASE`; processor.h, `TASK_UNMAPPED_BASE`). The address space has 38, 47 or 56 bits, as
/// the processor has it, of which this process's own stack is at the end of the first 47.
pub(crate) fn free_addresses() -> Range<u64> {
    let on_stack = 0u8;
    let middle = ((&raw const on_stack).addr() as u64).next_power_of_two() / 2;
    middle / 0x8000 * 0x7e80..middle / 0x8000 * 0x7ef0
}

/// Bytes below the stack pointer that a [`frame`] takes.
pub(crate) const FRAME: u64 = size_of::<Registers>() as u64;

/// The registers as the stub loads them. The stack pointer stays what it is, and `t2` is lost: it
/// holds the address to continue at.
pub(crate) fn frame(registers: &Registers) -> Vec<u8> {
    words(registers)
}

/// The bytes of all registers, where to continue first and then x1 to x31, as the kernel has them.
fn words(registers: &Registers) -> Vec<u8> {
    let &Registers {
        pc,
        ra,
        sp,
        gp,
        tp,
        t0,
        t1,
        t2,
        s0,
        s1,
        a0,
        a1,
        a2,
        a3,
        a4,
        a5,
        a6,
        a7,
        s2,
        s3,
        s4,
        s5,
        s6,
        s7,
        s8,
        s9,
        s10,
        s11,
        t3,
        t4,
        t5,
        t6,
    } = registers;
    let words = [
        pc, ra, sp, gp, tp, t0, t1, t2, s0, s1, a0, a1, a2, a3, a4, a5, a6, a7, s2, s3, s4, s5, s6,
        s7, s8, s9, s10, s11, t3, t4, t5, t6,
    ];
    bytes(words.into_iter())
}

const BLOCK_HEAD: usize = size_of::<Block>();
const BLOCK_STAT: usize = offset_of!(Block, stat);

std::arch::global_asm!(
    ".pushsection .rodata.vdsokit_deliver, \"a\"",
    ".option push",
    ".option norvc",
    ".option norelax",
    ".balign 4",
    ".globl vdsokit_deliver_stub",
    ".hidden vdsokit_deliver_stub",
    "vdsokit_deliver_stub:",
    "   li    s2, 0",                   // s2: where entry 0 came to lie
    "   ld    s3, 0(s1)",               // s3: entries left
    "   addi  s4, s1, {head}",          // s4: this entry
    "2: ld    s5, 0(s4)",               // s5: path, then descriptor
    "   li    t0, -1",                  // anonymous
    "   beq   s5, t0, 20f",
    "   lui   t0, 1",                   // 4096
    "   bltu  s5, t0, 3f",
    "   li    a0, {at_fdcwd}",          // openat(AT_FDCWD, path, flags, 0)
    "   mv    a1, s5",
    "   li    a2, {open_flags}",
    "   li    a3, 0",
    "   li    a7, 56",
    "   ecall",
    "   mv    s6, a0",                  // s6: the outcome
    "   bltz  a0, 6f",
    "   mv    s5, a0",
    "3: mv    a0, s5",                  // fstat(descriptor, stat)
    "   addi  a1, s1, {stat}",
    "   li    a5, {delivery}",          // no filter hands it over
    "   li    a7, 80",
    "   ecall",
    "   mv    s6, a0",
    "   bltz  a0, 5f",
    "   li    s6, {stale}",             // is it the file that was meant?
    "   ld    t0, {stat}(s1)",
    "   ld    t1, 8(s4)",
    "   bne   t0, t1, 5f",
    "   ld    t0, {stat} + 8(s1)",
    "   ld    t1, 16(s4)",
    "   bne   t0, t1, 5f",
    "20: ld   a0, 24(s4)",              // mmap(base + distance, …, descriptor, offset)
    "   add   a0, a0, s2",
    "   ld    a1, 32(s4)",
    "   ld    a2, 40(s4)",
    "   ld    a3, 48(s4)",
    "   mv    a4, s5",
    "   ld    a5, 56(s4)",
    "   li    a7, 222",
    "   ecall",
    "   mv    s6, a0",
    "   li    t0, -4095",
    "   bgeu  a0, t0, 5f",
    "   bnez  s2, 10f",
    "   mv    s2, s6",
    "10: li   t0, -1",
    "   beq   s5, t0, 21f",
    "   mv    a0, s5",                  // close(descriptor)
    "   li    a7, 57",
    "   ecall",
    "21: ld   t1, {words}(s4)",
    "   beqz  t1, 8f",
    "   ld    t2, {first_word}(s4)",
    "7: ld    t0, {is_relative}(t2)",   // write its words
    "   and   t0, t0, s2",
    "   ld    t3, {value}(t2)",
    "   add   t0, t0, t3",
    "   ld    t3, {distance}(t2)",
    "   add   t3, t3, s2",
    "   sd    t0, 0(t3)",
    "   addi  t2, t2, {word}",
    "   addi  t1, t1, -1",
    "   bnez  t1, 7b",
    "   mv    a0, s6",                  // mprotect(what was mapped, length, protection)
    "   ld    a1, 32(s4)",
    "   ld    a2, {becomes}(s4)",
    "   li    a7, 226",
    "   ecall",
    "   mv    s6, a0",
    "   bltz  a0, 6f",
    "8: addi  s4, s4, {entry}",
    "   addi  s3, s3, -1",
    "   bnez  s3, 2b",
    "   li    s6, 0",
    "   ld    t0, {slot}(s1)",
    "   beqz  t0, 4f",
    "   sd    s2, 0(t0)",               // the address, for the program's C library
    "   addi  a2, s1, {saved}",         // prctl(PR_SET_MM, PR_SET_MM_MAP, saved, size, 0)
    "   ld    t0, 0(a2)",
    "   beqz  t0, 1f",
    "   li    a0, {set_mm}",
    "   li    a1, {set_mm_map}",
    "   li    a3, {saved_size}",
    "   li    a4, 0",
    "   li    a7, 167",
    "   ecall",                         // if it fails, the kernel's copy stays as it was
    // A jump through t2 may lead to any instruction also where landing pads are required (Zicfilp).
    "1: ld    t2, {frame}(s1)",         // continue into the program
    "   ld    ra, 8(t2)",
    "   ld    gp, 24(t2)",
    "   ld    tp, 32(t2)",
    "   ld    t0, 40(t2)",
    "   ld    t1, 48(t2)",
    "   ld    s0, 64(t2)",
    "   ld    s1, 72(t2)",
    "   ld    a0, 80(t2)",
    "   ld    a1, 88(t2)",
    "   ld    a2, 96(t2)",
    "   ld    a3, 104(t2)",
    "   ld    a4, 112(t2)",
    "   ld    a5, 120(t2)",
    "   ld    a6, 128(t2)",
    "   ld    a7, 136(t2)",
    "   ld    s2, 144(t2)",
    "   ld    s3, 152(t2)",
    "   ld    s4, 160(t2)",
    "   ld    s5, 168(t2)",
    "   ld    s6, 176(t2)",
    "   ld    s7, 184(t2)",
    "   ld    s8, 192(t2)",
    "   ld    s9, 200(t2)",
    "   ld    s10, 208(t2)",
    "   ld    s11, 216(t2)",
    "   ld    t3, 224(t2)",
    "   ld    t4, 232(t2)",
    "   ld    t5, 240(t2)",
    "   ld    t6, 248(t2)",
    "   ld    t2, 0(t2)",
    "   jr    t2",
    ".globl vdsokit_deliver_stub_done",
    ".hidden vdsokit_deliver_stub_done",
    "vdsokit_deliver_stub_done:",
    "4: ebreak",
    "5: mv    a0, s5",                  // failed with a descriptor open: close it
    "   li    a7, 57",
    "   ecall",
    "6: beqz  s2, 9f",                  // and take back what is mapped
    "   mv    a0, s2",
    "   ld    a1, {head} + 32(s1)",
    "   li    a7, 215",
    "   ecall",
    "9: ld    t0, {slot}(s1)",
    "   beqz  t0, 4b",
    "   li    a7, 172",                 // kill(getpid(), SIGURG): only a tracer sees it
    "   ecall",
    "   li    a1, {sigurg}",
    "   li    a7, 129",
    "   ecall",
    ".globl vdsokit_deliver_stub_signalled",
    ".hidden vdsokit_deliver_stub_signalled",
    "vdsokit_deliver_stub_signalled:",
    "   li    a0, 0",                   // execve(NULL, NULL, NULL): a supervisor gets it
    "   li    a1, 0",
    "   li    a2, 0",
    "   li    a7, 221",
    "   ecall",
    ".globl vdsokit_deliver_stub_reported",
    ".hidden vdsokit_deliver_stub_reported",
    "vdsokit_deliver_stub_reported:",
    "   j     1b",                      // neither is there: begin without the object
    ".globl vdsokit_deliver_stub_call",
    ".hidden vdsokit_deliver_stub_call",
    "vdsokit_deliver_stub_call:",       // any one system call
    "   ecall",
    ".globl vdsokit_deliver_stub_called",
    ".hidden vdsokit_deliver_stub_called",
    "vdsokit_deliver_stub_called:",     // reached by a fault if the call unmapped the stub
    "   j     4b",
    ".globl vdsokit_deliver_stub_end",
    ".hidden vdsokit_deliver_stub_end",
    "vdsokit_deliver_stub_end:",
    ".option pop",
    ".popsection",
    head = const BLOCK_HEAD,
    stat = const BLOCK_STAT,
    delivery = const vdsokit_waits::files::DELIVERY,
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
    open_flags = const OPEN_FLAGS,
    stale = const -libc::ESTALE,
);

/// Sets `registers` to run the stub at `address` on the block at `block`.
pub(crate) fn enter_stub(registers: &mut Registers, address: u64, block: u64) {
    registers.pc = address;
    registers.s1 = block;
}

/// Sets `registers` to run one system call by the stub at `address`.
pub(crate) fn enter_call(
    registers: &mut Registers,
    address: u64,
    number: u64,
    arguments: [u64; 6],
) {
    registers.pc = address + stub::call();
    set_call(registers, number, arguments);
}

/// Sets the number and the arguments of the call that the thread makes next.
pub(crate) fn set_call(registers: &mut Registers, number: u64, arguments: [u64; 6]) {
    let [a0, a1, a2, a3, a4, a5] = arguments;
    *registers = Registers {
        a0,
        a1,
        a2,
        a3,
        a4,
        a5,
        a7: number,
        ..*registers
    };
}

/// The result of the mapping stub: the address of entry 0, or the error.
pub(crate) fn stub_result(registers: &Registers) -> Result<u64, i32> {
    error_of(registers.s6).map_or(Ok(registers.s2), Err)
}

/// The result of a single system call.
pub(crate) fn call_result(registers: &Registers) -> Result<u64, i32> {
    error_of(registers.a0).map_or(Ok(registers.a0), Err)
}

/// Marks registers as those of a thread outside a system call, so that the kernel doesn't restart
/// one. Nothing is to be done: the kernel has decided that before a tracer can see the thread, and
/// leaves the registers alone where the tracer has changed the instruction pointer
/// (arch/riscv/kernel/signal.c, `arch_do_signal_or_restart`).
pub(crate) fn leave_syscall(_: &mut Registers) {}

/// Sets the result of execve(2) for a thread in its exec stop: the kernel does so only later.
pub(crate) fn leave_exec(registers: &mut Registers) {
    registers.a0 = 0;
}

/// Has the `registers` of a stopped thread say all that it goes on with, and be all that it has.
/// Returns the signal to deliver on resuming it (0: none); `None`: it has ended.
///
/// Nothing is to be done: a thread whose instruction pointer is changed does not go on with what is
/// left of a time-out (restart_syscall(2)), and the supervisor changes it in every case.
pub(crate) fn settle(_: Pid, _: &mut Registers) -> Option<c_int> {
    Some(0)
}

/// A common information entry of `.eh_frame` ("zR", pcrel sdata4): at each instruction the return
/// address is in ra and the stack is the caller's. DW_CFA_def_cfa sp+0.
pub(crate) const LEAF_FRAMES: [u8; 24] = [
    20, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 1, 1, 0x1b, 0x0c, 2, 0, 0, 0, 0, 0,
];

/// Bytes of a [`forward`].
pub(crate) const FORWARD: usize = 16;

/// A function that jumps to the address in the word that lies `distance` bytes from its first byte:
/// `auipc t2, upper; ld t2, lower(t2); jr t2; ebreak`. See the stub on t2.
pub(crate) fn forward(distance: i32) -> [u8; FORWARD] {
    const T2: u32 = 7;
    // The lower twelve bits are signed.
    let upper = distance.wrapping_add(0x800) as u32 & 0xffff_f000;
    let lower = distance as u32 & 0xfff;
    let instructions = [
        upper | T2 << 7 | 0x17,
        lower << 20 | T2 << 15 | 0x3000 | T2 << 7 | 0x03,
        T2 << 15 | 0x67,
        0x0010_0073,
    ];
    let mut bytes = [0; FORWARD];
    for (bytes, instruction) in bytes.as_chunks_mut().0.iter_mut().zip(instructions) {
        *bytes = u32::to_le_bytes(instruction);
    }
    bytes
}

/// The instruction `ecall`, which is never compressed.
const CALL: [u8; 4] = 0x73u32.to_le_bytes();

/// Whether the instruction at `address` makes a system call.
pub(crate) fn is_call(pid: Pid, address: u64) -> bool {
    let mut code = [0; CALL.len()];
    Memory::open(pid).is_ok_and(|memory| memory.read_exact(address, &mut code).is_ok())
        && code == CALL
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
    let &mut Registers {
        a1, a2, a3, a4, a5, ..
    } = registers;
    let is_behind = registers.pc == call.pointer
        && registers.a7 as i64 == call.number
        && [a1, a2, a3, a4, a5] == call.arguments[1..];
    if error_of(registers.a0) != Some(libc::EINTR)
        || !is_behind
        // close(2) has closed the descriptor even if it fails with EINTR.
        || registers.a7 == number::CLOSE
    {
        return false;
    }
    registers.a0 = call.arguments[0];
    registers.pc -= CALL.len() as u64;
    true
}

/// The signal frames in the words of a stack (`struct rt_sigframe`, arch/riscv/kernel/signal.c). No
/// word of a frame is unlike all others. So a frame is taken to be where there are a signal's number, the two
/// words 0 that `ucontext_t` begins with, and behind registers and floating-point registers the
/// half of a word that the kernel leaves 0.
pub(crate) fn signal_frames(stack: &[u64]) -> impl Iterator<Item = SignalFrame> {
    /// Where `ucontext_t`, the registers in it, and that word are, in words from the frame's start.
    const CONTEXT: usize = 16;
    const REGISTERS: usize = CONTEXT + 22;
    const RESERVED: usize = REGISTERS + 32 + 64;
    stack
        .windows(RESERVED + 2)
        .filter(|words| {
            (1..=64).contains(&(words[0] as u32))
                && words[CONTEXT..CONTEXT + 2] == [0, 0]
                && words[RESERVED] >> 32 == 0
        })
        .map(|words| SignalFrame {
            instruction_pointer: words[REGISTERS],
            stack_pointer: words[REGISTERS + 2],
        })
}

/// Where a thread continues.
pub(crate) fn instruction_pointer(registers: &Registers) -> u64 {
    registers.pc
}

/// Makes a thread continue at `address`.
pub(crate) fn set_instruction_pointer(registers: &mut Registers, address: u64) {
    registers.pc = address;
}

pub(crate) fn stack_pointer(registers: &Registers) -> u64 {
    registers.sp
}

/// Whether a register set of `length` bytes is that of a 64-bit program. A 32-bit program's has words
/// of 4 bytes (arch/riscv/kernel/ptrace.c, `compat_riscv_user_native_view`).
pub(crate) fn is_native(_: &Registers, length: usize) -> bool {
    length == size_of::<Registers>()
}
