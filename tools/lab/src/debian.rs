//! Packages of Debian's archive: unpacked into the cache. Only what tests run as programs is
//! installed, and the machine's list of architectures stays as it is.

use crate::workshop::output_of;
use crate::{Architecture, Error, Workshop};
use std::cmp::Ordering;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// apt for one part of the archive, and where its packages are unpacked.
struct Apt {
    /// The directory of the trees.
    trees: PathBuf,
    /// Options that give apt a state of its own for a foreign architecture or another release. None:
    /// the machine's own state is used.
    options: Vec<String>,
    /// The file that names the archive of another release, and what it is to say.
    sources: Option<Sources>,
}

/// A release of an architecture, and apt's list of sources for it.
struct Sources {
    file: PathBuf,
    architecture: String,
    release: String,
}

impl Sources {
    /// Writes the list: the archive is the one that the machine has its own packages from.
    fn write(&self) -> Result<(), Error> {
        let format = "$(REPO_URI) $(CODENAME) $(COMPONENT)";
        let targets = output_of(Command::new("apt-get").args([
            "indextargets",
            "--format",
            format,
            "Created-By: Packages",
        ]))?;
        let archive = targets.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let (site, suite) = (fields.next()?, fields.next()?);
            let is_main = fields.next()? == "main";
            (is_main && site.ends_with("/debian/") && !suite.contains('-')).then_some(site)
        });
        let site = archive.ok_or_else(|| Error::Missing {
            what: "an archive of Debian's main component".into(),
            advice: "add it to apt's sources".into(),
        })?;
        let Self {
            file,
            architecture,
            release,
        } = self;
        let list = format!("deb [arch={architecture}] {site} {release} main\n");
        fs::write(file, list).map_err(Error::file(file))
    }
}

impl Apt {
    fn new(workshop: &Workshop, archive: Archive<'_>) -> Result<Apt, Error> {
        let create = |directory: PathBuf| {
            fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
            Ok::<_, Error>(directory)
        };
        let Archive {
            architecture,
            release,
        } = archive;
        if architecture == Architecture::X86_64.debian() && release.is_none() {
            let trees = create(workshop.cache.join("debian"))?;
            let options = Vec::new();
            return Ok(Apt {
                trees,
                options,
                sources: None,
            });
        }
        let name = match release {
            None => architecture.to_owned(),
            Some(release) => format!("{release}-{architecture}"),
        };
        let state = create(workshop.cache.join(format!("apt-{name}")))?;
        create(state.join("lists/partial"))?;
        create(state.join("cache/archives/partial"))?;
        let status = state.join("status");
        fs::write(&status, "").map_err(Error::file(&status))?;
        let at = |name: &str| state.join(name).display().to_string();
        let mut options = vec![
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::Cache={}", at("cache")),
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures::={architecture}"),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
        ];
        let sources = release.map(|release| Sources {
            file: state.join("sources.list"),
            architecture: architecture.to_owned(),
            release: release.to_owned(),
        });
        if sources.is_some() {
            options.extend([
                format!("Dir::Etc::sourcelist={}", at("sources.list")),
                "Dir::Etc::sourceparts=-".into(),
            ]);
        }
        Ok(Apt {
            trees: create(workshop.cache.join(format!("debian-{name}")))?,
            options,
            sources,
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for option in &self.options {
            command.args(["--option", option]);
        }
        command
    }

    /// Whether this process may update the lists of packages.
    fn can_update(&self) -> bool {
        !self.options.is_empty() || rustix::process::geteuid().is_root()
    }

    fn update(&self) -> Result<(), Error> {
        // Not before: packages that are in the cache are there for machines without an archive, too.
        if let Some(sources) = &self.sources {
            sources.write()?;
        }
        let mut command = self.command("apt-get");
        output_of(command.args(["update", "--quiet", "--quiet"])).map(drop)
    }

    /// The known packages whose names begin with `prefix`.
    fn available(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let names = output_of(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The one package whose name begins with `prefix` that another depends on.
    fn dependency(&self, package: &str, prefix: &str) -> Result<String, Error> {
        // Nothing of what it prints is shown: without lists it fails, and they are fetched then.
        let find = || {
            let mut command = self.command("apt-cache");
            let depends = command.args(["depends", "--important", package]).output();
            let depends = String::from_utf8(depends.ok()?.stdout).ok()?;
            depends
                .lines()
                .filter_map(|line| line.trim().strip_prefix("Depends: "))
                .find(|name| name.starts_with(prefix))
                .map(str::to_owned)
        };
        if !has_apt() {
            return Err(no_archive(package));
        }
        if let Some(name) = find() {
            return Ok(name);
        }
        if self.can_update() {
            self.update()?;
        }
        find().ok_or_else(|| no_archive(package))
    }

    /// Downloads packages and unpacks them as `tree`.
    fn fetch(&self, tree: &Path, packages: &[&str]) -> Result<(), Error> {
        if !has_apt() {
            return Err(no_archive(&packages.join("`, `")));
        }
        match self.try_to_fetch(tree, packages) {
            // The lists may be old, and name packages that are gone.
            Err(_) if self.can_update() => {
                self.update()?;
                self.try_to_fetch(tree, packages)
            }
            result => result,
        }
    }

    fn try_to_fetch(&self, tree: &Path, packages: &[&str]) -> Result<(), Error> {
        // Whole trees only: unpack beside the place, then rename.
        let work = tree.with_file_name(format!(".{}.{}", packages[0], std::process::id()));
        let fresh = work.join("tree");
        fs::create_dir_all(&fresh).map_err(Error::file(&fresh))?;
        output_of(
            self.command("apt-get")
                .args(["download", "--quiet", "--quiet"])
                .args(packages)
                // Root's downloads go to a directory that apt's own user can't see.
                .args(["--option", "APT::Sandbox::User="])
                .current_dir(&work),
        )?;
        for file in entries(&work)? {
            if file.extension().is_some_and(|extension| extension == "deb") {
                output_of(Command::new("dpkg").arg("-x").arg(&file).arg(&fresh))?;
            }
        }
        lead_links_into(&fresh, &fresh, tree)?;
        match fs::rename(&fresh, tree) {
            // Another run was faster: its tree is as good.
            Err(_) if tree.is_dir() => {}
            result => result.map_err(Error::file(tree))?,
        }
        fs::remove_dir_all(&work).map_err(Error::file(&work))
    }
}

fn no_archive(what: &str) -> Error {
    Error::Missing {
        what: format!("a Debian package `{what}…`"),
        advice: "run it on Debian, or in a container of it, with bookworm's archive and its \
                 security updates among apt's sources"
            .into(),
    }
}

/// Changes the links below `directory` that name absolute paths which are in `fresh` to name
/// them in `tree`, where `fresh` is to be.
fn lead_links_into(directory: &Path, fresh: &Path, tree: &Path) -> Result<(), Error> {
    for path in entries(directory)? {
        let kind = fs::symlink_metadata(&path).map_err(Error::file(&path))?;
        if kind.is_dir() {
            lead_links_into(&path, fresh, tree)?;
        }
        if !kind.is_symlink() {
            continue;
        }
        let to = fs::read_link(&path).map_err(Error::file(&path))?;
        let Ok(inside) = to.strip_prefix("/") else {
            continue;
        };
        if fs::symlink_metadata(fresh.join(inside)).is_ok() {
            fs::remove_file(&path).map_err(Error::file(&path))?;
            symlink(tree.join(inside), &path).map_err(Error::file(&path))?;
        }
    }
    Ok(())
}

fn has_apt() -> bool {
    let mut command = Command::new("apt-get");
    command.arg("--version").stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn native_update() -> Result<(), Error> {
    output_of(Command::new("apt-get").args(["update", "--quiet", "--quiet"])).map(drop)
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
