//! x86-64.
//!
//! The [`stub`] is the only code that a delivery executes inside the process. It is written into
//! the pages of the kernel's vDSO, in the private copy that the write makes: they are executable,
//! always there, and not part of the program. The stub keeps its state in registers that system
//! calls preserve, and accesses no memory but the [`Block`] that `rbx` points to, the memory that
//! the block describes, and what it maps.
#![allow(
    unsafe_code,
    reason = "the stub is assembler; its bytes are read through the two labels around it"
)]

use std::ffi::c_int;
use std::mem::offset_of;
use std::ops::Range;

pub(crate) mod guest;

use super::block::{ANONYMOUS, Block, Entry, MemoryMap, Word, bytes};
use super::{OPEN_FLAGS, SignalFrame, error_of, stub};
use crate::supervisor::process::Blocked;
use crate::sys::{Pid, Registers};

/// System call numbers (arch/x86/entry/syscalls/syscall_64.tbl).
pub(crate) mod number {
    pub(crate) const CLOSE: u64 = 3;
    pub(crate) const FSTAT: u64 = 5;
    pub(crate) const MMAP: u64 = 9;
    pub(crate) const MPROTECT: u64 = 10;
    pub(crate) const MUNMAP: u64 = 11;
    pub(crate) const MREMAP: u64 = 25;
    pub(crate) const GETPID: u64 = 39;
    pub(crate) const RECVMSG: u64 = 47;
    pub(crate) const SOCKETPAIR: u64 = 53;
    pub(crate) const PRCTL: u64 = 157;
    pub(crate) const ARCH_PRCTL: u64 = 158;
    pub(crate) const OPENAT: u64 = 257;
}

/// The calls by which a thread may wait for its child to execute a program or end.
pub(crate) const FORKS: [i64; 3] = [libc::SYS_vfork, libc::SYS_clone, libc::SYS_clone3];

/// `e_machine` of images for this architecture.
pub(crate) const MACHINE: u16 = vdsokit_elf::constants::EM_X86_64;

/// Addresses where nothing lies when a program begins. They are below what the kernel maps from the
/// top down (arch/x86/mm/mmap.c) and above what mmap(2) gives to programs whose stack is unlimited;
/// and within the program's part of the address space of address, memory, leak and thread
/// sanitizers (compiler-rt, sanitizer_common and tsan platform headers).
pub(crate) fn free_addresses() -> Range<u64> {
    0x7e80_0000_0000..0x7ef0_0000_0000
}

/// The address of `length` bytes, a few megabytes at most, where nothing lies when a 32-bit program
/// begins: above one that is linked to a fixed address and what mmap(2) gives upwards from
/// 0x2aaa_0000 to programs whose stack is unlimited, and below programs that are linked to none, at
/// 0x5655_5000 and more. A heap behind a program with a fixed address has more than 1 GiB.
pub(crate) fn narrow_address(random: u64, length: u64) -> u64 {
    const FREE: Range<u64> = 0x5000_0000..0x5500_0000;
    const PAGE: u64 = 4096;
    FREE.start + random % ((FREE.end - FREE.start - length) / PAGE) * PAGE
}

/// Bytes below the stack pointer that the running function may use (System V ABI, 3.2.2).
pub(crate) const RED_ZONE: u64 = 128;

/// Words of a [`frame`].
const FRAME_WORDS: usize = 17;
/// Bytes below the stack pointer that a [`frame`] takes.
pub(crate) const FRAME: u64 = FRAME_WORDS as u64 * 8;

/// The registers as the stub pops them. The frame has to end at the stack pointer.
pub(crate) fn frame(registers: &Registers) -> Vec<u8> {
    let r = registers;
    let words: [u64; FRAME_WORDS] = [
        r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx,
        r.rsi, r.rdi, r.eflags, r.rip,
    ];
    bytes(words.into_iter())
}

const BLOCK_HEAD: usize = size_of::<Block>();
const BLOCK_STAT: usize = offset_of!(Block, stat);

std::arch::global_asm!(
    // What differs from the C library's own wrappers: errors stay negative in rax.
    ".pushsection .rodata.vdsokit_deliver, \"a\"",
    ".globl vdsokit_deliver_stub",
    ".hidden vdsokit_deliver_stub",
    "vdsokit_deliver_stub:",
    "   xor   r12d, r12d",              // r12: where entry 0 came to lie
    "   mov   rbp, [rbx]",              // rbp: entries left
    "   lea   r15, [rbx + {head}]",     // r15: this entry
    "2: mov   r13, [r15]",              // r13: path, then descriptor
    "   cmp   r13, {anonymous}",
    "   je    20f",
    "   cmp   r13, 4096",
    "   jb    3f",
    "   mov   edi, {at_fdcwd}",         // openat(AT_FDCWD, path, flags)
    "   mov   rsi, r13",
    "   mov   edx, {open_flags}",
    "   mov   eax, [r15 + 48]",         // O_RDWR if it is to be shared and writable
    "   and   eax, {map_shared}",
    "   add   eax, eax",
    "   and   eax, [r15 + 40]",
    "   or    edx, eax",
    "   mov   eax, 257",
    "   syscall",
    "   mov   r14, rax",                // r14: the outcome
    "   test  rax, rax",
    "   js    6f",
    "   mov   r13, rax",
    "3: mov   rdi, r13",                // fstat(descriptor, stat)
    "   lea   rsi, [rbx + {stat}]",
    "   mov   r9d, {delivery}",         // no filter hands it over
    "   mov   eax, 5",
    "   syscall",
    "   mov   r14, rax",
    "   test  rax, rax",
    "   js    5f",
    "   mov   r14, {stale}",            // is it the file that was meant?
    "   mov   rax, [rbx + {stat}]",
    "   cmp   rax, [r15 + 8]",
    "   jne   5f",
    "   mov   rax, [rbx + {stat} + 8]",
    "   cmp   rax, [r15 + 16]",
    "   jne   5f",
    "20: mov  rdi, [r15 + 24]",         // mmap(base + distance, …, descriptor, offset)
    "   add   rdi, r12",
    "   mov   rsi, [r15 + 32]",
    "   mov   rdx, [r15 + 40]",
    "   mov   r10, [r15 + 48]",
    "   mov   r8, r13",
    "   mov   r9, [r15 + 56]",
    "   mov   eax, 9",
    "   syscall",
    "   mov   r14, rax",
    "   cmp   rax, -4095",
    "   jae   5f",
    "   test  r12, r12",
    "   cmovz r12, r14",
    "   cmp   r13, {anonymous}",
    "   je    21f",
    "   mov   rdi, r13",                // close(descriptor)
    "   mov   eax, 3",
    "   syscall",
    "21: mov  rcx, [r15 + {words}]",
    "   test  rcx, rcx",
    "   jz    8f",
    "   mov   rdx, [r15 + {first_word}]",
    "7: mov   rax, [rdx + {is_relative}]", // write its words
    "   and   rax, r12",
    "   add   rax, [rdx + {value}]",
    "   mov   rsi, [rdx + {distance}]",
    "   mov   [r12 + rsi], rax",
    "   add   rdx, {word}",
    "   dec   rcx",
    "   jnz   7b",
    "   mov   rdi, r14",                // mprotect(what was mapped, length, protection)
    "   mov   rsi, [r15 + 32]",
    "   mov   rdx, [r15 + {becomes}]",
    "   mov   eax, 10",
    "   syscall",
    "   mov   r14, rax",
    "   test  rax, rax",
    "   js    6f",
    "8: add   r15, {entry}",
    "   dec   rbp",
    "   jnz   2b",
    "   xor   r14d, r14d",
    "   mov   rax, [rbx + {slot}]",
    "   test  rax, rax",
    "   jz    4f",
    "   mov   [rax], r12",              // the address, for the program's C library
    "   lea   rdx, [rbx + {saved}]",    // prctl(PR_SET_MM, PR_SET_MM_MAP, saved, size, 0)
    "   cmp   qword ptr [rdx], 0",
    "   je    1f",
    "   mov   edi, {set_mm}",
    "   mov   esi, {set_mm_map}",
    "   mov   r10d, {saved_size}",
    "   xor   r8d, r8d",
    "   mov   eax, 157",
    "   syscall",                       // if it fails, the kernel's copy stays as it was
    "1: mov   rsp, [rbx + {frame}]",    // continue into the program
    "   pop   r15",
    "   pop   r14",
    "   pop   r13",
    "   pop   r12",
    "   pop   rbp",
    "   pop   rbx",
    "   pop   r11",
    "   pop   r10",
    "   pop   r9",
    "   pop   r8",
    "   pop   rax",
    "   pop   rcx",
    "   pop   rdx",
    "   pop   rsi",
    "   pop   rdi",
    "   popfq",
    "   ret",
    "4: int3",
    ".globl vdsokit_deliver_stub_done",
    ".hidden vdsokit_deliver_stub_done",
    "vdsokit_deliver_stub_done:",
    "5: mov   rdi, r13",                // failed with a descriptor open: close it
    "   mov   eax, 3",
    "   syscall",
    "6: test  r12, r12",                // and take back what is mapped
    "   jz    9f",
    "   mov   rdi, r12",
    "   mov   rsi, [rbx + {head} + 32]",
    "   mov   eax, 11",
    "   syscall",
    "9: cmp   qword ptr [rbx + {slot}], 0",
    "   je    4b",
    "   mov   eax, 39",                 // kill(getpid(), SIGURG): only a tracer sees it
    "   syscall",
    "   mov   edi, eax",
    "   mov   esi, {sigurg}",
    "   mov   eax, 62",
    "   syscall",
    ".globl vdsokit_deliver_stub_signalled",
    ".hidden vdsokit_deliver_stub_signalled",
    "vdsokit_deliver_stub_signalled:",
    "   xor   edi, edi",                // execve(NULL, NULL, NULL): a supervisor gets it
    "   xor   esi, esi",
    "   xor   edx, edx",
    "   mov   eax, 59",
    "   syscall",
    ".globl vdsokit_deliver_stub_reported",
    ".hidden vdsokit_deliver_stub_reported",
    "vdsokit_deliver_stub_reported:",
    "   jmp   1b",                      // neither is there: begin without the object
    ".globl vdsokit_deliver_stub_call",
    ".hidden vdsokit_deliver_stub_call",
    "vdsokit_deliver_stub_call:",       // any one system call
    "   syscall",
    ".globl vdsokit_deliver_stub_called",
    ".hidden vdsokit_deliver_stub_called",
    "vdsokit_deliver_stub_called:",     // reached by a fault if the call unmapped the stub
    "   jmp   4b",
    ".globl vdsokit_deliver_stub_end",
    ".hidden vdsokit_deliver_stub_end",
    "vdsokit_deliver_stub_end:",
    ".popsection",
    anonymous = const ANONYMOUS as i32,
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
    map_shared = const libc::MAP_SHARED,
    stale = const -libc::ESTALE,
);

// The stub makes the flag of open(2) from those of mmap(2).
const _: () = assert!(libc::MAP_SHARED * 2 == libc::PROT_WRITE && libc::PROT_WRITE == libc::O_RDWR);

/// Sets `registers` to run the stub at `address` on the block at `block`.
pub(crate) fn enter_stub(registers: &mut Registers, address: u64, block: u64) {
    registers.rip = address;
    registers.rbx = block;
    leave_syscall(registers);
}

/// Sets the arguments of a system call (syscall(2)).
pub(crate) fn set_arguments(registers: &mut Registers, arguments: [u64; 6]) {
    let r = registers;
    match is_narrow(r) {
        true => [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp] = arguments,
        false => [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = arguments,
    }
}

/// Sets `registers` to run one system call by the stub at `address`.
pub(crate) fn enter_call(
    registers: &mut Registers,
    address: u64,
    number: u64,
    arguments: [u64; 6],
) {
    registers.rip = address + stub::call();
    registers.rax = number;
    set_arguments(registers, arguments);
    leave_syscall(registers);
}

/// The result of the mapping stub: the address of entry 0, or the error.
pub(crate) fn stub_result(registers: &Registers) -> Result<u64, i32> {
    error_of(registers.r14).map_or(Ok(registers.r12), Err)
}

/// The result of a single system call.
pub(crate) fn call_result(registers: &Registers) -> Result<u64, i32> {
    error_of(registers.rax).map_or(Ok(registers.rax), Err)
}

/// Marks registers as those of a thread outside a system call, so that the kernel doesn't restart
/// one (arch/x86/kernel/signal.c, `handle_signal`).
pub(crate) fn leave_syscall(registers: &mut Registers) {
    registers.orig_rax = u64::MAX;
}

/// Sets the result of execve(2) for a thread in its exec stop: the kernel does so only later.
pub(crate) fn leave_exec(registers: &mut Registers) {
    registers.rax = 0;
}

/// Whether the registers of a thread behind a call lack an argument of that.
pub(crate) const LOSES_ARGUMENT: bool = false;

/// Makes a thread repeat the system call that it was interrupted in, if the call failed for that
/// reason. Returns whether it did.
pub(crate) fn restart_interrupted(registers: &mut Registers, _: Option<&Blocked>) -> bool {
    /// close(2) has closed the descriptor even if it fails with EINTR.
    const CLOSE: u64 = number::CLOSE;
    let call = registers.orig_rax;
    if (call as i64) < 0 || call == CLOSE || error_of(registers.rax) != Some(libc::EINTR) {
        return false;
    }
    registers.rax = call;
    registers.rip -= SYSCALL.len() as u64;
    leave_syscall(registers);
    true
}

/// Has the `registers` of a stopped thread say all that it goes on with. They do: the call that it
/// restarts is in `orig_rax` and `rax`.
pub(crate) fn settle(_: Pid, _: &mut Registers) -> Option<c_int> {
    Some(0)
}

/// The instruction `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// A common information entry of `.eh_frame` ("zR", pcrel sdata4): at each instruction the return
/// address is on top of the stack. DW_CFA_def_cfa rsp+8, DW_CFA_offset rip at cfa-8.
pub(crate) const LEAF_FRAMES: [u8; 24] = [
    20, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1, 0, 0,
];

/// Bytes of a [`forward`].
pub(crate) const FORWARD: usize = 16;

/// A function that jumps to the address in the word that lies `distance` bytes from its first
/// byte: `endbr64; jmp *word(%rip)`.
pub(crate) fn forward(distance: i32) -> [u8; FORWARD] {
    let mut code = [0xcc; FORWARD];
    code[..6].copy_from_slice(&[0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25]);
    // Relative to the next instruction.
    code[6..10].copy_from_slice(&(distance - 10).to_le_bytes());
    code
}

/// A jump to any address: `jmp *0(%rip)` and the address. It changes no register and no flag.
pub(crate) fn jump(target: u64) -> [u8; 14] {
    let mut code = [0xff, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    code[6..].copy_from_slice(&target.to_le_bytes());
    code
}

/// Where such a jump leads.
pub(crate) fn jump_target(code: &[u8]) -> Option<u64> {
    let address = code
        .strip_prefix(&[0xff, 0x25, 0, 0, 0, 0])?
        .first_chunk()?;
    Some(u64::from_le_bytes(*address))
}

/// A function that returns -ENOSYS, as long as a [`jump`].
pub(crate) const UNAVAILABLE: [u8; 14] = [
    0xb8, 0xda, 0xff, 0xff, 0xff, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
];

/// The signal frames in the words of a stack. In the kernel's frame `rsp`, `rip` and `eflags`
/// follow each other, and the word behind them begins with the code selector (struct sigcontext,
/// arch/x86/include/uapi/asm/sigcontext.h).
pub(crate) fn signal_frames(stack: &[u64]) -> impl Iterator<Item = SignalFrame> {
    stack
        .windows(4)
        .filter(|words| words[3] & 0xffff == USER_CODE)
        .map(|words| SignalFrame {
            instruction_pointer: words[1],
            stack_pointer: words[0],
        })
}

/// The selector of 64-bit user code (arch/x86/include/asm/segment.h, `__USER_CS`).
pub(crate) const USER_CODE: u64 = 0x33;
/// That of 32-bit user code (`__USER32_CS`).
const USER32_CODE: u64 = 0x23;

pub(crate) fn instruction_pointer(registers: &Registers) -> u64 {
    registers.rip
}

/// Makes a thread continue at `address`.
pub(crate) fn set_instruction_pointer(registers: &mut Registers, address: u64) {
    registers.rip = address;
    leave_syscall(registers);
}

pub(crate) fn stack_pointer(registers: &Registers) -> u64 {
    registers.rsp
}

/// Whether a thread executes 32-bit code.
pub(crate) fn is_narrow(registers: &Registers) -> bool {
    registers.cs == USER32_CODE
}

/// Whether a register set of `length` bytes is that of a 64-bit program. It is also true for x32
/// programs, which are recognised by their auxiliary vector.
pub(crate) fn is_native(registers: &Registers, length: usize) -> bool {
    length == size_of::<Registers>() && registers.cs == USER_CODE
}
