//! `cargo xtask fuzz`: the fuzzers of `crates/elf`, each for its share of the runs. Needs nightly
//! Rust and cargo-fuzz; `cargo xtask test` runs their seeds without either.
//!
//! No address sanitizer: the parser has no unsafe code, and without it a fuzzer runs ten times as
//! often. Bounds, overflows and debug assertions are checked.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::steps::root;

/// A fuzzer, whose seeds it begins with, and its share of the runs in percent. `check` asks
/// everything of an image, which costs a hundred times as much as what callers do.
const TARGETS: [(&str, &str, u64); 4] = [
    ("core", "core", 19),
    ("notes", "notes", 50),
    ("image", "image", 30),
    ("check", "image", 1),
];

/// Runs all fuzzers, `runs` times in total, one after the other. What they find goes to
/// `fuzz/artifacts`, what they learn to `fuzz/corpus`, whose seeds alone are committed.
pub(crate) fn run(runs: u64) -> ExitCode {
    for (target, seeds, percent) in TARGETS {
        let share = runs * percent / 100;
        println!("fuzz {target}: {share} runs");
        if let Err(reason) = fuzz(&root(), target, seeds, share) {
            eprintln!("fuzz {target}: {reason}");
            return ExitCode::FAILURE;
        }
    }
    println!("{runs} runs without a finding");
    ExitCode::SUCCESS
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
