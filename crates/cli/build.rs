//! Links `vdso` statically and to a fixed address, where the C library can be: `vdso run` is started
//! before each program that it runs, and a third of all the time that it adds would go into finding,
//! mapping and relocating libraries, and into relocating 9000 pointers of its own, a page of memory
//! with each few. (Stack, heap and mappings lie at random addresses all the same.)
//!
//! That is not left to `-C target-feature=+crt-static`, which holds for a whole workspace, build
//! scripts included, and so would break what has to load libraries. Here the linker is made to
//! write a static executable, and finds the archives of the libraries that rustc names first.

use std::env;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The libraries that rustc passes to the linker, each with the archive that has it.
const LIBRARIES: [(&str, &str); 7] = [
    ("libc.a", "libc.a"),
    ("libdl.a", "libdl.a"),
    ("libgcc_s.a", "libgcc_eh.a"),
    ("libm.a", "libm.a"),
    ("libpthread.a", "libpthread.a"),
    ("librt.a", "librt.a"),
    ("libutil.a", "libutil.a"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|is| is == value);
    let is_linux = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if !is_linux || !is("CARGO_CFG_TARGET_ARCH", "x86_64") {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("archives");
    match archives(&out) {
        Ok(()) => {
            // Not as a search path of rustc's, which the tests would have as well.
            println!("cargo::rustc-link-arg-bins=-L{}", out.display());
            println!("cargo::rustc-link-arg-bins=-static");
            println!("cargo::rustc-link-arg-bins=-no-pie");
            // The two need each other.
            println!("cargo::rustc-link-arg-bins=-Wl,--start-group,-lgcc_s,-lc,--end-group");
        }
        Err(missing) => println!(
            "cargo::warning={missing} is not installed: `vdso` is linked dynamically, and `vdso run` \
             starts programs a third of a millisecond later"
        ),
    }
}

/// Gathers the archives in `directory`, or says which is missing.
fn archives(directory: &Path) -> Result<(), &'static str> {
    let _ = std::fs::remove_dir_all(directory);
    let _ = std::fs::create_dir_all(directory);
    for (name, archive) in LIBRARIES {
        let file = find(archive).ok_or(archive)?;
        symlink(file, directory.join(name)).map_err(|_| archive)?;
    }
    Ok(())
}

/// Where the linker's driver finds a library. One that it doesn't find it gives back as it is.
fn find(archive: &str) -> Option<PathBuf> {
    let driver = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let argument = format!("-print-file-name={archive}");
    let output = Command::new(driver).arg(argument).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.is_absolute().then_some(path)
}
