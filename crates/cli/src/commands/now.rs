//! `vdso now`: the time, and the interval in which the true time lies.

use crate::output;
use jiff::Timestamp;
use miette::{IntoDiagnostic, Result, miette};
use rustix::time::{ClockId as KernelClock, DynamicClockId, clock_gettime_dynamic};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use vdsokit::{Clock, ClockId, Unbounded};

/// Print the time, and with --bounds the interval in which the true time lies
///
/// The true time of a wall clock is UTC or TAI. Its interval is as wide as the NTP daemon of this
/// machine knows, plus the error of the clock that `vdso serve clock` publishes. For the monotonic
/// clocks it is the kernel's own clock. If the interval of an event ends before that of another
/// event begins, on this machine or another, the first event surely happened first.
///
/// Exit status: 0 good; 1 the clock has no bounds, because no NTP daemon keeps it, or another
/// error; 2 wrong usage.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The clock
    #[arg(value_enum, default_value = "realtime")]
    clock: Choice,
    /// Print the earliest and the latest moment that the true time may be
    #[arg(long)]
    bounds: bool,
    /// Print seconds and nanoseconds since the clock's zero as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Choice {
    /// UTC, `CLOCK_REALTIME`
    Realtime,
    /// TAI, `CLOCK_TAI`
    Tai,
    /// Time since some start, `CLOCK_MONOTONIC`
    Monotonic,
    /// The same without frequency corrections, `CLOCK_MONOTONIC_RAW`
    MonotonicRaw,
    /// Monotonic time and the time spent suspended, `CLOCK_BOOTTIME`
    Boottime,
}

impl Choice {
    fn id(self) -> ClockId {
        match self {
            Self::Realtime => ClockId::Realtime,
            Self::Tai => ClockId::Tai,
            Self::Monotonic => ClockId::Monotonic,
            Self::MonotonicRaw => ClockId::MonotonicRaw,
            Self::Boottime => ClockId::Boottime,
        }
    }

    /// The kernel's reading, since the clock's zero.
    fn read(self) -> Result<Duration> {
        let time = clock_gettime_dynamic(match self {
            Self::Realtime => DynamicClockId::Known(KernelClock::Realtime),
            Self::Tai => DynamicClockId::Tai,
            Self::Monotonic => DynamicClockId::Known(KernelClock::Monotonic),
            Self::MonotonicRaw => DynamicClockId::Known(KernelClock::MonotonicRaw),
            Self::Boottime => DynamicClockId::Known(KernelClock::Boottime),
        });
        let time = time.into_diagnostic()?;
        // A wall clock before 1970 counts as 1970, as in `Clock::bounds`.
        Ok(Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(0),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        ))
    }

    fn text(self, time: Duration) -> Result<String> {
        match self {
            Self::Realtime => {
                let nanoseconds = i128::try_from(time.as_nanos()).into_diagnostic()?;
                let time = Timestamp::from_nanosecond(nanoseconds).into_diagnostic()?;
                Ok(format!("{time:.9}"))
            }
            _ => Ok(format!("{}.{:09}", time.as_secs(), time.subsec_nanos())),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let choice = arguments.clock;
    let name = choice.id().name();
    if !arguments.bounds {
        let time = choice.read()?;
        match arguments.json {
            true => output::json(&json!({"clock": name, "time": moment(time)}))?,
            false => output::line(choice.text(time)?)?,
        };
        return Ok(ExitCode::SUCCESS);
    }
    let (earliest, latest) = Clock::new()
        .bounds(choice.id())
        .map_err(|e| unbounded(&e))?;
    let width = latest.saturating_sub(earliest);
    if arguments.json {
        output::json(&json!({
            "clock": name,
            "earliest": moment(earliest),
            "latest": moment(latest),
            "width_ns": u64::try_from(width.as_nanos()).unwrap_or(u64::MAX),
        }))?;
    } else {
        let (from, to) = (choice.text(earliest)?, choice.text(latest)?);
        let width = width.as_nanos();
        output::line(format_args!("{from} to {to}, {width} ns wide"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn moment(time: Duration) -> Value {
    json!({"seconds": time.as_secs(), "nanoseconds": time.subsec_nanos()})
}

/// The daemons that keep wall time, with the program of each and how Debian starts it.
const DAEMONS: [(&str, &str, &str); 3] = [
    ("chronyd", "/usr/sbin/chronyd", "systemctl start chrony"),
    ("ntpd", "/usr/sbin/ntpd", "systemctl start ntpsec"),
    (
        "systemd-timesyncd",
        "/usr/lib/systemd/systemd-timesyncd",
        "systemctl start systemd-timesyncd",
    ),
];

fn unbounded(error: &Unbounded) -> miette::Report {
    if *error != Unbounded::NotSynchronised {
        return miette!("{error}");
    }
    let installed = DAEMONS.iter().find(|(_, path, _)| Path::new(path).exists());
    let help = match installed {
        Some((name, _, start)) => format!("{name} is installed and would keep it: `{start}`"),
        None => "chronyd (`apt install chrony`), ntpd or systemd-timesyncd would keep it".into(),
    };
    miette!(
        help = help,
        "no NTP daemon keeps this machine's wall time, so its error is unknown"
    )
}
