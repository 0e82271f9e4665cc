//! ChaCha20 with a counter of 64 bits and a nonce of zeroes: a stream of bytes from a key.
//!
//! The cipher is D. J. Bernstein's original (ChaCha, a variant of Salsa20, 2008); RFC 8439
//! has the same rounds, and calls the upper half of this counter the first word of a nonce.
//!
//! Three blocks are made at a time, with interleaved instructions: a block alone is one long
//! chain of instructions, each of which waits for the one before. With SSE2 three blocks take
//! about as long as one, so three are made even where fewer are needed.
//!
//! # What remains in memory
//! On x86-64 with SSE2 and on AArch64 with NEON, key, working state and output are in
//! registers that the compiler does not know of and can't spill: only the output is written,
//! nothing on the stack, and the registers are cleared. Elsewhere it is Rust, whose arrays are
//! cleared; copies that the compiler made on the stack remain.
#![allow(unsafe_code, reason = "assembly writes through the caller's pointers")]

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[path = "aarch64.rs"]
#[rustfmt::skip] // Each line is one step of several blocks.
mod native;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[path = "x86_64.rs"]
#[rustfmt::skip] // As above.
mod native;
#[cfg(any(
    test,
    not(any(
        all(target_arch = "aarch64", target_feature = "neon"),
        all(target_arch = "x86_64", target_feature = "sse2")
    ))
))]
mod portable;

#[cfg(not(any(
    all(target_arch = "aarch64", target_feature = "neon"),
    all(target_arch = "x86_64", target_feature = "sse2")
)))]
use portable as native;

/// Bytes of a key.
pub const KEY: usize = 32;
/// Bytes of a block.
pub const BLOCK: usize = 64;
/// Blocks that are made at a time.
pub const PASS: usize = 3;

/// Writes `count` blocks of the key's stream from number `counter` on; that wraps.
///
/// # Safety
/// `key` points to 32 readable bytes and `out` to `count` times 64 writable ones, of any
/// alignment. Where they overlap, the key is within the last block.
#[inline(always)]
pub unsafe fn blocks(out: *mut u8, key: *const u8, counter: u64, count: usize) {
    if count == 0 {
        return;
    }
    // SAFETY: the caller vouches for both, and there is a block to write.
    unsafe { native::blocks(out, key, counter, count) };
}

/// Moves bytes, leaving zeroes, through cleared registers as in [`blocks`].
///
/// # Safety
/// Both are valid for `length` bytes of any alignment, and don't overlap.
#[inline(always)]
pub(crate) unsafe fn take(from: *mut u8, to: *mut u8, length: usize) {
    // SAFETY: the caller vouches for both.
    unsafe { native::take(from, to, length) };
}

/// Fills `out` with the blocks of `key`'s stream from number `counter` on; that wraps.
pub fn fill(out: &mut [[u8; BLOCK]], key: &[u8; KEY], counter: u64) {
    // SAFETY: (1) there are as many blocks to write; (2) a unique reference and another
    // reference do not overlap.
    unsafe { blocks(out.as_mut_ptr().cast(), key.as_ptr(), counter, out.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The assembly of this machine makes the same blocks as the Rust code.
    #[test]
    fn all_ways_agree() {
        let mut key = [0; KEY];
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = at as u8 * 7 + 3;
        }
        for counter in [0, 1, u64::from(u32::MAX) - 1, u64::MAX - 1] {
            for count in 0..8 {
                let mut out = [[[0xaa; BLOCK]; 8]; 2];
                let [ours, portable] = &mut out;
                fill(&mut ours[..count], &key, counter);
                // SAFETY: as in `fill`.
                unsafe {
                    portable::blocks(portable.as_mut_ptr().cast(), key.as_ptr(), counter, count);
                }
                assert_eq!(ours, portable, "{count} blocks from {counter}");
            }
        }
    }

    #[test]
    fn bytes_are_moved_and_not_copied() {
        const LENGTH: usize = 80;
        let bytes: [u8; LENGTH] = core::array::from_fn(|at| at as u8 + 1);
        for start in 0..17 {
            for length in 0..=LENGTH - start {
                for take in [native::take, portable::take] {
                    let (mut from, mut to) = (bytes, [0; LENGTH]);
                    // SAFETY: `start` and `length` are within both arrays.
                    unsafe {
                        take(
                            from.as_mut_ptr().add(start),
                            to.as_mut_ptr().add(start),
                            length,
                        );
                    }
                    for at in 0..LENGTH {
                        let moved = (start..start + length).contains(&at);
                        let expected = if moved {
                            (0, bytes[at])
                        } else {
                            (bytes[at], 0)
                        };
                        assert_eq!((from[at], to[at]), expected, "{start} {length} {at}");
                    }
                }
            }
        }
    }
}
