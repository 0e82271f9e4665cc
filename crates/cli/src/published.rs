//! Published vDSOs: the names that commands take for them, and how they are opened.

use crate::image::declaration;
use crate::output;
use miette::{Result, miette};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
use vdsokit_deliver::Object;
use vdsokit_publish::{Condition, Vdso, place};
use vdsokit_sources::clock;
use vdsokit_sources::kernel::{self, Description};

/// The name of the built-in declaration.
pub(crate) const SYSTEM: &str = "system";

/// The name of the machine's clock.
pub(crate) const CLOCK: &str = "clock";

/// The name of the vDSO that `vdso serve --kernel` publishes.
pub(crate) const KERNEL: &str = "kernel";
/// Its file name.
const KERNEL_SONAME: &str = "libkernel.so.1";

/// Resolves the path that a command was given, or one of the names `system`, `clock` and `kernel`.
/// A file in the current directory goes before such a name.
pub(crate) fn path(given: &Path) -> Result<PathBuf> {
    Ok(locate(given)?.path)
}

/// As [`path`], with the file that was found open.
pub(crate) fn locate(given: &Path) -> Result<Located> {
    resolve(given)?.ok_or_else(|| {
        let (what, command) = unpublished(given);
        miette!(
            help = format!(
                "`{command}` publishes it; where it was published with `--at FILE`, name that file"
            ),
            "{what}"
        )
    })
}

/// A sentence for a name whose vDSO no directory contains, and the command that publishes it.
pub(crate) fn unpublished(name: &Path) -> (&'static str, &'static str) {
    match name.to_str() {
        Some(CLOCK) => ("this machine's clock is not published", "vdso serve clock"),
        Some(KERNEL) => (
            "no kernel variables are published",
            "vdso serve --kernel VARIABLE",
        ),
        _ => (
            "this machine's numbers are not published",
            "vdso serve system",
        ),
    }
}

/// As [`locate`]; `None` for a name whose vDSO no directory contains.
pub(crate) fn resolve(given: &Path) -> Result<Option<Located>> {
    if given.exists() {
        return Ok(Some(Located::at(given.to_owned())));
    }
    let found = |found: place::Found| Located {
        path: found.path().to_owned(),
        found: Some(found),
    };
    Ok(match given.to_str() {
        Some(CLOCK) => place::find_for_machine(clock::FILE).map(found),
        Some(KERNEL) => place::find_for_machine(KERNEL_SONAME).map(found),
        Some(SYSTEM) => place::find_for_machine(declaration(given)?.soname()).map(found),
        _ => Some(Located::at(given.to_owned())),
    })
}

/// A published vDSO: the path that a command was given, or a file that one of the names stands for.
pub(crate) struct Located {
    path: PathBuf,
    /// The file that [`place::find_for_machine`] checked, still open. It is used in place of the
    /// path, so that the file that was checked is the one that is read and delivered.
    found: Option<place::Found>,
}

impl Located {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, found: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it: with the pages that the kernel writes where there are such pages and this process
    /// can reach them, otherwise with the file's.
    pub(crate) fn open(&self) -> Result<Vdso> {
        match (kernel::open_vdso(&self.path)?, &self.found) {
            (Some(vdso), _) => Ok(vdso),
            (None, Some(found)) => Ok(found.open()?),
            (None, None) => Ok(Vdso::open(&self.path)?),
        }
    }

    /// As [`Located::open`], for delivery into a program.
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    ))]
    pub(crate) fn object(&self) -> Result<Object> {
        use miette::IntoDiagnostic;

        let object = match &self.found {
            Some(found) => Object::from_file(found.file().try_clone().into_diagnostic()?)?,
            None => Object::open(&self.path)?,
        };
        let Some(map) = kernel::open(&self.path) else {
            return Ok(object);
        };
        let fd = map.map().try_clone_to_owned().into_diagnostic()?;
        Ok(object.with_map(fd, map.size() as u64)?)
    }
}

/// A publishing kernel as JSON.
pub(crate) fn kernel(kernel: &Description) -> Value {
    json!({
        "directory": kernel.directory.to_string_lossy(),
        "map": kernel.map,
        "hooks": kernel.hooks,
    })
}

/// The BPF map that the kernel writes and its directory, in parentheses; empty where this process
/// can reach no map.
pub(crate) fn map(kernel: Option<&Description>) -> String {
    kernel
        .and_then(|kernel| Some((kernel.map?, output::path(&kernel.directory))))
        .map(|(map, directory)| format!(" (BPF map {map}, {directory})"))
        .unwrap_or_default()
}

/// Describes a vDSO that is not live; `None` for one that is.
pub(crate) fn warning(vdso: &Vdso) -> Option<String> {
    let status = vdso.status();
    let path = output::path(vdso.path());
    let kernel = kernel::describe(vdso.path());
    match (status.condition, kernel) {
        (Condition::Live, _) => None,
        // With a map in reach, `vdso` would have the map's pages.
        (_, Some(kernel)) if kernel.map.is_none() => Some(format!(
            "{path}: {status} in this file. The kernel publishes in {}, which this process can't \
             reach: `vdso serve {path}` copies the values from there to the file",
            output::path(&kernel.directory)
        )),
        _ => Some(format!("{path}: {status}")),
    }
}

/// The exit statuses of commands that read values; part of their help.
pub(crate) const STATUSES: &str = "\
Exit status: 0 the vDSO is live, 1 an error, 2 wrong usage; the values were printed and are
3 stale: the publisher's heartbeat is overdue, 4 stopped: the publisher has ended, 5 never
published: they are the declaration's initial values, 6 replaced: open the file again.";

/// The exit status of a command that read values in this condition, as [`STATUSES`] has it.
pub(crate) fn exit_status(condition: Condition) -> ExitCode {
    ExitCode::from(match condition {
        Condition::Live => 0,
        Condition::Stale => 3,
        Condition::Stopped => 4,
        Condition::NeverPublished => 5,
        Condition::Replaced => 6,
    })
}
