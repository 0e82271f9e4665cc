//! A kernel tree of a few lines.

use std::fs;

use tempfile::TempDir;

/// `arch/x86/entry/vdso/Makefile`.
pub(crate) const MAKEFILE: &str = "vobjs-y := vdso-note.o vclock_gettime.o vgetcpu.o\n";

/// As much of a tree of Linux 6.12 as `--clock` and an emptied one need, in words of our own.
const TREE: [(&str, &str); 7] = [
    ("Makefile", "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 3\n"),
    ("arch/x86/entry/vdso/Makefile", MAKEFILE),
    ("arch/x86/entry/vdso/vdso-layout.lds.S", ""),
    ("arch/x86/entry/vdso/vdso.lds.S", ""),
    ("arch/x86/entry/vdso/vma.c", "int sym_vvar_start;\n"),
    ("kernel/time/vsyscall.c", ""),
    ("arch/x86/include/asm/vdso/gettimeofday.h", "max_cycles\n"),
];

/// A directory that holds it.
pub(crate) fn tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    for (name, text) in TREE {
        let path = tree.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    tree
}
