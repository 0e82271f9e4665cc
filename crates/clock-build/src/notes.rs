//! What the image contains beside code: the notes, and the header of its page.

use std::fmt::Write;

use vdsokit_random::page::{SIZE, VARIABLES};
use vdsokit_vvar::header::Header;
use vdsokit_vvar::layout::{Cursor, Hash};
use vdsokit_vvar::{NOTE_DIRECTORY, NOTE_LINKS, NOTE_NAME, directory};

use crate::interface::Interface;

/// The notes, as data of a linker script: the directory of variables, and the links.
pub(crate) fn notes(interface: &Interface) -> String {
    let length = directory::encoded_len("", &VARIABLES).expect("the clock's variables");
    let mut directory = vec![0; length];
    directory::encode("", &VARIABLES, &mut directory).expect("as long as was said");
    let mut notes = note(NOTE_DIRECTORY, directory.len());
    notes += &bytes(&directory);
    notes += ". = ALIGN(4);\n";
    let links = interface.links();
    let texts = links.iter().map(|(name, version)| {
        let mut text = format!("{name}\0{version}\0").into_bytes();
        text.resize(text.len().next_multiple_of(8), 0);
        text
    });
    let texts: Vec<_> = texts.collect();
    let length = 8 + texts.iter().map(|text| 8 + text.len()).sum::<usize>();
    notes += &note(NOTE_LINKS, length);
    notes += &format!("LONG({}) LONG(0)\n", links.len());
    for ((name, _), text) in links.iter().zip(&texts) {
        notes += &format!("QUAD(\"vdsokit_link.{name}\")\n{}", bytes(text));
    }
    notes
}

/// The head of a note (elf(5), `Elf64_Nhdr`) and its name.
fn note(kind: u32, length: usize) -> String {
    let name = format!("{NOTE_NAME}\0").into_bytes();
    let head = format!("LONG({}) LONG({length}) LONG({kind})\n", name.len());
    head + &bytes(&name)
}

/// Bytes, as data of a linker script.
fn bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "BYTE({byte}) ").expect("a string takes everything");
    }
    text + "\n"
}

/// The header of the page, before it is published.
pub(crate) fn header() -> Header {
    let mut cursor = Cursor::PAGES;
    let hash = VARIABLES.iter().fold(Hash::EMPTY, |hash, variable| {
        let offset = cursor.variable(&variable.shape);
        hash.variable(variable.name, &variable.shape, offset)
    });
    assert_eq!(cursor.end(), SIZE);
    Header::new(hash.get(), VARIABLES.len() as u32, SIZE as u32)
}
