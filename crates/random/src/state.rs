//! The opaque state: memory of the caller, whose layout only this crate knows.
#![allow(
    unsafe_code,
    reason = "the memory is the caller's, who has its address"
)]

use crate::chacha::{self, BLOCK, KEY, PASS};
use core::mem::{offset_of, size_of};

/// The bytes that are made at a time, besides the next key.
pub(crate) const BATCH: usize = PASS * BLOCK - KEY;

/// A thread's state; all zeroes for one that was never used, or was wiped.
///
/// Its size is a power of two. So states in an array that starts at a page, as C libraries
/// have them, never straddle a page of any size. And it is not the size of Linux's own state
/// (144), so that neither implementation accepts a state of the other.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct State {
    /// Bytes for the next calls: zeroes up to `position`.
    batch: [u8; BATCH],
    /// The key of the next batch. Key and batch are one pass of blocks, so that one pass
    /// replaces both.
    key: [u8; KEY],
    /// The generation of the key.
    generation: u64,
    /// How many bytes of the batch have been returned.
    position: u32,
    /// Not 0 during a call.
    in_use: u32,
    _unused: [u64; 6],
}

const _: () = {
    assert!(size_of::<State>() == 256);
    assert!(offset_of!(State, key) == BATCH && BATCH + KEY == PASS * BLOCK);
    // The key is within the last block of the pass that replaces it, as `blocks` requires.
    assert!(KEY <= BLOCK);
};

impl State {
    /// A state that was never used.
    pub const NEW: Self = Self {
        batch: [0; BATCH],
        key: [0; KEY],
        generation: 0,
        position: 0,
        in_use: 0,
        _unused: [0; 6],
    };
}

/// The requirements of `getrandom` for the state, on Linux `struct
/// vgetrandom_opaque_params` (include/uapi/linux/random.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Bytes of a state.
    pub size: u32,
    /// `prot` for mmap(2).
    pub protection: u32,
    /// `flags` for mmap(2).
    pub flags: u32,
    /// Zeroes.
    pub reserved: [u32; 13],
}

impl Parameters {
    /// Those of [`State`]: readable and writable anonymous memory that may be dropped at any
    /// time and is zeroes in a forked child.
    pub const STATE: Self = Self {
        size: size_of::<State>() as u32,
        // PROT_READ | PROT_WRITE
        protection: 0x1 | 0x2,
        // MAP_DROPPABLE | MAP_ANONYMOUS (include/uapi/linux/mman.h)
        flags: 0x08 | 0x20,
        reserved: [0; 13],
    };

    /// Writes them word by word: a copy of the struct could be a call of `memcpy`, which an
    /// image does not have.
    ///
    /// # Safety
    /// `to` is valid and aligned.
    #[inline(always)]
    pub(crate) unsafe fn write(self, to: *mut Self) {
        // SAFETY: the caller vouches for the fields.
        unsafe {
            (&raw mut (*to).size).write_volatile(self.size);
            (&raw mut (*to).protection).write_volatile(self.protection);
            (&raw mut (*to).flags).write_volatile(self.flags);
            for (at, word) in self.reserved.into_iter().enumerate() {
                (&raw mut (*to).reserved)
                    .cast::<u32>()
                    .add(at)
                    .write_volatile(word);
            }
        }
    }
}

/// A caller's state during a call, in one thread.
///
/// The memory is never treated as owned by Rust: a signal handler of the same thread may use
/// the state between any two instructions, and the kernel may make its page zeroes. So each
/// access is volatile or in assembly, and no later step relies on a value that was read.
#[derive(Clone, Copy)]
pub(crate) struct Handle(*mut State);

impl Handle {
    /// # Safety
    /// `state` is aligned memory of a state's size, readable and writable, that no other
    /// thread uses, for as long as the handle is.
    pub(crate) unsafe fn new(state: *mut State) -> Self {
        Self(state)
    }

    #[inline(always)]
    pub(crate) fn generation(self) -> u64 {
        // SAFETY: `new` requires that the memory is valid for this, as long as the handle is.
        unsafe { (&raw const (*self.0).generation).read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn set_generation(self, generation: u64) {
        // SAFETY: `new` requires that the memory is valid for this, as long as the handle is.
        unsafe { (&raw mut (*self.0).generation).write_volatile(generation) }
    }

    #[inline(always)]
    pub(crate) fn is_in_use(self) -> bool {
        // SAFETY: `new` requires that the memory is valid for this, as long as the handle is.
        unsafe { (&raw const (*self.0).in_use).read_volatile() != 0 }
    }

    #[inline(always)]
    pub(crate) fn set_in_use(self, in_use: bool) {
        // SAFETY: `new` requires that the memory is valid for this, as long as the handle is.
        unsafe { (&raw mut (*self.0).in_use).write_volatile(u32::from(in_use)) }
    }

    /// The address of the key.
    #[inline(always)]
    pub(crate) fn key(self) -> *mut u8 {
        // SAFETY: `new` requires that the memory is valid for this, as long as the handle is.
        unsafe { (&raw mut (*self.0).key).cast() }
    }

    #[inline(always)]
    fn position(self) -> usize {
        // SAFETY: `new` requires that the memory is valid for this, as long as the handle is.
        unsafe { (&raw const (*self.0).position).read_volatile() as usize }
    }

    #[inline(always)]
    fn set_position(self, position: usize) {
        // SAFETY: `new` requires that the memory is valid for this, as long as the handle is.
        unsafe { (&raw mut (*self.0).position).write_volatile(position as u32) }
    }

    /// Discards the batch.
    #[inline(always)]
    pub(crate) fn empty(self) {
        self.set_position(BATCH);
    }

    /// Moves up to `most` bytes of the batch to `to`, leaving zeroes, and returns their number.
    ///
    /// # Safety
    /// `to` has room for `most` bytes, none of them the state's.
    #[inline(always)]
    pub(crate) unsafe fn hand_out(self, to: *mut u8, most: usize) -> usize {
        let position = self.position();
        // A position out of range is an empty batch.
        let length = BATCH.saturating_sub(position).min(most);
        if length > 0 {
            // SAFETY: (1) the bytes are within the batch, because its rest is not empty;
            // (2) the caller vouches for `to`.
            unsafe {
                chacha::take(
                    (&raw mut (*self.0).batch).cast::<u8>().add(position),
                    to,
                    length,
                )
            };
            self.set_position(position + length);
        }
        length
    }

    /// Makes a new batch and a new key, from block `counter` of the key's stream on, and erases
    /// the key.
    #[inline(always)]
    pub(crate) fn refill(self, counter: u64) {
        // SAFETY: (1) batch and key are as long as the blocks of a pass; (2) the key is
        // within the last one.
        unsafe { chacha::blocks(self.0.cast(), self.key(), counter, PASS) };
        self.set_position(0);
    }
}
