//! `vdso attach` and `vdso detach`: a program that runs already.

use crate::start::ExitCode;

use miette::Result;

use crate::virtual_time::{CLOCKS, Options, say};

/// Give a running program another time
///
/// All its threads are stopped for a moment, and its vDSO functions become ours; children
/// that it forks have them as well. Whatever can't be done leaves the program as it was, with
/// the reason. `vdso detach` puts back every byte.
#[derive(clap::Args)]
#[command(after_long_help = CLOCKS)]
pub(crate) struct Arguments {
    /// Its process id
    pid: u32,
    #[command(flatten)]
    time: Options,
    /// Give what it executes from now on the same time, and stay until the last of it has
    /// ended
    #[arg(long)]
    follow: bool,
    /// A name for `vdso clock`, which changes the time while this stays
    #[arg(long, requires = "follow")]
    name: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (_, object) = arguments.time.make(arguments.name.as_deref())?;
    match arguments.follow {
        true => vdsokit_deliver::attach_and_follow(arguments.pid, object, |event| say(&event))?,
        false => vdsokit_deliver::attach(arguments.pid, &object)?,
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
