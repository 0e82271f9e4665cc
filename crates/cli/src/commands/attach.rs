//! `vdso attach` and `vdso detach`: another time for a program that is running.

use crate::virtual_time::{CLOCKS, Options, Speaker};
use miette::Result;
use std::process::ExitCode;

/// Give a running program another time
///
/// All its threads are stopped for a moment. From then on, calls of its vDSO functions lead to
/// vdsokit's vDSO, also in children that it forks. If that can't be done, the program is not
/// changed, and the reason is printed. `vdso detach` restores every byte.
#[derive(clap::Args)]
#[command(after_long_help = CLOCKS)]
pub(crate) struct Arguments {
    /// Its process id
    pid: u32,
    #[command(flatten)]
    time: Options,
    /// Give what it executes from now on the same time; this command ends after the last of these
    /// programs
    #[arg(long)]
    follow: bool,
    /// A name for `vdso clock`, which can change the time while this command runs
    #[arg(long, requires = "follow")]
    name: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let name = arguments.name.as_deref();
    let made = arguments.time.make(name, name.is_some())?;
    let reports = made.time.as_ref().map(|time| time.reports()).transpose()?;
    let speaker = Speaker {
        reports,
        is_required: false,
    };
    let say = move |event| speaker.say(&event);
    match arguments.follow {
        true => vdsokit_deliver::attach_and_follow(arguments.pid, made.object, say)?,
        false => vdsokit_deliver::attach(arguments.pid, &made.object)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Give a program back the vDSO that it had before `vdso attach`
#[derive(clap::Args)]
pub(crate) struct DetachArguments {
    /// Its process id
    pid: u32,
}

pub(crate) fn detach(arguments: &DetachArguments) -> Result<ExitCode> {
    vdsokit_deliver::detach(arguments.pid)?;
    Ok(ExitCode::SUCCESS)
}
