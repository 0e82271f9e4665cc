//! Core dumps of every class and byte order, with the parts that Linux writes (fs/binfmt_elf.c).

use vdsokit_elf::constants::*;
use vdsokit_elf::core_dump::{self, CoreError};
use vdsokit_elf::{Class, Order, ParseError};

const ADDRESS: u64 = 0x7f00_1000;
const IMAGE: &[u8] = b"the image";
/// An entry of an auxiliary vector that is not looked for (AT_PAGESZ).
const PAGE_SIZE: (u64, u64) = (6, 4096);

/// A segment: kind, address, size in memory, alignment, and the bytes in the file.
type Part = (u32, u64, u64, u64, Vec<u8>);

#[derive(Clone)]
struct Dump {
    class: Class,
    order: Order,
    parts: Vec<Part>,
    /// Whether the number of segments is in section header 0.
    is_extended: bool,
}

impl Dump {
    fn new(class: Class, order: Order) -> Self {
        Self {
            class,
            order,
            parts: vec![],
            is_extended: false,
        }
    }

    fn number(&self, value: u64, bytes: usize) -> Vec<u8> {
        match self.order {
            Order::Little => value.to_le_bytes()[..bytes].to_vec(),
            Order::Big => value.to_be_bytes()[8 - bytes..].to_vec(),
        }
    }

    fn numbers(&self, bytes: usize, values: &[u64]) -> Vec<u8> {
        let numbers = values.iter().map(|value| self.number(*value, bytes));
        numbers.collect::<Vec<_>>().concat()
    }

    /// A note, padded to `align`.
    fn note(&self, name: &[u8], kind: u32, desc: &[u8], align: usize) -> Vec<u8> {
        let mut note = self.numbers(4, &[name.len() as u64, desc.len() as u64, kind.into()]);
        for part in [name, desc] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(align), 0);
        }
        note
    }

    /// An auxiliary vector with these entries, and the one that ends it.
    fn auxv(&self, entries: &[(u64, u64)]) -> Vec<u8> {
        let entries = entries.iter().chain([&(AT_NULL, 0)]);
        let words: Vec<u64> = entries.flat_map(|(tag, value)| [*tag, *value]).collect();
        self.numbers(self.class.word(), &words)
    }

    fn notes(mut self, notes: Vec<u8>, align: u64) -> Self {
        self.parts.push((PT_NOTE, 0, 0, align, notes));
        self
    }

    /// Notes with an auxiliary vector of these entries alone.
    fn vector(self, entries: &[(u64, u64)]) -> Self {
        let note = self.note(b"CORE\0", NT_AUXV, &self.auxv(entries), 4);
        self.notes(note, 4)
    }

    fn memory(mut self, address: u64, size: u64, bytes: &[u8]) -> Self {
        self.parts
            .push((PT_LOAD, address, size, 4096, bytes.to_vec()));
        self
    }

    fn build(&self) -> Vec<u8> {
        let is_64 = self.class == Class::Elf64;
        let word = self.class.word();
        let (header, entry, section) = if is_64 { (64, 56, 64) } else { (52, 32, 40) };
        let count = self.parts.len() as u64;
        let sections = header + entry * count;
        let (shoff, phnum) = match self.is_extended {
            true => (sections, 0xffff),
            false => (0, count),
        };
        let class = if is_64 { 2 } else { 1 };
        let order = if self.order == Order::Little { 1 } else { 2 };
        let mut bytes = vec![0x7f, b'E', b'L', b'F', class, order, 1];
        bytes.resize(16, 0);
        bytes.extend(self.numbers(2, &[ET_CORE.into(), 0]));
        bytes.extend(self.number(1, 4));
        bytes.extend(self.numbers(word, &[0, header, shoff]));
        bytes.extend(self.number(0, 4));
        bytes.extend(self.numbers(2, &[header, entry, phnum, section, 1, 0]));
        let mut offset = sections + section;
        for (kind, address, size, align, data) in &self.parts {
            let flags = u64::from(PF_R);
            let length = data.len() as u64;
            bytes.extend(self.number((*kind).into(), 4));
            if is_64 {
                bytes.extend(self.number(flags, 4));
            }
            bytes.extend(self.numbers(word, &[offset, *address, *address, length, *size]));
            if !is_64 {
                bytes.extend(self.number(flags, 4));
            }
            bytes.extend(self.number(*align, word));
            offset += length;
        }
        // Section header 0: name, type, four words, link, and the number in its info.
        bytes.extend(self.numbers(4, &[0, 0]));
        bytes.extend(self.numbers(word, &[0; 4]));
        bytes.extend(self.numbers(4, &[0, count]));
        bytes.extend(self.numbers(word, &[0; 2]));
        assert_eq!(bytes.len() as u64, sections + section);
        for (.., data) in &self.parts {
            bytes.extend(data);
        }
        bytes
    }
}

fn dumps() -> impl Iterator<Item = Dump> {
    let classes = [Class::Elf32, Class::Elf64].into_iter();
    classes.flat_map(|class| [Order::Little, Order::Big].map(|order| Dump::new(class, order)))
}

fn found(bytes: &[u8]) -> Result<(u64, &[u8]), CoreError> {
    core_dump::vdso(bytes).map(|vdso| (vdso.address, vdso.bytes))
}

#[test]
fn the_image_is_found_in_dumps_of_each_class_and_order() {
    for dump in dumps() {
        let dump = dump
            .memory(0x1000, 4096, b"program")
            .vector(&[PAGE_SIZE, (AT_SYSINFO_EHDR, ADDRESS)])
            .memory(ADDRESS, 8192, IMAGE)
            .memory(ADDRESS + 8192, 4096, b"stack");
        let mut extended = dump.clone();
        extended.is_extended = true;
        for dump in [dump, extended] {
            assert_eq!(found(&dump.build()), Ok((ADDRESS, IMAGE)));
        }
    }
}

/// A mapping may begin before the image.
#[test]
fn the_bytes_begin_at_the_address() {
    for dump in dumps() {
        let bytes = [b"0123", IMAGE].concat();
        let dump = dump
            .vector(&[(AT_SYSINFO_EHDR, ADDRESS + 4)])
            .memory(ADDRESS, 8192, &bytes);
        assert_eq!(found(&dump.build()), Ok((ADDRESS + 4, IMAGE)));
    }
}

#[test]
fn notes_before_the_vector_are_passed_by() {
    for dump in dumps() {
        for align in [4, 8] {
            let notes = [
                dump.note(b"CORE\0", 1, &[1; 7], align),
                dump.note(
                    b"LINUX\0",
                    NT_AUXV,
                    &dump.auxv(&[(AT_SYSINFO_EHDR, 0x1000)]),
                    align,
                ),
                dump.note(
                    b"CORE",
                    NT_AUXV,
                    &dump.auxv(&[(AT_SYSINFO_EHDR, 0x2000)]),
                    align,
                ),
                dump.note(b"", 9, b"", align),
                dump.note(b"CORE\0", NT_AUXV, &dump.auxv(&[PAGE_SIZE]), align),
                dump.note(
                    b"CORE\0",
                    NT_AUXV,
                    &dump.auxv(&[(AT_SYSINFO_EHDR, ADDRESS)]),
                    align,
                ),
            ];
            let dump = dump.clone().notes(dump.note(b"CORE\0", 1, b"x", 4), 4);
            let dump = dump.notes(notes.concat(), align as u64);
            let dump = dump.memory(ADDRESS, 4096, IMAGE);
            assert_eq!(found(&dump.build()), Ok((ADDRESS, IMAGE)), "{align}");
        }
    }
}

#[test]
fn a_dump_without_an_address_has_no_vdso() {
    for dump in dumps() {
        let vectors: [&[(u64, u64)]; 4] = [
            &[],
            &[PAGE_SIZE],
            &[(AT_SYSINFO_EHDR, 0)],
            &[(AT_NULL, 0), (AT_SYSINFO_EHDR, ADDRESS)],
        ];
        for vector in vectors {
            let dump = dump.clone().vector(vector).memory(ADDRESS, 4096, IMAGE);
            assert_eq!(
                found(&dump.build()),
                Err(CoreError::NoAddress),
                "{vector:?}"
            );
        }
        // The vector ends with its note, whatever follows.
        let entry = [(AT_SYSINFO_EHDR, ADDRESS)];
        let cut = dump.auxv(&entry)[..2 * dump.class.word() - 1].to_vec();
        let note = dump.note(b"CORE\0", NT_AUXV, &cut, 1);
        let dump = dump.notes(note, 4).memory(ADDRESS, 4096, IMAGE);
        assert_eq!(found(&dump.build()), Err(CoreError::NoAddress));
    }
}

#[test]
fn an_image_that_was_not_dumped_is_said_to_be_so() {
    for dump in dumps() {
        let dump = dump.vector(&[(AT_SYSINFO_EHDR, ADDRESS)]);
        let missing = Err(CoreError::NotDumped(ADDRESS));
        for dump in [
            dump.clone(),
            // Its mapping has no bytes in the dump, or ends before it.
            dump.clone().memory(ADDRESS, 4096, b""),
            dump.clone().memory(ADDRESS - 4096, 4096, &[1; 4096]),
            dump.clone().memory(ADDRESS + 1, 4096, IMAGE),
        ] {
            assert_eq!(found(&dump.build()), missing);
        }
        let whole = dump.memory(ADDRESS, 4096, IMAGE).build();
        let length = whole.len() - IMAGE.len();
        let truncated = CoreError::Truncated {
            expected: whole.len() as u64,
            length: length as u64,
        };
        assert_eq!(found(&whole[..length]), Err(truncated));
        assert_eq!(found(&whole[..length + 1]), Ok((ADDRESS, &IMAGE[..1])));
    }
}

/// What follows an auxiliary vector that has no AT_NULL is not part of it.
#[test]
fn an_auxiliary_vector_ends_with_its_note() {
    for dump in dumps() {
        let word = dump.class.word();
        for length in [word, 2 * word, 3 * word] {
            let mut vector = dump.numbers(word, &[PAGE_SIZE.0, PAGE_SIZE.1]);
            vector.extend(dump.number(AT_SYSINFO_EHDR, word));
            let mut notes = dump.note(b"CORE\0", NT_AUXV, &vector[..length], 4);
            // Were it read on, this would be an address.
            notes.extend(dump.numbers(word, &[AT_SYSINFO_EHDR, ADDRESS]));
            let bytes = dump.clone().notes(notes, 4).build();
            assert_eq!(found(&bytes), Err(CoreError::NoAddress), "{length}");
        }
    }
}

#[test]
fn program_headers_that_are_too_small_are_refused() {
    for dump in dumps() {
        let mut bytes = dump.vector(&[(AT_SYSINFO_EHDR, ADDRESS)]).build();
        let (at, size) = if bytes[4] == 2 { (54, 56) } else { (42, 32) };
        let is_big = bytes[5] == 2;
        bytes[at + usize::from(is_big)] = size - 1;
        let refused = CoreError::Elf(ParseError::SegmentTable);
        assert_eq!(found(&bytes), Err(refused));
    }
}

#[test]
fn errors_name_what_is_missing() {
    for (error, parts) in [
        (CoreError::Elf(ParseError::NotElf), &["not an ELF"][..]),
        (CoreError::NotCore(3), &["e_type is 3"]),
        (CoreError::NoAddress, &["no address"]),
        (CoreError::NotDumped(0x7f00), &["0x7f00"]),
        (
            CoreError::Truncated {
                expected: 9,
                length: 7,
            },
            &["7 bytes", "least 9"],
        ),
    ] {
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}
