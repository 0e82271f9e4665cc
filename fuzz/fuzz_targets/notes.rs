//! The notes of an image.
#![no_main]

#[path = "../../crates/elf/tests/common/exercise.rs"]
mod exercise;
#[path = "../mutator.rs"]
mod mutator;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| {
    exercise::exercise_notes(bytes);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutator::mutate(data, size, max_size, seed, 0)
});
