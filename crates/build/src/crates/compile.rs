//! Compiling the crate with stable cargo, and reading what its macros declared.

use super::CrateError;
use std::path::{Path, PathBuf};
use vdsokit_link::{Architecture, FLAGS, Kind, Optimize, Package, host_target};

/// Compiles the package in `directory` and returns the path of its static library.
pub(super) fn static_library(directory: &Path, arch: Architecture) -> Result<PathBuf, CrateError> {
    let package = Package {
        directory,
        target: &host_target(arch)?,
        kind: Kind::Static,
        optimize: Optimize::Speed,
        flags: &FLAGS,
        target_directory: Path::new("target/vdso"),
        locked: false,
        builds_core: false,
    };
    Ok(package.compile()?)
}
