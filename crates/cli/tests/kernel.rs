//! `vdso kernel` as it is typed.

mod common;

use common::linux_tree::{MAKEFILE, tree};
use common::{output, said};
use std::fs;
use std::path::Path;

fn makefile(tree: &Path) -> String {
    fs::read_to_string(tree.join("arch/x86/entry/vdso/Makefile")).unwrap()
}

#[test]
fn the_clock_goes_in_and_out() {
    let directory = tree();
    let tree = directory.path().to_str().unwrap();
    let diff = said(&["kernel", "add", "--clock", "--tree", tree, "--dry-run"]);
    assert!(diff.contains("\n+vobjs-y := $(filter-out "), "{diff}");
    assert_eq!(makefile(directory.path()), MAKEFILE);

    let json = said(&["kernel", "add", "--clock", "--tree", tree, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["linux"], "6.12.3");
    let changed = json["changed"].as_array().unwrap();
    assert!(changed.contains(&"arch/x86/entry/vdso/Makefile".into()));
    assert!(makefile(directory.path()).contains("vdsokit/clock/clock.o"));

    let again = said(&["kernel", "add", "--clock", "--tree", tree]);
    assert_eq!(again, "nothing to do: the clock is in Linux 6.12.3\n");
    let out = said(&["kernel", "remove", "--clock", "--tree", tree]);
    assert!(out.ends_with("the clock is out of Linux 6.12.3\n"), "{out}");
    assert_eq!(makefile(directory.path()), MAKEFILE);

    let none = output(&["kernel", "remove", "--clock", "--tree", tree]);
    assert_eq!(none.status.code(), Some(1));
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(
        said.contains("the clock was not added to this tree"),
        "{said}"
    );
}

#[test]
fn what_to_add_has_to_be_said_once() {
    let directory = tree();
    let tree = directory.path().to_str().unwrap();
    for what in [&[][..], &["--clock", "a/crate"]] {
        let mut arguments = vec!["kernel", "add", "--tree", tree];
        arguments.extend(what);
        assert_eq!(output(&arguments).status.code(), Some(2), "{what:?}");
    }
}
