//! The step `targets`: the workspace compiles without a warning for every architecture that it
//! names, tests and benchmarks included.
//!
//! The standard library of a target comes from rustup where that can add it, and otherwise from
//! Debian: its `rustc-web` is unpacked into the cache, and cargo compiles std from Debian's
//! source of the same version (`-Zbuild-std`). That needs no package of a foreign architecture,
//! which apt only downloads once the machine's own list of architectures was changed.

use crate::steps::{End, Outcome, check, root};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vdsokit_lab::debian::{self, Archive, RUST_SOURCE};
use vdsokit_lab::{Architecture, Workshop};

/// Each is a directory below `target/targets` too, so that none rebuilds another's std.
const TARGETS: [&str; 2] = ["aarch64-unknown-linux-gnu", "riscv64gc-unknown-linux-gnu"];

pub(crate) fn step() -> Outcome {
    for target in TARGETS {
        println!("{target}");
        let mut command = if has_std(target) {
            let mut command = Command::new(env!("CARGO"));
            command.env("RUSTFLAGS", "-D warnings");
            command
        } else {
            match with_std_from_source() {
                Ok(command) => command,
                Err(why) => return Ok(End::Skipped(why)),
            }
        };
        command
            .args(["check", "--workspace", "--all-targets", "--quiet"])
            .args(["--target", target, "--target-dir", "target/targets"])
            .current_dir(root());
        check(&mut command)?;
    }
    Ok(End::Passed)
}

/// Whether rustup has the target's std, or can add it.
pub(crate) fn has_std(target: &str) -> bool {
    rustup(&["target", "add", target])
}

/// Whether rustup has the target's `core`, or can add it or the source that images compile it from.
pub(crate) fn has_core(target: &str) -> bool {
    has_std(target) || rustup(&["component", "add", "rust-src"])
}

fn rustup(arguments: &[&str]) -> bool {
    Command::new("rustup")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// cargo with Debian's compiler, which compiles std from Debian's source of it.
fn with_std_from_source() -> Result<Command, String> {
    let workshop = Workshop::new(root()).map_err(|error| error.to_string())?;
    let archive = Archive::of(Architecture::X86_64);
    let compiler = debian::rust(&workshop, archive, &[RUST_SOURCE]).map_err(|e| e.to_string())?;
    let library = compiler.library().map_err(|error| error.to_string())?;
    // Where `-Zbuild-std` looks. Debian's compiler takes its source elsewhere.
    let link = compiler.sysroot.join("lib/rustlib/src/rust/library");
    link_to(&library, &link).map_err(|error| format!("{}: {error}", link.display()))?;
    let mut command = Command::new(env!("CARGO"));
    command
        // Unstable options of a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .envs(compiler.environment())
        .arg("-Zbuild-std=std,panic_abort,test")
        // Warnings of the workspace are errors. `-D warnings` would hold for std as well.
        .env("CARGO_BUILD_WARNINGS", "deny")
        .arg("-Zwarnings");
    Ok(command)
}

/// Makes a symbolic link unless it is there.
fn link_to(to: &Path, link: &PathBuf) -> std::io::Result<()> {
    if link.exists() {
        return Ok(());
    }
    if let Some(directory) = link.parent() {
        fs::create_dir_all(directory)?;
    }
    match symlink(to, link) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}
