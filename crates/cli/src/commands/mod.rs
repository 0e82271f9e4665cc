//! The commands: each is a module with its arguments and a `run`.

#[cfg(target_arch = "x86_64")]
mod attach;
mod bench;
mod build;
mod check;
#[cfg(target_arch = "x86_64")]
mod clock;
mod completions;
mod demo;
mod doctor;
mod dump;
mod get;
mod init;
mod kernel;
mod ls;
mod man;
mod retire;
#[cfg(target_arch = "x86_64")]
mod run;
mod serve;
mod set;
mod status;
mod watch;

use clap::Subcommand;
use miette::Result;
use std::ffi::OsString;
use std::process::ExitCode;

/// The commands of `vdso`.
#[derive(Subcommand)]
pub(crate) enum Command {
    #[cfg(target_arch = "x86_64")]
    Attach(attach::Arguments),
    Bench(bench::Arguments),
    Build(build::Arguments),
    Check(check::Arguments),
    #[cfg(target_arch = "x86_64")]
    Clock(clock::Arguments),
    Completions(completions::Arguments),
    Demo(demo::Arguments),
    #[command(hide = true)]
    DemoReader(demo::reader::Arguments),
    #[cfg(target_arch = "x86_64")]
    Detach(attach::DetachArguments),
    Doctor(doctor::Arguments),
    Dump(dump::Arguments),
    Get(get::Arguments),
    Init(init::Arguments),
    Kernel(kernel::Arguments),
    Ls(ls::Arguments),
    Man(man::Arguments),
    Retire(retire::Arguments),
    #[cfg(target_arch = "x86_64")]
    Run(run::Arguments),
    Serve(serve::Arguments),
    Set(set::Arguments),
    Status(status::Arguments),
    Watch(watch::Arguments),
    /// What this architecture does not have is refused by name
    #[cfg(not(target_arch = "x86_64"))]
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

impl Command {
    /// Runs the command and returns its exit status. `main` prints an error and exits with status 1;
    /// a command with another convention returns its own status.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Attach(arguments) => attach::run(&arguments),
            Self::Bench(arguments) => bench::run(&arguments),
            Self::Build(arguments) => build::run(arguments),
            Self::Check(arguments) => check::run(&arguments),
            #[cfg(target_arch = "x86_64")]
            Self::Clock(arguments) => clock::run(&arguments),
            Self::Completions(arguments) => completions::run(&arguments),
            Self::Demo(arguments) => demo::run(&arguments),
            Self::DemoReader(arguments) => demo::reader::run(&arguments),
            #[cfg(target_arch = "x86_64")]
            Self::Detach(arguments) => attach::detach(&arguments),
            Self::Doctor(arguments) => Ok(doctor::run(&arguments)),
            Self::Dump(arguments) => dump::run(&arguments),
            Self::Get(arguments) => get::run(&arguments),
            Self::Init(arguments) => init::run(&arguments),
            Self::Kernel(arguments) => kernel::run(&arguments),
            Self::Ls(arguments) => ls::run(&arguments),
            Self::Man(arguments) => man::run(&arguments),
            Self::Retire(arguments) => retire::run(&arguments),
            #[cfg(target_arch = "x86_64")]
            Self::Run(arguments) => Ok(run::run(&arguments)),
            Self::Serve(arguments) => serve::run(&arguments),
            Self::Set(arguments) => set::run(&arguments),
            Self::Status(arguments) => Ok(status::run(&arguments)),
            Self::Watch(arguments) => watch::run(&arguments),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Other(arguments) => Err(other(&arguments)),
        }
    }
}

/// The error for a command that is none here.
#[cfg(not(target_arch = "x86_64"))]
fn other(arguments: &[OsString]) -> miette::Report {
    let name = arguments.first().map(|name| name.to_string_lossy());
    let name = name.unwrap_or_default();
    match &*name {
        "attach" | "clock" | "detach" | "run" => miette::miette!(
            help = "publishing, reading and `vdso ls` work on every architecture",
            "`vdso {name}` delivers images to processes, which x86-64 only has so far"
        ),
        _ => miette::miette!(
            help = "`vdso --help` lists the commands",
            "`{}` is no command",
            name.escape_debug()
        ),
    }
}

/// The exit status for arguments that can't be parsed: 2, but for commands that use 2 otherwise.
pub(crate) fn usage_status(arguments: &[OsString]) -> u8 {
    match arguments.get(1).and_then(|command| command.to_str()) {
        #[cfg(target_arch = "x86_64")]
        Some("run") => run::NOT_TRIED,
        Some("status") => status::UNKNOWN,
        _ => 2,
    }
}
