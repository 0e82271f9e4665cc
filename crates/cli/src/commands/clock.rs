//! `vdso clock`: the time of a program that runs under a name.

use std::process::ExitCode;

use clap::Subcommand;
use miette::{Result, miette};
use serde_json::{Map, Value, json};
use vdsokit_clock::{Clock, Course};
use vdsokit_virtual_time::{Change, Name, Reading, Time, list, text};

use crate::output;

/// Show or change the time of programs that run under a name
///
/// The name is that of `vdso run --name` or `vdso attach --name`. A change is one for all
/// processes of the program, and all have it when this command ends.
///
/// `vdso clock list` shows the names there are.
#[derive(clap::Args)]
#[command(
    override_usage = "vdso clock [--json] <NAME> [show|step|set|rate|freeze|resume]\n       \
                            vdso clock [--json] <NAME> hold|release\n       \
                            vdso clock [--json] list"
)]
pub(crate) struct Arguments {
    /// The name, or `list`
    name: String,
    #[command(subcommand)]
    action: Option<Action>,
    /// Print as JSON what is shown
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Action {
    /// Show all clocks, as they are in the programs
    Show,
    /// Move wall time: +1h, -30d
    Step {
        /// By how much
        #[arg(allow_hyphen_values = true)]
        duration: String,
    },
    /// Set wall time
    Set {
        /// To what: a date, or a duration from what it is
        #[arg(allow_hyphen_values = true)]
        date: String,
    },
    /// All clocks run so many times as fast as real time: 60, 0.5, 1/3
    Rate {
        /// How many times
        #[arg(allow_hyphen_values = true)]
        rate: String,
    },
    /// All clocks stand still
    Freeze,
    /// They go on, at the rate from before the freeze
    Resume,
    /// Skip no time, though nothing runs, until `release`: something outside of the tree is at
    /// work (`vdso run --skip-idle`)
    Hold,
    /// Skip time again in which nothing runs
    Release,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let json = arguments.json;
    if arguments.name == "list" {
        return match arguments.action {
            None => show_list(json),
            Some(_) => Err(miette!(
                help = "write `vdso clock list`",
                "no clock is called `list`"
            )),
        };
    }
    let name: Name = arguments.name.parse()?;
    let mut time = Time::find(&name)?;
    let change = |change| move |_: &Reading| Ok(change);
    let in_time = match &arguments.action {
        None | Some(Action::Show) => {
            show(&name, &mut time, json)?;
            true
        }
        Some(Action::Hold | Action::Release) if !time.skips_idle() => {
            return Err(miette!(
                help = "that is for the time of `vdso run --skip-idle --name NAME`",
                "{name} skips no time"
            ));
        }
        Some(Action::Hold) => {
            time.hold();
            true
        }
        Some(Action::Release) => {
            time.release();
            true
        }
        Some(Action::Step { duration }) => time.change(|now| {
            let by = text::duration(duration, now.at(Clock::Realtime))?;
            Ok(Change::Step(by))
        })?,
        Some(Action::Set { date }) => time.change(|now| {
            let to = text::date(date, now.at(Clock::Realtime))?;
            Ok(Change::Set(to))
        })?,
        Some(Action::Rate { rate }) => {
            let (numerator, denominator) = text::rate(rate)?;
            time.change(change(Change::Rate(numerator, denominator)))?
        }
        Some(Action::Freeze) => time.change(change(Change::Freeze))?,
        Some(Action::Resume) => time.change(change(Change::Resume))?,
    };
    if !in_time {
        output::warn(
            "vdso: this was held up while it made the change: programs may have seen a clock \
             run backwards",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn course(course: Course) -> String {
    match course {
        Course::Rate(1, 1) => "as fast as real time".to_owned(),
        Course::Rate(numerator, 1) => format!("{numerator} times as fast as real time"),
        Course::Rate(numerator, denominator) => {
            format!("{numerator}/{denominator} times as fast as real time")
        }
        Course::Frozen => "stands still".to_owned(),
        Course::EachRead(nanoseconds) => format!("{nanoseconds} ns at each read"),
    }
}

/// A rate as JSON: 0 stands still.
fn rate(course: Course) -> Value {
    match course {
        Course::Rate(numerator, denominator) => {
            json!(f64::from(numerator) / f64::from(denominator))
        }
        _ => json!(0),
    }
}

fn show(name: &Name, time: &mut Time, json: bool) -> Result<()> {
    let (reading, unserved) = (time.read()?, time.reports()?.list());
    if json {
        let clocks: Map<String, Value> = Clock::ALL
            .iter()
            .map(|&clock| {
                let (at, kernel) = (reading.at(clock), reading.kernel(clock));
                let ahead = at.as_nanoseconds() - kernel.as_nanoseconds();
                let value = json!({
                    "seconds": at.seconds,
                    "nanoseconds": at.nanoseconds,
                    "ahead_seconds": ahead as f64 / 1e9,
                });
                (clock.name().to_owned(), value)
            })
            .collect();
        output::json(&json!({
            "name": name.to_string(),
            "time": text::show(reading.at(Clock::Realtime)),
            "rate": rate(reading.course()),
            "clocks": clocks,
            "skips_idle": time.skips_idle(),
            "is_held": time.is_held(),
            "unserved": unserved,
        }))?;
        return Ok(());
    }
    output::line(format_args!("{name} {}", course(reading.course())))?;
    for clock in Clock::ALL {
        let at = reading.at(clock);
        let text = match clock.is_wall() {
            true => text::show(at),
            false => format!("{}.{:09}", at.seconds, at.nanoseconds),
        };
        output::line(format_args!("{:24}{text}", clock.name()))?;
    }
    if time.skips_idle() {
        let text = match time.is_held() {
            true => "time in which nothing runs would be skipped, but is held",
            false => "time in which nothing runs is skipped",
        };
        output::line(format_args!("{text}"))?;
    }
    for text in unserved {
        output::line(format_args!("not served: {text}"))?;
    }
    Ok(())
}

fn show_list(json: bool) -> Result<ExitCode> {
    let named = list()?;
    let read = |name: &Name| Time::find(name).and_then(|mut time| time.read());
    if json {
        let named: Vec<Value> = named
            .iter()
            .filter_map(|one| {
                // It may have ended meanwhile.
                let reading = read(&one.name).ok()?;
                Some(json!({
                    "name": one.name.to_string(),
                    "tracer": one.tracer,
                    "time": text::show(reading.at(Clock::Realtime)),
                    "rate": rate(reading.course()),
                }))
            })
            .collect();
        output::json(&named)?;
        return Ok(ExitCode::SUCCESS);
    }
    for one in named {
        if let Ok(reading) = read(&one.name) {
            let (time, course) = (reading.at(Clock::Realtime), course(reading.course()));
            let (name, tracer) = (one.name.to_string(), one.tracer);
            output::line(format_args!(
                "{name:16} {:30} {course} (tracer {tracer})",
                text::show(time)
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
