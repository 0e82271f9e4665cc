//! `vdso build` and `vdso check` as they are typed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

const DECLARATION: &str = r#"
[vdso]
soname = "libweather.so.1"
version = "WEATHER_1.0"
[var.temperature]
type = "f64"
unit = "degC"
init = 1.5
doc = "Outside temperature"
"#;

fn vdso(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vdso"))
        .current_dir(directory)
        .args(arguments)
        .output()
        .unwrap()
}

/// A directory with a built declaration.
fn built() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("weather.toml"), DECLARATION).unwrap();
    let output = vdso(directory.path(), &["build", "weather.toml"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    let files = [
        "libweather.so.1",
        "weather.h",
        "weather.pc",
        "libweather.so",
    ];
    assert_eq!(printed, files.map(|file| format!("./{file}\n")).concat());
    directory
}

/// A publisher that has said that it publishes.
fn serving(directory: &Path) -> Child {
    let mut publisher = Command::new(env!("CARGO_BIN_EXE_vdso"))
        .current_dir(directory)
        .args(["serve", "libweather.so.1", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(publisher.stdout.take().unwrap()).lines();
    let first = said.next().unwrap().unwrap();
    assert!(first.starts_with("live: "), "{first}");
    // What else it says is not waited for, and not lost to a closed pipe.
    std::thread::spawn(move || said.for_each(drop));
    publisher
}

#[test]
fn what_is_built_passes_the_check() {
    let directory = built();
    let output = vdso(directory.path(), &["check", "libweather.so.1", "--json"]);
    assert!(output.status.success());
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["findings"], serde_json::json!([]));
}

#[test]
fn the_check_says_what_and_where() {
    let directory = built();
    let path = directory.path().join("libweather.so.1");
    let mut bytes = fs::read(&path).unwrap();
    bytes[64 + 4] |= 2; // the first segment's PF_W
    fs::write(&path, bytes).unwrap();
    let output = vdso(directory.path(), &["check", "libweather.so.1"]);
    assert_eq!(output.status.code(), Some(1));
    let found = String::from_utf8(output.stdout).unwrap();
    assert!(
        found.contains("libweather.so.1: writable-executable: segment 0 (LOAD): "),
        "{found}"
    );
}

#[test]
fn a_published_image_is_not_replaced() {
    let directory = built();
    let mut publisher = serving(directory.path());
    // The image that is live is left alone; another one would take its place.
    let same = vdso(directory.path(), &["build", "weather.toml"]);
    assert!(same.status.success(), "{same:?}");
    let declaration = directory.path().join("weather.toml");
    let mut text = fs::read_to_string(&declaration).unwrap();
    text += "\n[var.added]\ntype = \"u8\"\n";
    fs::write(&declaration, text).unwrap();
    let output = vdso(directory.path(), &["build", "weather.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    let pid = publisher.id().to_string();
    assert!(message.contains("is its publisher"), "{message}");
    assert!(message.contains(&pid), "{message}");
    drop(publisher.stdin.take());
    assert!(publisher.wait().unwrap().success());
}

/// Readers that have a crashed publisher's file open see the condition *replaced*.
#[test]
fn a_crashed_publishers_image_is_retired_and_replaced() {
    let directory = built();
    let old = directory.path().join("old");
    fs::hard_link(directory.path().join("libweather.so.1"), &old).unwrap();
    let mut publisher = serving(directory.path());
    publisher.kill().unwrap();
    publisher.wait().unwrap();
    let output = vdso(directory.path(), &["build", "weather.toml"]);
    assert!(output.status.success());
    let state = |file: &str| {
        let bytes = fs::read(directory.path().join(file)).unwrap();
        bytes[4096 + vdsokit_vvar::header::STATE_OFFSET]
    };
    assert_eq!((state("old"), state("libweather.so.1")), (3, 0));
}

/// Programs load the image, so a directory where another user can replace it is refused, as
/// `vdso serve` refuses it, before anything is written there.
#[test]
fn a_directory_where_others_may_write_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("weather.toml"), DECLARATION).unwrap();
    for mode in [0o777, 0o775, 0o1777] {
        let shared = directory.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).unwrap();
        let output = vdso(directory.path(), &["build", "weather.toml", "-o", "shared"]);
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8(output.stderr).unwrap();
        let wanted = format!("(mode {mode:04o})");
        assert!(message.contains(&wanted), "{message}");
        assert_eq!(fs::read_dir(&shared).unwrap().count(), 0);
        fs::remove_dir(&shared).unwrap();
    }
}

#[test]
fn a_directory_that_does_not_exist_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("weather.toml"), DECLARATION).unwrap();
    let output = vdso(directory.path(), &["build", "weather.toml", "-o", "none"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("none is not a directory"), "{message}");
    assert!(message.contains("mkdir -p none"), "{message}");
}

/// The examples' own words: build, publish, and a program that calls.
#[test]
fn a_crates_image_is_built_and_published() {
    let directory = tempfile::tempdir().unwrap();
    let beast = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/beast");
    let output = vdso(directory.path(), &["build", beast.to_str().unwrap()]);
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    fs::write(
        directory.path().join("app.c"),
        "#include <stdio.h>\n#include \"beast.h\"\n\
         int main(void) { while (getchar() != EOF) \
         { printf(\"%d\\n\", (int) number_of_the_beast()); fflush(stdout); } }\n",
    )
    .unwrap();
    let cc = [
        "-Wall",
        "-Werror",
        "app.c",
        "-L.",
        "-lbeast",
        "-Wl,-rpath,$ORIGIN",
        "-o",
        "app",
    ];
    let status = Command::new("cc")
        .current_dir(directory.path())
        .args(cc)
        .status();
    assert!(status.unwrap().success());
    let mut app = Command::new(directory.path().join("app"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ask = app.stdin.take().unwrap();
    let mut answers = BufReader::new(app.stdout.take().unwrap()).lines();
    let mut number = || {
        ask.write_all(b"\n").unwrap();
        answers.next().unwrap().unwrap()
    };
    assert_eq!(number(), "666");
    let output = vdso(directory.path(), &["set", "libbeast.so.1", "number=616"]);
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    assert_eq!(number(), "616");
    drop(ask);
    assert!(app.wait().unwrap().success());
}

/// From the image alone `vdso serve` knows what the kernel is to publish.
#[test]
fn the_image_of_a_crate_says_which_variables_are_the_kernels() {
    let directory = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let bindings = |example: &str, soname: &str| {
        let source = examples.join(example);
        let output = vdso(directory.path(), &["build", source.to_str().unwrap()]);
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{messages}");
        let image = fs::read(directory.path().join(soname)).unwrap();
        let bindings = vdsokit_sources::kernel::bindings(&image).into_iter();
        bindings
            .map(|one| (one.variable, one.expression))
            .collect::<Vec<_>>()
    };
    let pressure = bindings("pressure", "libpressure.so.1");
    let expected = [
        ("free", "vm_zone_stat[NR_FREE_PAGES]"),
        ("inactive_files", "vm_node_stat[NR_INACTIVE_FILE]"),
        ("reserve", "totalreserve_pages"),
    ];
    let expected = expected.map(|(name, expression)| (name.to_owned(), expression.to_owned()));
    assert_eq!(pressure, expected);
    assert!(bindings("beast", "libbeast.so.1").is_empty());
}
