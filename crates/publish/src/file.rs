//! The file of a published vDSO: an ELF shared object whose last segment is the vvar
//! pages, and one of whose notes is the directory.

use crate::error::Error;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use vdsokit_elf::constants::{PF_R, PF_W, PF_X};
use vdsokit_elf::{Image, Segment};
use vdsokit_vvar::{NOTE_DIRECTORY, NOTE_NAME, PAGE_SIZE};

/// The size limit of a file that is read: a declaration of a million variables fits.
const MAX_FILE: u64 = 1 << 30;

/// The extent of the vvar pages in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes before them, a multiple of the page size.
    pub(crate) offset: u64,
    /// Their size in bytes.
    pub(crate) len: usize,
}

/// The parts of a vDSO's file.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    /// The extent of its pages.
    pub(crate) extent: Extent,
    /// The description of its directory's note.
    pub(crate) note: Arc<[u8]>,
}

/// Opens the regular file at `path` for reading; a device or a FIFO is not waited for.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32)
        .open(path)
        .map_err(|e| Error::io("read", path, e))?;
    check_regular(&file, path)?;
    Ok(file)
}

/// The file must be a regular one of a size that a vDSO can have.
pub(crate) fn check_regular(file: &File, path: &Path) -> Result<(), Error> {
    let meta = file.metadata().map_err(|e| Error::io("read", path, e))?;
    if !meta.is_file() {
        return Err(foreign(path, "it is not a regular file"));
    }
    if meta.len() > MAX_FILE {
        return Err(foreign(path, "it is larger than any vDSO"));
    }
    Ok(())
}

/// All bytes of an open file.
pub(crate) fn bytes(mut file: &File, path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    match file.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

/// Finds pages and directory in the bytes of a file.
pub(crate) fn examine(path: &Path, bytes: &[u8]) -> Result<Contents, Error> {
    let (extent, note) = find(path, bytes)?;
    Ok(Contents {
        extent,
        note: note.into(),
    })
}

/// The directory of an image that was built, and its vvar pages with their initial values.
/// `path` names the image in errors.
///
/// # Errors
/// [`Error::Foreign`], [`Error::Truncated`] and [`Error::Directory`].
#[cfg(feature = "write")]
pub fn image_parts<'i>(
    path: &Path,
    image: &'i [u8],
) -> Result<(vdsokit_vvar::directory::Directory<'i>, &'i [u8]), Error> {
    let (Extent { offset, len }, note) = find(path, image)?;
    let directory =
        vdsokit_vvar::directory::Directory::parse(note).map_err(|source| Error::Directory {
            path: path.to_owned(),
            source,
        })?;
    // `find` has compared the extent with the image's length.
    let start = offset as usize;
    Ok((directory, &image[start..start + len]))
}

/// The extent of the pages, and the description of the directory's note.
fn find<'b>(path: &Path, bytes: &'b [u8]) -> Result<(Extent, &'b [u8]), Error> {
    let image = Image::parse(bytes).map_err(|e| foreign(path, e))?;
    let segment = image.segments().filter(Segment::is_load).last();
    let segment = segment
        .filter(|last| last.flags & (PF_R | PF_W | PF_X) == PF_R)
        .filter(|last| last.offset % PAGE_SIZE as u64 == 0)
        .filter(|last| last.filesz.next_multiple_of(PAGE_SIZE as u64) >= last.memsz)
        .ok_or_else(|| foreign(path, "its last segment is not pages that are only read"))?;
    let needs = segment.offset.saturating_add(segment.filesz);
    if needs > bytes.len() as u64 {
        return Err(Error::Truncated {
            path: path.to_owned(),
            has: bytes.len() as u64,
            needs,
        });
    }
    let note = image
        .notes()
        .find(|note| note.name == *NOTE_NAME && note.kind == NOTE_DIRECTORY)
        .ok_or_else(|| foreign(path, "it has no directory"))?;
    let extent = Extent {
        offset: segment.offset,
        len: segment.filesz as usize,
    };
    Ok((extent, note.desc))
}

pub(crate) fn foreign(path: &Path, why: impl ToString) -> Error {
    Error::Foreign {
        path: path.to_owned(),
        why: why.to_string(),
    }
}
