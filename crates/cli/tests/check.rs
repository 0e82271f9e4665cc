//! `vdso check --against`: what an image breaks for programs that were made for an older one.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn vdso(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdso"));
    command.args(arguments).output().unwrap()
}

const HEAD: &str = "[vdso]\nsoname = \"libweather.so.1\"\nversion = \"WEATHER_1.0\"\n";
const TEMPERATURE: &str = "[var.temperature]\ntype = \"f64\"\n";
const WIND: &str = "[var.wind]\ntype = \"f64\"\n";
const RAIN: &str = "[var.rain]\ntype = \"f64\"\n";

/// Builds an image and yields its file, the only one with that soname.
fn built(directory: &Path, declaration: &[&str]) -> String {
    let source = directory.join("weather.toml");
    std::fs::write(&source, declaration.concat()).unwrap();
    let output = vdso(&[
        "build",
        source.to_str().unwrap(),
        "-o",
        directory.to_str().unwrap(),
    ]);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    let soname = declaration[0].split('"').nth(1).unwrap();
    directory.join(soname).to_str().unwrap().to_owned()
}

/// What `new` breaks for programs made for `old`, a line each, `place: what`.
fn broken(old: &[&str], new: &[&str]) -> Vec<String> {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [old, new] = [(&directories[0], old), (&directories[1], new)]
        .map(|(directory, declaration)| built(directory.path(), declaration));
    let output = vdso(&["check", &new, "--against", &old, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!findings.is_empty())));
    let line = |finding: &Value| {
        assert_eq!(finding["rule"], "against");
        let [place, what] = ["place", "what"].map(|part| finding[part].as_str().unwrap());
        format!("{place}: {what}")
    };
    findings.iter().map(line).collect()
}

#[track_caller]
fn assert_broken(old: &[&str], new: &[&str], expected: &[&str]) {
    let found = broken(old, new);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found:#?}");
    }
}

#[test]
fn what_is_added_at_the_end_breaks_nothing() {
    let old = [HEAD, TEMPERATURE];
    assert_broken(&old, &old, &[]);
    assert_broken(&old, &[HEAD, TEMPERATURE, WIND], &[]);
    let documented = [HEAD, TEMPERATURE, "unit = \"degC\"\ndoc = \"Outside\"\n"];
    assert_broken(&old, &documented, &[]);
}

#[test]
fn a_variable_that_is_gone_breaks_programs() {
    assert_broken(
        &[HEAD, TEMPERATURE, WIND],
        &[HEAD, TEMPERATURE],
        &["image: weather_wind@WEATHER_1.0 is gone", "variable wind"],
    );
}

#[test]
fn a_variable_that_moved_breaks_programs() {
    let old = [HEAD, TEMPERATURE, WIND];
    assert_broken(&old, &[HEAD, WIND, TEMPERATURE], &["variable temperature"]);
    assert_broken(&old, &[HEAD, TEMPERATURE, RAIN, WIND], &["variable wind"]);
}

#[test]
fn a_variable_of_another_type_breaks_programs() {
    for other in ["i64", "f32", "u8"] {
        let wind = format!("[var.wind]\ntype = \"{other}\"\n");
        let new = [HEAD, TEMPERATURE, &wind];
        assert_broken(&[HEAD, TEMPERATURE, WIND], &new, &["variable wind"]);
    }
}

#[test]
fn another_version_breaks_programs() {
    let head = HEAD.replace("WEATHER_1.0", "WEATHER_2.0");
    // The variable's getter, and those that every image has.
    let gone = [
        "condition",
        "stale_after",
        "state",
        "temperature",
        "updated",
    ]
    .map(|name| format!("image: weather_{name}@WEATHER_1.0 is gone"));
    let gone = gone.each_ref().map(String::as_str);
    assert_broken(&[HEAD, TEMPERATURE], &[&head, TEMPERATURE], &gone);
}

#[test]
fn another_soname_breaks_programs() {
    let head = HEAD.replace("libweather.so.1", "libweather.so.2");
    let changed = "image: soname was libweather.so.1, is libweather.so.2";
    assert_broken(&[HEAD, TEMPERATURE], &[&head, TEMPERATURE], &[changed]);
}

#[test]
fn another_machine_breaks_programs_and_nothing_else_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let image = built(directory.path(), &[HEAD, TEMPERATURE]);
    let own = directory.path().join("kernels.so");
    let own = own.to_str().unwrap();
    assert!(vdso(&["dump", "-o", own]).status.success());
    // e_machine, of an image that is otherwise the kernel's.
    let mut bytes = std::fs::read(own).unwrap();
    bytes[18..20].copy_from_slice(&[0xff, 0xfe]);
    let other = directory.path().join("other.so");
    std::fs::write(&other, bytes).unwrap();
    let output = vdso(&["check", &image, "--against", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("is for another machine"), "{text}");
}
