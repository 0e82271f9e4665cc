//! What commands print and how they exit: help, closed and full outputs, foreign names, quoting,
//! exit statuses.

use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use vdsokit_publish::place;

const DECLARATION: &str = r#"
[vdso]
soname = "libsite.so.1"
version = "SITE_1.0"

[var.region]
type = "str[32]"
[var.users]
type = "u64"
unit = "users"
[var.wind]
[var.wind.fields.speed]
type = "f64"
unit = "m/s"
[var.wind.fields.from]
type = "str[16]"
"#;

fn vdso(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdso"));
    command.args(arguments).stdin(Stdio::null());
    // miette breaks lines at the terminal's width; clap too.
    command.env("COLUMNS", "80");
    command
}

fn output(arguments: &[&str]) -> Output {
    vdso(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory with a declaration and its image.
struct Site {
    directory: TempDir,
    image: String,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
        fs::write(directory.path().join("site.toml"), DECLARATION).unwrap();
        let mut site = Self {
            directory,
            image: String::new(),
        };
        let (source, place) = (site.path("site.toml"), site.path(""));
        let built = output(&["build", &source, "-o", &place]);
        assert!(built.status.success(), "{}", stderr(&built));
        site.image = site.path("libsite.so.1");
        site
    }

    fn path(&self, name: &str) -> String {
        self.directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// The standard output of a command on the image.
    fn run(&self, arguments: &[&str]) -> Output {
        let (command, rest) = arguments.split_first().unwrap();
        output(&[&[*command, self.image.as_str()], rest].concat())
    }

    fn set(&self, assignments: &[&str]) {
        let set = self.run(&[&["set"], assignments].concat());
        assert!(set.status.success(), "{}", stderr(&set));
    }
}

/// The commands that a help text lists.
#[cfg(target_arch = "x86_64")]
fn commands(help: &str) -> Vec<String> {
    let (_, list) = help.split_once("Commands:\n").unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| {
            let (name, description) = line.trim().split_once(' ')?;
            assert!(!description.trim().is_empty(), "{name} has no description");
            Some(name.to_owned())
        })
        .filter(|name| name != "help")
        .collect()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_help_of_every_command_fits_80_columns() {
    let mut waiting = vec![vec!["vdso".to_owned()]];
    let mut count = 0;
    while let Some(path) = waiting.pop() {
        let arguments: Vec<&str> = path[1..].iter().map(String::as_str).collect();
        let help = stdout(&output(&[&arguments[..], &["--help"]].concat()));
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{path:?}: {line}");
        }
        for name in commands(&help) {
            waiting.push([&path[..], &[name]].concat());
        }
        // Blanks at the end of a line are clap's.
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(format!("help-{}", path.join("-")), lines.join("\n"));
        count += 1;
    }
    assert!(count > 25, "{count} commands");
}

/// Every command that prints something, but for those that deliver.
fn printing(site: &Site) -> Vec<Vec<String>> {
    let man = site.path("man");
    let (image, declaration, place) = (&site.image, site.path("site.toml"), site.path(""));
    let commands: &[&[&str]] = &[
        &["--help"],
        &["--version"],
        &["run", "--help"],
        &["bench", "--samples", "2"],
        &["bench", "--samples", "2", "--json"],
        &["build", &declaration, "-o", &place],
        &["check", "/proc/self/exe", "--foreign"],
        &["check", image, "--json"],
        &["clock", "list", "--json"],
        &["completions", "bash"],
        &["demo"],
        &["doctor"],
        &["doctor", "--json"],
        &["get", image],
        &["get", image, "--json"],
        &["kernel", "vars", "nr_threads"],
        &["ls"],
        &["ls", "--json"],
        &["ls", image],
        &["ls", "--arch", "s390x"],
        &["man", "-o", &man],
        &["serve", image, "--stdin"],
        &["serve", image, "--stdin", "--json"],
        &["status", image],
        &["status", image, "--prometheus"],
        &["watch", image, "--count", "2", "--every", "1ms"],
        &["watch", image, "--count", "2", "--every", "1ms", "--json"],
    ];
    let owned = |command: &&[&str]| command.iter().map(|one| (*one).to_owned()).collect();
    commands.iter().map(owned).collect()
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// A pipe without a reader.
fn closed() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

#[test]
fn no_command_panics_when_its_output_is_closed_or_full() {
    let site = Site::new();
    for arguments in printing(&site) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let usual = output(&arguments);
        assert!(!stderr(&usual).contains("panicked"), "{arguments:?}");
        if usual.stdout.is_empty() {
            continue;
        }
        let closed_pipe = vdso(&arguments).stdout(closed()).output().unwrap();
        assert_eq!(
            closed_pipe.status.code(),
            usual.status.code(),
            "{arguments:?}"
        );
        let complaints = stderr(&closed_pipe);
        assert!(
            !complaints.contains("panicked") && !complaints.contains("could not be written"),
            "{arguments:?}: {complaints}"
        );
        let full_disk = vdso(&arguments).stdout(full()).output().unwrap();
        let complaints = stderr(&full_disk);
        assert_eq!(
            full_disk.status.code(),
            Some(1),
            "{arguments:?}: {complaints}"
        );
        assert!(
            complaints.contains("could not be written") && !complaints.contains("panicked"),
            "{arguments:?}: {complaints}"
        );
        let mute = vdso(&arguments).stdout(full()).stderr(full()).status();
        assert_eq!(mute.unwrap().code(), Some(1), "{arguments:?}");
    }
    for arguments in [
        &["get", "/nowhere"][..],
        &["run"],
        &["run", "--", "/nowhere"],
    ] {
        let usual = output(arguments).status.code();
        let mute = vdso(arguments).stderr(full()).status().unwrap().code();
        assert_eq!(mute, usual, "{arguments:?}");
        let mute = vdso(arguments).stderr(closed()).status().unwrap().code();
        assert_eq!(mute, usual, "{arguments:?}");
    }
}

#[test]
fn names_of_files_are_printed_without_control_characters() {
    let site = Site::new();
    let evil = site
        .directory
        .path()
        .join(OsStr::from_bytes(b"a\x1b[2Jb\xff\n.so"));
    let is_clean = |output: &Output| {
        let all = [&output.stdout[..], &output.stderr[..]].concat();
        assert!(!all.contains(&0x1b), "{all:?}");
        assert!(!all.is_empty());
    };
    let on_file = |arguments: &[&str], file: &Path| {
        let (command, rest) = arguments.split_first().unwrap();
        vdso(&[command]).arg(file).args(rest).output().unwrap()
    };
    let commands: &[&[&str]] = &[
        &["ls"],
        &["ls", "--json"],
        &["get"],
        &["get", "--json"],
        &["check", "--against", "/nowhere"],
        &["status"],
        &["status", "--json"],
        &["serve", "--stdin"],
        &["serve", "--stdin", "--json"],
        &["watch", "--count", "1", "--json"],
        &["set", "users=x"],
        &["build"],
    ];
    for arguments in commands {
        is_clean(&on_file(arguments, &evil));
    }
    fs::copy(&site.image, &evil).unwrap();
    for arguments in commands {
        let output = on_file(arguments, &evil);
        is_clean(&output);
        if arguments.contains(&"--json") {
            let line = stdout(&output);
            let line = line.lines().next();
            let line = line.unwrap_or_else(|| panic!("{arguments:?}: {output:?}"));
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
    }
}

#[test]
fn files_of_any_kind_are_refused_in_bounded_time_and_memory() {
    let site = Site::new();
    let fifo = PathBuf::from(site.path("fifo"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    let sparse = site.path("sparse");
    File::create(&sparse).unwrap().set_len(6 << 30).unwrap();
    let commands: &[&[&str]] = &[
        &["ls"],
        &["check"],
        &["get"],
        &["dump", "-o", "/dev/null"],
        &["build"],
        &["init", "-o", "/dev/null", "--from-json"],
        &["run", "--object"],
        &["trace", "--object"],
    ];
    for arguments in commands {
        let is_delivery = arguments.contains(&"--object");
        let (status, rest): (_, &[&str]) = match is_delivery {
            true => (125, &["--", "true"]),
            false => (1, &[]),
        };
        for file in [fifo.to_str().unwrap(), "/dev/zero", sparse.as_str(), "/"] {
            // 1 GiB of address space.
            let limited = "ulimit -v 1048576; exec \"$0\" \"$@\"";
            let output = Command::new("sh")
                .args(["-c", limited, env!("CARGO_BIN_EXE_vdso")])
                .args(*arguments)
                .arg(file)
                .args(rest)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert_eq!(
                output.status.code(),
                Some(status),
                "{arguments:?} {file}: {}",
                stderr(&output)
            );
        }
    }
}

#[test]
fn a_limit_on_file_sizes_is_reported_and_leaves_no_file() {
    let site = Site::new();
    let names = || {
        let entries = fs::read_dir(site.directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (before, declaration) = (names(), site.path("site.toml"));
    let place = site.path("");
    let commands: &[(&[&str], i32)] = &[
        (&["build", &declaration, "-o", &place], 1),
        (
            &["build", &declaration, "-o", &place, "--bindings", &place],
            1,
        ),
        (&["run", "--time", "2000-01-01", "--", "true"], 125),
        (&["trace", "--", "true"], 125),
    ];
    for (arguments, status) in commands {
        let output = Command::new("sh")
            .args([
                "-c",
                "ulimit -f 0; exec \"$0\" \"$@\"",
                env!("CARGO_BIN_EXE_vdso"),
            ])
            .args(*arguments)
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(*status),
            "{arguments:?}: {output:?}"
        );
        let said = stderr(&output);
        assert!(said.contains("ulimit -f"), "{arguments:?}: {said}");
        assert_eq!(names(), before, "{arguments:?}");
    }
    // Programs have the default again.
    let status = "grep SigCgt /proc/self/status; grep SigIgn /proc/self/status";
    let plain = Command::new("sh").args(["-c", status]).output().unwrap();
    let run = output(&["run", "--time", "2000-01-01", "--", "sh", "-c", status]);
    assert_eq!(stdout(&run), stdout(&plain));
}

#[test]
fn a_kernel_thread_and_an_object_file_have_messages_of_their_own() {
    let site = Site::new();
    let thread = output(&["ls", "2"]);
    assert_eq!(thread.status.code(), Some(1));
    // In a PID namespace process 2 is none.
    if fs::read("/proc/2/exe").is_err() && Path::new("/proc/2").exists() {
        assert!(
            stderr(&thread).contains("kernel thread"),
            "{}",
            stderr(&thread)
        );
    }
    let (source, object) = (site.path("a.c"), site.path("a.o"));
    fs::write(&source, "int answer(void) { return 42; }").unwrap();
    let compiler = Command::new("cc")
        .args(["-c", &source, "-o", &object])
        .status();
    assert!(compiler.unwrap().success());
    for command in ["ls", "check"] {
        let refused = output(&[command, &object]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            stderr(&refused).contains("object file"),
            "{}",
            stderr(&refused)
        );
    }
}

#[test]
fn what_get_prints_is_what_set_reads() {
    let site = Site::new();
    for region in [
        "eu west",
        "",
        "\"quoted\" \\",
        "a=b",
        "two\nlines\t",
        "\u{1b}[2J",
        "ü",
    ] {
        site.set(&[&format!("region={region:?}"), "users=18446744073709551615"]);
        let printed = stdout(&site.run(&["get", "region"]));
        site.set(&["region=other"]);
        // As "$(vdso get F region)", which removes line breaks at the end.
        site.set(&[printed.trim_end_matches('\n')]);
        let json: Value = serde_json::from_slice(&site.run(&["get", "--json"]).stdout).unwrap();
        assert_eq!(json["values"]["region"], region);
        assert_eq!(json["values"]["users"], "18446744073709551615");
    }
    site.set(&["region=eu west"]);
    assert_eq!(
        stdout(&site.run(&["get", "region"])),
        "region=\"eu west\"\n"
    );
    let all = stdout(&site.run(&["get"]));
    site.set(&["wind.speed=3 wind.from=\"north west\""]);
    site.set(&[&all]);
    assert_eq!(stdout(&site.run(&["get"])), all);
}

#[test]
fn values_are_printed_whole_and_fields_with_their_own_types() {
    let site = Site::new();
    site.set(&[
        "region=abcdefghijklmnopqrstuvwxyz",
        "wind.from=north",
        "wind.speed=3.5",
    ]);
    for command in [&["ls"][..], &["watch", "--count", "1"]] {
        let text = stdout(&site.run(command));
        let row = |name: &str| -> Vec<String> {
            let line = text
                .lines()
                .find(|line| line.trim_start().starts_with(name));
            let line = line.unwrap_or_else(|| panic!("{name} in {text}"));
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(
            row("region").last().unwrap(),
            "\"abcdefghijklmnopqrstuvwxyz\""
        );
        assert_eq!(row(".speed"), [".speed", "f64", "m/s", "3.5"]);
        assert_eq!(row(".from"), [".from", "str[16]", "\"north\""]);
        assert!(!text.contains('…'), "{text}");
    }
    let field = stdout(&site.run(&["watch", "--count", "1", "wind.speed"]));
    let row = field.trim_end().lines().last().unwrap();
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(row, ["wind.speed", "f64", "m/s", "3.5"]);
    let json: Value = serde_json::from_slice(&site.run(&["ls", "--json"]).stdout).unwrap();
    let layout = json["images"][0]["published"]["layout"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(layout.starts_with("0x"), "{layout}");
}

/// Scripts read the names of functions, which are longer than a line.
#[test]
fn names_are_printed_whole_into_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let name = "n".repeat(64);
    let declaration = format!(
        "[vdso]\nsoname = \"libsite.so.1\"\nversion = \"SITE_1.0\"\n[var.{name}]\ntype = \"u8\"\n"
    );
    fs::write(directory.path().join("site.toml"), declaration).unwrap();
    let built = vdso(&["build", "site.toml"])
        .current_dir(&directory)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", stderr(&built));
    let image = directory.path().join("libsite.so.1");
    let text = stdout(&output(&["ls", image.to_str().unwrap()]));
    let function = format!("site_{name}");
    assert!(
        text.split_whitespace().any(|word| word == function),
        "{text}"
    );
}

/// `vdso serve` that is live; it ends when it is dropped.
struct Server(std::process::Child);

impl Server {
    fn start(site: &Site, arguments: &[&str]) -> Self {
        let mut command = vdso(&["serve", &site.image]);
        command.args(arguments).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut first = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn exit_statuses_tell_the_condition() {
    let site = Site::new();
    let code = |arguments: &[&str]| site.run(arguments).status.code();
    assert_eq!(
        (code(&["get"]), code(&["ls"]), code(&["status"])),
        (Some(5), Some(5), Some(2))
    );
    let server = Server::start(&site, &["--stdin"]);
    assert_eq!(
        (code(&["get"]), code(&["ls"]), code(&["status"])),
        (Some(0), Some(0), Some(0))
    );
    assert_eq!(code(&["status", "--max-age", "1us"]), Some(1));
    assert_eq!(code(&["status", "--max-age", "1h"]), Some(4), "wrong usage");
    assert_eq!(
        code(&["status", "--max-error", "1"]),
        Some(4),
        "not a clock"
    );
    let metrics = stdout(&site.run(&["status", "--prometheus"]));
    assert!(
        metrics.contains("# TYPE vdso_live gauge\nvdso_live{file=\""),
        "{metrics}"
    );
    assert!(metrics.contains("condition=\"live\"} 1\n"), "{metrics}");
    drop(server);
    // It was killed: its heartbeat is overdue after a moment.
    assert_eq!(code(&["status", "--max-age", "1us"]), Some(1));
    site.set(&["users=1"]);
    assert_eq!(
        (code(&["get"]), code(&["ls"]), code(&["status"])),
        (Some(4), Some(4), Some(1))
    );
    let missing = output(&["status", &site.path("none.so")]);
    assert_eq!(missing.status.code(), Some(2));
}

/// The lines that `watch` marks are those that changed.
#[test]
fn watch_marks_what_changed() {
    let site = Site::new();
    let mut server = Server::start(&site, &["--stdin"]);
    let mut watch = vdso(&["watch", &site.image, "--every", "1ms"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(watch.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(lines).map(|line| line.unwrap());
    assert!(
        lines
            .by_ref()
            .any(|line| line.contains("users") && !line.contains('*'))
    );
    writeln!(server.0.stdin.as_mut().unwrap(), "users=7").unwrap();
    let marked = lines.find(|line| line.starts_with('*')).unwrap();
    let marked: Vec<&str> = marked.split_whitespace().collect();
    assert_eq!(marked, ["*", "users", "u64", "users", "7"]);
    drop(lines);
    assert!(watch.wait().unwrap().success());
}

/// systemd starts what depends on the service only after this message.
#[test]
fn a_service_tells_systemd_when_it_is_live() {
    let site = Site::new();
    let socket = site.path("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    let served = vdso(&["serve", &site.image, "--stdin"])
        .env("NOTIFY_SOCKET", &socket)
        .output()
        .unwrap();
    assert!(served.status.success(), "{}", stderr(&served));
    let receive = || {
        let mut bytes = [0; 64];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    assert_eq!(receive(), "READY=1");
    assert_eq!(receive(), "STOPPING=1");
}

#[test]
fn a_manual_needs_a_directory() {
    assert_eq!(output(&["man"]).status.code(), Some(2));
}

#[test]
fn systemd_accepts_the_units() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/systemd");
    let directory = tempfile::tempdir().unwrap();
    for unit in [
        "vdso-clock.service",
        "vdso-system.service",
        "vdso-feed@.service",
        "run-vdso.mount",
    ] {
        // With a program that is there.
        let text = fs::read_to_string(units.join(unit)).unwrap();
        let text = text.replace("/usr/bin/vdso", env!("CARGO_BIN_EXE_vdso"));
        let copy = directory.path().join(unit);
        fs::write(&copy, text).unwrap();
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no", "--recursive-errors=no"]);
        let Ok(output) = verify.arg(&copy).output() else {
            assert_ne!(
                std::env::var("CI").as_deref(),
                Ok("true"),
                "no systemd-analyze"
            );
            eprintln!("skipped: there is no systemd-analyze");
            return;
        };
        assert!(output.status.success(), "{unit}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{unit}");
    }
}
