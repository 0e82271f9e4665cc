//! Adding and removing.

use super::{CLASSIC, GENERIC, HOOKS, LATCHED, SCALAR, beast, everything, package, tree_of};
use std::fs;
use std::path::{Path, PathBuf};
use vdsokit_linux_tree::{Error, Layout, Tree, add, add_clock, remove, remove_all};

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
