//! The same for RISC-V.

use crate::support::compile;
use crate::support::emulated::Emulated;
use crate::support::probe::By;
use std::path::Path;
use vdsokit_build::{Architecture, build_crate, write_file};

pub(crate) const RISCV64: Emulated = Emulated {
    architecture: Architecture::Riscv64,
    compiler: "riscv64-linux-gnu-gcc",
    emulator: "qemu-riscv64-static",
    root: "/usr/riscv64-linux-gnu",
    packages: [
        "gcc-riscv64-linux-gnu",
        "libc6-dev-riscv64-cross",
        "qemu-user-static",
    ],
};

#[test]
fn linked_with_l() {
    RISCV64.every_type(By::Linking, "-levery-type");
}

#[test]
fn opened_with_dlopen_and_looked_up_with_its_version() {
    RISCV64.every_type(By::Dlopen, "-ldl");
}

/// A crate's functions, which rustc compiles.
#[test]
fn the_number_of_the_beast() {
    RISCV64.prepare();
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/beast");
    let outputs = build_crate(&crate_directory, RISCV64.architecture).unwrap();
    let directory = tempfile::tempdir().unwrap();
    write_file(&outputs.image_path(directory.path()), &outputs.image).unwrap();
    outputs.write_companions(directory.path()).unwrap();
    let source = r#"
        #include <stdio.h>
        #include "beast.h"
        int main(void) { printf("%d\n", (int) number_of_the_beast()); }
    "#;
    let flags = ["-Wl,-rpath,$ORIGIN", "-lbeast"];
    let program = compile(RISCV64.compiler, directory.path(), source, &flags);
    let output = RISCV64.command(&program).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "666\n");
}
