//! Programs in several languages, none of which knows of vdsokit, read a vDSO that one
//! process publishes: each of them sees each new value.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use vdsokit_build::{Architecture, Declaration, Outputs};
use vdsokit_publish::{Publisher, assign, place};

const WEATHER: &str = r#"
[vdso]
soname = "libweather.so.1"
version = "WEATHER_1.0"

[var.temperature]
type = "f64"
init = 1.5
"#;

/// A directory with everything that `vdso build` makes.
fn built() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let declaration = Declaration::parse("weather.toml", WEATHER).unwrap();
    let outputs = Outputs::new(&declaration, Architecture::host().unwrap()).unwrap();
    let library = outputs.image_path(directory.path());
    vdsokit_build::write_file(&library, &outputs.image).unwrap();
    outputs.write_companions(directory.path()).unwrap();
    (directory, library)
}

/// Starts the reader before there is a publisher, and asks it after each change.
fn sees_every_value(library: &Path, reader: &mut Command) {
    let mut child = reader
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut asks = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    let mut ask = || {
        let mut answer = String::new();
        writeln!(asks, "?").unwrap();
        answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    };
    assert_eq!(ask(), "1.5", "the declaration's own value");
    let publisher = Publisher::open(library).unwrap();
    for value in ["21.5", "-40", "1e+100"] {
        let assignments = assign::parse(&format!("temperature={value}")).unwrap();
        publisher.assign(&assignments).unwrap();
        assert_eq!(ask(), value);
    }
    drop(publisher);
    assert_eq!(ask(), "1e+100", "retired, and still the last value");
    drop(asks);
    assert!(child.wait().unwrap().success());
}

/// A test that can't run says why; under CI it fails.
fn skip(why: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "skipped under CI: {why}"
    );
    println!("SKIPPED: {why}");
}

fn has(program: &str) -> bool {
    let version = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/readers")
        .join(name)
}

/// Compiles a reader; `None` when there is no C compiler.
fn compiled(directory: &Path, name: &str, arguments: &[&str]) -> Option<PathBuf> {
    if !has("cc") {
        skip("there is no C compiler `cc`: install gcc");
        return None;
    }
    let program = directory.join(name);
    let output = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(source(&format!("{name}.c")))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(program)
}

#[test]
fn a_c_program_that_is_linked() {
    let (directory, library) = built();
    let rpath = format!("-Wl,-rpath,{}", directory.path().display());
    let arguments = ["-I.", "-L.", "-lweather", &rpath];
    if let Some(program) = compiled(directory.path(), "linked", &arguments) {
        sees_every_value(&library, &mut Command::new(program));
    }
}

#[test]
fn a_c_program_that_loads() {
    let (directory, library) = built();
    if let Some(program) = compiled(directory.path(), "dlopened", &["-ldl"]) {
        sees_every_value(&library, Command::new(program).arg(&library));
    }
}

#[test]
fn a_static_c_program() {
    let (directory, library) = built();
    if let Some(program) = compiled(directory.path(), "static", &["-static-pie"]) {
        sees_every_value(&library, Command::new(program).arg(&library));
    }
}

#[test]
fn python_with_ctypes() {
    let (_directory, library) = built();
    if !has("python3") {
        return skip("there is no `python3`");
    }
    let script = source("reader.py");
    sees_every_value(
        &library,
        Command::new("python3").arg("-B").arg(script).arg(&library),
    );
}

/// koffi comes from npm, once, into the cache.
fn koffi() -> Result<PathBuf, String> {
    if !has("node") || !has("npm") {
        return Err("there is no `node` with `npm`".into());
    }
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = from("VDSOKIT_CACHE")
        .or_else(|| Some(from("XDG_CACHE_HOME")?.join("vdsokit")))
        .or_else(|| Some(from("HOME")?.join(".cache/vdsokit")))
        .ok_or("there is no directory for a cache")?
        .join("npm");
    let modules = cache.join("node_modules");
    if !modules.join("koffi").exists() {
        fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
        let output = Command::new("npm")
            .args([
                "install",
                "--no-save",
                "--no-audit",
                "--no-fund",
                "--prefix",
            ])
            .arg(&cache)
            .arg("koffi@2")
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("npm does not install koffi: {said}"));
        }
    }
    Ok(modules)
}

#[test]
fn node_with_koffi() {
    let (_directory, library) = built();
    match koffi() {
        Err(why) => skip(&why),
        Ok(modules) => sees_every_value(
            &library,
            Command::new("node")
                .env("NODE_PATH", modules)
                .arg(source("reader.js"))
                .arg(&library),
        ),
    }
}
