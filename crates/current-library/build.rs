//! Builds the library for `include_bytes!`, so that installing it needs neither a compiler nor
//! a linker.

use std::env;
use std::path::{Path, PathBuf};
use vdsokit_link::{Error, Kind, Optimize, Package, rerun_if_changed};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if variable("CARGO_CFG_TARGET_ARCH") != "x86_64" {
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    if let Err(error) = build(&out) {
        panic!("libcurrent.so.1: {error}");
    }
}

fn build(out: &Path) -> Result<(), Error> {
    let package = Package {
        directory: Path::new("../current"),
        target: &variable("TARGET"),
        kind: Kind::Shared,
        optimize: Optimize::Speed,
        flags: &[
            "--cfg=vdsokit_current_library",
            "--check-cfg=cfg(vdsokit_current_library)",
            "-Clink-arg=-nostdlib",
            "-Clink-arg=-nostartfiles",
            "-Clink-arg=-Wl,-soname,libcurrent.so.1",
            "-Clink-arg=-Wl,--gc-sections",
            "-Clink-arg=-Wl,-z,now",
            "-Cstrip=symbols",
        ],
        target_directory: &out.join("library"),
        locked: true,
        builds_core: false,
    };
    let built = package.compile()?;
    rerun_if_changed(&built)?;
    std::fs::copy(built, out.join("libcurrent.so.1")).expect("the library can be copied");
    Ok(())
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
