//! The step `package`: every public crate is complete and can be packaged. With `--all`, each
//! package is compiled as well, from its own files alone.

use crate::steps::{Outcome, all, cargo, root};
use std::fs;

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
    let mut arguments = vec!["package", "--quiet", "--allow-dirty"];
    if !all() {
        arguments.push("--no-verify");
    }
    for package in &packages {
        arguments.extend(["--package", package]);
    }
    cargo(&arguments, &[])
}

/// The names of the crates without `publish = false`, which have all [`KEYS`].
fn public() -> Result<Vec<String>, String> {
    let crates = root().join("crates");
    let entries = fs::read_dir(&crates).map_err(|e| format!("{}: {e}", crates.display()))?;
    let mut names = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path().join("Cargo.toml");
        let manifest = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let has = |key: &str| manifest.lines().any(|line| line.starts_with(key));
        if has("publish = false") {
            continue;
        }
        if let Some(missing) = KEYS.into_iter().find(|key| !has(key)) {
            return Err(format!("{}: no line `{missing}…`", path.display()));
        }
        let name = manifest.lines().find_map(|line| {
            line.strip_prefix("name = \"")
                .and_then(|name| name.strip_suffix('"'))
        });
        names.push(
            name.ok_or(format!("{}: no name", path.display()))?
                .to_owned(),
        );
    }
    Ok(names)
}
