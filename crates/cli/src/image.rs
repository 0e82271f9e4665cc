//! Declarations, and their images for this machine.

use crate::output::path;
use crate::published::SYSTEM;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use std::path::Path;
use vdsokit_build::{Architecture, Declaration, image, read_declaration};
use vdsokit_sources::system;

/// The declaration in a file, or the built-in one for `system`.
pub(crate) fn declaration(given: &Path) -> Result<Declaration> {
    if given == Path::new(SYSTEM) {
        return Ok(Declaration::parse("system.toml", system::DECLARATION)?);
    }
    let text = read_declaration(given)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} could not be read", path(given)))?;
    Ok(Declaration::parse(&path(given), &text)?)
}

/// The declaration's image for this machine.
pub(crate) fn host_image(declaration: &Declaration) -> Result<Vec<u8>> {
    let host = Architecture::host().ok_or_else(|| {
        miette!(
            help = format!("images can be built for {}", architectures()),
            "no image can be built for this machine's architecture, {}",
            std::env::consts::ARCH
        )
    })?;
    Ok(image(declaration, host)?)
}

/// The names of all architectures that images can be built for.
pub(crate) fn architectures() -> String {
    Architecture::ALL.map(Architecture::name).join(", ")
}
