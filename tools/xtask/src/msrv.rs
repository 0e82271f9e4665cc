//! The step `msrv`: the crates that have the workspace's `rust-version` compile with that version of Rust.
//!
//! That is 1.85, the first with edition 2024, and what Debian 13 has as `rustc`. Debian 12 has the
//! same version as `rustc-web`, for browsers, and that runs on the machines of both releases; it is
//! unpacked into the cache. The other crates state the version that this workspace is compiled with.

use crate::package::crates;
use crate::steps::{Outcome, check, root};
use std::fmt::Display;
use std::fs;
use std::process::Command;
use vdsokit_lab::Workshop;
use vdsokit_lab::debian::{self, Archive, Rust};

/// The line of the manifest of a crate that has the workspace's version.
const INHERITS: &str = "rust-version.workspace = true";

/// All but `publish` of `vdsokit-sources`: `vdsokit-bpf`, which that needs, states a newer version.
const FEATURES: &str = "vdsokit/declare,vdsokit-publish/miette";

/// Without updates, which have a newer `rustc-web`.
const ARCHIVE: Archive<'static> = Archive {
    architecture: "amd64",
    release: Some("bookworm"),
};

pub(crate) fn step() -> Outcome {
    let workshop = Workshop::new(root()).map_err(|error| error.to_string())?;
    let rust = debian::rust(&workshop, ARCHIVE, &[]).map_err(|error| error.to_string())?;
    let (stated, version) = (stated()?, version(&rust)?);
    if !version.starts_with(&format!("rustc {stated}.")) {
        return Err(format!(
            "Cargo.toml states rust-version {stated}, and this step has {version}"
        ));
    }
    let inherits = |manifest: &str| manifest.lines().any(|line| line == INHERITS);
    let mut packages = crates()?;
    packages.retain(|package| inherits(&package.manifest));
    let packages: Vec<&str> = packages.iter().map(|package| &*package.name).collect();
    println!("{version}: {}", packages.join(", "));
    let named = packages.iter().flat_map(|name| ["--package", name]);
    // As most programs have it, and then everything.
    compile(&rust, ["--package", "vdsokit"])?;
    compile(
        &rust,
        named.chain(["--no-default-features", "--features", FEATURES]),
    )
}

fn compile<'argument>(rust: &Rust, arguments: impl IntoIterator<Item = &'argument str>) -> Outcome {
    let mut command = Command::new(env!("CARGO"));
    command
        .args([
            "check",
            "--quiet",
            "--locked",
            "--target-dir",
            "target/msrv",
        ])
        .args(arguments)
        .envs(rust.environment())
        .current_dir(root());
    check(&mut command)
}

/// The workspace's `rust-version`.
fn stated() -> Result<String, String> {
    let manifest = root().join("Cargo.toml");
    let in_manifest = |why: &dyn Display| format!("{}: {why}", manifest.display());
    let text = fs::read_to_string(&manifest).map_err(|error| in_manifest(&error))?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let value = value.ok_or_else(|| in_manifest(&"no line `rust-version = …`"))?;
    Ok(value.to_owned())
}

/// What the compiler prints as its version.
fn version(rust: &Rust) -> Result<String, String> {
    let mut command = Command::new(rust.compiler());
    command.arg("--version").envs(rust.environment());
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
