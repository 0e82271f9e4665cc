//! What an executable file says of the program in it.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use vdsokit_elf::Image;

use crate::sys::{Mapping, Pid};

/// What the tracer wants to know of a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Program {
    /// It imports ptrace(2), or says by a note that it has it built in, and so may trace others.
    /// A thread has one tracer: a debugger's child says PTRACE_TRACEME and is refused while it
    /// is ours.
    pub(crate) has_ptrace: bool,
    /// The user and the group that it is to run as, where its file says so.
    pub(crate) user: Option<u32>,
    /// See `user`.
    pub(crate) group: Option<u32>,
}

/// Answers, once for each executable file.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    /// By device, inode and time of change.
    known: HashMap<(u64, u64, i64, i64), Program>,
}

impl Programs {
    /// The program that `pid` runs. What can't be read is taken for a plain one.
    pub(crate) fn of(&mut self, pid: Pid) -> Program {
        let path = format!("/proc/{pid}/exe");
        let Ok(file) = fs::metadata(&path) else {
            return Program::default();
        };
        let key = (file.dev(), file.ino(), file.ctime(), file.ctime_nsec());
        *self.known.entry(key).or_insert_with(|| {
            let mapping = File::open(&path).and_then(|file| Mapping::of(&file));
            let has_ptrace = mapping.is_ok_and(|mapping| has_ptrace(mapping.bytes()));
            let (user, group) = identity(&file);
            Program {
                has_ptrace,
                user,
                group,
            }
        })
    }
}

/// The executable of `pid`.
pub(crate) fn path(pid: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Whether `pid` runs as the user and group that `program` is to run as.
pub(crate) fn has_its_rights(pid: Pid, program: Program) -> bool {
    if program.user.is_none() && program.group.is_none() {
        return true;
    }
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return true;
    };
    // Real, effective, saved, file system (proc_pid_status(5)).
    let effective = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    program
        .user
        .is_none_or(|user| effective("Uid:") == Some(user))
        && program
            .group
            .is_none_or(|group| effective("Gid:") == Some(group))
}

/// What the bits setuid and setgid of a file say.
fn identity(file: &Metadata) -> (Option<u32>, Option<u32>) {
    let has = |bits| file.mode() & bits == bits;
    // Without the group's right to execute, setgid means mandatory locking.
    (
        has(libc::S_ISUID).then(|| file.uid()),
        has(libc::S_ISGID | libc::S_IXGRP).then(|| file.gid()),
    )
}

/// Whether an ELF file's dynamic symbols name an undefined `ptrace`, or it has the [`NOTE`]. Undefined
/// symbols come before all that the hash table leads to, so the look ends at the first defined one.
fn has_ptrace(bytes: &[u8]) -> bool {
    let Ok(image) = Image::parse(bytes) else {
        return false;
    };
    let mut undefined = image
        .symbols()
        .skip(1)
        .take_while(|symbol| symbol.is_undefined());
    let has_note = || {
        let mut notes = image.notes();
        notes.any(|note| note.kind == TRACES_OTHERS && note.name == NOTE_NAME)
    };
    undefined.any(|symbol| symbol.name() == "ptrace") || has_note()
}

/// An ELF note without contents.
#[repr(C, align(4))]
#[derive(Debug)]
pub(crate) struct Note {
    name_size: u32,
    contents_size: u32,
    kind: u32,
    name: [u8; 8],
}

/// The note that says of a program that it traces others: this crate gives it to all that use it, as
/// one that is linked statically imports nothing.
pub(crate) const NOTE: Note = Note {
    name_size: 8,
    contents_size: 0,
    kind: TRACES_OTHERS,
    name: *b"vdsokit\0",
};
const NOTE_NAME: &str = "vdsokit";
const TRACES_OTHERS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_traces_and_a_shell_does_not() {
        std::hint::black_box(crate::sys::seize as fn(Pid, i32) -> std::io::Result<()>);
        let own = fs::read("/proc/self/exe").expect("one's own executable");
        assert!(has_ptrace(&own));
        let image = Image::parse(&own).expect("an executable");
        assert!(image.notes().any(|note| note.kind == TRACES_OTHERS));
        let shell = fs::read("/bin/sh").expect("a shell");
        assert!(!has_ptrace(&shell));
        assert!(!has_ptrace(b"#!/bin/sh\n"));
    }

    #[test]
    fn an_answer_is_kept() {
        let mut programs = Programs::default();
        let this = std::process::id() as Pid;
        let plain = Program {
            has_ptrace: true,
            user: None,
            group: None,
        };
        assert_eq!([programs.of(this), programs.of(this)], [plain; 2]);
        assert_eq!(programs.known.len(), 1);
        assert!(has_its_rights(this, plain));
    }
}
