//! `cargo xtask figures`: what a program at another time pays for it, beside the same program
//! without, and beside libfaketime where that is installed (Debian: faketime).
//!
//! All ways of a table are measured in turn, so that a busy machine is busy for each. What is
//! held against its bound is the least of all turns: what the work takes. How much the median is
//! over that tells how busy the machine was.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const READS: &str = include_str!("reads.c");
const STEP: &str = include_str!("step.c");

const MAKEFILE: &str =
    "T := $(addprefix t,$(shell seq 200))\nall: $(T)\n$(T): ; @true --\n.PHONY: all $(T)\n";

/// How a program is started: what comes before it.
type Before = Vec<String>;

/// Where the ways of a table are: the first is the program as it is, then those that are held
/// against the bounds.
const OFFSET: usize = 2;
const RATE: usize = 3;
const FROZEN: usize = 4;
const LIBFAKETIME: usize = 5;

/// What many turns took.
#[derive(Clone, Copy)]
struct Seen {
    least: f64,
    median: f64,
}

/// A figure and its bound.
struct Line {
    what: &'static str,
    unit: &'static str,
    measured: f64,
    bound: f64,
}

pub(crate) fn run(vdso: Option<PathBuf>) -> ExitCode {
    match measure(vdso) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(vdso: Option<PathBuf>) -> Result<(), String> {
    let vdso = vdso.map_or_else(program, |vdso| {
        vdso.canonicalize()
            .map_err(|error| format!("{}: {error}", vdso.display()))
    })?;
    let scratch = std::env::temp_dir().join(format!("vdsokit-figures-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).map_err(|error| error.to_string())?;
    let outcome = tables(&vdso, &scratch);
    std::fs::remove_dir_all(&scratch).map_err(|error| error.to_string())?;
    summary(&outcome?);
    Ok(())
}

/// The program, as it is to be installed.
fn program() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--profile", "dist", "--package", "vdsokit-cli"]);
    succeed(cargo.current_dir(&root))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(target.join("dist/vdso"))
}

fn tables(vdso: &Path, scratch: &Path) -> Result<Vec<Line>, String> {
    let ways = ways(vdso);
    let mut lines = Vec::new();
    let mut line = |what, unit, measured, bound| {
        lines.push(Line {
            what,
            unit,
            measured,
            bound,
        });
    };

    let reads = compile(scratch, "reads", READS)?;
    let seen = table("a read of CLOCK_REALTIME, ns", &ways, 15, |way| {
        number(&succeed(&mut command(way, &reads))?)
    })?;
    let faked = [
        (OFFSET, "a clock read at an offset"),
        (RATE, "a clock read at another rate"),
        (FROZEN, "a clock read of time that stands still"),
    ];
    for (at, what) in faked {
        line(what, "×", seen[at].least / seen[0].least, 1.12);
    }

    let seen = table("start and end of a program (true), ms", &ways, 101, |way| {
        elapsed(&mut command(way, Path::new("true")))
    })?;
    let more = |at: usize| seen[at].least - seen[0].least;
    line("start of a program, more", "ms", more(OFFSET), 1.0);
    if seen.len() > LIBFAKETIME {
        let what = "start of a program, more, to libfaketime's";
        line(what, "ms", more(OFFSET), more(LIBFAKETIME));
    }

    let makefile = makefile(scratch)?;
    let seen = table("make -j2 of 200 processes, ms", &ways, 9, |way| {
        let mut make = command(way, Path::new("make"));
        elapsed(make.args(["-s", "-j2", "-f"]).arg(&makefile))
    })?;
    let ratio = seen[OFFSET].least / seen[0].least;
    line("make -j2 of 200 short processes", "×", ratio, 1.25);

    let step = compile(scratch, "step", STEP)?;
    let seen = steps(vdso, &step, 9)?;
    line("a step, seen by 100 processes", "ms", seen.least, 10.0);
    Ok(lines)
}

/// The ways to start a program, and what each is called.
fn ways(vdso: &Path) -> Vec<(&'static str, Before)> {
    let run = |options: &[&str]| at(vdso, options);
    let mut ways = vec![
        ("not faked", Before::new()),
        ("vdso run", run(&[])),
        ("--offset -30d", run(&["--offset", "-30d"])),
        ("--rate 60", run(&["--rate", "60"])),
        ("--freeze", run(&["--freeze"])),
    ];
    let faketime = ["faketime", "-f", "-30d"].map(str::to_owned).to_vec();
    match Command::new("faketime").arg("--version").output() {
        Ok(_) => ways.push(("libfaketime -30d", faketime)),
        Err(error) => println!("libfaketime is left out: {error}"),
    }
    ways
}

/// `vdso run OPTIONS --`.
fn at(vdso: &Path, options: &[&str]) -> Before {
    let words = [&["run"], options, &["--"]].concat();
    let words = words.into_iter().map(str::to_owned);
    std::iter::once(vdso.display().to_string())
        .chain(words)
        .collect()
}

fn makefile(scratch: &Path) -> Result<PathBuf, String> {
    let makefile = scratch.join("Makefile");
    std::fs::write(&makefile, MAKEFILE).map_err(|error| error.to_string())?;
    // Older than every time that it is made at: make warns of files from the future.
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = std::fs::File::options().write(true).open(&makefile);
    file.and_then(|file| file.set_modified(old))
        .map_err(|error| error.to_string())?;
    Ok(makefile)
}

/// Measures steps of the time of 100 processes, made from outside, from the start of the command
/// that makes them.
fn steps(vdso: &Path, program: &Path, turns: usize) -> Result<Seen, String> {
    let (mut from_start, mut from_end) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        // Another name each time: it goes with its tracer, a moment after its program.
        let name = format!("figures-{}-{turn}", std::process::id());
        let mut processes = command(&at(vdso, &["--name", &name]), program);
        let processes = processes.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut processes = processes.spawn().map_err(|error| error.to_string())?;
        let said = processes.stdout.take().ok_or("its output is a pipe")?;
        let mut said = BufReader::new(said).lines();
        let mut hear = |what: &str| match said.next() {
            Some(Ok(line)) if line == what => Ok(()),
            other => Err(format!("{what:?} was expected: {other:?}")),
        };
        hear("ready")?;
        let start = Instant::now();
        succeed(Command::new(vdso).args(["clock", &name, "step", "+1h"]))?;
        let end = Instant::now();
        hear("seen")?;
        from_start.push(start.elapsed().as_secs_f64() * 1e3);
        from_end.push(end.elapsed().as_secs_f64() * 1e3);
        processes.wait().map_err(|error| error.to_string())?;
    }
    let (seen, end) = (seen(from_start), seen(from_end));
    heading("a step, until the last of 100 processes that look every 4 ms has seen it, ms");
    for (name, seen) in [("from its start", seen), ("from its end", end)] {
        println!("  {name:<22}{:>9.2}{:>10.2}", seen.least, seen.median);
    }
    Ok(seen)
}

/// Measures all ways in turn, and prints of each how it compares with the first.
fn table(
    title: &str,
    ways: &[(&str, Before)],
    turns: usize,
    mut measure: impl FnMut(&Before) -> Result<f64, String>,
) -> Result<Vec<Seen>, String> {
    let mut all = vec![Vec::new(); ways.len()];
    for _ in 0..turns {
        for ((_, way), seen) in ways.iter().zip(&mut all) {
            seen.push(measure(way)?);
        }
    }
    let all: Vec<Seen> = all.into_iter().map(seen).collect();
    heading(title);
    for ((name, _), seen) in ways.iter().zip(&all) {
        let (ratio, more) = (seen.least / all[0].least, seen.least - all[0].least);
        println!(
            "  {name:<22}{:>9.2}{:>10.2}{ratio:>10.3} ×{more:>+10.2}",
            seen.least, seen.median
        );
    }
    Ok(all)
}

fn heading(title: &str) {
    println!("{title}\n  {:<22}{:>9}{:>10}", "", "least", "median");
}

fn summary(lines: &[Line]) {
    println!("{:<46}{:>12}", "", "measured / at most");
    for line in lines {
        let Line {
            what,
            unit,
            measured,
            bound,
        } = line;
        let verdict = if measured <= bound { "" } else { "  OVER" };
        println!("{what:<46}{measured:>8.2} / {bound:.2} {unit}{verdict}");
    }
}

fn seen(mut turns: Vec<f64>) -> Seen {
    turns.sort_by(f64::total_cmp);
    Seen {
        least: turns.first().copied().unwrap_or(f64::NAN),
        median: turns.get(turns.len() / 2).copied().unwrap_or(f64::NAN),
    }
}

fn number(text: &str) -> Result<f64, String> {
    let number = text.trim().parse();
    number.map_err(|_| format!("{text:?} is no number"))
}

/// `program`, with the words before it.
fn command(way: &Before, program: &Path) -> Command {
    let Some((first, rest)) = way.split_first() else {
        return Command::new(program);
    };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}

fn compile(scratch: &Path, name: &str, source: &str) -> Result<PathBuf, String> {
    let program = scratch.join(name);
    let file = program.with_extension("c");
    std::fs::write(&file, source).map_err(|error| error.to_string())?;
    succeed(
        Command::new("cc")
            .args(["-O2", "-o"])
            .arg(&program)
            .arg(&file),
    )?;
    Ok(program)
}

/// Milliseconds that a command takes.
fn elapsed(command: &mut Command) -> Result<f64, String> {
    let start = Instant::now();
    succeed(command)?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Runs it, and gives back what it printed.
fn succeed(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
