//! The notes of an image.
//!
//! `cargo +nightly fuzz run notes -- -max_total_time=60`
#![no_main]

#[path = "../../crates/elf/tests/common/exercise.rs"]
mod exercise;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    exercise::exercise_notes(bytes);
});
