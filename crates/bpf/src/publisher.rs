//! The kernel as the publisher: loading, attaching, pinning, retiring.

mod load;

use crate::Error;
use crate::hook::Hook;
use crate::kernel::Kernel;
use crate::mapped_pages::MappedPages;
use crate::program::{self, Duty, KernelVariable, LOCK_SIZE, Machine, Setting};
use crate::sys::{self, Attach, Runs};
use load::ENOTSUPP;
pub(crate) use load::{create, load, possible_cpus, refused};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use vdsokit_vvar::PAGE_SIZE;
use vdsokit_vvar::header::{self, Header, Publication, State};

/// The kernel publishing variables into a map that is vvar pages.
///
/// Dropping it detaches everything, unless it was [pinned](Self::pin).
#[derive(Debug)]
pub struct Publisher {
    pages: OwnedFd,
    control: OwnedFd,
    programs: Vec<OwnedFd>,
    links: Vec<(Hook, OwnedFd)>,
    /// Marks the pages as retired. Loaded beforehand, since the privilege to load it may be gone
    /// at the end.
    ending: OwnedFd,
    /// Where it was pinned.
    directory: Option<PathBuf>,
    names: Vec<String>,
    instructions: usize,
}

/// The names that a publisher has in its directory of a BPF file system.
mod name {
    use crate::hook::Hook;

    pub(super) const PAGES: &str = "pages";

    /// Number and hook. Names there hold no dots (kernel/bpf/inode.c, bpf_lookup).
    pub(super) fn link(number: usize, hook: &Hook) -> String {
        format!("{number}-{hook}").replace('.', "_")
    }

    /// The hook in such a name.
    pub(super) fn hook(link: &str) -> Option<&str> {
        let (number, hook) = link.split_once('-')?;
        number.parse::<usize>().ok().map(|_| hook)
    }
}

/// Variables that are copied together: those exact after the same events.
struct Group<'v> {
    events: &'v [Hook],
    variables: Vec<(usize, &'v KernelVariable)>,
}

impl Publisher {
    /// Lets the kernel publish `variables` into pages that begin as `image` does:
    /// the header and the initial values of an image's vvar pages.
    ///
    /// Every variable is read once before anything is attached, so one that can't be
    /// read is an error here. Readers find the state *live* from the first tick on.
    ///
    /// # Errors
    /// When privileges are missing, a hook or a value is not to be had, or the
    /// variables don't lie in the pages.
    pub fn start(
        kernel: &Kernel,
        image: &[u8],
        variables: &[KernelVariable],
        machine: Machine,
    ) -> Result<Self, Error> {
        for variable in variables {
            if !variable.fits(image.len()) {
                return Err(Error::Misplaced {
                    name: variable.name.clone(),
                });
            }
        }
        let two_hooks = |v: &&KernelVariable| v.needs_argument() && !v.events.is_empty();
        if let Some(variable) = variables.iter().find(two_hooks) {
            return Err(Error::ArgumentAfterEvent {
                name: variable.name.clone(),
            });
        }
        let groups = groups(variables);
        let locks = 8 * variables.len();
        let control_size = locks + LOCK_SIZE as usize * groups.len();
        let pages = create(image.len().next_multiple_of(PAGE_SIZE))?;
        // A map has a page even without a variable.
        let control = create(control_size.max(1).next_multiple_of(PAGE_SIZE))?;
        let ending = load(&program::retire(pages.as_raw_fd())?, Attach::ByHand)?;
        let mut publisher = Self {
            pages,
            control,
            programs: Vec::new(),
            links: Vec::new(),
            ending,
            directory: None,
            names: variables.iter().map(|v| v.name.clone()).collect(),
            instructions: 0,
        };
        publisher.fill(image)?;
        let setting = Setting {
            pages: publisher.pages.as_raw_fd(),
            control: publisher.control.as_raw_fd(),
            cpus: possible_cpus()?,
            machine,
            cast: None,
            boot_time: kernel.boot_time(),
        };
        publisher.prime(setting, variables)?;
        let setting = Setting {
            cast: kernel.cast_for_programs(),
            ..setting
        };
        for (n, group) in groups.iter().enumerate() {
            let events = group.events;
            let lock = u32::try_from(locks).map_err(|_| Error::TooMuch)? + LOCK_SIZE * n as u32;
            for hook in events {
                let code = program::assemble(setting, &group.variables, Duty::Event { lock })?;
                publisher.attach(kernel, hook, &code)?;
            }
            if !events.is_empty() {
                let code = program::assemble(setting, &group.variables, Duty::Event { lock })?;
                publisher.attach(kernel, &Hook::Tick, &code)?;
            }
        }
        // Last, since it marks all values as live.
        let plain = groups.iter().find(|group| group.events.is_empty());
        let plain = plain.map_or(&[][..], |group| &group.variables);
        let code = program::assemble(setting, plain, Duty::Tick)?;
        publisher.attach(kernel, &Hook::Tick, &code)?;
        Ok(publisher)
    }

    /// Puts the initial bytes in, with nothing published, and freezes the map.
    fn fill(&self, image: &[u8]) -> Result<(), Error> {
        let mut bytes = vec![0; image.len().next_multiple_of(PAGE_SIZE)];
        bytes[..image.len()].copy_from_slice(image);
        let state = (State::NeverPublished as u32).to_ne_bytes();
        bytes[header::STATE_OFFSET..][..4].copy_from_slice(&state);
        bytes[header::UPDATED_OFFSET..][..8].fill(0);
        let filled = sys::map_update(self.pages.as_fd(), &bytes);
        filled.map_err(refused("initial values in a map"))?;
        sys::map_freeze(self.pages.as_fd()).map_err(refused("to freeze a map"))
    }

    /// Reads every variable once that can be read without a hook's arguments. There
    /// is no other writer yet.
    fn prime(&self, setting: Setting, variables: &[KernelVariable]) -> Result<(), Error> {
        let plain: Vec<(usize, &KernelVariable)> = variables
            .iter()
            .enumerate()
            .filter(|(_, variable)| !variable.needs_argument())
            .collect();
        let code = program::assemble(setting, &plain, Duty::Prime)?;
        let program = load(&code, Attach::ByHand)?;
        sys::run(program.as_fd()).map_err(refused("to run a program"))?;
        let names: Vec<String> = self
            .failures()?
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, _)| name)
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Error::Unreadable { names })
    }

    fn attach(&mut self, kernel: &Kernel, hook: &Hook, code: &[[u8; 8]]) -> Result<(), Error> {
        let ty = kernel.hook_type(hook)?;
        let attach = match hook {
            Hook::Tick | Hook::Entry(_) => Attach::Entry(ty),
            Hook::Exit(_) => Attach::Exit(ty),
            Hook::Tracepoint(_) => Attach::Tracepoint(ty),
        };
        let program = load(code, attach)?;
        let link = sys::attach(program.as_fd()).map_err(|source| match source.raw_os_error() {
            Some(ENOTSUPP) => Error::NoDirectCalls { source },
            _ => refused("to attach a program")(source),
        })?;
        self.instructions += code.len();
        self.programs.push(program);
        self.links.push((hook.clone(), link));
        Ok(())
    }

    /// The map that is the vvar pages, to hand it to another process.
    #[must_use]
    pub fn map(&self) -> BorrowedFd<'_> {
        self.pages.as_fd()
    }

    /// The pages, mapped for reading.
    ///
    /// # Errors
    /// The kernel's.
    pub fn mapping(&self) -> Result<MappedPages, Error> {
        let map = self.pages.try_clone();
        map.and_then(MappedPages::new)
            .map_err(refused("to map the vvar pages"))
    }

    /// How often each variable could not be read since the start; its old value
    /// stayed then.
    ///
    /// # Errors
    /// The kernel's.
    pub fn failures(&self) -> Result<Vec<(String, u64)>, Error> {
        let control = sys::map_lookup(self.control.as_fd()).map_err(refused("to read a map"))?;
        let (counts, _) = control.as_chunks::<8>();
        let counts = counts.iter().map(|count| u64::from_ne_bytes(*count));
        Ok(self.names.iter().cloned().zip(counts).collect())
    }

    /// How many BPF instructions the attached programs have, all paths counted.
    #[must_use]
    pub fn instructions(&self) -> usize {
        self.instructions
    }

    /// How often the programs ran and how long, while [`sys::enable_stats`] lasted.
    ///
    /// # Errors
    /// The kernel's.
    pub fn runs(&self) -> Result<Runs, Error> {
        let mut all = Runs::default();
        for program in &self.programs {
            let runs = sys::runs(program.as_fd()).map_err(refused("to count a program's runs"))?;
            all.count += runs.count;
            all.nanoseconds += runs.nanoseconds;
            all.missed += runs.missed;
        }
        Ok(all)
    }

    /// Gives the pages and the attached programs names in `directory`, which is made
    /// in a mounted BPF file system (`/sys/fs/bpf`). From then on the kernel publishes
    /// until [`retire`] is called, whatever becomes of this process. Everybody who can
    /// reach the directory may map the pages: see [`MappedPages::open`].
    ///
    /// # Errors
    /// When the directory exists already, or is in no BPF file system.
    pub fn pin(&mut self, directory: &Path) -> Result<(), Error> {
        pin_in(directory, || self.pin_all(directory))?;
        self.directory = Some(directory.to_owned());
        Ok(())
    }

    fn pin_all(&self, directory: &Path) -> Result<(), Error> {
        let pages = directory.join(name::PAGES);
        sys::pin(self.pages.as_fd(), &pages).map_err(Error::file(&pages))?;
        let everybody = Permissions::from_mode(0o666);
        fs::set_permissions(&pages, everybody).map_err(Error::file(&pages))?;
        for (n, (hook, link)) in self.links.iter().enumerate() {
            let path = directory.join(name::link(n, hook));
            sys::pin(link.as_fd(), &path).map_err(Error::file(&path))?;
        }
        Ok(())
    }

    /// Ends publishing: readers find the state *retired*, and the last values; what was
    /// pinned has no name any more. It takes no privilege.
    ///
    /// # Errors
    /// The kernel's.
    pub fn retire(self) -> Result<(), Error> {
        sys::run(self.ending.as_fd()).map_err(refused("to run a program"))?;
        self.directory.as_deref().map_or(Ok(()), unpin)
    }
}

/// Maps the pages that were pinned in `directory`, for reading.
///
/// # Errors
/// When there are none, or they may not be opened.
pub fn open(directory: &Path) -> Result<MappedPages, Error> {
    MappedPages::open(&directory.join(name::PAGES))
}

/// Ends a pinned publisher: readers find the state *stopped* and the last values, and
/// the directory is gone. A copy that is under way on another CPU at that moment
/// still ends.
///
/// # Errors
/// When there is none, or privileges are missing.
pub fn retire(directory: &Path) -> Result<(), Error> {
    let path = directory.join(name::PAGES);
    let pages = sys::get(&path).map_err(Error::file(&path))?;
    let mapping = MappedPages::open(&path)?;
    mapping.pages().map_err(|reason| Error::Foreign {
        path: path.clone(),
        reason,
    })?;
    mark_retired(pages.as_fd())?;
    unpin(directory)
}

/// The hooks of the publisher that was pinned in `directory`, in the order in which they
/// were attached.
///
/// # Errors
/// When there is none, or it may not be looked into.
pub fn hooks(directory: &Path) -> Result<Vec<String>, Error> {
    let mut links = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::file(directory))? {
        let entry = entry.map_err(Error::file(directory))?;
        links.extend(entry.file_name().into_string());
    }
    links.sort();
    let hooks = links.iter().filter_map(|link| name::hook(link));
    let mut hooks: Vec<String> = hooks.map(str::to_owned).collect();
    hooks.dedup();
    Ok(hooks)
}

/// Removes what is pinned in `directory`, and the directory. In a BPF file system that everybody may
/// write, its path can lead elsewhere a moment later, so it is opened once, without following a
/// symbolic link, its owner is checked, and names are removed beneath it.
pub(crate) fn unpin(directory: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::file(directory)(error);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::open(directory, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
    let owner = rustix::fs::fstat(&dir)
        .map_err(|e| failed(e.into()))?
        .st_uid;
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(failed(io::ErrorKind::PermissionDenied.into()));
    }
    for entry in rustix::fs::Dir::read_from(&dir).map_err(|e| failed(e.into()))? {
        let entry = entry.map_err(|e| failed(e.into()))?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            rustix::fs::unlinkat(&dir, name, AtFlags::empty()).map_err(|e| failed(e.into()))?;
        }
    }
    fs::remove_dir(directory).map_err(failed)
}

/// The pages are frozen, so only a program can write to them.
/// Makes the directory and pins objects in it. If one can't be pinned, the directory goes: what could be
/// must not stay half a publisher.
pub(crate) fn pin_in(
    directory: &Path,
    pin_all: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    let made = builder.mode(0o755).create(directory);
    made.map_err(Error::file(directory))?;
    let result = pin_all();
    if result.is_err() {
        drop(unpin(directory));
    }
    result
}

fn mark_retired(pages: BorrowedFd<'_>) -> Result<(), Error> {
    let program = load(&program::retire(pages.as_raw_fd())?, Attach::ByHand)?;
    sys::run(program.as_fd()).map_err(refused("to run a program"))
}

/// An image's vvar pages for a publisher whose heartbeat readers check: readers
/// take values older than `stale_after` nanoseconds for stale; 0 is never.
#[must_use]
pub fn pages_of(header: &Header, stale_after: u64, values: &[u8]) -> Vec<u8> {
    let header = Header::new(header.layout(), header.count(), header.size());
    // The boot stays unknown: a map does not outlive its boot.
    header.publish(Publication {
        publisher: 0,
        boot: 0,
        now: 0,
        stale_after,
    });
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(values);
    bytes
}

/// Sorts variables by the events after which they are exact.
fn groups(variables: &[KernelVariable]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for numbered in variables.iter().enumerate() {
        let events = numbered.1.events.as_slice();
        match groups.iter_mut().find(|group| group.events == events) {
            Some(group) => group.variables.push(numbered),
            None => groups.push(Group {
                events,
                variables: vec![numbered],
            }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_removed_in_a_directory_of_this_user_and_through_no_link() {
        let base = tempfile::tempdir().unwrap();
        let pins = base.path().join("pins");
        fs::create_dir(&pins).unwrap();
        fs::write(pins.join("pages"), "").unwrap();
        let link = base.path().join("link");
        std::os::unix::fs::symlink(&pins, &link).unwrap();
        assert!(unpin(&link).is_err());
        assert!(pins.join("pages").exists());
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&pins, Some(65534), None).unwrap();
            assert!(unpin(&pins).is_err());
            assert!(pins.join("pages").exists());
            std::os::unix::fs::chown(&pins, Some(0), None).unwrap();
        }
        unpin(&pins).unwrap();
        assert!(!pins.exists());
    }
}
