//! `cargo xtask figures [NAME…]`: every figure of the project in one table of name, measured,
//! bound and verdict. Times are measured here only; what is counted in instructions is a test.

mod languages;
mod programs;

use crate::steps::root;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use vdsokit_figures::{FILE, Figure, status, table};

/// Figures that are measured together.
struct Group {
    name: &'static str,
    why: &'static str,
    how: How,
}

enum How {
    /// A benchmark of a package, which ends with `vdsokit_figures::finish`.
    Bench(&'static str, &'static str),
    /// Programs, started with and without `vdso run`.
    Programs,
    /// Readers in the languages that modules are generated for.
    Languages,
}

const fn bench(
    name: &'static str,
    why: &'static str,
    package: &'static str,
    bench: &'static str,
) -> Group {
    Group {
        name,
        why,
        how: How::Bench(package, bench),
    }
}

const GROUPS: [Group; 11] = [
    bench(
        "variables",
        "reading and publishing variables, beside an atomic, a shared library and iceoryx2",
        "vdsokit-bench",
        "vvar",
    ),
    bench(
        "lookup",
        "looking functions up in an image, beside other crates",
        "vdsokit-bench",
        "lookup",
    ),
    bench(
        "first-call",
        "the first reading of the clock in a process, beside other crates",
        "vdsokit-bench",
        "first_call",
    ),
    bench(
        "clock",
        "reading the clock from Rust, beside std, quanta and minstant",
        "vdsokit-bench",
        "clock",
    ),
    bench(
        "current",
        "reading the running task's page, beside a load, the kernel's clock and system calls",
        "vdsokit-bench",
        "current",
    ),
    bench(
        "feed",
        "from a write in a store to a load, beside a client's callback",
        "vdsokit-bench",
        "feed",
    ),
    bench(
        "publishing",
        "publishing by lines of text: `vdso serve --stdin`",
        "vdsokit-bench",
        "lines",
    ),
    bench(
        "calls",
        "the functions of the clock's image, beside the kernel's own",
        "vdsokit-clock-image",
        "calls",
    ),
    bench(
        "images",
        "building images and looking functions up, by their size",
        "vdsokit-build",
        "images",
    ),
    Group {
        name: "programs",
        why: "what programs at another time pay for it, beside libfaketime",
        how: How::Programs,
    },
    Group {
        name: "languages",
        why: "a read in each language, with the modules of `vdso build --bindings`",
        how: How::Languages,
    },
];

/// Prints the groups, and the names of the figures of programs.
pub(crate) fn list() {
    for group in &GROUPS {
        println!("{:12} {}", group.name, group.why);
    }
    for name in programs::names() {
        println!("  {name}");
    }
}

/// Measures the groups that are named, and of programs also single figures; all when none is
/// named.
pub(crate) fn run(names: &[String], vdso: Option<PathBuf>) -> ExitCode {
    let is_known = |name: &String| {
        GROUPS.iter().any(|group| group.name == name)
            || programs::names().any(|program| program == name)
    };
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        eprintln!(
            "xtask: no figure is called `{unknown}`; `cargo xtask figures --list` names them"
        );
        return ExitCode::from(2);
    }
    let mut figures = Vec::new();
    for group in &GROUPS {
        let whole = names.is_empty() || names.iter().any(|name| name == group.name);
        let measured = match group.how {
            How::Bench(package, bench) if whole => run_bench(package, bench),
            How::Programs => {
                let wanted = |name: &str| whole || names.iter().any(|wanted| wanted == name);
                programs::measure(vdso.as_deref(), wanted)
            }
            How::Languages if whole => languages::measure(vdso.as_deref()),
            How::Bench(..) | How::Languages => continue,
        };
        match measured {
            Ok(measured) => figures.extend(measured),
            Err(error) => {
                eprintln!("{}: {error}", group.name);
                return ExitCode::FAILURE;
            }
        }
    }
    print!("{}", table(&figures));
    status(&figures)
}

/// Runs a benchmark and reads the figures that it leaves in a file.
fn run_bench(package: &str, bench: &str) -> Result<Vec<Figure>, String> {
    let file = std::env::temp_dir().join(format!("vdsokit-figures-{}.tsv", std::process::id()));
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["bench", "--quiet", "--package", package, "--bench", bench])
        .env(FILE, &file)
        .current_dir(root());
    // Its status also says that a bound was missed; then the figures are there.
    let status = cargo.status().map_err(|error| error.to_string())?;
    let figures = take(&file)?;
    match figures.is_empty() {
        true => Err(format!("{cargo:?}: {status}")),
        false => Ok(figures),
    }
}

/// Reads the figures that a program left in a file, and removes it.
pub(crate) fn take(file: &Path) -> Result<Vec<Figure>, String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let _ = fs::remove_file(file);
    let parse = |line| Figure::parse(line).ok_or_else(|| format!("no figure: {line:?}"));
    text.lines().map(parse).collect()
}
