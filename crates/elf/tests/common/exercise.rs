//! Everything that can be asked of bytes. The fuzz targets and the property tests share it.
#![allow(dead_code, reason = "each user needs a part")]

use vdsokit_elf::check::{self, Profile};
use vdsokit_elf::constants::*;
use vdsokit_elf::{Image, compare, core_dump, gnu_hash};

/// Asks everything of an image in a file; yields how much was seen, so that nothing is optimised
/// away.
pub(crate) fn exercise(bytes: &[u8]) -> usize {
    Image::parse(bytes).map_or(0, |image| ask(&image))
}

/// The same of an image in memory.
pub(crate) fn exercise_memory(bytes: &[u8], address: u64) -> usize {
    Image::parse_memory(bytes, address).map_or(0, |image| ask(&image))
}

/// The same of the image in a core dump.
pub(crate) fn exercise_core(bytes: &[u8]) -> usize {
    core_dump::vdso(bytes).map_or(0, |vdso| exercise_memory(vdso.bytes, vdso.address))
}

/// Walks the notes of an image.
pub(crate) fn exercise_notes(bytes: &[u8]) -> usize {
    let Ok(image) = Image::parse(bytes) else {
        return 0;
    };
    image
        .notes()
        .map(|note| note.name.as_bytes().len() + note.desc.len())
        .sum::<usize>()
        + image.build_id().map_or(0, <[u8]>::len)
}

fn ask(image: &Image<'_>) -> usize {
    let mut seen = exercise_notes(image.bytes());
    for symbol in image.symbols() {
        seen += symbol.name().as_bytes().len();
        std::hint::black_box(image.address_of(&symbol));
    }
    // Each walks the segments.
    for symbol in image.symbols().take(64) {
        seen += usize::from(image.descriptor(&symbol).is_some());
    }
    for version in image.versions() {
        seen += version.name().as_bytes().len();
    }
    for section in image.sections() {
        seen +=
            image.section_bytes(&section).map_or(0, <[u8]>::len) + section.name().as_bytes().len();
    }
    for name in ["test_one", "__vdso_clock_gettime", "", "missing"] {
        for version in ["TEST_1.0", "LINUX_2.6", ""] {
            seen += usize::from(image.lookup_version(name, version).is_some());
            seen += usize::from(
                image
                    .lookup_in_file(name, version, "libtest.so.1")
                    .is_some(),
            );
        }
        seen += usize::from(image.lookup(name).is_some());
    }
    for entry in image.dynamic() {
        seen += image.bytes_at(entry.value).map_or(0, <[u8]>::len);
    }
    seen += image.soname().map_or(0, |soname| soname.to_string().len());
    for profile in [Profile::Own, Profile::Foreign] {
        seen += check::check(image, profile).len();
    }
    seen + compare::compare(image, image).len()
}

/// Where the process of [`core_of`] had its vDSO.
pub(crate) const CORE_ADDRESS: u64 = 0x7fff_0000;

/// A core dump, 64 bits and little endian, of a process with this image as its vDSO.
pub(crate) fn core_of(image: &[u8]) -> Vec<u8> {
    let note_at = 64 + 2 * 56u64;
    let auxv: Vec<u8> = [6, 4096, AT_SYSINFO_EHDR, CORE_ADDRESS, 0, 0]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect();
    let note_size = 12 + 8 + auxv.len() as u64;
    let image_at = note_at + note_size;

    let mut core = b"\x7fELF\x02\x01\x01".to_vec();
    core.resize(16, 0);
    core.extend(ET_CORE.to_le_bytes());
    core.extend(EM_X86_64.to_le_bytes());
    core.extend(1u32.to_le_bytes());
    core.extend([0, 64, 0].map(u64::to_le_bytes).concat());
    core.extend(0u32.to_le_bytes());
    core.extend([64u16, 56, 2, 64, 0, 0].map(u16::to_le_bytes).concat());
    let length = image.len() as u64;
    for (kind, offset, vaddr, size) in [
        (PT_NOTE, note_at, 0, note_size),
        (PT_LOAD, image_at, CORE_ADDRESS, length),
    ] {
        core.extend([kind, PF_R].map(u32::to_le_bytes).concat());
        core.extend(
            [offset, vaddr, 0, size, size, 4]
                .map(u64::to_le_bytes)
                .concat(),
        );
    }
    core.extend(
        [5, auxv.len() as u32, NT_AUXV]
            .map(u32::to_le_bytes)
            .concat(),
    );
    core.extend(b"CORE\0\0\0\0");
    core.extend(auxv);
    core.extend(image);
    core
}

/// The image (64 bits, little endian) followed by zeroes up to 1 MiB, its GNU hash table replaced
/// by one at its end that has a single chain without end, of symbols with the hash of `missing`.
pub(crate) fn mebibyte_of_chain(image: &[u8]) -> Vec<u8> {
    let mut bytes = image.to_vec();
    let table = bytes.len().next_multiple_of(8);
    bytes.resize(1 << 20, 0);
    // Buckets, first symbol, words in the filter, its shift; no filter; the one bucket.
    let head = [1u32, 1, 0, 0, 1].map(u32::to_le_bytes).concat();
    bytes[table..table + head.len()].copy_from_slice(&head);
    for entry in bytes[table + head.len()..].as_chunks_mut::<4>().0 {
        *entry = (gnu_hash(b"missing") & !1).to_le_bytes();
    }
    let (vaddr, dynamic) = {
        let parsed = Image::parse(image).expect("an image");
        let vaddr = parsed.segments().next().expect("a segment").vaddr;
        let dynamic = parsed.segments().find(|segment| segment.kind == PT_DYNAMIC);
        (vaddr, dynamic.expect("a dynamic section").offset as usize)
    };
    let entries = bytes[dynamic..].as_chunks_mut::<16>().0;
    let entry = entries
        .iter_mut()
        .find(|entry| entry[..8] == DT_GNU_HASH.to_le_bytes());
    entry.expect("a GNU hash table")[8..].copy_from_slice(&(vaddr + table as u64).to_le_bytes());
    bytes
}
