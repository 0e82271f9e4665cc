//! `vdso completions`: a shell's completions of this command line.

use crate::output;
use clap_complete::Shell;
use miette::{IntoDiagnostic, Result};
use std::process::ExitCode;

/// Print completions for a shell
///
/// Bash: `vdso completions bash > ~/.local/share/bash-completion/completions/vdso`. The manuals of
/// other shells name their directories.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut crate::definition(),
        "vdso",
        &mut script,
    );
    output::show(&String::from_utf8(script).into_diagnostic()?)?;
    Ok(ExitCode::SUCCESS)
}
