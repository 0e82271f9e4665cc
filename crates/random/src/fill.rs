//! `getrandom`: the caller's side.
#![allow(unsafe_code, reason = "C callers pass pointers")]

use crate::Generation;
use crate::chacha::{self, BLOCK, KEY};
use crate::state::{BATCH, Handle, Parameters, State};
use core::hint::cold_path;
use core::sync::atomic::{AtomicU64, Ordering, compiler_fence, fence};

/// `EFAULT`, negative.
const BAD_ADDRESS: isize = -14;

/// `GRND_NONBLOCK`, `GRND_RANDOM` and `GRND_INSECURE` (include/uapi/linux/random.h). They
/// select how to wait for a generator that is not ready, and have no effect on one that is.
const FLAGS: u32 = 0x1 | 0x2 | 0x4;

/// The most bytes that a call gives, as the system call does (include/linux/fs.h, `MAX_RW_COUNT`).
const MOST: usize = i32::MAX as usize & !(PAGE - 1);

/// The smallest page size: a state within such a page is within a page of every size.
const PAGE: usize = vdsokit_vvar::PAGE_SIZE;

/// The arguments of the image's `getrandom`.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Where the bytes go.
    pub buffer: *mut u8,
    /// The number of bytes.
    pub length: usize,
    /// `GRND_…`.
    pub flags: u32,
    /// The caller's state; for a query, room for [`Parameters`].
    pub state: *mut State,
    /// Its size, from the query; `usize::MAX` for the query itself.
    pub state_length: usize,
}

impl Request {
    /// Whether it is the query for [`Parameters`]: the size is all ones, and all else is 0.
    #[inline(always)]
    #[must_use]
    pub fn is_query(&self) -> bool {
        self.state_length == usize::MAX
            && self.buffer.is_null()
            && self.length == 0
            && self.flags == 0
    }
}

/// Fills a buffer with random bytes, and returns their number: `length`, up to 2,147,479,552.
/// Otherwise it returns the result of `system_call`, a kernel's getrandom(2) with the arguments
/// buffer, length and flags; negative results are numbers of errno.h. `generation` is the word
/// in the vvar pages.
///
/// The checks are in this order, and those of Linux 6.12's vDSO (lib/vdso/getrandom.c), but for
/// the two differences that are explained:
///
/// | called with | result |
/// | --- | --- |
/// | the query for the state's parameters | 0, and the [`Parameters`] |
/// | a state that straddles a page of 4096 bytes | -EFAULT |
/// | an unknown flag | the system call's |
/// | a state of another length | the system call's |
/// | a state that is not aligned to 8 bytes (Linux does not check) | the system call's |
/// | a generation that is not ready | the system call's |
/// | a length of 0 | 0 |
/// | a state that is in use by a call that a signal interrupted | the system call's |
/// | no new key available | the system call's |
/// | a state that was wiped, or a generation that changed, twice during the call | the system call's |
///
/// The other difference: at its end Linux compares generations to detect a wipe. A signal
/// handler that uses the state after the wipe makes them equal again. So this function also
/// checks whether the state is still marked as in use, which only this call can have done.
///
/// # Safety
/// 1. `buffer` has room for `length` bytes, none of them the state's.
/// 2. `state` is memory of `state_length` bytes mapped as [`Parameters`] require, at first
///    zeroes; for a query, room for them, aligned as in C. No other thread uses it during the
///    call; a signal handler may. With a length other than that of [`Parameters::STATE`] it is
///    not accessed.
/// 3. `system_call` is the kernel's, or accesses the pointer as that does.
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
    // The handler of a signal between this line and the next returns before the next.
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

/// Makes the state's key one of the generator's generation; false if none is available.
#[inline(always)]
fn take_key(
    generation: &AtomicU64,
    system_call: impl Fn(*mut u8, usize, u32) -> isize,
    state: Handle,
) -> bool {
    let current = generation.load(Ordering::Relaxed);
    // Checked again: the generation may have been revoked, and the word of a state that was
    // never used, or was wiped, is 0 too.
    if !Generation::from_word(current).is_ready() {
        cold_path();
        return false;
    }
    if state.generation() == current {
        return true;
    }
    cold_path();
    // Before the key: after a fork here, parent and child get different keys. In the other
    // order both would have the same key, and the child could not detect that.
    state.set_generation(current);
    // Pairs with the release in `Reseeds::reseeded`: a system call after this generation was
    // seen gets bytes of its base key, or of a newer one.
    fence(Ordering::Acquire);
    if system_call(state.key(), KEY, 0) != KEY as isize {
        state.set_generation(Generation::NONE.to_word());
        return false;
    }
    state.empty();
    true
}

/// Fills the buffer; false if the state was wiped or the generator got a new seed during
/// that: then these bytes must not be used.
///
/// # Safety
/// `buffer` has room for `length` bytes.
#[inline(always)]
unsafe fn filled(generation: &AtomicU64, state: Handle, buffer: *mut u8, length: usize) -> bool {
    // SAFETY: the caller vouches for the buffer; the rest of it is shorter than its length.
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
            // The key that made them is erased with it.
            state.refill(blocks as u64);
        }
    }
    compiler_fence(Ordering::SeqCst);
    state.is_in_use() && state.generation() == generation.load(Ordering::Relaxed)
}
