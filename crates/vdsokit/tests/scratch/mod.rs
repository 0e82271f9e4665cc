//! Packages outside the workspace, as a user has them.
#![allow(dead_code, reason = "each test uses some")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A package in a directory of its own, with this workspace's `Cargo.lock`, so that Cargo
/// needs no network.
pub(crate) struct Package(TempDir);

impl Package {
    /// A copy of the example `name`.
    pub(crate) fn example(name: &str) -> Self {
        let example = root().join("examples").join(name);
        let manifest = fs::read_to_string(example.join("Cargo.toml")).unwrap();
        let main = fs::read_to_string(example.join("src/main.rs")).unwrap();
        let start = manifest.find("path = \"").unwrap();
        let length = manifest[start..].find("crates/vdsokit\"").unwrap();
        let rest = &manifest[start + length + "crates/vdsokit\"".len()..];
        Self::new(&format!("{}{DEPENDENCY}{rest}", &manifest[..start]), &main)
    }

    /// A program that uses the feature `derive`.
    pub(crate) fn with_derive(main: &str) -> Self {
        let manifest = format!(
            "[package]\nname = \"scratch\"\nedition = \"2024\"\n\
             [dependencies]\nvdsokit = {{ {DEPENDENCY}, features = [\"derive\"] }}\n\
             [workspace]\n"
        );
        Self::new(&manifest, main)
    }

    fn new(manifest: &str, main: &str) -> Self {
        let package = tempfile::tempdir().unwrap();
        fs::write(package.path().join("Cargo.toml"), manifest).unwrap();
        fs::copy(root().join("Cargo.lock"), package.path().join("Cargo.lock")).unwrap();
        fs::create_dir(package.path().join("src")).unwrap();
        fs::write(package.path().join("src/main.rs"), main).unwrap();
        Self(package)
    }

    /// Runs a Cargo command.
    pub(crate) fn run(&self, command: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO"))
            .args([command, "--offline"])
            .args(arguments)
            .current_dir(self.0.path())
            .env("CARGO_TARGET_DIR", TARGET)
            // Flags that this test was built with are not the user's.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .output()
            .unwrap()
    }

    /// Runs a Cargo command that succeeds: its standard output.
    pub(crate) fn cargo(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.run(command, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo {command}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Builds the program `name`.
    pub(crate) fn build(&self, name: &str) -> PathBuf {
        self.cargo("build", &[]);
        Path::new(TARGET).join("debug").join(name)
    }
}

const DEPENDENCY: &str = concat!("path = \"", env!("CARGO_MANIFEST_DIR"), "\"");
const TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/scratch");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
