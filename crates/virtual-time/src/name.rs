//! Names of trees of processes.
//!
//! A name is not on disk: it is part of the name of the memfd, which the tracer of the tree
//! holds open. proc(5) shows the open files of a process to the same user and to root; so a
//! name is found by searching /proc, and is gone when its tracer ends for any reason.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, What};

/// The prefix of the memfd's name.
const PREFIX: &str = "vdso-clock:";

/// A tree's name: 1 to 64 letters, digits, dots, dashes and underscores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Name, Error> {
        let refuse = |why: &str| {
            Err(Error::Unreadable {
                text: text.to_owned(),
                what: What::Name,
                why: why.to_owned(),
            })
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match text {
            "" => refuse("it is empty"),
            "list" => refuse("`vdso clock list` lists all names"),
            _ if text.len() > 64 => refuse("it is too long"),
            _ if !text.chars().all(fits) => refuse("it has other characters"),
            _ => Ok(Name(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(&self.0)
    }
}

impl Name {
    /// The memfd's name.
    pub(crate) fn of_memfd(name: Option<&Name>) -> String {
        match name {
            Some(name) => format!("{PREFIX}{name}"),
            None => PREFIX.trim_end_matches(':').to_owned(),
        }
    }
}

/// A tree with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: Name,
    /// The tracer, which delivers the pages.
    pub tracer: u32,
    descriptor: PathBuf,
}

impl Named {
    /// Opens its pages for a publisher.
    pub(crate) fn open(&self) -> io::Result<File> {
        File::options()
            .read(true)
            .write(true)
            .open(&self.descriptor)
    }
}

/// All named trees of this user, by name.
///
/// # Errors
/// When /proc can't be read.
pub fn list() -> Result<Vec<Named>, Error> {
    let mut seen = HashSet::new();
    let mut found: Vec<Named> = delivered()?
        .filter(|one| seen.insert(one.inode))
        .map(|one| one.named)
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The descriptors of tracers, which are read-only; those of publishers are not.
fn delivered() -> Result<impl Iterator<Item = Descriptor>, Error> {
    Ok(descriptors(processes()?).filter(|one| one.is_read_only))
}

/// The tree called `name`.
pub(crate) fn find(name: &Name) -> Result<Named, Error> {
    let mut processes: Vec<_> = all_processes()?.collect();
    // The kernel's threads and the system's services began before.
    processes.reverse();
    let search = |processes: &mut dyn Iterator<Item = &(u32, PathBuf)>| {
        let processes = processes.filter(|(_, process)| is_own(process)).cloned();
        let mut found = descriptors(processes).filter(|one| one.is_read_only);
        found.find(|one| one.named.name == *name)
    };
    // Searching the descriptors of a process takes far longer than finding its executable, and
    // a tracer most likely runs this very program.
    let this = executable(Path::new("/proc/self"));
    let mut likely = processes
        .iter()
        .filter(|(_, process)| executable(process) == this);
    let found = search(&mut likely).or_else(|| search(&mut processes.iter()));
    found.map(|one| one.named).ok_or_else(|| Error::Unknown {
        name: name.to_string(),
    })
}

/// Device and inode of the executable of the process with this directory in /proc.
fn executable(process: &Path) -> Option<(u64, u64)> {
    let file = fs::metadata(process.join("exe")).ok()?;
    Some((file.dev(), file.ino()))
}

/// Refuses `name` if a tree other than that of `inode` has it.
///
/// The memfd of a tree is made before this check; so of two trees that are made with one name
/// at the same time, at least one sees the other.
pub(crate) fn check_free(name: &Name, inode: u64) -> Result<(), Error> {
    let other = descriptors(processes()?).find(|one| one.named.name == *name && one.inode != inode);
    match other {
        None => Ok(()),
        Some(other) => Err(Error::Taken {
            name: name.to_string(),
            holder: other.named.tracer,
        }),
    }
}

struct Descriptor {
    named: Named,
    inode: u64,
    is_read_only: bool,
}

/// Every process of this user, with its directory in /proc.
fn processes() -> Result<impl Iterator<Item = (u32, PathBuf)>, Error> {
    Ok(all_processes()?.filter(|(_, process)| is_own(process)))
}

/// Every process, with its directory in /proc, by its id.
fn all_processes() -> Result<impl Iterator<Item = (u32, PathBuf)>, Error> {
    let processes =
        fs::read_dir("/proc").map_err(Error::system("look through /proc for the clock"));
    let numbered = |process: fs::DirEntry| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        Some((pid, process.path()))
    };
    Ok(processes?.flatten().filter_map(numbered))
}

/// Whether the process with this directory in /proc is this user's. It may end meanwhile, and those
/// of other users can't be inspected.
fn is_own(process: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::metadata(process).is_ok_and(|process| process.uid() == user)
}

/// Every descriptor of pages with a name that these processes have, searched lazily.
fn descriptors(
    processes: impl Iterator<Item = (u32, PathBuf)>,
) -> impl Iterator<Item = Descriptor> {
    processes.flat_map(|(pid, process)| {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten();
        let descriptors = descriptors.flatten();
        descriptors.filter_map(move |descriptor| examine(pid, descriptor.path()))
    })
}

fn examine(pid: u32, descriptor: PathBuf) -> Option<Descriptor> {
    let target = fs::read_link(&descriptor).ok()?;
    let name = target
        .to_str()?
        .strip_prefix("/memfd:")?
        .strip_prefix(PREFIX)?
        .strip_suffix(" (deleted)")?;
    // proc(5): the link's permissions are those with which the file was opened.
    const WRITE: u32 = 0o200;
    let is_read_only = fs::symlink_metadata(&descriptor).ok()?.mode() & WRITE == 0;
    let file = fs::metadata(&descriptor).ok()?;
    (file.uid() == rustix::process::geteuid().as_raw()).then_some(Descriptor {
        named: Named {
            name: name.parse().ok()?,
            tracer: pid,
            descriptor,
        },
        inode: file.ino(),
        is_read_only,
    })
}
