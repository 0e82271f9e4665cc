//! C programs call the functions of a built image while a publisher writes.

use crate::support::probe::{By, Probe, live, source};
use crate::support::{built, compile, declaration, shared};
use std::process::Command;
use vdsokit_build::{Architecture, Declaration};

const RPATH: &str = "-Wl,-rpath,$ORIGIN";

/// Tests execute what they build, so they need an architecture that is built for.
fn host() -> Architecture {
    Architecture::host().expect("no image can be built for this machine")
}

#[test]
fn linked_with_l() {
    let declaration = declaration("every-type.toml");
    let (directory, image) = built(&declaration, host());
    let source = source(&declaration, By::Linking);
    let program = compile("cc", directory.path(), &source, &[RPATH, "-levery-type"]);
    live(&declaration, &image, Probe::start(Command::new(program)));
}

#[test]
fn opened_with_dlopen_and_looked_up_with_its_version() {
    let declaration = declaration("every-type.toml");
    let (directory, image) = built(&declaration, host());
    let source = source(&declaration, By::Dlopen);
    let program = compile("cc", directory.path(), &source, &[RPATH, "-ldl"]);
    live(&declaration, &image, Probe::start(Command::new(program)));
}

/// The header is C++ too.
#[test]
fn the_header_compiles_as_cpp() {
    let declaration = declaration("every-type.toml");
    let (directory, _) = built(&declaration, host());
    std::fs::write(
        directory.path().join("program.cc"),
        "#include \"every-type.h\"\nint main() { return every_type_state() != 0; }\n",
    )
    .unwrap();
    let flags = [
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-I.",
        "-L.",
        RPATH,
    ];
    let status = Command::new("c++")
        .current_dir(directory.path())
        .args(flags)
        .args(["program.cc", "-levery-type", "-o", "program"])
        .status()
        .unwrap();
    assert!(status.success());
    let status = Command::new(directory.path().join("program")).status();
    assert!(status.unwrap().success());
}

/// A reader that a writer overtakes again and again sees whole values only.
#[test]
fn a_value_is_never_seen_half_written() {
    let text = "[vdso]\nsoname = \"libtorn.so\"\nversion = \"TORN_1\"\n\
        [var.short]\ntype = \"u64[4]\"\n[var.long]\ntype = \"u64[100]\"\n";
    let declaration = Declaration::parse("torn.toml", text).unwrap();
    let (directory, image) = built(&declaration, host());
    let source = r#"
        #include <stdio.h>
        #include "torn.h"
        static int whole(const uint64_t *words, int count, uint64_t *last, unsigned *changes) {
            for (int i = 1; i < count; i++) if (words[i] != words[0]) return 0;
            *changes += words[0] != *last;
            *last = words[0];
            return 1;
        }
        int main(void) {
            uint64_t a[4], b[100], last_a = 0, last_b = 0;
            unsigned changes_a = 0, changes_b = 0;
            while (changes_a < 20000 || changes_b < 20000) {
                torn_short(a);
                torn_long(b);
                if (!whole(a, 4, &last_a, &changes_a)) { puts("short is torn"); return 1; }
                if (!whole(b, 100, &last_b, &changes_b)) { puts("long is torn"); return 1; }
            }
            return 0;
        }
    "#;
    let program = compile("cc", directory.path(), source, &[RPATH, "-ltorn"]);
    let mut reader = Command::new(program).spawn().unwrap();
    let pages = shared::pages(&image);
    let mut short = pages.latch(64, 32).unwrap();
    let mut long = pages.latch(192, 800).unwrap();
    let mut value = 0;
    let status = loop {
        for _ in 0..1000 {
            value += 1;
            short.write(|copy| (0..4).for_each(|word| copy.set_word(word, value)));
            long.write(|copy| (0..100).for_each(|word| copy.set_word(word, value)));
        }
        if let Some(status) = reader.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success());
}
