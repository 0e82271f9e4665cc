//! Calls every reading function on bytes. The fuzz targets and the property tests share it.
#![allow(dead_code, reason = "each user needs a part")]

use vdsokit_elf::check::{self, Profile};
use vdsokit_elf::constants::*;
use vdsokit_elf::{Image, compare, core_dump};

/// Reads everything of an image in a file. Returns a count, so that nothing is optimised away.
pub(crate) fn exercise(bytes: &[u8]) -> usize {
    Image::parse(bytes).map_or(0, |image| ask(&image))
}

/// The same of an image in memory.
pub(crate) fn exercise_memory(bytes: &[u8], address: u64) -> usize {
    Image::parse_memory(bytes, address).map_or(0, |image| ask(&image))
}

/// What a caller does with an image, in both forms: parses it, looks functions up, and reads its
/// names and versions. It is cheap, so that a fuzzer runs it often.
pub(crate) fn exercise_lookup(bytes: &[u8], address: u64) -> usize {
    let in_file = Image::parse(bytes).map_or(0, |image| look_up(&image));
    in_file + Image::parse_memory(bytes, address).map_or(0, |image| look_up(&image))
}

fn look_up(image: &Image<'_>) -> usize {
    let by_version = [
        ("test_one", "TEST_1.0"),
        ("test_three", "TEST_2.0"),
        ("missing", "TEST_1.0"),
        ("__vdso_clock_gettime", "LINUX_2.6"),
    ];
    let mut found = 0;
    for (name, version) in by_version {
        let symbol = image.lookup_version(name, version);
        found += symbol.map_or(0, |symbol| image.address_of(&symbol) as usize & 1 | 2);
    }
    for name in ["test_old", "two", ""] {
        found += usize::from(image.lookup(name).is_some());
    }
    let in_file = image.lookup_in_file("test_two", "TEST_1.0", "libtest.so.1");
    found += usize::from(in_file.is_some());
    for symbol in image.symbols().take(8) {
        found += symbol.name().as_bytes().len() + usize::from(symbol.is_export());
        found += usize::from(image.descriptor(&symbol).is_some());
    }
    found + image.soname().map_or(0, |soname| soname.as_bytes().len())
}

/// The same of the image in a core dump.
pub(crate) fn exercise_core_lookup(bytes: &[u8]) -> usize {
    core_dump::vdso(bytes).map_or(0, |vdso| {
        Image::parse_memory(vdso.bytes, vdso.address).map_or(1, |image| look_up(&image))
    })
}

/// Reads everything of the image in a core dump.
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

/// The address of the vDSO in the process of [`core_of`].
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
