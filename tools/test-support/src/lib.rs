//! What tests of several crates need: skipping, and programs that may be missing.

use std::env;
use std::path::{Path, PathBuf};
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_name() {
        assert!(installed("sh").is_some_and(|path| path.is_absolute()));
    }
}
