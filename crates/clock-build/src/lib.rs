//! Compiles and links the clock image, for the crates that embed its bytes.
//!
//! The code is that of `vdsokit-clock-image`, which another run of cargo compiles with its own flags
//! and profile, independent of those of the build that embeds it. The linker and its script
//! ([`image`]) give it the shape of a vDSO.
//!
//! The bytes depend on the compiler, the linker and these sources only: not on paths, time or the
//! machine. So images that were made at packaging can be compared with a build of their source.

mod link;
mod own;

pub use link::{
    AARCH64, Architecture, CODE_ALIGNMENT, I386, LOONGARCH64, Linker, RISCV64, X86_64, image,
    image_with,
};
pub use own::{ImageVariable, Own};

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages from which the image is built, beside this one.
pub const SOURCES: [&str; 7] = [
    "clock-image",
    "clock",
    "current",
    "random",
    "rt",
    "vvar",
    "clock-build",
];

/// The directory with the [`SOURCES`].
#[must_use]
pub fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whom an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Processes of Linux, beside its own vDSO.
    Linux,
    /// Processes of a kernel that publishes itself: with the functions that read the page of a
    /// process.
    Guest,
}

/// Whether the compiler has its `core` library for an architecture.
///
/// # Panics
/// When the compiler can't be run.
#[must_use]
pub fn has_core(of: &Architecture) -> bool {
    printed(&["--print", "target-libdir", "--target", of.target]).is_some_and(|path| path.is_dir())
}

/// Whether the toolchain has the source of `core` (rustup's component `rust-src`), of which cargo
/// compiles it for an architecture that the toolchain has no library for.
///
/// # Panics
/// When the compiler can't be run.
#[must_use]
pub fn has_source() -> bool {
    let sysroot = printed(&["--print", "sysroot"]);
    sysroot.is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/core").is_dir())
}

/// The path that the compiler prints; `None` if it refuses the arguments.
fn printed(arguments: &[&str]) -> Option<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let mut command = Command::new(rustc);
    let output = command.args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let path = String::from_utf8(output.stdout).expect("rustc prints text");
    output
        .status
        .success()
        .then(|| PathBuf::from(path.trim_end()))
}

/// Compiles the image's code for an architecture, as a static library in `out`.
///
/// # Panics
/// When cargo fails: the messages are on standard error.
#[must_use]
pub fn library(of: &Architecture, system: System, out: &Path) -> PathBuf {
    let flags: &[&str] = match system {
        System::Linux => &["--check-cfg=cfg(vdsokit_guest)"],
        System::Guest => &["--check-cfg=cfg(vdsokit_guest)", "--cfg=vdsokit_guest"],
    };
    let manifest = crates().join("clock-image/Cargo.toml");
    compile(of, &manifest, flags, &out.join("image"))
}

/// Compiles a crate of an image as a static library.
fn compile(of: &Architecture, manifest: &Path, flags: &[&str], directory: &Path) -> PathBuf {
    let common = [
        "--cfg=vdsokit_image",
        "--check-cfg=cfg(vdsokit_image)",
        "-Crelocation-model=pic",
        "-Cforce-unwind-tables=yes",
        of.features,
    ];
    let flags = [&common, flags].concat();
    let profile = [
        "panic=\"abort\"",
        "lto=\"fat\"",
        "codegen-units=1",
        "opt-level=\"s\"",
        "overflow-checks=false",
        "debug=false",
    ];
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo
        .args(["rustc", "--quiet", "--locked", "--release", "--lib"])
        .args(["--crate-type", "staticlib", "--target", of.target])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(directory)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // A wrapper such as clippy's does not compile.
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    for setting in profile {
        cargo.args(["--config", &format!("profile.release.{setting}")]);
    }
    if !has_core(of) && has_source() {
        // An unstable option, which a stable cargo takes with this variable. Where there is no source
        // either, the compiler's message names the target to install.
        cargo.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=core");
    }
    succeed(&mut cargo);
    let built = directory.join(of.target).join("release");
    let entries = built.read_dir().expect("cargo has made it");
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .find(|path| path.extension().is_some_and(|extension| extension == "a"))
        .expect("cargo has written the static library")
}

/// Runs a command to its end.
fn succeed(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
