//! The commands that look, as their users run them.

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn vdso(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdso"));
    command.args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = vdso(arguments);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    /// Starts a program and waits for the first byte that it writes: before that it may be a
    /// script that becomes another program. `None` where there is no such program.
    fn start(command: &mut Command) -> Option<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let out = child.stdout.as_mut().unwrap();
        out.read_exact(&mut [0]).unwrap();
        Some(Self(child))
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where each key stands: `facts.calls[].vdso`.
fn keys(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let at = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                found.insert(at.clone());
                keys(field, &at, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                keys(item, &format!("{at}[]"), found);
            }
        }
        _ => {}
    }
}

/// The keys, but for what hangs on the machine: below `variable` ones.
fn shape(value: &Value, variable: &[&str]) -> String {
    let mut found = BTreeSet::new();
    keys(value, "", &mut found);
    found.retain(|key| !variable.iter().any(|prefix| key.starts_with(prefix)));
    found.into_iter().collect::<Vec<_>>().join("\n")
}

#[test]
fn lines_fit_a_terminal_and_have_no_colour_without_one() {
    let commands: &[&[&str]] = &[
        &["ls"],
        &["ls", "--arch", "ppc64"],
        &["doctor"],
        &["bench", "--samples", "3"],
    ];
    for arguments in commands {
        let output = vdso(arguments);
        let text = stdout(&output);
        assert!(text.lines().count() > 5, "{arguments:?}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
            assert!(!line.contains('\x1b'), "{arguments:?}: {line:?}");
        }
    }
}

/// `script` gives the command a terminal.
#[test]
fn colours_are_for_terminals_and_no_color_is_heard() {
    let on_terminal = |no_color: bool| {
        let mut script = Command::new("script");
        let command = format!("{} ls", env!("CARGO_BIN_EXE_vdso"));
        script
            .args(["-qec", &command, "/dev/null"])
            .env("TERM", "xterm");
        script.env_remove("NO_COLOR").env_remove("CI");
        if no_color {
            script.env("NO_COLOR", "1");
        }
        let output = script
            .output()
            .expect("`script` of bsdutils is essential to Debian");
        assert!(output.status.success());
        stdout(&output).contains('\x1b')
    };
    assert!(on_terminal(false));
    assert!(!on_terminal(true));
}

#[test]
fn the_json_of_ls_keeps_its_shape() {
    insta::assert_snapshot!(shape(&json(&["ls", "--json"]), &[]));
    insta::assert_snapshot!(shape(&json(&["ls", "--json", "--arch", "bfin"]), &[]));
}

#[test]
fn the_json_of_the_doctor_keeps_its_shape() {
    let machine = [
        "facts.tsc.",
        "facts.time_namespace.",
        "facts.calls[].function.",
        "findings[].",
    ];
    insta::assert_snapshot!(shape(&json(&["doctor", "--json"]), &machine));
}

#[test]
fn the_json_of_the_bench_keeps_its_shape() {
    let diagnosis = json(&["bench", "--json", "--samples", "3"]);
    insta::assert_snapshot!(shape(&diagnosis, &["costs[].function."]));
}

#[test]
fn every_program_has_the_same_vdso_as_this_one() {
    let own = json(&["ls", "--json"]);
    let scripts: &[&[&str]] = &[
        &["sh", "-c", "echo up; read line"],
        &[
            "python3",
            "-c",
            "import time; print('up', flush=True); time.sleep(600)",
        ],
        &[
            "node",
            "-e",
            "console.log('up'); setTimeout(() => {}, 600000)",
        ],
    ];
    for script in scripts {
        let Some(running) = Running::start(Command::new(script[0]).args(&script[1..])) else {
            assert_ne!(
                std::env::var("CI").as_deref(),
                Ok("true"),
                "no {}",
                script[0]
            );
            eprintln!("skipped: there is no {}", script[0]);
            continue;
        };
        let found = json(&["ls", "--json", &running.pid()]);
        let (found, own) = (&found["images"][0], &own["images"][0]);
        assert_eq!(found["build_id"], own["build_id"], "{script:?}");
        assert_eq!(found["role"], "kernels");
        let diagnosis = json(&["doctor", "--json", &running.pid()]);
        let process = &diagnosis["facts"]["process"];
        assert_eq!(process["same_image"], true);
        assert_eq!(process["patched"], 0);
        let causes: Vec<&Value> = diagnosis["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| &finding["cause"])
            .collect();
        assert!(
            !causes.iter().any(|cause| *cause == "static"),
            "{script:?}: {causes:?}"
        );
    }
}

#[test]
fn a_static_program_is_known_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("static");
    let source = directory.path().join("static.c");
    std::fs::write(
        &source,
        "#include <unistd.h>\nint main(void) { return write(1, \".\", 1) != 1 || pause(); }\n",
    )
    .unwrap();
    let mut compiler = Command::new("cc");
    compiler.arg("-static").arg("-o").arg(&program).arg(&source);
    assert!(compiler.status().unwrap().success());
    let running = Running::start(&mut Command::new(&program)).unwrap();
    let diagnosis = json(&["doctor", "--json", &running.pid()]);
    assert_eq!(diagnosis["facts"]["process"]["linkage"], "static");
    let findings = diagnosis["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["cause"] == "static"));
}

#[test]
fn a_process_that_is_gone_could_not_be_told() {
    let output = vdso(&["doctor", "4194304"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(vdso(&["doctor", "--no-such-flag"]).status.code(), Some(2));
    assert_eq!(vdso(&["ls", "4194304"]).status.code(), Some(1));
    assert_eq!(vdso(&["ls", "--arch", "pdp11"]).status.code(), Some(1));
}

fn built(directory: &Path, declaration: &str) -> String {
    let source = directory.join("weather.toml");
    std::fs::write(&source, declaration).unwrap();
    let directory = directory.to_str().unwrap();
    let output = vdso(&["build", source.to_str().unwrap(), "-o", directory]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    format!("{directory}/libweather.so.1")
}

const WEATHER: &str = "[vdso]\nsoname = \"libweather.so.1\"\nversion = \"WEATHER_1.0\"\n\
                       [var.temperature]\ntype = \"f64\"\nunit = \"degC\"\ninit = 1.5\n";

#[test]
fn an_image_of_ours_shows_its_variables() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let image = built(directory.path(), WEATHER);
    let found = json(&["ls", "--json", &image]);
    let published = &found["images"][0]["published"];
    assert_eq!(published["state"], "never published");
    let variable = &published["variables"][0];
    assert_eq!(variable["name"], "temperature");
    assert_eq!(
        (&variable["kind"], &variable["unit"]),
        (&"f64".into(), &"degC".into())
    );
    assert_eq!(variable["value"], 1.5);
}

/// What a process has loaded as a shared library is shown beside its kernel's vDSO, with the
/// values that are there now.
#[test]
fn a_library_in_a_process_shows_its_values() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let image = built(directory.path(), WEATHER);
    let script = "import ctypes, os, sys, time\n\
                  ctypes.CDLL(sys.argv[1])\n\
                  os.write(1, b'.')\n\
                  time.sleep(600)";
    let running = Running::start(Command::new("python3").args(["-c", script, &image])).unwrap();
    let found = json(&["ls", "--json", &running.pid()]);
    let images = found["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    assert_eq!(images[1]["role"], "library");
    assert_eq!(images[1]["path"], image);
    assert_eq!(images[1]["published"]["variables"][0]["value"], 1.5);
    assert!(!images[1]["data"].as_array().unwrap().is_empty());
}

/// gdb writes a core dump of a process that runs, whatever the machine does with those of
/// processes that crash.
#[test]
fn a_core_dump_holds_the_vdso_that_its_process_had() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let running = Running::start(Command::new("sh").args(["-c", "echo up; read line"])).unwrap();
    let (core, from_core, from_process) = (at("core"), at("core.so"), at("process.so"));
    let dump = format!("generate-core-file {core}");
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-p", &running.pid(), "-ex", &dump]);
    let Ok(output) = gdb.env_remove("DEBUGINFOD_URLS").output() else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no gdb");
        eprintln!("skipped: there is no gdb");
        return;
    };
    assert!(Path::new(&core).is_file(), "{output:?}");

    assert!(vdso(&["dump", &core, "-o", &from_core]).status.success());
    let dumped = vdso(&["dump", &running.pid(), "-o", &from_process]);
    assert!(dumped.status.success());
    let [from_core, from_process] =
        [from_core, from_process].map(|file| std::fs::read(file).unwrap());
    assert!(from_process.len() > 4096);
    assert!(from_core == from_process, "the images differ");

    let (found, own) = (
        json(&["ls", "--json", &core]),
        json(&["ls", "--json", &running.pid()]),
    );
    let (found, own) = (&found["images"][0], &own["images"][0]);
    assert_eq!(found["role"], "core");
    for part in ["base", "build_id", "soname", "symbols", "segments"] {
        assert!(!own[part].is_null(), "{part}");
        assert_eq!(found[part], own[part], "{part}");
    }
}

#[test]
fn tools_take_what_is_dumped() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("vdso.so");
    let file = file.to_str().unwrap();
    assert!(vdso(&["dump", "-o", file]).status.success());
    for (tool, arguments) in [
        ("readelf", vec!["-Wa", file]),
        ("objdump", vec!["-d", file]),
        (
            "gdb",
            vec!["-nx", "-batch", "-ex", "info functions clock_gettime", file],
        ),
    ] {
        let Ok(output) = Command::new(tool).args(&arguments).output() else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no {tool}");
            eprintln!("skipped: there is no {tool}");
            continue;
        };
        assert!(output.status.success(), "{tool}");
        assert!(stdout(&output).contains("clock_gettime"), "{tool}");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(
            !complaints.to_lowercase().contains("warning"),
            "{tool}: {complaints}"
        );
    }
    // The dump of a file is the file.
    let again = directory.path().join("again.so");
    let again = again.to_str().unwrap();
    assert!(vdso(&["dump", file, "-o", again]).status.success());
    assert_eq!(std::fs::read(file).unwrap(), std::fs::read(again).unwrap());
}

#[test]
fn manual_and_completions_know_every_command() {
    let directory = tempfile::tempdir().unwrap();
    assert!(
        vdso(&["man", "-o", directory.path().to_str().unwrap()])
            .status
            .success()
    );
    for command in ["ls", "doctor", "bench", "dump", "check"] {
        let page = directory.path().join(format!("vdso-{command}.1"));
        assert!(std::fs::read_to_string(page).unwrap().contains(command));
        for shell in ["bash", "zsh", "fish"] {
            let script = vdso(&["completions", shell]);
            assert!(stdout(&script).contains(command), "{shell} {command}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdso"));
    let mut child = command
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
