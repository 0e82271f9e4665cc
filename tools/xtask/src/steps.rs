//! The steps of `cargo xtask test`: each is a name, a reason and a function.
//!
//! A step passes, is skipped with a reason, or fails with an error. After a failure the
//! others still run, so that one run shows every fault. Under `CI=true` a skip is a failure,
//! except for the steps that README.md lists.
//!
//! Each step but `lab` is meant to end within about five minutes on two idle cores once its
//! dependencies are compiled. What takes longer runs with `--all` only: `mutants`, `fresh`, `dist`, some rows of `lab`
//! (hours), a first build of the kernel in `kernel` (10 minutes), and in `package` the
//! compilation of each package from its own files.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

/// The result of a step; `Err` is one line that describes the failure.
pub(crate) type Outcome = Result<End, String>;

/// The result of a step that did not fail.
pub(crate) enum End {
    /// It ran without a failure.
    Passed,
    /// It could not run here, for this reason.
    Skipped(String),
}

struct Step {
    name: &'static str,
    why: &'static str,
    /// Whether it may be skipped under CI. README.md lists these steps.
    optional: bool,
    run: fn() -> Outcome,
}

impl Step {
    const fn new(name: &'static str, why: &'static str, run: fn() -> Outcome) -> Self {
        Self {
            name,
            why,
            optional: false,
            run,
        }
    }

    const fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }
}

/// In the order in which they run: the cheapest first.
const STEPS: &[Step] = &[
    Step::new("fmt", "the source is formatted", || {
        cargo(&["fmt", "--all", "--check"], &[])
    }),
    Step::new(
        "tools",
        "what the other steps need is installed",
        crate::tools::step,
    ),
    Step::new("clippy", "no warning in any target", || {
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
        )?;
        // Without the clients of distributed stores.
        cargo(
            &[
                "clippy",
                "--package",
                "vdsokit-cli",
                "--no-default-features",
                "--",
                "-D",
                "warnings",
            ],
            &[],
        )
    }),
    Step::new(
        "targets",
        "the workspace compiles for AArch64 and RISC-V without a warning",
        crate::targets::step,
    )
    .optional(),
    Step::new(
        "msrv",
        "the crates that programs depend on compile with the Rust version that they state",
        crate::msrv::step,
    ),
    Step::new("doc", "the documentation builds without a warning", || {
        let flags = [("RUSTDOCFLAGS", "-D warnings")];
        cargo(
            &["doc", "--workspace", "--no-deps", "--exclude", "vdsokit"],
            &flags,
        )?;
        // Its front page names what features bring, as docs.rs shows it.
        cargo(
            &["doc", "--package", "vdsokit", "--no-deps", "--all-features"],
            &flags,
        )
    }),
    Step::new(
        "package",
        "every public crate can be packaged",
        crate::package::step,
    ),
    Step::new(
        "unit",
        "the crates' own tests, and the examples in their documentation",
        || {
            // Harnesses that stop at each call of a command take a sample otherwise.
            let environment: &[(&str, &str)] = if all() { &[("VDSOKIT_ALL", "1")] } else { &[] };
            cargo(&["test", "--workspace", "--no-fail-fast"], environment)
        },
    ),
    Step::new(
        "loom",
        "the latch under every interleaving and reordering that the memory model allows",
        || {
            cargo(
                &[
                    "test",
                    "--package",
                    "vdsokit-vvar",
                    "--release",
                    "--lib",
                    "--target-dir",
                    "target/loom",
                    "model",
                ],
                &[("RUSTFLAGS", "--cfg loom")],
            )
        },
    ),
    Step::new(
        "miri",
        "the data page's unsafe code under Rust's own rules",
        miri,
    )
    .optional(),
    Step::new(
        "html",
        "the page of `vdso bench` in a real browser, light and dark",
        crate::html::step,
    ),
    Step::new(
        "clock",
        "Linux's own tests of its vDSO against this one, and half a minute of readers on all CPUs",
        || {
            let seconds = std::env::var("VDSOKIT_SOAK").unwrap_or_else(|_| "15".to_owned());
            cargo(
                &[
                    "test",
                    "--package",
                    "vdsokit-clock-image",
                    "--release",
                    "--test",
                    "soak",
                    "--test",
                    "selftests",
                    "--",
                    "--nocapture",
                ],
                &[("VDSOKIT_SOAK", seconds.as_str())],
            )
        },
    ),
    Step::new(
        "lab",
        "what needs a kernel of its own, in emulated machines",
        crate::vm::step,
    ),
    Step::new(
        "reference",
        "the reference kernel boots, and programs read its clock without a system call",
        crate::reference::step,
    )
    .optional(),
    Step::new(
        "kernel",
        "the page about adding functions to Linux, its kernel, and what that kernel does",
        crate::kernel::step,
    )
    .optional(),
    Step::new(
        "fuzz",
        "a short run of each fuzzer; `cargo xtask fuzz` runs them longer",
        crate::fuzz::step,
    )
    .optional(),
    Step::new(
        "mutants",
        "the tests of eight crates detect 95 % of single changes in them; with `--all` only",
        crate::mutants::step,
    )
    .optional(),
    Step::new(
        "dist",
        "the Debian package is clean, and is installed, used and purged; with `--all` only",
        crate::dist::step,
    )
    .optional(),
    Step::new(
        "fresh",
        "all of this from an empty cache, in a root that debootstrap makes; with `--all` only",
        crate::fresh::step,
    )
    .optional(),
];

/// Prints the steps.
pub(crate) fn list() {
    for step in STEPS {
        println!("{:10} {}", step.name, step.why);
    }
}

static ALL: OnceLock<bool> = OnceLock::new();

/// Whether `--all` was given, which permits steps to take longer than a few minutes.
pub(crate) fn all() -> bool {
    ALL.get().copied().unwrap_or(false)
}

/// Runs the named steps, or all when none is named, and prints which failed.
pub(crate) fn run(names: &[String], take_time: bool) -> ExitCode {
    ALL.get_or_init(|| take_time);
    let find = |name: &String| STEPS.iter().find(|step| step.name == *name);
    if let Some(unknown) = names.iter().find(|name| find(name).is_none()) {
        eprintln!("xtask: no step is called `{unknown}`; `cargo xtask test --list` shows them");
        return ExitCode::from(2);
    }
    let chosen: Vec<&Step> = if names.is_empty() {
        STEPS.iter().collect()
    } else {
        names.iter().flat_map(find).collect()
    };
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), Vec::new());
    for step in chosen {
        println!("==> {}: {}", step.name, step.why);
        let start = Instant::now();
        match (step.run)() {
            Ok(End::Passed) => {
                println!("==> {} ok, {:.0?}", step.name, start.elapsed());
                passed += 1;
            }
            Ok(End::Skipped(why)) if step.optional || !ci => {
                println!("==> {} SKIPPED: {why}", step.name);
                skipped.push(step.name);
            }
            Ok(End::Skipped(why)) => {
                eprintln!("==> {} FAILED: skipped under CI: {why}", step.name);
                failed.push(step.name);
            }
            Err(what) => {
                eprintln!("==> {} FAILED: {what}", step.name);
                failed.push(step.name);
            }
        }
    }
    if !skipped.is_empty() {
        println!("==> skipped: {}", skipped.join(", "));
    }
    if !failed.is_empty() {
        println!("==> failed: {}", failed.join(", "));
    }
    println!(
        "steps: {passed} passed, {} failed, {} skipped",
        failed.len(),
        skipped.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the unit tests of the data page under Miri, except the property tests, which would
/// take hours.
fn miri() -> Outcome {
    let rustup = |arguments: &[&str]| {
        Command::new("rustup")
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !rustup(&[
        "component",
        "add",
        "miri",
        "rust-src",
        "--toolchain",
        "nightly",
    ]) {
        return Ok(End::Skipped(
            "rustup has no nightly toolchain with the components miri and rust-src".into(),
        ));
    }
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "cargo", "miri", "test"])
        .args(["--package", "vdsokit-vvar", "--lib"])
        .args(["--target-dir", "target/miri", "--"])
        .args(["latch::", "pages::", "header::"])
        .current_dir(root());
    check(&mut command)
}

/// Whether rustup has a nightly toolchain.
pub(crate) fn has_nightly() -> bool {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "rustc", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Installs PACKAGE by `cargo install` unless `cargo NAME` exists.
pub(crate) fn cargo_tool(name: &str, package: &str) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args([name, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    println!("cargo install {package}");
    cargo(&["install", "--locked", "--quiet", package], &[]).map(drop)
}

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
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

/// Runs a command to its end; a failure is an error that shows the command.
pub(crate) fn check(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Ok(End::Passed),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
