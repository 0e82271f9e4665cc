//! The directory of an image's variables after edits: each entry, its fields, and look-ups. Of inputs
//! whose first byte is odd, offsets and hashes are made right again, so that what they hide is reached.
#![no_main]

#[path = "../edits.rs"]
mod edits;

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_elf::Image;
use vdsokit_vvar::directory::Directory;
use vdsokit_vvar::{NOTE_DIRECTORY, NOTE_NAME};

const DECLARATION: &str = include_str!("../corpus/declaration/seed-weather");

static NOTE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let declaration = Declaration::parse("seed.toml", DECLARATION).expect("a declaration");
    let bytes = image(&declaration, Architecture::X86_64).expect("an image");
    let image = Image::parse(&bytes).expect("an image");
    let note = image
        .notes()
        .find(|note| note.kind == NOTE_DIRECTORY && note.name == *NOTE_NAME)
        .expect("a directory");
    note.desc.to_vec()
});

fuzz_target!(|bytes: &[u8]| {
    let (is_mended, edits) = match bytes.split_first() {
        Some((first, edits)) => (first & 1 == 1, edits),
        None => (false, bytes),
    };
    let mut note = NOTE.clone();
    edits::apply(&mut note, edits);
    if is_mended {
        Directory::mend(&mut note);
    }
    let Ok(directory) = Directory::parse(&note) else {
        return;
    };
    for (index, entry) in directory.iter().enumerate() {
        // What a checked directory promises to those who map its pages.
        assert!(entry.offset + entry.size() <= directory.used());
        assert!(directory.find(entry.name).is_some());
        assert!(directory.layout_after(index).is_some());
        let _ = directory.get(index);
    }
    assert_eq!(directory.shared_with(&directory), directory.len());
    let _ = directory.prefix();
});
