//! Programs in other languages, whose runtimes wait in their own ways.

use std::process::Command;

use super::{compiled, installed, output, said, scratch, source, text};

/// Runs a program under `--skip-idle`. It prints the name of each way to wait, with more on the
/// line if that did not take its time by the clocks that it reads.
#[track_caller]
fn waits(program: &[&str], ways: &[&str]) {
    let output = said(&[&["run", "--skip-idle", "--"], program].concat());
    assert_eq!(output.lines().collect::<Vec<_>>(), ways);
}

#[test]
fn go_waits_in_skipped_time() {
    if !installed("go") {
        return;
    }
    let source = source("waits.go", include_str!("waits.go"));
    let program = scratch("languages-waits.go").join("waits");
    let mut build = Command::new("go");
    build.args(["build", "-o", text(&program), &source]);
    assert!(build.status().expect("go runs").success());
    let ways = ["Sleep", "After", "Ticker", "WithTimeout", "WithDeadline"];
    waits(&[text(&program)], &ways);
}

#[test]
fn javascript_waits_in_skipped_time() {
    if !installed("node") {
        return;
    }
    let source = source("waits.js", include_str!("waits.js"));
    let ways = [
        "setTimeout",
        "setInterval",
        "Atomics.wait",
        "AbortSignal.timeout",
    ];
    waits(&["node", &source], &ways);
}

/// OpenJDK's threads poll every 50, 250, 300 and 1000 ms beside the program's.
#[test]
fn java_waits_in_skipped_time_beside_the_pollers_of_its_runtime() {
    if !installed("java") || !installed("javac") {
        return;
    }
    let source = source("Waits.java", include_str!("Waits.java"));
    let directory = scratch("languages-Waits.java");
    let mut compiler = Command::new("javac");
    compiler.args(["-d", text(&directory), &source]);
    assert!(compiler.status().expect("javac runs").success());
    let ways = [
        "sleep",
        "wait",
        "parkNanos",
        "parkUntil",
        "schedule",
        "poll",
        "sleeps",
    ];
    waits(&["java", "-cp", text(&directory), "Waits"], &ways);
}

#[test]
fn cpp_waits_in_skipped_time() {
    let source = source("waits.cc", include_str!("waits.cc"));
    let program = scratch("languages-waits.cc").join("waits");
    let mut compiler = Command::new("c++");
    compiler.args(["-O1", "-o", text(&program), &source]);
    assert!(compiler.status().expect("a C++ compiler").success());
    let ways = [
        "sleep_until",
        "sleep_for",
        "condition",
        "condition_for",
        "future",
    ];
    waits(&[text(&program)], &ways);
}

#[test]
fn scripts_wait_in_skipped_time() {
    let perl = "$s = time; select(undef, undef, undef, 3600); $p = time - $s; \
                print $p >= 3600 && $p < 3700 ? \"select\\n\" : \"select $p\\n\"";
    waits(&["perl", "-e", perl], &["select"]);
    let bash = "sleep 7200 | { read -t 3600; echo $(($? > 128)); }; \
                timeout 3600 sleep 7200; echo $?";
    waits(&["bash", "-c", bash], &["1", "124"]);
    if installed("ruby") {
        let ruby = "s = Process.clock_gettime(Process::CLOCK_MONOTONIC); \
                    sleep 1800; sleep 1800; \
                    p = Process.clock_gettime(Process::CLOCK_MONOTONIC) - s; \
                    puts p >= 3600 && p < 3700 ? 'sleep' : \"sleep #{p}\"";
        waits(&["ruby", "-e", ruby], &["sleep"]);
    }
}

#[test]
fn two_sides_of_a_connection_time_out_in_order() {
    if !installed("python3") {
        return;
    }
    let source = source("protocol.py", include_str!("protocol.py"));
    for kind in ["tcp", "unix", "pipe"] {
        waits(
            &["python3", &source, kind],
            &["ask 1", "answer 1", "ask 2", "late 2", "ask 3", "answer 3"],
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
        waits(&["python3", &source, kind], &["right"]);
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
