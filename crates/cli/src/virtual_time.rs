//! What the commands around virtual time have in common: their options, and what the tracer
//! says.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use miette::{Result, miette};
use vdsokit_clock::page::READS;
use vdsokit_clock::{Clock, Course};
use vdsokit_deliver::{Event, Object};
use vdsokit_publish::{Condition, install, place};
use vdsokit_sources::clock::{FILE, Reader, is_machine_time};
#[cfg(target_arch = "x86_64")]
use vdsokit_virtual_time::IMAGE_I386;
use vdsokit_virtual_time::{Change, Clocks, IMAGE, Name, Reading, Reports, Time, text};
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

With --clocks wall the right column stays the kernel's, with --clocks monotonic
the left one, and with --clocks all --offset moves both, the right one only
forward. The default is as above: with --rate a program that measures a wait
finds as much time as it asked for, and a date says nothing about clocks that
count from the start of the machine.

Sleeps, time-outs and timers follow these clocks under `run`: deadlines on a
clock that is moved, and with --rate and --name all of them, or with --clocks
wall the deadlines on wall clocks. Under --freeze without --name they take real
time, since nothing could let the clock go on. Calls that set the clock set the
program's. CPU time clocks remain the kernel's, and so do file times, but for
`run --file-times`, and a clock that a program reads by system call instead of
through its vDSO, but for `run --strict`.

Dates: 2000-01-01, '2038-01-19 03:14:07' (in this machine's time zone),
'2038-01-19 03:14:07Z', 2038-01-19T03:14:07+01:00, 'Tue, 19 Jan 2038 03:14:07
+0000', @2147483647 (seconds since 1970), yesterday, 'last friday 5 pm'.
Durations: +1h, -30d, '2 weeks 3 days', +1y, 1h30m, 250ms, +3600 (seconds); m is
minutes, mo months. Rates: 60, 0.5, 1/3; up to 100000. --time takes what
faketime takes: a date or a duration, then x and a rate, or i and seconds:
'+2y x10', 'i2.0'.";

/// What time it is to be.
#[derive(clap::Args)]
#[command(next_help_heading = "Time")]
pub(crate) struct Options {
    /// Wall time at the start: a date; or as faketime takes it, '+2y x10'
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
    /// The clocks that the options above and `vdso clock` move, run and freeze
    #[arg(long, value_name = "WHICH", conflicts_with = "clock")]
    clocks: Option<Which>,
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

/// Clocks to choose from.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// Wall clocks; waits for a duration take real time
    Wall,
    /// Those that count from the start of the machine
    Monotonic,
    /// All of them, by --offset too
    All,
}

/// The time that a program is to have.
pub(crate) struct Made {
    /// The clock image with pages of this time.
    pub(crate) object: Object,
    /// The pages, unless another process publishes them for all programs of the machine.
    pub(crate) time: Option<Time>,
    /// Whether some clock is another than the kernel's.
    pub(crate) is_virtual: bool,
    /// Which waits are converted. `None`: none, as no clock is another than the kernel's, or each
    /// program has its own.
    pub(crate) waits: Option<Scope>,
    /// Whether each read of a clock moves it.
    pub(crate) counts_reads: bool,
}

impl Options {
    fn changes(&self) -> Result<Vec<Change>, vdsokit_virtual_time::Error> {
        let now = Reading::of_kernel()?.at(Clock::Realtime);
        let mut changes = Vec::new();
        if let Some(time) = &self.time {
            changes.extend(text::changes(time, now)?);
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

    fn clocks(&self) -> Clocks {
        match self.clocks {
            None => Clocks::Usual,
            Some(Which::Wall) => Clocks::Wall,
            Some(Which::Monotonic) => Clocks::Monotonic,
            Some(Which::All) => Clocks::All,
        }
    }

    /// Makes the time. `is_changeable`: it may be changed while programs wait.
    pub(crate) fn make(&self, name: Option<&str>, is_changeable: bool) -> Result<Made> {
        if let Some(file) = &self.clock
            && let Some(object) = published_clock(file, self.require_clock)?
        {
            return Ok(Made {
                object,
                time: None,
                is_virtual: false,
                waits: None,
                counts_reads: false,
            });
        }
        let name: Option<Name> = name.map(str::parse).transpose()?;
        let (clocks, changes) = (self.clocks(), self.changes()?);
        let time = Time::create_for(name.as_ref(), clocks, &changes)?;
        let any = |is: fn(&Change) -> bool| changes.iter().any(is);
        let counts_reads = any(|change| matches!(change, Change::EachRead(_)));
        let runs = any(|change| matches!(change, Change::Rate(..) | Change::Freeze));
        let waits = match (is_changeable || runs || clocks != Clocks::Usual, clocks) {
            _ if self.clock.is_some() || counts_reads => None,
            _ if changes.is_empty() && !is_changeable => None,
            (false, _) | (true, Clocks::Wall) => Some(Scope::WallDeadlines),
            (true, _) => Some(Scope::All),
        };
        Ok(Made {
            object: object(&time, counts_reads)?,
            time: Some(time),
            is_virtual: is_changeable || !changes.is_empty(),
            waits,
            counts_reads,
        })
    }
}

/// The time called `name`, for another tree.
pub(crate) fn join(name: &str) -> Result<Made> {
    let name: Name = name.parse()?;
    let mut time = Time::find(&name)?;
    if time.skips_idle() {
        return Err(miette!(
            help = "start both in one tree: `vdso run --skip-idle -- sh -c '…'`",
            "the time of {name} can't be joined: it is skipped when nothing runs in its own tree"
        ));
    }
    let reading = time.read()?;
    let counts_reads = matches!(reading.course(), Course::EachRead(_));
    let waits = match reading.clocks() {
        _ if counts_reads => None,
        Clocks::Wall => Some(Scope::WallDeadlines),
        _ => Some(Scope::All),
    };
    Ok(Made {
        object: object(&time, counts_reads)?,
        time: Some(time),
        is_virtual: true,
        waits,
        counts_reads,
    })
}

/// The clock image with the pages of `time`.
fn object(time: &Time, counts_reads: bool) -> Result<Object> {
    let object = Object::new(IMAGE)?.with_vvar(time.vvar()?, 0)?;
    #[cfg(target_arch = "x86_64")]
    let object = match IMAGE_I386 {
        Some(image) => object.with_i386(image)?,
        None => object,
    };
    match counts_reads {
        true => Ok(object.with_word(READS)?),
        false => Ok(object),
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

/// Says what can't be served: once on standard error, and in `vdso clock NAME show`.
#[derive(Debug, Default)]
pub(crate) struct Speaker {
    /// Where `vdso clock` finds it.
    pub(crate) reports: Option<Reports>,
    /// Whether what can't be served ends the program.
    pub(crate) is_required: bool,
}

impl Speaker {
    pub(crate) fn report(&self, event: &Event) {
        let Some((text, is_real_time)) = text_of(event) else {
            return;
        };
        if let Some(reports) = &self.reports {
            reports.add(&text);
        }
        match self.is_required && is_real_time {
            true => output::warn(format_args!("vdso: {text}; --require ends the program")),
            false => output::warn(format_args!("vdso: {text}")),
        }
    }
}

/// What is worth a line, and whether a part of the tree is in real time for that reason.
fn text_of(event: &Event) -> Option<(String, bool)> {
    let program = |path: &Option<PathBuf>, pid: &u32| match path {
        Some(path) => output::path(path),
        None => format!("process {pid}"),
    };
    Some(match event {
        Event::Unserved {
            pid,
            program: path,
            reason,
        } => {
            let program = program(path, pid);
            (format!("{program} runs in real time: {reason}"), true)
        }
        Event::UnservedWait {
            pid,
            program: path,
            reason,
        } => {
            let program = program(path, pid);
            (format!("{program} waits in real time: {reason}"), true)
        }
        Event::UnservedFileTimes {
            pid,
            program: path,
            reason,
        } => {
            let program = program(path, pid);
            (format!("{program} has real file times: {reason}"), true)
        }
        Event::RightsWithheld { pid, program: path } => {
            let program = program(path, pid);
            let what = "runs without the rights of its owner, as under any tracer";
            (format!("{program} {what}"), false)
        }
        Event::TracesOthers { pid, program: path } => {
            let program = program(path, pid);
            let what = "can trace others: what it starts runs in real time";
            (format!("{program} {what}"), false)
        }
        Event::Emulates { pid, program: path } => {
            let program = program(path, pid);
            let what = "runs programs without a vDSO: they are in real time, but for system calls \
                        that `vdso run --strict` answers";
            (format!("{program} {what}"), false)
        }
        _ => return None,
    })
}
