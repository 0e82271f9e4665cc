//! Areas of an address space, and what their pages hold before they are written.

use linux_raw_sys::general::{PROT_EXEC, PROT_READ, PROT_WRITE};

bitflags::bitflags! {
    /// What a program may do with a page, with the bits of `mmap` and `mprotect`; or what it did.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rights: u32 {
        /// Read it.
        const READ = PROT_READ;
        /// Write it.
        const WRITE = PROT_WRITE;
        /// Execute it.
        const EXECUTE = PROT_EXEC;
    }
}

/// What the pages of an area hold before they are written.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// Zeros.
    Zeros,
    /// Bytes of a file, whose first one lies at an address; zeros behind them.
    Bytes(&'static [u8], usize),
    /// Pages that were given when the area was made: the vDSO. A program can't become able to write
    /// them.
    Given,
}

/// What a forked process has of an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// Its own copy of each page, made when it is written.
    Copied,
    /// The same pages.
    Shared,
    /// Nothing of what they held: keys of random bytes (`MAP_DROPPABLE`, `MADV_WIPEONFORK`).
    Wiped,
}

/// Pages with the same rights and source, one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// The address behind the last byte.
    pub end: usize,
    /// The rights of all its pages.
    pub rights: Rights,
    /// Their contents.
    pub source: Source,
    /// What a forked process has of it.
    pub forked: Forked,
}

impl Area {
    /// Pages whose end is set when they are added to a space, and that a forked process has copies of.
    pub fn new(rights: Rights, source: Source) -> Self {
        Self {
            end: 0,
            rights,
            source,
            forked: Forked::Copied,
        }
    }
}
