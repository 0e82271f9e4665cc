//! Builds the clock image for `include_bytes!`, so that delivering it needs neither a
//! compiler nor a linker.

use std::env;
use std::path::PathBuf;

use vdsokit_clock_build::{Linker, SOURCES, System, X86_64, crates, image, library};

fn main() {
    println!("cargo::rerun-if-changed=build");
    for source in SOURCES {
        let source = crates().join(source);
        println!("cargo::rerun-if-changed={}", source.join("src").display());
        println!(
            "cargo::rerun-if-changed={}",
            source.join("Cargo.toml").display()
        );
    }
    if variable("CARGO_CFG_TARGET_ARCH") != X86_64.name {
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    let library = library(&X86_64, System::Linux, &out);
    let bytes = image(&X86_64, System::Linux, Linker::Gnu, &library, &out);
    std::fs::write(out.join("clock.so"), bytes).expect("the image can be written");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
