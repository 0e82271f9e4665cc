//! What the commands around virtual time have in common: their options, and what the tracer
//! says.

use std::path::{Path, PathBuf};

use miette::{Result, miette};
use vdsokit_clock::Clock;
use vdsokit_clock::page::READS;
use vdsokit_deliver::{Event, Object};
use vdsokit_publish::{Condition, install, place};
use vdsokit_sources::clock::{FILE, Reader, is_machine_time};
use vdsokit_virtual_time::{Change, IMAGE, Name, Reading, Time, text};
use vdsokit_waits::call::Scope;

use crate::output;
use crate::published::{self, CLOCK, Located};

/// Which clocks each option touches; part of the help.
pub(crate) const CLOCKS: &str = "\
Clocks that each option touches:
                      CLOCK_REALTIME (_COARSE, _ALARM),   CLOCK_MONOTONIC (_COARSE, _RAW),
                      CLOCK_TAI, gettimeofday, time       CLOCK_BOOTTIME (_ALARM)
  --time, --offset    moved                               the kernel's own
  --rate, --freeze    faster, slower, still               likewise
  --seed-step         still, but for the reads            likewise
  none                the kernel's own                    the kernel's own
  --clock             the kernel's own, from the counter that `vdso serve clock` keeps to it

Sleeps, time-outs and timers follow these clocks under `run`: deadlines on a clock that is
moved, and with --rate and --name all of them; under --freeze without --name they take real
time, since nothing could let the clock go on. CPU time clocks and file times remain
the kernel's, and so does a clock that a program reads by system call instead of through its
vDSO, but for `run --strict`.

Dates: 2000-01-01, '2038-01-19 03:14:07' (in this machine's time zone), '2038-01-19
03:14:07Z', 2038-01-19T03:14:07+01:00, 'Tue, 19 Jan 2038 03:14:07 +0000', @2147483647
(seconds since 1970). Durations: +1h, -30d, '2 weeks 3 days', +1y, 1h30m, 250ms; m is
minutes, mo months. Rates: 60, 0.5, 1/3; up to 100000.";

/// What time it is to be.
#[derive(clap::Args)]
#[command(next_help_heading = "Time")]
pub(crate) struct Options {
    /// Wall time at the start
    #[arg(long, value_name = "DATE", allow_hyphen_values = true)]
    time: Option<String>,
    /// Wall time is so much ahead (+1h) or behind (-30d)
    #[arg(
        long,
        value_name = "DURATION",
        allow_hyphen_values = true,
        conflicts_with = "time"
    )]
    offset: Option<String>,
    /// Time passes so many times as fast: 60 is a minute a second
    #[arg(long, allow_hyphen_values = true)]
    rate: Option<String>,
    /// Time stands still; `vdso clock NAME resume` lets it go on
    #[arg(long)]
    freeze: bool,
    /// Time stands still, and each read of a clock moves all clocks by so much (1ns to 1m):
    /// the same run gives the same times. Each program counts its own reads, from its start
    #[arg(
        long,
        value_name = "DURATION",
        allow_hyphen_values = true,
        conflicts_with_all = ["rate", "freeze"]
    )]
    seed_step: Option<String>,
    /// Real time, fast where the kernel's is slow: from the clock that `vdso serve clock`
    /// publishes, or from that in FILE. Not for programs that enter a time namespace
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = CLOCK,
        conflicts_with_all = ["time", "offset", "rate", "freeze", "seed_step", "name"]
    )]
    clock: Option<PathBuf>,
    /// Fail with --clock when the clock is not published. Otherwise the program starts with the
    /// kernel's clock, and has the published one from the moment when it is
    #[arg(long, requires = "clock")]
    require_clock: bool,
}

impl Options {
    fn changes(&self) -> Result<Vec<Change>, vdsokit_virtual_time::Error> {
        let now = Reading::of_kernel()?.at(Clock::Realtime);
        let mut changes = Vec::new();
        if let Some(time) = &self.time {
            changes.push(Change::Set(text::date(time, now)?));
        }
        if let Some(offset) = &self.offset {
            changes.push(Change::Step(text::duration(offset, now)?));
        }
        if let Some(rate) = &self.rate {
            let (numerator, denominator) = text::rate(rate)?;
            changes.push(Change::Rate(numerator, denominator));
        }
        changes.extend(self.freeze.then_some(Change::Freeze));
        if let Some(step) = &self.seed_step {
            changes.push(Change::EachRead(text::step(step)?));
        }
        Ok(changes)
    }

    /// Whether some clock is another than the kernel's.
    pub(crate) fn is_virtual(&self) -> bool {
        self.time.is_some()
            || self.offset.is_some()
            || self.rate.is_some()
            || self.freeze
            || self.seed_step.is_some()
    }

    /// Which waits are converted, and whether the clocks may be changed while programs wait.
    /// `None`: none, as no clock is another than the kernel's, or each program has its own.
    pub(crate) fn waits(&self, is_changeable: bool) -> Option<(Scope, bool)> {
        let scope = match self {
            Options { clock: Some(_), .. }
            | Options {
                seed_step: Some(_), ..
            } => return None,
            _ if is_changeable || self.rate.is_some() || self.freeze => Scope::All,
            Options {
                time: None,
                offset: None,
                ..
            } => return None,
            _ => Scope::WallDeadlines,
        };
        Some((scope, is_changeable))
    }

    /// The clock image with pages of this time; and the pages, unless another process publishes
    /// them.
    pub(crate) fn make(&self, name: Option<&str>) -> Result<(Option<Time>, Object)> {
        if let Some(file) = &self.clock
            && let Some(object) = published_clock(file, self.require_clock)?
        {
            return Ok((None, object));
        }
        let name: Option<Name> = name.map(str::parse).transpose()?;
        let time = Time::create(name.as_ref(), &self.changes()?)?;
        let mut object = Object::new(IMAGE)?.with_vvar(time.vvar()?, 0)?;
        if self.seed_step.is_some() {
            object = object.with_word(READS)?;
        }
        Ok((Some(time), object))
    }
}

/// The image and the pages of a published clock; `None` where there is none, and no file in which a
/// publisher could start one.
fn published_clock(file: &Path, is_required: bool) -> Result<Option<Object>> {
    if !is_machine_time() {
        return Err(miette!(
            help = "without `--clock` the program has the kernel's own clock, which is right here",
            "this process lives in a time namespace of its own: the published clock is the \
             machine's"
        ));
    }
    let clock = match published::resolve(file)?.filter(|clock| clock.path().exists()) {
        Some(clock) => clock,
        None if is_required => return Err(not_published(file)),
        None => match unpublished_clock(file) {
            Ok(path) => Located::at(path),
            Err(error) => {
                output::warn(format_args!(
                    "vdso: the clock is not published, and its file can't be made ({error}): the \
                     program has the kernel's clock"
                ));
                return Ok(None);
            }
        },
    };
    let vdso = clock.open()?;
    if is_required && vdso.status().condition != Condition::Live {
        return Err(not_published(clock.path()));
    }
    // Whether it is a clock's.
    Reader::new(&vdso, Clock::Monotonic)?;
    if let Some(warning) = published::warning(&vdso) {
        output::warn(format_args!(
            "vdso: {warning}. The program has the kernel's clock until `vdso serve clock` publishes"
        ));
    }
    clock.object().map(Some)
}

fn not_published(file: &Path) -> miette::Report {
    miette!(
        help = "`vdso serve clock` publishes it; without `--require-clock` the program starts with \
                the kernel's clock",
        "the clock {} is not published",
        output::path(file)
    )
}

/// Puts the clock's image where its publisher will start, which then continues in this very file:
/// so a program that has its pages takes the clock when it appears.
fn unpublished_clock(file: &Path) -> Result<PathBuf, vdsokit_publish::Error> {
    let made;
    let path = match file == Path::new(CLOCK) {
        true => {
            made = place::make()?;
            made.path().join(FILE)
        }
        false => file.to_owned(),
    };
    install(&path, IMAGE)?;
    Ok(path)
}

/// What is worth a line on standard error.
pub(crate) fn say(event: &Event) {
    let program = |path: &Option<std::path::PathBuf>, pid: &u32| match path {
        Some(path) => Path::display(path).to_string(),
        None => format!("process {pid}"),
    };
    let text = match event {
        Event::Unserved {
            pid,
            program: path,
            reason,
        } => {
            let program = program(path, pid);
            format!("{program} runs in real time: {reason}")
        }
        Event::UnservedWait {
            pid,
            program: path,
            reason,
        } => {
            let program = program(path, pid);
            format!("{program} waits in real time: {reason}")
        }
        Event::RightsWithheld { pid, program: path } => {
            let program = program(path, pid);
            format!("{program} runs without the rights of its owner, as under any tracer")
        }
        Event::TracesOthers { pid, program: path } => {
            let program = program(path, pid);
            format!("{program} can trace others: what it starts runs in real time")
        }
        Event::Emulates { pid, program: path } => {
            let program = program(path, pid);
            format!(
                "{program} runs programs without a vDSO: they are in real time, but for system \
                 calls that `vdso run --strict` answers"
            )
        }
        _ => return,
    };
    output::warn(format_args!("vdso: {text}"));
}
