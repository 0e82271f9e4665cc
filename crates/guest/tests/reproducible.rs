//! The bytes that the crate has are what its sources give, wherever and whenever they are built.

use std::path::Path;
use vdsokit_clock_build::{AARCH64, I386, Linker, RISCV64, System, X86_64, image, library};
use vdsokit_guest::Image;

#[test]
fn a_second_build_gives_the_same_bytes() {
    for of in [X86_64, I386, AARCH64, RISCV64] {
        // Another directory than that of the build script.
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(of.name);
        std::fs::create_dir_all(&out).unwrap();
        let library = library(&of, System::Guest, &out);
        let bytes = image(&of, System::Guest, Linker::Rust, &library, &out);
        let text = Image::of(of.name).unwrap().text();
        assert!(bytes.starts_with(text), "{}", of.name);
        // Behind the text there are zeroes, and then the page as it is before it is published.
        let vvar = Image::of(of.name).unwrap().vvar();
        assert!(bytes[text.len()..vvar].iter().all(|byte| *byte == 0));
        assert_eq!(bytes[vvar..vvar + 8], *b"vvarpage");
    }
}
