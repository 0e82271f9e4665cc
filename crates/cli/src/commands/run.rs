//! `vdso run`: runs an unchanged program with a vDSO of this project.

use crate::output;
#[cfg(target_arch = "x86_64")]
use crate::signals::set_environment;
use crate::signals::sigpipe_was_ignored;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use miette::{Result, miette};
#[cfg(target_arch = "x86_64")]
use vdsokit_bpf::current;
use vdsokit_clock::Clock;
use vdsokit_deliver::{Delivery, Object, Timestamp};
#[cfg(target_arch = "x86_64")]
use vdsokit_publish::place;
use vdsokit_virtual_time::{Reader, text};
use vdsokit_waits::call::Scope;

use crate::published::Located;
use crate::virtual_time::{self, CLOCKS, Made, Options, Speaker};

/// Run a program, unchanged, at another time
///
/// The program gets vdsokit's vDSO in place of the kernel's, and so do all programs that it
/// starts: scripts, static and Go programs too. This process becomes the program: process id,
/// exit status, signals, terminal and job control are as without `vdso run`. Without an option
/// of time the vDSO returns the kernel's time; with `--clock` it does so without a system call
/// where the kernel's own needs one.
///
/// Exit status: the program's; 127 when it is not found, 126 when it can't be executed, 125
/// when it was not tried, or was ended because of --require.
#[derive(clap::Args)]
#[command(after_long_help = CLOCKS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    time: Options,
    /// A name for `vdso clock`, which changes the time while the program runs
    #[arg(long, conflicts_with = "no_follow")]
    name: Option<String>,
    /// Enter the time of the programs that run under this name of `vdso run --name` or
    /// `vdso attach --name`, and follow its changes
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = [
            "time", "offset", "rate", "freeze", "seed_step", "clocks", "clock", "name", "no_follow",
            "skip_idle"
        ]
    )]
    join: Option<String>,
    /// End rather than let any part of the program, and of what it starts, see real time. Its exit
    /// status is 125 then. Includes --strict
    #[arg(long, conflicts_with_all = ["no_follow", "seed_step", "clock"])]
    require: bool,
    /// Skip time in which nothing runs: when no thread of the program, and of what it starts, has
    /// run for the threshold (5ms), all clocks step to the next time that one of them waits for
    #[arg(
        long,
        value_name = "THRESHOLD",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5ms",
        conflicts_with_all = ["no_follow", "seed_step", "clock", "freeze"]
    )]
    skip_idle: Option<String>,
    /// Don't skip time while this process, which --skip-idle does not serve, or one that it started
    /// runs: a server that the program waits for. May be given again
    #[arg(long, value_name = "PID", requires = "skip_idle")]
    busy_on: Vec<u32>,
    /// Convert file times too: those that stat and its siblings read and that utimensat and its siblings set.
    /// Each of these calls costs a stop
    #[arg(long, conflicts_with_all = ["no_follow", "seed_step", "clock"])]
    file_times: bool,
    /// Leave alone what the program executes: only the program itself gets the vDSO
    #[arg(long)]
    no_follow: bool,
    /// Answer for system calls that read the clock as well: for old static programs and
    /// others that make them. Each costs a stop; setuid programs don't gain their rights
    // The reads that --seed-step counts are counted in the program's own memory.
    #[arg(long, conflicts_with_all = ["no_follow", "seed_step", "clock"])]
    strict: bool,
    /// Put the functions of this vDSO into the program too; may be given again. Where the
    /// kernel publishes in it, the program has the kernel's own pages
    #[arg(long, value_name = "FILE")]
    object: Vec<PathBuf>,
    /// Answer for getpid, gettid, getppid and the CPU-time clocks from the page that `vdso serve current`
    /// publishes: the vDSO has the clocks, and a library that is preloaded has the rest, which static
    /// programs don't load
    #[cfg(target_arch = "x86_64")]
    #[arg(long)]
    current: bool,
    /// The program, looked for in PATH, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// The exit status for what went wrong before the program could be tried, as env(1) and
/// timeout(1) have it.
pub(crate) const NOT_TRIED: u8 = 125;

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    #[cfg(target_arch = "x86_64")]
    if arguments.current
        && let Err(report) = preload()
    {
        output::report(&report);
        return ExitCode::from(NOT_TRIED);
    }
    let (status, report) = match delivery(arguments) {
        Ok((delivery, speaker)) => {
            let error = match arguments.command.split_first() {
                Some((program, rest)) => {
                    delivery.exec(program, rest, |event| speaker.report(&event))
                }
                // clap requires one.
                None => return ExitCode::from(NOT_TRIED),
            };
            (error.exit_status(), error.into())
        }
        Err(report) => (NOT_TRIED, report),
    };
    output::report(&report);
    ExitCode::from(status)
}

/// Puts the library of `vdso serve current` before what the program preloads (ld.so(8)).
#[cfg(target_arch = "x86_64")]
fn preload() -> Result<()> {
    const NAME: &str = "LD_PRELOAD";
    let found = place::find_for_machine(vdsokit_current_library::SONAME).ok_or_else(|| {
        miette!(
            help = "`vdso serve current --group NAME` publishes it",
            "the running task is not published"
        )
    })?;
    let mut list = found.path().as_os_str().to_owned();
    if let Some(others) = std::env::var_os(NAME).filter(|others| !others.is_empty()) {
        list.push(":");
        list.push(others);
    }
    set_environment(NAME, &list);
    Ok(())
}

/// Links the running task's pages to the clock image, which answers for the CPU-time clocks from them.
/// Where this user has none, the kernel answers.
#[cfg(target_arch = "x86_64")]
fn with_current(clock: Object) -> Result<Object> {
    let user = rustix::process::getuid().as_raw();
    let directory = std::path::Path::new(vdsokit_current::DIRECTORY);
    // A clock that is published by an older version has no such link.
    let is_linked = clock.has_link(vdsokit_current::LINK);
    let Some(pages) = current::open(directory, user).filter(|_| is_linked) else {
        return Ok(clock);
    };
    let maps = [(pages.head, 4096), (pages.slots, pages.slots_size as u64)];
    Ok(clock.with_memory(vdsokit_current::LINK, maps)?)
}

fn delivery(arguments: &Arguments) -> Result<(Delivery, Speaker)> {
    let skips = arguments.skip_idle.as_deref();
    let is_changeable = arguments.name.is_some() || arguments.join.is_some() || skips.is_some();
    let made = match &arguments.join {
        Some(name) => virtual_time::join(name)?,
        None => {
            let name = arguments.name.as_deref();
            arguments.time.make(name, is_changeable)?
        }
    };
    check(arguments, &made)?;
    #[cfg(target_arch = "x86_64")]
    let clock = match arguments.current {
        true => with_current(made.object)?,
        false => made.object,
    };
    #[cfg(not(target_arch = "x86_64"))]
    let clock = made.object;
    let object = join(clock, &arguments.object)?;
    let mut delivery = Delivery::new(object)
        .follow(!arguments.no_follow)
        .ignores_sigpipe(sigpipe_was_ignored())
        .require(arguments.require)
        .protects_clocks(made.is_virtual);
    let mut speaker = Speaker {
        reports: None,
        is_required: arguments.require,
    };
    let Some(time) = made.time else {
        return Ok((delivery, speaker));
    };
    speaker.reports = Some(time.reports()?);
    if arguments.strict || arguments.require {
        let ids = Clock::ALL.map(|clock| clock.id() as i32);
        delivery = delivery.strict(&ids, read(time.reader()?));
    }
    if let Some(scope) = made.waits {
        if skips.is_some() {
            time.set_skips_idle();
        }
        delivery = delivery
            .waits(Box::new(time), scope, is_changeable)
            .file_times(arguments.file_times);
    }
    if let Some(threshold) = skips {
        let threshold = Duration::from_nanos(text::step(threshold)?);
        delivery = delivery.skip_idle(threshold, &arguments.busy_on);
    }
    Ok((delivery, speaker))
}

/// Refuses options that the time of this program can't have.
fn check(arguments: &Arguments, made: &Made) -> Result<()> {
    let is_strict = arguments.strict || arguments.require;
    if made.counts_reads && (is_strict || arguments.skip_idle.is_some()) {
        return Err(miette!(
            help = "leave out --strict, --require and --skip-idle, or the step at each read",
            "time that advances at each read is counted by each program itself"
        ));
    }
    if arguments.skip_idle.is_some() && made.waits != Some(Scope::All) {
        return Err(miette!(
            help = "leave out --clocks, or choose all",
            "--skip-idle moves all clocks"
        ));
    }
    let exists = |pid: &&u32| Path::new(&format!("/proc/{pid}")).exists();
    if let Some(pid) = arguments.busy_on.iter().find(|pid| !exists(pid)) {
        return Err(miette!(
            help = "name a process that runs, as `pidof` prints it",
            "there is no process {pid} for --busy-on"
        ));
    }
    let needs_time = match (arguments.require, arguments.file_times) {
        (true, _) => Some("--require"),
        (_, true) => Some("--file-times"),
        _ => None,
    };
    if let Some(option) = needs_time.filter(|_| made.waits.is_none()) {
        return Err(miette!(
            help = format!("add --offset, --rate or another option of time, or leave out {option}"),
            "the program has real time"
        ));
    }
    Ok(())
}

/// `clock` and the objects in `files` as one.
fn join(clock: Object, files: &[PathBuf]) -> Result<Object> {
    if files.is_empty() {
        return Ok(clock);
    }
    let others = files.iter().map(|path| {
        let why = || format!("{} can't be put into the program", output::path(path));
        Located::at(path.clone())
            .object()
            .map_err(|error| error.wrap_err(why()))
    });
    let all: Result<Vec<Object>> = std::iter::once(Ok(clock)).chain(others).collect();
    Ok(Object::join(all?)?)
}

/// What answers a read of a clock with some id.
fn read(reader: Reader) -> impl FnMut(i32) -> Option<Timestamp> + Send {
    move |id| {
        let clock = Clock::from_id(id.try_into().ok()?)?;
        let moment = reader.read(clock)?;
        Some(Timestamp {
            seconds: moment.seconds,
            nanoseconds: moment.nanoseconds,
        })
    }
}
