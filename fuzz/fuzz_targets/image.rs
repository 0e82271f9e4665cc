//! The parser, look-up and check, in both forms. The first 8 bytes are the address of the image
//! in memory.
//!
//! `cargo +nightly fuzz run image -- -max_total_time=60`
#![no_main]

#[path = "../../crates/elf/tests/common/exercise.rs"]
mod exercise;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((address, bytes)) = input.split_first_chunk() {
        exercise::exercise(bytes);
        exercise::exercise_memory(bytes, u64::from_le_bytes(*address));
    }
});
