//! `getrandom`: the caller's half.
#![allow(unsafe_code, reason = "C callers pass pointers")]

use crate::Generation;
use crate::chacha::{self, BLOCK, KEY};
use crate::state::{BATCH, Handle, Parameters, State};
use core::hint::cold_path;
use core::sync::atomic::{AtomicU64, Ordering, compiler_fence, fence};

/// `EFAULT`, negative.
const BAD_ADDRESS: isize = -14;

/// `GRND_NONBLOCK`, `GRND_RANDOM` and `GRND_INSECURE` (include/uapi/linux/random.h). They say
/// how to wait for a generator that isn't ready; for one that is they are all the same.
const FLAGS: u32 = 0x1 | 0x2 | 0x4;

/// The most that a call gives, as the system call (include/linux/fs.h, `MAX_RW_COUNT`).
const MOST: usize = i32::MAX as usize & !(PAGE - 1);

/// A state within one page of the smallest size is within one of every size.
const PAGE: usize = vdsokit_vvar::PAGE_SIZE;

/// What a caller of the image's `getrandom` passes.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Where the bytes go.
    pub buffer: *mut u8,
    /// How many are wanted.
    pub length: usize,
    /// `GRND_…`.
    pub flags: u32,
    /// The caller's state; for a query, room for [`Parameters`].
    pub state: *mut State,
    /// Its size, as the query has said it; for a query, `usize::MAX`.
    pub state_length: usize,
}

impl Request {
    /// Does it ask what states are like? All ones, and nothing else.
    #[inline(always)]
    #[must_use]
    pub fn is_query(&self) -> bool {
        self.state_length == usize::MAX
            && self.buffer.is_null()
            && self.length == 0
            && self.flags == 0
    }
}

/// Fills a buffer with random bytes, and says how many: as many as were asked for, up to
/// 2,147,479,552. Or the answer of `system_call`, which gets buffer, length and flags and is
/// a kernel's getrandom(2), negative numbers of errno.h included. `generation` is the word in
/// the vvar pages.
///
/// In this order, and as Linux 6.12's vDSO does (lib/vdso/getrandom.c), but for the two that
/// are marked:
///
/// | asked with | answer |
/// | --- | --- |
/// | the query for the state's parameters | 0, and the [`Parameters`] |
/// | a state that straddles a page of 4096 bytes | -EFAULT |
/// | a flag that isn't known | the system call's |
/// | a state of another length | the system call's |
/// | a state that isn't aligned to 8 bytes (Linux doesn't look) | the system call's |
/// | a generation that isn't ready | the system call's |
/// | a length of 0 | 0 |
/// | a state that is in use, by what a signal interrupted | the system call's |
/// | no new key to be had | the system call's |
/// | a state that was wiped, or a generation that changed, twice while it was at work | the system call's |
///
/// The other mark: at its end Linux compares generations to learn of a wipe. A signal handler
/// that came after it, and used the state, has made them equal again. So this looks as well
/// whether the state is still in use, which nobody but this call can have made it.
///
/// # Safety
/// 1. `buffer` has room for `length` bytes, none of them the state's.
/// 2. `state` is memory of `state_length` bytes as [`Parameters`] say, zeroes at first; for a
///    query, room for them, aligned as C has it. No other thread uses it meanwhile; a signal
///    handler may. Where its length isn't [`Parameters::STATE`]'s, it isn't touched.
/// 3. `system_call` is the kernel's, or does with the pointer what that does.
#[inline(always)]
pub unsafe fn getrandom(
    generation: &AtomicU64,
    system_call: impl Fn(*mut u8, usize, u32) -> isize,
    request: Request,
) -> isize {
    let Request {
        buffer,
        length,
        flags,
        state,
        state_length,
    } = request;
    if request.is_query() {
        cold_path();
        // SAFETY: the caller vouches for the room.
        unsafe { Parameters::STATE.write(state.cast()) };
        return 0;
    }
    if state.addr() % PAGE + size_of::<State>() > PAGE {
        cold_path();
        return BAD_ADDRESS;
    }
    let by_call = || system_call(buffer, length, flags);
    if flags & !FLAGS != 0 || state_length != size_of::<State>() || !state.is_aligned() {
        cold_path();
        return by_call();
    }
    if !Generation::from_word(generation.load(Ordering::Relaxed)).is_ready() {
        cold_path();
        return by_call();
    }
    if length == 0 {
        return 0;
    }
    // SAFETY: the caller vouches for the state.
    let state = unsafe { Handle::new(state) };
    // A signal between this and the next line is over before that.
    if state.is_in_use() {
        cold_path();
        return by_call();
    }
    let length = length.min(MOST);
    let mut tries = 2;
    loop {
        state.set_in_use(true);
        let key = take_key(generation, &system_call, state);
        // SAFETY: the caller vouches for the buffer, and the state is in use.
        if key && unsafe { filled(generation, state, buffer, length) } {
            state.set_in_use(false);
            return length as isize;
        }
        cold_path();
        tries -= 1;
        if !key || tries == 0 {
            state.set_in_use(false);
            return by_call();
        }
    }
}

/// Sees to it that the state's key is of the generator's generation; false when there is
/// none to be had.
#[inline(always)]
fn take_key(
    generation: &AtomicU64,
    system_call: impl Fn(*mut u8, usize, u32) -> isize,
    state: Handle,
) -> bool {
    let current = generation.load(Ordering::Relaxed);
    // Looked at again: it may have been taken back, and a state that was never used, or was
    // wiped, says 0 as well.
    if !Generation::from_word(current).is_ready() {
        cold_path();
        return false;
    }
    if state.generation() == current {
        return true;
    }
    cold_path();
    // Before the key: after a fork here, parent and child get different keys. The other way
    // round both would have the same one, and nothing that tells the child.
    state.set_generation(current);
    // Pairs with the release in `Reseeds::reseeded`: who has seen the generation and asks
    // then is answered from its base key, or a newer one.
    fence(Ordering::Acquire);
    if system_call(state.key(), KEY, 0) != KEY as isize {
        state.set_generation(Generation::NONE.to_word());
        return false;
    }
    state.empty();
    true
}

/// Fills the buffer; false when meanwhile the state was wiped, or the generator got a new
/// seed: then these bytes are not to be used.
///
/// # Safety
/// `buffer` has room for `length` bytes.
#[inline(always)]
unsafe fn filled(generation: &AtomicU64, state: Handle, buffer: *mut u8, length: usize) -> bool {
    // SAFETY: the caller vouches for the buffer, of which less is left than its length.
    unsafe {
        let mut done = 0;
        loop {
            done += state.hand_out(buffer.add(done), length - done);
            if done == length {
                break;
            }
            let left = length - done;
            let mut blocks = 0;
            if left > BATCH {
                blocks = left / BLOCK;
                chacha::blocks(buffer.add(done), state.key(), 0, blocks);
                done += blocks * BLOCK;
            }
            // The key that made them goes with it.
            state.refill(blocks as u64);
        }
    }
    compiler_fence(Ordering::SeqCst);
    state.is_in_use() && state.generation() == generation.load(Ordering::Relaxed)
}
