//! `vdso retire`: the orderly end that a crashed publisher did not make.

use crate::published;
use crate::start::ExitCode;
use miette::Result;
use std::path::PathBuf;
use vdsokit_publish::{Condition, Error, Publisher, Vdso};
use vdsokit_sources::kernel;

/// Retire a vDSO whose publisher crashed, or is the kernel
///
/// Its values stay, and readers are told that they won't change again. Refused while it
/// has a publisher: end that with SIGTERM. A kernel that publishes ends at once, whoever
/// relays for it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The vDSO, `system`, or `kernel`
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = published::path(&arguments.file)?;
    let was_kernel = kernel::retire(&path)?;
    if was_kernel && Vdso::open(&path)?.status().condition == Condition::NeverPublished {
        return Ok(ExitCode::SUCCESS);
    }
    match Publisher::open(&path) {
        Ok(publisher) => publisher.retire(),
        // The relay: it retires the file when it finds that the kernel has ended.
        Err(Error::Busy { .. }) if was_kernel => {}
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}
