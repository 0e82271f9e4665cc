//! Tests that other projects have of their own: they end at another time as they do without.
//! `VDSOKIT_ALL=1` runs them all, which takes half an hour; otherwise it is a sample.

use std::process::Command;

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

/// Whether all tests are run.
pub(super) fn all() -> bool {
    std::env::var_os("VDSOKIT_ALL").is_some()
}

/// A program, at another time if there is an option of `vdso run`.
pub(super) fn at(way: Option<&str>, program: &str) -> Command {
    let Some(option) = way else {
        return Command::new(program);
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdso"));
    command.args(["run", option, "--", program]);
    command
}

/// How a run of tests ended.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) count: usize,
    pub(super) skipped: usize,
    pub(super) failed: Vec<String>,
}

/// Runs all tests of `part` without and with another time, and has those that failed only there tried again.
/// `run` is given the option of `vdso run` and the one test that it is to run.
#[track_caller]
pub(super) fn ends_the_same(part: &str, run: impl Fn(Option<&str>, Option<&str>) -> Outcome) {
    let plain = run(None, None);
    assert!(
        plain.count > plain.failed.len(),
        "{part}: {:?}",
        plain.failed
    );
    let ways = if all() { &ALL_WAYS[..] } else { &SAMPLE_WAYS };
    for way in ways {
        let other = run(Some(way), None);
        let counts = (other.count, other.skipped);
        assert_eq!(counts, (plain.count, plain.skipped), "{part} {way}");
        let fails = |way, test: &String| !run(way, Some(test)).failed.is_empty();
        let mut failed = other.failed;
        failed.retain(|test| !plain.failed.contains(test));
        for _ in 1..TRIES {
            failed.retain(|test| fails(Some(way), test));
        }
        failed.retain(|test| !fails(None, test));
        assert!(failed.is_empty(), "{part} {way}: {failed:?}");
    }
}
