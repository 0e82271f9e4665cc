//! The same for 32-bit programs on x86-64: readers compiled by `gcc -m32`, and a 64-bit publisher.
#![cfg(target_arch = "x86_64")]

use crate::support::probe::{By, Probe, live, source};
use crate::support::{built, compile, declaration, shared};
use std::process::Command;
use vdsokit_build::{Architecture, CrateError, Declaration, build_crate};

/// `compile` with what `-m32` needs.
fn compile32(directory: &std::path::Path, source: &str, flags: &[&str]) -> Command {
    let flags = [&["-m32", "-Wl,-rpath,$ORIGIN"], flags].concat();
    Command::new(compile("cc", directory, source, &flags))
}

fn run(by: By, library: &str) {
    let declaration = declaration("every-type.toml");
    let (directory, image) = built(&declaration, Architecture::I386);
    let program = compile32(directory.path(), &source(&declaration, by), &[library]);
    live(&declaration, &image, Probe::start(program));
}

#[test]
fn linked_with_l() {
    run(By::Linking, "-levery-type");
}

#[test]
fn opened_with_dlopen_and_looked_up_with_its_version() {
    run(By::Dlopen, "-ldl");
}

/// Programs that were compiled with the header had records of another layout, into which the
/// function wrote more bytes than they have.
#[test]
fn records_have_the_layout_of_the_pages() {
    let mut text = String::from("[vdso]\nsoname = \"libmixed.so\"\nversion = \"MIXED_1\"\n");
    for (name, ty) in [
        ("a", "u32"),
        ("b", "u64"),
        ("c", "u8"),
        ("d", "f64[2]"),
        ("e", "i64"),
        ("f", "u16"),
    ] {
        text += &format!("[var.mixed.fields.{name}]\ntype = \"{ty}\"\n");
    }
    let declaration = Declaration::parse("mixed.toml", &text).unwrap();
    let (directory, image) = built(&declaration, Architecture::I386);
    let source = r#"
        #include <stdio.h>
        #include <string.h>
        #include "mixed.h"
        int main(void) {
            struct { struct mixed_mixed value; unsigned char behind[64]; } out;
            memset(&out, 0xee, sizeof out);
            mixed_mixed(&out.value);
            for (int i = 0; i < 64; i++) if (out.behind[i] != 0xee) return 1;
            printf("%u %llu %u %g %lld %u\n", out.value.a, (unsigned long long) out.value.b,
                out.value.c, out.value.d[1], (long long) out.value.e, out.value.f);
            return 0;
        }
    "#;
    let mut program = compile32(directory.path(), source, &["-lmixed"]);
    let size = declaration.variables()[0].init.len();
    let pages = shared::pages(&image);
    let words = [1, 1 << 40, 3, 0, 2.5f64.to_bits(), -5i64 as u64, 6];
    assert_eq!(size, words.len() * 8);
    let mut latch = pages.latch(64, size).unwrap();
    latch.write(|copy| (0..words.len()).for_each(|word| copy.set_word(word, words[word])));
    let output = program.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("1 {} 3 2.5 -5 6\n", 1u64 << 40));
}

/// Eight bytes in two loads of four are of two values, where a writer comes between.
#[test]
fn a_number_of_8_bytes_is_never_seen_half_written() {
    let text = "[vdso]\nsoname = \"libtorn.so\"\nversion = \"TORN_1\"\n\
        [var.number]\ntype = \"u64\"\n[var.long]\ntype = \"u64[100]\"\n";
    let declaration = Declaration::parse("torn.toml", text).unwrap();
    let (directory, image) = built(&declaration, Architecture::I386);
    let source = r#"
        #include "torn.h"
        int main(void) {
            uint64_t words[100], last = 0;
            for (unsigned changes = 0; changes < 20000;) {
                uint64_t number = torn_number();
                if (number >> 32 != (number & 0xffffffff)) return 1;
                torn_long(words);
                for (int i = 1; i < 100; i++) if (words[i] != words[0]) return 2;
                changes += number != last;
                last = number;
            }
            return 0;
        }
    "#;
    let mut program = compile32(directory.path(), source, &["-ltorn"]);
    let mut reader = program.spawn().unwrap();
    let pages = shared::pages(&image);
    let number = pages.pages().scalar::<u64>(64).unwrap();
    let mut long = pages.latch(128, 800).unwrap();
    let mut value = 0u32;
    let status = loop {
        for _ in 0..1000 {
            value = value.wrapping_add(1);
            let both = u64::from(value) << 32 | u64::from(value);
            vdsokit_vvar::scalar::Scalar::store(number, both);
            long.write(|copy| (0..100).for_each(|word| copy.set_word(word, both)));
        }
        if let Some(status) = reader.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success(), "{status}");
}

#[test]
fn a_crate_is_refused() {
    let error = build_crate(std::path::Path::new("/nowhere"), Architecture::I386).unwrap_err();
    assert!(
        matches!(error, CrateError::DeclarationsOnly { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("i386"), "{error}");
}
