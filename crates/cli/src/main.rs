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
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod virtual_time;

use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Build, publish, deliver, call and inspect vDSOs
#[derive(Parser)]
#[command(name = "vdso", version, max_term_width = output::WIDTH)]
struct Arguments<C: Subcommand> {
    #[command(subcommand)]
    command: C,
}

/// The definition of the command line, for man pages and completions.
fn definition() -> clap::Command {
    Arguments::<commands::Command>::command()
}

/// Parses the command line. For `vdso run`, which is started before each program that it runs, and for
/// `vdso clock`, for which programs wait, no other command is defined: all of them take 0.4 million
/// instructions and 200 KiB of heap.
fn parse(arguments: &[OsString]) -> Result<commands::Command, clap::Error> {
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    ))]
    match arguments.get(1).and_then(|name| name.to_str()) {
        Some("run") => {
            let parsed = Arguments::<commands::Start>::try_parse_from(arguments)?;
            return Ok(commands::Command::Start(parsed.command));
        }
        Some("clock") => {
            let parsed = Arguments::<commands::Change>::try_parse_from(arguments)?;
            return Ok(commands::Command::Change(parsed.command));
        }
        _ => {}
    }
    Ok(Arguments::try_parse_from(arguments)?.command)
}

fn main() -> ExitCode {
    signals::survive_file_size_limit();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let command = match parse(&arguments) {
        Ok(command) => command,
        Err(error) => return usage(&error, &arguments),
    };
    command.run().unwrap_or_else(|report| {
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
