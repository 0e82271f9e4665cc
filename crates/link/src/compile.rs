//! The run of stable cargo that compiles a package for an image.

use crate::{Architecture, Error};
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The compiler's flags for every crate of an image.
pub const FLAGS: [&str; 4] = [
    "--cfg=vdsokit_image",
    "--check-cfg=cfg(vdsokit_image)",
    "-Crelocation-model=pic",
    // With panic=abort the compiler would write no unwind tables.
    "-Cforce-unwind-tables=yes",
];

/// What the compiler makes of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A static library, which [`link`](crate::link) makes an image of.
    Static,
    /// A shared object, complete.
    Shared,
}

/// What the compiler optimises for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimize {
    /// Few instructions for a call.
    Speed,
    /// Few bytes: an image that has to fit into few pages.
    Size,
}

/// The profile, as arguments of cargo's `--config`. Fat LTO removes the parts of the core
/// library that no exported function calls.
#[must_use]
pub fn profile(optimize: Optimize) -> [&'static str; 6] {
    [
        "profile.release.panic=\"abort\"",
        "profile.release.lto=\"fat\"",
        "profile.release.codegen-units=1",
        match optimize {
            Optimize::Speed => "profile.release.opt-level=3",
            Optimize::Size => "profile.release.opt-level=\"s\"",
        },
        "profile.release.overflow-checks=false",
        "profile.release.debug=false",
    ]
}

/// A package that becomes code of an image, and how. cargo compiles it with these flags and this
/// profile only, independent of those of a build that calls [`compile`](Package::compile).
#[derive(Clone, Copy, Debug)]
pub struct Package<'a> {
    /// Its directory, with `Cargo.toml`.
    pub directory: &'a Path,
    /// Rust's target.
    pub target: &'a str,
    /// What is made of it.
    pub kind: Kind,
    /// What it is optimised for.
    pub optimize: Optimize,
    /// The compiler's flags.
    pub flags: &'a [&'a str],
    /// Where cargo leaves its files; relative to `directory`.
    pub target_directory: &'a Path,
    /// Whether the package is one of vdsokit's own, built by a build script: with its `Cargo.lock` as
    /// it is, and without messages of progress.
    pub locked: bool,
    /// Whether cargo compiles `core` of its source ([`has_core_source`]) where the toolchain has none for
    /// the target ([`has_core`]).
    pub builds_core: bool,
}

impl Package<'_> {
    /// Compiles the package, and returns the path of the library. cargo's messages go to standard
    /// error.
    ///
    /// # Errors
    /// [`Error::Program`] without cargo, [`Error::Compile`] or [`Error::NoLibrary`].
    pub fn compile(&self) -> Result<PathBuf, Error> {
        let (crate_type, extension) = match self.kind {
            Kind::Static => ("staticlib", ".a"),
            Kind::Shared => ("cdylib", ".so"),
        };
        let mut command = Command::new(tool("CARGO", "cargo"));
        command.args(["rustc", "--release", "--lib", "--crate-type", crate_type]);
        if self.locked {
            command.args(["--locked", "--quiet"]);
        }
        command
            .args(["--message-format", "json-render-diagnostics"])
            .args(["--target", self.target])
            .arg("--target-dir")
            .arg(self.target_directory)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags.join("\x1f"))
            // Settings of a build that runs this program must not apply to the image.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET")
            .env_remove("CARGO_TARGET_DIR")
            // A wrapper such as clippy's does not compile.
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .current_dir(self.directory)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        for setting in profile(self.optimize) {
            command.args(["--config", setting]);
        }
        if self.builds_core && !has_core(self.target)? && has_core_source()? {
            // An unstable option, which a stable cargo takes with this variable. Where there is no source
            // either, the compiler's message names the target to install.
            command.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=core");
        }
        let output = run(&mut command)?;
        if !output.status.success() {
            return Err(Error::Compile {
                target: self.target.to_owned(),
            });
        }
        let messages = String::from_utf8_lossy(&output.stdout);
        messages
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|message| message["reason"] == "compiler-artifact")
            .filter_map(|message| {
                let files = message["filenames"].as_array()?;
                let mut names = files.iter().filter_map(|file| file.as_str());
                names
                    .find(|name| name.ends_with(extension))
                    .map(PathBuf::from)
            })
            .next_back()
            .ok_or(Error::NoLibrary)
    }
}

/// The target of an architecture: the compiler's host target where that is of the architecture, so
/// that no other has to be installed; otherwise [`Architecture::target`].
///
/// # Errors
/// [`Error::Program`] without a compiler.
pub fn host_target(arch: Architecture) -> Result<String, Error> {
    let about = rustc(&["-vV"])?;
    let about = String::from_utf8_lossy(&about.stdout);
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    let target = arch.target();
    let same_arch = |host: &&str| host.split('-').next() == target.split('-').next();
    Ok(host.filter(same_arch).unwrap_or(target).to_owned())
}

/// Whether the toolchain has the library `core` for a target.
///
/// # Errors
/// [`Error::Program`] without a compiler.
pub fn has_core(target: &str) -> Result<bool, Error> {
    let output = rustc(&["--print", "target-libdir", "--target", target])?;
    Ok(output.status.success() && printed_path(&output).is_dir())
}

/// Whether the toolchain has the source of `core`: rustup's component `rust-src`.
///
/// # Errors
/// [`Error::Program`] without a compiler.
pub fn has_core_source() -> Result<bool, Error> {
    let sysroot = printed_path(&rustc(&["--print", "sysroot"])?);
    Ok(sysroot.join("lib/rustlib/src/rust/library/core").is_dir())
}

/// The path that the compiler printed.
pub(crate) fn printed_path(output: &Output) -> PathBuf {
    String::from_utf8_lossy(&output.stdout).trim_end().into()
}

/// Prints what makes cargo run a build script again after a change of a file of which it compiled
/// a library, or of which the program that it runs was compiled.
///
/// # Errors
/// [`Error::File`], if cargo did not write the list of them beside it.
pub fn rerun_if_changed(compiled: &Path) -> Result<(), Error> {
    for source in sources(compiled)? {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    Ok(())
}

/// The files of which cargo compiled a library or program: those of the crates on this machine that
/// it is made of, and their manifests.
fn sources(compiled: &Path) -> Result<BTreeSet<PathBuf>, Error> {
    let list = compiled.with_extension("d");
    let text = fs::read_to_string(&list).map_err(|source| Error::File {
        path: list,
        what: "read",
        source,
    })?;
    Ok(listed_sources(&text))
}

/// The files of a list that cargo wrote for make, behind the target's name, and the manifest of the
/// crate that each is in.
fn listed_sources(list: &str) -> BTreeSet<PathBuf> {
    // A space in a name has a backslash before it.
    let list = list.replace("\\ ", "\0");
    let names = list.split_whitespace().skip(1);
    let mut sources: BTreeSet<_> = names
        .map(|name| PathBuf::from(name.replace('\0', " ")))
        .collect();
    let manifests = sources.iter().filter_map(|source| {
        let mut all = source.ancestors().map(|above| above.join("Cargo.toml"));
        all.find(|manifest| manifest.is_file())
    });
    let manifests: Vec<_> = manifests.collect();
    sources.extend(manifests);
    sources
}

/// What the compiler prints with these arguments.
pub(crate) fn rustc(arguments: &[&str]) -> Result<Output, Error> {
    run(Command::new(tool("RUSTC", "rustc")).args(arguments))
}

/// A program of the toolchain: in a build script the one that cargo names.
fn tool(variable: &str, name: &str) -> OsString {
    env::var_os(variable).unwrap_or_else(|| name.into())
}

fn run(command: &mut Command) -> Result<Output, Error> {
    command.output().map_err(|source| Error::Program {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
        advice: "install Rust: https://rustup.rs",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_are_those_of_dependencies_too_with_their_manifests() {
        let here = env!("CARGO_MANIFEST_DIR");
        let list = format!("out/libown.a: {here}/src/lib.rs /no/where\\ else/lib.rs\n");
        let expected = [
            format!("{here}/src/lib.rs"),
            format!("{here}/Cargo.toml"),
            "/no/where else/lib.rs".into(),
        ];
        assert_eq!(listed_sources(&list), expected.map(PathBuf::from).into());
    }
}
