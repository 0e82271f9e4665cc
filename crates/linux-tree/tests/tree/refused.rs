//! What is refused, with nothing changed.

use super::{CLASSIC, SCALAR, beast, everything, package, tree_of};
use std::fs;
use std::path::Path;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_linux_tree::{Error, Package, Tree, add, add_clock, remove_all};

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
