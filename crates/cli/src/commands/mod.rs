//! The commands: each is a module with its arguments and a `run`.

mod build;
mod check;

use clap::Subcommand;
use miette::Result;
use std::process::ExitCode;

/// What `vdso` can be asked for.
#[derive(Subcommand)]
pub(crate) enum Command {
    Build(build::Arguments),
    Check(check::Arguments),
}

impl Command {
    /// Does what was asked. An error is printed by `main` and ends with status 1;
    /// a command with another convention returns its own status.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Build(arguments) => build::run(arguments),
            Self::Check(arguments) => check::run(&arguments),
        }
    }
}
