//! `vdso set`: writes values as a publisher that ends at once.

use crate::values::QUOTING;
use crate::{published, signals};
use miette::Result;
use std::path::PathBuf;
use std::process::ExitCode;
use vdsokit_publish::{assign, set};

/// Write values into a vDSO that has no publisher
///
/// All of them are written, or none. Refused while there is a publisher: the values then come from
/// it. The vDSO is retired afterwards.
#[derive(clap::Args)]
#[command(after_help = QUOTING)]
pub(crate) struct Arguments {
    /// The vDSO
    file: PathBuf,
    /// What to write: `name=value`, `name.field=value`, `name=1,2,3`
    #[arg(required = true, value_name = "NAME=VALUE")]
    assignments: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut assignments = Vec::new();
    for argument in &arguments.assignments {
        assignments.extend(assign::parse_argument(argument)?);
    }
    let path = published::path(&arguments.file)?;
    signals::exit_on_truncation(&path);
    set(path, &assignments)?;
    Ok(ExitCode::SUCCESS)
}
