//! `vdso get`: the values of a published vDSO now.

use crate::published;
use crate::start::ExitCode;
use miette::Result;
use std::path::PathBuf;

/// Print values of a published vDSO
///
/// Each line is what `vdso set` and `vdso serve --stdin` read. Whoever may read the file
/// may do this; the publisher doesn't notice.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The vDSO, `system`, or `kernel`
    file: PathBuf,
    /// Variables, or fields (`wind.speed`); all variables when none is named
    names: Vec<String>,
    /// Print the values alone
    #[arg(short = 'n', long, conflicts_with = "json")]
    no_names: bool,
    /// Print status and values as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let vdso = published::open(&published::path(&arguments.file)?)?;
    if arguments.json {
        published::line(published::snapshot(&vdso, &arguments.names)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value) in published::values_of(&vdso, &arguments.names)? {
        let open = published::line(match arguments.no_names {
            true => value.to_string(),
            false => published::assignment(&name, &value),
        })?;
        if !open {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if let Some(warning) = published::warning(&vdso) {
        eprintln!("vdso: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}
