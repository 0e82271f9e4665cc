//! Texts of `/proc` and of control groups about the machine, as publisher and doctor read them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    vdsokit_inspect::exercise(bytes);
    vdsokit_publish::exercise(bytes);
    vdsokit_sources::system::exercise(bytes);
});
