//! The step `kernel`: runs every command of docs/adding-a-virtual-system-call.md, and checks
//! the kernel that comes out of it in the lab.

use crate::steps::{self, End, Outcome};
use crate::vm;
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use vdsokit_lab::{BootReport, Check, Which, Workshop, own};

const PAGE: &str = "docs/adding-a-virtual-system-call.md";

/// Minutes that a first build may take; without it, and without `--all`, there is none.
const MINUTES: &str = "VDSOKIT_KERNEL_MINUTES";

/// Instructions of a getter: address, load, return.
const GETTER: usize = 3;

pub(crate) fn step() -> Outcome {
    let workshop = Workshop::new(steps::root()).map_err(|error| error.to_string())?;
    let bound = match std::env::var(MINUTES) {
        _ if own::image(&workshop).is_file() || steps::all() => None,
        Ok(minutes) => Some(
            minutes
                .parse::<u32>()
                .map_err(|_| format!("{MINUTES}={minutes} is no number of minutes"))?,
        ),
        Err(_) => {
            return Ok(End::Skipped(format!(
                "no kernel of our own is built in {}; `cargo xtask test --all kernel` takes the \
                 time (10 minutes on two idle cores), {MINUTES}=20 bounds it",
                own::directory(&workshop).display()
            )));
        }
    };
    if let skipped @ End::Skipped(_) = follow_the_page(&workshop, bound)? {
        return Ok(skipped);
    }
    edit_debians_trees(&workshop)?;
    for function in ["__vdso_number_of_processes", "__vdso_number_of_free_pages"] {
        let count = own::instructions(&own::vdso(&workshop).with_extension("so.dbg"), function)
            .map_err(|error| error.to_string())?;
        println!("{function}: {count} instructions, its return included");
        if count > GETTER {
            return Err(format!("{function} has {count} instructions, not {GETTER}"));
        }
    }
    let checks: Vec<&Check> = own::CHECKS.iter().collect();
    let mut counts = Counts::new();
    let outcome = vm::run_checks(&checks, Which::All, false, |boot| count(boot, &mut counts));
    // Shown whatever else failed.
    let compared = compare_clocks(&workshop, &counts);
    let end = outcome?;
    compared.map(|()| end)
}

/// Instructions of each call, by check and call: with the clock in C, and in Rust.
type Counts = BTreeMap<(String, String), [Option<u32>; 2]>;

/// Takes what a boot counted.
fn count(boot: &BootReport, counts: &mut Counts) {
    for (of, kernel) in [own::CLOCK_IN_C, own::CLOCK_IN_RUST].iter().enumerate() {
        for check in [own::COUNT, own::COUNT_IN_NAMESPACE] {
            let name = format!("{check}@{}", kernel.name);
            for report in boot.reports.iter().filter(|report| report.name == name) {
                for (call, instructions) in own::counted(&report.output) {
                    let key = (check.to_owned(), call.to_owned());
                    counts.entry(key).or_default()[of] = Some(instructions);
                }
            }
        }
    }
}

/// The clock in Rust is to cost no more than the one in C: in instructions of each function, in a
/// time namespace too, and in bytes.
fn compare_clocks(workshop: &Workshop, counts: &Counts) -> Result<(), String> {
    let mut costlier = Vec::new();
    println!("{:64} {:>5} {:>5} {:>5}", "", "C", "Rust", "ratio");
    let mut show = |what: String, [c, rust]: [u64; 2]| {
        println!("{what:64} {c:5} {rust:5} {:5.2}", rust as f64 / c as f64);
        if rust > c {
            costlier.push(what);
        }
    };
    for ((check, call), both) in counts {
        let [Some(c), Some(rust)] = *both else {
            return Err(format!("{check}: {call} was not counted with both clocks"));
        };
        show(format!("{call}, {check}"), [c, rust].map(u64::from));
    }
    if counts.is_empty() {
        return Err("no instructions were counted".into());
    }
    let sizes = [
        own::vdso_with_clock_in_c(workshop),
        own::vdso(workshop).with_extension("so.dbg"),
    ];
    let mut bytes = [0; 2];
    for (image, bytes) in sizes.iter().zip(&mut bytes) {
        *bytes = own::clock_size(image).map_err(|error| error.to_string())?;
    }
    show("bytes of all clock functions and getcpu".into(), bytes);
    if costlier.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more costly in Rust than in C: {}",
        costlier.join("; ")
    ))
}

/// Adds to what Debian has and removes again, comparing every byte.
fn edit_debians_trees(workshop: &Workshop) -> Outcome {
    let mut trees = Vec::new();
    for series in ["6.1", "6.12"] {
        let tree = own::sources(workshop, series).map_err(|error| error.to_string())?;
        trees.push(tree.display().to_string());
    }
    let arguments = [
        "test",
        "--package",
        "vdsokit-linux-tree",
        "--test",
        "tree",
        "--",
        "--ignored",
    ];
    steps::cargo(&arguments, &[("VDSOKIT_LINUX_TREES", &trees.join(":"))])
}

/// Runs the page's commands, in one shell, where they belong.
fn follow_the_page(workshop: &Workshop, minutes: Option<u32>) -> Outcome {
    let page =
        fs::read_to_string(steps::root().join(PAGE)).map_err(|error| format!("{PAGE}: {error}"))?;
    let directory = own::directory(workshop);
    fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let mut command = match minutes {
        None => Command::new("nice"),
        Some(minutes) => {
            let mut command = Command::new("timeout");
            command.args([&format!("{minutes}m"), "nice"]);
            command
        }
    };
    command
        .args(["bash", "-euxo", "pipefail", "-c"])
        .arg(commands(&page))
        .current_dir(&directory)
        .env("VDSOKIT", steps::root())
        .stdin(Stdio::null());
    let status = command.status().map_err(|error| error.to_string())?;
    match status.code() {
        Some(0) => Ok(End::Passed),
        // What timeout(1) ends with.
        Some(124) if minutes.is_some() => Ok(End::Skipped(format!(
            "the kernel was not built within {MINUTES}; the next run goes on from there"
        ))),
        _ => Err(format!("{PAGE}: a command failed: {status}")),
    }
}

/// A user who may not install packages has them already, or the command that needs one fails with
/// its own message.
const NOT_ROOT: &str = r#"
[ "$(id -u)" = 0 ] || apt-get() { [ "$1" != download ] || command apt-get "$@"; }
"#;

/// What a reader of the page types: its blocks of `sh`.
fn commands(page: &str) -> String {
    let mut script = String::from(NOT_ROOT);
    let mut inside = false;
    for line in page.lines() {
        match (inside, line) {
            (false, "```sh") => inside = true,
            (true, "```") => inside = false,
            (true, command) => {
                script.push_str(command);
                script.push('\n');
            }
            (false, _) => {}
        }
    }
    script
}
