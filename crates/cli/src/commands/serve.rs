//! `vdso serve`: be the one publisher of a vDSO.

mod kernel;

#[cfg(target_arch = "x86_64")]
use super::serve_clock::{self, Source};
use crate::published::{self, SYSTEM};
use crate::start::ExitCode;
use miette::Result;
#[cfg(target_arch = "x86_64")]
use miette::miette;
use serde_json::json;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vdsokit_publish::serve::{End, Heartbeat, Serve};
use vdsokit_publish::{Error, Publisher, place};
use vdsokit_sources::system::System;

/// Publish a vDSO until the input ends or a signal comes
///
/// The values are those that the last publisher left. Exit status: 0 after an orderly
/// end (end of input, SIGTERM, SIGINT), 1 otherwise.
///
/// With --kernel, or a declaration of which a variable says `kernel = "…"`, the running kernel
/// is the publisher, at each tick; this process copies its values to the file for all that load
/// it. Should it be killed, the kernel goes on, and `vdso serve FILE` copies again; `vdso run
/// --object FILE` gives a program the kernel's own pages, without any copying.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// An image, published in place; a declaration (*.toml), whose image is put beside it;
    /// `system`, this machine's own numbers; or `clock`, its time, for `vdso run --clock`
    #[arg(required_unless_present = "kernel")]
    file: Option<PathBuf>,
    /// Publish a variable of the running kernel's: `nr_threads:i32`, `load_averages`,
    /// `init_uts_ns.name.release`, `NAME=EXPRESSION`; may be given again. `vdso kernel vars`
    /// lists them
    #[arg(long, value_name = "VARIABLE", conflicts_with_all = ["file", "stdin"])]
    kernel: Vec<String>,
    /// Besides each tick, copy the kernel's variables at once after this event: a tracepoint
    /// such as `sched_process_fork`, `fexit:FUNCTION` or `fentry:FUNCTION`; may be given again
    #[arg(
        long,
        value_name = "EVENT",
        requires = "kernel",
        conflicts_with = "file"
    )]
    on: Vec<String>,
    /// Set the kernel up to publish, and leave it to that: `vdso retire` ends it
    #[arg(long, conflicts_with = "stdin")]
    detach: bool,
    /// Publish addresses of the kernel's too, which tell an attacker where things are
    #[arg(long)]
    allow_addresses: bool,
    /// Take values from lines on the standard input: `name=value`, `name.field=value`,
    /// several with blanks between; fields on one line are written together
    #[arg(long)]
    stdin: bool,
    /// Time between signs of life, between samples of `system`, and between copies of the
    /// kernel's values [default: 100ms, and 10ms for the kernel's]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    every: Option<Duration>,
    /// Publish a declaration's image, `system`, `clock`, or the kernel's variables in this file
    #[arg(short = 'o', long, value_name = "FILE")]
    at: Option<PathBuf>,
    /// Where the time of `clock` comes from. The counter is kept every 5 ms and bounded to
    /// the kernel's clocks; what holds this process up for longer than 20 ms makes readers
    /// ask the kernel
    #[cfg(target_arch = "x86_64")]
    #[arg(long, value_enum, default_value = "auto")]
    source: Source,
    /// Print what happens as JSON, a line each
    #[arg(long)]
    json: bool,
}

/// Time between signs of life, when none is asked for.
const EVERY: Duration = Duration::from_millis(100);

/// `250us`, `100ms`, `2s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "min" => 60.0,
        _ => return Err("write a number and one of us, ms, s, min".into()),
    };
    let number: f64 = digits.parse().map_err(|_| "the number is unreadable")?;
    match Duration::try_from_secs_f64(number * unit) {
        Ok(time) if time >= Duration::from_micros(1) => Ok(time),
        _ => Err("the time must be at least 1us".into()),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    #[cfg(target_arch = "x86_64")]
    if arguments.file.as_deref().is_some_and(serve_clock::is_clock) {
        if arguments.stdin {
            return Err(miette!("the clock takes no values: no `--stdin`"));
        }
        let at = arguments.at.as_deref();
        return serve_clock::run(arguments.source, at, arguments.detach, arguments.json);
    }
    if let Some(status) = kernel::run(arguments)? {
        return Ok(status);
    }
    let stop = published::stop()?;
    // Without --kernel clap asks for a file.
    let file = arguments.file.as_deref().unwrap_or(Path::new(SYSTEM));
    let publisher = publisher(file, arguments.at.as_deref())?;
    let every = arguments.every.unwrap_or(EVERY);
    let system = match is_system(file) {
        true => Some(System::new(&publisher, every)?),
        false => None,
    };
    let path = publisher.path().to_owned();
    let count = publisher.directory().len();
    let stdin = std::io::stdin();
    let serve = Serve {
        lines: arguments.stdin.then(|| stdin.as_fd()),
        stop: stop.as_fd(),
    };
    let layout = format!("{:#018x}", publisher.directory().layout());
    let pid = std::process::id();
    say(match arguments.json {
        true => json!({
            "event": "live", "file": path, "publisher": pid,
            "variables": count, "layout": layout,
        })
        .to_string(),
        false => format!(
            "live: {}, {count} variables, publisher {pid}",
            path.display()
        ),
    });
    let refused = |number, error| refused(arguments.json, number, error);
    let end = match system {
        Some(system) => serve.run(publisher, system, refused)?,
        None => serve.run(publisher, Heartbeat(every), refused)?,
    };
    say(match arguments.json {
        true => json!({"event": "retired", "file": path, "why": end.to_string()}).to_string(),
        false => format!("retired: {}, {end}", path.display()),
    });
    Ok(match end {
        End::Stopped | End::EndOfInput => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Whether anybody reads this is no matter of the publisher's.
fn say(text: String) {
    let _ = published::line(text);
}

fn refused(json: bool, number: u64, error: Error) {
    if json {
        let event = json!({"event": "refused", "line": number, "error": error.to_string()});
        let _ = published::line(event);
    } else {
        let report = miette::Report::new(error).wrap_err(format!("line {number}: not written"));
        eprintln!("{report:?}");
    }
}

fn is_system(file: &Path) -> bool {
    file == Path::new(SYSTEM) && !file.exists()
}

fn publisher(file: &Path, at: Option<&Path>) -> Result<Publisher> {
    if !is_system(file) && file.extension().is_none_or(|extension| extension != "toml") {
        return Ok(Publisher::open(file)?);
    }
    let declaration = published::declaration(file)?;
    let image = published::host_image(&declaration)?;
    let path = match at {
        Some(at) => at.to_owned(),
        None if is_system(file) => place::make()?.join(declaration.soname()),
        None => file.with_file_name(declaration.soname()),
    };
    Ok(Publisher::create(path, &image)?)
}
