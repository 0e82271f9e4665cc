//! What tests of several crates need: skipping, programs that may be missing, and children that panic.

pub mod loongarch64;

use std::env;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use vdsokit_lab::{Workshop, debian};

/// Prints why a test can't run, which then returns.
///
/// # Panics
/// Under `CI=true`, where every test has to run.
pub fn skip(reason: &str) {
    assert!(
        env::var_os("CI").is_none_or(|ci| ci != "true"),
        "skipped: {reason}"
    );
    eprintln!("SKIPPED: {reason}");
}

/// Calls `child` in a process that a test made by fork(2), and aborts if it panics. The test harness
/// would catch the panic, and with its only thread the process would end with status 0.
pub fn abort_on_panic(child: impl FnOnce()) {
    if panic::catch_unwind(AssertUnwindSafe(child)).is_err() {
        process::abort();
    }
}

/// The path of a program that is in PATH; a test is [skipped](skip) without it.
#[must_use]
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|path| path.exists());
    if found.is_none() {
        skip(&format!("{name} is not installed"));
    }
    found
}

/// Debian packages unpacked over each other in the cache, outside the checkout; a test is
/// [skipped](skip) where they can't be had.
#[must_use]
pub fn unpacked(packages: &[&str]) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tree = Workshop::new(root).and_then(|workshop| debian::tree(&workshop, packages));
    tree.inspect_err(|error| skip(&error.to_string())).ok()
}

/// The environment in which a stable cargo compiles for a target: that of the toolchain's own library, or
/// with `core` of the toolchain's source (rustup's component `rust-src`). A test is [skipped](skip) where
/// there is neither.
///
/// # Panics
/// When the compiler can't be run.
#[must_use]
pub fn compiles_for(target: &str) -> Option<&'static [(&'static str, &'static str)]> {
    let path = |arguments: &[&str]| {
        let output = Command::new("rustc").args(arguments).output();
        let output = output.expect("rustc can be run");
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end())
    };
    if path(&["--print", "target-libdir", "--target", target]).is_dir() {
        return Some(&[]);
    }
    let source = path(&["--print", "sysroot"]).join("lib/rustlib/src/rust/library/core");
    if source.is_dir() {
        // An unstable option, which a stable cargo takes with the other variable.
        return Some(&[
            ("RUSTC_BOOTSTRAP", "1"),
            ("CARGO_UNSTABLE_BUILD_STD", "core"),
        ]);
    }
    skip(&format!(
        "rustup has neither the target {target} nor the component rust-src"
    ));
    None
}

/// A directory in the cache for what registries of packages have, kept from run to run.
///
/// # Panics
/// When there is no cache or the directory can't be made.
#[must_use]
pub fn cache(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workshop = Workshop::new(root).expect("a directory for a cache");
    let directory = workshop.cache.join(name);
    fs::create_dir_all(&directory).expect("a directory in the cache");
    directory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_name() {
        assert!(installed("sh").is_some_and(|path| path.is_absolute()));
    }
}
