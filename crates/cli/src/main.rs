//! The program `vdso`: one module for each command under `commands`.
//!
//! Everything is printed through [`output`], which never panics: `print!` and its relatives do when
//! the standard output is closed or its disk is full.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod commands;
mod image;
mod metrics;
mod output;
mod published;
mod signals;
mod values;
#[cfg(target_arch = "x86_64")]
mod virtual_time;

use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::process::ExitCode;

/// Build, publish, deliver, call and inspect vDSOs
#[derive(Parser)]
#[command(name = "vdso", version, max_term_width = output::WIDTH)]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

/// The definition of the command line, for man pages and completions.
fn definition() -> clap::Command {
    Arguments::command()
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let parsed = match Arguments::try_parse_from(&arguments) {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error, &arguments),
    };
    parsed.command.run().unwrap_or_else(|report| {
        output::report(&report);
        ExitCode::FAILURE
    })
}

/// Prints the help or the version where the arguments request it, otherwise what is wrong with
/// them.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let text = error.render().ansi().to_string();
    if error.use_stderr() {
        output::warn(text.trim_end());
        return ExitCode::from(commands::usage_status(arguments));
    }
    match output::show(&text) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            output::report(&error);
            ExitCode::FAILURE
        }
    }
}
