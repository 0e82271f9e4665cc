//! `vdso set`: be the publisher for a moment.

use crate::published;
use crate::start::ExitCode;
use miette::Result;
use std::path::PathBuf;
use vdsokit_publish::{Publisher, assign};

/// Write values into a vDSO that nobody publishes at present
///
/// All of them are written, or none. Refused while there is a publisher: then the values
/// come from there.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The vDSO
    file: PathBuf,
    /// What to write: `name=value`, `name.field=value`, `name=1,2,3`
    #[arg(required = true, value_name = "NAME=VALUE")]
    assignments: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let assignments = arguments
        .assignments
        .iter()
        .map(|argument| assign::parse_argument(argument))
        .collect::<Result<Vec<_>, _>>()?;
    let publisher = Publisher::open(published::path(&arguments.file)?)?;
    publisher.assign(&assignments)?;
    publisher.retire();
    Ok(ExitCode::SUCCESS)
}
