//! The step `mutants`, with `--all` only: cargo-mutants changes one expression at a time, and the
//! crate's own tests have to fail. They have to for at least 95 of 100 changes that compile, in each
//! crate. A change that is equivalent to what was there is excluded in `.cargo/mutants.toml`, with
//! the reason.
//!
//! Doctests and benchmarks are not run: a doctest takes longer to link than the other tests of most
//! crates take to run.

use crate::steps::{self, End, Outcome, root};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The crates to which the bound applies.
const CRATES: [&str; 7] = [
    "vdsokit-vvar",
    "vdsokit-clock",
    "vdsokit-elf",
    "vdsokit-build",
    "vdsokit-publish",
    "vdsokit-virtual-time",
    "vdsokit-waits",
];

/// The least share of viable mutants that tests have to detect, in percent.
const BOUND: f64 = 95.0;

/// Optimised, property tests run some twenty times as fast, and a crate compiles in as short a time.
/// Debug assertions and overflow checks stay.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("CARGO_PROFILE_DEV_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_TEST_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_DEV_DEBUG", "0"),
    ("CARGO_PROFILE_TEST_DEBUG", "0"),
];

/// Crates to run instead of all, separated by spaces.
const SOME: &str = "VDSOKIT_MUTANTS";

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
    let mut below = Vec::new();
    for name in CRATES {
        if !some.is_empty() && !some.contains(&name) {
            continue;
        }
        let counts = run(name)?;
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

fn run(name: &str) -> Result<Counts, String> {
    let output = root().join("target/mutants").join(name);
    fs::create_dir_all(&output).map_err(|error| error.to_string())?;
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["mutants", "--package", name, "--no-shuffle", "--output"])
        .arg(&output)
        .args(["--", "--lib", "--tests"])
        .envs(ENVIRONMENT)
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
    fn a_time_out_counts_as_detected() {
        let counts = Counts {
            caught: 90,
            missed: 5,
            timeout: 5,
        };
        assert!((counts.percent() - 95.0).abs() < 1e-9);
    }
}
