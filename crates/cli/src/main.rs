//! The program `vdso`: one module a command under `commands`.
#![cfg_attr(not(test), no_main)]

mod commands;
mod output;
mod published;
mod start;
#[cfg(target_arch = "x86_64")]
mod virtual_time;

use clap::{CommandFactory, Parser};
use start::ExitCode;
use std::ffi::OsString;

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

/// Does what these arguments ask for; the first is the program's name.
#[cfg_attr(test, allow(dead_code, reason = "tests begin elsewhere"))]
fn command(arguments: &[OsString]) -> ExitCode {
    let parsed = match Arguments::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error, arguments),
    };
    match parsed.command.run() {
        Ok(status) => status,
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the arguments, or what was asked for: help or version.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    // Nobody is there to be told that nobody reads it.
    let _ = error.print();
    match error.use_stderr() {
        true => ExitCode::from(commands::usage_status(arguments)),
        false => ExitCode::SUCCESS,
    }
}
