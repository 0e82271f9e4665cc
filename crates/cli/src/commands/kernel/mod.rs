//! `vdso kernel`: functions in a kernel's own vDSO.

mod change;

use clap::Subcommand;
use miette::Result;
use std::process::ExitCode;

/// Put virtual system calls into Linux's own vDSO
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Add(change::Add),
    Remove(change::Remove),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::Add(arguments) => change::add(arguments),
        Command::Remove(arguments) => change::remove(arguments),
    }
}
