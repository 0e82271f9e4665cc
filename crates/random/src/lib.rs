//! Random bytes without a system call.
//!
//! What getrandom(2) does, once the kernel's generator has a seed, is to stretch a key into
//! bytes. This crate does that in the caller: each thread keeps a **state** with a key of its
//! own, taken from the kernel by system call, and takes another whenever the generator got a
//! new seed. How often that was, the **generation**, is a word that the kernel publishes in
//! the vvar pages.
//!
//! It is Linux's `vgetrandom` (Linux 6.11, lib/vdso/getrandom.c), with its interface, for
//! kernels that are not Linux. Both halves are here:
//!
//! - the **caller's**, which a vDSO's image runs: [`getrandom`] over a [`State`];
//! - the **kernel's**: [`Reseeds`].
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`chacha`] | the cipher, which leaves nothing behind |
//! | [`page`] | where the generation lies |
//!
//! `no_std`, no allocation, no lock.
//!
//! # What is promised
//! | | |
//! | --- | --- |
//! | no repetition | a forked child, another thread, and a caller whose state was wiped never get bytes that somebody else got |
//! | reseeding | once a new generation is visible, no call that begins gives out a byte of an older key |
//! | forward secrecy | when a call returns, the state has neither the bytes it gave nor a key that would make them: who reads memory later learns nothing of the past |
//! | nothing else written | on x86-64 and AArch64 keys and bytes are only ever in the state, the caller's buffer, and vector registers that are cleared |
//! | signals | a handler may call with the same state at any instruction, and the state may be wiped at any instruction |
//! | never wrong | whatever stands in the way, the system call answers |
//! | a publisher that lies | keys are the kernel's, always: it can keep callers from taking new ones, or make each call a system call, and no more |
//!
//! What is not: a signal in the middle of the cipher saves vector registers to the stack, as
//! it does with all others. A handler that forks after the last check and before the return
//! leaves parent and child with the same bytes; nothing in user space can tell.
//!
//! # For a kernel
//! Your kernel has Linux's system calls, a generator of random numbers with a base key, and
//! maps the image and its pages into every process. Then:
//!
//! 1. **Before the first program starts**, make a [`Reseeds`] of the word at
//!    [`page::OFFSET`]. C libraries ask once, at their start, whether the image has this; from
//!    now on it says so, and makes system calls until there is a generation.
//! 2. **When there is entropy enough, and whenever the base key was replaced**, call
//!    [`Reseeds::reseeded`], after replacing it and under the same lock. Linux does so once a
//!    minute, oftener at first. Do it too when the machine is a copy: after a snapshot was
//!    resumed, before any program runs.
//! 3. **getrandom(2) answers from that base key or a newer one**: if CPUs have keys of their
//!    own, these compare generations as well. A request for up to 256 bytes is answered whole,
//!    signals or not, once the generator is ready (getrandom(2), "Interruption by a signal
//!    handler").
//! 4. **mmap(2) knows `MAP_DROPPABLE | MAP_ANONYMOUS`** (0x28, since Linux 6.11): such pages
//!    are zeroes in a forked child, are in no swap and no core dump, and may be made zeroes
//!    at any time; each whole. [`Parameters::STATE`] has these numbers.
//!
//! A word that is 0 again takes generations back: callers make system calls.
//!
//! ```
//! use std::sync::Mutex;
//! use std::sync::atomic::AtomicU64;
//! use vdsokit_random::{Parameters, Reseeds, Request, State, chacha, getrandom};
//!
//! /// Your generator: its base key, and what readers are told of it.
//! struct Generator<'p> {
//!     key: [u8; chacha::KEY],
//!     reseeds: Reseeds<'p>,
//! }
//!
//! impl Generator<'_> {
//!     /// Yours hashes what was gathered, and the old key, into the new one.
//!     fn reseed(&mut self, entropy: [u8; chacha::KEY]) {
//!         self.key = entropy;
//!         // After the key: the store is a release.
//!         self.reseeds.reseeded();
//!     }
//!
//!     /// What getrandom(2) does. The first block is the next key, and this one is gone.
//!     fn fill(&mut self, buffer: &mut [u8]) {
//!         let mut next = [[0; chacha::BLOCK]];
//!         chacha::fill(&mut next, &self.key, 0);
//!         for (number, piece) in (1..).zip(buffer.chunks_mut(chacha::BLOCK)) {
//!             let mut block = [[0; chacha::BLOCK]];
//!             chacha::fill(&mut block, &self.key, number);
//!             piece.copy_from_slice(&block[0][..piece.len()]);
//!         }
//!         self.key.copy_from_slice(&next[0][..chacha::KEY]);
//!     }
//! }
//!
//! // At boot: the word in your page.
//! let word = AtomicU64::new(0);
//! let generator = Mutex::new(Generator { key: [0; 32], reseeds: Reseeds::new(&word) });
//! // Some interrupts later. (Your entropy is none that stands in a book.)
//! generator.lock().unwrap().reseed([0xa5; 32]);
//!
//! // In a process, the image's `getrandom` does this, with the system call.
//! let system_call = |buffer: *mut u8, length: usize, _flags: u32| {
//!     // Your kernel checks that the program may write there.
//!     let buffer = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
//!     generator.lock().unwrap().fill(buffer);
//!     length as isize
//! };
//! // A C library takes `Parameters::STATE.size` bytes of a mapping that it makes as they say.
//! #[repr(align(4096))]
//! struct Page(State);
//! let mut page = Page(State::NEW);
//! let mut bytes = [0; 32];
//! let mut fill = || {
//!     let request = Request {
//!         buffer: bytes.as_mut_ptr(),
//!         length: bytes.len(),
//!         flags: 0,
//!         state: &raw mut page.0,
//!         state_length: Parameters::STATE.size as usize,
//!     };
//!     // Buffer and state are this program's, and as long as is said.
//!     assert_eq!(unsafe { getrandom(&word, system_call, request) }, 32);
//!     bytes
//! };
//! let first = fill();
//! // Nothing of the kernel's has changed: this was no system call.
//! let before = generator.lock().unwrap().key;
//! assert_ne!(fill(), first);
//! assert_eq!(generator.lock().unwrap().key, before);
//! // A new seed: the next call takes a new key first.
//! generator.lock().unwrap().reseed([0x5a; 32]);
//! let reseeded = generator.lock().unwrap().key;
//! fill();
//! assert_ne!(generator.lock().unwrap().key, reseeded);
//! ```
//!
//! # Order of memory
//! The kernel stores the generation with release after the base key. A caller that meets a
//! new generation has an acquire fence between that load and the system call; so the kernel,
//! acting for it, sees that base key or a newer one. The check at a call's end needs no order:
//! it bounds for how long an older key may be used, which is one call.
//!
//! # Provenance
//! Interface, order of checks and the way of a fork (generation before key, zeroes in the
//! child) are Linux 6.12's: lib/vdso/getrandom.c, include/vdso/getrandom.h,
//! drivers/char/random.c, read for what they do. Fast key erasure is D. J. Bernstein's ("Fast-
//! key-erasure random-number generators", 2017). What differs is said at [`getrandom`] and
//! [`State`].
#![no_std]

pub mod chacha;
mod fill;
mod generation;
pub mod page;
mod state;

pub use fill::{Request, getrandom};
pub use generation::{Generation, Reseeds};
pub use state::{Parameters, State};
