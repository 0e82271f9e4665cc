//! Placing code at an address with the system's linker.

use super::{CrateError, script, survey};
use crate::declaration::Declaration;
use crate::image::code::Code;
use std::path::Path;
use tempfile::TempDir;
use vdsokit_link::{Architecture, Error, link};

/// The symbol that the panic handler of `vdsokit-rt` calls. It is defined nowhere, so a
/// reachable panic is a link error.
const PANIC: &str = "vdsokit_a_panic_is_left_in_the_image";

/// A linker and its inputs.
pub(super) struct Linker<'a> {
    library: &'a Path,
    declaration: &'a Declaration,
    /// The functions that garbage collection keeps.
    functions: &'a [&'a str],
    arch: Architecture,
    directory: TempDir,
}

impl<'a> Linker<'a> {
    pub(super) fn new(
        library: &'a Path,
        arch: Architecture,
        declaration: &'a Declaration,
        functions: &'a [&'a str],
    ) -> Result<Self, CrateError> {
        let directory = tempfile::tempdir().map_err(|source| CrateError::File {
            path: std::env::temp_dir(),
            what: "written to",
            source,
        })?;
        Ok(Self {
            library,
            declaration,
            functions,
            arch,
            directory,
        })
    }

    /// The code at `address`, with the vvar pages at `pages`.
    pub(super) fn link(&self, address: u64, pages: u64) -> Result<Code, CrateError> {
        let script = self.directory.path().join("script");
        let linked = self.directory.path().join("linked");
        let text = script::script(self.declaration, address, pages).to_string();
        std::fs::write(&script, text).map_err(|source| CrateError::File {
            path: script.clone(),
            what: "written",
            source,
        })?;
        let mut command = vdsokit_link::Linker::System.command(self.arch)?;
        // Linked as a position-independent executable: the linker then refuses undefined
        // symbols, and every absolute address becomes a relocation that `survey` finds.
        command
            .args(["-pie", "--no-dynamic-linker", "-z", "text", "-z", "norelro"])
            .args(["-z", "noexecstack", "--gc-sections", "--eh-frame-hdr"])
            .args(["--build-id=none", "--hash-style=sysv", "--entry=0"])
            .arg("--script")
            .arg(&script);
        for function in self.functions {
            command.arg(format!("--undefined={function}"));
        }
        command.arg(self.library);
        let bytes = link(&mut command, &linked).map_err(|error| match error {
            Error::Link { linker } if linker.contains(PANIC) => CrateError::Panic { linker },
            error => error.into(),
        })?;
        survey::code(&bytes, address, self.functions)
    }
}
