//! Debian's kernels for other architectures than this machine's.

use crate::Error;
use crate::debian::file_in;
use crate::workshop::output_of;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kernel that the package `depends_on_it` of an architecture depends on, as it lies in
/// `/boot`: downloaded with apt, whose state for that architecture is in `work`, an empty
/// directory, as are the kernel's files. The machine's own architectures stay as they are.
///
/// # Errors
/// When this machine has no archive of Debian's, or that has no such package.
pub fn kernel(work: &Path, architecture: &str, depends_on_it: &str) -> Result<PathBuf, Error> {
    for directory in ["lists/partial", "cache/archives/partial"] {
        let directory = work.join(directory);
        fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    }
    let write = |name: &str, text: String| {
        let path = work.join(name);
        fs::write(&path, text).map_err(Error::file(&path))
    };
    write("sources.list", sources(architecture)?)?;
    write("status", String::new())?;
    let at = |name: &str| work.join(name).display().to_string();
    let options = [
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
    let apt = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        for option in &options {
            command.args(["-o", option]);
        }
        output_of(command.args(arguments).current_dir(work))
    };
    apt("apt-get", &["-q", "update"])?;
    let depends = apt("apt-cache", &["depends", depends_on_it])?;
    let kernel = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .ok_or_else(|| Error::Missing {
            what: format!("a kernel that {depends_on_it} depends on"),
            advice: "look for the package's new name in Debian's archive".into(),
        })?;
    apt("apt-get", &["-q", "download", kernel])?;
    let package = file_in(work, kernel)?;
    let unpacked = work.join("unpacked");
    output_of(Command::new("dpkg").arg("-x").arg(&package).arg(&unpacked))?;
    file_in(&unpacked.join("boot"), "vmlinu")
}

/// The machine's own archive of Debian, for another architecture.
fn sources(architecture: &str) -> Result<String, Error> {
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
    Ok(format!("deb [arch={architecture}] {site} {suite} main\n"))
}
