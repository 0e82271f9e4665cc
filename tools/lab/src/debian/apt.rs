//! apt for a part of the archive: its state, its sources, and packages that are unpacked.

use super::{Archive, entries, no_archive};
use crate::workshop::output_of;
use crate::{Architecture, Error, Workshop};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// apt for one part of the archive, and where its packages are unpacked.
pub(super) struct Apt {
    /// The directory of the trees.
    pub(super) trees: PathBuf,
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
    pub(super) fn new(workshop: &Workshop, archive: Archive<'_>) -> Result<Apt, Error> {
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

    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for option in &self.options {
            command.args(["--option", option]);
        }
        command
    }

    /// Whether this process may update the lists of packages.
    pub(super) fn can_update(&self) -> bool {
        !self.options.is_empty() || rustix::process::geteuid().is_root()
    }

    pub(super) fn update(&self) -> Result<(), Error> {
        // Not before: packages that are in the cache are there for machines without an archive, too.
        if let Some(sources) = &self.sources {
            sources.write()?;
        }
        let mut command = self.command("apt-get");
        output_of(command.args(["update", "--quiet", "--quiet"])).map(drop)
    }

    /// The known packages whose names begin with `prefix`.
    pub(super) fn available(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let names = output_of(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The one package whose name begins with `prefix` that another depends on.
    pub(super) fn dependency(&self, package: &str, prefix: &str) -> Result<String, Error> {
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
    pub(super) fn fetch(&self, tree: &Path, packages: &[&str]) -> Result<(), Error> {
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

pub(super) fn has_apt() -> bool {
    let mut command = Command::new("apt-get");
    command.arg("--version").stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

pub(super) fn native_update() -> Result<(), Error> {
    output_of(Command::new("apt-get").args(["update", "--quiet", "--quiet"])).map(drop)
}
