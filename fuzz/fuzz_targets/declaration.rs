//! A declaration in TOML, and the image that is built of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vdsokit_build::{Architecture, Declaration, image};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(declaration) = Declaration::parse("fuzz.toml", text) {
        let image = image(&declaration, Architecture::X86_64);
        assert!(image.is_err() || Declaration::parse("fuzz.toml", text).is_ok());
    }
});
