//! A part of a file that is mapped into memory for as long as a value lives.
//!
//! It gives out an address and no reference: whether the file may shrink, and which other processes write to
//! the pages, is known to the crate that maps them.
#![allow(
    unsafe_code,
    reason = "this module maps files into memory and unmaps them again"
)]

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};

/// How a file is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Shared and read-only, for a reader.
    Read,
    /// Private and read-only, as a loader maps a library. The pages are the file's own until they are
    /// written, which this mapping cannot do.
    Load,
    /// Shared, for reading and writing.
    Write,
}

/// A part of a file, mapped until the value is dropped.
#[derive(Debug)]
pub struct MappedFile {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is mapped in the whole process and not in one thread, and this type gives out its
// address alone: what is done with that is up to the caller's own `unsafe`.
unsafe impl Send for MappedFile {}
// SAFETY: as for `Send`; no method changes the mapping.
unsafe impl Sync for MappedFile {}

impl MappedFile {
    /// Maps `length` bytes of `file` from `offset` on, a multiple of the page size, at an address that the
    /// kernel chooses.
    ///
    /// A file that is shorter is mapped all the same, and an access behind its last page is a SIGBUS: see
    /// mmap(2). The descriptor may be closed afterwards.
    ///
    /// # Errors
    /// mmap(2)'s: `EINVAL` for a length of zero, `EACCES` when the descriptor is not open for this access,
    /// `ENODEV` when the file can't be mapped.
    pub fn new(
        file: impl AsFd,
        offset: u64,
        length: usize,
        access: Access,
    ) -> io::Result<MappedFile> {
        let (protection, flags) = match access {
            Access::Read => (ProtFlags::READ, MapFlags::SHARED),
            Access::Load => (ProtFlags::READ, MapFlags::PRIVATE),
            Access::Write => (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED),
        };
        // SAFETY: a new mapping at an address that the kernel chooses changes no other mapping.
        let base = unsafe { mmap(ptr::null_mut(), length, protection, flags, file, offset) }?;
        // The kernel maps nothing at address 0 unless MAP_FIXED says so.
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(MappedFile { base, length })
    }

    /// Where the mapping begins. The address is valid as long as this value.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes mapped.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: `new` made this mapping, and an address that `base` returned is not used any more.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "munmap(2) of a mapping of this process");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    fn file(contents: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(contents).unwrap();
        file
    }

    fn first_byte(mapped: &MappedFile) -> u8 {
        // SAFETY: the files of these tests are not empty.
        unsafe { mapped.base().as_ptr().read_volatile() }
    }

    #[test]
    fn what_one_mapping_stores_is_in_the_file_and_in_other_mappings() {
        let mut file = file(b"old");
        let [read, load] = [Access::Read, Access::Load]
            .map(|access| MappedFile::new(&file, 0, 3, access).unwrap());
        let write = MappedFile::new(&file, 0, 3, Access::Write).unwrap();
        assert_eq!([&read, &load, &write].map(MappedFile::length), [3; 3]);
        // SAFETY: the mapping is writable, and its first byte is in the file.
        unsafe { write.base().as_ptr().write_volatile(b'c') };
        assert_eq!(first_byte(&read), b'c');
        assert_eq!(first_byte(&load), b'c');
        let mut contents = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut contents).unwrap();
        assert_eq!(contents, b"cld");
    }

    #[test]
    fn a_mapping_ends_with_its_value() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let is_mapped = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.contains(path)
        };
        let mapped = MappedFile::new(&file, 0, 1, Access::Read).unwrap();
        assert!(is_mapped());
        drop(mapped);
        assert!(!is_mapped());
    }

    #[test]
    fn what_cannot_be_mapped_is_the_error_of_mmap() {
        let file = file(b"x");
        let empty = MappedFile::new(&file, 0, 0, Access::Read).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::InvalidInput);
        let reading = std::fs::File::open("/proc/self/exe").unwrap();
        let refused = MappedFile::new(&reading, 0, 1, Access::Write).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
}
