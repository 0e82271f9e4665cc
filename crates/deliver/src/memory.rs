//! The memory of a stopped tracee, through `/proc/PID/mem`. A write also succeeds where the
//! process itself may not write: it makes a private copy of the page (mm/gup.c, FOLL_FORCE), so
//! the file of a private mapping and its other mappings don't change.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use crate::sys::Pid;

/// The open memory of one process: that of the program that ran when it was opened, also after
/// the process has executed another.
#[derive(Debug)]
pub(crate) struct Memory(File);

impl Memory {
    pub(crate) fn open(pid: Pid) -> io::Result<Memory> {
        let path = format!("/proc/{pid}/mem");
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map(Memory)
    }

    /// Reads up to `buffer.len()` bytes: fewer where the mapped memory ends.
    pub(crate) fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, address)
    }

    pub(crate) fn read_exact(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, address)
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, address)
    }

    pub(crate) fn write_word(&self, address: u64, word: u64) -> io::Result<()> {
        self.write(address, &word.to_ne_bytes())
    }
}
