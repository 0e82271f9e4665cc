//! `vdso kernel`: functions in Linux's own vDSO, and variables of the running kernel.

mod change;
mod vars;

use clap::Subcommand;
use miette::Result;
use std::process::ExitCode;

/// Put virtual system calls into Linux's own vDSO; list the running kernel's variables
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Add(change::Add),
    Remove(change::Remove),
    Vars(vars::Vars),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::Add(arguments) => change::add(arguments),
        Command::Remove(arguments) => change::remove(arguments),
        Command::Vars(arguments) => vars::vars(arguments),
    }
}
