//! `vdso man`: the manual, made of the same definitions as `--help`.

use crate::start::ExitCode;
use miette::{IntoDiagnostic, Result, WrapErr};
use std::path::PathBuf;

/// Write the manual pages
///
/// One for the program and one for each command: `man ./vdso.1` shows one.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to write; made where it is missing
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let directory = &arguments.output;
    let failed = || format!("no manual could be written to {}", directory.display());
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(crate::definition(), directory))
        .into_diagnostic()
        .wrap_err_with(failed)?;
    Ok(ExitCode::SUCCESS)
}
