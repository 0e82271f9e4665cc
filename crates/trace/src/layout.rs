//! The shared memory, as wrappers and reader see it.
//!
//! | bytes | what |
//! | --- | --- |
//! | [`CLOSED`] and following | the header, a page |
//! | [`LOG`] | the numbers, plus 1, of entries in the order in which they came into use |
//! | [`ENTRIES_AT`] | the hash table of [`ENTRIES`] entries, and one more for each function |
//! | [`RING`] | the records |
//!
//! All is zero at first. Every program that is traced can write it, so no address that a wrapper writes
//! to depends on what is in it: numbers of entries and records are masked by constants of the text.

/// u32 of the header: not 0 when nothing is to be counted any more.
pub(crate) const CLOSED: usize = 0;
/// u32 of the header: 1 if each call is recorded, 0 if calls are only counted.
pub(crate) const RECORDS: usize = 4;
/// u32 of the header, a futex: how many entries came into use.
pub(crate) const NEWS: usize = 8;
/// u32 of the header: how many address spaces have a number.
pub(crate) const SPACES: usize = 12;
/// u32 of the header: 1 once a wrapper has waited for the reader in vain, until the reader is back.
pub(crate) const AWAY: usize = 28;
/// u64 of the header: the number of the next record to claim. It has a cache line of its own.
pub(crate) const HEAD: usize = 64;
/// u64 of the header: how many calls found no record free.
pub(crate) const DROPPED: usize = 128;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;

/// The binary logarithm of [`ENTRIES`].
pub(crate) const ENTRY_BITS: u32 = 14;
/// Entries in the hash table.
pub(crate) const ENTRIES: usize = 1 << ENTRY_BITS;
/// Entries that are tried before a call is counted by its function alone.
pub(crate) const PROBES: usize = 64;

/// The most functions: their number has 8 bits in a key.
pub const FUNCTIONS: usize = 256;

pub(crate) const LOG: usize = PAGE;
pub(crate) const ENTRIES_AT: usize = LOG + 4 * ENTRIES;
pub(crate) const RING: usize = ENTRIES_AT + ENTRY * (ENTRIES + FUNCTIONS);

/// Bytes of an entry: a cache line.
pub(crate) const ENTRY: usize = 64;
/// u64 of an entry: the caller's address, its function's number from bit 48 on, and from bit 56 on
/// a number that threads differ in, so that they count in different cache lines. 0: unused.
pub(crate) const KEY: usize = 0;
/// u32 of an entry: the number of the address space. 0: a wrapper is about to write it.
pub(crate) const SPACE: usize = 8;
/// u32 of an entry: the process in which it came into use, by its own count.
pub(crate) const PID: usize = 12;
/// u64 of an entry: calls.
pub(crate) const CALLS: usize = 16;
/// u64 of an entry: the sum of their ticks.
pub(crate) const TICKS: usize = 24;
/// u64 of an entry: calls that failed.
pub(crate) const ERRORS: usize = 32;
/// u32 of an entry, a futex: 1 when the reader knows the caller.
pub(crate) const ANSWERED: usize = 48;
/// u32 of an entry: how many bytes above the return address that of the caller's own caller lies,
/// to whom the calls are to be counted. 0: the caller itself.
pub(crate) const SKIP: usize = 52;

/// The most bytes from a return address to that of the caller that a call is counted for.
pub(crate) const SKIP_LIMIT: u32 = 256;

/// The bits of a key that are the caller's address.
pub(crate) const ADDRESS: u64 = (1 << 48) - 1;
/// Where a key has its function's number.
pub(crate) const FUNCTION_SHIFT: u32 = 48;
/// Where a key has the number that threads differ in.
pub(crate) const SHARD_SHIFT: u32 = 56;

/// Bytes of a record: two cache lines.
pub(crate) const RECORD: usize = 128;
/// u64 of a record. Its lap in the ring from [`LAP_SHIFT`] on; the id of the thread that writes it,
/// or 0, from bit 2 on; and whether it is [`FREE`], [`CLAIMED`] or [`FULL`].
pub(crate) const STATE: usize = 0;
pub(crate) const FREE: u64 = 0;
pub(crate) const CLAIMED: u64 = 1;
pub(crate) const FULL: u64 = 2;
pub(crate) const LAP_SHIFT: u32 = 24;
/// The bits of a thread id, which is at most 2²² (proc(5), `/proc/sys/kernel/pid_max`).
pub(crate) const TID_MASK: u32 = (1 << 22) - 1;
/// u32 of a record: the number of the entry.
pub(crate) const OF_ENTRY: usize = 8;
/// u32s of a record: thread and process, by the process's own count.
pub(crate) const THREAD: usize = 12;
pub(crate) const PROCESS: usize = 16;
/// u32 of a record: bit 0 if the first copy is there, bit 1 if the second is.
pub(crate) const COPIED: usize = 20;
/// u64s of a record: the counter before the call, and by how much it was more behind it.
pub(crate) const START: usize = 24;
pub(crate) const TOOK: usize = 32;
/// u64 of a record.
pub(crate) const RESULT: usize = 40;
/// Six u64s of a record.
pub(crate) const ARGUMENTS: usize = 48;
/// What the function wrote by its first and its second pointer.
pub(crate) const FIRST: usize = 96;
pub(crate) const SECOND: usize = 112;
/// u64 of a record: the lower half of the first vector register, which holds a floating-point result.
pub(crate) const VECTOR: usize = 120;

const _: () = assert!(ENTRIES_AT.is_multiple_of(ENTRY) && RING.is_multiple_of(PAGE));
