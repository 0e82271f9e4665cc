//! Builds the clock image for `include_bytes!`, so that delivering it needs neither a
//! compiler nor a linker.

use std::path::{Path, PathBuf};
use std::{env, fs};

use vdsokit_clock_build::{
    AARCH64, Architecture, I386, Linker, RISCV64, SOURCES, System, X86_64, crates, has_core, image,
    library,
};

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
    let Some(of) = [X86_64, AARCH64, RISCV64]
        .iter()
        .find(|of| of.name == architecture)
    else {
        return;
    };
    let out = PathBuf::from(variable("OUT_DIR"));
    write(of, &out, "clock.so");
    if of.name != X86_64.name {
        return;
    }
    // Its 32-bit programs.
    if has_core(&I386) {
        let directory = out.join(I386.name);
        fs::create_dir_all(&directory).expect("a directory can be made");
        return write(&I386, &directory, "../clock-i386.so");
    }
    println!(
        "cargo::warning=without the target {0} (`rustup target add {0}`) 32-bit programs under \
         `vdso run` have real time",
        I386.target
    );
    fs::write(out.join("clock-i386.so"), []).expect("a file can be written");
}

/// Makes the image for an architecture, the file `name` in `out`.
fn write(of: &Architecture, out: &Path, name: &str) {
    let library = library(of, System::Linux, out);
    // For RISC-V the GNU linker announces a table of relocations also where there are none, which
    // no vDSO has.
    let linker = match of.name == RISCV64.name {
        true => Linker::Rust,
        false => Linker::Gnu,
    };
    let bytes = image(of, System::Linux, linker, &library, out);
    fs::write(out.join(name), bytes).expect("the image can be written");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
