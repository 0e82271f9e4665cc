//! The reader of core dumps, and look-up in the image in one.
#![no_main]

#[path = "../../crates/elf/tests/common/exercise.rs"]
mod exercise;
#[path = "../mutator.rs"]
mod mutator;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| {
    exercise::exercise_core_lookup(bytes);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutator::mutate(data, size, max_size, seed, 0)
});
