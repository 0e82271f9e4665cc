//! The C library and the packages over it, each used by a program in its language.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use vdsokit_publish::{Condition, Vdso, place};

/// The crate's directory.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The directory that holds `libvdsokit.so` and `libvdsokit.a`: cargo makes neither for an
/// integration test, so the test makes them.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("library");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "build",
            "--quiet",
            "--package",
            "vdsokit-capi",
            "--target-dir",
        ])
        .arg(&target)
        .current_dir(HERE);
    succeed(&mut cargo);
    target.join("debug")
});

fn succeed(command: &mut Command) {
    let status = command.status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// Runs a program that publishes the weather until it reads a line, and compares what this process
/// reads in the meantime and afterwards.
fn publishes(mut program: Command) {
    let base = place::base().expect("a place to publish in");
    let directory = tempfile::tempdir_in(base).expect("a directory");
    let file = directory.path().join("libweather.so.1");
    let declaration = Path::new(HERE).join("tests/programs/weather.toml");
    let mut child = program
        .args([&declaration, &file])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program:?}: {error}"));
    let mut line = String::new();
    let output = child.stdout.take().expect("a pipe");
    BufReader::new(output).read_line(&mut line).expect("a line");
    assert_eq!(line, "published\n", "{program:?}");

    let weather = Vdso::open(&file).expect("a vDSO");
    assert_eq!(weather.status().condition, Condition::Live);
    for (name, value) in [
        ("temperature", "21.5"),
        ("visitors", "18446744073709551615"),
        ("small", "-128"),
        ("open", "true"),
        ("region", r#""north \"and\" west""#),
        ("wind", r#"speed=3 from="north west""#),
    ] {
        let found = weather.get(name).expect("a value").to_string();
        assert_eq!(found, value, "{name}");
    }

    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"\n").expect("the program reads");
    drop(input);
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{program:?}: {status}");
    assert_eq!(weather.status().condition, Condition::Stopped);
}

/// The first block of this kind of docs/languages.md that contains `what`.
fn block_of_the_page(kind: &str, what: &str) -> String {
    let page = Path::new(HERE).join("../../docs/languages.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let fence = format!("```{kind}\n");
    let blocks = page.split(&fence).skip(1);
    let mut blocks = blocks.filter_map(|block| block.split("```").next());
    let found = blocks.find(|block| block.contains(what));
    found.expect("a block of the page").to_owned()
}

/// The library, under the names that programs look for, as docs/languages.md makes them.
struct Installed(tempfile::TempDir);

impl Installed {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut shell = Command::new("sh");
        shell
            .args(["-e", "-c", &block_of_the_page("sh", "vdsokit.pc.in")])
            .current_dir(&directory)
            .env("VDSOKIT", Path::new(HERE).join("../.."))
            .env("BUILT", &*LIBRARY);
        succeed(&mut shell);
        Self(directory)
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join("vdsokit-library")
    }

    /// Lets a compiler and a program find it, as the page's last line does.
    fn apply_to(&self, command: &mut Command) {
        command
            .env("PKG_CONFIG_PATH", self.directory())
            .env("LD_LIBRARY_PATH", self.directory());
    }
}

fn compiled(name: &str, arguments: &[&str]) -> Command {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut compiler = Command::new("cc");
    compiler
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(Path::new(HERE).join("include"))
        .arg(Path::new(HERE).join("tests/programs/publish.c"))
        .arg("-o")
        .arg(&program)
        .arg("-L")
        .arg(&*LIBRARY)
        .args(arguments);
    succeed(&mut compiler);
    Command::new(program)
}

#[test]
fn a_c_program_publishes_with_the_shared_library() {
    let installed = Installed::new();
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.args(["--cflags", "--libs", "vdsokit"]);
    installed.apply_to(&mut pkg_config);
    let flags = pkg_config.output().expect("pkg-config").stdout;
    let flags = String::from_utf8(flags).expect("flags");
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let mut program = compiled("publish-shared", &flags);
    installed.apply_to(&mut program);
    publishes(program);
}

#[test]
fn a_c_program_publishes_with_the_static_library() {
    let archive = LIBRARY.join("libvdsokit.a");
    let archive = archive.to_str().expect("a path in UTF-8");
    publishes(compiled(
        "publish-static",
        &[archive, "-lm", "-lpthread", "-ldl"],
    ));
}

#[test]
fn a_python_program_publishes() {
    let root = Path::new(HERE).join("../..");
    let mut program = Command::new("python3");
    program
        .arg(Path::new(HERE).join("tests/programs/publish.py"))
        .env("PYTHONPATH", root.join("bindings/python/src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("VDSOKIT_LIBRARY", LIBRARY.join("libvdsokit.so"));
    publishes(program);
}

/// The program in `docs/languages.md`.
#[test]
fn the_python_program_of_the_page_publishes() {
    let root = Path::new(HERE).join("../..");
    let program = block_of_the_page("python", "from vdsokit import");
    let directory = tempfile::tempdir_in(place::base().expect("a place to publish in"));
    let directory = directory.expect("a directory");
    let declaration = "[vdso]\nsoname = \"libweather.so.1\"\nversion = \"WEATHER_1.0\"\n\
                       [var.temperature]\ntype = \"f64\"\n";
    std::fs::write(directory.path().join("weather.toml"), declaration).expect("a file");
    let mut python = Command::new("python3");
    python
        .args(["-c", &program])
        .current_dir(&directory)
        .env("PYTHONPATH", root.join("bindings/python/src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("VDSOKIT_LIBRARY", LIBRARY.join("libvdsokit.so"));
    succeed(&mut python);
    let weather = Vdso::open(directory.path().join("libweather.so.1")).expect("a vDSO");
    assert_eq!(weather.status().condition, Condition::Stopped);
    let temperature = weather.get("temperature").expect("a value");
    assert_eq!(temperature.to_string(), "22.5");
}

#[test]
fn a_node_program_publishes() {
    let root = Path::new(HERE).join("../..");
    let project = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node-project");
    std::fs::create_dir_all(&project).expect("a directory");
    let mut npm = Command::new("npm");
    npm.args(["install", "--install-links", "--prefer-offline"])
        .args(["--no-audit", "--no-fund", "--silent", "--prefix"])
        .args([&project, &root.join("bindings/node")]);
    succeed(&mut npm);
    let package = project.join("node_modules/vdsokit");
    let mut program = Command::new("node");
    program
        .arg(Path::new(HERE).join("tests/programs/publish.js"))
        .env("VDSOKIT_PACKAGE", &package)
        .env("VDSOKIT_LIBRARY", LIBRARY.join("libvdsokit.so"));
    publishes(program);
}

#[test]
fn a_go_program_publishes() {
    let root = Path::new(HERE).join("../..");
    let installed = Installed::new();
    let program = installed.directory().join("publish");
    let mut go = Command::new("go");
    go.args(["build", "-o"])
        .arg(&program)
        .arg("./publish")
        .current_dir(root.join("bindings/go"))
        .env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off");
    // Go keeps what it compiled, with the flags that pkg-config printed for it, and does not ask
    // pkg-config again. This variable is a part of the key: the last run's directory is gone.
    let search = format!("-L{}", installed.directory().display());
    go.env("CGO_LDFLAGS", search);
    installed.apply_to(&mut go);
    succeed(&mut go);
    let mut program = Command::new(program);
    installed.apply_to(&mut program);
    publishes(program);
}
