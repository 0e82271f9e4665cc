//! CPython's own tests of what waits.

use std::path::Path;
use std::process::Command;

use super::suites::{Outcome, all, at, ends_the_same};
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

/// The interpreter that has its tests, which Debian has in a package of their own.
fn interpreter() -> Option<&'static str> {
    let has_tests = |python: &&str| {
        let import = ["-c", "import test.test_sched"];
        let output = Command::new(python).args(import).output();
        output.is_ok_and(|output| output.status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(has_tests)
}

/// Runs a module of tests, or one test.
fn outcome(
    python: &str,
    runner: &str,
    directory: &Path,
    way: Option<&str>,
    tests: &str,
) -> Outcome {
    let mut command = at(way, python);
    command.args([runner, tests]).current_dir(directory);
    let output = command.output().expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    // Tests print lines of their own.
    let words: Vec<_> = printed
        .lines()
        .last()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let [count, skipped, failed @ ..] = &words[..] else {
        panic!("{output:?}");
    };
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{output:?}"));
    assert!(output.status.success(), "{output:?}");
    Outcome {
        count: number(count),
        skipped: number(skipped),
        failed: failed.iter().map(ToString::to_string).collect(),
    }
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
    let modules = if all() { &ALL[..] } else { &SAMPLE };
    for module in modules {
        ends_the_same(module, |way, test| {
            outcome(python, &runner, &directory, way, test.unwrap_or(module))
        });
    }
}
