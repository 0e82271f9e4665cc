//! `cargo xtask vm`: the lab's front door.

use crate::steps::{self, End, Outcome};
use miette::Diagnostic;
use std::process::ExitCode;
use vdsokit_lab::checks;
use vdsokit_lab::plan::Verdict;
use vdsokit_lab::{BootReport, Check, Error, Which, Workshop};

/// Prints the checks.
pub(crate) fn list() {
    for check in checks::all() {
        let kernels: Vec<&str> = check
            .kernels(Which::All)
            .map(|kernel| kernel.name)
            .collect();
        println!("{:24} {:9} {}", check.name, kernels.join(","), check.why);
        if !check.command_line.is_empty() {
            println!("{:34} on a kernel started with {}", "", check.command_line);
        }
    }
}

/// Runs the checks named, or all, on all their kernels or on the one named, and shows what each
/// printed.
pub(crate) fn run(names: &[String], kernel: Option<&str>) -> ExitCode {
    let checks = match checks::named(names) {
        Ok(checks) => checks,
        Err(unknown) => {
            eprintln!("xtask: no check is called `{unknown}`; `cargo xtask vm --list` shows them");
            return ExitCode::from(2);
        }
    };
    let which = kernel.map_or(Which::All, Which::Named);
    if checks
        .iter()
        .all(|check| check.kernels(which).next().is_none())
    {
        eprintln!(
            "xtask: none of these checks is for that kernel; `cargo xtask vm --list` shows them"
        );
        return ExitCode::from(2);
    }
    match run_checks(&checks, which, true, |_| {}) {
        Ok(End::Passed) => ExitCode::SUCCESS,
        Ok(End::Skipped(what)) | Err(what) => {
            eprintln!("xtask: {what}");
            ExitCode::FAILURE
        }
    }
}

/// The step of `cargo xtask test`: the checks, then the lab's own tests.
pub(crate) fn step() -> Outcome {
    let checks: Vec<&Check> = checks::all().collect();
    let which = match steps::all() {
        true => Which::All,
        false => Which::Ordinary,
    };
    match run_checks(&checks, which, false, |_| {})? {
        End::Passed => steps::cargo(
            &[
                "test",
                "--package",
                "vdsokit-lab",
                "--test",
                "boot",
                "--",
                "--ignored",
            ],
            &[],
        ),
        skipped @ End::Skipped(_) => Ok(skipped),
    }
}

/// Runs checks and shows how they went, with all that they printed if asked to; `each` has
/// every boot's report as well.
pub(crate) fn run_checks(
    checks: &[&Check],
    which: Which<'_>,
    verbose: bool,
    mut each: impl FnMut(&BootReport),
) -> Outcome {
    let (mut passed, mut failed) = (0, Vec::new());
    let result = Workshop::new(steps::root()).and_then(|workshop| {
        vdsokit_lab::run(&workshop, checks, which, |boot| {
            show(boot, verbose);
            each(boot);
            for report in &boot.reports {
                match report.verdict {
                    Verdict::Ok(_) => passed += 1,
                    Verdict::Failed(_) => failed.push(report.name.clone()),
                }
            }
        })
    });
    match result {
        Ok(()) if failed.is_empty() => {
            println!("{passed} checks passed");
            Ok(End::Passed)
        }
        Ok(()) => Err(format!(
            "{passed} checks passed, failed: {}",
            failed.join(", ")
        )),
        Err(error) if error.is_missing() => Ok(End::Skipped(explained(&error))),
        Err(error) => Err(explained(&error)),
    }
}

fn show(boot: &BootReport, verbose: bool) {
    match boot.booted {
        Some(time) => println!("{}: up in {:.1} s", boot.name, time.as_secs_f64()),
        None => println!("{}: never came up", boot.name),
    }
    for report in &boot.reports {
        match &report.verdict {
            Verdict::Ok(time) => println!("  {} ... ok, {:.2} s", report.name, time.as_secs_f64()),
            Verdict::Failed(reason) => println!("  {} ... FAILED: {reason}", report.name),
        }
        if verbose || matches!(report.verdict, Verdict::Failed(_)) {
            for line in report.output.lines() {
                println!("    {line}");
            }
        }
    }
    let failed = |report: &vdsokit_lab::Report| matches!(report.verdict, Verdict::Failed(_));
    if boot.reports.iter().any(failed) {
        println!("  the kernel's messages: {}", boot.console.display());
    }
}

/// An error, what caused it and what to do about it, in one line.
fn explained(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    match error.help() {
        Some(help) => format!("{text} ({help})"),
        None => text,
    }
}
