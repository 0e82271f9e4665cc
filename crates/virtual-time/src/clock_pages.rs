//! The pages in this process's memory.
#![allow(unsafe_code, reason = "memory that other processes map too")]

use std::fs::File;
use std::io;
use std::slice;
use std::sync::atomic::AtomicU64;

use vdsokit_vvar::mapping::{Access, MappedFile};
use vdsokit_vvar::pages::{Pages, PagesMut};

/// A whole file of a fixed length, mapped shared.
#[derive(Debug)]
pub(crate) struct ClockPages(MappedFile);

impl ClockPages {
    /// Maps `length` bytes of `file`, which is sealed against shrinking.
    pub(crate) fn new(file: &File, length: usize) -> io::Result<ClockPages> {
        if file.metadata()?.len() < length as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        MappedFile::new(file, 0, length, Access::Write).map(ClockPages)
    }

    /// The vvar pages, for a reader; `None` if they are not vvar pages.
    pub(crate) fn read(&self) -> Option<Pages<'_>> {
        // SAFETY: (1) the mapping lives as long as `self`, which is borrowed, and its file is
        // sealed against shrinking; (2) this crate alone writes these pages, with the latches
        // and scalars of `vdsokit_vvar`.
        unsafe { Pages::new(self.0.base(), self.0.length()).ok() }
    }

    /// `count` words from `offset` on, both of which lie behind the vvar pages.
    ///
    /// # Panics
    /// When the mapping ends before.
    pub(crate) fn words(&self, offset: usize, count: usize) -> &[AtomicU64] {
        assert!(offset.is_multiple_of(8) && offset + count * 8 <= self.0.length());
        // SAFETY:
        // 1. The mapping begins at a page and is at least as long, by the assertion; it lives as
        //    long as `self`, which is borrowed, and its file is sealed against shrinking.
        // 2. Every process accesses these words by atomic operations alone.
        unsafe { slice::from_raw_parts(self.0.base().as_ptr().add(offset).cast(), count) }
    }

    /// The vvar pages, for their one writer; `None` if they are not vvar pages.
    ///
    /// The caller holds the lock on the file.
    pub(crate) fn pages(&mut self) -> Option<PagesMut<'_>> {
        // SAFETY: (1) the mapping lives as long as `self`, which is borrowed, and its file
        // is sealed against shrinking; (2) this crate alone writes these pages, with
        // the latches and scalars of `vdsokit_vvar`; (3) the mapping is writable; (4) the
        // lock on the file excludes other publishers, and `&mut` other threads of this one.
        unsafe {
            let pages = Pages::new(self.0.base(), self.0.length()).ok()?;
            Some(PagesMut::new(pages))
        }
    }
}
