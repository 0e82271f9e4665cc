//! `vdso get`: the current values of a published vDSO.

use crate::values::{self, QUOTING};
use crate::{output, published, signals};
use miette::Result;
use std::path::PathBuf;
use std::process::ExitCode;
use vdsokit_inspect::inspect::ClockView;
use vdsokit_publish::Vdso;
use vdsokit_sources::clock::{self, view};

/// Print values of a published vDSO
///
/// Each line is an assignment that `vdso set` and `vdso serve --stdin` read. Reading takes the
/// permission to read the file, and does not disturb the publisher.
#[derive(clap::Args)]
#[command(after_help = published::STATUSES, after_long_help = format!("{}\n\n{QUOTING}", published::STATUSES))]
pub(crate) struct Arguments {
    /// The vDSO, `system`, `clock` or `kernel`
    file: PathBuf,
    /// Variables or fields (`wind.speed`); without them all variables, or the clocks of a clock
    names: Vec<String>,
    /// Print the values alone
    #[arg(short = 'n', long, conflicts_with = "json")]
    no_names: bool,
    /// Print status and values as JSON; integers above 2^53 become strings
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let located = published::locate(&arguments.file)?;
    signals::exit_on_truncation(located.path());
    let vdso = located.open()?;
    let condition = vdso.status().condition;
    let clocks = match arguments.names.is_empty() {
        true => clocks(&vdso),
        false => Vec::new(),
    };
    if arguments.json {
        let all = values::values_of(&vdso, &arguments.names)?;
        let mut snapshot = values::snapshot(&vdso, &all);
        if !clocks.is_empty() {
            snapshot["clocks"] = clocks.iter().map(|(_, json)| json.clone()).collect();
        }
        output::json(&snapshot)?;
        return Ok(published::exit_status(condition));
    }
    let lines: Vec<String> = match clocks.is_empty() {
        true => values::values_of(&vdso, &arguments.names)?
            .into_iter()
            .map(|(name, value)| match arguments.no_names {
                true => value.to_string(),
                false => values::assignment(&name, &value),
            })
            .collect(),
        false => clocks.into_iter().map(|(line, _)| line).collect(),
    };
    for line in lines {
        if !output::line(line)? {
            return Ok(published::exit_status(condition));
        }
    }
    if let Some(warning) = published::warning(&vdso) {
        output::warn(format_args!("vdso: {warning}"));
    }
    Ok(published::exit_status(condition))
}

/// The clocks of a clock image, as a line and as JSON: their time, in place of the words that its
/// variables consist of. Empty for any other image.
fn clocks(vdso: &Vdso) -> Vec<(String, serde_json::Value)> {
    let clocks = view(vdso).unwrap_or_default();
    let describe = |view: clock::View| {
        let time = view.time.map_or_else(
            || "-".to_owned(),
            |time| format!("{}.{:09}", time.seconds, time.nanoseconds),
        );
        let view_time = view.time;
        let view = ClockView::from(view);
        let mut json = serde_json::to_value(&view).unwrap_or_default();
        json["time"] = view_time.map(|_| time.as_str()).into();
        let error = super::ls::error_of(&view);
        (
            format!("{:24} {time:>20}  {:12} {error}", view.clock, view.source),
            json,
        )
    };
    clocks.into_iter().map(describe).collect()
}
