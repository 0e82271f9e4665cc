//! The reader of core dumps, and the image in one.
//!
//! `cargo +nightly fuzz run core -- -max_total_time=60`
#![no_main]

#[path = "../../crates/elf/tests/common/exercise.rs"]
mod exercise;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    exercise::exercise_core(bytes);
});
