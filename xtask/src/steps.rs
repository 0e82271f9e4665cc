//! The steps of `cargo xtask test`: each is a name, a reason and a function.
//!
//! A step fails by returning what went wrong; the others still run, so that one
//! look at the output shows everything there is to mend.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// What a step returns: nothing, or what went wrong in one line.
pub(crate) type Outcome = Result<(), String>;

struct Step {
    name: &'static str,
    why: &'static str,
    run: fn() -> Outcome,
}

/// In the order in which they run: the cheapest first.
const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        why: "the source is formatted",
        run: || cargo(&["fmt", "--all", "--check"], &[]),
    },
    Step {
        name: "clippy",
        why: "no warning in any target",
        run: || {
            cargo(
                &[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ],
                &[],
            )
        },
    },
    Step {
        name: "doc",
        why: "the documentation builds without a warning",
        run: || {
            cargo(
                &["doc", "--workspace", "--no-deps"],
                &[("RUSTDOCFLAGS", "-D warnings")],
            )
        },
    },
    Step {
        name: "unit",
        why: "the crates' own tests, and the examples in their documentation",
        run: || cargo(&["test", "--workspace"], &[]),
    },
];

/// Prints the steps.
pub(crate) fn list() {
    for step in STEPS {
        println!("{:10} {}", step.name, step.why);
    }
}

/// Runs the steps named, or all; tells which failed.
pub(crate) fn run(names: &[String]) -> ExitCode {
    if let Some(unknown) = names
        .iter()
        .find(|name| STEPS.iter().all(|step| step.name != **name))
    {
        eprintln!("xtask: no step is called `{unknown}`; `cargo xtask test --list` shows them");
        return ExitCode::from(2);
    }
    let mut chosen: Vec<&Step> = STEPS.iter().collect();
    if !names.is_empty() {
        chosen = names
            .iter()
            .flat_map(|name| STEPS.iter().find(|step| step.name == *name))
            .collect();
    }
    let mut failures = Vec::new();
    for step in chosen {
        println!("==> {}: {}", step.name, step.why);
        let start = Instant::now();
        if let Err(what) = (step.run)() {
            eprintln!("==> {} FAILED: {what}", step.name);
            failures.push(step.name);
        } else {
            println!("==> {} ok, {:.0?}", step.name, start.elapsed());
        }
    }
    if failures.is_empty() {
        println!("==> all steps passed");
        return ExitCode::SUCCESS;
    }
    eprintln!("==> failed: {}", failures.join(", "));
    ExitCode::FAILURE
}

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Runs cargo at the root of the checkout.
pub(crate) fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root());
    check(&mut command)
}

/// Runs a command to its end; an unhappy end is an error that shows the command.
pub(crate) fn check(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
