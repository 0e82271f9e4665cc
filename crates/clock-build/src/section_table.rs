//! The table of sections in the finished file.

use vdsokit_elf::{Class, Image};

/// Moves the table of sections, with their names, from behind the vvar pages to the end of the
/// text, where debuggers find it in memory too; or leaves it out, where that would take a page
/// more, or the image is a 32-bit one, which debuggers don't look for. The vvar pages stay the last
/// bytes of the file.
pub(crate) fn moved(mut bytes: Vec<u8>) -> Vec<u8> {
    // The size of a section's header, and of fields in it (ELF-64 Object File Format).
    const HEADER: usize = 64;
    const OFFSET: usize = 24;
    const SIZE: usize = 32;
    let word = |bytes: &[u8], at: usize| {
        let word = bytes[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(word) as usize
    };
    let (text, end, class) = {
        let image = Image::parse(&bytes).expect("an ELF file");
        let mut loads = image.segments().filter(|segment| segment.is_load());
        let text = loads.next().expect("a text segment");
        let pages = loads.next().expect("the vvar pages");
        let free = text.offset + text.filesz..pages.offset;
        let end = (pages.offset + pages.filesz) as usize;
        (free, end, image.header().class)
    };
    if class == Class::Elf32 {
        bytes.truncate(end);
        // e_shoff, e_shnum and e_shstrndx of a 32-bit header.
        for field in [0x20..0x24, 0x30..0x34] {
            bytes[field].fill(0);
        }
        return bytes;
    }
    let count = usize::from(u16::from_le_bytes([bytes[0x3c], bytes[0x3d]]));
    let names = usize::from(u16::from_le_bytes([bytes[0x3e], bytes[0x3f]]));
    let start = word(&bytes, 0x28);
    let mut table = bytes[start..start + count * HEADER].to_vec();
    let strings = names * HEADER;
    let (from, length) = (word(&table, strings + OFFSET), word(&table, strings + SIZE));
    let strings_at = (text.start as usize + 7) & !7;
    let table_at = (strings_at + length + 7) & !7;
    let table_end = table_at + table.len();
    if table_end > text.end as usize {
        bytes.truncate(end);
        // e_shoff, e_shnum and e_shstrndx of a 64-bit header.
        for field in [0x28..0x30, 0x3c..0x40] {
            bytes[field].fill(0);
        }
        return bytes;
    }
    let at = strings + OFFSET;
    table[at..at + 8].copy_from_slice(&(strings_at as u64).to_le_bytes());
    bytes.copy_within(from..from + length, strings_at);
    bytes.truncate(end);
    bytes[table_at..table_end].copy_from_slice(&table);
    bytes[0x28..0x30].copy_from_slice(&(table_at as u64).to_le_bytes());
    // p_filesz and p_memsz of the first program header, the text's.
    let first = word(&bytes, 0x20);
    for field in [first + 32, first + 40] {
        bytes[field..field + 8].copy_from_slice(&(table_end as u64).to_le_bytes());
    }
    bytes
}
