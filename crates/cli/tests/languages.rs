//! Programs in several languages read a vDSO that one process publishes: each of them sees each
//! new value. Those that a user would write are in `examples/readers`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use vdsokit_build::{Architecture, Declaration, Outputs};
use vdsokit_publish::{Publisher, assign, place};
use vdsokit_test_support::{cache, skip};

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

/// Starts the reader before there is a publisher, and reads through it after each change.
fn sees_every_value(library: &Path, reader: &mut Command) {
    let mut child = reader
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut requests = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    let mut read = || {
        let mut answer = String::new();
        writeln!(requests, "?").unwrap();
        answers.read_line(&mut answer).unwrap();
        // Languages print the same number differently.
        answer.trim_end().parse::<f64>().unwrap()
    };
    assert_eq!(read(), 1.5, "the declaration's own value");
    let publisher = Publisher::open(library).unwrap();
    for value in [21.5, -40.0, 1e100] {
        let assignments = assign::parse(&format!("temperature={value}")).unwrap();
        publisher.assign(&assignments).unwrap();
        assert_eq!(read(), value);
    }
    drop(publisher);
    assert_eq!(read(), 1e100, "retired, and still the last value");
    drop(requests);
    assert!(child.wait().unwrap().success());
}

fn has(program: &str) -> bool {
    let version = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// A reader that is an example.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/readers")
        .join(name)
}

/// A reader of these tests.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/readers")
        .join(name)
}

/// Compiles a reader; `None` when there is no such compiler.
fn compiled(
    compiler: &str,
    directory: &Path,
    source: &Path,
    arguments: &[&str],
) -> Option<PathBuf> {
    if !has(compiler) {
        skip(&format!("there is no compiler `{compiler}`"));
        return None;
    }
    let program = directory.join("reader");
    succeeds(
        Command::new(compiler)
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&program)
            .arg(source)
            .args(arguments)
            .current_dir(directory),
    );
    Some(program)
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}

/// How a program is linked that finds the image in this directory.
fn linking(directory: &Path) -> [String; 4] {
    let rpath = format!("-Wl,-rpath,{}", directory.display());
    ["-I.".into(), "-L.".into(), "-lweather".into(), rpath]
}

#[test]
fn c_and_cpp_programs_that_are_linked() {
    for (compiler, name) in [("cc", "c/reader.c"), ("c++", "cpp/reader.cpp")] {
        let (directory, library) = built();
        let arguments = linking(directory.path());
        let arguments = arguments.each_ref().map(String::as_str);
        let program = compiled(compiler, directory.path(), &example(name), &arguments);
        if let Some(program) = program {
            sees_every_value(&library, &mut Command::new(program));
        }
    }
}

#[test]
fn a_c_program_that_loads() {
    let (directory, library) = built();
    let source = source("dlopened.c");
    if let Some(program) = compiled("cc", directory.path(), &source, &["-ldl"]) {
        sees_every_value(&library, Command::new(program).arg(&library));
    }
}

#[test]
fn a_static_c_program() {
    let (directory, library) = built();
    let source = source("static.c");
    if let Some(program) = compiled("cc", directory.path(), &source, &["-static-pie"]) {
        sees_every_value(&library, Command::new(program).arg(&library));
    }
}

#[test]
fn go_with_cgo() {
    let (directory, library) = built();
    let go = |arguments: &[&str]| {
        let mut go = Command::new("go");
        go.args(arguments).stdout(Stdio::null());
        go
    };
    if !go(&["version"])
        .status()
        .is_ok_and(|status| status.success())
    {
        return skip("there is no `go`: install golang-go");
    }
    let [include, search, name, rpath] = linking(directory.path());
    let here = directory.path().display();
    let program = directory.path().join("reader");
    succeeds(
        go(&["build", "-o"])
            .arg(&program)
            .arg(example("go/reader.go"))
            .env("CGO_CFLAGS", include.replace('.', &here.to_string()))
            .env(
                "CGO_LDFLAGS",
                format!("{} {name} {rpath}", search.replace('.', &here.to_string())),
            )
            .env("GOCACHE", directory.path().join("cache"))
            .env("GOFLAGS", "-mod=mod"),
    );
    sees_every_value(&library, &mut Command::new(program));
}

#[test]
fn java_with_jna() {
    let (_directory, library) = built();
    let jna = "/usr/share/java/jna.jar";
    if !has("java") || !Path::new(jna).exists() {
        return skip("there is no `java` with JNA: install default-jdk-headless and libjna-java");
    }
    sees_every_value(
        &library,
        Command::new("java")
            .args(["-cp", jna])
            .arg(example("java/Reader.java"))
            .arg(&library),
    );
}

#[test]
fn rust_by_handles() {
    let (_directory, library) = built();
    // A package outside the workspace, so that it is built as a user builds it.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readers");
    succeeds(
        Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--bin", "reader", "--target-dir"])
            .arg(&target)
            .current_dir(example("rust"))
            // Flags that this test was built with are not the user's.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS"),
    );
    let reader = target.join("debug/reader");
    sees_every_value(&library, Command::new(reader).arg(&library));
}

#[test]
fn python_with_ctypes() {
    let (_directory, library) = built();
    if !has("python3") {
        return skip("there is no `python3`");
    }
    let script = example("python/reader.py");
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
    let cache = cache("npm");
    let modules = cache.join("node_modules");
    if !modules.join("koffi").exists() {
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
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!("npm does not install koffi: {errors}"));
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
                .arg(example("javascript/reader.js"))
                .arg(&library),
        ),
    }
}
