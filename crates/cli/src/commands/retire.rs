//! `vdso retire`: ends a publication whose publisher can't do it.

#[cfg(target_arch = "x86_64")]
use crate::commands::serve::current::{end, is_current};
use crate::{published, signals};
use miette::Result;
use std::path::PathBuf;
use std::process::ExitCode;
use vdsokit_publish::{Condition, Error, Publisher, Vdso};
use vdsokit_sources::kernel;

/// Retire a vDSO whose publisher crashed, or is the kernel
///
/// Its values stay, and its state tells readers that they will not change. Refused while it has a
/// publisher: end that with SIGTERM. A publishing kernel is stopped in any case.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The vDSO, `system`, `clock`, `kernel` or `current`
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    #[cfg(target_arch = "x86_64")]
    if is_current(&arguments.file) {
        return end();
    }
    let path = published::path(&arguments.file)?;
    signals::exit_on_truncation(&path);
    let was_kernel = kernel::retire(&path)?;
    if was_kernel && Vdso::open(&path)?.status().condition == Condition::NeverPublished {
        return Ok(ExitCode::SUCCESS);
    }
    match Publisher::open(&path) {
        Ok(publisher) => publisher.retire(),
        // The relay retires the file when it finds the kernel's pages retired.
        Err(Error::Busy { .. }) if was_kernel => {}
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}
