//! The image for AArch64, from the same source, and a program that calls it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vdsokit_clock_build::{Architecture, Linker, System, image, library};
use vdsokit_lab::debian;

/// Makes the image and a program that calls it, in `directory`.
pub(crate) fn image_and_guest(directory: &Path) -> Result<(PathBuf, PathBuf), String> {
    cross_compiler()?;
    let library = library(Architecture::Aarch64, System::Linux, directory);
    let path = directory.join("linux-vdso.so.1");
    let bytes = image(
        Architecture::Aarch64,
        System::Linux,
        Linker::System,
        &library,
        directory,
    );
    fs::write(&path, bytes).map_err(|error| error.to_string())?;
    let guest = directory.join("guest");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    run(Command::new("aarch64-linux-gnu-gcc")
        .args(["-O2", "-Wall", "-Werror"])
        .arg(here.join("tests/aarch64/guest.c"))
        .args(["-ldl", "-o"])
        .arg(&guest))?;
    Ok((path, guest))
}

/// Debian's cross compiler and emulator, as for the other tests of AArch64.
fn cross_compiler() -> Result<(), String> {
    let there = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if there("aarch64-linux-gnu-gcc") && there(super::EMULATOR) {
        return Ok(());
    }
    let packages = [
        "gcc-aarch64-linux-gnu",
        "libc6-dev-arm64-cross",
        "qemu-user-static",
    ];
    debian::install("an AArch64 compiler and emulator", &packages)
        .map_err(|error| error.to_string())
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{errors}", output.status))
}
