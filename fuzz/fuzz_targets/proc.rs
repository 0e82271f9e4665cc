//! Texts of `/proc` about a process: `maps`, `smaps`, `status`, `stat`, and its auxiliary vector.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    vdsokit_elf::process::exercise(bytes);
    vdsokit_deliver::exercise(bytes);
});
