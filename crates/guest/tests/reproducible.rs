//! The bytes that the crate has are what its sources give, wherever and whenever they are built.

use std::path::Path;
use vdsokit_clock_build::{Architecture, Linker, System, image, library};
use vdsokit_guest::Image;

#[test]
fn a_second_build_gives_the_same_bytes() {
    for arch in Architecture::ALL {
        let name = arch.target_arch();
        let Some(embedded) = Image::of(name) else {
            assert_eq!(arch, Architecture::Loongarch64, "its `core` can't be had");
            continue;
        };
        // Another directory than that of the build script.
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&out).unwrap();
        let library = library(arch, System::Guest, &out);
        let bytes = image(arch, System::Guest, Linker::Rust, &library, &out);
        let text = embedded.text();
        assert!(bytes.starts_with(text), "{name}");
        // Behind the text there are zeroes, and then the page as it is before it is published.
        let vvar = embedded.vvar();
        assert!(bytes[text.len()..vvar].iter().all(|byte| *byte == 0));
        assert_eq!(bytes[vvar..vvar + 8], *b"vvarpage");
    }
}
