//! ChaCha20 in Rust, for architectures without assembly here.

use super::{BLOCK, KEY};
use core::sync::atomic::{Ordering, compiler_fence};

/// "expand 32-byte k".
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// See [`super::blocks`].
///
/// # Safety
/// As there.
pub(super) unsafe fn blocks(out: *mut u8, key: *const u8, mut counter: u64, count: usize) {
    let mut start = [0u32; 16];
    start[..4].copy_from_slice(&CONSTANTS);
    for at in 0..KEY / 4 {
        // SAFETY: the caller vouches for the key.
        let word = unsafe { key.add(at * 4).cast::<[u8; 4]>().read() };
        start[4 + at] = u32::from_le_bytes(word);
    }
    let mut block = [0; 16];
    for number in 0..count {
        start[12] = counter as u32;
        start[13] = (counter >> 32) as u32;
        block = start;
        rounds(&mut block);
        for at in 0..block.len() {
            let word = block[at].wrapping_add(start[at]).to_le_bytes();
            // SAFETY: the caller vouches for the output.
            unsafe {
                out.add(number * BLOCK + at * 4)
                    .cast::<[u8; 4]>()
                    .write(word)
            };
        }
        counter = counter.wrapping_add(1);
    }
    erase(&mut start);
    erase(&mut block);
}

fn rounds(block: &mut [u32; 16]) {
    for _ in 0..10 {
        for column in 0..4 {
            quarter(block, [column, column + 4, column + 8, column + 12]);
        }
        for diagonal in 0..4 {
            let row = |number: usize| 4 * number + (diagonal + number) % 4;
            quarter(block, [row(0), row(1), row(2), row(3)]);
        }
    }
}

fn quarter(block: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    // Masked, so that the compiler sees that no index is out of bounds: an image has no panic path.
    let (a, b, c, d) = (a & 15, b & 15, c & 15, d & 15);
    for (left, right) in [(16, 12), (8, 7)] {
        block[a] = block[a].wrapping_add(block[b]);
        block[d] = (block[d] ^ block[a]).rotate_left(left);
        block[c] = block[c].wrapping_add(block[d]);
        block[b] = (block[b] ^ block[c]).rotate_left(right);
    }
}

/// Clears what the compiler may take for dead.
fn erase(words: &mut [u32; 16]) {
    for word in words {
        // SAFETY: a valid reference.
        unsafe { core::ptr::write_volatile(word, 0) };
    }
    compiler_fence(Ordering::SeqCst);
}

/// See [`super::take`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn take(from: *mut u8, to: *mut u8, length: usize) {
    for at in 0..length {
        // SAFETY: the caller vouches for both.
        unsafe {
            to.add(at).write_volatile(from.add(at).read_volatile());
            from.add(at).write_volatile(0);
        }
    }
}
