//! Published vDSOs by their file name.

use super::{Rule, bases, is_trusted, own, owned};
use crate::dir::{Dir, is_regular};
use crate::error::Error;
use crate::reader::Vdso;
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use vdsokit_vvar::header::Condition;

/// A vDSO found by [`find`].
///
/// The file is open: it is the very file that was checked. The path leads to it as long as
/// this user and root leave it there, because no other user can rename or replace one of its
/// components.
#[derive(Debug)]
pub struct Found {
    path: PathBuf,
    file: File,
}

impl Found {
    /// Its path without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, open for reading.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The vDSO in this file.
    ///
    /// # Errors
    /// As [`Vdso::open`].
    pub fn open(&self) -> Result<Vdso, Error> {
        Vdso::from_file(&self.file, &self.path)
    }
}

/// The published vDSO with this file name, in the places that [`propose`](super::propose) gives this user
/// and root, and in `/run/vdso` of a service with `DynamicUser=yes` and
/// `RuntimeDirectory=vdso`, but for readers that are root. Files that another user could have
/// put there are ignored.
///
/// A live one comes before one that is not; then root's own place comes first for root's
/// readers, and this user's for others.
#[must_use]
pub fn find(name: &str) -> Option<Found> {
    find_by(name, |_| 0)
}

/// [`find`] for what the whole machine has one of, such as its clock: of several that are
/// live, or of several that are not, one that belongs to root comes first.
#[must_use]
pub fn find_for_machine(name: &str) -> Option<Found> {
    find_by(name, |found| {
        u32::from(!found.file.metadata().is_ok_and(|meta| meta.uid() == 0))
    })
}

fn find_by(name: &str, rank: impl Fn(&Found) -> u32) -> Option<Found> {
    let user = rustix::process::geteuid().as_raw();
    let mut bases = bases();
    bases.push("/run".into());
    let places = bases
        .iter()
        .flat_map(|base| [own(base, user), own(base, 0)]);
    places
        .filter_map(|place| {
            let service = service_user(&place);
            let is_trusted = |uid| is_trusted(uid) || Some(uid) == service;
            let dir = owned(&place, Rule::Publish, is_trusted).ok()?.ok()?;
            let file = open_trusted(&dir, OsStr::new(name), is_trusted)?;
            Some(Found {
                path: place.join(name),
                file,
            })
        })
        .min_by_key(|found| {
            let status = found.open().map(|vdso| vdso.status().condition);
            (status.ok() != Some(Condition::Live), rank(found))
        })
}

/// Opens a file that only users that `is_trusted` may write.
fn open_trusted(dir: &Dir, name: &OsStr, is_trusted: impl Fn(u32) -> bool) -> Option<File> {
    let file = dir.open_with(name, OFlags::RDONLY, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    let trusted = is_regular(&stat) && is_trusted(stat.st_uid) && stat.st_mode & 0o022 == 0;
    trusted.then_some(file)
}

/// The owner of `place`, if that is [`ROOTS_OWN`] and was given to a service's dynamic user.
///
/// Only root can make or give away a name in `/run`, and no person logs in with such a user
/// id, so this is the user that the administrator chose to publish for this machine. Root
/// itself trusts no other user: it has to give the path.
fn service_user(place: &Path) -> Option<u32> {
    let is_root = rustix::process::geteuid().is_root();
    if is_root || place != Path::new(ROOTS_OWN) {
        return None;
    }
    let owner = fs::symlink_metadata(place).ok()?.uid();
    DYNAMIC_USERS.contains(&owner).then_some(owner)
}

/// Where root publishes.
const ROOTS_OWN: &str = "/run/vdso";

/// The user ids that systemd gives to services with `DynamicUser=`
/// (systemd, docs/UIDS-GIDS.md).
const DYNAMIC_USERS: RangeInclusive<u32> = 61184..=65519;
