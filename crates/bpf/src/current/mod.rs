//! Facts about the running task, for the readers of [`vdsokit_current`].
//!
//! Programs on scheduler tracepoints keep a slot for each CPU up to date; [`vdsokit_current`] has
//! the argument why a read is right. Here are the programs, assembled against the running kernel's
//! BTF, and their life: [`Current::start`], [`Current::pin`], [`retire`].
//!
//! # Privacy
//! A slot says who runs on a CPU, when, and for how long. [`Audience::Users`] has slots for each
//! of some users, which only that user may open, with that user's tasks in them; a CPU on which another
//! user's task comes in has its slot there cleared. [`Audience::World`] shows everybody everything.
//! The head, which all may read, has the state, the clock's coefficients, and a count of exits.

mod fields;
mod program;
mod time;

use crate::hook::Hook;
use crate::publisher::{create, load, pin_in, possible_cpus, refused, unpin};
use crate::sys::{self, Attach};
use crate::{Error, Kernel};
use fields::Fields;
use program::{LINKS, Maps, Slots, Users};
use rustix::process::{Gid, Uid};
use std::fs::{self, Permissions};
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
pub use time::NoCpuTime;
use time::SchedClock;
#[cfg(target_arch = "x86_64")]
use vdsokit_current::FLAG_RDPID;
use vdsokit_current::{HEAD_NAME, Head, LAYOUT, LIVE, WORLD_NAME, slots_size};

/// The functions through which the kernel releases links of tracepoints and of functions
/// (kernel/bpf/syscall.c, the `release` of `struct bpf_link_ops`), before it detaches anything.
const RELEASES: [&str; 2] = ["bpf_raw_tp_link_release", "bpf_tracing_link_release"];

/// Who may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Everybody reads of all tasks.
    World,
    /// Each of these users, by real user id in the initial user namespace, reads of that user's own
    /// tasks.
    Users(Vec<u32>),
}

/// The running kernel as it keeps the slots up to date.
///
/// Dropped without being [pinned](Self::pin), it retires the pages.
#[derive(Debug)]
pub struct Current {
    head: OwnedFd,
    /// Slots by their names.
    slots: Vec<(String, Option<u32>, OwnedFd)>,
    links: Vec<(&'static str, OwnedFd)>,
    /// Marks the pages as retired: loaded beforehand, since the privilege may be gone at the end.
    ending: OwnedFd,
    directory: Option<PathBuf>,
    no_cpu_time: Option<NoCpuTime>,
}

impl Current {
    /// Attaches the programs and lets readers have the slots.
    ///
    /// Every slot is empty until a task is switched in on its CPU, so until then reads there are
    /// the kernel's.
    ///
    /// # Errors
    /// When privileges are missing, or this kernel has not what the programs need.
    pub fn start(kernel: &Kernel, audience: &Audience) -> Result<Self, Error> {
        let fields = Fields::of(kernel)?;
        let cpus = possible_cpus()?;
        let count = usize::try_from(cpus).map_err(|_| Error::TooMuch)?;
        let head = create(4096)?;
        sys::map_update(head.as_fd(), &head_bytes(cpus)).map_err(refused("to fill a map"))?;
        sys::map_freeze(head.as_fd()).map_err(refused("to freeze a map"))?;
        let new_slots = || -> Result<OwnedFd, Error> {
            let slots = create(slots_size(count))?;
            sys::map_freeze(slots.as_fd()).map_err(refused("to freeze a map"))?;
            Ok(slots)
        };
        let control = create(program::control_size(count))?;
        let mut slots = Vec::new();
        // Loaded programs keep it.
        let many;
        let mut few = Vec::new();
        let place = match audience {
            Audience::World => {
                let world = new_slots()?;
                let place = Slots::World(world.as_raw_fd());
                slots.push((WORLD_NAME.to_owned(), None, world));
                place
            }
            Audience::Users(ids) => {
                for &id in ids {
                    let own = new_slots()?;
                    few.push((id, own.as_raw_fd()));
                    slots.push((id.to_string(), Some(id), own));
                }
                Slots::Users(if ids.len() <= Users::FEW {
                    Users::Few(&few)
                } else {
                    let entries = u32::try_from(ids.len()).map_err(|_| Error::TooMuch)?;
                    let template = new_slots()?;
                    many = sys::map_create_of_maps(entries, template.as_fd())
                        .map_err(refused("to make a map of maps"))?;
                    for (id, (.., own)) in ids.iter().zip(&slots) {
                        sys::map_insert(many.as_fd(), *id, own.as_fd())
                            .map_err(refused("to fill a map of maps"))?;
                    }
                    Users::Many(many.as_raw_fd())
                })
            }
        };
        let maps = Maps {
            head: head.as_raw_fd(),
            slots: place,
            control: control.as_raw_fd(),
            cpus,
        };
        let ending = load(&program::retire(maps.head)?, Attach::ByHand)?;
        let mut current = Self {
            head,
            slots,
            links: Vec::new(),
            ending,
            directory: None,
            no_cpu_time: None,
        };
        current.attach_all(kernel, &fields, maps)?;
        current.watch_links(&control)?;
        let begin = load(&program::go_live(maps.head)?, Attach::ByHand)?;
        sys::run(begin.as_fd()).map_err(refused("to run a program"))?;
        Ok(current)
    }

    /// What corrects slots comes before what fills them: a slot is never filled without.
    fn attach_all(
        &mut self,
        kernel: &Kernel,
        fields: &Fields,
        maps: Maps<'_>,
    ) -> Result<(), Error> {
        for function in RELEASES {
            let hook = Hook::Entry(function.to_owned());
            self.attach(kernel, function, &hook, &program::watch(maps, fields)?)?;
        }
        for (name, code) in [
            ("sched_process_exit", program::exit(maps)?),
            ("sched_process_exec", program::exec(maps, fields)?),
            ("task_newtask", program::new_task(maps, fields)?),
        ] {
            self.attach(kernel, name, &Hook::Tracepoint(name.into()), &code)?;
        }
        match SchedClock::of(kernel)? {
            Ok(clock) => self.attach(kernel, "tick", &Hook::Tick, &clock.tick(maps.head)?)?,
            Err(reason) => self.no_cpu_time = Some(reason),
        }
        let name = "sched_switch";
        // Neither interrupts nor the hypervisor's time are kept out of `clock_task` then.
        let code = program::switch(maps, fields, self.no_cpu_time.is_none())?;
        self.attach(kernel, name, &Hook::Tracepoint(name.into()), &code)
    }

    fn attach(
        &mut self,
        kernel: &Kernel,
        name: &'static str,
        hook: &Hook,
        code: &[[u8; 8]],
    ) -> Result<(), Error> {
        let ty = kernel.hook_type(hook)?;
        let attach = match hook {
            Hook::Tick | Hook::Entry(_) => Attach::Entry(ty),
            Hook::Exit(_) => Attach::Exit(ty),
            Hook::Tracepoint(_) => Attach::Tracepoint(ty),
        };
        let program = load(code, attach)?;
        let link = sys::attach(program.as_fd()).map_err(refused("to attach a program"))?;
        self.links.push((name, link));
        Ok(())
    }

    /// Tells the programs that watch releases which links are the publisher's.
    fn watch_links(&self, control: &OwnedFd) -> Result<(), Error> {
        let map = control.as_fd();
        let mut bytes = sys::map_lookup(map).map_err(refused("to read a map"))?;
        assert!(
            self.links.len() <= LINKS,
            "the control map has a word for each link"
        );
        for ((_, link), word) in self.links.iter().zip(bytes.chunks_exact_mut(8)) {
            let id = sys::link_id(link.as_fd()).map_err(refused("to number a link"))?;
            word.copy_from_slice(&u64::from(id).to_ne_bytes());
        }
        sys::map_update(map, &bytes).map_err(refused("to fill a map"))
    }

    /// Why CPU times are left to the kernel; `None` when readers have them, or will have them as
    /// soon as the counter is the kernel's stable clock.
    #[must_use]
    pub fn no_cpu_time(&self) -> Option<NoCpuTime> {
        self.no_cpu_time
    }

    /// Gives maps and links names in `directory`, which is made in a mounted BPF file system. From
    /// then on the kernel goes on until [`retire`] is called, whatever becomes of this process. A user's
    /// slots belong to that user, with mode 0600.
    ///
    /// # Errors
    /// When the directory exists already, or is in no BPF file system.
    pub fn pin(&mut self, directory: &Path) -> Result<(), Error> {
        pin_in(directory, || self.pin_all(directory))?;
        self.directory = Some(directory.to_owned());
        Ok(())
    }

    fn pin_all(&self, directory: &Path) -> Result<(), Error> {
        for (name, link) in &self.links {
            let path = directory.join(format!("link-{name}"));
            sys::pin(link.as_fd(), &path).map_err(Error::file(&path))?;
        }
        for (name, user, slots) in &self.slots {
            let path = directory.join(name);
            sys::pin(slots.as_fd(), &path).map_err(Error::file(&path))?;
            match *user {
                None => {
                    let everybody = Permissions::from_mode(0o666);
                    fs::set_permissions(&path, everybody).map_err(Error::file(&path))?;
                }
                Some(user) => {
                    let root = Some(Gid::ROOT);
                    let changed = rustix::fs::chown(&path, Some(Uid::from_raw(user)), root);
                    changed.map_err(|error| Error::file(&path)(error.into()))?;
                }
            }
        }
        // Last: readers look for it first.
        let path = directory.join(HEAD_NAME);
        sys::pin(self.head.as_fd(), &path).map_err(Error::file(&path))?;
        let everybody = Permissions::from_mode(0o666);
        fs::set_permissions(&path, everybody).map_err(Error::file(&path))
    }

    /// Ends the publication: readers make system calls from now on. It takes no privilege.
    ///
    /// # Errors
    /// The kernel's.
    pub fn retire(self) -> Result<(), Error> {
        sys::run(self.ending.as_fd()).map_err(refused("to run a program"))?;
        self.directory.as_deref().map_or(Ok(()), unpin)
    }
}

/// Ends what was pinned in `directory`: the pages are marked as retired before any program is
/// detached.
///
/// # Errors
/// When there is nothing, or privileges are missing.
pub fn retire(directory: &Path) -> Result<(), Error> {
    let path = directory.join(HEAD_NAME);
    let head = match sys::get(&path) {
        // Readers open nothing without a head, and the release of a link retires those that have.
        Err(error) if error.kind() == io::ErrorKind::NotFound && directory.exists() => {
            return unpin(directory);
        }
        head => head.map_err(Error::file(&path))?,
    };
    let ending = load(&program::retire(head.as_raw_fd())?, Attach::ByHand)?;
    sys::run(ending.as_fd()).map_err(refused("to run a program"))?;
    unpin(directory)
}

/// The maps of a publication, for mapping them into other programs.
#[derive(Debug)]
pub struct Pages {
    /// The map of the head, one page.
    pub head: OwnedFd,
    /// The map of the slots.
    pub slots: OwnedFd,
    /// Bytes of the slots' map.
    pub slots_size: usize,
}

/// Opens what is pinned in `directory`: the slots of the user `uid`, or those for everybody.
/// `None` when nothing of this layout version is published that this process may open.
///
/// The directory must be root's, and no other user may write it.
#[must_use]
pub fn open(directory: &Path, uid: u32) -> Option<Pages> {
    let metadata = fs::symlink_metadata(directory).ok()?;
    if !metadata.is_dir() || metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return None;
    }
    let get = |name: &str| sys::get(&directory.join(name)).ok();
    let head = get(HEAD_NAME)?;
    let slots = get(&uid.to_string()).or_else(|| get(WORLD_NAME))?;
    let bytes = sys::map_lookup(head.as_fd()).ok()?;
    let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let slots_size = sys::map_size(slots.as_fd()).ok()? as usize;
    let cpus = word(offset_of!(Head, cpus))? as usize;
    let is_known = word(offset_of!(Head, layout))? == LAYOUT
        && word(offset_of!(Head, state))? == LIVE
        && slots_size == vdsokit_current::slots_size(cpus);
    is_known.then_some(Pages {
        head,
        slots,
        slots_size,
    })
}

/// A head's map before anything is attached.
fn head_bytes(cpus: i32) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    #[cfg(target_arch = "x86_64")]
    let flags = if vdsokit_current::has_rdpid() {
        FLAG_RDPID
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let flags = 0;
    for (at, value) in [
        (offset_of!(Head, layout), LAYOUT),
        (offset_of!(Head, cpus), cpus.cast_unsigned()),
        (offset_of!(Head, flags), flags),
    ] {
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}
