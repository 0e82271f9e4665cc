//! What the tests run that is neither Rust nor ours, and where it comes from.

use crate::steps::{End, Outcome};
use std::process::{Command, Stdio};
use vdsokit_lab::debian;

/// Debian's packages, each with what needs it. Not `gcc-multilib`: it conflicts with the
/// cross compilers.
const PACKAGES: &[(&str, &str)] = &[
    ("gcc", "readers in C"),
    ("gcc-12-multilib", "a 32-bit process"),
    ("gcc-aarch64-linux-gnu", "readers on AArch64"),
    ("libc6-dev-arm64-cross", "readers on AArch64"),
    ("qemu-user-static", "readers on AArch64"),
    ("qemu-system-x86", "the lab"),
    ("binutils", "readelf, which the parser is compared with"),
    ("gdb", "a program that traces others"),
    ("strace", "a program that traces others"),
    ("make", "many short processes"),
    ("python3", "a reader by ctypes"),
    ("golang-go", "programs in Go"),
    ("nodejs", "programs in JavaScript"),
    (
        "npm",
        "the foreign function interface that programs in JavaScript use",
    ),
    ("pkg-config", "the flags of the C library"),
    ("musl-tools", "static programs of another libc"),
    ("chromium", "the page of the benchmark"),
    ("faketime", "the peer that virtual time is compared with"),
];

/// The step of `cargo xtask test`: all of them in one go, so that tests that run at the
/// same time need not wait for each other's installation.
pub(crate) fn step() -> Outcome {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .map(|(package, _)| *package)
        .filter(|package| !is_installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(End::Passed);
    }
    for (package, why) in PACKAGES.iter().filter(|(name, _)| missing.contains(name)) {
        println!("missing: {package}, for {why}");
    }
    match debian::install("programs that the tests run", &missing) {
        Ok(()) => Ok(End::Passed),
        Err(error) => Ok(End::Skipped(error.to_string())),
    }
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    query
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}
