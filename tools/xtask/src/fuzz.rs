//! `cargo xtask fuzz`: the fuzzers of every parser of untrusted bytes, each for its
//! share of the runs; and the step `fuzz`, a short run of each. They need nightly Rust and
//! cargo-fuzz.
//!
//! No address sanitizer: the parsers have no unsafe code, and without it a fuzzer runs ten times as
//! often. Bounds, overflows and debug assertions are checked.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::steps::{self, End, Outcome, root};

/// A fuzzer, the directory of its seeds, and its share of the runs in percent. `check` applies
/// every rule to an image and `declaration` builds one, which costs a hundred times as much as
/// a run of the others.
const TARGETS: [(&str, &str, u64); 12] = [
    ("core", "core", 14),
    ("notes", "notes", 20),
    ("image", "image", 20),
    ("check", "image", 1),
    ("directory", "directory", 20),
    ("btf", "btf", 7),
    ("kallsyms", "kallsyms", 7),
    ("declaration", "declaration", 1),
    ("assignments", "assignments", 2),
    ("keys", "keys", 2),
    ("proc", "proc", 4),
    ("machine", "machine", 2),
];

/// Runs of the step, all fuzzers together: about a minute, enough for shallow faults.
const STEP: u64 = 1_000_000;

/// Runs all fuzzers, `runs` times in total, one after the other. Inputs that fail go to
/// `fuzz/artifacts`, inputs that reach new code to `fuzz/corpus`, where only seeds are committed.
pub(crate) fn run(runs: u64) -> ExitCode {
    match all(runs) {
        Ok(()) => {
            println!("{runs} runs without a finding");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Outcome {
    if !steps::has_nightly() {
        return Ok(End::Skipped("there is no nightly toolchain".into()));
    }
    if let Err(why) = steps::cargo_tool("fuzz", "cargo-fuzz") {
        return Ok(End::Skipped(why));
    }
    all(STEP).map(|()| End::Passed)
}

fn all(runs: u64) -> Result<(), String> {
    for (target, seeds, percent) in TARGETS {
        let share = runs * percent / 100;
        println!("fuzz {target}: {share} runs");
        fuzz(&root(), target, seeds, share).map_err(|why| format!("fuzz {target}: {why}"))?;
    }
    Ok(())
}

fn fuzz(root: &Path, target: &str, seeds: &str, runs: u64) -> Result<(), String> {
    let corpus = |name: &str| root.join("fuzz/corpus").join(name);
    let learned = corpus(target);
    std::fs::create_dir_all(&learned).map_err(|error| error.to_string())?;
    let status = Command::new("rustup")
        .args(["run", "nightly", "cargo", "fuzz", "run", "--sanitizer=none"])
        .arg(target)
        .args([learned, corpus(seeds)])
        .arg("--")
        .arg(format!("-runs={runs}"))
        .args(["-max_len=4096", "-timeout=10", "-detect_leaks=0"])
        .arg("-print_final_stats=1")
        .current_dir(root)
        .status()
        .map_err(|error| format!("rustup: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "{status}; it needs `rustup toolchain install nightly` and `cargo install cargo-fuzz`"
    ))
}
