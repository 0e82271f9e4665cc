//! What the tests with real programs share.

pub(crate) mod emulated;
pub(crate) mod mapped;
pub(crate) mod probe;
pub(crate) mod shared;

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use vdsokit_build::{Architecture, Declaration, Outputs, write_file};

/// The declaration in `tests/declarations`.
pub(crate) fn declaration(name: &str) -> Declaration {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/declarations")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    Declaration::parse(name, &text).unwrap()
}

/// A directory with everything that is built of `declaration`, and the image's path.
pub(crate) fn built(declaration: &Declaration, arch: Architecture) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let outputs = Outputs::new(declaration, arch).unwrap();
    let image = outputs.image_path(directory.path());
    write_file(&image, &outputs.image).unwrap();
    outputs.write_companions(directory.path()).unwrap();
    (directory, image)
}

/// Compiles `source` to `program` in `directory`, with what is built there at hand.
pub(crate) fn compile(cc: &str, directory: &Path, source: &str, flags: &[&str]) -> PathBuf {
    let program = directory.join("program");
    std::fs::write(directory.join("program.c"), source).unwrap();
    let output = Command::new(cc)
        .current_dir(directory)
        .args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-I."])
        .args(["program.c", "-o", "program", "-L."])
        .args(flags)
        .output()
        .unwrap_or_else(|error| panic!("{cc}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{cc}: {errors}");
    program
}
