//! The same for AArch64: programs from Debian's cross compiler, under qemu-user.

use crate::support::probe::{By, Probe, live, source};
use crate::support::{built, compile, declaration};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use vdsokit_build::Architecture;
use vdsokit_lab::debian;

pub(crate) const CC: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64-static";
/// Where Debian's cross libraries lie.
const SYSTEM: &str = "/usr/aarch64-linux-gnu";

/// Gets compiler and emulator where they are missing.
pub(crate) fn prepare() {
    let there = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    if !there(CC) || !there(EMULATOR) {
        let packages = [
            "gcc-aarch64-linux-gnu",
            "libc6-dev-arm64-cross",
            "qemu-user-static",
        ];
        debian::install("an AArch64 compiler and emulator", &packages).unwrap();
    }
}

fn run(by: By, library: &str) {
    prepare();
    let declaration = declaration("every-type.toml");
    let (directory, image) = built(&declaration, Architecture::Aarch64);
    let source = source(&declaration, by);
    let program = compile(
        CC,
        directory.path(),
        &source,
        &["-Wl,-rpath,$ORIGIN", library],
    );
    live(&declaration, &image, Probe::start(emulated(&program)));
}

/// `program` under emulation.
pub(crate) fn emulated(program: &Path) -> Command {
    let mut emulator = Command::new(EMULATOR);
    emulator.args(["-L", SYSTEM]).arg(program);
    emulator
}

#[test]
fn linked_with_l() {
    run(By::Linking, "-levery-type");
}

#[test]
fn opened_with_dlopen_and_looked_up_with_its_version() {
    run(By::Dlopen, "-ldl");
}
