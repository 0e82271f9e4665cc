//! What the reference kernel and `vdsokit-guest` cost: figures of the step `reference`, each counted
//! and none of them a time.

use crate::conformance;
use crate::figures::take;
use crate::reference::{Boot, directory};
use crate::steps::{all, root};
use std::fs;
use std::path::Path;
use std::process::Command;
use vdsokit_figures::{FILE, Figure};

/// What `vdsokit-guest` adds to a kernel: instructions of a timer interrupt, bytes of text.
pub(crate) fn of_the_crate() -> Result<Vec<Figure>, String> {
    let file = std::env::temp_dir().join(format!("vdsokit-guest-{}.tsv", std::process::id()));
    let mut tests = Command::new(env!("CARGO"));
    tests
        .args(["test", "--quiet", "--package", "vdsokit-guest"])
        .args(["--test", "figures", "--test", "size"])
        .env(FILE, &file)
        .current_dir(root());
    // A test also fails when a bound is missed; then the figures are there.
    let status = tests.status().map_err(|error| error.to_string())?;
    let figures = take(&file)?;
    match figures.is_empty() {
        true => Err(format!("{tests:?}: {status}")),
        false => Ok(figures),
    }
}

/// The physical lines of the reference kernel's Rust: its crate, the crate of its vDSO and its build
/// script, with comments and blank lines and without the programs in `conformance`. It has no bound: the
/// aim is 8,000.
pub(crate) fn lines() -> Result<Figure, String> {
    let mut lines = 0;
    for part in ["src", "vdso/src", "build.rs"] {
        lines += lines_of(&directory().join(part)).map_err(|error| format!("{part}: {error}"))?;
    }
    Ok(Figure::number("kernel-lines", lines as f64, "", None))
}

fn lines_of(path: &Path) -> std::io::Result<usize> {
    if path.extension().is_some_and(|extension| extension == "rs") {
        return Ok(fs::read_to_string(path)?.lines().count());
    }
    if !path.is_dir() {
        return Ok(0);
    }
    fs::read_dir(path)?
        .map(|entry| lines_of(&entry?.path()))
        .sum()
}

/// What calls and functions cost on the reference kernel of an architecture, in instructions; with
/// `--all` also what Linux's own vDSO costs there.
pub(crate) fn of_calls(boot: &Boot) -> Result<Vec<Figure>, String> {
    let output = boot.output(1, &[], &["counts"])?;
    let count = |name| counted(&output, name);
    let name = |figure| format!("{}-{figure}", boot.architecture.machine().debian);
    let share = |figure, cheap, dear, bound: f64| -> Result<Figure, String> {
        let ratio = count(cheap)? / count(dear)?;
        Ok(Figure::number(name(figure), ratio, "x", bound))
    };
    let clock = count("clock_by_page")?;
    let of_linux = match all() {
        true => {
            let linux = conformance::boot_linux(boot.architecture, "counts")?;
            let output = conformance::run_linux(&linux, 1, &["counts"], false)?;
            let ratio = clock / counted(&output, "clock_by_page")?;
            Figure::number(name("clock-of-linux"), ratio, "x", 1.0)
        }
        false => Figure::skipped(name("clock-of-linux"), "with --all only: it boots Linux"),
    };
    Ok(vec![
        Figure::number(name("clock-by-page"), clock, "instructions", None),
        of_linux,
        share("clock-of-call", "clock_by_page", "clock_by_call", 0.2)?,
        share(
            "getppid-of-call",
            "getppid_by_page",
            "getppid_by_call",
            0.05,
        )?,
        share("batch-of-16-calls", "batch_of_16", "16_calls", 0.25)?,
    ])
}

/// What `kernel/conformance/counts.c` printed for a name.
fn counted(output: &str, name: &str) -> Result<f64, String> {
    let prefix = format!("count: {name} ");
    let count = |line: &str| line.strip_prefix(&prefix)?.trim().parse().ok();
    let found = output.lines().find_map(count);
    found.ok_or_else(|| format!("{name} was not counted: {output}"))
}
