//! Builds the clock image for `include_bytes!`, so that delivering it needs neither a
//! compiler nor a linker.

use std::env;
use std::path::PathBuf;

use vdsokit_clock_build::{AARCH64, Linker, SOURCES, System, X86_64, crates, image, library};

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
    let architecture = variable("CARGO_CFG_TARGET_ARCH");
    let Some(of) = [X86_64, AARCH64].iter().find(|of| of.name == architecture) else {
        return;
    };
    let out = PathBuf::from(variable("OUT_DIR"));
    let library = library(of, System::Linux, &out);
    let bytes = image(of, System::Linux, Linker::Gnu, &library, &out);
    std::fs::write(out.join("clock.so"), bytes).expect("the image can be written");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
