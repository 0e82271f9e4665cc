//! Editing trees: one of a few lines that this test writes, and the real ones where they are
//! in the cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_linux_tree::{
    Error, Layout, Package, Tree, add, add_clock, remove, remove_all, remove_clock,
};

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
        versions.contains("BEAST_1.0 {\nglobal:\n\tbeast_condition;\n\tbeast_number;\n"),
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
fn a_generated_file_that_was_edited_is_refused() {
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
fn removing_leaves_files_that_were_added_by_hand() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    add(&tree, &beast()).unwrap().apply().unwrap();
    let generated = directory.path().join("arch/x86/entry/vdso/vdsokit");
    fs::write(generated.join("notes.txt"), "mine").unwrap();
    fs::write(generated.join("beast.vdso.o"), "make's").unwrap();
    fs::create_dir(generated.join("target")).unwrap();
    fs::write(generated.join("target/CACHEDIR.TAG"), "cargo's").unwrap();
    remove_all(&tree).unwrap().apply().unwrap();
    let left: Vec<_> = fs::read_dir(generated)
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
        match add_clock(&tree) {
            Ok(plan) => {
                plan.apply().unwrap();
                assert!(add_clock(&tree).unwrap().is_empty());
            }
            Err(error) => assert!(tree.version().starts_with("6.1."), "{error}"),
        }
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

#[test]
fn the_clock_comes_and_goes_with_and_without_functions() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    let read = |file: &str| fs::read_to_string(tree.root().join(file)).unwrap();
    let clean = everything(tree.root());
    assert!(matches!(remove_clock(&tree), Err(Error::NoClockThere)));

    add_clock(&tree).unwrap().apply().unwrap();
    assert!(add_clock(&tree).unwrap().is_empty());
    let clock = everything(tree.root());
    // The vDSO's Makefile alone: there are no pages, no faults, nothing to update.
    let makefile = read("arch/x86/entry/vdso/Makefile");
    let mut lines = makefile.lines();
    assert!(lines.next().unwrap().starts_with("vobjs-y := vdso-note.o"));
    assert_eq!(
        lines.next(),
        Some(
            "vobjs-y := $(filter-out vclock_gettime.o vgetcpu.o,$(vobjs-y)) vdsokit/clock/clock.o"
        )
    );
    assert!(!makefile.contains("+= vdsokit/\n"), "{makefile}");
    for (file, text) in &clean {
        let same = clock.get(file) == Some(text);
        assert_eq!(same, !file.ends_with("entry/vdso/Makefile"), "{file:?}");
    }
    let rules = read("arch/x86/entry/vdso/vdsokit/Makefile.vdso");
    let placeholders = rules.replace("$@", "").contains('@');
    assert!(!placeholders && !rules.contains("cargo"), "{rules}");

    add(&tree, &beast()).unwrap().apply().unwrap();
    let both = everything(tree.root());
    remove_clock(&tree).unwrap().apply().unwrap();
    assert!(
        !tree
            .root()
            .join("arch/x86/entry/vdso/vdsokit/clock")
            .exists()
    );
    add_clock(&tree).unwrap().apply().unwrap();
    assert_eq!(everything(tree.root()), both);
    remove(&tree, "beast").unwrap().apply().unwrap();
    assert_eq!(everything(tree.root()), clock);
    remove_clock(&tree).unwrap().apply().unwrap();
    assert_eq!(everything(tree.root()), clean);
    assert!(!tree.root().join("arch/x86/entry/vdso/vdsokit").exists());
}

#[test]
fn a_tree_whose_data_page_the_clock_does_not_read_is_refused() {
    let directory = tree_of(GENERIC);
    let tree = Tree::open(directory.path()).unwrap();
    match add_clock(&tree) {
        Err(Error::NoClock { version, .. }) => assert_eq!(version, "7.2.0"),
        other => panic!("{other:?}"),
    }
    // As in 6.1.
    let directory = tree_of(CLASSIC);
    fs::write(directory.path().join(READER), "if (cycles > last)\n").unwrap();
    let tree = Tree::open(directory.path()).unwrap();
    match add_clock(&tree) {
        Err(Error::NoClock { why, .. }) => assert!(why.ends_with("has no max_cycles"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_clock_that_was_edited_is_refused() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    add_clock(&tree).unwrap().apply().unwrap();
    let file = Path::new("arch/x86/entry/vdso/vdsokit/clock/time.rs");
    let path = directory.path().join(file);
    fs::write(&path, fs::read_to_string(&path).unwrap() + "// mine\n").unwrap();
    for result in [add_clock(&tree), remove_clock(&tree), remove_all(&tree)] {
        assert!(
            matches!(&result, Err(Error::Changed { file: named, .. }) if named == file),
            "{result:?}"
        );
    }
}

/// A tree may come from anybody: links in it lead elsewhere, to directories and to files.
#[test]
fn no_link_of_a_tree_is_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = elsewhere.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("precious.o", "mine");
    write("cachedir/CACHEDIR.TAG", "mine");
    write("cachedir/thesis.tex", "mine");
    write("inside/precious.o", "in the tree");
    let kept = everything(elsewhere.path());
    let list = "arch/x86/entry/vdso/vdsokit/list.toml";
    for link in [
        "arch/x86/include/asm/vdsokit",
        "arch/x86/entry/vdso/vdsokit/clock",
        "arch/x86/entry/vdso/vdsokit",
        "arch/x86/entry",
        list,
        "kernel/time/vsyscall.c",
        "kernel",
        "Makefile",
    ] {
        let directory = tree_of(CLASSIC);
        let root = directory.path();
        for beside in [list, "arch/x86/include/asm/vdsokit/x"] {
            fs::create_dir_all(root.join(beside).parent().unwrap()).unwrap();
        }
        fs::write(root.join(list), "clock = true\n").unwrap();
        // What the link stands for is where it leads, so only its being a link is wrong.
        let (path, target) = (root.join(link), elsewhere.path().join("target"));
        match fs::rename(&path, &target) {
            Err(_) => std::os::unix::fs::symlink(elsewhere.path(), &path).unwrap(),
            Ok(()) => std::os::unix::fs::symlink(&target, &path).unwrap(),
        }
        let before = names(root);
        let opened = Tree::open(root);
        let added = opened.and_then(|tree| add(&tree, &beast())?.apply());
        let refused = |result: &Result<(), Error>| {
            matches!(result, Err(Error::Linked { .. } | Error::NoTree { .. }))
        };
        assert!(refused(&added), "{link}: {added:?}");
        assert_eq!(names(root), before, "{link}");
        let removed = Tree::open(root).and_then(|tree| remove_all(&tree)?.apply());
        assert!(refused(&removed), "{link}: {removed:?}");
        if target.is_dir() {
            fs::remove_dir_all(&target).unwrap();
        } else {
            let _ = fs::remove_file(&target);
        }
        assert_eq!(everything(elsewhere.path()), kept, "{link}");
    }
}

/// Entries that make or cargo would have left, but that are links.
#[test]
fn links_beside_what_make_left_stay_and_lead_to_no_removal() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("CACHEDIR.TAG"), "mine").unwrap();
    fs::write(elsewhere.path().join("precious.o"), "mine").unwrap();
    let kept = everything(elsewhere.path());
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    add(&tree, &beast()).unwrap().apply().unwrap();
    let generated = directory.path().join("arch/x86/entry/vdso/vdsokit");
    std::os::unix::fs::symlink(elsewhere.path(), generated.join("target")).unwrap();
    let precious = elsewhere.path().join("precious.o");
    std::os::unix::fs::symlink(precious, generated.join("made.o")).unwrap();
    fs::create_dir(generated.join("cargo")).unwrap();
    fs::write(generated.join("cargo/CACHEDIR.TAG"), "").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), generated.join("cargo/link")).unwrap();
    remove_all(&tree).unwrap().apply().unwrap();
    assert_eq!(everything(elsewhere.path()), kept);
    let mut left: Vec<_> = fs::read_dir(generated)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["made.o", "target"]);
}

/// A directory can't be made, since a file has its name.
#[test]
fn an_add_that_fails_leaves_the_tree_as_it_was() {
    for in_the_way in [
        "arch/x86/include/asm/vdsokit",
        "arch/x86/entry/vdso/vdsokit/clock",
    ] {
        let directory = tree_of(CLASSIC);
        let tree = Tree::open(directory.path()).unwrap();
        let path = directory.path().join(in_the_way);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "in the way").unwrap();
        let plan = if in_the_way.ends_with("clock") {
            add_clock(&tree)
        } else {
            add(&tree, &beast())
        };
        let before = everything(directory.path());
        let result = plan.and_then(|plan| plan.apply());
        assert!(matches!(result, Err(Error::File { .. })), "{result:?}");
        assert_eq!(everything(directory.path()), before);
    }
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

/// A run that was killed: the list and a part of the files are there.
#[test]
fn what_a_killed_run_left_is_completed_or_removed() {
    let whole = tree_of(CLASSIC);
    let tree = Tree::open(whole.path()).unwrap();
    let beast = beast();
    let plan = add(&tree, &beast).unwrap();
    let files: Vec<PathBuf> = plan.files().map(Path::to_owned).collect();
    plan.apply().unwrap();
    let wanted = everything(whole.path());
    for done in 0..=files.len() {
        for remove in [false, true] {
            let half = tree_of(CLASSIC);
            let clean = everything(half.path());
            for file in &files[..done] {
                let to = half.path().join(file);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(whole.path().join(file), to).unwrap();
            }
            let tree = Tree::open(half.path()).unwrap();
            if remove {
                remove_all(&tree).unwrap().apply().unwrap();
                assert_eq!(everything(half.path()), clean, "{done} done");
            } else {
                add(&tree, &beast).unwrap().apply().unwrap();
                assert_eq!(everything(half.path()).len(), wanted.len());
                assert!(add(&tree, &beast).unwrap().is_empty());
            }
        }
    }
}

/// A tree may come from anybody, its list too: what that names is removed.
#[test]
fn a_list_that_names_others_files_is_refused() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    let list = directory
        .path()
        .join("arch/x86/entry/vdso/vdsokit/list.toml");
    fs::create_dir_all(list.parent().unwrap()).unwrap();
    let one_crate = |key: &str, value: &str| {
        let mut fields = [
            ("name", "\"x\""),
            ("library", "\"libx.a\""),
            ("root", "\"/x\""),
            ("pages", "1"),
        ];
        if let Some(field) = fields.iter_mut().find(|field| field.0 == key) {
            field.1 = value;
        }
        let lines = fields.map(|(key, value)| format!("{key} = {value}\n"));
        format!("[[crate]]\n{}", lines.concat())
    };
    let refused = [
        "[files]\n\"../../secret\" = \"0\"\n".to_owned(),
        "[files]\n\"arch/x86/entry/vdso/vdsokit/..\" = \"0\"\n".into(),
        "[files]\n\"arch/x86/entry/vdso/vdsokit/../Makefile\" = \"0\"\n".into(),
        "[files]\n\"/etc/passwd\" = \"0\"\n".into(),
        one_crate("name", "\"x y\""),
        one_crate("library", "\"libx.a; rm x\""),
        one_crate("root", "\"/x$(shell id)\""),
        one_crate("pages", "100000"),
    ];
    for text in refused {
        fs::write(&list, &text).unwrap();
        for result in [remove_all(&tree), add_clock(&tree)] {
            assert!(
                matches!(result, Err(Error::List { .. })),
                "{text}: {result:?}"
            );
        }
    }
    fs::write(&list, one_crate("", "")).unwrap();
    assert!(remove_all(&tree).is_ok());
}

#[test]
fn a_crate_called_as_a_file_that_all_share_is_refused() {
    for name in ["pages", "kernel", "header", "symbols", "versions"] {
        let Err(Error::Crate { why, .. }) = package(name, SCALAR, "").1 else {
            panic!("{name} is taken")
        };
        assert_eq!(
            why,
            format!("`{name}` is the name of something that all crates share")
        );
    }
}

/// `vdsokit_a_b_c` would be both.
#[test]
fn variables_of_two_crates_never_share_a_symbol() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    // With no prefix the second one's functions have other names than the first one's.
    let (_one, a) = package("a", "[var.b_c]\ntype = \"u8\"\n", "");
    let (_two, a_b) = package("a_b", "prefix = \"\"\n[var.c]\ntype = \"u8\"\n", "");
    add(&tree, &a.unwrap()).unwrap().apply().unwrap();
    add(&tree, &a_b.unwrap()).unwrap().apply().unwrap();
    let symbol = |name: &str| {
        let file = format!("arch/x86/include/asm/vdsokit/{name}.lds.h");
        let text = fs::read_to_string(directory.path().join(file)).unwrap();
        text.lines()
            .last()
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(symbol("a"), "vdsokit.a.b_c");
    assert_eq!(symbol("a_b"), "vdsokit.a_b.c");
}

#[test]
fn a_crate_is_not_replaced_by_another_of_the_same_name() {
    let directory = tree_of(CLASSIC);
    let tree = Tree::open(directory.path()).unwrap();
    let (old, first) = package("beast", SCALAR, "");
    add(&tree, &first.unwrap()).unwrap().apply().unwrap();
    // Moved: the same package elsewhere.
    let (_moved, again) = package("beast", SCALAR, "");
    add(&tree, &again.unwrap()).unwrap().apply().unwrap();

    let same_prefix = "[package.metadata.x]\n[lib]\nname = \"other\"\n";
    let (_root, other) = package("beast", SCALAR, same_prefix);
    let Err(Error::Crate { why, .. }) = add(&tree, &other.unwrap()) else {
        panic!("another library of the prefix `beast`")
    };
    assert!(why.starts_with("`beast` was added from /"), "{why}");
    drop(old);
}

#[test]
fn hooks_that_would_be_other_code_are_refused() {
    let hooks = |include: &str, update: &str| {
        format!(
            "[package.metadata.vdso-kernel]\ninclude = [{include:?}]\n\
             [package.metadata.vdso-kernel.update]\nnumber = {update:?}\n"
        )
    };
    for (include, update, found) in [
        ("linux/a.h>\n#include <b.h", "1", "no name of a header"),
        ("", "1", "no name of a header"),
        ("linux/a.h", "1); other(", ""),
        ("linux/a.h", "1 // one", "no expression in C"),
        ("linux/a.h", "1 /* one", "no expression in C"),
        ("linux/a.h", "1\n#define X", "no expression in C"),
    ] {
        match package("beast", SCALAR, &hooks(include, update)).1 {
            Err(Error::Crate { why, .. }) => assert!(why.ends_with(found), "{why}"),
            // The crate's own author writes C here; the compiler judges it.
            Ok(_) => assert_eq!(found, ""),
            Err(other) => panic!("{other:?}"),
        }
    }
}
