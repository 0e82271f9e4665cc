//! The memory of a stopped tracee, through `/proc/PID/mem`. A write also succeeds where the
//! process itself may not write: it makes a private copy of the page (mm/gup.c, FOLL_FORCE), so
//! the file of a private mapping and its other mappings don't change.
//!
//! A kernel may refuse that there (`proc_mem.force_override=never`, CONFIG_PROC_MEM_NO_FORCE; Linux
//! 6.12). It does not refuse it to a tracer that writes by ptrace(2), a word at a time.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use crate::sys::{self, Pid};

/// The open memory of one process: that of the program that ran when it was opened, also after
/// the process has executed another.
#[derive(Debug)]
pub(crate) struct Memory {
    file: File,
    pid: Pid,
}

impl Memory {
    pub(crate) fn open(pid: Pid) -> io::Result<Memory> {
        let path = format!("/proc/{pid}/mem");
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Memory { file, pid })
    }

    /// Reads up to `buffer.len()` bytes: fewer where the mapped memory ends.
    pub(crate) fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buffer, address)
    }

    pub(crate) fn read_exact(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, address)
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all_at(bytes, address);
        // That of a write without the force (fs/proc/base.c, `mem_rw`).
        let is_refused = |error: &io::Error| error.raw_os_error() == Some(libc::EIO);
        match written {
            Err(error) if is_refused(&error) => self.poke(address, bytes).map_err(|_| error),
            other => other,
        }
    }

    /// [`Memory::write`] by ptrace(2). The process has to be a stopped tracee of this thread.
    fn poke(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        const WORD: u64 = size_of::<u64>() as u64;
        let end = address + bytes.len() as u64;
        let mut at = address & !(WORD - 1);
        while at < end {
            let mut word = [0; WORD as usize];
            self.file.read_exact_at(&mut word, at)?;
            for (byte, place) in word.iter_mut().zip(at..) {
                if (address..end).contains(&place) {
                    *byte = bytes[(place - address) as usize];
                }
            }
            sys::poke(self.pid, at, u64::from_ne_bytes(word))?;
            at += WORD;
        }
        Ok(())
    }

    pub(crate) fn write_word(&self, address: u64, word: u64) -> io::Result<()> {
        self.write(address, &word.to_ne_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Resume;
    use rustix::process::{Signal, kill_process};
    use std::process::Command;
    use vdsokit_elf::process;

    /// Where a kernel lets only tracers write to memory that a process may not write.
    #[test]
    fn a_tracer_writes_to_a_vdso_by_ptrace() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("a child");
        let pid = child.id() as Pid;
        sys::seize(pid, 0).expect("a child may be traced");
        sys::interrupt(pid).expect("it can be stopped");
        sys::wait(pid).expect("a child").expect("it is there");
        let memory = Memory::open(pid).expect("its memory");
        let address = process::of(child.id()).expect("its vDSO").address;
        let mut before = [0; 64];
        memory
            .read_exact(address, &mut before)
            .expect("it can be read");
        for (at, length) in [(0, 1), (3, 5), (7, 2), (8, 16), (1, 62)] {
            let bytes: Vec<u8> = (1..=length).collect();
            memory
                .poke(address + at, &bytes)
                .expect("it can be written");
            let mut after = [0; 64];
            memory
                .read_exact(address, &mut after)
                .expect("it can be read");
            let at = at as usize;
            let mut expected = before;
            expected[at..at + bytes.len()].copy_from_slice(&bytes);
            assert_eq!(after, expected, "{length} bytes at {at}");
            memory.poke(address, &before).expect("it can be written");
        }
        sys::resume(pid, Resume::Detach, 0).expect("it goes on");
        // It does no longer belong to this thread.
        assert!(memory.poke(address, &before).is_err());
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        kill_process(pid, Signal::KILL).expect("it is there");
        child.wait().expect("it ends");
    }
}
