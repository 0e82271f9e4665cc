//! Linux's own test of its vDSO's ChaCha20, unchanged, with ours in the place of it.
#![cfg(target_arch = "x86_64")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};
use vdsokit_lab::{Workshop, selftests};

/// An object file with the blocks under the name that the test calls.
fn object() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let object = directory.join(format!("chacha-{}.o", std::process::id()));
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(rustc)
        .args([
            "--edition",
            "2024",
            "--emit=obj",
            "--crate-type",
            "staticlib",
            "-Copt-level=3",
        ])
        .args(["-Cpanic=abort", "--crate-name", "chacha"])
        .arg(here.join("tests/selftest/exported.rs"))
        .arg("-o")
        .arg(&object)
        .status()
        .expect("rustc starts");
    assert!(status.success());
    object
}

#[test]
fn linuxs_test_of_its_chacha_passes_with_ours() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let object = object();
    let program = Workshop::new(root).and_then(|workshop| selftests::chacha(&workshop, &object));
    let program = match program {
        Ok(program) => program,
        Err(why) => {
            assert!(
                env::var_os("CI").is_none_or(|value| value != "true"),
                "{why}"
            );
            println!("skipped: {why}");
            return;
        }
    };
    let output = Command::new(&program).output().expect("the test starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("ok 1 chacha: PASS"), "{said}");
    fs::remove_file(object).unwrap();
    fs::remove_file(program).unwrap();
}
