//! The program `vdso`: one module a command under `commands`.

mod commands;
mod output;
mod published;

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
    match Arguments::parse().command.run() {
        Ok(status) => status,
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}
