//! Programs in other languages, whose runtimes wait in their own ways.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{TOO_LONG, compiled, debian, installed, output, said, scratch, source, text};

/// An option of `vdso run`, and how many seconds each wait is to last by the program's clocks.
const WAYS: [(&str, f64); 5] = [
    ("--offset=+1y", 0.2),
    ("--offset=-1y", 0.2),
    ("--rate=100", 20.0),
    ("--rate=0.5", 0.2),
    ("--skip-idle", 360.0),
];

/// Runs a program at another time. It gets a number of seconds, and prints of each way to wait the name and how
/// long it lasted by the monotonic and by the wall clock: as long as it was told, and not as in real time.
#[track_caller]
fn waits(program: &[&str], names: &[&str]) {
    for (way, seconds) in WAYS {
        let seconds_text = format!("{seconds:.1}");
        let lines = said(&[&["run", way, "--"], program, &[&seconds_text]].concat());
        let most = match way {
            "--skip-idle" => seconds * 1.02 + 10.0,
            _ => seconds * TOO_LONG as f64,
        };
        // Clocks of milliseconds cut off up to one.
        let least = seconds - f64::min(0.1, seconds / 100.0);
        // Two clocks are read one after another: as far apart as a second is.
        let apart = if way == "--rate=100" { 100.0 } else { 1.0 };
        let mut waited = Vec::new();
        for line in lines.lines() {
            let fields: Vec<_> = line.split(' ').collect();
            let [name, passed, shown] = fields[..] else {
                panic!("{way}: {line}");
            };
            let number = |text: &str| text.parse::<f64>().expect("a number");
            let (passed, shown) = (number(passed), number(shown));
            assert!((least..most).contains(&passed), "{way}: {line}");
            assert!((shown - passed).abs() < apart, "{way}: {line}");
            waited.push(name);
        }
        assert_eq!(waited, names, "{way}");
    }
}

/// Where a compiler is to put a program made of a source file of this directory.
fn compiled_file(source: &str) -> PathBuf {
    Path::new(source).with_extension("program")
}

#[test]
fn go_waits_at_another_time() {
    if !installed("go") {
        return;
    }
    let source = source("waits.go", include_str!("waits.go"));
    let program = compiled_file(&source);
    let mut build = Command::new("go");
    build.args(["build", "-o", text(&program), &source]);
    assert!(build.status().expect("go runs").success());
    let names = [
        "Sleep",
        "After",
        "Ticker",
        "WithTimeout",
        "WithDeadline",
        "SetReadDeadline",
    ];
    waits(&[text(&program)], &names);
}

#[test]
fn javascript_waits_at_another_time() {
    if !installed("node") {
        return;
    }
    let source = source("waits.js", include_str!("waits.js"));
    let names = [
        "setTimeout",
        "setInterval",
        "Atomics.wait",
        "AbortSignal.timeout",
    ];
    waits(&["node", &source], &names);
}

/// OpenJDK's threads poll every 50, 250, 300 and 1000 ms beside the program's.
#[test]
fn java_waits_at_another_time_beside_the_pollers_of_its_runtime() {
    if !installed("java") || !installed("javac") {
        return;
    }
    let source = source("Waits.java", include_str!("Waits.java"));
    let directory = scratch("languages-Waits.java");
    let mut compiler = Command::new("javac");
    compiler.args(["-d", text(&directory), &source]);
    assert!(compiler.status().expect("javac runs").success());
    let names = [
        "sleep",
        "wait",
        "parkNanos",
        "parkUntil",
        "schedule",
        "poll",
        "sleeps",
    ];
    waits(&["java", "-cp", text(&directory), "Waits"], &names);
}

#[test]
fn cpp_waits_at_another_time() {
    let source = source("waits.cc", include_str!("waits.cc"));
    let program = compiled_file(&source);
    let mut compiler = Command::new("c++");
    compiler.args(["-O1", "-pthread", "-o", text(&program), &source]);
    assert!(compiler.status().expect("a C++ compiler").success());
    let names = [
        "sleep_until",
        "sleep_for",
        "condition",
        "condition_for",
        "future",
        "future_for",
    ];
    waits(&[text(&program)], &names);
}

#[test]
fn rust_waits_at_another_time() {
    let source = source("waits_std.rs", include_str!("waits_std.rs"));
    let program = compiled_file(&source);
    let mut compiler = Command::new("rustc");
    compiler.args(["--edition=2021", "-o", text(&program), &source]);
    assert!(compiler.status().expect("rustc runs").success());
    let names = [
        "sleep",
        "park_timeout",
        "wait_timeout",
        "recv_timeout",
        "read_timeout",
    ];
    waits(&[text(&program)], &names);
}

#[test]
fn perl_waits_at_another_time() {
    if !installed("perl") {
        return;
    }
    let source = source("waits.pl", include_str!("waits.pl"));
    let names = ["sleep", "select", "deadline", "alarm"];
    waits(&["perl", &source], &names);
}

#[test]
fn ruby_waits_at_another_time() {
    if !installed("ruby") {
        return;
    }
    let source = source("waits.rb", include_str!("waits.rb"));
    let names = ["sleep", "select", "condition", "join", "timeout"];
    waits(&["ruby", &source], &names);
}

/// With the programs that shell scripts wait by.
#[test]
fn the_shell_waits_at_another_time() {
    let source = source("waits.sh", include_str!("waits.sh"));
    let directory = format!("--chdir={}", text(&scratch("languages-waits.sh")));
    let names = ["sleep", "read", "timeout", "flock"];
    waits(&["env", &directory, "bash", &source], &names);
}

/// PHP's interpreter, and the libraries of it that not every Debian has.
const PHP: [&str; 10] = [
    "php8.2-cli",
    "libargon2-1",
    "libbsd0",
    "libedit2",
    "libicu72",
    "libmagic1",
    "libmd0",
    "libpcre2-8-0",
    "libsodium23",
    "libxml2",
];

#[test]
fn php_waits_at_another_time() {
    let Some(tree) = debian(&PHP) else {
        return;
    };
    let source = source("waits.php", include_str!("waits.php"));
    let libraries = tree.join("usr/lib/x86_64-linux-gnu");
    let libraries = format!("LD_LIBRARY_PATH={}", text(&libraries));
    let program = tree.join("usr/bin/php8.2");
    let names = [
        "usleep",
        "nanosleep",
        "sleep_until",
        "select",
        "read",
        "sigtimedwait",
    ];
    waits(&["env", &libraries, text(&program), "-n", &source], &names);
}

#[test]
fn erlang_waits_at_another_time() {
    let Some(tree) = debian(&["erlang-base"]) else {
        return;
    };
    let source = source("waits.erl", include_str!("waits.erl"));
    // What its script `erl` would set to where Debian installs it.
    let root = tree.join("usr/lib/erlang");
    let runtime = fs::read_dir(&root).expect("a directory").find_map(|entry| {
        let path = entry.expect("an entry").path();
        let name = path.file_name()?.to_str()?;
        name.starts_with("erts-").then(|| path.join("bin"))
    });
    let mut programs = runtime.expect("a directory of its runtime");
    let variables = [
        format!("ROOTDIR={}", text(&root)),
        format!("BINDIR={}", text(&programs)),
    ];
    programs.push("erlexec");
    let run = format!(
        "{{ok, Module, Code}} = compile:file({source:?}, [binary]), \
         code:load_binary(Module, {source:?}, Code), \
         Module:main(init:get_plain_arguments())."
    );
    let program = [
        "env",
        "EMU=beam",
        "PROGNAME=erl",
        &variables[0],
        &variables[1],
        text(&programs),
        "-noinput",
        "-eval",
        &run,
        "-extra",
    ];
    let names = ["receive", "sleep", "send_after", "deadline", "tick"];
    waits(&program, &names);
}

#[test]
fn two_sides_of_a_connection_time_out_in_order() {
    if !installed("python3") {
        return;
    }
    let source = source("protocol.py", include_str!("protocol.py"));
    for kind in ["tcp", "unix", "pipe"] {
        let exchanged = said(&["run", "--skip-idle", "--", "python3", &source, kind]);
        let exchanged: Vec<_> = exchanged.lines().collect();
        assert_eq!(
            exchanged,
            ["ask 1", "answer 1", "ask 2", "late 2", "ask 3", "answer 3"],
            "{kind}"
        );
    }
}

#[test]
fn data_that_the_kernel_delays_comes_before_a_time_out() {
    if !installed("python3") {
        return;
    }
    let source = source("small_writes.py", include_str!("small_writes.py"));
    let mut kinds = vec!["tcp", "unix"];
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        kinds.push("tcp6");
    }
    for kind in kinds {
        let command = ["run", "--skip-idle", "--", "python3", &source, kind];
        assert_eq!(said(&command), "right\n", "{kind}");
    }
}

/// LeakSanitizer scans the writable segments of loaded objects for pointers, and stops all threads.
#[test]
fn sanitizers_find_at_another_time_what_they_find_without() {
    let source = include_str!("sanitized.c");
    for (sanitizer, fault) in [
        ("address", "leak"),
        ("address", "overflow"),
        ("thread", "race"),
        ("undefined", "overflow of a number"),
    ] {
        let flags = ["-g", "-pthread", &format!("-fsanitize={sanitizer}")];
        let program = compiled(&format!("sanitized-{sanitizer}"), source, &flags);
        for options in ["--offset=+1y", "--rate=2", "--skip-idle"] {
            for (fault, found) in [(fault, true), ("none", false)] {
                let output = output(&["run", options, "--", text(&program), fault]);
                let reports = String::from_utf8_lossy(&output.stderr);
                let has_found = ["Sanitizer", "runtime error"]
                    .iter()
                    .any(|&words| reports.contains(words));
                assert_eq!(has_found, found, "{options} {fault}: {output:?}");
            }
        }
    }
}
