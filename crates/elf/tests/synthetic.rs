//! Images of every class and byte order, with each table present or missing.

mod common;

use common::{Recipe, Sym, function};
use vdsokit_elf::constants::*;
use vdsokit_elf::{Binding, Class, Image, Kind, Order, ParseError};

/// Every combination of class, order and tables that readers have to cope with.
fn recipes() -> Vec<Recipe> {
    let mut recipes = vec![];
    for class in [Class::Elf32, Class::Elf64] {
        for order in [Order::Little, Order::Big] {
            for (gnu_hash, sysv_hash) in [
                (true, Some(4)),
                (true, None),
                (false, Some(4)),
                (false, None),
            ] {
                for versions in [vec!["TEST_1.0", "TEST_2.0"], vec![]] {
                    for strsz in [true, false] {
                        let versions = versions.clone();
                        recipes.push(Recipe {
                            class,
                            order,
                            gnu_hash,
                            sysv_hash,
                            versions,
                            strsz,
                            ..Recipe::default()
                        });
                    }
                }
            }
        }
    }
    for machine in [EM_S390, EM_ALPHA] {
        for entry in [8, 4] {
            recipes.push(Recipe {
                machine,
                order: if machine == EM_S390 {
                    Order::Big
                } else {
                    Order::Little
                },
                gnu_hash: false,
                sysv_hash: Some(entry),
                ..Recipe::default()
            });
        }
    }
    recipes
}

fn assert_reads(image: &Image<'_>, recipe: &Recipe) {
    assert_eq!(image.soname().expect("a soname"), "libtest.so.1");
    assert_eq!(image.build_id(), Some(&[0xab; 20][..]));
    let one = image.lookup("test_one").expect("test_one");
    assert_eq!((one.name().as_bytes(), one.size), (&b"test_one"[..], 16));
    assert_eq!((one.kind, one.binding), (Kind::Function, Binding::Global));
    let two = image.lookup("test_two").expect("test_two");
    let weak = image.lookup("two").expect("two");
    assert_eq!((two.value, weak.binding), (weak.value, Binding::Weak));
    assert_eq!(two.value, one.value + 16);
    for missing in ["", "test", "test_one_more", "test_four"] {
        assert!(image.lookup(missing).is_none(), "{missing:?}");
    }
    let exports = image.symbols().filter(|symbol| symbol.is_export()).count();
    assert_eq!(exports, recipe.symbols.len());

    if recipe.versions.is_empty() {
        assert!(!image.has_versions());
        assert_eq!(
            image.lookup_version("test_one", "ANY").map(|s| s.value),
            Some(one.value)
        );
        return;
    }
    let version = |symbol: Option<vdsokit_elf::Symbol<'_>>| {
        symbol
            .and_then(|symbol| symbol.version)
            .map(|version| version.name().to_string())
    };
    assert_eq!(
        version(image.lookup("test_three")).as_deref(),
        Some("TEST_2.0")
    );
    assert_eq!(
        version(image.lookup("test_old")).as_deref(),
        Some("TEST_1.0")
    );
    let old = image
        .lookup_version("test_three", "TEST_1.0")
        .expect("the old one");
    let new = image
        .lookup_version("test_three", "TEST_2.0")
        .expect("the new one");
    assert_eq!(new.value, old.value + 16);
    assert!(old.is_hidden_version && !new.is_hidden_version);
    assert!(image.lookup_version("test_one", "TEST_2.0").is_none());
    assert!(
        image.lookup_version("test_one", "libtest.so.1").is_none(),
        "the base is no version"
    );
    assert_eq!(image.base_name().expect("a base"), "libtest.so.1");
    assert!(
        image
            .lookup_in_file("test_one", "TEST_1.0", "libtest.so.1")
            .is_some()
    );
    assert!(
        image
            .lookup_in_file("test_one", "TEST_1.0", "libother.so.1")
            .is_none()
    );
}

#[test]
fn every_kind_of_image_reads_the_same_as_a_file() {
    for recipe in recipes() {
        let bytes = recipe.build();
        let image = Image::parse(&bytes).unwrap_or_else(|error| panic!("{error}: {recipe:?}"));
        assert_eq!(
            (image.header().class, image.header().order),
            (recipe.class, recipe.order)
        );
        assert_reads(&image, &recipe);
    }
}

#[test]
fn every_kind_of_image_reads_the_same_from_memory_relocated_or_not() {
    for mut recipe in recipes() {
        for vaddr in [0, 0x1000] {
            for relocated in [false, true] {
                let address = 0x7fff_0000;
                recipe.vaddr = vaddr;
                recipe.relocated_by = if relocated { address - vaddr } else { 0 };
                let bytes = recipe.build();
                let image = Image::parse_memory(&bytes, address).expect("an image");
                assert_reads(&image, &recipe);
                let one = image.lookup("test_one").expect("test_one");
                assert_eq!(image.address_of(&one), address + one.value - vaddr);
            }
        }
    }
}

#[test]
fn functions_without_type_are_found() {
    let symbols = vec![Sym {
        kind: STT_NOTYPE,
        ..function("test_one", 0, 0)
    }];
    let recipe = Recipe {
        machine: EM_PPC64,
        flags: 2,
        symbols,
        ..Recipe::default()
    };
    let bytes = recipe.build();
    let image = Image::parse(&bytes).expect("an image");
    let symbol = image.lookup_version("test_one", "TEST_1.0").expect("found");
    assert_eq!(symbol.kind, Kind::NoType);
    assert!(image.descriptor(&symbol).is_none());
}

#[test]
fn undefined_local_and_section_symbols_are_not_found() {
    let symbols = vec![
        Sym {
            section: SHN_UNDEF,
            ..function("undefined", 0, 0)
        },
        Sym {
            binding: STB_LOCAL,
            ..function("local", 0, 0)
        },
        Sym {
            kind: STT_SECTION,
            ..function("section", 0, 0)
        },
        Sym {
            kind: STT_TLS,
            ..function("thread", 0, 0)
        },
    ];
    let bytes = Recipe {
        symbols: symbols.clone(),
        ..Recipe::default()
    }
    .build();
    let image = Image::parse(&bytes).expect("an image");
    for symbol in symbols {
        assert!(image.lookup(symbol.name).is_none(), "{}", symbol.name);
    }
    assert!(image.symbols().any(|symbol| symbol.is_undefined()));
}

#[test]
fn absolute_symbols_keep_their_value() {
    let symbols = vec![Sym {
        section: SHN_ABS,
        kind: STT_OBJECT,
        at: 42,
        ..function("answer", 0, 0)
    }];
    let bytes = Recipe {
        symbols,
        ..Recipe::default()
    }
    .build();
    let image = Image::parse_memory(&bytes, 0x7fff_0000).expect("an image");
    let symbol = image.lookup("answer").expect("found");
    assert_eq!(image.address_of(&symbol), 42);
    assert!(!symbol.is_export());
}

#[test]
fn descriptors_are_followed_where_the_abi_has_them() {
    // A function symbol in a segment that is not executable: the recipe's vvar page.
    let recipe = |at| {
        let symbols = vec![function("test_one", at, 0), function("code", 0, 0)];
        Recipe {
            machine: EM_PPC64,
            flags: 1,
            symbols,
            ..Recipe::default()
        }
        .big()
    };
    let bytes = recipe(0).build();
    let image = Image::parse(&bytes).expect("an image");
    let one = image.lookup("test_one").expect("found");
    assert!(image.descriptor(&one).is_none(), "code is no descriptor");
    let text = one.value - recipe(0).vaddr;
    let at = bytes.len() - recipe(0).page as usize;
    let mut bytes = recipe(at as u64 - text).build();
    bytes[at..at + 8].copy_from_slice(&0x1234u64.to_be_bytes());
    bytes[at + 8..at + 16].copy_from_slice(&0x5678u64.to_be_bytes());
    let image = Image::parse(&bytes).expect("an image");
    let descriptor = image.descriptor(&image.lookup("test_one").expect("found"));
    let descriptor = descriptor.expect("a descriptor");
    assert_eq!((descriptor.code, descriptor.global), (0x1234, 0x5678));
}

/// PA-RISC's have two reserved words in front.
#[test]
fn descriptors_lie_behind_the_reserved_words_of_their_architecture() {
    for (machine, skip) in [(EM_PPC64, 0), (EM_IA_64, 0), (EM_PARISC, 16)] {
        let recipe = |at| Recipe {
            machine,
            symbols: vec![function("test_one", at, 0)],
            ..Recipe::default()
        };
        let value = |bytes: &[u8]| {
            let image = Image::parse(bytes).expect("an image");
            image.lookup("test_one").expect("found").value
        };
        let bytes = recipe(0).build();
        let at = bytes.len() - recipe(0).page as usize;
        let mut bytes = recipe(at as u64 - (value(&bytes) - recipe(0).vaddr)).build();
        for (word, number) in [(0, 0x1234_u64), (8, 0x5678)] {
            let at = at + skip + word;
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let image = Image::parse(&bytes).expect("an image");
        let one = image.lookup("test_one").expect("found");
        let descriptor = image.descriptor(&one).expect("a descriptor");
        assert_eq!((descriptor.code, descriptor.global), (0x1234, 0x5678));
    }
}

/// The table of functions, and what an image exports beyond it.
#[test]
fn functions_that_the_table_lacks_are_listed_and_aliases_are_not() {
    let weak = |name| Sym {
        binding: STB_WEAK,
        ..function(name, 0, 0)
    };
    let untyped = |name| Sym {
        kind: STT_NOTYPE,
        ..function(name, 0, 0)
    };
    let recipe = Recipe {
        symbols: vec![
            function("__vdso_clock_gettime", 0, 0),
            weak("clock_gettime"),
            weak("time"),
            function("__vdso_new", 0, 0),
            untyped("__vdso_untyped"),
            weak("new"),
            Sym {
                kind: STT_OBJECT,
                ..function("data", 0, 0)
            },
            Sym {
                binding: STB_LOCAL,
                ..function("local", 0, 0)
            },
        ],
        ..Recipe::default()
    };
    let bytes = recipe.build();
    let image = Image::parse(&bytes).expect("an image");
    let abi = vdsokit_elf::arch::named("x86-64").expect("a row");
    let mut unknown: Vec<String> = abi.unknown(&image).map(|name| name.to_string()).collect();
    unknown.sort();
    assert_eq!(unknown, ["__vdso_new", "__vdso_untyped", "new"]);
}

/// Bytes that end where a table or a segment does.
#[test]
fn what_lies_at_the_very_end_is_read_and_nothing_behind_it() {
    for recipe in recipes() {
        let bytes = recipe.build();
        let image = Image::parse(&bytes).expect("an image");
        let load = image
            .segments()
            .find(|segment| segment.is_load())
            .expect("the text");
        let (from, to) = (load.offset as usize, (load.offset + load.filesz) as usize);
        assert_eq!(image.bytes_at(load.vaddr), Some(&bytes[from..to]));
        let last = load.vaddr + load.filesz - 1;
        assert_eq!(image.bytes_at(last), Some(&bytes[to - 1..to]));
        // In memory, what follows the image is not part of it.
        let address = 0x7fff_0000;
        let mapped = Image::parse_memory(&bytes, address).expect("an image");
        let end = load.vaddr - load.offset + bytes.len() as u64;
        let one = bytes.len() - 1;
        assert_eq!(mapped.bytes_at(end - 1), Some(&bytes[one..]));
        assert_eq!(mapped.bytes_at(end), None);
        // Of a file that was cut, the bytes that are there.
        if let Some(vvar) = image.segments().filter(|segment| segment.is_load()).nth(1) {
            let cut = Image::parse(&bytes[..one]).expect("an image");
            let last = vvar.vaddr + vvar.filesz - 1;
            assert_eq!(cut.bytes_at(last), None);
            assert_eq!(cut.bytes_at(last - 1), Some(&bytes[one - 1..one]));
        }
    }
}

#[test]
fn the_string_table_has_the_size_that_the_dynamic_section_gives() {
    let recipe = Recipe {
        // The later entry counts.
        dynamic: vec![(DT_STRSZ, 1)],
        ..Recipe::default()
    };
    let bytes = recipe.build();
    let image = Image::parse(&bytes).expect("an image");
    assert_eq!(image.soname(), None);
    let bytes = Recipe::default().build();
    let image = Image::parse(&bytes).expect("an image");
    assert_eq!(image.soname().expect("a soname"), "libtest.so.1");
}

#[test]
fn a_dynamic_section_without_its_end_has_all_its_entries() {
    for class in [Class::Elf32, Class::Elf64] {
        let recipe = Recipe {
            class,
            ..Recipe::default()
        };
        let mut bytes = recipe.build();
        let all: Vec<_> = Image::parse(&bytes).expect("an image").dynamic().collect();
        let (header, segment, filesz, entry) = match class {
            Class::Elf32 => (52, 32, 16, 8),
            Class::Elf64 => (64, 56, 32, 16),
        };
        // p_type is the first field of each program header.
        let mut headers = (header..bytes.len()).step_by(segment);
        let dynamic = headers.find(|at| bytes[*at..].starts_with(&PT_DYNAMIC.to_le_bytes()));
        let size = ((all.len() * entry) as u32).to_le_bytes();
        let at = dynamic.expect("a dynamic section") + filesz;
        bytes[at..at + 4].copy_from_slice(&size);
        let image = Image::parse(&bytes).expect("an image");
        assert_eq!(image.dynamic().collect::<Vec<_>>(), all);
    }
}

#[test]
fn a_gnu_table_of_one_symbol_counts_it() {
    let recipe = Recipe {
        sysv_hash: None,
        symbols: vec![function("test_one", 0, 0)],
        ..Recipe::default()
    };
    let bytes = recipe.build();
    assert_eq!(Image::parse(&bytes).expect("an image").symbol_count(), 2);
}

/// Every reader ignores versions unless both tables are there.
#[test]
fn without_definitions_versions_are_ignored() {
    let recipe = Recipe {
        versions: vec![],
        ..Recipe::default()
    };
    let bytes = recipe.build();
    assert!(!Image::parse(&bytes).expect("an image").has_versions());
    for tag in [DT_VERSYM, DT_VERDEF] {
        // A table of any contents: the image's own header, in which no symbol would be visible.
        let one = Recipe {
            dynamic: vec![(tag, recipe.vaddr)],
            ..recipe.clone()
        };
        let bytes = one.build();
        let image = Image::parse(&bytes).expect("an image");
        assert!(!image.has_versions(), "{tag:#x}");
        assert!(image.lookup("test_one").is_some());
        assert!(image.lookup_version("test_one", "TEST_1.0").is_some());
    }
    let bytes = Recipe::default().build();
    assert!(Image::parse(&bytes).expect("an image").has_versions());
}

#[test]
fn a_build_id_is_the_note_of_its_owner_and_type() {
    let bytes = Recipe::default().build();
    let owner = bytes
        .windows(4)
        .position(|window| window == b"GNU\0")
        .expect("a note");
    let id = |bytes: &[u8]| {
        let image = Image::parse(bytes).expect("an image");
        image.build_id().map(<[u8]>::to_vec)
    };
    assert_eq!(id(&bytes), Some(vec![0xab; 20]));
    for (at, byte) in [(owner, b'X'), (owner - 4, 4)] {
        let mut other = bytes.clone();
        other[at] = byte;
        assert_eq!(id(&other), None);
    }
}

#[test]
fn bytes_that_are_not_an_image_are_refused_with_the_reason() {
    let good = Recipe::default().build();
    let broken = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Image::parse(&bytes).err()
    };
    assert_eq!(Image::parse(b"").err(), Some(ParseError::NotElf));
    assert_eq!(broken(0, 0), Some(ParseError::NotElf));
    assert_eq!(broken(4, 3), Some(ParseError::Class(3)));
    assert_eq!(broken(5, 0), Some(ParseError::Order(0)));
    assert_eq!(Image::parse(&good[..40]).err(), Some(ParseError::Truncated));
    assert_eq!(broken(35, 0xff), Some(ParseError::SegmentTable), "e_phoff");
    assert_eq!(broken(54, 8), Some(ParseError::SegmentTable), "e_phentsize");
    assert_eq!(broken(57, 0xff), Some(ParseError::SegmentTable), "e_phnum");
    assert_eq!(broken(56, 0), Some(ParseError::NoLoad), "e_phnum");
}

#[test]
fn readers_take_the_address_of_the_start_as_they_do() {
    let bytes = Recipe {
        vaddr: 0,
        ..Recipe::default()
    }
    .build();
    let image = Image::parse(&bytes).expect("an image");
    let biases =
        vdsokit_elf::check::readers::readings(&image).map(|reading| (reading.reader, reading.bias));
    for (reader, bias) in biases {
        // The segment of the vvar pages is the first whose address is not 0.
        let expected = if reader == "glibc" {
            0u64.wrapping_sub(0x1000)
        } else {
            0
        };
        assert_eq!(bias, Ok(expected), "{reader}");
    }
}

const SHT_NULL: u32 = 0;
const SHT_PROGBITS: u32 = 1;
const SHT_STRTAB: u32 = 3;

/// The recipe's image, and behind it a table of section headers with these types and contents.
fn with_sections(recipe: &Recipe, sections: &[(u32, [u64; 5])]) -> Vec<u8> {
    let mut bytes = recipe.build();
    let is_64 = recipe.class == Class::Elf64;
    let word = |value: u64| match recipe.order {
        Order::Little if is_64 => value.to_le_bytes().to_vec(),
        Order::Big if is_64 => value.to_be_bytes().to_vec(),
        Order::Little => (value as u32).to_le_bytes().to_vec(),
        Order::Big => (value as u32).to_be_bytes().to_vec(),
    };
    let half = |value: u16| match recipe.order {
        Order::Little => value.to_le_bytes(),
        Order::Big => value.to_be_bytes(),
    };
    let int = |value: u32| match recipe.order {
        Order::Little => value.to_le_bytes(),
        Order::Big => value.to_be_bytes(),
    };
    let table = bytes.len() as u64;
    for (kind, [flags, vaddr, offset, size, entsize]) in sections {
        bytes.extend([int(0), int(*kind)].concat());
        bytes.extend([*flags, *vaddr, *offset, *size].map(word).concat());
        bytes.extend([int(0), int(0)].concat());
        bytes.extend([0, *entsize].map(word).concat());
    }
    // e_shoff, and the last three fields of the header.
    let (shoff, shentsize, header_size) = if is_64 { (40, 64, 64) } else { (32, 40, 52) };
    let table = word(table);
    bytes[shoff..shoff + table.len()].copy_from_slice(&table);
    let last = [half(shentsize), half(sections.len() as u16), half(0)].concat();
    bytes[header_size - 6..header_size].copy_from_slice(&last);
    bytes
}

#[test]
fn each_field_of_a_section_header_is_read_from_its_place() {
    let fields = [SHF_ALLOC, 0x2000, 0x40, 0x18, 8];
    let sections = [
        (SHT_NULL, [0; 5]),
        (SHT_PROGBITS, fields),
        (SHT_NOBITS, fields),
    ];
    for recipe in recipes() {
        let bytes = with_sections(&recipe, &sections);
        let image = Image::parse(&bytes).expect("an image");
        let read: Vec<_> = image.sections().collect();
        assert_eq!(read.len(), 2, "{recipe:?}");
        for (section, (kind, fields)) in read.iter().zip(&sections[1..]) {
            assert_eq!(section.kind, *kind);
            let (flags, vaddr) = (section.flags, section.vaddr);
            let (offset, size) = (section.offset, section.size);
            assert_eq!([flags, vaddr, offset, size, section.entsize], *fields);
        }
        assert_eq!(image.section_bytes(&read[0]), Some(&bytes[0x40..0x58]));
        assert_eq!(image.section_bytes(&read[1]), None);

        // A header of which one byte is missing is not read.
        let cut = Image::parse(&bytes[..bytes.len() - 1]).expect("an image");
        assert_eq!(cut.sections().count(), 1, "{recipe:?}");

        // Headers that are smaller than the class needs are not read.
        let mut small = bytes.clone();
        let low_byte = usize::from(recipe.order == Order::Big);
        let shentsize = if recipe.class == Class::Elf64 { 58 } else { 46 };
        small[shentsize + low_byte] -= 1;
        let small = Image::parse(&small).expect("an image");
        assert_eq!(small.sections().count(), 0, "{recipe:?}");
    }
}

#[test]
fn a_sysv_table_is_read_only_if_all_its_entries_lie_in_the_segment() {
    for (machine, order, entry) in [
        (EM_X86_64, Order::Little, 4),
        (EM_ALPHA, Order::Little, 8),
        (EM_S390, Order::Big, 8),
    ] {
        let recipe = Recipe {
            machine,
            order,
            gnu_hash: false,
            sysv_hash: Some(entry),
            ..Recipe::default()
        };
        let mut bytes = recipe.build();
        let original = bytes.clone();
        let image = Image::parse(&original).expect("an image");
        assert_eq!(image.symbol_count() as usize, recipe.symbols.len() + 1);
        let offset = |tag| (image.dynamic_value(tag).expect("a table") - recipe.vaddr) as usize;
        let (table, symbols) = (offset(DT_HASH), offset(DT_SYMTAB));
        let end = image.segments().next().expect("the text").filesz as usize;
        // The two counts, the buckets and the chain: exactly as many entries as fit, and one more.
        let (buckets, fitting) = (3, (end - table) / entry);
        for (chain, is_read) in [
            (fitting - buckets - 2, true),
            (fitting - buckets - 1, false),
        ] {
            let count = match order {
                Order::Little => (chain as u64).to_le_bytes()[..entry].to_vec(),
                Order::Big => (chain as u64).to_be_bytes()[8 - entry..].to_vec(),
            };
            bytes[table + entry..][..entry].copy_from_slice(&count);
            let image = Image::parse(&bytes).expect("an image");
            let by_table = chain.min((end - symbols) / 24);
            let is_by_table = image.symbol_count() as usize == by_table;
            assert_eq!(is_by_table, is_read, "machine {machine}, {chain} entries");
        }
    }
}

#[test]
fn without_hash_tables_symbols_end_with_their_section_or_at_the_next_table() {
    for class in [Class::Elf32, Class::Elf64] {
        let recipe = Recipe {
            class,
            gnu_hash: false,
            sysv_hash: None,
            ..Recipe::default()
        };
        let entry = if class == Class::Elf64 { 24 } else { 16 };
        let section = |kind, size| (kind, [SHF_ALLOC, 0, 0, size, entry]);
        let sections = [
            section(SHT_NULL, 0),
            section(SHT_STRTAB, 5 * entry),
            section(SHT_DYNSYM, 3 * entry),
        ];
        let bytes = with_sections(&recipe, &sections);
        let image = Image::parse(&bytes).expect("an image");
        assert_eq!(image.symbol_count(), 3);

        let bytes = recipe.build();
        let image = Image::parse(&bytes).expect("an image");
        let all = recipe.symbols.len() as u32 + 1;
        assert_eq!(image.symbol_count(), all);

        // A table that claims the symbols' own place does not end them.
        let symbols = image.dynamic_value(DT_SYMTAB).expect("the symbols");
        let overlapping = Recipe {
            dynamic: vec![(DT_VERSYM, symbols)],
            ..recipe
        };
        let bytes = overlapping.build();
        let image = Image::parse(&bytes).expect("an image");
        assert!(image.symbol_count() >= all, "{}", image.symbol_count());
    }
}
