//! CPython's own tests of what waits: they pass at another time where they pass without.
//! `VDSOKIT_ALL=1` runs them all, which takes some minutes; otherwise it is a sample.

use std::path::Path;
use std::process::Command;

use super::{scratch, source};

const SAMPLE: [&str; 2] = ["test.test_sched", "test.test_time"];
const ALL: [&str; 8] = [
    "test.test_sched",
    "test.test_time",
    "test.test_datetime",
    "test.test_queue",
    "test.test_selectors",
    "test.test_signal",
    "test.test_threading",
    "test.test_asyncio",
];

const SAMPLE_WAYS: [&str; 2] = ["--offset=+1y", "--skip-idle"];
const ALL_WAYS: [&str; 5] = [
    "--offset=+1y",
    "--offset=-1y",
    "--rate=2",
    "--rate=0.5",
    "--skip-idle",
];

/// How often a test may fail by the load of the machine: those with time-outs of some milliseconds do.
const TRIES: usize = 3;

/// The interpreter that has its tests, which Debian has in a package of their own.
fn interpreter() -> Option<&'static str> {
    let has_tests = |python: &&str| {
        let import = ["-c", "import test.test_sched"];
        let output = Command::new(python).args(import).output();
        output.is_ok_and(|output| output.status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(has_tests)
}

/// What a run of tests printed: how many there are, how many were skipped, and which failed.
struct Outcome {
    counts: Vec<String>,
    failed: Vec<String>,
}

/// Runs `tests`, at another time if there is an option of `vdso run`.
fn outcome(
    python: &str,
    runner: &str,
    directory: &Path,
    way: Option<&str>,
    tests: &[&str],
) -> Outcome {
    let mut command = match way {
        Some(option) => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_vdso"));
            command.args(["run", option, "--", python]);
            command
        }
        None => Command::new(python),
    };
    command.arg(runner).args(tests).current_dir(directory);
    let output = command.output().expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    // Tests print lines of their own.
    let words = printed.lines().last().unwrap_or_default().split(' ');
    let mut counts: Vec<String> = words.map(str::to_owned).collect();
    assert!(output.status.success() && counts.len() >= 2, "{output:?}");
    let failed = counts.split_off(2);
    Outcome { counts, failed }
}

#[test]
fn cpythons_own_tests_pass_at_another_time_as_without() {
    let Some(python) = interpreter() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "no python3 has its tests: libpython3.11-testsuite"
        );
        return;
    };
    let runner = source("cpython.py", include_str!("cpython.py"));
    let directory = scratch("cpython");
    let (modules, ways) = match std::env::var_os("VDSOKIT_ALL") {
        Some(_) => (&ALL[..], &ALL_WAYS[..]),
        None => (&SAMPLE[..], &SAMPLE_WAYS[..]),
    };
    let run = |way, tests: &[&str]| outcome(python, &runner, &directory, way, tests);
    for module in modules {
        let plain = run(None, &[*module]);
        for way in ways {
            let other = run(Some(way), &[*module]);
            assert_eq!(other.counts, plain.counts, "{module} {way}");
            let mut failed = other.failed;
            failed.retain(|test| !plain.failed.contains(test));
            for _ in 1..TRIES {
                failed.retain(|test| !run(Some(way), &[test]).failed.is_empty());
            }
            assert!(failed.is_empty(), "{way}: {failed:?}");
        }
    }
}
