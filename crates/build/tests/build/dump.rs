//! A built image, read back with a parser that is not ours: what is where. Types, flags
//! and tags are numbers, as the ELF specification has them.

use crate::support::declaration;
use object::Endianness;
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader, SectionHeader};
use object::read::{Object, ObjectSymbol};
use std::fmt::Write;
use vdsokit_build::{Architecture, header, image, pkg_config};

/// Segments, sections, dynamic section, versions and symbols of `bytes`, in words.
fn dump(bytes: &[u8]) -> String {
    let file = ElfFile64::<Endianness>::parse(bytes).unwrap();
    let endian = file.endian();
    let header = file.elf_header();
    let mut text = String::new();
    let out = &mut text;
    writeln!(
        out,
        "type {}, machine {}, {} bytes",
        header.e_type(endian).0,
        header.e_machine(endian).0,
        bytes.len()
    )
    .unwrap();
    for segment in header.program_headers(endian, bytes).unwrap() {
        writeln!(
            out,
            "segment {:#x} flags {:#x} offset {:#x} address {:#x} size {:#x} {:#x} align {:#x}",
            segment.p_type(endian).0,
            segment.p_flags(endian).0,
            segment.p_offset(endian),
            segment.p_vaddr(endian),
            segment.p_filesz(endian),
            segment.p_memsz(endian),
            segment.p_align(endian),
        )
        .unwrap();
    }
    let sections = header.sections(endian, bytes).unwrap();
    for section in sections.iter().skip(1) {
        writeln!(
            out,
            "section {} {:#x} flags {:#x} address {:#x} size {:#x} link {} info {}",
            String::from_utf8_lossy(sections.section_name(endian, section).unwrap()),
            section.sh_type(endian).0,
            section.sh_flags(endian).0,
            section.sh_addr(endian),
            section.sh_size(endian),
            section.sh_link(endian),
            section.sh_info(endian),
        )
        .unwrap();
    }
    let (entries, _) = sections.dynamic(endian, bytes).unwrap().unwrap();
    for entry in entries {
        writeln!(
            out,
            "dynamic {:#x} {:#x}",
            entry.d_tag(endian).0,
            entry.d_val(endian)
        )
        .unwrap();
    }
    let versions = sections.versions(endian, bytes).unwrap().unwrap();
    let mut symbols: Vec<_> = file.dynamic_symbols().collect();
    symbols.sort_by_key(|symbol| symbol.address());
    for symbol in symbols {
        let index = versions.version_index(endian, symbol.index());
        let version = versions.version(index.index()).unwrap().unwrap();
        writeln!(
            out,
            "{}@@{} {:?} {:#x} {}",
            symbol.name().unwrap(),
            String::from_utf8_lossy(version.name()),
            symbol.kind(),
            symbol.address(),
            symbol.size(),
        )
        .unwrap();
    }
    text
}

#[test]
fn an_image_for_x86_64() {
    let declaration = declaration("every-type.toml");
    let bytes = image(&declaration, Architecture::X86_64).unwrap();
    insta::assert_snapshot!(dump(&bytes));
}

#[test]
fn an_image_for_aarch64() {
    let declaration = declaration("every-type.toml");
    let bytes = image(&declaration, Architecture::Aarch64).unwrap();
    insta::assert_snapshot!(dump(&bytes));
}

#[test]
fn the_header() {
    insta::assert_snapshot!(header(&declaration("every-type.toml")));
}

#[test]
fn the_pkg_config_file() {
    insta::assert_snapshot!(pkg_config(&declaration("every-type.toml")));
}
