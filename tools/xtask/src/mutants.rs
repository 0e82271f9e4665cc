//! The step `mutants`, with `--all` only: cargo-mutants changes one expression at a time, and the
//! crate's own tests have to notice. At least 95 of 100 changes that compile are to be noticed in
//! each crate. A change that is equivalent to what was there is excluded in `.cargo/mutants.toml`,
//! with the reason.

use crate::steps::{self, End, Outcome, root};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The crates that are held to it.
const CRATES: [&str; 6] = [
    "vdsokit-vvar",
    "vdsokit-clock",
    "vdsokit-elf",
    "vdsokit-build",
    "vdsokit-publish",
    "vdsokit-virtual-time",
];

/// Of a hundred viable mutants, those that are noticed at least.
const BOUND: f64 = 95.0;

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
            "fewer than {BOUND} % noticed in {}; target/mutants/*/mutants.out/missed.txt lists \
             what was not",
            below.join(", ")
        )),
    }
}

/// What became of a crate's mutants; those that do not compile are left out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    caught: usize,
    missed: usize,
    /// A test that never ends notices too.
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
    fn a_time_out_counts_as_noticed() {
        let counts = Counts {
            caught: 90,
            missed: 5,
            timeout: 5,
        };
        assert!((counts.percent() - 95.0).abs() < 1e-9);
    }
}
