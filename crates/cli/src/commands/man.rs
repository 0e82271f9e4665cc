//! `vdso man`: the manual pages, from the definitions of the command line.

use crate::output;
use miette::{IntoDiagnostic, Result, WrapErr};
use std::path::PathBuf;
use std::process::ExitCode;

/// Write the manual, a page for each command
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The directory to write to; it is created if it does not exist
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let directory = &arguments.output;
    let name = output::path(directory);
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(crate::definition(), directory))
        .into_diagnostic()
        .wrap_err_with(|| format!("the manual could not be written to {name}"))?;
    output::line(format_args!(
        "the manual is in {name}: `man -l {name}/vdso.1`"
    ))?;
    Ok(ExitCode::SUCCESS)
}
