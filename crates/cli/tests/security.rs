//! SECURITY.md names tests that exist.

use std::fs;
use std::path::{Path, PathBuf};

/// The lines of all Rust files below `directory`, but for build products.
fn sources(directory: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let lines = text.lines().map(str::trim);
            // Without other attributes, such as `ignore`.
            let lines = lines.filter(|line| !line.starts_with("#[") || *line == "#[test]");
            texts.push(lines.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// Whether a name in the page is that of a test.
fn is_test(name: &str) -> bool {
    let is_identifier = name
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    // Fields and system calls have shorter names.
    is_identifier && name.matches('_').count() >= 3
}

#[test]
fn each_test_and_file_that_security_md_names_exists() {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let mut texts = Vec::new();
    for directory in ["crates", "tools"] {
        sources(&root.join(directory), &mut texts);
    }
    let (mut tests, mut fuzzers) = (0, 0);
    // What is between backticks, and the text before it.
    let parts: Vec<&str> = page.split('`').collect();
    let mut is_list_of_fuzzers = false;
    for pair in parts.chunks_exact(2) {
        let (before, name) = (pair[0], pair[1]);
        if is_test(name) {
            let test = format!("#[test]\nfn {name}(");
            assert!(
                texts.iter().any(|text| text.contains(&test)),
                "there is no test `{name}`"
            );
            tests += 1;
        }
        if name.starts_with("crates/") {
            assert!(root.join(name).exists(), "there is no `{name}`");
        }
        // As in "the fuzzers `image`, `notes` and `core`".
        let goes_on = is_list_of_fuzzers && matches!(before, ", " | " and ");
        is_list_of_fuzzers =
            goes_on || before.ends_with("the fuzzer ") || before.ends_with("the fuzzers ");
        if is_list_of_fuzzers {
            let target = root.join(format!("fuzz/fuzz_targets/{name}.rs"));
            assert!(target.exists(), "there is no fuzzer `{name}`");
            fuzzers += 1;
        }
    }
    assert!(
        tests > 20 && fuzzers > 8,
        "{tests} tests, {fuzzers} fuzzers"
    );
}
