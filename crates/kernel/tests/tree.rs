//! Editing trees: one of a few lines that this test writes, and the real ones where they are
//! in the cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_kernel::{Error, Layout, Package, Tree, add, add_clock, remove, remove_all, remove_clock};

/// As much of a tree of 6.x as is needed to find the places, in words of our own.
const CLASSIC: &[(&str, &str)] = &[
    ("Makefile", "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 3\n"),
    ("arch/x86/entry/vdso/Makefile", "vobjs-y := vdso-note.o vclock_gettime.o vgetcpu.o\nobj-y := some.o\n"),
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
];

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

#[test]
fn what_is_added_is_removed_to_the_byte_and_adding_twice_changes_nothing() {
    for (files, layout) in [
        (CLASSIC, Layout::Classic),
        (
            GENERIC,
            Layout::Generic {
                pages: 9,
                clock_pages: 3,
            },
        ),
    ] {
        let directory = tree_of(files);
        let tree = Tree::open(directory.path()).unwrap();
        assert_eq!(tree.layout(), layout);
        let before = everything(tree.root());

        let beast = beast();
        let plan = add(&tree, &beast).unwrap();
        assert_eq!(everything(tree.root()), before, "planning changes nothing");
        plan.apply().unwrap();
        let with = everything(tree.root());
        for (name, text) in &with {
            if let Some(before) = before.get(name) {
                // Only whole lines came in.
                let mut lines = text.split(|byte| *byte == b'\n');
                for line in before.split(|byte| *byte == b'\n') {
                    assert!(lines.any(|other| other == line), "{name:?}");
                }
            }
        }
        assert!(add(&tree, &beast).unwrap().is_empty());

        remove(&tree, "beast").unwrap().apply().unwrap();
        assert_eq!(everything(tree.root()), before);
        assert!(!tree.root().join("arch/x86/entry/vdso/vdsokit").exists());
        assert!(!tree.root().join("arch/x86/include/asm/vdsokit").exists());
    }
}

#[test]
fn two_crates_come_and_go_on_their_own() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    let clean = everything(tree.root());
    add(&tree, &beast()).unwrap().apply().unwrap();
    let one = everything(tree.root());
    let (_root, large) = package("large", LATCHED, "");
    add(&tree, &large.unwrap()).unwrap().apply().unwrap();
    let read = |file: &str| fs::read_to_string(tree.root().join(file)).unwrap();
    let pages = read("arch/x86/include/asm/vdsokit/pages.h");
    assert!(pages.contains("#define VDSOKIT_PAGES 4\n"), "{pages}");
    let symbols = read("arch/x86/include/asm/vdsokit/symbols.lds.h");
    assert!(symbols.contains("vdsokit.large = vdsokit_pages + 1 * PAGE_SIZE;"));

    let strange = remove(&tree, "small").unwrap_err();
    assert!(matches!(strange, Error::NotThere { names, .. } if names == ["beast", "large"]));
    remove(&tree, "large").unwrap().apply().unwrap();
    assert_eq!(everything(tree.root()).keys().count(), one.keys().count());
    remove_all(&tree).unwrap().apply().unwrap();
    assert_eq!(everything(tree.root()), clean);
}

#[test]
fn a_crate_that_grew_is_brought_up_to_date() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    add(&tree, &beast()).unwrap().apply().unwrap();
    let (_root, grown) = package(
        "beast",
        &format!("{SCALAR}[var.more]\ntype = \"u8\"\n"),
        HOOKS,
    );
    let plan = add(&tree, &grown.unwrap()).unwrap();
    let changed: Vec<_> = plan
        .files()
        .map(|file| file.display().to_string())
        .collect();
    // The kernel's own files stay as they are, and so does what all crates share.
    assert!(
        changed.iter().all(|file| file.contains("vdsokit/")),
        "{changed:?}"
    );
    assert!(
        !changed.iter().any(|file| file.ends_with("kernel.h")),
        "{changed:?}"
    );
    plan.apply().unwrap();
    let header = tree.root().join("arch/x86/include/asm/vdsokit/beast.h");
    assert!(
        fs::read_to_string(header)
            .unwrap()
            .contains("vdsokit_beast_set_more(u8 value)")
    );
}

#[test]
fn the_kernel_side_is_as_the_pages_are() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    add(&tree, &beast()).unwrap().apply().unwrap();
    let read = |file: &str| fs::read_to_string(tree.root().join(file)).unwrap();
    let header = read("arch/x86/include/asm/vdsokit/beast.h");
    assert!(header.contains("static_assert(offsetof(struct vdsokit_beast, number) == 64);"));
    assert!(header.contains("/* It * / counts */"), "{header}");
    let source = read("arch/x86/entry/vdso/vdsokit/beast.c");
    assert!(source.contains("#include <linux/some.h>\n"));
    assert!(source.contains("\tvdsokit_beast_set_number(count(tk));\n"));
    // `vvarpage`, and 666.
    assert!(source.contains("[0] = 0x76, 0x76, 0x61, 0x72, 0x70, 0x61, 0x67, 0x65,"));
    assert!(source.contains("[64] = 0x9a, 0x02,"), "{source}");
    let versions = read("arch/x86/include/asm/vdsokit/beast.versions.lds.h");
    assert!(
        versions.contains("BEAST_1.0 {\nglobal:\n\tbeast_number;\n"),
        "{versions}"
    );
}

#[test]
fn a_place_changed_by_hand_is_refused_and_nothing_is_changed() {
    let cases = [
        (
            "arch/x86/entry/vdso/vdso-layout.lds.S",
            "timens_page",
            "namespace_page",
        ),
        ("arch/x86/entry/vdso/vdso.lds.S", "local: *;", "local: x;"),
        (
            "arch/x86/entry/vdso/vma.c",
            "if (!image)",
            "if (image == NULL)",
        ),
        (
            "kernel/time/vsyscall.c",
            "void update_vsyscall(",
            "void update_vdso(",
        ),
    ];
    for (file, from, to) in cases {
        let directory = tree_of(CLASSIC);
        let path = directory.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        fs::write(&path, text.replace(from, to)).unwrap();
        let before = everything(directory.path());
        let tree = Tree::open(directory.path()).unwrap();
        match add(&tree, &beast()) {
            Err(Error::NoAnchor { file: named, .. }) => assert_eq!(named, Path::new(file)),
            other => panic!("{file}: {other:?}"),
        }
        assert_eq!(everything(directory.path()), before);
    }
}

#[test]
fn what_we_wrote_and_somebody_edited_is_refused() {
    let cases = [
        (
            "kernel/time/vsyscall.c",
            "vdsokit_update(tk)",
            "vdsokit_update(NULL)",
            9,
        ),
        (
            "arch/x86/entry/vdso/vdsokit/beast.c",
            "count(tk)",
            "count(NULL)",
            1,
        ),
        (
            "arch/x86/include/asm/vdsokit/pages.h",
            "PAGES 1",
            "PAGES 2",
            1,
        ),
    ];
    for (file, from, to, at) in cases {
        let directory = tree_of(CLASSIC);
        let tree = Tree::open(directory.path()).unwrap();
        add(&tree, &beast()).unwrap().apply().unwrap();
        let path = directory.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        fs::write(&path, text.replace(from, to)).unwrap();
        for result in [add(&tree, &beast()), remove_all(&tree)] {
            match result {
                Err(Error::Changed {
                    file: named, line, ..
                }) => {
                    assert_eq!((named.as_path(), line), (Path::new(file), at));
                }
                other => panic!("{file}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_file_that_changes_between_plan_and_apply_is_left_alone() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    let plan = add(&tree, &beast()).unwrap();
    let path = directory.path().join("kernel/time/vsyscall.c");
    fs::write(&path, fs::read_to_string(&path).unwrap() + "int more;\n").unwrap();
    let before = everything(directory.path());
    assert!(matches!(plan.apply(), Err(Error::Meanwhile { .. })));
    assert_eq!(everything(directory.path()), before);
}

#[test]
fn removing_leaves_what_somebody_else_put_beside() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    add(&tree, &beast()).unwrap().apply().unwrap();
    let ours = directory.path().join("arch/x86/entry/vdso/vdsokit");
    fs::write(ours.join("notes.txt"), "mine").unwrap();
    fs::write(ours.join("beast.vdso.o"), "make's").unwrap();
    fs::create_dir(ours.join("target")).unwrap();
    fs::write(ours.join("target/CACHEDIR.TAG"), "cargo's").unwrap();
    remove_all(&tree).unwrap().apply().unwrap();
    let left: Vec<_> = fs::read_dir(ours)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["notes.txt"]);
}

#[test]
fn the_diff_shows_lines_and_new_files() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    let diff = add(&tree, &beast()).unwrap().to_string();
    assert!(diff.contains("--- a/kernel/time/vsyscall.c\n+++ b/kernel/time/vsyscall.c\n"));
    assert!(diff.contains("\n+\tvdsokit_update(tk);\n"));
    assert!(diff.contains("--- /dev/null\n+++ b/arch/x86/include/asm/vdsokit/beast.h\n"));
    assert!(
        diff.lines()
            .all(|line| !line.starts_with('-') || line.starts_with("--- "))
    );
}

#[test]
fn what_is_exported_already_is_refused() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    add(&tree, &beast()).unwrap().apply().unwrap();
    let (root, other) = package("other", SCALAR, "");
    let text = "[vdso]\nsoname = \"libother.so.1\"\nversion = \"LINUX_2.6\"\n";
    let declaration = Declaration::parse("test.toml", text).unwrap();
    let taken = image(&declaration, Architecture::X86_64).unwrap();
    let taken = Package::new(root.path(), &taken).unwrap();
    let Err(Error::Crate { why, .. }) = add(&tree, &taken) else {
        panic!("LINUX_2.6 is the kernel's")
    };
    assert_eq!(
        why,
        "`LINUX_2.6` is taken: arch/x86/entry/vdso/vdso.lds.S has it"
    );
    assert!(!add(&tree, &other.unwrap()).unwrap().is_empty());
}

#[test]
fn crates_that_cannot_be_are_refused() {
    let unknown = "[package.metadata.vdso-kernel.update]\nnumbr = \"1\"\n";
    let Err(Error::Crate { why, advice, .. }) = package("beast", SCALAR, unknown).1 else {
        panic!("there is no such variable")
    };
    assert_eq!(why, "the update of `numbr` is of no variable");
    assert_eq!(advice, "its variables are number");

    let key = "[package.metadata.vdso-kernel]\nincludes = []\n";
    let Err(Error::Crate { why, .. }) = package("beast", SCALAR, key).1 else {
        panic!("there is no such key")
    };
    assert!(why.contains("unknown field `includes`"), "{why}");

    let root = tempfile::Builder::new().prefix("a b").tempdir().unwrap();
    fs::write(root.path().join("Cargo.toml"), "[package]\nname = \"x\"\n").unwrap();
    let Err(Error::Crate { why, .. }) = Package::new(root.path(), b"") else {
        panic!("make can't use this path")
    };
    assert!(why.contains("path"), "{why}");

    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("Cargo.toml"), "[package]\nname = \"x\"\n").unwrap();
    assert!(matches!(
        Package::new(root.path(), b"no ELF"),
        Err(Error::Crate { .. })
    ));
}

/// Debian's own trees: as much of them as is edited, in the directories that
/// `VDSOKIT_LINUX_TREES` names.
#[test]
#[ignore = "the step `kernel` unpacks the trees"]
fn the_trees_that_debian_has_are_edited_and_restored() {
    let trees = std::env::var("VDSOKIT_LINUX_TREES").expect("colon-separated directories");
    for directory in trees.split(':') {
        let tree = Tree::open(Path::new(directory)).unwrap();
        let before = everything(tree.root());
        let beast = beast();
        add(&tree, &beast).unwrap().apply().unwrap();
        assert!(add(&tree, &beast).unwrap().is_empty());
        assert_ne!(everything(tree.root()), before);
        remove_all(&tree).unwrap().apply().unwrap();
        assert_eq!(everything(tree.root()), before, "Linux {}", tree.version());
    }
}

#[test]
fn what_is_no_known_tree_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(
        Tree::open(empty.path()),
        Err(Error::NoTree { .. })
    ));
    let between: Vec<_> = CLASSIC
        .iter()
        .copied()
        .map(|(file, text)| match file {
            "Makefile" => (file, "VERSION = 6\nPATCHLEVEL = 16\n"),
            "arch/x86/entry/vdso/vma.c" => (file, "int map_vdso;\n"),
            _ => (file, text),
        })
        .collect();
    let directory = tree_of(&between);
    match Tree::open(directory.path()) {
        Err(Error::UnknownTree { version, .. }) => assert_eq!(version, "6.16"),
        other => panic!("{other:?}"),
    }
}
