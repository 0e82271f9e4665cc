//! Builds the clock image for `include_bytes!`, so that delivering it needs neither a
//! compiler nor a linker.

mod link;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use vdsokit_elf::Image;
use vdsokit_elf::check::{Profile, check};

/// The packages from which the image is built.
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

/// The image's code as a static library, which another run of cargo makes with its own flags
/// and profile, independent of those of this build.
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
        // A wrapper such as clippy's does not compile.
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
