//! What becomes of a program under `vdso run` when the process that serves it, or its keeper, is killed:
//! it runs to its end with its own exit status, or it does not begin and the launch says why.
//!
//! `kill_at` (tests/programs of vdsokit-deliver) traces the launch, releases the program, and stops its
//! server at each system call. `VDSOKIT_ALL=1` tries each call; otherwise it is a sample.
#![cfg(target_arch = "x86_64")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use common::compiled;

const SOURCE: &str = include_str!("../../deliver/tests/programs/kill_at.c");

/// A program that says the year, starts others, waits and has a status of its own.
const SCRIPT: &str = "date +%Y; sleep 0.01; (date +%Y); date +%Y | cat; exit 7";
const LINES: usize = 3;

/// The year at which it runs.
const YEAR: &str = "2038";

/// The ways of serving it.
const WAYS: [&[&str]; 3] = [&[], &["--strict"], &["--no-follow"]];

fn tool() -> &'static Path {
    static TOOL: OnceLock<PathBuf> = OnceLock::new();
    TOOL.get_or_init(|| compiled("kill_at", SOURCE, &[]))
}

/// Runs the program, and stops `role`, an option of `kill_at`, at call `number`.
fn run(role: &[&str], number: usize, way: &[&str]) -> Output {
    let mut command = Command::new(tool());
    command.arg(number.to_string()).args(role);
    command.args([env!("CARGO_BIN_EXE_vdso"), "run"]).args(way);
    command.args(["--time", "2038-06-01", "--", "sh", "-c", SCRIPT]);
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A system call, and the request of an ioctl(2) or ptrace(2).
type Call = (i64, u64);

/// The calls of a run in which nothing fails.
fn calls(role: &str, way: &[&str]) -> Vec<Call> {
    let output = run(&[role], 0, way);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("text");
    let last = said.lines().last().expect("the calls");
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{said}"));
    let calls = last
        .split_whitespace()
        .map(|word| match word.split_once('/') {
            Some((call, request)) => (number(call), number(request) as u64),
            None => (number(word), 0),
        });
    let calls: Vec<Call> = calls.collect();
    assert!(!calls.is_empty(), "{said}");
    calls
}

/// Every n-th of them, `few` altogether, or all.
fn sample<T>(all: impl IntoIterator<Item = T>, few: usize) -> Vec<T> {
    let all: Vec<T> = all.into_iter().collect();
    let step = match std::env::var_os("VDSOKIT_ALL") {
        Some(_) => 1,
        None => (all.len() / few).max(1),
    };
    all.into_iter().step_by(step).collect()
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The program did not begin, and the launch says why.
    Untried,
    /// It ran at its time.
    Served,
    /// It ran, and a part of it in real time.
    Real,
}

/// How `output` ended; it panics at any other end.
#[track_caller]
fn end(output: &Output, what: &str) -> End {
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{what}: {output:?}");
    let lines: Vec<&str> = said.lines().collect();
    if lines.is_empty() && matches!(output.status.code(), Some(1..=127)) && !errors.is_empty() {
        return End::Untried;
    }
    assert_eq!(output.status.code(), Some(7), "{what}: {output:?}");
    assert_eq!(lines.len(), LINES, "{what}: {output:?}");
    match lines.iter().all(|line| *line == YEAR) {
        true => End::Served,
        false => End::Real,
    }
}

#[test]
fn a_program_outlives_whatever_serves_it() {
    let (mut count, mut untried) = (0, 0);
    for way in WAYS {
        for role in ["--server", "--keeper"] {
            // A tracer has no keeper.
            if role == "--keeper" && way.contains(&"--no-follow") {
                continue;
            }
            let all = calls(role, way).len();
            for number in sample(1..=all, 10) {
                let output = run(&[role], number, way);
                let what = format!("{way:?}, {role} killed at call {number} of {all}");
                untried += usize::from(end(&output, &what) == End::Untried);
                count += 1;
            }
            // Between two calls.
            for number in sample((1..=all).step_by(9), 3) {
                let output = run(&[role, "--steps", "100"], number, way);
                end(
                    &output,
                    &format!("{way:?}, {role} 100 steps behind call {number}"),
                );
                count += 1;
            }
        }
    }
    println!("killed at {count} places; the program had not begun at {untried} of them");
    assert!(untried * 2 < count, "{untried} of {count}");
}

#[test]
fn with_require_no_part_sees_real_time_when_whatever_serves_it_is_killed() {
    let way = ["--require"];
    let (mut count, mut ended) = (0, 0);
    for role in ["--server", "--keeper"] {
        let all = calls(role, &way).len();
        for number in sample(1..=all, 8) {
            let output = run(&[role], number, &way);
            let what = format!("{role} killed at call {number} of {all}: {output:?}");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.lines().all(|line| line == YEAR), "{what}");
            assert!(matches!(output.status.code(), Some(7 | 125)), "{what}");
            ended += usize::from(output.status.code() == Some(125));
            count += 1;
        }
    }
    println!("killed at {count} calls, which ended the program at {ended} of them");
}
