//! What an executable file tells about its program.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use object::elf::{self, FileHeader64, ProgramHeader64, Sym64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Sym};
use object::{Endianness, ReadCache, ReadRef};

use crate::sys::Pid;

/// Programs that were seen, each read once.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    /// Whether it may trace others, by device, inode and time of change.
    known: HashMap<(u64, u64, i64, i64), bool>,
}

impl Programs {
    /// Whether the program that `pid` runs may trace others: it imports ptrace(2), or has the note
    /// of a program with ptrace(2) linked in. A thread has one tracer: PTRACE_TRACEME of a
    /// debugger's child fails while this crate traces it.
    ///
    /// One that can't be read counts as a plain one.
    pub(crate) fn has_ptrace(&mut self, pid: Pid) -> bool {
        let path = format!("/proc/{pid}/exe");
        let Ok(metadata) = fs::metadata(&path) else {
            return false;
        };
        let key = (
            metadata.dev(),
            metadata.ino(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        );
        *self.known.entry(key).or_insert_with(|| {
            let facts = Facts::read(Path::new(&path)).unwrap_or_default();
            facts.has_ptrace
        })
    }
}

/// The file that execvp(3) executes for `name`, if it is one that is looked for in `PATH` and found
/// there. What the kernel refuses to execute may be found too.
pub(crate) fn find(name: &OsStr) -> Option<PathBuf> {
    if name.is_empty() || name.as_bytes().contains(&b'/') {
        return None;
    }
    let path = std::env::var_os("PATH")?;
    let mut files = std::env::split_paths(&path).map(|directory| directory.join(name));
    files.find(|file| {
        let metadata = fs::metadata(file);
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
    })
}

/// The executable of `pid`.
pub(crate) fn path(pid: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Whether `pid` runs as the user and group that its file selects, where that is setuid or setgid.
pub(crate) fn has_its_rights(pid: Pid) -> bool {
    let Ok(metadata) = fs::metadata(format!("/proc/{pid}/exe")) else {
        return true;
    };
    let (user, group) = identity(&metadata);
    if user.is_none() && group.is_none() {
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
    user.is_none_or(|user| effective("Uid:") == Some(user))
        && group.is_none_or(|group| effective("Gid:") == Some(group))
}

/// The user and group that the bits setuid and setgid of a file select.
fn identity(file: &Metadata) -> (Option<u32>, Option<u32>) {
    let has = |bits| file.mode() & bits == bits;
    // Without the group's right to execute, setgid means mandatory locking.
    (
        has(libc::S_ISUID).then(|| file.uid()),
        has(libc::S_ISGID | libc::S_IXGRP).then(|| file.gid()),
    )
}

/// The most bytes that are read of all tables of a file but symbols and their names, and again of
/// each of these. Files may be sparse and of any size, and
/// a program waits at its first instruction while its file is read.
const TABLE_LIMIT: u64 = 1 << 20;

/// What a file's ELF tables tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    has_ptrace: bool,
    interpreter: Option<PathBuf>,
}

impl Facts {
    /// Reads headers and tables of a 64-bit ELF file, within [`TABLE_LIMIT`]. `None`: it is no such
    /// file, or is damaged.
    fn read(path: &Path) -> Option<Facts> {
        let file = File::open(path).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let data = ReadCache::new(file);
        let header = FileHeader64::<Endianness>::parse(&data).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, &data).ok()?;
        let mut facts = Facts::default();
        let mut budget = TABLE_LIMIT;
        for segment in segments {
            let is_table = matches!(
                segment.p_type(endian),
                elf::PT_INTERP | elf::PT_NOTE | elf::PT_DYNAMIC
            );
            let rest = budget.checked_sub(segment.p_filesz(endian));
            let (true, Some(rest)) = (is_table, rest) else {
                continue;
            };
            budget = rest;
            match segment.p_type(endian) {
                elf::PT_INTERP => facts.interpreter = interpreter_of(segment, endian, &data),
                elf::PT_NOTE => facts.has_ptrace |= has_note(segment, endian, &data),
                elf::PT_DYNAMIC => {
                    facts.has_ptrace |=
                        imports_ptrace(segments, segment, endian, &data).unwrap_or(false);
                }
                _ => {}
            }
        }
        Some(facts)
    }
}

type Segment = ProgramHeader64<Endianness>;

fn interpreter_of<'a>(
    segment: &Segment,
    endian: Endianness,
    data: impl ReadRef<'a>,
) -> Option<PathBuf> {
    let bytes = segment.interpreter(endian, data).ok()??;
    Some(PathBuf::from(OsStr::from_bytes(bytes)))
}

/// Whether a PT_NOTE has the [`NOTE`].
fn has_note<'a>(segment: &Segment, endian: Endianness, data: impl ReadRef<'a>) -> bool {
    let Ok(Some(mut notes)) = segment.notes(endian, data) else {
        return false;
    };
    while let Ok(Some(note)) = notes.next() {
        if note.name() == NOTE_NAME.as_bytes() && note.n_type(endian).0 == TRACES_OTHERS {
            return true;
        }
    }
    false
}

/// Whether the dynamic symbols have an undefined `ptrace`. Undefined symbols come before all that
/// the GNU hash table leads to, so the search ends at the first defined one.
fn imports_ptrace<'a>(
    segments: &[Segment],
    dynamic: &Segment,
    endian: Endianness,
    data: impl ReadRef<'a>,
) -> Option<bool> {
    let entries = dynamic.dynamic(endian, data).ok()??;
    let value = |tag| {
        let entry = entries.iter().find(|entry| entry.d_tag(endian) == tag)?;
        Some(entry.d_val(endian))
    };
    // From an address to the offset in the file, and the bytes that the file has from there.
    let offset = |address: u64| {
        segments.iter().find_map(|segment| {
            let inside = address.checked_sub(segment.p_vaddr(endian))?;
            let rest = segment.p_filesz(endian).checked_sub(inside)?;
            let is_load = segment.p_type(endian) == elf::PT_LOAD && rest > 0;
            is_load.then_some((segment.p_offset(endian).checked_add(inside)?, rest))
        })
    };
    let (symbols, room) = offset(value(elf::DT_SYMTAB)?)?;
    let (strings, strings_room) = offset(value(elf::DT_STRTAB)?)?;
    let strings_size = value(elf::DT_STRSZ)?.min(strings_room).min(TABLE_LIMIT);
    let strings = data.read_bytes_at(strings, strings_size).ok()?;
    let size = size_of::<Sym64<Endianness>>() as u64;
    let end = room.min(TABLE_LIMIT) / size;
    // In small pieces: nothing tells how many there are but the tables of hashes.
    const PIECE: u64 = 64;
    let mut at = 1;
    while at < end {
        let count = PIECE.min(end - at);
        let offset = symbols.checked_add(at * size)?;
        let piece: &[Sym64<Endianness>] = data.read_slice_at(offset, count as usize).ok()?;
        for symbol in piece {
            if symbol.st_shndx(endian).0 != elf::SHN_UNDEF.0 {
                return Some(false);
            }
            let name = strings.get(symbol.st_name(endian) as usize..);
            if name.is_some_and(|name| name.starts_with(b"ptrace\0")) {
                return Some(true);
            }
        }
        at += count;
    }
    Some(false)
}

/// The interpreter that a program names: in the first line of a script, or in PT_INTERP.
pub(crate) fn interpreter(path: &Path) -> Option<PathBuf> {
    /// The kernel reads no more of a script (include/uapi/linux/binfmts.h, `BINPRM_BUF_SIZE`).
    const FIRST: u64 = 256;
    let file = File::open(path).ok().filter(|file| {
        let metadata = file.metadata();
        metadata.is_ok_and(|metadata| metadata.is_file())
    })?;
    let mut first = Vec::new();
    file.take(FIRST).read_to_end(&mut first).ok()?;
    let Some(line) = first.strip_prefix(b"#!") else {
        return Facts::read(path)?.interpreter;
    };
    let line = line.split(|&byte| byte == b'\n').next()?.trim_ascii();
    let name = line.split(|byte| b" \t".contains(byte)).next()?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
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

/// The note of programs that trace others. Every program that uses this crate has it, because one
/// that is linked statically imports nothing.
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
        let own = Facts::read(Path::new("/proc/self/exe")).expect("an executable");
        assert!(own.has_ptrace, "{own:?}");
        let shell = Facts::read(Path::new("/bin/sh")).expect("an executable");
        assert!(!shell.has_ptrace, "{shell:?}");
        assert_eq!(interpreter(Path::new("/bin/sh")), shell.interpreter);
        assert!(shell.interpreter.is_some_and(|path| path.exists()));
        assert_eq!(Facts::read(Path::new("/dev/zero")), None);
    }

    #[test]
    fn a_program_is_read_once() {
        let mut programs = Programs::default();
        let this = std::process::id() as Pid;
        assert_eq!(
            [programs.has_ptrace(this), programs.has_ptrace(this)],
            [true; 2]
        );
        assert_eq!(programs.known.len(), 1);
        assert!(has_its_rights(this));
    }

    #[test]
    fn only_a_name_is_looked_for() {
        let found = find(OsStr::new("sh")).expect("a shell");
        assert!(found.is_absolute() && found.ends_with("sh"), "{found:?}");
        for name in ["", "/bin/sh", "./sh", "no-such-program"] {
            assert_eq!(find(OsStr::new(name)), None);
        }
    }
}
