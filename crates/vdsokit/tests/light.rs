//! A program that reads one variable compiles few crates, and works: `examples/readers/rust`,
//! against the publisher in `examples/publisher`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use vdsokit::place;

/// The crates that such a program may compile, itself included.
const MOST: usize = 12;

/// A copy of an example with this workspace's `Cargo.lock`, so that Cargo needs no network.
struct Example(TempDir);

impl Example {
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let example = root.join("examples").join(name);
        let copy = tempfile::tempdir().unwrap();
        let manifest = fs::read_to_string(example.join("Cargo.toml")).unwrap();
        let dependency = concat!("path = \"", env!("CARGO_MANIFEST_DIR"), "\"");
        let start = manifest.find("path = \"").unwrap();
        let end = start + manifest[start..].find("crates/vdsokit\"").unwrap();
        let end = end + "crates/vdsokit\"".len();
        let manifest = format!("{}{dependency}{}", &manifest[..start], &manifest[end..]);
        fs::write(copy.path().join("Cargo.toml"), manifest).unwrap();
        fs::copy(root.join("Cargo.lock"), copy.path().join("Cargo.lock")).unwrap();
        fs::create_dir(copy.path().join("src")).unwrap();
        fs::copy(example.join("src/main.rs"), copy.path().join("src/main.rs")).unwrap();
        Self(copy)
    }

    /// Runs Cargo: its standard output.
    fn cargo(&self, command: &str, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO"))
            .args([command, "--offline"])
            .args(arguments)
            .current_dir(self.0.path())
            // Flags that this test was built with are not the user's.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo {command}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Builds the program.
    fn build(&self, program: &str) -> PathBuf {
        let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/examples");
        self.cargo("build", &["--target-dir", target]);
        Path::new(target).join("debug").join(program)
    }
}

#[test]
fn a_reader_compiles_at_most_12_crates() {
    let tree = Example::new("readers/rust")
        .cargo("tree", &["--edges", "normal,build", "--prefix", "none"]);
    // A crate that was listed before ends in ` (*)`.
    let crates: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(crates.contains("vdsokit"), "{tree}");
    assert!(crates.len() <= MOST, "{}: {crates:?}", crates.len());
    for heavy in ["syn", "quote", "proc-macro2"] {
        assert!(!crates.contains(heavy), "{heavy} comes with a reader");
    }
}

#[test]
fn the_examples_publish_and_read() {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join("libweather.so.1");
    let reader = Example::new("readers/rust").build("weather-reader");

    let missing = Command::new(&reader).arg(&path).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    let told = String::from_utf8(missing.stderr).unwrap();
    let sentence = format!("Error: {}: there is no such file\n  help: ", path.display());
    assert!(told.starts_with(&sentence), "{told}");

    let publisher = Example::new("publisher").build("weather-publisher");
    let mut publisher = Command::new(&publisher)
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut live = String::new();
    BufReader::new(publisher.stdout.take().unwrap())
        .read_line(&mut live)
        .unwrap();
    assert_eq!(live, "live\n");
    let read = || {
        let output = Command::new(&reader).arg(&path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(read(), "1.5 °C\n");
    let mut stdin = publisher.stdin.take().unwrap();
    stdin.write_all(b"21.5\n").unwrap();
    drop(stdin);
    assert!(publisher.wait().unwrap().success());
    assert_eq!(read(), "21.5 °C (retired)\n");
}
