//! Where a vDSO can be published: not every directory, and not every file system.
//!
//! Readers *load* the file, so whoever can put another one in its place runs code in
//! them; and they see new values only where a shared mapping and a private one that is
//! never written have the same pages.

use crate::error::Error;
use rustix::fs::StatVfsMountFlags;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why nothing can be published in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// It belongs to neither this user nor root.
    Owner {
        /// It, or the one above it that does.
        directory: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// The file that is there belongs to neither this user nor root.
    File {
        /// Its owner.
        uid: u32,
    },
    /// Others may put files there.
    Writable {
        /// It, or the one above it where others may.
        directory: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Readers would not see what the publisher writes.
    FileSystem {
        /// The file system.
        name: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// Mounted `noexec`: nothing there can be loaded.
    NoExec,
    /// Mounted read-only.
    ReadOnly,
    /// Tried: a private mapping did not show what a shared one wrote.
    Incoherent,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner { directory, uid } => write!(
                f,
                "{} belongs to user {uid}, who could put another file in the vDSO's place",
                directory.display()
            ),
            Self::File { uid } => {
                write!(f, "the file belongs to user {uid}, who may write to it too")
            }
            Self::Writable { directory, mode } => write!(
                f,
                "others may write to {} (mode {:04o}) and could put another file in the vDSO's \
                 place",
                directory.display(),
                mode & 0o7777
            ),
            Self::FileSystem { name, why } => write!(f, "it is on {name}: {why}"),
            Self::NoExec => {
                f.write_str("it is mounted noexec, so that no loader can load the vDSO")
            }
            Self::ReadOnly => f.write_str("it is mounted read-only"),
            Self::Incoherent => f.write_str(
                "a private mapping does not show what a shared one writes, so that readers would \
                 see no new value",
            ),
        }
    }
}

const COPY_UP: &str = "a copy-up parts readers from the publisher";
const ELSEWHERE: &str = "its pages may be fetched anew from elsewhere, under the readers";
const NOT_FILES: &str = "it holds no ordinary files";

/// File systems where it can't work, by the number that statfs(2) tells
/// (linux/magic.h, and the file systems' own headers).
const UNFIT: &[(u64, &str, &str)] = &[
    (0x794c_7630, "overlayfs", COPY_UP),
    (0x6969, "NFS", ELSEWHERE),
    (0xff53_4d42, "CIFS", ELSEWHERE),
    (0xfe53_4d42, "SMB", ELSEWHERE),
    (0x517b, "SMB", ELSEWHERE),
    (0x6573_5546, "FUSE", ELSEWHERE),
    (0x0102_1997, "9p", ELSEWHERE),
    (0x00c3_6400, "Ceph", ELSEWHERE),
    (0x5346_414f, "AFS", ELSEWHERE),
    (0x6b41_4653, "AFS", ELSEWHERE),
    (0x7375_7245, "Coda", ELSEWHERE),
    (0x0bd0_0bd0, "Lustre", ELSEWHERE),
    (0x0116_1970, "GFS2", ELSEWHERE),
    (0x7461_636f, "OCFS2", ELSEWHERE),
    (0x786f_4256, "a VirtualBox shared folder", ELSEWHERE),
    (0x9584_58f6, "hugetlbfs", NOT_FILES),
    (0x9fa0, "proc", NOT_FILES),
    (0x6265_6572, "sysfs", NOT_FILES),
];

/// Memory.
const TMPFS: u64 = 0x0102_1994;

/// Which file system a directory is on.
fn magic(directory: &Path) -> rustix::io::Result<u64> {
    Ok(rustix::fs::statfs(directory)?.f_type as u64 & 0xffff_ffff)
}

/// Can a vDSO be published in this directory, as far as can be told without a file?
///
/// It and every directory above it must be such that nobody but this user and root can
/// put another file in the vDSO's place. A sticky directory (/tmp) is good enough
/// *above* the vDSO's own, where names once taken stay; the vDSO's own must not be one,
/// since there anybody could take the name first.
///
/// # Errors
/// [`Error::Unfit`] with the reason and a place that works; [`Error::Missing`].
pub fn check(directory: &Path) -> Result<(), Error> {
    let directory = fs::canonicalize(directory).map_err(|e| Error::io("find", directory, e))?;
    match reason(&directory)? {
        None => Ok(()),
        Some(reason) => Err(unfit(&directory, reason)),
    }
}

/// `path` without symbolic links. The file need not exist; its directory must.
///
/// # Errors
/// [`Error::Missing`], [`Error::Denied`] and [`Error::Io`].
pub fn resolve(path: &Path) -> Result<PathBuf, Error> {
    if let Ok(path) = fs::canonicalize(path) {
        return Ok(path);
    }
    let io = |error| Error::io("publish", path, error);
    let name = path
        .file_name()
        .ok_or_else(|| io(std::io::ErrorKind::IsADirectory.into()))?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    Ok(fs::canonicalize(directory).map_err(io)?.join(name))
}

/// The hidden file `.NAME.SUFFIX` beside the vDSO `target`.
#[must_use]
pub fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".");
    name.push(suffix);
    target.with_file_name(name)
}

/// Checks that only this user and root can put files into `directory`, or another directory
/// in its place: a program that loads a file from there runs its code.
///
/// # Errors
/// [`Error::Unfit`].
pub(crate) fn check_owners(directory: &Path) -> Result<(), Error> {
    match owners(directory, false)? {
        None => Ok(()),
        Some(reason) => Err(unfit(directory, reason)),
    }
}

/// The file that is to be published must be this user's or root's, and for nobody else
/// to write: it is made so where it is not.
pub(crate) fn check_file(file: &File, path: &Path) -> Result<(), Error> {
    let meta = file.metadata().map_err(|e| Error::io("examine", path, e))?;
    let (uid, mode) = (meta.uid(), meta.mode() & 0o7777);
    if uid != rustix::process::geteuid().as_raw() && uid != 0 {
        let directory = path.parent().unwrap_or(path);
        return Err(unfit(directory, Unfit::File { uid }));
    }
    if mode & 0o022 == 0 {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(mode & !0o022))
        .map_err(|e| Error::io("publish", path, e))
}

/// The error for `reason`, with a place that works in its help.
pub(crate) fn unfit(directory: &Path, reason: Unfit) -> Error {
    let mut help = match &reason {
        Unfit::Writable { directory, .. } => {
            format!(
                "`chmod go-w {}` if it is yours alone, or p",
                directory.display()
            )
        }
        _ => String::from("p"),
    };
    help += &match propose() {
        Some(place) => format!("ublish in {}: it works there", place.display()),
        None => String::from(
            "ublish on a tmpfs that is mounted without noexec, in a directory of your own",
        ),
    };
    if help.starts_with('p') {
        help.replace_range(..1, "P");
    }
    Error::Unfit {
        directory: directory.to_owned(),
        reason,
        help,
    }
}

fn reason(directory: &Path) -> Result<Option<Unfit>, Error> {
    Ok(owners(directory, false)?.or(file_system(directory)?))
}

/// Who could put another file in the place of one in `directory`? With `below` the
/// question is about a directory that will be made in it.
fn owners(directory: &Path, below: bool) -> Result<Option<Unfit>, Error> {
    let user = rustix::process::geteuid().as_raw();
    for (height, directory) in directory.ancestors().enumerate() {
        let meta = fs::metadata(directory).map_err(|e| Error::io("examine", directory, e))?;
        let (uid, mode) = (meta.uid(), meta.mode());
        let directory = directory.to_owned();
        if uid != user && uid != 0 {
            return Ok(Some(Unfit::Owner { directory, uid }));
        }
        let sticky = (below || height > 0) && mode & 0o1000 != 0;
        if mode & 0o022 != 0 && !sticky {
            return Ok(Some(Unfit::Writable { directory, mode }));
        }
    }
    Ok(None)
}

fn file_system(directory: &Path) -> Result<Option<Unfit>, Error> {
    let told = |error: rustix::io::Errno| Error::io("examine", directory, error);
    let magic = magic(directory).map_err(told)?;
    if let Some((_, name, why)) = UNFIT.iter().find(|(number, ..)| *number == magic) {
        return Ok(Some(Unfit::FileSystem { name, why }));
    }
    let flags = rustix::fs::statvfs(directory).map_err(told)?.f_flag;
    Ok(if flags.contains(StatVfsMountFlags::NOEXEC) {
        Some(Unfit::NoExec)
    } else if flags.contains(StatVfsMountFlags::RDONLY) {
        Some(Unfit::ReadOnly)
    } else {
        None
    })
}

/// Directories below which one of this user's own could do, the best first: memory
/// rather than a disk, since a disk's file system makes the publisher's store wait while
/// it writes a page out.
fn bases() -> Vec<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let mut bases: Vec<PathBuf> = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|runtime| runtime.is_absolute())
        .into_iter()
        .collect();
    if user == 0 {
        bases.push("/run".into());
    }
    bases.push(format!("/run/user/{user}").into());
    bases.extend(["/dev/shm", "/tmp", "/var/tmp"].map(PathBuf::from));
    bases.sort_by_key(|base| magic(base) != Ok(TMPFS));
    bases
}

/// The directory of a user's own in a base; where that is shared with other users, one
/// that says whose.
fn own(base: &Path, user: u32) -> PathBuf {
    let shared = fs::metadata(base).is_ok_and(|meta| meta.mode() & 0o002 != 0);
    match shared {
        true => base.join(format!("vdso-{user}")),
        false => base.join("vdso"),
    }
}

/// Where a vDSO of this file name is, among the places that [`propose`] gives this user
/// and root; a file that anybody else could have put there does not count.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let mut bases = bases();
    bases.push("/run".into());
    let places = bases
        .iter()
        .flat_map(|base| [own(base, user), own(base, 0)]);
    places
        .filter(|place| matches!(owners(place, false), Ok(None)))
        .map(|place| place.join(name))
        .find(|path| path.exists())
}

/// Would a directory that this user makes there do?
fn is_base(base: &Path) -> bool {
    rustix::fs::access(base, rustix::fs::Access::WRITE_OK).is_ok()
        && matches!(owners(base, true), Ok(None))
        && matches!(file_system(base), Ok(None))
}

/// A directory that is there, in which a directory of one's own, mode 0755 or stricter,
/// is a place that works: for what is published for a while, such as by a test.
#[must_use]
pub fn base() -> Option<PathBuf> {
    bases().into_iter().find(|base| is_base(base))
}

/// A directory where publishing works: one that exists, or that could be made. Nothing
/// is made.
#[must_use]
pub fn propose() -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    bases().into_iter().find_map(|base| {
        let place = own(&base, user);
        let works = match place.exists() {
            true => matches!(reason(&place), Ok(None)),
            false => is_base(&base),
        };
        works.then_some(place)
    })
}

/// [`propose`]s a directory and makes it, mode 0755.
///
/// # Errors
/// [`Error::Unfit`] when there is none on this machine.
pub fn make() -> Result<PathBuf, Error> {
    let Some(place) = propose() else {
        let base = std::env::temp_dir();
        let reason = reason(&base)?.unwrap_or(Unfit::ReadOnly);
        return Err(unfit(&base, reason));
    };
    match fs::DirBuilder::new().mode(0o755).create(&place) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io("make", &place, error)),
    }
    check(&place)?;
    Ok(place)
}
