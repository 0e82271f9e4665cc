//! The shared memory in this process, and the processor's counter.
#![allow(
    unsafe_code,
    reason = "memory that other processes write too, and an instruction"
)]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64};

use vdsokit_vvar::mapping::{Access, MappedFile};

/// A file of a fixed length, mapped shared.
#[derive(Debug)]
pub(crate) struct Memory(MappedFile);

impl Memory {
    /// Maps `length` bytes of `file`, which is at least as long and sealed against shrinking.
    pub(crate) fn new(file: &File, length: usize) -> io::Result<Memory> {
        MappedFile::new(file, 0, length, Access::Write).map(Memory)
    }

    /// The word of 4 bytes at `offset`.
    ///
    /// # Panics
    /// When the mapping ends before, or the offset is not a multiple of 4.
    pub(crate) fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.0.length());
        // SAFETY: (1) by the assertion the word is in the mapping and aligned; (2) the mapping lives
        // as long as `self`, and its file can't shrink; (3) all processes access this memory by
        // single instructions that are atomic for the aligned words of 4 or 8 bytes that `layout`
        // lists, and this process by atomic operations alone.
        unsafe { AtomicU32::from_ptr(self.0.base().as_ptr().add(offset).cast()) }
    }

    /// The word of 8 bytes at `offset`.
    ///
    /// # Panics
    /// When the mapping ends before, or the offset is not a multiple of 8.
    pub(crate) fn long(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.0.length());
        // SAFETY: (1) by the assertion the word is in the mapping and aligned; (2) the mapping lives
        // as long as `self`, and its file can't shrink; (3) all processes access this memory by
        // single instructions that are atomic for the aligned words of 4 or 8 bytes that `layout`
        // lists, and this process by atomic operations alone.
        unsafe { AtomicU64::from_ptr(self.0.base().as_ptr().add(offset).cast()) }
    }
}

/// The counter that wrappers read, in ticks.
#[must_use]
pub fn counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, which touches no memory. It faults where
    // prctl(PR_SET_TSC) forbids it, which this process does not do.
    unsafe { std::arch::x86_64::_rdtsc() }
}
