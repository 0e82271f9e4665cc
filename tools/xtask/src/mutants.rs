//! The step `mutants`, with `--all` only: cargo-mutants changes one expression at a time, and the
//! crate's own tests have to fail. They have to for at least 95 of 100 changes that compile, in each
//! crate. A change that is equivalent to what was there is excluded in `.cargo/mutants.toml`, with
//! the reason.
//!
//! Doctests and benchmarks are not run: a doctest takes longer to link than the other tests of most
//! crates take to run. cargo-mutants works on a copy of the tree, so that a run that is interrupted
//! leaves none of its changes; all copies have one target directory, so dependencies are compiled
//! once.

use crate::steps::{self, End, Outcome, root};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A crate, or some files of one, to which the bound applies.
struct Subject {
    package: &'static str,
    /// The optional features that are compiled in; without them a change of theirs changes nothing.
    features: &'static str,
    /// Its files below `src`; empty: all.
    files: &'static [&'static str],
    /// The tests that are run.
    tests: &'static [&'static str],
}

const fn whole(package: &'static str) -> Subject {
    Subject {
        package,
        features: "",
        files: &[],
        tests: &["--lib", "--tests"],
    }
}

const SUBJECTS: [Subject; 8] = [
    Subject {
        features: "mapping",
        ..whole("vdsokit-vvar")
    },
    whole("vdsokit-clock"),
    whole("vdsokit-elf"),
    whole("vdsokit-build"),
    Subject {
        features: "miette",
        ..whole("vdsokit-publish")
    },
    whole("vdsokit-virtual-time"),
    whole("vdsokit-waits"),
    // Those that compute and make no system call.
    Subject {
        files: &[
            "attach/front.rs",
            "attach/record.rs",
            "group.rs",
            "join.rs",
            "link.rs",
            "object/layout.rs",
            "stack.rs",
            "stop.rs",
            "supervisor/frames.rs",
            "unwind.rs",
        ],
        // What they compute is also tested by mapping and attaching it.
        tests: &["--lib", "--test", "mapping", "--test", "attach"],
        ..whole("vdsokit-deliver")
    },
];

/// The least share of viable mutants that tests have to detect, in percent.
const BOUND: f64 = 95.0;

/// Optimised, property tests run some twenty times as fast, and a crate compiles in as short a time.
/// Debug assertions and overflow checks stay. A failure is not reduced to a small one, nor kept: the
/// inputs that detected one change would be tried for those after it.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("CARGO_PROFILE_DEV_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_TEST_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_DEV_DEBUG", "0"),
    ("CARGO_PROFILE_TEST_DEBUG", "0"),
    ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1"),
    ("PROPTEST_MAX_SHRINK_ITERS", "0"),
    ("INSTA_UPDATE", "no"),
];

/// Crates to run instead of all, separated by spaces.
const SOME: &str = "VDSOKIT_MUTANTS";
/// `K/N`: every Nth mutant, from the Kth on (from 0), which is a sample of all files.
const SHARD: &str = "VDSOKIT_MUTANTS_SHARD";

pub(crate) fn step() -> Outcome {
    if !steps::all() {
        return Ok(End::Skipped(
            "it takes hours: `cargo xtask test --all mutants` runs it".into(),
        ));
    }
    if let Err(why) = steps::cargo_tool("mutants", "cargo-mutants") {
        return Ok(End::Skipped(why));
    }
    let some = std::env::var(SOME).unwrap_or_default();
    let some: Vec<&str> = some.split_whitespace().collect();
    if let Some(unknown) = some.iter().find(|name| subject(name).is_none()) {
        let all = SUBJECTS.map(|subject| subject.package).join(", ");
        return Err(format!("{SOME} has `{unknown}`, which is none of {all}"));
    }
    let mut below = Vec::new();
    for subject in &SUBJECTS {
        let name = subject.package;
        if !some.is_empty() && !some.contains(&name) {
            continue;
        }
        let counts = run(subject)?;
        println!("{name}: {counts:?}, {:.1} %", counts.percent());
        if counts.percent() < BOUND {
            below.push(name);
        }
    }
    match below.is_empty() {
        true => Ok(End::Passed),
        false => Err(format!(
            "fewer than {BOUND} % detected in {}; target/mutants/*/mutants.out/missed.txt lists \
             the others",
            below.join(", ")
        )),
    }
}

fn subject(name: &str) -> Option<&'static Subject> {
    SUBJECTS.iter().find(|subject| subject.package == name)
}

/// The results of a crate's mutants, without those that do not compile.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    caught: usize,
    missed: usize,
    /// A test that does not end detects a mutant too.
    timeout: usize,
}

impl Counts {
    fn percent(&self) -> f64 {
        let detected = self.caught + self.timeout;
        100.0 * detected as f64 / (detected + self.missed) as f64
    }
}

fn run(subject: &Subject) -> Result<Counts, String> {
    let name = subject.package;
    let output = root().join("target/mutants").join(name);
    fs::create_dir_all(&output).map_err(|error| error.to_string())?;
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["mutants", "--package", name, "--no-shuffle", "--output"])
        .arg(&output);
    if !subject.features.is_empty() {
        command.args(["--features", subject.features]);
    }
    let directory = name.trim_start_matches("vdsokit-");
    for file in subject.files {
        command.args(["--file", &format!("crates/{directory}/src/{file}")]);
    }
    if let Ok(shard) = std::env::var(SHARD) {
        command.args(["--sharding", "round-robin", "--shard", &shard]);
    }
    command
        .arg("--")
        .args(subject.tests)
        .envs(ENVIRONMENT)
        .env("CARGO_TARGET_DIR", root().join("target/mutants/target"))
        .current_dir(root())
        .stdin(Stdio::null());
    let status = command.status().map_err(|error| error.to_string())?;
    // 2: mutants were missed; 3: some tests timed out. Both are in the lists.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        return Err(format!("{command:?}: {status}"));
    }
    let count = |file: &str| lines(&output.join("mutants.out").join(file));
    let counts = Counts {
        caught: count("caught.txt")?,
        missed: count("missed.txt")?,
        timeout: count("timeout.txt")?,
    };
    match counts == Counts::default() {
        true => Err(format!("{name} has no mutants")),
        false => Ok(counts),
    }
}

fn lines(file: &Path) -> Result<usize, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.lines().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_is_named_exists() {
        for subject in &SUBJECTS {
            let directory = subject.package.trim_start_matches("vdsokit-");
            let source = root().join("crates").join(directory).join("src");
            assert!(source.is_dir(), "{}", subject.package);
            for file in subject.files {
                assert!(source.join(file).is_file(), "{file}");
            }
        }
    }

    #[test]
    fn a_time_out_counts_as_detected() {
        let counts = Counts {
            caught: 90,
            missed: 5,
            timeout: 5,
        };
        assert!((counts.percent() - 95.0).abs() < 1e-9);
    }
}
