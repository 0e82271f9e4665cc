//! The same for AArch64.

use crate::support::emulated::Emulated;
use crate::support::probe::By;
use vdsokit_build::Architecture;

pub(crate) const AARCH64: Emulated = Emulated {
    architecture: Architecture::Aarch64,
    compiler: "aarch64-linux-gnu-gcc",
    emulator: "qemu-aarch64-static",
    root: "/usr/aarch64-linux-gnu",
    packages: [
        "gcc-aarch64-linux-gnu",
        "libc6-dev-arm64-cross",
        "qemu-user-static",
    ],
};

#[test]
fn linked_with_l() {
    AARCH64.every_type(By::Linking, "-levery-type");
}

#[test]
fn opened_with_dlopen_and_looked_up_with_its_version() {
    AARCH64.every_type(By::Dlopen, "-ldl");
}
