//! Packages of Debian's archive: unpacked into the cache. Only what tests run as programs is
//! installed, and the machine's list of architectures stays as it is.

mod apt;

use crate::workshop::output_of;
use crate::{Architecture, Error, Workshop};
use apt::{Apt, has_apt, native_update};
use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The newest stock kernel of a series (`6.12`), as Debian builds it for virtual machines, with the
/// drivers that those need compiled in. One that is in the cache already is used as it is; remove it
/// there for a newer one.
///
/// # Errors
/// When it is neither in the cache nor to be had from this machine's archive.
pub fn kernel(workshop: &Workshop, series: &str) -> Result<PathBuf, Error> {
    kernel_of(workshop, Architecture::X86_64, series, "cloud-amd64")
}

/// The same for an architecture, in one of Debian's flavours of it.
///
/// # Errors
/// As [`kernel`].
pub fn kernel_of(
    workshop: &Workshop,
    architecture: Architecture,
    series: &str,
    flavour: &str,
) -> Result<PathBuf, Error> {
    let prefix = format!("linux-image-{series}.");
    let suffix = format!("-{flavour}-unsigned");
    let apt = Apt::new(workshop, Archive::of(architecture))?;
    let tree = unpacked(&apt, &prefix, |name| {
        name.starts_with(&prefix) && name.ends_with(&suffix)
    })?;
    file_in(&tree.join("boot"), "vmlinuz-")
}

/// A file of the newest package of exactly this name.
///
/// # Errors
/// When the package can't be had or holds no such file.
pub fn file(workshop: &Workshop, package: &str, path: &str) -> Result<PathBuf, Error> {
    file_of(workshop, Architecture::X86_64, package, path)
}

/// The same of a package for `architecture`.
///
/// # Errors
/// As [`file()`].
pub fn file_of(
    workshop: &Workshop,
    architecture: Architecture,
    package: &str,
    path: &str,
) -> Result<PathBuf, Error> {
    let tree = package_of(workshop, Archive::of(architecture), package)?;
    let file = tree.join(path.trim_start_matches('/'));
    fs::metadata(&file).map_err(Error::file(&file))?;
    Ok(file)
}

/// A part of Debian's archive.
#[derive(Debug, Clone, Copy)]
pub struct Archive<'name> {
    /// Debian's name of the architecture.
    pub architecture: &'name str,
    /// A release, such as `trixie`. None: the machine's own, with its updates.
    pub release: Option<&'name str>,
}

impl Archive<'static> {
    /// The machine's own release, for `architecture`; the first that has it, if that is a newer one.
    #[must_use]
    pub fn of(architecture: Architecture) -> Self {
        Self {
            architecture: architecture.debian(),
            release: architecture.release(),
        }
    }
}

/// The directory that the package of exactly this name is unpacked in.
///
/// # Errors
/// When it is neither in the cache nor to be had from this machine's archive.
pub fn package_of(
    workshop: &Workshop,
    archive: Archive<'_>,
    package: &str,
) -> Result<PathBuf, Error> {
    let apt = Apt::new(workshop, archive)?;
    unpacked(&apt, package, |name| name == package)
}

/// The kernel that the package `depends_on_it` depends on, unpacked in `work`. It is not kept in
/// the cache: a kernel's package with all of its modules is large.
///
/// # Errors
/// When this machine has no archive of Debian's, or that has no such package.
pub fn kernel_behind(
    workshop: &Workshop,
    archive: Archive<'_>,
    depends_on_it: &str,
    work: &Path,
) -> Result<PathBuf, Error> {
    let apt = Apt::new(workshop, archive)?;
    let kernel = apt.dependency(depends_on_it, "linux-image-")?;
    let tree = work.join("unpacked");
    apt.fetch(&tree, &[&kernel])?;
    file_in(&tree.join("boot"), "vmlinu")
}

/// The kernel of a release that Debian's installer installs, which is kept in the cache without its
/// modules.
///
/// # Errors
/// When it is neither in the cache nor to be had from this machine's archive.
pub fn kept_kernel(
    workshop: &Workshop,
    architecture: &str,
    release: &str,
) -> Result<PathBuf, Error> {
    let kept = workshop
        .cache
        .join(format!("debian/linux-{release}-{architecture}"));
    if !kept.is_file() {
        let work = kept.with_extension(std::process::id().to_string());
        fs::create_dir_all(&work).map_err(Error::file(&work))?;
        let archive = Archive {
            architecture,
            release: Some(release),
        };
        let package = format!("linux-image-{architecture}");
        let kernel = kernel_behind(workshop, archive, &package, &work)?;
        fs::rename(kernel, &kept).map_err(Error::file(&kept))?;
        fs::remove_dir_all(&work).map_err(Error::file(&work))?;
    }
    Ok(kept)
}

/// Exactly these packages, unpacked over each other: programs that run from there,
/// with the libraries that they need where no other package brings them. Links
/// that name absolute paths lead into the tree.
///
/// # Errors
/// When they are neither in the cache nor to be had from this machine's archive.
pub fn tree(workshop: &Workshop, packages: &[&str]) -> Result<PathBuf, Error> {
    let apt = Apt::new(workshop, Archive::of(Architecture::X86_64))?;
    tree_of(&apt, packages)
}

fn tree_of(apt: &Apt, packages: &[&str]) -> Result<PathBuf, Error> {
    let tree = apt.trees.join(packages.join("+"));
    if !tree.is_dir() {
        apt.fetch(&tree, packages)?;
    }
    Ok(tree)
}

/// A Rust compiler of Debian's, unpacked.
#[derive(Debug, Clone)]
pub struct Rust {
    /// As `rustc --print sysroot` names it.
    pub sysroot: PathBuf,
}

impl Rust {
    /// The compiler.
    #[must_use]
    pub fn compiler(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    /// The variables with which cargo uses this compiler.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        // The libraries that the compiler itself loads.
        let libraries = self.sysroot.join("lib/x86_64-linux-gnu");
        [("RUSTC", self.compiler()), ("LD_LIBRARY_PATH", libraries)]
    }

    /// The directory `library` of its source, where the package [`RUST_SOURCE`] was unpacked too.
    ///
    /// # Errors
    /// When it was not.
    pub fn library(&self) -> Result<PathBuf, Error> {
        let sources = self.sysroot.join("src");
        let source = file_in(&sources, "rustc-web-").or_else(|_| file_in(&sources, "rustc-"))?;
        Ok(source.join("library"))
    }
}

/// The source of the standard library of [`rust`].
pub const RUST_SOURCE: &str = "rust-web-src";

/// The newest Rust compiler in a part of the archive, unpacked into the cache, with other packages.
/// In bookworm and its updates it is years newer than Debian's `rustc`, since browsers are built
/// with it.
///
/// # Errors
/// When it is neither in the cache nor to be had from this machine's archive.
pub fn rust(workshop: &Workshop, archive: Archive<'_>, with: &[&str]) -> Result<Rust, Error> {
    let development = "libstd-rust-web-dev";
    let apt = Apt::new(workshop, archive)?;
    let library = apt.dependency(development, "libstd-rust-web-")?;
    let llvm = apt.dependency(&library, "libllvm")?;
    let compiler = ["rustc-web", development, &library, &llvm];
    let tree = tree_of(&apt, &[&compiler, with].concat())?;
    let sysroot = tree.join("usr");
    Ok(Rust { sysroot })
}

/// Installs packages where that is allowed.
///
/// # Errors
/// Where it is not allowed, the error names what to install.
pub fn install(what: &str, packages: &[&str]) -> Result<(), Error> {
    let missing = || Error::Missing {
        what: what.to_owned(),
        advice: format!("apt-get install {}", packages.join(" ")),
    };
    if !rustix::process::geteuid().is_root() || !has_apt() {
        return Err(missing());
    }
    native_update()?;
    let mut command = Command::new("apt-get");
    command
        .args([
            "install",
            "--quiet",
            "--quiet",
            "--yes",
            "--no-install-recommends",
        ])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    output_of(&mut command).map(drop)
}

/// The directory that the newest package that `wanted` accepts is unpacked in.
fn unpacked(apt: &Apt, what: &str, wanted: impl Fn(&str) -> bool) -> Result<PathBuf, Error> {
    let trees = &apt.trees;
    // Trees are named as packages are, so the newest one is found alike.
    let here = fs::read_dir(trees).map_err(Error::file(trees))?;
    let here: Vec<String> = here
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| wanted(name))
        .collect();
    if let Some(name) = newest(here) {
        return Ok(trees.join(name));
    }
    let missing = || no_archive(what);
    if !has_apt() {
        return Err(missing());
    }
    let mut found = apt.available(what)?;
    if !found.iter().any(|name| wanted(name)) && apt.can_update() {
        apt.update()?;
        found = apt.available(what)?;
    }
    found.retain(|name| wanted(name));
    let name = newest(found).ok_or_else(missing)?;
    let tree = trees.join(&name);
    apt.fetch(&tree, &[&name])?;
    Ok(tree)
}

fn no_archive(what: &str) -> Error {
    Error::Missing {
        what: format!("a Debian package `{what}…`"),
        advice: "run it on Debian, or in a container of it, with bookworm's archive and its \
                 security updates among apt's sources"
            .into(),
    }
}

/// The only file in a directory whose name begins with `prefix`.
pub(crate) fn file_in(directory: &Path, prefix: &str) -> Result<PathBuf, Error> {
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(prefix))
    };
    entries(directory)?
        .into_iter()
        .find(named)
        .ok_or_else(|| Error::File {
            path: directory.join(format!("{prefix}*")),
            source: std::io::ErrorKind::NotFound.into(),
        })
}

/// What is in a directory.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(directory).map_err(Error::file(directory))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    paths.map_err(Error::file(directory))
}

fn newest(names: Vec<String>) -> Option<String> {
    names.into_iter().max_by(|a, b| by_number(a, b))
}

/// Compares names so that 6.12.9 comes before 6.12.10: runs of digits count as
/// numbers. Enough for the names of one package's versions.
pub(crate) fn by_number(a: &str, b: &str) -> Ordering {
    let parts = |name: &str| {
        let mut parts: Vec<(u64, String)> = Vec::new();
        for part in name.split_inclusive(|c: char| !c.is_ascii_digit()) {
            let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
            parts.push((digits.parse().unwrap_or(0), part[digits.len()..].to_owned()));
        }
        parts
    };
    parts(a).cmp(&parts(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_found_by_number_not_by_letter() {
        let names = [
            "linux-image-6.12.9+deb12-cloud-amd64-unsigned",
            "linux-image-6.12.117+deb12-cloud-amd64-unsigned",
            "linux-image-6.12.38+deb12-cloud-amd64-unsigned",
        ];
        let newest = newest(names.iter().map(ToString::to_string).collect());
        assert_eq!(newest.as_deref(), Some(names[1]));
    }
}
