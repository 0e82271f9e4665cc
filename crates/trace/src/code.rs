//! The wrapper.
//!
//! Each function has 16 bytes of code that load the address of its *description* and jump to the
//! common part. The code is position-independent and is copied to the start of a text; behind the
//! text lie a page of the process's own, whose first word is the number of its address space, and
//! the shared memory, both at distances that are the same in all texts.
//!
//! Registers are used as the System V ABI has it for a called function. Before the call only r11
//! and flags change, since other functions may take rax (the number of vector arguments) and r10
//! (the static chain); behind it only what a call may change, and rax and rdx, which hold a result,
//! are restored.
//!
//! # Atomic operations
//! x86 orders stores of a processor as it makes them. A record is complete before the store of its
//! state; an entry's process is stored before the entry's number is in the log. A key and its
//! address space are claimed by one compare-and-exchange each, so a thread that is killed or
//! interrupted in between leaves an entry that the next thread with the same key completes.
#![allow(
    unsafe_code,
    reason = "the code is assembler; its bytes are read through the labels around it"
)]

use std::ops::Range;
use std::slice;

use crate::layout::*;
use crate::text::{OWN_AT, SHARED_AT};

// Wrappers read both at once.
const _: () = assert!(SKIP == ANSWERED + 4 && ANSWERED.is_multiple_of(8));

/// Offsets in a description: the function's address, 0 where there is none.
pub(crate) const TARGET: usize = 0;
/// Its number, from bit [`FUNCTION_SHIFT`] on.
pub(crate) const NUMBER: usize = 8;
/// The system call in its place, or -1.
pub(crate) const SYSCALL: usize = 16;
/// How it fails: 0, 1 or 2 as [`crate::function::Failure`] lists it.
pub(crate) const FAILURE: usize = 20;
/// How many words of 32 bits it writes by its first pointer, and which argument that is.
pub(crate) const WORDS_1: usize = 21;
pub(crate) const ARGUMENT_1: usize = 22;
/// The same of its second pointer.
pub(crate) const WORDS_2: usize = 23;
pub(crate) const ARGUMENT_2: usize = 24;
/// Bytes of a description.
pub(crate) const DESCRIPTION: usize = 32;

/// Bytes by which the wrapper moves the stack pointer. The return address lies above.
pub(crate) const FRAME: usize = 120;

/// Offset in a process's own page, whose first word is the number of its address space: u32, how often it
/// has waited for the reader in vain.
const VAIN: usize = 4;
/// How often an address space waits in vain.
const VAIN_LIMIT: u32 = 4;

/// Bytes of the code of one function.
pub(crate) const STUB: usize = 16;

std::arch::global_asm!(
    ".pushsection .rodata.vdsokit_trace, \"a\"",
    ".balign 16",
    ".globl vdsokit_trace_code",
    ".hidden vdsokit_trace_code",
    "vdsokit_trace_code:",
    // r11: the description.
    "   cmp   dword ptr [rip + vdsokit_trace_code + {shared} + {closed}], 0",
    "   jne   30f",
    "   sub   rsp, {frame}",
    ".globl vdsokit_trace_framed",
    ".hidden vdsokit_trace_framed",
    "vdsokit_trace_framed:",
    "   mov   [rsp], rdi",
    "   mov   [rsp + 8], rsi",
    "   mov   [rsp + 16], rdx",
    "   mov   [rsp + 24], rcx",
    "   mov   [rsp + 32], r8",
    "   mov   [rsp + 40], r9",
    "   mov   [rsp + 48], r11",
    "   mov   [rsp + 56], rax",
    "   rdtsc",
    "   shl   rdx, 32",
    "   or    rax, rdx",
    "   mov   [rsp + 64], rax",             // the counter before the call
    "   mov   rax, [rsp + 56]",
    "   mov   rdx, [rsp + 16]",
    "   cmp   qword ptr [r11 + {target}], 0",
    "   je    2f",
    "   call  [r11 + {target}]",
    "   jmp   3f",
    "2: call  31f",
    "3: mov   [rsp + 72], rax",             // the result
    "   mov   [rsp + 80], rdx",
    "   rdtsc",
    "   shl   rdx, 32",
    "   or    rax, rdx",
    "   sub   rax, [rsp + 64]",
    "   mov   [rsp + 88], rax",             // ticks
    "   xor   esi, esi",
    "4: mov   [rsp + 104], rsi",            // from our return address to that of the caller
    "   mov   r11, [rsp + 48]",
    "   mov   rcx, [rsp + rsi + {frame}]",
    "   movabs rax, {address}",
    "   and   rcx, rax",
    "   or    rcx, [r11 + {number}]",
    "   mov   rax, rsp",                    // stacks of threads lie apart
    "   shr   rax, 16",
    "   imul  eax, eax, {golden_32}",
    "   shr   eax, 28",
    "   shl   rax, {shard_shift}",
    "   or    rcx, rax",                    // rcx: the key
    "   mov   r10d, [rip + vdsokit_trace_code + {own}]",
    "   test  r10d, r10d",                  // r10d: the address space
    "   jz    20f",
    "5: movabs r9, {golden_64}",
    "   imul  r9, rcx",
    "   shr   r9, 64 - {entry_bits}",       // r9: the number of the entry
    "   mov   edx, {probes}",
    "   lea   rdi, [rip + vdsokit_trace_code + {shared} + {entries_at}]",
    "6: mov   r8, r9",
    "   shl   r8, {entry_shift}",
    "   add   r8, rdi",                     // r8: the entry
    "   cmp   [r8 + {key}], rcx",
    "   jne   7f",
    "   cmp   [r8 + {space}], r10d",
    "   je    9f",
    "   cmp   dword ptr [r8 + {space}], 0",
    "   je    22f",
    "7: cmp   qword ptr [r8 + {key}], 0",
    "   je    21f",
    "   inc   r9d",
    "   and   r9d, {entries} - 1",
    "   dec   edx",
    "   jnz   6b",
    "   movzx r9d, byte ptr [r11 + {number} + 6]",
    "   add   r9d, {entries}",
    "   mov   r8, r9",
    "   shl   r8, {entry_shift}",
    "   add   r8, rdi",
    "   jmp   10f",
    "9: mov   rsi, [r8 + {answered}]",
    "   test  rsi, rsi",
    "   jz    23f",
    "8: shr   rsi, 32",                     // what follows: how many bytes to skip
    "   jz    10f",
    "   add   rsi, [rsp + 104]",
    // All 64 bits: the sum of two hostile words can have 33.
    "   cmp   rsi, {skip_limit}",
    "   jbe   4b",
    "10: lock inc qword ptr [r8 + {calls}]",
    "   mov   rax, [rsp + 88]",
    "   lock add [r8 + {ticks}], rax",
    "   mov   rdx, [rsp + 72]",
    "   xor   edi, edi",                    // edi: whether it failed
    "   movzx ecx, byte ptr [r11 + {failure}]",
    "   test  ecx, ecx",
    "   jz    13f",
    "   cmp   ecx, 2",
    "   je    12f",
    "   movsxd rdx, edx",
    "12: cmp  rdx, -4095",
    "   jb    13f",
    "   inc   edi",
    "   lock inc qword ptr [r8 + {errors}]",
    "13: cmp  dword ptr [rip + vdsokit_trace_code + {shared} + {records}], 0",
    "   jne   40f",
    "14: mov  rax, [rsp + 72]",
    "   mov   rdx, [rsp + 80]",
    "   add   rsp, {frame}",
    ".globl vdsokit_trace_returned",
    ".hidden vdsokit_trace_returned",
    "vdsokit_trace_returned:",
    "   ret",
    // Nothing is counted any more.
    "30: cmp  qword ptr [r11 + {target}], 0",
    "   je    31f",
    "   jmp   [r11 + {target}]",
    // There is no function: the system call in its place.
    "31: mov  eax, [r11 + {syscall}]",
    "   test  eax, eax",
    "   js    32f",
    "   mov   r10, rcx",
    "   syscall",
    "   ret",
    "32: mov  rax, -38",                    // ENOSYS
    "   ret",
    ".globl vdsokit_trace_rare",
    ".hidden vdsokit_trace_rare",
    "vdsokit_trace_rare:",
    // The first call in this address space. A thread of vfork(2) shares it, a child of fork(2) has
    // the same mappings.
    "20: mov  eax, 1",
    "   lock xadd [rip + vdsokit_trace_code + {shared} + {spaces}], eax",
    "   inc   eax",
    "   mov   r10d, eax",
    "   xor   eax, eax",
    "   lock cmpxchg [rip + vdsokit_trace_code + {own}], r10d",
    "   cmovne r10d, eax",
    "   jmp   5b",
    "21: xor  eax, eax",                    // claim an unused entry
    "   lock cmpxchg [r8 + {key}], rcx",
    "   jne   6b",
    "22: xor  eax, eax",
    "   lock cmpxchg [r8 + {space}], r10d",
    "   jne   6b",
    "   mov   eax, 39",                     // getpid()
    "   syscall",
    "   mov   [r8 + {pid}], eax",
    "   mov   eax, 1",
    "   lea   rdi, [rip + vdsokit_trace_code + {shared} + {news}]",
    "   lock xadd [rdi], eax",
    "   inc   r9d",
    "   lea   rdx, [rip + vdsokit_trace_code + {shared} + {log}]",
    "   and   eax, {entries} - 1",
    "   mov   [rdx + rax * 4], r9d",
    "   mov   esi, 1",                      // futex(news, FUTEX_WAKE, 1)
    "   mov   edx, 1",
    "   mov   eax, 202",
    "   syscall",
    "   dec   r9d",
    // The caller is not known yet: wait for the reader.
    "23: cmp  dword ptr [rip + vdsokit_trace_code + {shared} + {away}], 0",
    "   jne   24f",
    // Another program may reset the word above again and again, but not this one.
    "   cmp   dword ptr [rip + vdsokit_trace_code + {own} + {vain}], {vain_limit}",
    "   jae   24f",
    "   lea   rdi, [r8 + {answered}]",      // futex(answered, FUTEX_WAIT, 0, patience)
    "   xor   esi, esi",
    "   xor   edx, edx",
    "   lea   r10, [rip + 50f]",
    "   mov   eax, 202",
    "   syscall",
    "   cmp   eax, -{timed_out}",
    "   jne   24f",
    "   mov   dword ptr [rip + vdsokit_trace_code + {shared} + {away}], 1",
    "   lock inc dword ptr [rip + vdsokit_trace_code + {own} + {vain}]",
    "24: mov  r11, [rsp + 48]",
    "   mov   rsi, [r8 + {answered}]",
    "   jmp   8b",
    // Record the call. r8: its entry, r9: that one's number, edi: whether it failed.
    "40: mov  [rsp + 96], r8",
    "   mov   [rsp + 112], r9d",
    "   mov   [rsp + 116], edi",
    "   mov   eax, 39",                     // getpid()
    "   syscall",
    "   mov   [rsp + 104], eax",
    "   mov   eax, 186",                    // gettid()
    "   syscall",
    "   mov   [rsp + 108], eax",
    "   lea   rdi, [rip + vdsokit_trace_code + {shared}]",
    "41: mov  rdx, [rdi + {head}]",         // rdx: the record's number
    "   mov   ecx, [rip + 51f + 8]",        // the binary logarithm of the number of records
    "   mov   r8, rdx",
    "   and   r8, [rip + 51f]",             // the number of records, less 1
    "   shl   r8, {record_shift}",
    "   lea   r9, [rdi + {ring}]",
    "   add   r8, r9",                      // r8: the record
    "   mov   r10, rdx",
    "   shr   r10, cl",
    "   shl   r10, {lap_shift}",            // r10: its state while it is free
    "   mov   r9d, [rsp + 108]",
    "   and   r9d, {tid_mask}",
    "   shl   r9, 2",
    "   or    r9, r10",
    "   or    r9, {claimed}",
    "   mov   rax, r10",
    "   lock cmpxchg [r8], r9",
    "   je    43f",
    "   cmp   rdx, [rdi + {head}]",
    "   jne   41b",
    "   shr   rax, {lap_shift}",
    "   shl   rax, {lap_shift}",
    "   cmp   rax, r10",
    "   je    42f",
    "   lock inc qword ptr [rdi + {dropped}]",
    "   jmp   14b",
    "42: mov  rax, rdx",                    // another thread claimed it: advance in its place
    "   lea   r9, [rdx + 1]",
    "   lock cmpxchg [rdi + {head}], r9",
    "   jmp   41b",
    "43: mov  rax, rdx",
    "   lea   r9, [rdx + 1]",
    "   lock cmpxchg [rdi + {head}], r9",
    "   mov   r11, [rsp + 48]",
    "   mov   eax, [rsp + 112]",
    "   mov   [r8 + {of_entry}], eax",
    "   mov   eax, [rsp + 108]",
    "   mov   [r8 + {thread}], eax",
    "   mov   eax, [rsp + 104]",
    "   mov   [r8 + {process}], eax",
    "   mov   rax, [rsp + 64]",
    "   mov   [r8 + {start}], rax",
    "   mov   rax, [rsp + 88]",
    "   mov   [r8 + {took}], rax",
    "   mov   rax, [rsp + 72]",
    "   mov   [r8 + {result}], rax",
    "   movq  qword ptr [r8 + {vector}], xmm0", // as the function left it
    "   xor   ecx, ecx",
    "44: mov  rax, [rsp + rcx * 8]",
    "   mov   [r8 + rcx * 8 + {arguments}], rax",
    "   inc   ecx",
    "   cmp   ecx, 6",
    "   jb    44b",
    "   xor   r9d, r9d",                    // r9d: what was copied
    "   cmp   dword ptr [rsp + 116], 0",
    "   jne   48f",
    "   movzx ecx, byte ptr [r11 + {words_1}]",
    "   test  ecx, ecx",
    "   jz    46f",
    "   movzx edx, byte ptr [r11 + {argument_1}]",
    "   mov   rsi, [rsp + rdx * 8]",
    "   test  rsi, rsi",
    "   jz    46f",
    "   or    r9d, 1",
    "   lea   rdi, [r8 + {first}]",
    "45: mov  eax, [rsi + rcx * 4 - 4]",
    "   mov   [rdi + rcx * 4 - 4], eax",
    "   dec   ecx",
    "   jnz   45b",
    "46: movzx ecx, byte ptr [r11 + {words_2}]",
    "   test  ecx, ecx",
    "   jz    48f",
    "   movzx edx, byte ptr [r11 + {argument_2}]",
    "   mov   rsi, [rsp + rdx * 8]",
    "   test  rsi, rsi",
    "   jz    48f",
    "   or    r9d, 2",
    "   lea   rdi, [r8 + {second}]",
    "47: mov  eax, [rsi + rcx * 4 - 4]",
    "   mov   [rdi + rcx * 4 - 4], eax",
    "   dec   ecx",
    "   jnz   47b",
    "48: mov  [r8 + {copied}], r9d",
    "   or    r10, {full}",
    "   mov   [r8], r10",
    "   jmp   14b",
    ".balign 8",
    "50: .quad 1, 0",                       // a second
    ".globl vdsokit_trace_records",
    ".hidden vdsokit_trace_records",
    "vdsokit_trace_records:",
    "51: .quad 0, 0",
    ".globl vdsokit_trace_end",
    ".hidden vdsokit_trace_end",
    "vdsokit_trace_end:",
    ".popsection",
    shared = const SHARED_AT,
    own = const OWN_AT,
    closed = const CLOSED,
    records = const RECORDS,
    spaces = const SPACES,
    away = const AWAY,
    vain = const VAIN,
    vain_limit = const VAIN_LIMIT,
    // ETIMEDOUT
    timed_out = const 110,
    news = const NEWS,
    log = const LOG,
    head = const HEAD,
    dropped = const DROPPED,
    ring = const RING,
    entries_at = const ENTRIES_AT,
    entries = const ENTRIES,
    entry_bits = const ENTRY_BITS,
    entry_shift = const ENTRY.trailing_zeros(),
    probes = const PROBES,
    key = const KEY,
    space = const SPACE,
    pid = const PID,
    calls = const CALLS,
    ticks = const TICKS,
    errors = const ERRORS,
    answered = const ANSWERED,
    skip_limit = const SKIP_LIMIT,
    address = const ADDRESS,
    shard_shift = const SHARD_SHIFT,
    // Fibonacci hashing: the golden ratio's fraction in 32 and 64 bits.
    golden_32 = const 0x9e37_79b1_u32 as i32,
    golden_64 = const 0x9e37_79b9_7f4a_7c15_u64,
    record_shift = const RECORD.trailing_zeros(),
    lap_shift = const LAP_SHIFT,
    tid_mask = const TID_MASK,
    claimed = const CLAIMED,
    full = const FULL,
    of_entry = const OF_ENTRY,
    thread = const THREAD,
    process = const PROCESS,
    copied = const COPIED,
    start = const START,
    took = const TOOK,
    result = const RESULT,
    arguments = const ARGUMENTS,
    first = const FIRST,
    second = const SECOND,
    vector = const VECTOR,
    target = const TARGET,
    number = const NUMBER,
    syscall = const SYSCALL,
    failure = const FAILURE,
    words_1 = const WORDS_1,
    argument_1 = const ARGUMENT_1,
    words_2 = const WORDS_2,
    argument_2 = const ARGUMENT_2,
    frame = const FRAME,
);

unsafe extern "C" {
    safe static vdsokit_trace_code: u8;
    safe static vdsokit_trace_framed: u8;
    safe static vdsokit_trace_returned: u8;
    safe static vdsokit_trace_rare: u8;
    safe static vdsokit_trace_records: u8;
    safe static vdsokit_trace_end: u8;
}

fn label(address: *const u8) -> usize {
    address as usize - (&raw const vdsokit_trace_code) as usize
}

/// The bytes of the common part, for a ring of `records` records, a power of two.
pub(crate) fn code_for(records: u64) -> Vec<u8> {
    let mut bytes = code().to_vec();
    let words = [records - 1, records.ilog2().into()];
    let at = label(&raw const vdsokit_trace_records);
    for (place, word) in bytes[at..].chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn code() -> &'static [u8] {
    let length = label(&raw const vdsokit_trace_end);
    // SAFETY: the labels are the first byte of the code and the byte behind its last, in one section
    // of this program's read-only data, which is never written.
    unsafe { slice::from_raw_parts(&raw const vdsokit_trace_code, length) }
}

/// Where in the common part the return address lies [`FRAME`] bytes above the stack pointer.
/// Elsewhere it is on top of the stack.
pub(crate) fn framed() -> [Range<usize>; 2] {
    let returned = label(&raw const vdsokit_trace_returned);
    let rare = label(&raw const vdsokit_trace_rare);
    [
        label(&raw const vdsokit_trace_framed)..returned,
        rare..code().len(),
    ]
}

/// The code of a function that lies at `at` and whose description is at `description`:
/// `endbr64; lea description(%rip), %r11; jmp` to the common part, at 0.
pub(crate) fn stub(at: usize, description: usize) -> [u8; STUB] {
    let relative = |to: usize, behind: usize| (to as i32 - behind as i32).to_le_bytes();
    let mut code = [0; STUB];
    code[..4].copy_from_slice(&[0xf3, 0x0f, 0x1e, 0xfa]);
    code[4..7].copy_from_slice(&[0x4c, 0x8d, 0x1d]);
    code[7..11].copy_from_slice(&relative(description, at + 11));
    code[11] = 0xe9;
    code[12..].copy_from_slice(&relative(0, at + 16));
    code
}
