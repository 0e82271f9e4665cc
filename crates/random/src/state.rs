//! The opaque state: memory that a caller keeps and only this crate knows the layout of.
#![allow(
    unsafe_code,
    reason = "the memory is the caller's, who has its address"
)]

use crate::chacha::{self, BLOCK, KEY, PASS};
use core::mem::{offset_of, size_of};

/// Bytes that are made at a time, beside the next key.
pub(crate) const BATCH: usize = PASS * BLOCK - KEY;

/// A thread's state. All zeroes is a state that was never used, or was wiped.
///
/// Its size is a power of two. So states that lie one behind another from a page's start on,
/// which is how C libraries keep them, straddle no page, whatever the machine's page is; and
/// it is no size of Linux's own (144), so neither takes a state of the other's for its own.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct State {
    /// Bytes for the next calls: zeroes up to `position`.
    batch: [u8; BATCH],
    /// What the next batch is made with. It and the batch are one pass of blocks, so that one
    /// pass replaces both.
    key: [u8; KEY],
    /// The generation that the key is of.
    generation: u64,
    /// How much of the batch has been handed out.
    position: u32,
    /// Not 0 while a call is at work.
    in_use: u32,
    _unused: [u64; 6],
}

const _: () = {
    assert!(size_of::<State>() == 256);
    assert!(offset_of!(State, key) == BATCH && BATCH + KEY == PASS * BLOCK);
    // The key is within the last block of the pass that replaces it, as `blocks` wants it.
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

/// What `getrandom` says of the state that it wants, on Linux
/// `struct vgetrandom_opaque_params` (include/uapi/linux/random.h).
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
    /// A state's: readable and writable; anonymous memory that may be dropped at any time
    /// and is zeroes in a forked child.
    pub const STATE: Self = Self {
        size: size_of::<State>() as u32,
        // PROT_READ | PROT_WRITE
        protection: 0x1 | 0x2,
        // MAP_DROPPABLE | MAP_ANONYMOUS (include/uapi/linux/mman.h)
        flags: 0x08 | 0x20,
        reserved: [0; 13],
    };

    /// Writes them word by word: a copy of all could be a call of `memcpy`, which an image
    /// doesn't have.
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

/// A caller's state, at work in one thread.
///
/// Nothing here takes the memory for Rust's own: a signal handler of the same thread may have
/// used the state between any two instructions, and the kernel may have made its page zeroes.
/// So each access is volatile or assembly's, and no value that was read is relied on later.
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
        // SAFETY: `new`'s.
        unsafe { (&raw const (*self.0).generation).read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn set_generation(self, generation: u64) {
        // SAFETY: `new`'s.
        unsafe { (&raw mut (*self.0).generation).write_volatile(generation) }
    }

    #[inline(always)]
    pub(crate) fn is_in_use(self) -> bool {
        // SAFETY: `new`'s.
        unsafe { (&raw const (*self.0).in_use).read_volatile() != 0 }
    }

    #[inline(always)]
    pub(crate) fn set_in_use(self, in_use: bool) {
        // SAFETY: `new`'s.
        unsafe { (&raw mut (*self.0).in_use).write_volatile(u32::from(in_use)) }
    }

    /// Where the key lies.
    #[inline(always)]
    pub(crate) fn key(self) -> *mut u8 {
        // SAFETY: `new`'s.
        unsafe { (&raw mut (*self.0).key).cast() }
    }

    #[inline(always)]
    fn position(self) -> usize {
        // SAFETY: `new`'s.
        unsafe { (&raw const (*self.0).position).read_volatile() as usize }
    }

    #[inline(always)]
    fn set_position(self, position: usize) {
        // SAFETY: `new`'s.
        unsafe { (&raw mut (*self.0).position).write_volatile(position as u32) }
    }

    /// Forgets the batch.
    #[inline(always)]
    pub(crate) fn empty(self) {
        self.set_position(BATCH);
    }

    /// Moves up to `most` bytes of the batch to `to`, and says how many there were. Zeroes
    /// are left in their place.
    ///
    /// # Safety
    /// `to` has room for `most` bytes, none of them the state's.
    #[inline(always)]
    pub(crate) unsafe fn hand_out(self, to: *mut u8, most: usize) -> usize {
        let position = self.position();
        // A position that isn't ours is an empty batch.
        let length = BATCH.saturating_sub(position).min(most);
        if length > 0 {
            // SAFETY: (1) that is within the batch: its start is, because some of it is left;
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

    /// Makes a new batch and a new key, from block `counter` of the key's stream on; that key
    /// is gone.
    #[inline(always)]
    pub(crate) fn refill(self, counter: u64) {
        // SAFETY: (1) batch and key are as long as the blocks of a pass; (2) the key is
        // within the last one.
        unsafe { chacha::blocks(self.0.cast(), self.key(), counter, PASS) };
        self.set_position(0);
    }
}
