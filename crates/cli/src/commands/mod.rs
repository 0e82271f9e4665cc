//! The commands: each is a module with its arguments and a `run`.

mod bench;
mod build;
mod check;
mod completions;
mod demo;
mod doctor;
mod dump;
mod get;
mod ls;
mod man;
mod retire;
mod serve;
mod set;
mod watch;

use clap::Subcommand;
use miette::Result;
use std::process::ExitCode;

/// What `vdso` can be asked for.
#[derive(Subcommand)]
pub(crate) enum Command {
    Bench(bench::Arguments),
    Build(build::Arguments),
    Check(check::Arguments),
    Completions(completions::Arguments),
    Demo(demo::Arguments),
    #[command(hide = true)]
    DemoReader(demo::reader::Arguments),
    Doctor(doctor::Arguments),
    Dump(dump::Arguments),
    Get(get::Arguments),
    Ls(ls::Arguments),
    Man(man::Arguments),
    Retire(retire::Arguments),
    Serve(serve::Arguments),
    Set(set::Arguments),
    Watch(watch::Arguments),
}

impl Command {
    /// Does what was asked. An error is printed by `main` and ends with status 1;
    /// a command with another convention returns its own status.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Bench(arguments) => bench::run(&arguments),
            Self::Build(arguments) => build::run(arguments),
            Self::Check(arguments) => check::run(&arguments),
            Self::Completions(arguments) => completions::run(&arguments),
            Self::Demo(arguments) => demo::run(&arguments),
            Self::DemoReader(arguments) => demo::reader::run(&arguments),
            Self::Doctor(arguments) => Ok(doctor::run(&arguments)),
            Self::Dump(arguments) => dump::run(&arguments),
            Self::Get(arguments) => get::run(&arguments),
            Self::Ls(arguments) => ls::run(&arguments),
            Self::Man(arguments) => man::run(&arguments),
            Self::Retire(arguments) => retire::run(&arguments),
            Self::Serve(arguments) => serve::run(&arguments),
            Self::Set(arguments) => set::run(&arguments),
            Self::Watch(arguments) => watch::run(&arguments),
        }
    }
}
