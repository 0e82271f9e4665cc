//! `vdso status`: the state of a publisher as an exit status and as metrics.

use super::serve::duration;
use crate::{output, published, signals, values};
use miette::{Result, miette};
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use vdsokit_inspect::inspect::ClockView;
use vdsokit_publish::{Condition, Error, Status, Vdso};
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
    let vdso = match published::resolve(&arguments.file)? {
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
        print_missing(arguments, &file)?;
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
        output::show(&metrics(&vdso, &status, &clocks))?;
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

fn print_missing(arguments: &Arguments, file: &str) -> Result<bool> {
    if arguments.prometheus {
        let label = label(file);
        output::show(&format!(
            "# HELP vdso_live Whether the vDSO is live.\n# TYPE vdso_live gauge\n\
             vdso_live{{file=\"{label}\"}} 0\n"
        ))
    } else if arguments.json {
        output::json(&json!({"file": file, "verdict": Verdict::Never.name()}))
    } else {
        output::line(format_args!("never published: {file}: it does not exist"))
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

/// Escapes a label's value (Prometheus, "Text-based format").
fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// The status in Prometheus's text format, version 0.0.4.
fn metrics(vdso: &Vdso, status: &Status, clocks: &[ClockView]) -> String {
    let file = label(&vdso.path().to_string_lossy());
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, samples: &[(String, f64)]| {
        if samples.is_empty() {
            return;
        }
        // Writing to a string does not fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{{file=\"{file}\"{labels}}} {value}");
        }
    };
    let one = |value: f64| vec![(String::new(), value)];
    let seconds = |time: Option<Duration>| time.map_or_else(Vec::new, |t| one(t.as_secs_f64()));
    let is = |condition| f64::from(status.condition == condition);
    gauge(
        "vdso_live",
        "Whether the vDSO is live.",
        &one(is(Condition::Live)),
    );
    let conditions = [
        ("live", Condition::Live),
        ("stale", Condition::Stale),
        ("never_published", Condition::NeverPublished),
        ("stopped", Condition::Stopped),
        ("replaced", Condition::Replaced),
    ]
    .map(|(name, condition)| (format!(",condition=\"{name}\""), is(condition)));
    gauge(
        "vdso_condition",
        "1 for the condition of the vDSO, 0 for the others.",
        &conditions,
    );
    gauge(
        "vdso_heartbeat_age_seconds",
        "Time since the publisher's last heartbeat.",
        &seconds(status.age),
    );
    gauge(
        "vdso_stale_after_seconds",
        "The age of the heartbeat at which the values are stale.",
        &seconds(status.stale_after),
    );
    let clock = |clock: &ClockView| format!(",clock=\"{}\"", clock.clock);
    let answers: Vec<_> = clocks
        .iter()
        .map(|one| (clock(one), f64::from(one.answers)))
        .collect();
    gauge(
        "vdso_clock_answers",
        "Whether the page answers; otherwise readers make a system call.",
        &answers,
    );
    let errors: Vec<_> = clocks
        .iter()
        .filter_map(|one| Some((clock(one), one.error_ns? as f64 / 1e9)))
        .collect();
    gauge(
        "vdso_clock_error_seconds",
        "The bound of the clock's error.",
        &errors,
    );
    text
}
