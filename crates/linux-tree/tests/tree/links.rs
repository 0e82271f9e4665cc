//! A tree may come from anybody: links in it lead elsewhere.

use super::{CLASSIC, beast, everything, names, tree_of};
use std::fs;
use vdsokit_linux_tree::{Error, Tree, add, remove_all};

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
