//! `vdso status`: the state of a publisher as an exit status and as metrics.

use super::serve::duration;
use crate::metrics::{Format, Metrics};
use crate::{output, published, signals, values};
use miette::{Result, miette};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use vdsokit_inspect::inspect::ClockView;
use vdsokit_publish::{Condition, Error, Status};
use vdsokit_sources::clock::view;

/// Check that a published vDSO is live, for scripts and monitoring
///
/// Exit status: 0 good; 1 stale: the publisher has ended, or its heartbeat is overdue; 2 never
/// published; 3 wrong: the clock's error is larger than --max-error; 4 the status could not be
/// determined, or wrong usage.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The vDSO, `clock`, `system` or `kernel`
    file: PathBuf,
    /// The largest age of the last heartbeat, such as 500ms; without it the publisher's own limit
    /// holds
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_age: Option<Duration>,
    /// The largest error of a clock, in nanoseconds. A wall clock has an error only where an NTP
    /// daemon keeps it; the other clocks are then judged alone
    #[arg(long, value_name = "NS")]
    max_error: Option<u64>,
    /// Print metrics in Prometheus's text format
    #[arg(long, conflicts_with = "json")]
    prometheus: bool,
    /// Print the status as JSON
    #[arg(long)]
    json: bool,
}

/// The exit status where the state could not be determined.
pub(crate) const UNKNOWN: u8 = 4;

/// The state that the exit status reports.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good = 0,
    Stale = 1,
    Never = 2,
    Wrong = 3,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Stale => "stale",
            Self::Never => "never published",
            Self::Wrong => "wrong",
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match judge(arguments) {
        Ok(verdict) => ExitCode::from(verdict as u8),
        Err(report) => {
            output::report(&report);
            ExitCode::from(match report.is::<output::WriteError>() {
                true => 1,
                false => UNKNOWN,
            })
        }
    }
}

fn judge(arguments: &Arguments) -> Result<Verdict> {
    let file = output::path(&arguments.file);
    let located = published::resolve(&arguments.file)?;
    let is_name = located.is_none();
    let vdso = match located {
        None => None,
        Some(located) => {
            signals::exit_on_truncation(located.path());
            match located.open() {
                Ok(vdso) => Some(vdso),
                Err(error) if is_missing(&error) => None,
                Err(error) => return Err(error),
            }
        }
    };
    let Some(vdso) = vdso else {
        let why = match is_name {
            true => {
                let (what, command) = published::unpublished(&arguments.file);
                format!("{what}; `{command}` publishes it")
            }
            false => format!("{file}: there is no such file"),
        };
        print_missing(arguments, &file, &why)?;
        return Ok(Verdict::Never);
    };
    let status = vdso.status();
    let clocks: Vec<ClockView> = view(&vdso)
        .unwrap_or_default()
        .into_iter()
        .map(ClockView::from)
        .collect();
    if arguments.max_error.is_some() && clocks.is_empty() {
        return Err(miette!(
            help = "`--max-error` is for a clock, as `vdso serve clock` publishes it",
            "{file} is not a clock"
        ));
    }
    let verdict = verdict(arguments, &status, &clocks);
    if arguments.prometheus {
        let mut metrics = Metrics::default();
        metrics.add_state(&vdso.path().to_string_lossy(), Some(&status), &clocks);
        output::show(&metrics.text(Format::Prometheus))?;
    } else if arguments.json {
        output::json(&json!({
            "file": vdso.path().to_string_lossy(),
            "verdict": verdict.name(),
            "status": values::status(&status),
            "clocks": clocks,
        }))?;
    } else {
        let path = output::path(vdso.path());
        output::line(format_args!("{}: {path}: {status}", verdict.name()))?;
        for clock in &clocks {
            output::line(format_args!(
                "  {:24} {:12} {}",
                clock.clock,
                clock.source,
                super::ls::error_of(clock)
            ))?;
        }
    }
    Ok(verdict)
}

fn is_missing(error: &miette::Report) -> bool {
    matches!(error.downcast_ref(), Some(Error::Missing { .. }))
}

fn print_missing(arguments: &Arguments, file: &str, why: &str) -> Result<bool> {
    if arguments.prometheus {
        let mut metrics = Metrics::default();
        metrics.add_state(file, None, &[]);
        output::show(&metrics.text(Format::Prometheus))
    } else if arguments.json {
        output::json(&json!({"file": file, "verdict": Verdict::Never.name()}))
    } else {
        output::line(format_args!("{}: {why}", Verdict::Never.name()))
    }
}

fn verdict(arguments: &Arguments, status: &Status, clocks: &[ClockView]) -> Verdict {
    let is_late = arguments
        .max_age
        .is_some_and(|most| status.age.is_none_or(|age| age > most));
    match status.condition {
        Condition::NeverPublished => return Verdict::Never,
        Condition::Live if !is_late => {}
        _ => return Verdict::Stale,
    }
    let Some(most) = arguments.max_error else {
        return Verdict::Good;
    };
    let errors: Vec<u64> = clocks.iter().filter_map(|clock| clock.error_ns).collect();
    // From source `kernel` readers have the kernel's own clock, whose error is not published.
    let from_counter = clocks.iter().any(|clock| clock.source == "counter");
    match errors.iter().max() {
        Some(error) if *error > most => Verdict::Wrong,
        None if from_counter => Verdict::Wrong,
        _ => Verdict::Good,
    }
}
