//! Which programs trace others: those that import ptrace(2).
//!
//! A thread has one tracer. A debugger's child says PTRACE_TRACEME and is refused while it is
//! ours, so a program that may want to trace has to be let go, with all that it starts.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use vdsokit_elf::Image;

use crate::sys::{Mapping, Pid};

/// Answers, once for each executable file.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    /// By device, inode and time of change.
    known: HashMap<(u64, u64, i64, i64), bool>,
}

impl Imports {
    /// Whether the program that `pid` runs imports ptrace(2). A program that can't be read is
    /// taken for one that does not.
    pub(crate) fn has_ptrace(&mut self, pid: Pid) -> bool {
        let path = format!("/proc/{pid}/exe");
        let Ok(file) = fs::metadata(&path) else {
            return false;
        };
        let key = (file.dev(), file.ino(), file.ctime(), file.ctime_nsec());
        *self.known.entry(key).or_insert_with(|| {
            let mapping = File::open(&path).and_then(|file| Mapping::of(&file));
            mapping.is_ok_and(|mapping| imports_ptrace(mapping.bytes()))
        })
    }
}

/// Whether an ELF file's dynamic symbols name an undefined `ptrace`. Undefined symbols come
/// before all that the hash table leads to, so the look ends at the first defined one.
fn imports_ptrace(bytes: &[u8]) -> bool {
    let Ok(image) = Image::parse(bytes) else {
        return false;
    };
    let mut undefined = image
        .symbols()
        .skip(1)
        .take_while(|symbol| symbol.is_undefined());
    undefined.any(|symbol| symbol.name() == "ptrace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_traces_and_a_shell_does_not() {
        std::hint::black_box(crate::sys::listen as fn(Pid) -> std::io::Result<()>);
        let own = fs::read("/proc/self/exe").expect("one's own executable");
        assert!(imports_ptrace(&own));
        let shell = fs::read("/bin/sh").expect("a shell");
        assert!(!imports_ptrace(&shell));
        assert!(!imports_ptrace(b"#!/bin/sh\n"));
    }

    #[test]
    fn an_answer_is_kept() {
        let mut imports = Imports::default();
        let this = std::process::id() as Pid;
        assert!(imports.has_ptrace(this) && imports.has_ptrace(this));
        assert_eq!(imports.known.len(), 1);
    }
}
