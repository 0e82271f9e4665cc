//! Our own programs, linked so that a guest without any library runs them.

use crate::workshop::output_of;
use crate::{Architecture, Error, Need, Workshop};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Naming the target keeps these from build scripts and procedural macros.
const FLAGS: &str = "-Ctarget-feature=+crt-static -Cstrip=debuginfo";

/// The program of process 1.
pub(crate) const INIT: Need = Need::Program {
    package: "vdsokit-lab",
    name: "lab-init",
};

/// The workspace's programs and tests for one architecture.
pub(crate) struct Programs(Vec<Executable>);

struct Executable {
    package: String,
    name: String,
    is_test: bool,
    path: PathBuf,
}

impl Programs {
    /// Builds process 1 and what rows need by one call of cargo. Packages that are built by calls of their
    /// own have other features of the crates that they share, which are compiled once for each call.
    pub(crate) fn build<'n>(
        workshop: &Workshop,
        architecture: Architecture,
        needs: impl Iterator<Item = &'n Need>,
    ) -> Result<Self, Error> {
        let (mut packages, mut targets) = (BTreeSet::new(), BTreeSet::new());
        for need in needs.chain([&INIT]) {
            let (package, option, name) = match *need {
                Need::Program { package, name } => (package, "--bin", name),
                Need::Test { package, name } => (package, "--test", name),
                Need::File { .. } | Need::Tree { .. } => continue,
            };
            packages.insert(package);
            targets.insert((option, name));
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let target = architecture.target();
        let linker = target.to_uppercase().replace('-', "_");
        let mut command = Command::new(cargo);
        command
            .args(["build", "--release", "--target", target])
            .args(["--quiet", "--message-format", "json-render-diagnostics"])
            .arg("--target-dir")
            .arg(directory(workshop))
            .env("RUSTFLAGS", FLAGS)
            .env(
                format!("CARGO_TARGET_{linker}_LINKER"),
                architecture.compiler(),
            )
            .current_dir(&workshop.root);
        for package in &packages {
            command.args(["--package", package]);
        }
        for (option, name) in targets {
            command.args([option, name]);
        }
        if packages.contains("vdsokit-cli") {
            // Nothing here follows a distributed store, and its clients take longer to build than the rest.
            command.arg("--no-default-features");
        }
        let messages = output_of(&mut command)?;
        let executable = |line: &str| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(Executable {
                package: package_of(message["package_id"].as_str()?)?.to_owned(),
                name: message["target"]["name"].as_str()?.to_owned(),
                is_test: message["profile"]["test"].as_bool()?,
                path: message["executable"].as_str()?.into(),
            })
        };
        Ok(Self(messages.lines().filter_map(executable).collect()))
    }

    /// Where what a row needs lies on the host; a file of a row is made now.
    pub(crate) fn find(&self, workshop: &Workshop, need: &Need) -> Result<PathBuf, Error> {
        let (package, name, is_test) = match *need {
            Need::Program { package, name } => (package, name, false),
            Need::Test { package, name } => (package, name, true),
            Need::File { make, .. } | Need::Tree { make, .. } => return make(workshop),
        };
        let mut all = self.0.iter();
        // Tests of two packages may have the same name.
        let found = all.find(|program| {
            program.package == package && program.name == name && program.is_test == is_test
        });
        let found = found.map(|program| program.path.clone());
        found.ok_or_else(|| Error::NotBuilt {
            package: package.into(),
            name: name.into(),
        })
    }
}

/// The package of an identifier, which names it unless it is named like its directory (The Cargo Book,
/// "Package ID Specifications").
fn package_of(id: &str) -> Option<&str> {
    let (url, fragment) = id.rsplit_once('#')?;
    match fragment.split_once('@') {
        Some((name, _)) => Some(name),
        None => url.rsplit('/').next(),
    }
}

/// Cargo's directory for programs of guests.
fn directory(workshop: &Workshop) -> PathBuf {
    workshop.output().join("build")
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

/// Builds the image of a crate of the checkout, as users do, and returns its place. The row has the
/// program among its needs, so it is there.
pub(crate) fn image(workshop: &Workshop, source: &Path, soname: &str) -> Result<PathBuf, Error> {
    let vdso = directory(workshop)
        .join(Architecture::X86_64.target())
        .join("release/vdso");
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

#[cfg(test)]
mod tests {
    use super::package_of;

    #[test]
    fn tests_of_one_name_are_told_apart_by_their_packages() {
        let bpf = package_of("path+file:///src/crates/bpf#vdsokit-bpf@0.1.0");
        let vdsokit = package_of("path+file:///src/crates/vdsokit#0.1.0");
        assert_eq!((bpf, vdsokit), (Some("vdsokit-bpf"), Some("vdsokit")));
    }
}
