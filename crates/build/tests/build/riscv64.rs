//! The same for RISC-V: programs from Debian's cross compiler, under qemu-user.

use crate::support::probe::{By, Probe, live, source};
use crate::support::{built, compile, declaration};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use vdsokit_build::{Architecture, build_crate, write_file};
use vdsokit_lab::debian;

pub(crate) const CC: &str = "riscv64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-riscv64-static";
/// Where Debian's cross libraries lie.
const SYSTEM: &str = "/usr/riscv64-linux-gnu";

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
            "gcc-riscv64-linux-gnu",
            "libc6-dev-riscv64-cross",
            "qemu-user-static",
        ];
        debian::install("a RISC-V compiler and emulator", &packages).unwrap();
    }
}

fn run(by: By, library: &str) {
    prepare();
    let declaration = declaration("every-type.toml");
    let (directory, image) = built(&declaration, Architecture::Riscv64);
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

/// A crate's functions, which rustc compiles.
#[test]
fn the_number_of_the_beast() {
    prepare();
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/beast");
    let outputs = build_crate(&crate_directory, Architecture::Riscv64).unwrap();
    let directory = tempfile::tempdir().unwrap();
    write_file(&outputs.image_path(directory.path()), &outputs.image).unwrap();
    outputs.write_companions(directory.path()).unwrap();
    let source = r#"
        #include <stdio.h>
        #include "beast.h"
        int main(void) { printf("%d\n", (int) number_of_the_beast()); }
    "#;
    let flags = ["-Wl,-rpath,$ORIGIN", "-lbeast"];
    let program = compile(CC, directory.path(), source, &flags);
    let output = emulated(&program).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "666\n");
}
