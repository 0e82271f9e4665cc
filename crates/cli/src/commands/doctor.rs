//! `vdso doctor`: which clocks and functions make a system call, and why.

#[cfg(target_arch = "x86_64")]
use crate::commands::trace;
use crate::output::{self, BAD, BOLD, Cell, DIM, GOOD, NOTE, Side, styled};
use miette::{IntoDiagnostic, Report, Result, WrapErr};
use serde_json::Value;
use std::process::ExitCode;
#[cfg(target_arch = "x86_64")]
use std::time::Duration;
use vdsokit_inspect::doctor::{Call, Diagnosis, Finding, Grade, Verdict, collect};
use vdsokit_inspect::function::Function;
use vdsokit_inspect::measure::Plan;
use vdsokit_inspect::probe::Served;

/// Find clocks and functions that are slow here, and the reason
///
/// Each is called in a child that may make no system call: one that still succeeds makes none.
/// The report also has the time that a call takes, and what affects it: clocksource, virtual
/// machine, container, time namespace, filters.
///
/// Exit status: 0 everything that this vDSO can serve is served without a system call, 1
/// something is slow, 2 wrong usage, 3 it could not be determined.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A running process; by default this one
    pid: Option<u32>,
    /// Count the calls of that process for so long (such as 2s, at most a minute) as `vdso trace -c`
    /// does, and list which functions make them
    #[cfg(target_arch = "x86_64")]
    #[arg(long, value_name = "TIME", requires = "pid")]
    calls: Option<String>,
    /// Print facts and findings as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match diagnose(arguments) {
        Ok(verdict) => ExitCode::from(match verdict {
            Verdict::Fast => 0,
            Verdict::Slow => 1,
            Verdict::Unknown => 3,
        }),
        Err(report) => {
            output::report(&report);
            ExitCode::from(match report.is::<output::WriteError>() {
                true => 1,
                false => 3,
            })
        }
    }
}

fn diagnose(arguments: &Arguments) -> Result<Verdict> {
    let bar = output::progress(Function::ALL.len(), "calling");
    let mut facts = collect(Plan::QUICK, |done| bar.set_position(done as u64))
        .into_diagnostic()
        .wrap_err("the functions could not be called in a child")?;
    bar.finish_and_clear();
    if let Some(pid) = arguments.pid {
        facts = facts.of_process(pid).map_err(Report::new)?;
    }
    let diagnosis = Diagnosis::from(facts);
    match (observed(arguments)?, arguments.json) {
        (None, true) => output::json(&diagnosis)?,
        (Some((_, observed)), true) => {
            let mut value = serde_json::to_value(&diagnosis).into_diagnostic()?;
            value["observed"] = observed;
            output::json(&value)?
        }
        (observed, false) => {
            let observed = observed.map_or(String::new(), |(text, _)| format!("\n{text}"));
            output::show(&(text(&diagnosis) + &observed))?
        }
    };
    Ok(diagnosis.verdict)
}

/// What a process calls, as text and as JSON, if that is to be found out.
#[cfg(target_arch = "x86_64")]
fn observed(arguments: &Arguments) -> Result<Option<(String, Value)>> {
    let (Some(pid), Some(time)) = (arguments.pid, &arguments.calls) else {
        return Ok(None);
    };
    let nanoseconds = vdsokit_virtual_time::text::step(time)?;
    let summary = trace::observed(pid, Duration::from_nanos(nanoseconds))?;
    let calls = summary.calls();
    let mut text = format!("Process {pid} made {calls} calls in {time}.\n");
    if calls != 0 {
        text += &summary.callers_text();
    }
    Ok(Some((text, summary.json())))
}

#[cfg(not(target_arch = "x86_64"))]
fn observed(_: &Arguments) -> Result<Option<(String, Value)>> {
    Ok(None)
}

fn text(diagnosis: &Diagnosis) -> String {
    let (style, verdict) = match diagnosis.verdict {
        Verdict::Fast => (
            GOOD,
            "Everything that this vDSO can serve is served without a system call.",
        ),
        Verdict::Slow => (BAD, "Something is slow here."),
        Verdict::Unknown => (
            NOTE,
            "Whether anything is slow here could not be determined.",
        ),
    };
    let mut text = format!("{}\n\n", styled(style, verdict));
    for finding in &diagnosis.findings {
        text.push_str(&found(finding));
    }
    if !diagnosis.facts.calls.is_empty() {
        text.push_str(&calls(&diagnosis.facts.calls));
        text.push('\n');
    }
    for (name, line) in diagnosis.facts.lines() {
        let line = output::paragraph(&line, 14);
        let name = styled(DIM, &format!("{name:14}"));
        text.push_str(&format!("{name}{}\n", line.trim_start()));
    }
    text
}

fn found(finding: &Finding) -> String {
    let (style, grade) = match finding.grade {
        Grade::Slow => (BAD, "slow"),
        Grade::Unknown => (NOTE, "unknown"),
        Grade::Note => (BOLD, "note"),
    };
    let mut lines = vec![styled(style, grade), output::paragraph(&finding.what, 2)];
    if let Some(advice) = &finding.advice {
        lines.push(output::paragraph(&format!("-> {advice}"), 2));
    }
    lines.join("\n") + "\n\n"
}

fn calls(calls: &[Call]) -> String {
    let headings = ["function", "vDSO", "libc", "vDSO ns", "kernel ns"];
    let mut rows = vec![headings.map(Cell::new).to_vec()];
    rows.extend(calls.iter().map(|call| {
        vec![
            Cell::new(call.function.to_string()),
            served(call.vdso, call.function),
            served(call.libc, call.function),
            Cell::new(output::nanoseconds(call.vdso_ns)),
            Cell::new(output::nanoseconds(call.system_call_ns)),
        ]
    }));
    let sides = [Side::Left, Side::Left, Side::Left, Side::Right, Side::Right];
    output::table(&sides, 0, &rows)
}

fn served(served: Served, function: Function) -> Cell {
    match served {
        Served::Directly => Cell::styled(GOOD, "direct"),
        Served::BySystemCall if !function.is_servable() => Cell::styled(DIM, "system call"),
        Served::BySystemCall => Cell::styled(NOTE, "system call"),
        Served::Refused => Cell::styled(NOTE, "refused"),
        Served::Killed(signal) => Cell::styled(BAD, format!("signal {signal}")),
        Served::Absent => Cell::styled(DIM, "-"),
        Served::Unknown(_) => Cell::styled(NOTE, "unknown"),
    }
}
