//! `vdso attach` and `vdso detach`: another time for a program that is running.

use crate::output;
use crate::virtual_time::{CLOCKS, Options, Speaker};
use miette::{Result, miette};
use std::path::PathBuf;
use std::process::ExitCode;
use vdsokit_deliver::{Event, Group};

/// Give a running program another time
///
/// All its threads are stopped for a moment. From then on, calls of its vDSO functions lead to
/// vdsokit's vDSO, also in children that it forks. If that can't be done, the program is not
/// changed, and the reason is printed. `vdso detach` restores every byte.
#[derive(clap::Args)]
#[command(after_long_help = CLOCKS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: Which,
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

/// Which processes.
#[derive(clap::Args)]
struct Which {
    /// Its process id
    #[arg(required_unless_present = "cgroup")]
    pid: Option<u32>,
    /// All its descendants too, those that exist now. A process that can't be changed is reported,
    /// and the exit status is 1 then
    #[arg(long, requires = "pid")]
    tree: bool,
    /// All processes of the control group with this directory, and of those below it
    #[arg(long, value_name = "PATH", conflicts_with_all = ["pid", "tree"])]
    cgroup: Option<PathBuf>,
}

impl Which {
    /// `Err`: it is one process.
    fn group(&self) -> Result<Group, u32> {
        match (&self.cgroup, self.pid) {
            (Some(path), _) => Ok(Group::Cgroup(path.clone())),
            (None, Some(pid)) if self.tree => Ok(Group::Tree(pid)),
            // clap requires one.
            (None, pid) => Err(pid.unwrap_or(0)),
        }
    }
}

/// The exit status when so many processes were left as they are, and so many were changed.
fn status((left, changed): (usize, usize)) -> Result<ExitCode> {
    match (left, changed) {
        (0, 0) => Err(miette!(
            help = "`vdso ls PID` shows the vDSO of a process",
            "there is no process to change"
        )),
        (0, _) => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let name = arguments.name.as_deref();
    let made = arguments.time.make(name, name.is_some())?;
    let reports = made.time.as_ref().map(|time| time.reports()).transpose()?;
    let speaker = Speaker {
        reports,
        is_required: false,
    };
    let report = move |event| speaker.report(&event);
    let (object, follow) = (made.object, arguments.follow);
    match arguments.which.group() {
        Ok(group) => {
            return status(vdsokit_deliver::attach_all(&group, object, follow, report)?);
        }
        Err(pid) if follow => vdsokit_deliver::attach_and_follow(pid, object, report)?,
        Err(pid) => vdsokit_deliver::attach(pid, &object)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Give a program back the vDSO that it had before `vdso attach`
#[derive(clap::Args)]
pub(crate) struct DetachArguments {
    #[command(flatten)]
    which: Which,
}

pub(crate) fn detach(arguments: &DetachArguments) -> Result<ExitCode> {
    let report = |event| {
        if let Event::Unserved { pid, reason, .. } = event {
            output::warn(format_args!(
                "vdso: process {pid} is left as it is: {reason}"
            ));
        }
    };
    match arguments.which.group() {
        Ok(group) => return status(vdsokit_deliver::detach_all(&group, report)?),
        Err(pid) => vdsokit_deliver::detach(pid)?,
    }
    Ok(ExitCode::SUCCESS)
}
