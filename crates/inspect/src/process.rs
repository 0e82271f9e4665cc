//! The program and the vDSO with which a process was started.

use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use vdsokit_elf::Image;
use vdsokit_elf::constants::{AT_NULL, AT_SYSINFO_EHDR, PT_INTERP};

/// How a program is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Linkage {
    /// By a dynamic linker, when it is started.
    Dynamic,
    /// At build time: the C library is part of the program.
    Static,
}

/// How the program of a process is linked; `None` where its file can't be read or is not an ELF
/// object.
#[must_use]
pub fn linkage(pid: u32) -> Option<Linkage> {
    let image = program_headers(pid)?;
    let image = Image::parse(&image).ok()?;
    let has_linker = image.segments().any(|segment| segment.kind == PT_INTERP);
    Some(if has_linker {
        Linkage::Dynamic
    } else {
        Linkage::Static
    })
}

/// The start of the program's file, which contains its program headers.
fn program_headers(pid: u32) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/exe")).ok()?;
    file.take(64 << 10).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The most words of arguments, environment and auxiliary vector that are read.
const MAX_WORDS: usize = 1 << 20;

/// The address of the vDSO in the auxiliary vector on the process's stack (AT_SYSINFO_EHDR). It is
/// not the kernel's where another image replaced that at exec. `None` where the auxiliary vector
/// has none.
///
/// The stack begins, at the address in field 28 of /proc/PID/stat, with the number of
/// arguments; there follow arguments, environment and the auxiliary vector (System V ABI,
/// AMD64 supplement, 3.4.1; Linux 6.12 `fs/binfmt_elf.c`, `create_elf_tables`).
///
/// # Errors
/// If the process is gone, or the caller may not trace it (its user and root may).
pub fn started_with(pid: u32) -> io::Result<Option<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let malformed =
        || io::Error::other("the process's stack does not have the layout of execve(2)");
    let start = field(&stat, 28)
        .filter(|&start| start != 0)
        .ok_or_else(malformed)?;
    let is_wide = program_headers(pid).is_none_or(|bytes| bytes.get(4) != Some(&1));
    let mut words = Words {
        memory: File::open(format!("/proc/{pid}/mem"))?,
        next: start,
        size: if is_wide { 8 } else { 4 },
        left: MAX_WORDS,
    };
    let arguments = words.next()?;
    for _ in 0..arguments {
        words.next()?;
    }
    if words.next()? != 0 {
        return Err(malformed());
    }
    while words.next()? != 0 {}
    loop {
        match (words.next()?, words.next()?) {
            (AT_NULL, _) => return Ok(None),
            (AT_SYSINFO_EHDR, address) => return Ok((address != 0).then_some(address)),
            _ => {}
        }
    }
}

/// Whether a process is a kernel thread: PF_KTHREAD in its flags, field 9 of /proc/PID/stat (Linux
/// 6.12 `include/linux/sched.h`).
pub(crate) fn is_kernel_thread(pid: u32) -> bool {
    const PF_KTHREAD: u64 = 0x0020_0000;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    field(&stat, 9).is_some_and(|flags| flags & PF_KTHREAD != 0)
}

/// A number in a `/proc/PID/stat`, by its place from 3 on (proc_pid_stat(5)).
fn field(stat: &str, place: usize) -> Option<u64> {
    // The name in parentheses may hold anything; the state behind it is field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(place - 3)?.parse().ok()
}

/// Reads `text` as a `/proc/PID/stat`.
#[cfg(fuzzing)]
pub(crate) fn exercise(text: &str) {
    let _ = (field(text, 9), field(text, 28));
}

/// Consecutive words of a process's memory.
struct Words {
    memory: File,
    next: u64,
    size: usize,
    left: usize,
}

impl Words {
    fn next(&mut self) -> io::Result<u64> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("the auxiliary vector has no end"))?;
        let mut word = [0; 8];
        let (low, high) = if cfg!(target_endian = "big") {
            (8 - self.size, 8)
        } else {
            (0, self.size)
        };
        self.memory.read_exact_at(&mut word[low..high], self.next)?;
        self.next = self.next.wrapping_add(self.size as u64);
        Ok(u64::from_ne_bytes(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdsokit_elf::own;

    #[test]
    fn the_vdso_on_the_stack_is_the_one_that_libc_has() {
        let address = started_with(std::process::id()).unwrap();
        assert_eq!(address, own::address().map(|at| at.addr() as u64));
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(started_with(u32::MAX).is_err());
        assert_eq!(linkage(u32::MAX), None);
    }
}
