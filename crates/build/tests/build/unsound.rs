//! Images that were damaged after they were built: the check that every image passes on its way
//! out finds each kind of damage.

use crate::support::declaration;
use std::process::Command;
use vdsokit_build::{Architecture, Declaration, Unsound, image, not_interposing, verify};
use vdsokit_elf::Image;

fn weather() -> Vec<u8> {
    image(&declaration("weather.toml"), Architecture::X86_64).unwrap()
}

/// The image after `old` became `new`, wherever it stands.
fn changed(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut bytes = weather();
    assert_eq!(old.len(), new.len());
    let places: Vec<usize> = (0..bytes.len() - old.len())
        .filter(|at| bytes[*at..].starts_with(old))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

#[test]
fn a_whole_image_passes() {
    verify(&weather()).unwrap();
}

#[test]
fn what_is_no_elf_file_cannot_be_parsed() {
    for bytes in [&[][..], b"#!/bin/sh\n", &weather()[..100]] {
        assert!(matches!(verify(bytes), Err(Unsound::Parse(_))));
    }
}

#[test]
fn a_writable_text_segment_breaks_a_rule() {
    let mut bytes = weather();
    bytes[64 + 4] |= 2; // p_flags of the first segment: PF_W
    let Err(Unsound::Shape(findings)) = verify(&bytes) else {
        panic!("it passed");
    };
    assert!(!findings.is_empty());
}

#[test]
fn an_image_without_its_note_has_no_directory() {
    let bytes = changed(b"vdsokit\0", b"others!\0");
    assert!(matches!(verify(&bytes), Err(Unsound::NoDirectory)));
}

#[test]
fn a_directory_of_another_format_is_refused() {
    let mut bytes = weather();
    let name = bytes.windows(8).position(|window| window == b"vdsokit\0");
    bytes[name.unwrap() + 8] = 9;
    assert!(matches!(verify(&bytes), Err(Unsound::Directory(_))));
}

/// A loader passes over a function of the C library's in a version of the image's own.
#[test]
fn functions_that_no_program_calls_in_place_of_the_c_librarys_are_named() {
    let named = |prefix: &str, name: &str| {
        let text = format!(
            "[vdso]\nsoname = \"libnames.so\"\nversion = \"NAMES_1\"\nprefix = \"{prefix}\"\n\
             [var.{name}]\ntype = \"u32\"\n"
        );
        let declaration = Declaration::parse("names.toml", &text).unwrap();
        let bytes = image(&declaration, Architecture::X86_64).unwrap();
        not_interposing(&Image::parse(&bytes).unwrap())
    };
    assert_eq!(named("get", "ppid"), ["getppid"]);
    assert!(named("get", "weather").is_empty());
}

/// A note's name ends in a NUL, which its size counts (gABI, "Note Section").
#[test]
fn notes_are_those_that_readelf_reads() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("libweather.so.1");
    std::fs::write(&file, weather()).unwrap();
    let output = Command::new("readelf")
        .args(["--notes", "--wide"])
        .arg(&file)
        .output();
    let printed = String::from_utf8(output.unwrap().stdout).unwrap();
    let id = Image::parse(&weather())
        .unwrap()
        .build_id()
        .unwrap()
        .to_vec();
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(printed.contains(&format!("Build ID: {id}")), "{printed}");
    let bytes = weather();
    for owner in [&b"GNU\0"[..], b"vdsokit\0"] {
        let mut name = bytes.windows(owner.len());
        let at = name.position(|window| window == owner).unwrap();
        assert_eq!(bytes[at - 12..at - 8], (owner.len() as u32).to_le_bytes());
    }
}

#[test]
fn a_note_whose_size_leaves_out_the_nul_breaks_a_rule() {
    let mut one = weather();
    let name = one.windows(8).position(|window| window == b"vdsokit\0");
    one[name.unwrap() - 12] = 7;
    let Err(Unsound::Shape(findings)) = verify(&one) else {
        panic!("it passed");
    };
    assert!(findings.iter().any(|finding| finding.rule.name() == "note"));
}

/// A doc of exactly the most bytes that a directory takes, beside empty ones.
#[test]
fn the_longest_text_is_kept_and_an_empty_one_stays_empty() {
    let most = vdsokit_vvar::directory::MAX_STRING;
    let text = |bytes: usize| {
        format!(
            "[vdso]\nsoname = \"liblong.so\"\nversion = \"LONG_1\"\n\
             [var.a]\ntype = \"u8\"\n[var.b]\ntype = \"u8\"\ndoc = \"{}\"\n",
            "x".repeat(bytes)
        )
    };
    let declaration = Declaration::parse("long.toml", &text(most)).unwrap();
    let bytes = image(&declaration, Architecture::X86_64).unwrap();
    let parsed = Image::parse(&bytes).unwrap();
    let directory = vdsokit_build::directory(&parsed).unwrap();
    let entries: Vec<_> = directory.iter().collect();
    assert_eq!((entries[0].doc, entries[0].unit), ("", ""));
    assert_eq!((entries[1].doc.len(), entries[1].unit), (most, ""));
    assert!(Declaration::parse("long.toml", &text(most + 1)).is_err());
}

/// The bytes by which every reader of every version finds a variable.
#[test]
fn the_directorys_bytes_are_pinned() {
    let note = declaration("weather.toml").directory().unwrap();
    let lines: Vec<String> = note
        .chunks(16)
        .map(|chunk| chunk.iter().map(|byte| format!("{byte:02x} ")).collect())
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
