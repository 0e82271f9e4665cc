//! The program `vdso`: one module a command under `commands`.

mod commands;
mod output;
mod published;
#[cfg(target_arch = "x86_64")]
mod virtual_time;

use clap::{CommandFactory, Parser};
use std::process::ExitCode;

/// Build, publish, deliver, call and look into vDSOs
#[derive(Parser)]
#[command(name = "vdso", version)]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

/// The definition of the whole command line: what `--help`, man pages and completions are made of.
fn definition() -> clap::Command {
    Arguments::command()
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match arguments.command.run() {
        Ok(status) => status,
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the arguments, or what was asked for: help or version.
fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is there to be told that nobody reads it.
    let _ = error.print();
    match error.use_stderr() {
        true => ExitCode::from(commands::usage_status()),
        false => ExitCode::SUCCESS,
    }
}
