//! `vdso retire`: the orderly end that a crashed publisher did not make.

use crate::published;
use miette::Result;
use std::path::PathBuf;
use std::process::ExitCode;
use vdsokit_publish::Publisher;

/// Retire a vDSO whose publisher crashed
///
/// Its values stay, and readers are told that they won't change again. Refused while it
/// has a publisher: end that with SIGTERM.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The vDSO, or `system`
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    Publisher::open(published::path(&arguments.file)?)?.retire();
    Ok(ExitCode::SUCCESS)
}
