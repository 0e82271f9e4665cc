//! The blocks, under the name and with the arguments that Linux's test calls.
#![no_std]
#![allow(unsafe_code, dead_code, missing_docs, reason = "a C function for a test")]

#[path = "../../src/chacha/mod.rs"]
mod chacha;

/// # Safety
/// `key` has 32 bytes, `counter` two words, of which it is read and left at the next block,
/// and `out` is as long as the blocks.
#[unsafe(no_mangle)]
unsafe extern "C" fn __arch_chacha20_blocks_nostack(
    out: *mut u8,
    key: *const u8,
    counter: *mut u64,
    blocks: usize,
) {
    // SAFETY: the caller vouches for all of them.
    unsafe {
        let first = counter.read_unaligned();
        chacha::blocks(out, key, first, blocks);
        counter.write_unaligned(first.wrapping_add(blocks as u64));
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
