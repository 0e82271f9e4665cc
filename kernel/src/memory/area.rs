//! Areas of an address space, and what their pages hold before they are written.

use linux_raw_sys::general::{PROT_EXEC, PROT_READ, PROT_WRITE};

/// What a program may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Read it.
    pub read: bool,
    /// Write it.
    pub write: bool,
    /// Execute it.
    pub execute: bool,
}

impl Rights {
    /// The rights that `mmap` and `mprotect` name by bits.
    pub fn from_bits(bits: usize) -> Self {
        let has = |bit: u32| bits & bit as usize != 0;
        Self {
            read: has(PROT_READ),
            write: has(PROT_WRITE),
            execute: has(PROT_EXEC),
        }
    }

    /// Whether there is any.
    pub fn any(self) -> bool {
        self.read || self.write || self.execute
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
