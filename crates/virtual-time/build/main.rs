//! Builds the clock image and puts it where `include_bytes!` finds it, so that whoever runs
//! a program on it needs neither a compiler nor a linker.

mod link;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use vdsokit_elf::Image;
use vdsokit_elf::check::{Profile, check};

/// What the image is built from, beside this script.
const SOURCES: [&str; 4] = ["../clock-image", "../clock", "../random", "../vvar"];

fn main() {
    println!("cargo::rerun-if-changed=build");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}/src");
        println!("cargo::rerun-if-changed={source}/Cargo.toml");
    }
    if variable("CARGO_CFG_TARGET_ARCH") != "x86_64" {
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    let bytes = link::image(&link::X86_64, &library(&out), &out);
    let image = Image::parse(&bytes).unwrap_or_else(|error| panic!("the clock image: {error}"));
    let findings = check(&image, Profile::Own);
    assert!(findings.is_empty(), "the clock image: {findings:#?}");
    std::fs::write(out.join("clock.so"), bytes).expect("the image can be written");
}

/// The image's code, which a cargo of its own makes into a static library: with its own
/// flags and profile, whatever those of this build are.
fn library(out: &Path) -> PathBuf {
    let target = variable("TARGET");
    let directory = out.join("image");
    let flags = [
        "--cfg=vdsokit_image",
        "--check-cfg=cfg(vdsokit_image)",
        "-Crelocation-model=pic",
        "-Cforce-unwind-tables=yes",
    ];
    let profile = [
        "panic=\"abort\"",
        "lto=\"fat\"",
        "codegen-units=1",
        "opt-level=\"s\"",
        "overflow-checks=false",
        "debug=false",
    ];
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .args(["rustc", "--quiet", "--locked", "--release", "--lib"])
        .args(["--crate-type", "staticlib", "--target", &target])
        .args([
            "--manifest-path",
            "../clock-image/Cargo.toml",
            "--target-dir",
        ])
        .arg(&directory)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // clippy and its kin are for the code that is looked at, not for this.
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    for setting in profile {
        cargo.args(["--config", &format!("profile.release.{setting}")]);
    }
    succeed(&mut cargo);
    directory
        .join(target)
        .join("release/libvdsokit_clock_image.a")
}

fn succeed(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
