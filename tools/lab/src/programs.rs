//! Our own programs, linked so that a guest without any library runs them.

use crate::workshop::output_of;
use crate::{Architecture, Error, Need, Workshop};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Naming the target keeps these from build scripts and procedural macros.
const FLAGS: &str = "-Ctarget-feature=+crt-static -Cstrip=debuginfo";

/// Builds what a row needs and returns where it lies on the host.
pub(crate) fn build(
    workshop: &Workshop,
    need: &Need,
    architecture: Architecture,
) -> Result<PathBuf, Error> {
    let (package, name, arguments): (_, _, &[&str]) = match *need {
        Need::Program { package, name } => (package, name, &["build", "--bin"]),
        Need::Test { package, name } => (package, name, &["test", "--no-run", "--test"]),
        Need::File { make, .. } | Need::Tree { make, .. } => return make(workshop),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = architecture.target();
    let linker = target.to_uppercase().replace('-', "_");
    let mut command = Command::new(cargo);
    command
        .args(arguments)
        .args([name, "--package", package, "--release", "--target", target])
        .args(["--quiet", "--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(workshop.output().join("build"))
        .env("RUSTFLAGS", FLAGS)
        .env(
            format!("CARGO_TARGET_{linker}_LINKER"),
            architecture.compiler(),
        )
        .current_dir(&workshop.root);
    if package == "vdsokit-cli" {
        // Nothing here follows a distributed store, and its clients take longer to build than the rest.
        command.arg("--no-default-features");
    }
    let messages = output_of(&mut command)?;
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = message.get("executable")?.as_str()?;
        (message["target"]["name"] == name).then(|| PathBuf::from(path))
    };
    messages
        .lines()
        .find_map(executable)
        .ok_or_else(|| Error::NotBuilt {
            package: package.into(),
            name: name.into(),
        })
}

/// Compiles a program in C, by its source's path in the checkout; it may include what
/// `examples/processes` has for callers of vDSOs.
pub(crate) fn compile<'o>(
    workshop: &Workshop,
    name: &str,
    source: &Path,
    options: impl IntoIterator<Item = &'o OsStr>,
) -> Result<PathBuf, Error> {
    compile_for(workshop, Architecture::X86_64, name, source, options)
}

/// The same for an architecture.
pub(crate) fn compile_for<'o>(
    workshop: &Workshop,
    architecture: Architecture,
    name: &str,
    source: &Path,
    options: impl IntoIterator<Item = &'o OsStr>,
) -> Result<PathBuf, Error> {
    let directory = workshop.output().join("own").join(architecture.debian());
    std::fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    let program = directory.join(name);
    let mut command = Command::new(architecture.compiler());
    command
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg("-I")
        .arg(workshop.root.join("examples/processes"))
        .arg(workshop.root.join(source))
        .args(options);
    output_of(&mut command)?;
    Ok(program)
}

/// Builds the image of a crate of the checkout, as users do, and returns its place.
pub(crate) fn image(workshop: &Workshop, source: &Path, soname: &str) -> Result<PathBuf, Error> {
    let vdso = build(
        workshop,
        &Need::Program {
            package: "vdsokit-cli",
            name: "vdso",
        },
        Architecture::X86_64,
    )?;
    let directory = workshop.output().join("images");
    std::fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    let mut command = Command::new(vdso);
    command
        .arg("build")
        .arg(workshop.root.join(source))
        .arg("-o")
        .arg(&directory);
    output_of(&mut command)?;
    Ok(directory.join(soname))
}
