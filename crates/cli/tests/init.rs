//! `vdso init --from-json`: a declaration that can be built, from a sample of the values.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn vdso(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vdso"))
        .current_dir(directory)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_sample_becomes_a_declaration_that_can_be_built() {
    let directory = tempfile::tempdir().unwrap();
    let sample = r#"{
        "temperature": 21.5, "visitors": 3, "distance": 18446744073709551615, "open": true,
        "station": "Brocken im Harz, Sachsen-Anhalt", "gusts": [1, 2.5], "while": -1,
        "state": 1, "wind-speed": 7, "wind": {"speed": 7.25, "from": "NW", "last 3": [1, 2, 3]}
    }"#;
    fs::write(directory.path().join("weather.json"), sample).unwrap();
    let output = vdso(directory.path(), &["init", "--from-json", "weather.json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(output.stdout, b"weather.toml\n");
    let written = fs::read_to_string(directory.path().join("weather.toml")).unwrap();
    insta::assert_snapshot!(written);
    let output = vdso(directory.path(), &["build", "weather.toml"]);
    assert!(output.status.success());
    let output = vdso(directory.path(), &["init", "--from-json", "weather.json"]);
    assert_eq!(output.status.code(), Some(1), "the declaration exists");
    let unchanged = fs::read_to_string(directory.path().join("weather.toml")).unwrap();
    assert_eq!(unchanged, written);
}

#[test]
fn a_value_that_has_no_type_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for (sample, wanted) in [
        (r#"{"a": null}"#, "`a` is null"),
        (r#"{"a": ["x"]}"#, "`a` is not an array of numbers"),
        (r#"{"a": []}"#, "`a` is not an array of numbers"),
        (r#"{"a": {"b": {}}}"#, "`a.b` is an object in an object"),
        ("[1]", "is not a JSON object"),
        (r#"{"a": 1, "a": 2}"#, "`a` is there twice"),
        (r#"{"a": {"b": 1, "b": 2}}"#, "`b` is there twice"),
        ("{", "is not JSON"),
    ] {
        fs::write(directory.path().join("s.json"), sample).unwrap();
        let output = vdso(directory.path(), &["init", "--from-json", "s.json"]);
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(wanted), "{errors}");
        assert!(!directory.path().join("s.toml").exists());
    }
}
