//! Images of 1 MiB made to cost a reader as much as they can: 32 bits, where tables hold the most
//! entries for their bytes.

use super::Recipe;
use vdsokit_elf::constants::*;
use vdsokit_elf::{Class, Image, gnu_hash};

/// Bytes of each image.
pub(crate) const LENGTH: usize = 1 << 20;

/// What to look up: the name is there as often as fits, each time in another version.
pub(crate) const NAME: &str = "test_one";
/// A version that the images define and no symbol has.
pub(crate) const VERSION: &str = "TEST_2.0";

const SYMBOL: usize = 16;
const ENTRY: usize = 8;

/// What each is called, and its bytes.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("one GNU chain of all symbols", gnu_chain()),
        ("one SysV chain in a circle", sysv_circle()),
        ("no hash table", no_table()),
        ("a dynamic section of tables", dynamic_section()),
        ("as many segments as are read", segments()),
    ]
}

struct Hostile {
    bytes: Vec<u8>,
    vaddr: u64,
    dynamic: usize,
}

impl Hostile {
    /// The recipe's image, its one segment grown to 1 MiB of zeroes.
    fn new(gnu_hash: bool, sysv_hash: bool) -> Self {
        let recipe = Recipe {
            class: Class::Elf32,
            machine: EM_386,
            vvar: false,
            strsz: false,
            gnu_hash,
            sysv_hash: sysv_hash.then_some(4),
            ..Recipe::default()
        };
        let mut bytes = recipe.build();
        let dynamic = {
            let image = Image::parse(&bytes).expect("an image");
            let dynamic = image.segments().find(|segment| segment.kind == PT_DYNAMIC);
            dynamic.expect("a dynamic section").offset as usize
        };
        bytes.resize(LENGTH, 0);
        let mut hostile = Self {
            bytes,
            vaddr: recipe.vaddr,
            dynamic,
        };
        // p_filesz and p_memsz of the first program header, which follows the ELF header.
        for at in [52 + 16, 52 + 20] {
            hostile.put(at, LENGTH as u32);
        }
        hostile
    }

    fn put(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().expect("4 bytes"))
    }

    /// Where the value of a dynamic entry is.
    fn entry(&self, tag: u64) -> usize {
        let mut at = self.dynamic;
        while u64::from(self.word(at)) != tag {
            at += ENTRY;
        }
        at + 4
    }

    /// Moves a table to the offset `to`.
    fn move_table(&mut self, tag: u64, to: usize) {
        let at = self.entry(tag);
        self.put(at, (self.vaddr + to as u64) as u32);
    }

    /// Writes `count` symbols, all of them NAME, to the offset `symbols` and their versions to
    /// `versions`, and moves the tables there.
    fn fill_symbols(&mut self, versions: usize, symbols: usize, count: usize) {
        let table = (self.word(self.entry(DT_SYMTAB)) as u64 - self.vaddr) as usize;
        let (strings, name) = (
            (self.word(self.entry(DT_STRTAB)) as u64 - self.vaddr) as usize,
            NAME.as_bytes(),
        );
        let is_name = |at: &usize| {
            let from = strings + self.word(*at) as usize;
            self.bytes[from..].starts_with(name) && self.bytes[from + name.len()] == 0
        };
        let original = (table..).step_by(SYMBOL).find(is_name).expect("the symbol");
        let symbol: Vec<u8> = self.bytes[original..original + SYMBOL].to_vec();
        for index in 0..count {
            let at = symbols + SYMBOL * index;
            self.bytes[at..at + SYMBOL].copy_from_slice(&symbol);
            // The recipe's first version.
            self.bytes[versions + 2 * index..][..2].copy_from_slice(&2u16.to_le_bytes());
        }
        self.move_table(DT_VERSYM, versions);
        self.move_table(DT_SYMTAB, symbols);
    }

    fn end(&self) -> usize {
        self.bytes[..]
            .iter()
            .rposition(|&byte| byte != 0)
            .expect("an image")
            .next_multiple_of(64)
    }
}

fn gnu_chain() -> Vec<u8> {
    let mut hostile = Hostile::new(true, false);
    let table = hostile.end();
    let count = (LENGTH - table - 32) / (4 + 2 + SYMBOL) - 1;
    // Buckets, first symbol, words in the filter, its shift; no filter; the one bucket.
    for (index, value) in [1, 1, 0, 0, 1].into_iter().enumerate() {
        hostile.put(table + 4 * index, value);
    }
    let chain = table + 20;
    for index in 0..count {
        hostile.put(chain + 4 * index, gnu_hash(NAME.as_bytes()) & !1);
    }
    let versions = chain + 4 * count;
    hostile.move_table(DT_GNU_HASH, table);
    hostile.fill_symbols(versions, (versions + 2 * count).next_multiple_of(4), count);
    hostile.bytes
}

fn sysv_circle() -> Vec<u8> {
    let mut hostile = Hostile::new(false, true);
    let table = hostile.end();
    let count = (LENGTH - table - 32) / (4 + 2 + SYMBOL) - 1;
    for (index, value) in [1, count as u32, 1].into_iter().enumerate() {
        hostile.put(table + 4 * index, value);
    }
    // A stride without a common divisor visits all, each on another cache line.
    let chain = table + 12;
    for index in 0..count {
        let next = (index + 7919) % count;
        hostile.put(chain + 4 * index, next.max(1) as u32);
    }
    let versions = chain + 4 * count;
    hostile.move_table(DT_HASH, table);
    hostile.fill_symbols(versions, (versions + 2 * count).next_multiple_of(4), count);
    hostile.bytes
}

fn no_table() -> Vec<u8> {
    let mut hostile = Hostile::new(false, false);
    let versions = hostile.end();
    let count = (LENGTH - versions - 32) / (2 + SYMBOL) - 1;
    hostile.fill_symbols(versions, (versions + 2 * count).next_multiple_of(4), count);
    hostile.bytes
}

fn dynamic_section() -> Vec<u8> {
    let mut hostile = Hostile::new(true, false);
    let start = hostile.end();
    let strings = hostile.word(hostile.entry(DT_STRTAB));
    let entries: Vec<u8> = hostile.bytes[hostile.dynamic..start].to_vec();
    // The dynamic section's program header is the second; it now goes on to the end.
    let header = 52 + 32;
    for (field, value) in [
        (4, start as u32),
        (8, (hostile.vaddr + start as u64) as u32),
        (16, (LENGTH - start) as u32),
        (20, (LENGTH - start) as u32),
    ] {
        hostile.put(header + field, value);
    }
    for at in (start..LENGTH).step_by(ENTRY) {
        hostile.put(at, DT_STRTAB as u32);
        hostile.put(at + 4, strings);
    }
    let end = entries.chunks(ENTRY).position(|entry| entry[..4] == [0; 4]);
    let length = ENTRY * end.expect("DT_NULL");
    hostile.bytes[start..start + length].copy_from_slice(&entries[..length]);
    hostile.bytes
}

/// The last of all segments holds the tables; each search of an address passes all others.
fn segments() -> Vec<u8> {
    let bytes = gnu_chain();
    let mut hostile = Hostile {
        bytes,
        vaddr: Recipe::default().vaddr,
        dynamic: 0,
    };
    // The headers go where the last symbols were.
    let count = 4096 / 32;
    let table = LENGTH - 4096;
    let load: Vec<u8> = hostile.bytes[52..52 + 32].to_vec();
    let dynamic: Vec<u8> = hostile.bytes[84..84 + 32].to_vec();
    for index in 0..count {
        let at = table + 32 * index;
        hostile.bytes[at..at + 32].copy_from_slice(match index {
            0 => &dynamic,
            _ => &load,
        });
        if index != 0 && index != count - 1 {
            // Nothing in the file, and the address is another.
            hostile.put(at + 8, 0x4000_0000);
            hostile.put(at + 16, 0);
        }
    }
    hostile.put(28, table as u32);
    hostile.bytes[44..46].copy_from_slice(&(count as u16).to_le_bytes());
    hostile.bytes
}
