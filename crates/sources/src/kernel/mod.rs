//! The running kernel as a publisher: its own variables, at its own tick.
//!
//! The vvar pages are a BPF map that the kernel fills ([`vdsokit_bpf`]). It has a name in the
//! BPF file system, and so outlives the process that set it up. A hidden link beside the vDSO's file
//! leads from one to the other:
//!
//! ```text
//! /run/vdso/libkernel.so.1                            the image, and vvar pages of its own
//! /run/vdso/.libkernel.so.1.kernel -> /sys/fs/bpf/vdso-run-vdso-libkernel_2eso_2e1/
//!                                     pages           the map that the kernel fills
//!                                     0-tick …        what fills it
//! ```
//!
//! | reader | reads | age of the values |
//! | --- | --- | --- |
//! | [`open_vdso`], a program with the vDSO delivered at exec | the map | a tick at most; exact after the events that a variable names |
//! | a program that loads the file | the file's own pages, to which a [`Relay`] copies the map's | the time between two copies more |
//! | a program that loads a [clock's](start_clock) file | the kernel's own vDSO, which the file's records name | none |
//!
//! After [`Started::detach`] no process copies: the file's state is *never published* until a
//! relay runs, and only [`describe`] shows that the kernel publishes.
//!
//! Opening the map requires access to its directory, and Linux mounts the BPF file system for
//! root alone. Reading a map that another process has handed on requires nothing.

mod clock;
mod relay;

pub use clock::{Timekeeper, start_clock};
pub use relay::Relay;
pub use vdsokit_bpf::named::named;
pub use vdsokit_bpf::{Error as Refused, Hook, Kernel, Listed, plain_name};

use crate::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use vdsokit_bpf::{Content, KernelVariable, Machine, MappedPages, pages_of};
use vdsokit_elf::Image;
use vdsokit_publish::Error as PublishError;
use vdsokit_publish::place::{beside, check, resolve};
use vdsokit_publish::serve::End;
use vdsokit_publish::{Beside, Options, Publisher, Vdso, image_parts, install};
use vdsokit_vvar::directory::{Directory, Entry, Kind};
use vdsokit_vvar::header::{self, Header};
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::{NOTE_KERNEL, NOTE_NAME};

/// Where the BPF file system is, since Linux 4.4 (Documentation/bpf/index.rst).
const BPF_FS: &str = "/sys/fs/bpf";
/// Its number in statfs(2): BPF_FS_MAGIC in include/uapi/linux/magic.h.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// After this time without a heartbeat the kernel's values are stale: nothing fills the map
/// any more. A machine that is not idle has a tick at least every 10 ms.
const PATIENCE: Duration = Duration::from_secs(5);

/// The expression of the kernel that a variable, or a field of one, is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The variable.
    pub variable: String,
    /// The field, when it is a record.
    pub field: Option<String>,
    /// The value in the kernel: see [`vdsokit_bpf::expression`].
    pub expression: String,
    /// Events after which the variable is exact at once.
    pub after: Vec<Hook>,
}

/// The bindings that an image says itself, as that of a crate with `#[kernel = "…"]` does; none for any
/// other file.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use vdsokit_sources::kernel::{Kernel, bindings, start};
///
/// let image = std::fs::read("libpressure.so.1")?;
/// let started = start(&Kernel::running()?, &image, &bindings(&image))?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn bindings(image: &[u8]) -> Vec<Binding> {
    let parsed = Image::parse(image).ok();
    let note = parsed.as_ref().and_then(|image| {
        let mut notes = image.notes();
        notes.find(|note| note.name == *NOTE_NAME && note.kind == NOTE_KERNEL)
    });
    let text = note.and_then(|note| std::str::from_utf8(note.desc).ok());
    let line = |line: &str| {
        let (variable, expression) = line.split_once('\t')?;
        Some(Binding {
            variable: variable.to_owned(),
            field: None,
            expression: expression.to_owned(),
            after: Vec::new(),
        })
    };
    text.unwrap_or_default().lines().filter_map(line).collect()
}

/// A kernel that publishes into a map without a name. Dropping it ends that.
#[derive(Debug)]
pub struct Started {
    publisher: vdsokit_bpf::Publisher,
    image: Vec<u8>,
}

/// Makes `kernel` publish the variables of `image`. Once the map has a
/// [name](Started::serve), no privilege is needed any more ([`drop_privileges`]).
///
/// # Errors
/// [`Error::Kernel`]; [`Error::Unbound`] names a variable of the image without a binding.
pub fn start(kernel: &Kernel, image: &[u8], bindings: &[Binding]) -> Result<Started, Error> {
    start_with(kernel, image, |directory| {
        let entries = directory.iter();
        entries
            .map(|entry| variable(kernel, &entry, bindings))
            .collect()
    })
}

fn start_with(
    kernel: &Kernel,
    image: &[u8],
    variables: impl FnOnce(Directory<'_>) -> Result<Vec<KernelVariable>, Error>,
) -> Result<Started, Error> {
    let (directory, initial) = image_parts(Path::new("the image"), image)?;
    let variables = variables(directory)?;
    let pages = pages(initial, directory);
    Ok(Started {
        publisher: vdsokit_bpf::Publisher::start(kernel, &pages, &variables, Machine::THIS)?,
        image: image.to_vec(),
    })
}

/// Gives up all privileges of the calling thread. Publishing continues without them. Call
/// it before the process has other threads.
///
/// # Errors
/// The error of prctl(2) or capset(2); dropping privileges is always permitted.
pub fn drop_privileges() -> io::Result<()> {
    vdsokit_bpf::privileges::drop_all()
}

fn variable(
    kernel: &Kernel,
    entry: &Entry<'_>,
    bindings: &[Binding],
) -> Result<KernelVariable, Error> {
    let name = entry.name;
    let binding = |field: Option<&str>| {
        let found = bindings
            .iter()
            .find(|binding| binding.variable == name && binding.field.as_deref() == field);
        found.ok_or_else(|| Error::Unbound {
            name: match field {
                Some(field) => format!("{name}.{field}"),
                None => name.to_owned(),
            },
        })
    };
    let value =
        |binding: &Binding, ty: Type| kernel.resolve_as(&binding.expression, ty, &Hook::Tick);
    match &entry.kind {
        Kind::Plain(ty) => {
            let binding = binding(None)?;
            let variable = KernelVariable::plain(name, entry.offset, value(binding, *ty)?);
            Ok(variable.after(&binding.after))
        }
        Kind::Record(fields) => {
            let mut after = Vec::new();
            let mut parts = Vec::new();
            for field in fields.clone() {
                let binding = binding(Some(field.name))?;
                after.clone_from(&binding.after);
                parts.push((field.offset, value(binding, field.ty)?));
            }
            Ok(KernelVariable {
                name: name.to_owned(),
                offset: entry.offset,
                content: Content::Latch {
                    size: entry.size(),
                    parts,
                },
                events: after,
            })
        }
    }
}

/// An image's vvar pages with the kernel as their publisher.
fn pages(initial: &[u8], directory: Directory<'_>) -> Vec<u8> {
    // A directory has counted its variables and bytes in 32 bits.
    let header = Header::new(
        directory.layout(),
        directory.len() as u32,
        directory.used() as u32,
    );
    let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
    pages_of(&header, patience, &initial[header::SIZE..])
}

impl Started {
    /// Publishes at `path`: the file's publisher, and its source, a relay that copies the
    /// map's values once each `period`. A kernel that publishes there already is retired.
    /// `options` says whether the file's layout may change; its limit for heartbeats is not used,
    /// because the relay stores them.
    ///
    /// # Errors
    /// As [`Publisher::create`]; [`Error::NoBpfFs`].
    pub fn serve(
        mut self,
        path: &Path,
        period: Duration,
        options: Options,
    ) -> Result<(Publisher, Relay), Error> {
        // Without a thread: the caller has yet to give up its privileges, and the relay
        // stores heartbeats.
        let file = options.stale_after(PATIENCE).create(path, &self.image)?;
        self.name(file.path())?;
        let pages = self.publisher.mapping()?;
        let relay = Relay::new(&file, pages, period, Some(self.publisher))?;
        Ok((file, relay))
    }

    /// Publishes at `path`, and leaves that to the kernel alone. The file has the image and
    /// no values: its state is *never published* until a [relay](Relay::open) runs. Returns
    /// the file's path without symbolic links.
    ///
    /// # Errors
    /// As [`Started::serve`].
    pub fn detach(mut self, path: &Path) -> Result<PathBuf, Error> {
        let path = resolve(path)?;
        check(path.parent().unwrap_or(Path::new("/")))?;
        install(&path, &self.image)?;
        self.name(&path)?;
        Ok(path)
    }

    /// Names the map, and links from the file to it.
    fn name(&mut self, path: &Path) -> Result<(), Error> {
        let beside = Beside::open(path)?;
        let directory = directory_for(path);
        if !has_bpf_fs() {
            return Err(Error::NoBpfFs);
        }
        match vdsokit_bpf::retire(&directory) {
            Ok(()) => {}
            Err(_) if !directory.exists() => {}
            Err(error) => return Err(error.into()),
        }
        self.publisher.pin(&directory)?;
        Ok(beside.link(SUFFIX, &directory)?)
    }
}

/// Whether a BPF file system is mounted at `/sys/fs/bpf`.
#[must_use]
pub fn has_bpf_fs() -> bool {
    let magic = rustix::fs::statfs(BPF_FS).map(|fs| fs.f_type as u64);
    magic == Ok(BPF_FS_MAGIC)
}

/// The suffix of a link's name.
const SUFFIX: &str = "kernel";

/// The directory of the BPF file system for the vDSO at `path`: another for each path. Names
/// there hold no dots (kernel/bpf/inode.c, `bpf_lookup`), so each byte that is no letter or
/// digit is written as its number.
fn directory_for(path: &Path) -> PathBuf {
    let mut name = String::from("vdso");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' => name.push('-'),
            letter if letter.is_ascii_alphanumeric() => name.push(letter.into()),
            other => name.extend(format!("_{other:02x}").chars()),
        }
    }
    Path::new(BPF_FS).join(name)
}

/// The file whose directory has this name: the inverse of [`directory_for`].
fn file_for(name: &[u8]) -> Option<PathBuf> {
    let mut rest = name.strip_prefix(b"vdso")?;
    let mut path = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        path.push(match byte {
            b'-' => b'/',
            b'_' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            letter => letter,
        });
    }
    let path = PathBuf::from(OsString::from_vec(path));
    (directory_for(&path).file_name()?.as_bytes() == name).then_some(path)
}

/// The files of the vDSOs that have a map of the kernel's; none where this process can't read the
/// BPF file system.
#[must_use]
pub fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(BPF_FS).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| file_for(entry.file_name().as_bytes()));
    files.collect()
}

/// The directory with the map that the kernel fills for the vDSO at `path`, if the vDSO has
/// one; this process may have no access to it. A link to any other place is not followed,
/// because write access beside the file must not give the right to retire other maps.
#[must_use]
pub fn directory(path: &Path) -> Option<PathBuf> {
    let path = fs::canonicalize(path).ok()?;
    let led_to = fs::read_link(beside(&path, SUFFIX)).ok()?;
    (led_to == directory_for(&path)).then_some(led_to)
}

/// The map that the kernel fills for the vDSO at `path`; `None` when it has none, this
/// process has no access to it, or its layout is not the file's.
#[must_use]
pub fn open(path: &Path) -> Option<MappedPages> {
    let map = vdsokit_bpf::open(&directory(path)?).ok()?;
    let file = Vdso::open(path).ok()?;
    let layout = map.pages().ok()?.header().layout();
    (layout == file.header().layout()).then_some(map)
}

/// The vDSO at `path`, over the pages that the kernel fills for it; `None` as for [`open`].
///
/// # Errors
/// As [`Vdso::open`].
pub fn open_vdso(path: impl AsRef<Path>) -> Result<Option<Vdso>, Error> {
    let path = path.as_ref();
    let Some(map) = open(path) else {
        return Ok(None);
    };
    let pages = map.map().try_clone_to_owned();
    let pages = pages.map_err(|error| PublishError::io("read", path, error))?;
    Ok(Some(Vdso::with_pages(path, &pages.into(), map.size())?))
}

/// Retires the kernel as the publisher of the vDSO at `path`: its programs are unloaded, and
/// the map is freed once its readers have ended. A relay ends by itself. Returns false when
/// the kernel does not publish there.
///
/// # Errors
/// [`Error::Kernel`] when privileges are missing.
pub fn retire(path: &Path) -> Result<bool, Error> {
    let Some(directory) = directory(path) else {
        return Ok(false);
    };
    // Opened first: in a directory that is refused, the kernel goes on.
    let beside = Beside::open(path)?;
    let ended = match vdsokit_bpf::retire(&directory) {
        Ok(()) => true,
        // The machine was rebooted since, which removes all names in the BPF file system.
        Err(_) if matches!(fs::exists(&directory), Ok(false)) => false,
        Err(error) => return Err(error.into()),
    };
    beside.unlink(SUFFIX)?;
    Ok(ended)
}

/// Ends the kernel's part, which this process has set up, after this end of the loop.
fn conclude(kernel: vdsokit_bpf::Publisher, end: End, path: &Path) -> Result<(), Error> {
    if end != End::Retired {
        kernel.retire()?;
        if end != End::Displaced {
            Beside::open(path)?.unlink(SUFFIX)?;
        }
    }
    Ok(())
}

/// The kernel as the publisher of a vDSO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The directory with the map and its programs.
    pub directory: PathBuf,
    /// The map's number, as bpftool(8) shows it; `None` when it can't be reached.
    pub map: Option<u32>,
    /// The hooks that copy values; empty when the map can't be reached.
    pub hooks: Vec<String>,
}

/// Describes the kernel as the publisher of the vDSO at `path`.
#[must_use]
pub fn describe(path: &Path) -> Option<Description> {
    let directory = directory(path)?;
    let map = vdsokit_bpf::open(&directory).ok();
    Some(Description {
        map: map.and_then(|map| map.id().ok()),
        hooks: vdsokit_bpf::hooks(&directory).unwrap_or_default(),
        directory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_has_a_directory_without_dots() {
        assert_eq!(
            directory_for(Path::new("/run/vdso/libkernel.so.1")),
            Path::new("/sys/fs/bpf/vdso-run-vdso-libkernel_2eso_2e1")
        );
    }

    #[test]
    fn no_two_files_have_the_same_directory() {
        let paths = ["/a/b", "/a-b", "/a_b", "/a.b", "/a_2db", "/a/2db"];
        let directories: BTreeSet<_> = paths.iter().map(|p| directory_for(Path::new(p))).collect();
        assert_eq!(directories.len(), paths.len());
    }

    #[test]
    fn the_name_of_a_directory_tells_its_file() {
        for path in ["/run/vdso/libkernel.so.1", "/a-b/c_d", "/\u{e4}/ "] {
            let directory = directory_for(Path::new(path));
            let name = directory.file_name().unwrap().as_bytes();
            assert_eq!(file_for(name), Some(PathBuf::from(path)));
        }
        for other in [
            "systemd", "vdso_", "vdso_zz", "vdso_+1", "vdso-a.b", "vdso-_61",
        ] {
            assert_eq!(file_for(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_link_to_the_map_of_another_file_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let file = fs::canonicalize(directory.path()).unwrap().join("libx.so");
        fs::write(&file, "").unwrap();
        symlink(directory_for(Path::new("/other")), beside(&file, SUFFIX)).unwrap();
        assert_eq!(super::directory(&file), None);
        assert!(!retire(&file).unwrap());
    }

    #[test]
    fn where_no_kernel_publishes_there_is_nothing_to_retire() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("libx.so");
        assert_eq!(super::directory(&file), None);
        fs::write(&file, "").unwrap();
        assert!(!retire(&file).unwrap());
        assert!(open(&file).is_none() && describe(&file).is_none());
        // What a crash of the machine left behind.
        let file = fs::canonicalize(&file).unwrap();
        let link = beside(&file, SUFFIX);
        symlink(directory_for(&file), &link).unwrap();
        assert!(open(&file).is_none());
        assert_eq!(describe(&file).unwrap().map, None);
        assert!(!retire(&file).unwrap());
        assert!(!link.is_symlink());
    }

    /// The directory is an unprivileged user's: they could exchange it while the link is removed.
    #[test]
    fn the_kernel_is_not_retired_for_a_file_in_a_directory_of_another_user() {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "chown(2) needs root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = fs::canonicalize(directory.path()).unwrap().join("libx.so");
        fs::write(&file, "").unwrap();
        let link = beside(&file, SUFFIX);
        symlink(directory_for(&file), &link).unwrap();
        std::os::unix::fs::chown(directory.path(), Some(65534), None).unwrap();
        let refused = retire(&file).unwrap_err().to_string();
        assert!(refused.contains("user 65534"), "{refused}");
        assert!(link.is_symlink());
    }
}
