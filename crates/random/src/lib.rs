//! Random bytes without a system call.
//!
//! Once the kernel's generator has a seed, getrandom(2) stretches a key into bytes. This
//! crate does that in the caller: each thread keeps a **state** with its own key, which it
//! gets from the kernel by system call, and gets another key whenever the generator got a
//! new seed. The count of seeds, the **generation**, is a word that the kernel publishes in
//! the vvar pages.
//!
//! It is Linux's `vgetrandom` (Linux 6.11, lib/vdso/getrandom.c), with its interface, for
//! kernels that are not Linux. Both sides are here:
//!
//! - the **caller's** side, which a vDSO's image runs: [`getrandom`] over a [`State`];
//! - the **kernel's** side: [`Reseeds`].
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`chacha`] | the cipher, which leaves no key or output in memory or registers |
//! | [`page`] | the place of the generation in the vvar pages |
//!
//! `no_std`, no allocation, no lock.
//!
//! # What is promised
//! | | |
//! | --- | --- |
//! | no repetition | a forked child, another thread, and a caller whose state was wiped never get bytes that another caller got |
//! | reseeding | once a new generation is visible, no call that begins returns a byte of an older key |
//! | forward secrecy | when a call has returned, the state has neither its bytes nor a key from which they can be computed: memory that is read later reveals no earlier bytes |
//! | nothing else written | on x86-64 and AArch64 keys and bytes are only ever in the state, the caller's buffer, and vector registers that are cleared |
//! | signals | a handler may call with the same state at any instruction, and the state may be wiped at any instruction |
//! | fallback | in every other case the system call is made |
//! | a hostile publisher | keys always come from the kernel: a publisher can keep callers from getting new ones, or make each call a system call, and no more |
//!
//! What is not promised: a signal in the middle of the cipher saves vector registers to the
//! stack, like all others. A handler that forks between the last check and the return leaves
//! parent and child with the same bytes; user space can't detect that.
//!
//! # For a kernel
//! Your kernel has Linux's system calls, a generator of random numbers with a base key, and
//! maps the image and its pages into every process. Then:
//!
//! 1. **Before the first program starts**, make a [`Reseeds`] of the word at
//!    [`page::OFFSET`]. C libraries query once, at their start, whether the image has this;
//!    from then on the result is yes, and system calls are made until there is a generation.
//! 2. **When there is enough entropy, and whenever the base key was replaced**, call
//!    [`Reseeds::reseeded`], after the replacement and under the same lock. Linux does so
//!    once a minute, and more often at first. Do it too when the machine is a copy: after a
//!    snapshot was resumed, before any program runs.
//! 3. **getrandom(2) uses that base key or a newer one**: if CPUs have keys of their own,
//!    these compare generations too. A request for up to 256 bytes is fulfilled whole even
//!    with signals, once the generator is ready (getrandom(2), "Interruption by a signal
//!    handler").
//! 4. **mmap(2) accepts `MAP_DROPPABLE | MAP_ANONYMOUS`** (0x28, since Linux 6.11): such
//!    pages are zeroes in a forked child, are not in swap or core dumps, and may become
//!    zeroes at any time, each page as a whole. [`Parameters::STATE`] has these numbers.
//!
//! Setting the word to 0 again revokes generations: callers make system calls.
//!
//! ```
//! use std::sync::Mutex;
//! use std::sync::atomic::AtomicU64;
//! use vdsokit_random::{Parameters, Reseeds, Request, State, chacha, getrandom};
//!
//! /// Your generator: its base key, and its published generation.
//! struct Generator<'p> {
//!     key: [u8; chacha::KEY],
//!     reseeds: Reseeds<'p>,
//! }
//!
//! impl Generator<'_> {
//!     /// A real one hashes the entropy and the old key into the new key.
//!     fn reseed(&mut self, entropy: [u8; chacha::KEY]) {
//!         self.key = entropy;
//!         // After the key: the store is a release.
//!         self.reseeds.reseeded();
//!     }
//!
//!     /// The body of getrandom(2). The first block is the next key; this one is erased.
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
//! // Some interrupts later, with real entropy.
//! generator.lock().unwrap().reseed([0xa5; 32]);
//!
//! // In a process the image's `getrandom` does this, with the real system call.
//! let system_call = |buffer: *mut u8, length: usize, _flags: u32| {
//!     // SAFETY: your kernel checks that the program may write there.
//!     let buffer = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
//!     generator.lock().unwrap().fill(buffer);
//!     length as isize
//! };
//! // A C library takes `Parameters::STATE.size` bytes of a mapping with those parameters.
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
//!     // SAFETY: buffer and state are this program's, and have the lengths that are passed.
//!     assert_eq!(unsafe { getrandom(&word, system_call, request) }, 32);
//!     bytes
//! };
//! let first = fill();
//! // The kernel's key has not changed: there was no system call.
//! let before = generator.lock().unwrap().key;
//! assert_ne!(fill(), first);
//! assert_eq!(generator.lock().unwrap().key, before);
//! // A new seed: the next call gets a new key first.
//! generator.lock().unwrap().reseed([0x5a; 32]);
//! let reseeded = generator.lock().unwrap().key;
//! fill();
//! assert_ne!(generator.lock().unwrap().key, reseeded);
//! ```
//!
//! # Order of memory
//! The kernel stores the generation with release after the base key. A caller that loads a
//! new generation has an acquire fence between that load and the system call; so the kernel,
//! on its behalf, sees that base key or a newer one. The check at the end of a call needs no
//! order: it limits the use of an older key to one call.
//!
//! # Provenance
//! The interface, the order of checks and the treatment of a fork (generation before key,
//! zeroes in the child) are those of Linux 6.12: lib/vdso/getrandom.c,
//! include/vdso/getrandom.h, drivers/char/random.c, from which behaviour was learned and no
//! code taken. Fast key erasure is by D. J. Bernstein ("Fast-key-erasure random-number
//! generators", 2017). The differences are described at [`getrandom`] and [`State`].
#![no_std]

#[allow(
    clippy::unnecessary_safety_comment,
    reason = "the lint takes the comments of the example above for this module's"
)]
pub mod chacha;
mod fill;
mod generation;
pub mod page;
mod state;

pub use fill::{Request, getrandom};
pub use generation::{Generation, Reseeds};
pub use state::{Parameters, State};

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
