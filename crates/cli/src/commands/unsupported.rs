//! Commands that this architecture lacks.

use crate::output;
use miette::{Result, miette};
use std::ffi::OsString;
use std::process::ExitCode;

/// Arguments that are accepted and ignored, so that the refusal is the only message.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _all: Vec<OsString>,
}

/// Refuses a command in one sentence. `vdso run` exits with 125, since its other statuses are the
/// program's.
pub(crate) fn refuse(command: &str) -> Result<ExitCode> {
    let arch = std::env::consts::ARCH;
    let where_it_works = match command {
        "trace" => "x86-64 only",
        _ => "x86-64, AArch64 and RISC-V",
    };
    let report = miette!(
        help = "publishing, reading and inspecting vDSOs work on every architecture",
        "`vdso {command}` works on {where_it_works}, and this is {arch}"
    );
    if command != "run" {
        return Err(report);
    }
    output::report(&report);
    Ok(ExitCode::from(125))
}
