//! `vdso serve`: publishes a vDSO.

#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod clock;
#[cfg(target_arch = "x86_64")]
pub(crate) mod current;
mod kernel;
pub(crate) mod notify;
pub(crate) mod report;

use crate::published::SYSTEM;
use crate::values::QUOTING;
use crate::{image, signals};
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
use clock::TimeSource;
use miette::{Result, miette};
use report::Reporter;
use serde_json::json;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use vdsokit_publish::serve::Heartbeat;
use vdsokit_publish::{Options, Publisher, place};
use vdsokit_sources::system::System;

/// Publish a vDSO until the input ends or a signal arrives
///
/// The initial values are those of the previous publisher. SIGTERM, SIGINT and SIGHUP end the
/// publication and retire the vDSO. Exit status: 0 after an orderly end, 1 otherwise, and also
/// when a line of the input was refused.
///
/// With --kernel, a declaration in which a variable has `kernel = "…"`, or the image of a crate in which one
/// has `#[kernel = "…"]`, the running kernel is the publisher, at each tick; this process copies its values to the file for all programs that
/// load it. If this process is killed, the kernel goes on, and `vdso serve FILE` copies again; `vdso
/// run --object FILE` gives a program the kernel's own pages, without any copying.
///
/// In a systemd service of Type=notify the service is ready when the vDSO is live.
#[derive(clap::Args)]
#[command(after_long_help = QUOTING)]
pub(crate) struct Arguments {
    /// An image, published in place; a declaration (*.toml), whose image is written beside it, or in
    /// the RuntimeDirectory= of a systemd service; `system`, this machine's own numbers; `clock`, its time, for `vdso run --clock`; or `current`,
    /// the running task's ids and CPU times, for `vdso run --current` (x86-64)
    #[arg(required_unless_present = "kernel")]
    file: Option<PathBuf>,
    /// Publish a variable of the running kernel: `nr_threads:i32`, `load_averages`,
    /// `init_uts_ns.name.release`, `NAME=EXPRESSION`; may be repeated. `vdso kernel vars` lists
    /// them
    #[arg(long, value_name = "VARIABLE", conflicts_with_all = ["file", "stdin"])]
    kernel: Vec<String>,
    /// Copy the kernel's variables after this event, besides each tick: a tracepoint such as
    /// `sched_process_fork`, `fexit:FUNCTION` or `fentry:FUNCTION`; may be repeated
    #[arg(
        long,
        value_name = "EVENT",
        requires = "kernel",
        conflicts_with = "file"
    )]
    on: Vec<String>,
    /// Set the kernel up to publish, and exit: `vdso retire` ends the publication
    #[arg(long, conflicts_with = "stdin")]
    detach: bool,
    /// Also publish addresses of the kernel, which help an attacker
    #[arg(long)]
    allow_addresses: bool,
    /// Read values from lines of the standard input: `name=value`, `name.field=value`, several with
    /// blanks between; fields on one line are written together
    #[arg(long)]
    stdin: bool,
    /// Time between heartbeats, between samples of `system`, and between copies of the kernel's
    /// values [default: 100ms, and 10ms for the kernel's]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    every: Option<Duration>,
    /// The file in which to publish a declaration's image, `system`, `clock`, or the kernel's
    /// variables
    #[arg(short = 'o', long, value_name = "FILE")]
    at: Option<PathBuf>,
    /// Replace the file even where its layout has a variable that the new image moves, retypes or
    /// drops. Programs that were built against the old layout then read other values
    #[arg(long, conflicts_with = "detach")]
    replace: bool,
    /// The source of the time of `clock`. The counter is compared with the kernel's clocks every
    /// 5 ms; if this process does not run for 20 ms, readers use the kernel's clocks
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    ))]
    #[arg(long, value_enum, default_value = "auto")]
    source: TimeSource,
    /// Publish the limits of this control group in `system`, in place of the publisher's own: for its processes,
    /// as a container's
    #[arg(long, value_name = "DIR", conflicts_with = "kernel")]
    cgroup: Option<PathBuf>,
    /// Let this user read about the user's own tasks in `current`: a user's name or number, or a
    /// group's name for each of its members; may be repeated
    #[cfg(target_arch = "x86_64")]
    #[arg(long, value_name = "NAME", conflicts_with = "kernel")]
    group: Vec<String>,
    /// Let everybody read about all tasks in `current`: which task runs on which CPU, when, and for
    /// how long
    #[cfg(target_arch = "x86_64")]
    #[arg(long, conflicts_with_all = ["group", "kernel"])]
    world: bool,
    /// Print events as JSON, a line each
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// How to create the file.
    fn options(&self) -> Options {
        Publisher::options().replace(self.replace)
    }
}

/// The default time between heartbeats.
const EVERY: Duration = Duration::from_millis(100);

/// Parses `250us`, `100ms`, `2s`, `1min`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "min" => 60.0,
        _ => return Err("write a number and one of us, ms, s, min".into()),
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| "it does not begin with a number")?;
    match Duration::try_from_secs_f64(number * unit) {
        Ok(time) if time >= Duration::from_micros(1) => Ok(time),
        _ => Err("the time must be at least 1us".into()),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let reporter = Reporter::new(arguments.json);
    if arguments.cgroup.is_some() && !arguments.file.as_deref().is_some_and(is_system) {
        return Err(miette!(
            help = "`vdso serve system --cgroup DIR -o FILE`",
            "`--cgroup` names whose limits `system` has"
        ));
    }
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    ))]
    if arguments.file.as_deref().is_some_and(clock::is_clock) {
        return clock::run(arguments, &reporter);
    }
    #[cfg(target_arch = "x86_64")]
    {
        if arguments.file.as_deref().is_some_and(current::is_current) {
            return current::run(arguments, &reporter);
        }
        if arguments.world || !arguments.group.is_empty() {
            return Err(miette!(
                help = "`vdso serve current --group NAME`",
                "`--group` and `--world` say who may read `current`"
            ));
        }
    }
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )))]
    if arguments.file.as_deref() == Some(Path::new(crate::published::CLOCK)) {
        return Err(miette!(
            "the clock can be published on x86-64, AArch64 and RISC-V, not on {}",
            std::env::consts::ARCH
        ));
    }
    if let Some(status) = kernel::run(arguments, &reporter)? {
        return Ok(status);
    }
    if arguments.detach {
        return Err(miette!(
            help = "name variables of the kernel with --kernel, or in the declaration",
            "only the kernel goes on publishing when this process ends"
        ));
    }
    let stop = signals::stop()?;
    // clap requires a file where there is no --kernel.
    let file = arguments.file.as_deref().unwrap_or(Path::new(SYSTEM));
    let publisher = publisher(file, arguments)?;
    let every = arguments.every.unwrap_or(EVERY);
    let system = match is_system(file) {
        true => {
            let mut system = System::new(&publisher, every)?;
            if let Some(group) = &arguments.cgroup {
                system = system.of_group(group)?;
            }
            system.sample()?;
            if !system.missing().is_empty() {
                crate::output::warn(format_args!(
                    "vdso: this /proc lacks {}; the other variables are published",
                    system.missing().join(", ")
                ));
            }
            Some(system)
        }
        false => None,
    };
    let count = publisher.directory().len();
    let variables = if count == 1 { "variable" } else { "variables" };
    let layout = format!("{:#018x}", publisher.directory().layout());
    let pid = std::process::id();
    reporter.event(
        "live",
        publisher.path(),
        json!({"publisher": pid, "variables": count, "layout": layout}),
        &format!(", {count} {variables}, publisher {pid}"),
    );
    let stdin = std::io::stdin();
    let lines = arguments.stdin.then(|| stdin.as_fd());
    match system {
        Some(system) => reporter.serve(publisher, system, lines, &stop),
        None => reporter.serve(publisher, Heartbeat(every), lines, &stop),
    }
}

fn is_system(file: &Path) -> bool {
    file == Path::new(SYSTEM) && !file.exists()
}

fn is_declaration(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "toml")
}

fn publisher(file: &Path, arguments: &Arguments) -> Result<Publisher> {
    if !is_system(file) && !is_declaration(file) {
        signals::exit_on_truncation(file);
        return Ok(Publisher::open(file)?);
    }
    let declaration = image::declaration(file)?;
    let image = image::host_image(&declaration)?;
    let made;
    let path = match &arguments.at {
        Some(at) => at.clone(),
        None if is_system(file) => {
            made = place::make()?;
            made.path().join(declaration.soname())
        }
        None => place::of_declaration(file, declaration.soname()),
    };
    signals::exit_on_truncation(&path);
    Ok(arguments.options().create(path, &image)?)
}
