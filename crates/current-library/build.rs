//! Builds the library for `include_bytes!`, so that installing it needs neither a compiler nor
//! a linker.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../current/src");
    println!("cargo::rerun-if-changed=../current/Cargo.toml");
    if variable("CARGO_CFG_TARGET_ARCH") != "x86_64" {
        return;
    }
    let target = variable("TARGET");
    let out = PathBuf::from(variable("OUT_DIR"));
    let directory = out.join("library");
    let flags = [
        "--cfg=vdsokit_current_library",
        "--check-cfg=cfg(vdsokit_current_library)",
        "-Clink-arg=-nostdlib",
        "-Clink-arg=-nostartfiles",
        "-Clink-arg=-Wl,-soname,libcurrent.so.1",
        "-Clink-arg=-Wl,--gc-sections",
        "-Clink-arg=-Wl,-z,now",
        "-Cstrip=symbols",
    ];
    let profile = [
        "panic=\"abort\"",
        "lto=\"fat\"",
        "codegen-units=1",
        "opt-level=3",
        "overflow-checks=false",
        "debug=false",
    ];
    // Another run of cargo, with its own flags and profile, independent of those of this build.
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .args(["rustc", "--quiet", "--locked", "--release", "--lib"])
        .args(["--crate-type", "cdylib", "--target", &target])
        .args(["--manifest-path", "../current/Cargo.toml", "--target-dir"])
        .arg(&directory)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // A wrapper such as clippy's does not compile.
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    for setting in profile {
        cargo.args(["--config", &format!("profile.release.{setting}")]);
    }
    let status = cargo
        .status()
        .unwrap_or_else(|error| panic!("{cargo:?}: {error}"));
    assert!(status.success(), "{cargo:?}: {status}");
    let built = directory.join(target).join("release/libvdsokit_current.so");
    std::fs::copy(built, out.join("libcurrent.so.1")).expect("the library can be copied");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
