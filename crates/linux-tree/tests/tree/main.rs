//! Editing trees: one of a few lines that this test writes, and the real ones where they are
//! in the cache.

mod clock;
mod edit;
mod links;
mod refused;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_linux_tree::{Error, Package};

/// As much of a tree of 6.x as is needed to find the places, in words of our own.
const CLASSIC: &[(&str, &str)] = &[
    ("Makefile", "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 3\n"),
    (
        "arch/x86/entry/vdso/Makefile",
        "vobjs-y := vdso-note.o vclock_gettime.o vgetcpu.o\nobj-y := some.o\n",
    ),
    (
        "arch/x86/entry/vdso/vdso-layout.lds.S",
        "SECTIONS\n{\n\tvvar_start = here;\n\ttimens_page  = there;\n\n\t. = first;\n}\n",
    ),
    (
        "arch/x86/entry/vdso/vdso.lds.S",
        "VERSION {\n\tLINUX_2.6 {\n\tglobal:\n\t\ttaken;\n\tlocal: *;\n\t};\n}\n",
    ),
    (
        "arch/x86/entry/vdso/vma.c",
        "#include <linux/ptrace.h>\nint sym_vvar_start;\n\
         static vm_fault_t vvar_fault(int a,\n\t\tint b)\n{\n\tif (!image)\n\
         \t\treturn VM_FAULT_SIGBUS;\n\n\treturn 0;\n}\n",
    ),
    (
        "kernel/time/vsyscall.c",
        "#include <linux/timekeeper_internal.h>\n\
         void update_vsyscall(struct timekeeper *tk)\n{\n\tgo(tk);\n}\n",
    ),
    (READER, "if (delta > vd->max_cycles)\n"),
];

const READER: &str = "arch/x86/include/asm/vdso/gettimeofday.h";

/// The same of one from 7.2 on.
const GENERIC: &[(&str, &str)] = &[
    ("Makefile", "VERSION = 7\nPATCHLEVEL = 2\nSUBLEVEL = 0\n"),
    ("arch/x86/entry/vdso/Makefile", "obj-y := some.o\n"),
    ("arch/x86/entry/vdso/vdso64/Makefile", "x := y\n"),
    (
        "arch/x86/entry/vdso/common/vdso-layout.lds.S",
        "SECTIONS\n{\n\thvclock_page = there;\n\n\t. = first;\n}\n",
    ),
    (
        "arch/x86/entry/vdso/vdso64/vdso64.lds.S",
        "VERSION {\n\tLINUX_2.6 {\n\tglobal:\n\t\ttaken;\n\tlocal: *;\n\t};\n}\n",
    ),
    (
        "arch/x86/include/asm/vdso/vsyscall.h",
        "#define __VDSO_PAGES\t9\n#define VDSO_NR_VCLOCK_PAGES\t3\n",
    ),
    (
        "arch/x86/entry/vdso/vma.c",
        "#include <linux/ptrace.h>\nstatic vm_fault_t vvar_vclock_fault(int a,\n\t\tint b)\n{\n\
         \tswitch (vmf->pgoff) {\n\t}\n}\n",
    ),
    (
        "kernel/time/vsyscall.c",
        "#include <linux/timekeeper_internal.h>\n\
         void update_vsyscall(struct timekeeper *tk)\n{\n\tgo(tk);\n}\n",
    ),
];

fn tree_of(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

/// A crate's directory and the package made of it; `variables` are in TOML.
fn package(name: &str, variables: &str, hooks: &str) -> (TempDir, Result<Package, Error>) {
    let root = tempfile::tempdir().unwrap();
    let text = format!("[package]\nname = \"{name}\"\n{hooks}");
    fs::write(root.path().join("Cargo.toml"), text).unwrap();
    let text = format!(
        "[vdso]\nsoname = \"lib{name}.so.1\"\nversion = \"{}_1.0\"\n{variables}",
        name.to_uppercase()
    );
    let declaration = Declaration::parse("test.toml", &text).unwrap();
    let image = image(&declaration, Architecture::X86_64).unwrap();
    let package = Package::new(root.path(), &image);
    (root, package)
}

const SCALAR: &str = "[var.number]\ntype = \"u32\"\ninit = 666\ndoc = \"It */ counts\"\n";
const LATCHED: &str = "[var.number]\ntype = \"u32\"\n[var.name]\ntype = \"str[5000]\"\n\
                       [var.pair.fields.a]\ntype = \"f64\"\n[var.pair.fields.b]\ntype = \"u16\"\n";
const HOOKS: &str = "[package.metadata.vdso-kernel]\ninclude = [\"linux/some.h\"]\n\
                     [package.metadata.vdso-kernel.update]\nnumber = \"count(tk)\"\n";

fn beast() -> Package {
    package("beast", SCALAR, HOOKS).1.unwrap()
}

/// Every file of a tree.
fn everything(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else {
                files.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(root, &mut files);
    files
}

/// Everything that is in a directory, by name.
fn names(directory: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(self::names(&path));
        }
        names.push(path);
    }
    names.sort();
    names
}
