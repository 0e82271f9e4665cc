//! The clock of the kernel.

use super::{CLASSIC, GENERIC, READER, beast, everything, tree_of};
use std::fs;
use std::path::Path;
use vdsokit_linux_tree::{Error, Tree, add, add_clock, remove, remove_all, remove_clock};

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
