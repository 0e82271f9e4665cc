//! Debian's packages for other architectures than this machine's.

use crate::debian::file_in;
use crate::workshop::output_of;
use crate::{Error, Workshop};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kernel that the package `depends_on_it` of an architecture depends on, as it lies in
/// `/boot`: downloaded with apt, whose state for that architecture is in `work`, an empty
/// directory, as are the kernel's files. The machine's own architectures stay as they are. It is of
/// the machine's own release of Debian, or of another, such as `trixie`.
///
/// # Errors
/// When this machine has no archive of Debian's, or that has no such package.
pub fn kernel(
    work: &Path,
    architecture: &str,
    suite: Option<&str>,
    depends_on_it: &str,
) -> Result<PathBuf, Error> {
    let apt = Apt::new(work, architecture, suite)?;
    let depends = apt.run("apt-cache", &["depends", depends_on_it])?;
    let kernel = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .ok_or_else(|| Error::Missing {
            what: format!("a kernel that {depends_on_it} depends on"),
            advice: "look for the package's new name in Debian's archive".into(),
        })?;
    let unpacked = apt.unpack(kernel)?;
    file_in(&unpacked.join("boot"), "vmlinu")
}

/// The files of a package of another architecture and release, such as `trixie`, unpacked into the
/// cache.
///
/// # Errors
/// When it is neither in the cache nor to be had from this machine's archive.
pub fn package(
    workshop: &Workshop,
    architecture: &str,
    suite: &str,
    name: &str,
) -> Result<PathBuf, Error> {
    let tree = workshop
        .cache
        .join(format!("debian/{name}-{suite}-{architecture}"));
    if tree.is_dir() {
        return Ok(tree);
    }
    let work = tree.with_extension(std::process::id().to_string());
    fs::create_dir_all(&work).map_err(Error::file(&work))?;
    let unpacked = Apt::new(&work, architecture, Some(suite))?.unpack(name)?;
    match fs::rename(&unpacked, &tree) {
        // Another run was faster: its tree is as good.
        Err(_) if tree.is_dir() => {}
        result => result.map_err(Error::file(&tree))?,
    }
    fs::remove_dir_all(&work).map_err(Error::file(&work))?;
    Ok(tree)
}

/// apt with the state for another architecture.
struct Apt {
    work: PathBuf,
    options: Vec<String>,
}

impl Apt {
    /// Downloads the lists of packages into `work`: of the machine's own release, or of another.
    fn new(work: &Path, architecture: &str, suite: Option<&str>) -> Result<Self, Error> {
        for directory in ["lists/partial", "cache/archives/partial"] {
            let directory = work.join(directory);
            fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
        }
        let write = |name: &str, text: String| {
            let path = work.join(name);
            fs::write(&path, text).map_err(Error::file(&path))
        };
        write("sources.list", sources(architecture, suite)?)?;
        write("status", String::new())?;
        let at = |name: &str| work.join(name).display().to_string();
        let options = vec![
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::Cache={}", at("cache")),
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=-".into(),
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures::={architecture}"),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
        ];
        let apt = Self {
            work: work.to_path_buf(),
            options,
        };
        apt.run("apt-get", &["-q", "update"])?;
        Ok(apt)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, Error> {
        let mut command = Command::new(program);
        for option in &self.options {
            command.args(["-o", option]);
        }
        output_of(command.args(arguments).current_dir(&self.work))
    }

    /// Downloads a package and unpacks it.
    fn unpack(&self, name: &str) -> Result<PathBuf, Error> {
        self.run("apt-get", &["-q", "download", name])?;
        let package = file_in(&self.work, name)?;
        let unpacked = self.work.join("unpacked");
        output_of(Command::new("dpkg").arg("-x").arg(&package).arg(&unpacked))?;
        Ok(unpacked)
    }
}

/// The machine's own archive of Debian, for another architecture.
fn sources(architecture: &str, release: Option<&str>) -> Result<String, Error> {
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
        (is_main && site.ends_with("/debian/") && !suite.contains('-')).then_some((site, suite))
    });
    let (site, suite) = archive.ok_or_else(|| Error::Missing {
        what: "an archive of Debian's main component".into(),
        advice: "add it to apt's sources".into(),
    })?;
    let suite = release.unwrap_or(suite);
    Ok(format!("deb [arch={architecture}] {site} {suite} main\n"))
}
