//! The vvar pages in a reader's memory.
#![allow(
    unsafe_code,
    reason = "the pages are read in memory that BPF programs write"
)]

use crate::{Error, sys};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use vdsokit_vvar::mapping::{Access, MappedFile};
use vdsokit_vvar::pages::{Pages, PagesError};

/// A map of the kernel's that holds vvar pages, mapped for reading.
#[derive(Debug)]
pub struct MappedPages {
    map: OwnedFd,
    memory: MappedFile,
}

impl MappedPages {
    /// Maps the pages that a publisher pinned, for reading.
    ///
    /// It takes no privilege beyond write permission for the file, which
    /// [`crate::Publisher::pin`] gives to everybody: Linux doesn't let a map be mapped
    /// whose descriptor is for reading only (`bpf_map_mmap` wants `VM_SHARED`, which
    /// `do_mmap` takes from such a descriptor; 6.12). The map is frozen, so no process
    /// can write to it all the same: not by system call, not by mapping it, and not
    /// by mprotect(2).
    ///
    /// # Errors
    /// When there is no such map or it may not be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let map = sys::get(path).map_err(Error::file(path))?;
        Self::new(map).map_err(Error::file(path))
    }

    pub(crate) fn new(map: OwnedFd) -> std::io::Result<Self> {
        let size = sys::map_size(map.as_fd())? as usize;
        let memory = MappedFile::new(&map, 0, size, Access::Read)?;
        Ok(Self { map, memory })
    }

    /// The pages.
    ///
    /// # Errors
    /// When this is another program's map.
    pub fn pages(&self) -> Result<Pages<'_>, PagesError> {
        // SAFETY: (1) the pages are mapped readable until `self` is dropped, and a
        // map's memory never shrinks; (2) they are frozen, so only BPF programs
        // store into them: a scalar by one instruction of its width, wider values as
        // words behind a latch. A reader that decodes a torn word of a latch discards
        // it.
        unsafe { Pages::new(self.memory.base(), self.memory.length()) }
    }

    /// The map, to hand it on to another process.
    #[must_use]
    pub fn map(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }

    /// The number by which bpftool(8) knows the map.
    ///
    /// # Errors
    /// The kernel's.
    pub fn id(&self) -> std::io::Result<u32> {
        sys::map_id(self.map.as_fd())
    }

    /// Bytes mapped.
    #[must_use]
    pub fn size(&self) -> usize {
        self.memory.length()
    }
}
