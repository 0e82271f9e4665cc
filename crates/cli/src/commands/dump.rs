//! `vdso dump`: the vDSO of a process as a file.

use crate::output;
use clap::builder::{OsStringValueParser, TypedValueParser};
use miette::{IntoDiagnostic, Result, WrapErr};
use std::path::PathBuf;
use std::process::ExitCode;
use vdsokit_inspect::inspect::{Target, dump};

/// Write the vDSO of a process or a core dump to a file
///
/// readelf, objdump and gdb can read the file.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A process id, a core dump, or `self`
    #[arg(default_value = "self", value_parser = target())]
    target: Target,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Parses a target; paths need not be UTF-8.
pub(crate) fn target() -> impl TypedValueParser<Value = Target> {
    OsStringValueParser::new().map(|text| match text.to_str().map(str::parse) {
        Some(Ok(target)) => target,
        None => Target::File(text.into()),
    })
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let image = dump(&arguments.target)?;
    std::fs::write(&arguments.output, image)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} could not be written", output::path(&arguments.output)))?;
    Ok(ExitCode::SUCCESS)
}
