//! `cargo xtask figures`: what a program at another time pays for it, beside the same program
//! without, and beside libfaketime where that is installed (Debian: faketime).
//!
//! All columns of a line are measured in turn, so that a busy machine is busy for each; what
//! is to be compared are ratios.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Nanoseconds a read of `CLOCK_REALTIME` takes: the least of 20 batches. Timed by system
/// call, since the clocks of libc are what is measured.
const READS: &str = r#"
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static long real(void) { struct timespec t; syscall(SYS_clock_gettime, CLOCK_MONOTONIC_RAW, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec; }
int main(void) {
    double least = 1e9;
    for (int batch = 0; batch < 20; batch++) {
        struct timespec t;
        long start = real();
        for (int i = 0; i < 100000; i++) clock_gettime(CLOCK_REALTIME, &t);
        double each = (real() - start) / 1e5;
        if (each < least) least = each;
    }
    printf("%f\n", least);
}
"#;

/// 100 processes that look at the time each millisecond; then a step by the command given.
/// Microseconds from its start, and from its end, until the last process has seen it.
const STEP: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
enum { COUNT = 100 };
static long real(void) { struct timespec t; syscall(SYS_clock_gettime, CLOCK_MONOTONIC_RAW, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec; }
int main(int count, char **arguments) {
    long *seen = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int ready[2];
    char byte = 0;
    if (count < 2 || seen == MAP_FAILED || pipe(ready)) return 1;
    time_t before = time(0);
    for (int i = 0; i < COUNT; i++) if (!fork()) {
        if (write(ready[1], &byte, 1) != 1) _exit(1);
        while (time(0) < before + 1800) usleep(1000);
        seen[i] = real();
        _exit(0);
    }
    for (int i = 0; i < COUNT; i++) if (read(ready[0], &byte, 1) != 1) return 1;
    long start = real();
    if (system(arguments[1])) return 1;
    long end = real(), last = 0;
    for (int i = 0; i < COUNT; i++) wait(0);
    for (int i = 0; i < COUNT; i++) if (seen[i] > last) last = seen[i];
    printf("%ld %ld\n", (last - start) / 1000, (last > end ? last - end : 0) / 1000);
}
"#;

const MAKEFILE: &str =
    "T := $(addprefix t,$(shell seq 200))\nall: $(T)\n$(T): ; @true --\n.PHONY: all $(T)\n";

/// How a program is started: what comes before it.
type Before = Vec<String>;

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
    outcome
}

/// The program, in the release profile.
fn program() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--package", "vdsokit-cli"]);
    succeed(cargo.current_dir(&root))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(target.join("release/vdso"))
}

fn tables(vdso: &Path, scratch: &Path) -> Result<(), String> {
    let reads = compile(scratch, "reads", READS)?;
    let step = compile(scratch, "step", STEP)?;
    let run = |options: &[&str]| -> Before {
        let words = [&["run"], options, &["--"]].concat();
        let words = words.into_iter().map(str::to_owned);
        std::iter::once(vdso.display().to_string())
            .chain(words)
            .collect()
    };
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

    table("a read of CLOCK_REALTIME, ns", &ways, 7, |way| {
        let said = succeed(command(way).arg(&reads))?;
        said.trim()
            .parse()
            .map_err(|_| format!("{said:?} is no number"))
    })?;
    table("start and end of a program (true), ms", &ways, 41, |way| {
        elapsed(command(way).arg("true")).map(|time| time.as_secs_f64() * 1e3)
    })?;
    let makefile = scratch.join("Makefile");
    std::fs::write(&makefile, MAKEFILE).map_err(|error| error.to_string())?;
    // Older than every time that it is made at: make warns of files from the future.
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = std::fs::File::options().write(true).open(&makefile);
    file.and_then(|file| file.set_modified(old))
        .map_err(|error| error.to_string())?;
    table("make -j2 of 200 processes, ms", &ways, 5, |way| {
        let mut make = command(way);
        let make = make.args(["make", "-s", "-j2", "-f"]).arg(&makefile);
        elapsed(make).map(|time| time.as_secs_f64() * 1e3)
    })?;

    println!("a step, until the last of 100 processes that look each ms has seen it, ms");
    println!("  {:<18}{:>12}{:>14}", "", "from start", "from end");
    for turn in 1..=3 {
        let name = format!("figures-{}", std::process::id());
        let stepped = format!("{} clock {name} step +1h 2>/dev/null", vdso.display());
        let words = run(&["--name", &name]);
        let said = succeed(command(&words).arg(&step).arg(stepped))?;
        let (start, end) = said
            .trim()
            .split_once(' ')
            .ok_or("two numbers were expected")?;
        let milliseconds = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN) / 1e3;
        let (start, end) = (milliseconds(start), milliseconds(end));
        println!("  {:<18}{start:>12.2}{end:>14.2}", format!("run {turn}"));
    }
    Ok(())
}

/// Measures all ways in turn, and prints of each the median, and its ratio to the first's.
fn table(
    title: &str,
    ways: &[(&str, Before)],
    turns: usize,
    mut measure: impl FnMut(&Before) -> Result<f64, String>,
) -> Result<(), String> {
    let mut seen = vec![Vec::new(); ways.len()];
    for _ in 0..turns {
        for ((_, way), seen) in ways.iter().zip(&mut seen) {
            seen.push(measure(way)?);
        }
    }
    let medians: Vec<f64> = seen.iter_mut().map(|seen| median(seen)).collect();
    println!("{title}: median of {turns}");
    for ((name, _), median) in ways.iter().zip(&medians) {
        let (ratio, more) = (median / medians[0], median - medians[0]);
        println!("  {name:<18}{median:>12.2}{ratio:>9.3} ×{more:>+10.2}");
    }
    Ok(())
}

fn median(seen: &mut [f64]) -> f64 {
    seen.sort_by(f64::total_cmp);
    seen.get(seen.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The program to start, with the words before it.
fn command(way: &Before) -> Command {
    // env(1), so that there is a program to start where nothing comes before it.
    let mut command = Command::new("env");
    command.args(way);
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

fn elapsed(command: &mut Command) -> Result<Duration, String> {
    let start = Instant::now();
    succeed(command)?;
    Ok(start.elapsed())
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
