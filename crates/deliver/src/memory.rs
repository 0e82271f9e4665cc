//! The memory of a stopped tracee, through `/proc/PID/mem`: that writes to pages which the
//! process itself may not write, in the private copy that the write makes (mm/memory.c,
//! FOLL_FORCE), and a private file mapping becomes no one else's problem by it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use crate::sys::Pid;

/// The open memory of one process. It stays that of the program that ran when it was opened.
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
