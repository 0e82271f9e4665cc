//! `vdso run`: runs an unchanged program with a vDSO of this project.

use crate::output;
use crate::signals::sigpipe_was_ignored;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use miette::Result;
use vdsokit_clock::Clock;
use vdsokit_deliver::{Delivery, Object, Timestamp};
use vdsokit_virtual_time::text;

use crate::published::Located;
use crate::virtual_time::{CLOCKS, Options, say};

/// Run a program, unchanged, at another time
///
/// The program gets vdsokit's vDSO in place of the kernel's, and so do all programs that it
/// starts: scripts, static and Go programs too. This process becomes the program: process id,
/// exit status, signals, terminal and job control are as without `vdso run`. Without an option
/// of time the vDSO returns the kernel's time; with `--clock` it does so without a system call
/// where the kernel's own needs one.
///
/// Exit status: the program's; 127 when it is not found, 126 when it can't be executed, 125
/// when it was not tried.
#[derive(clap::Args)]
#[command(after_long_help = CLOCKS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    time: Options,
    /// A name for `vdso clock`, which changes the time while the program runs
    #[arg(long, conflicts_with = "no_follow")]
    name: Option<String>,
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
    /// The program, looked for in PATH, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// The exit status for what went wrong before the program could be tried, as env(1) and
/// timeout(1) have it.
pub(crate) const NOT_TRIED: u8 = 125;

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let (status, report) = match delivery(arguments) {
        Ok(delivery) => {
            let error = match arguments.command.split_first() {
                Some((program, rest)) => delivery.exec(program, rest, |event| say(&event)),
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

fn delivery(arguments: &Arguments) -> Result<Delivery> {
    let (time, clock) = arguments.time.make(arguments.name.as_deref())?;
    let object = match arguments.object.is_empty() {
        true => clock,
        false => {
            let others = arguments.object.iter().map(|path| {
                let why = || format!("{} can't be put into the program", output::path(path));
                Located::at(path.clone())
                    .object()
                    .map_err(|error| error.wrap_err(why()))
            });
            let all: Result<Vec<Object>> = std::iter::once(Ok(clock)).chain(others).collect();
            Object::join(all?)?
        }
    };
    let mut delivery = Delivery::new(object)
        .follow(!arguments.no_follow)
        .ignores_sigpipe(sigpipe_was_ignored());
    let Some(time) = time else {
        return Ok(delivery);
    };
    let reader = time.reader()?;
    let skips = arguments.skip_idle.as_deref();
    let is_changeable = arguments.name.is_some() || skips.is_some();
    delivery = delivery.protects_clocks(is_changeable || arguments.time.is_virtual());
    if let Some((scope, is_changeable)) = arguments.time.waits(is_changeable) {
        delivery = delivery.waits(Box::new(time), scope, is_changeable);
    }
    if let Some(threshold) = skips {
        delivery = delivery.skip_idle(Duration::from_nanos(text::step(threshold)?));
    }
    if !arguments.strict {
        return Ok(delivery);
    }
    let read = move |id: i32| {
        let clock = Clock::from_id(id.try_into().ok()?)?;
        let moment = reader.read(clock)?;
        Some(Timestamp {
            seconds: moment.seconds,
            nanoseconds: moment.nanoseconds,
        })
    };
    Ok(delivery.strict(&Clock::ALL.map(|clock| clock.id() as i32), read))
}
