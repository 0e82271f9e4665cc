//! Where a vDSO can be published: not every directory, and not every file system.
//!
//! Readers *load* the file, so a user who can put another file in its place runs code in
//! them. And readers see new values only where a shared mapping and a private one that is
//! never written have the same pages.

use crate::dir::Dir;
use crate::error::Error;
use rustix::fs::{Mode, OFlags, Stat, StatVfsMountFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod by_name;
pub use by_name::{Found, find, find_for_machine};

/// Why a vDSO cannot be published in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// The directory, or one above it, belongs to neither this user nor root.
    Owner {
        /// That directory.
        directory: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// The existing file belongs to neither this user nor root.
    File {
        /// Its owner.
        uid: u32,
    },
    /// Other users may create files in the directory, or rename those of one above it.
    Writable {
        /// That directory.
        directory: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file system does not keep what the publisher or its readers rely on.
    FileSystem {
        /// Its name.
        name: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// Mounted `noexec`: no loader can load a file there.
    NoExec,
    /// Mounted read-only.
    ReadOnly,
    /// A private mapping did not show what a shared one had written.
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
const REMOTE: &str = "the server may replace pages while readers use them";
const COPY_ON_WRITE: &str = "to overwrite a page it may need a new block, so on a full disk a \
                             publisher's store would end it (SIGBUS)";
const NOT_FILES: &str = "it holds no ordinary files";

/// File systems where publishing cannot work, by their number in statfs(2)
/// (linux/magic.h, and the file systems' own headers). [`shares_blocks`] finds others.
const UNFIT: &[(u64, &str, &str)] = &[
    (0x794c_7630, "overlayfs", COPY_UP),
    (0x6969, "NFS", REMOTE),
    (0xff53_4d42, "CIFS", REMOTE),
    (0xfe53_4d42, "SMB", REMOTE),
    (0x517b, "SMB", REMOTE),
    (0x6573_5546, "FUSE", REMOTE),
    (0x0102_1997, "9p", REMOTE),
    (0x00c3_6400, "Ceph", REMOTE),
    (0x5346_414f, "AFS", REMOTE),
    (0x6b41_4653, "AFS", REMOTE),
    (0x7375_7245, "Coda", REMOTE),
    (0x0bd0_0bd0, "Lustre", REMOTE),
    (0x0116_1970, "GFS2", REMOTE),
    (0x7461_636f, "OCFS2", REMOTE),
    (0x786f_4256, "a VirtualBox shared folder", REMOTE),
    (0x9123_683e, "btrfs", COPY_ON_WRITE),
    (0xca45_1a4e, "bcachefs", COPY_ON_WRITE),
    (0x2fc1_2fc1, "ZFS", COPY_ON_WRITE),
    (0x3434, "NILFS", COPY_ON_WRITE),
    (0x2405_1905, "UBIFS", COPY_ON_WRITE),
    (0x9584_58f6, "hugetlbfs", NOT_FILES),
    (0x9fa0, "proc", NOT_FILES),
    (0x6265_6572, "sysfs", NOT_FILES),
];

/// tmpfs, by its number in statfs(2).
const TMPFS: u64 = 0x0102_1994;
/// ext2, ext3 and ext4. They overwrite in place and share no blocks.
const EXT: u64 = 0xef53;
/// XFS: shares blocks, unless it was made without `reflink`.
const XFS: u64 = 0x5846_5342;

fn magic(directory: impl AsFd) -> rustix::io::Result<u64> {
    Ok(rustix::fs::fstatfs(directory)?.f_type as u64 & 0xffff_ffff)
}

/// Which users may have influence on a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Publishing: none but this user and root may create files in it.
    Publish,
    /// Creating a directory in it: a sticky directory is allowed too.
    Below,
}

/// Checks whether a vDSO can be published in a directory, as far as that can be determined
/// without the file.
///
/// Only this user and root may be able to put another file in the vDSO's place: they must
/// own the directory and all above it, and others must not have write permission. A sticky
/// directory (/tmp) is allowed *above* the vDSO's own, since existing names in it stay. The
/// vDSO's own directory must not be sticky and writable: another user could create the
/// name first.
///
/// # Errors
/// [`Error::Unfit`] with the reason and a place that works; [`Error::NoDirectory`].
pub fn check(directory: &Path) -> Result<(), Error> {
    open(directory).map(drop)
}

/// Opens a directory that passes [`check`].
pub(crate) fn open(directory: &Path) -> Result<Arc<Dir>, Error> {
    let dir = open_for_install(directory)?;
    match file_system(&dir).map_err(|error| Error::io("examine", dir.path(), error))? {
        None => Ok(dir),
        Some(reason) => Err(unfit(dir.path(), reason)),
    }
}

/// Opens a directory in which no other user can replace a file, on any file system: for an
/// image that programs load and that may be published elsewhere.
pub(crate) fn open_for_install(directory: &Path) -> Result<Arc<Dir>, Error> {
    let directory = canonical(directory)?;
    let dir = owned(&directory, Rule::Publish, is_trusted)
        .map_err(|error| Error::io("open", &directory, error))?
        .map_err(|reason| unfit(&directory, reason))?;
    Ok(Arc::new(dir))
}

fn canonical(directory: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(directory).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Error::NoDirectory {
            path: directory.to_owned(),
        },
        _ => Error::io("open", directory, error),
    })
}

/// `path` without symbolic links. The file need not exist; its directory must.
///
/// # Errors
/// [`Error::NoDirectory`], [`Error::Denied`] and [`Error::Io`].
pub fn resolve(path: &Path) -> Result<PathBuf, Error> {
    let (directory, name) = split(path)?;
    Ok(directory.join(name))
}

/// The directory of [`resolve`]d `path`, and the file's name.
pub(crate) fn split(path: &Path) -> Result<(PathBuf, OsString), Error> {
    let is_directory = || Error::io("publish", path, std::io::ErrorKind::IsADirectory);
    let resolved = fs::canonicalize(path);
    let path = resolved.as_deref().unwrap_or(path);
    let name = path.file_name().ok_or_else(is_directory)?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    Ok((canonical(directory)?, name.to_owned()))
}

/// The hidden file `.NAME.SUFFIX` beside the vDSO `target`.
#[must_use]
pub fn beside(target: &Path, suffix: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default();
    target.with_file_name(crate::dir::hidden(name, suffix))
}

/// The file to be published must be this user's or root's, and must not be writable for
/// others; their write permission is removed.
pub(crate) fn check_file(file: &File, path: &Path) -> Result<(), Error> {
    let meta = file.metadata().map_err(|e| Error::io("examine", path, e))?;
    let (uid, mode) = (meta.uid(), meta.mode() & 0o7777);
    if !is_trusted(uid) {
        let directory = path.parent().unwrap_or(path);
        return Err(unfit(directory, Unfit::File { uid }));
    }
    if mode & 0o022 == 0 {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(mode & !0o022))
        .map_err(|e| Error::io("publish", path, e))
}

fn is_trusted(uid: u32) -> bool {
    uid == rustix::process::geteuid().as_raw() || uid == 0
}

/// The advice to publish in a place that works.
fn advice() -> String {
    match propose() {
        Some(place) => format!("publish in {}: it works there", place.display()),
        None => String::from(
            "publish on a tmpfs that is mounted without noexec, in a directory of your own",
        ),
    }
}

/// The error for `reason`, with a place that works in its help.
pub(crate) fn unfit(directory: &Path, reason: Unfit) -> Error {
    let mut help = advice();
    if let Unfit::Writable { directory, .. } = &reason {
        help = format!(
            "`chmod go-w {}` if it is yours alone, or {help}",
            directory.display()
        );
    } else {
        help.replace_range(..1, "P");
    }
    Error::Unfit {
        directory: directory.to_owned(),
        reason,
        help,
    }
}

/// The error for a directory in which this user cannot create files.
pub(crate) fn not_writable(directory: &Path) -> Error {
    Error::NotWritable {
        path: directory.to_owned(),
        help: advice(),
    }
}

/// Opens the canonical path of a directory, if only users that `is_trusted` can put another
/// file in the place of one in it.
fn owned(
    directory: &Path,
    rule: Rule,
    is_trusted: impl Fn(u32) -> bool,
) -> Result<Result<Dir, Unfit>, Errno> {
    let mut unfit = None;
    let mut check = |directory: &Path, stat: &Stat, is_last: bool| {
        let (uid, mode) = (stat.st_uid, stat.st_mode);
        let directory = directory.to_owned();
        let sticky = (rule == Rule::Below || !is_last) && mode & 0o1000 != 0;
        if !is_trusted(uid) {
            unfit = Some(Unfit::Owner { directory, uid });
        } else if mode & 0o022 != 0 && !sticky {
            unfit = Some(Unfit::Writable { directory, mode });
        }
    };
    let dir = Dir::walk(directory, |path, stat| check(path, stat, path == directory))?;
    Ok(match unfit {
        None => Ok(dir),
        Some(reason) => Err(reason),
    })
}

fn file_system(dir: &Dir) -> Result<Option<Unfit>, Errno> {
    let magic = magic(dir)?;
    if let Some((_, name, why)) = UNFIT.iter().find(|(number, ..)| *number == magic) {
        return Ok(Some(Unfit::FileSystem { name, why }));
    }
    let flags = rustix::fs::fstatvfs(dir)?.f_flag;
    if flags.contains(StatVfsMountFlags::NOEXEC) {
        return Ok(Some(Unfit::NoExec));
    }
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Ok(Some(Unfit::ReadOnly));
    }
    if magic != TMPFS && magic != EXT && shares_blocks(dir) {
        return Ok(Some(Unfit::FileSystem {
            name: match magic {
                XFS => "XFS with reflinks",
                _ => "a file system whose files share blocks",
            },
            why: COPY_ON_WRITE,
        }));
    }
    Ok(None)
}

/// Whether a file there can share its blocks with a copy (`cp --reflink`, `FICLONE` in
/// ioctl_ficlone(2)). After that an overwrite of the original needs a new block. Tried with
/// two files without names; false where they cannot be made.
fn shares_blocks(dir: &Dir) -> bool {
    let unnamed = || {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, ".", flags, Mode::RUSR | Mode::WUSR).ok()?;
        Some(File::from(fd))
    };
    let (Some(mut original), Some(copy)) = (unnamed(), unnamed()) else {
        return false;
    };
    // One block of the largest size.
    original.write_all(&[1; 64 * 1024]).is_ok()
        && rustix::fs::ioctl_ficlone(&copy, &original).is_ok()
}

/// Directories in which this user may make one, the best first: tmpfs before disks, whose
/// file systems make the publisher's store wait while they write a page back.
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
    let mut bases: Vec<PathBuf> = bases
        .iter()
        .filter_map(|base| fs::canonicalize(base).ok())
        .collect();
    bases.sort_by_key(|base| rustix::fs::statfs(base).is_ok_and(|fs| fs.f_type as u64 != TMPFS));
    bases
}

/// The directory of a user in a base; its name has the user's id where other users have
/// directories in the base too.
fn own(base: &Path, user: u32) -> PathBuf {
    let shared = fs::metadata(base).is_ok_and(|meta| meta.mode() & 0o002 != 0);
    match shared {
        true => base.join(format!("vdso-{user}")),
        false => base.join("vdso"),
    }
}

/// Opens a base in which this user can make a directory that works.
fn open_base(base: &Path) -> Option<Dir> {
    let dir = owned(base, Rule::Below, is_trusted).ok()?.ok()?;
    let writable = rustix::fs::access(base, rustix::fs::Access::WRITE_OK).is_ok();
    (writable && file_system(&dir) == Ok(None)).then_some(dir)
}

/// An existing directory in which a directory of this user's, mode 0755 or stricter, is a
/// place that works: for what is published for a while, such as by a test.
#[must_use]
pub fn base() -> Option<PathBuf> {
    bases().into_iter().find(|base| open_base(base).is_some())
}

/// A directory where publishing works. It exists or can be made; this makes nothing.
///
/// In a service it is the first one of systemd's `RuntimeDirectory=` that works, which may be
/// the only directory that the service can write to (`DynamicUser=`).
#[must_use]
pub fn propose() -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    service_directory().or_else(|| {
        bases().into_iter().find_map(|base| {
            let place = own(&base, user);
            let works = match works(&place) {
                Ok(works) => works,
                Err(Errno::NOENT) => open_base(&base).is_some(),
                Err(_) => false,
            };
            works.then_some(place)
        })
    })
}

/// Whether publishing works in an existing directory.
fn works(place: &Path) -> Result<bool, Errno> {
    Ok(match owned(place, Rule::Publish, is_trusted)? {
        Ok(dir) => {
            file_system(&dir) == Ok(None)
                && rustix::fs::access(place, rustix::fs::Access::WRITE_OK).is_ok()
        }
        Err(_) => false,
    })
}

/// The path at which the vDSO of the declaration in the file `declaration` is published where none
/// is given: beside the declaration, but in a service in the first one of systemd's
/// `RuntimeDirectory=` that works, since a service's declaration is often in `/etc`, where the
/// service can't write. If none works it is in the first one, so that the error names that
/// directory.
#[must_use]
pub fn of_declaration(declaration: &Path, soname: &str) -> PathBuf {
    let directory = service_directory().or_else(|| service_directories().next());
    directory.map_or_else(
        || declaration.with_file_name(soname),
        |directory| directory.join(soname),
    )
}

/// The first directory of the service that this process belongs to in which publishing works.
fn service_directory() -> Option<PathBuf> {
    service_directories().find(|place| works(place) == Ok(true))
}

/// What systemd made for `RuntimeDirectory=` of the service that this process belongs to
/// (systemd.exec(5), `$RUNTIME_DIRECTORY`).
fn service_directories() -> impl Iterator<Item = PathBuf> {
    let directories = std::env::var_os("RUNTIME_DIRECTORY").unwrap_or_default();
    std::env::split_paths(&directories)
        .filter(|directory| directory.is_absolute())
        .filter_map(|directory| fs::canonicalize(directory).ok())
        .collect::<Vec<_>>()
        .into_iter()
}

/// The directory that [`make`] returns.
///
/// If [`make`] created it and nothing was published in it, dropping this removes it, so that a
/// command that fails leaves no directory behind. Keep it until the publisher is created.
#[derive(Debug)]
pub struct Made {
    path: PathBuf,
    is_new: bool,
}

impl Made {
    /// Its path without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.is_new {
            // rmdir(2) fails for a directory that is not empty.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// The directory of [`propose`], which is made with mode 0755 if it does not exist.
///
/// # Errors
/// [`Error::Unfit`] when this machine has none.
pub fn make() -> Result<Made, Error> {
    let Some(place) = propose() else {
        let base = std::env::temp_dir();
        open(&base)?;
        return Err(unfit(&base, Unfit::ReadOnly));
    };
    let (Some(base), Some(name)) = (place.parent(), place.file_name()) else {
        return Err(not_writable(&place));
    };
    let made = Dir::walk(base, |_, _| {})
        .and_then(|dir| rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)));
    let is_new = match made {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(Errno::ACCESS | Errno::PERM) => return Err(not_writable(base)),
        Err(error) => return Err(Error::io("make", &place, error)),
    };
    let made = Made {
        path: place,
        is_new,
    };
    check(made.path())?;
    Ok(made)
}
