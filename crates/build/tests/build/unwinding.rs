//! Unwind tables, read by two programs that did not write them: readelf and libgcc.

use crate::support::{built, compile, declaration};
use std::fmt::Write;
use std::process::Command;
use vdsokit_build::Architecture;

/// The tables as binutils interprets them.
fn interpreted(arch: Architecture) -> String {
    let (_directory, image) = built(&declaration("every-type.toml"), arch);
    let output = Command::new("readelf")
        .args(["--wide", "--debug-dump=frames-interp"])
        .arg(image)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors, "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_tables_for_x86_64() {
    insta::assert_snapshot!(interpreted(Architecture::X86_64));
}

/// `condition` has a stack frame there, and an entry of its own.
#[test]
fn the_tables_for_aarch64() {
    insta::assert_snapshot!(interpreted(Architecture::Aarch64));
}

/// `condition` has a stack frame there too.
#[test]
fn the_tables_for_riscv() {
    insta::assert_snapshot!(interpreted(Architecture::Riscv64));
}

/// `condition` has a stack frame there too.
#[test]
fn the_tables_for_loongarch() {
    insta::assert_snapshot!(interpreted(Architecture::Loongarch64));
}

/// `condition` saves a register of the caller's there.
#[test]
fn the_tables_for_i386() {
    insta::assert_snapshot!(interpreted(Architecture::I386));
}

/// libgcc's search of `.eh_frame_hdr` finds an entry for the first and the last byte of every
/// function, and none outside them.
#[test]
fn libgcc_finds_an_entry_for_every_function() {
    let declaration = declaration("every-type.toml");
    let host = Architecture::host().expect("no image can be built for this machine");
    let (directory, image) = built(&declaration, host);
    let bytes = std::fs::read(image).unwrap();
    let parsed = vdsokit_elf::Image::parse(&bytes).unwrap();
    let mut checks = String::new();
    for symbol in parsed.symbols().filter(|symbol| symbol.size > 0) {
        let name = symbol.name();
        let last = symbol.size - 1;
        writeln!(checks, "    find(\"{name}\", (char *) {name}, {last});").unwrap();
    }
    let source = format!(
        r#"
        #include <stdio.h>
        #include <stdlib.h>
        #include <dlfcn.h>
        #include "every-type.h"
        struct dwarf_eh_bases {{ void *tbase, *dbase, *func; }};
        extern const void *_Unwind_Find_FDE(void *, struct dwarf_eh_bases *);
        static void find(const char *name, char *start, size_t last) {{
            struct dwarf_eh_bases bases;
            for (int i = 0; i < 2; i++) {{
                char *at = start + (i ? last : 0);
                if (!_Unwind_Find_FDE(at, &bases) || (char *) bases.func > at) {{
                    printf("no entry for %s+%zu\n", name, (size_t) (at - start));
                    exit(1);
                }}
            }}
        }}
        int main(void) {{
        {checks}
            return 0;
        }}
        "#
    );
    let flags = ["-Wno-pedantic", "-Wl,-rpath,$ORIGIN", "-levery-type"];
    let program = compile("cc", directory.path(), &source, &flags);
    let output = Command::new(program).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
