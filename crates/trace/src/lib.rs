//! Makes calls of a vDSO visible: wrappers that count each call, or write a record of it, into
//! memory that another process reads.
//!
//! | module | contents |
//! | --- | --- |
//! | [`function`] | the functions of Linux's vDSO: how they fail, and what they write |
//! | `code` | the wrapper, in assembler |
//! | [`text`] | the wrappers of some functions as bytes to be mapped |
//! | `layout` | what the shared memory contains, for both sides |
//! | [`buffer`] | the reader's side of that memory |
//! | `memory` | mapping it, and the counter: the only unsafe code besides `code` |
//!
//! # How a call is seen
//! A wrapper takes the place of a function. It reads the counter, calls the function with the
//! arguments as they are, reads the counter again, finds the *entry* of its function and caller in a
//! hash table, and adds to that entry's counts. While records are wanted it also claims one in a
//! ring and fills it. A ring that is full counts a dropped call. Then it returns what the function
//! returned.
//!
//! # What it promises
//! 1. **The program is not changed** but for the time that this takes and 128 bytes of stack: a
//!    wrapper preserves what its function preserves, vector registers included, takes no lock, and
//!    may run in signal handlers, in children of fork(2) and vfork(2), and on Go's system stack.
//! 2. **Counts are exact.** Each call is counted once, whatever the number of threads, processes
//!    and callers. A table that is full counts by function alone. A call whose record has no room is
//!    counted as dropped.
//! 3. **A counted call makes no system call**, but for the first ones of each caller: they wait
//!    until the reader has looked at the process's mappings, which may be gone a moment later. A
//!    reader that does not answer within a second is not waited for again until it is back, and by no process
//!    more than four times. A recorded call makes two, getpid(2) and gettid(2), behind the
//!    function.
//! 4. **Nothing in the memory is trusted**, neither by the reader nor by a wrapper: every traced program
//!    can write it. One that writes nonsense there makes the output wrong, and nothing else.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

pub mod buffer;
mod code;
pub mod function;
mod layout;
mod memory;
pub mod text;

pub use memory::counter;
