//! The step `package`: every public crate is complete and can be packaged. With `--all`, each
//! package is compiled as well, from its own files alone.
//!
//! The images of `vdsokit-guest` are made here: the package has their bytes, the repository has none.

use crate::steps::{Outcome, all, cargo, root};
use crate::targets;
use std::fs;
use std::path::Path;
use vdsokit_link::Architecture;

/// The keys of a manifest by which crates.io and docs.rs describe a crate.
const KEYS: [&str; 6] = [
    "description = ",
    "repository.workspace = ",
    "readme = ",
    "keywords = ",
    "categories = ",
    "[package.metadata.docs.rs]",
];

pub(crate) fn step() -> Outcome {
    let packages = public()?;
    images()?;
    let mut arguments = vec!["package", "--quiet", "--allow-dirty"];
    if !all() {
        arguments.push("--no-verify");
    }
    for package in &packages {
        arguments.extend(["--package", package]);
    }
    cargo(&arguments, &[])
}

/// Makes the images where `vdsokit-guest` packages them.
fn images() -> Result<(), String> {
    for target in Architecture::ALL.map(Architecture::target) {
        if !targets::has_core(target) {
            return Err(format!(
                "rustup can add neither the target {target} nor the component rust-src"
            ));
        }
    }
    let made = root().join("target/images");
    let at = made.to_string_lossy();
    let mut arguments = vec![
        "run",
        "--quiet",
        "--package",
        "vdsokit-clock-build",
        "--",
        &at,
    ];
    arguments.extend(Architecture::ALL.map(Architecture::target_arch));
    cargo(&arguments, &[])?;
    let packaged = root().join("crates/guest/images");
    let with_path = |path: &Path, error| format!("{}: {error}", path.display());
    fs::create_dir_all(&packaged).map_err(|error| with_path(&packaged, error))?;
    for name in Architecture::ALL.map(Architecture::target_arch) {
        for kind in ["rs", "text"] {
            let file = made.join(name).with_extension(kind);
            let to = packaged.join(name).with_extension(kind);
            fs::copy(&file, &to).map_err(|error| with_path(&file, error))?;
        }
    }
    Ok(())
}

/// The names of the crates without `publish = false`, which have all [`KEYS`].
fn public() -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for Package { name, manifest } in crates()? {
        let has = |key: &str| manifest.lines().any(|line| line.starts_with(key));
        if has("publish = false") {
            continue;
        }
        if let Some(missing) = KEYS.into_iter().find(|key| !has(key)) {
            return Err(format!("{name}: no line `{missing}…` in its Cargo.toml"));
        }
        names.push(name);
    }
    Ok(names)
}

/// A crate of `crates/`.
pub(crate) struct Package {
    pub(crate) name: String,
    /// The text of its Cargo.toml.
    pub(crate) manifest: String,
}

/// All of `crates/`.
pub(crate) fn crates() -> Result<Vec<Package>, String> {
    let crates = root().join("crates");
    let entries = fs::read_dir(&crates).map_err(|e| format!("{}: {e}", crates.display()))?;
    let package = |entry: fs::DirEntry| {
        let path = entry.path().join("Cargo.toml");
        let manifest = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = manifest
            .lines()
            .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
            .ok_or_else(|| format!("{}: no name", path.display()))?;
        let name = name.to_owned();
        Ok(Package { name, manifest })
    };
    entries.flatten().map(package).collect()
}
