//! Everything that can be asked of an image, its check and comparison included. The first 8 bytes
//! are the address of the image in memory.
#![no_main]

#[path = "../../crates/elf/tests/common/exercise.rs"]
mod exercise;
#[path = "../mutator.rs"]
mod mutator;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|input: &[u8]| {
    if let Some((address, bytes)) = input.split_first_chunk() {
        exercise::exercise(bytes);
        exercise::exercise_memory(bytes, u64::from_le_bytes(*address));
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutator::mutate(data, size, max_size, seed, 8)
});
