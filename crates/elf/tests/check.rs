//! Every rule of the check has an image that breaks it and nothing but what follows from that.

mod common;

use common::{Recipe, Sym, function};
use vdsokit_elf::check::{self, Finding, Place, Profile, Rule, check};
use vdsokit_elf::constants::*;
use vdsokit_elf::{Class, Image};

// Of the gABI's, what only these tests name.
const ET_EXEC: u16 = 2;
const SHT_NULL: u32 = 0;
const SHT_PROGBITS: u32 = 1;
const SHT_STRTAB: u32 = 3;

fn rules(recipe: &Recipe, profile: Profile) -> Vec<Rule> {
    rules_of(&recipe.build(), profile)
}

fn rules_of(bytes: &[u8], profile: Profile) -> Vec<Rule> {
    let image = Image::parse(bytes).expect("an image");
    let mut rules: Vec<_> = check::check(&image, profile)
        .into_iter()
        .map(|finding| finding.rule)
        .collect();
    rules.sort();
    rules.dedup();
    rules
}

/// Asserts which rules a recipe breaks as an own image, and that a good one breaks none.
fn assert_breaks(recipe: Recipe, expected: &[Rule]) {
    assert_eq!(rules(&Recipe::default(), Profile::Own), []);
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(rules(&recipe, Profile::Own), expected, "{recipe:?}");
}

#[test]
fn good_images_break_no_rule() {
    for class in [Class::Elf32, Class::Elf64] {
        let machine = if class == Class::Elf32 {
            EM_386
        } else {
            EM_X86_64
        };
        for vvar in [true, false] {
            let recipe = Recipe {
                class,
                machine,
                vvar,
                ..Recipe::default()
            };
            assert_eq!(rules(&recipe, Profile::Own), []);
            assert_eq!(rules(&recipe, Profile::Foreign), []);
        }
    }
    let page = 0x1_0000;
    let wide = Recipe {
        machine: EM_AARCH64,
        page,
        vaddr: page,
        ..Recipe::default()
    };
    assert_eq!(rules(&wide, Profile::Own), []);
}

#[test]
fn relocations_are_found() {
    for tag in [DT_REL, DT_RELA, DT_RELR, DT_JMPREL, DT_TEXTREL] {
        assert_breaks(
            Recipe {
                dynamic: vec![(tag, 0)],
                ..Recipe::default()
            },
            &[Rule::Relocation],
        );
    }
}

#[test]
fn a_global_offset_table_is_found() {
    assert_breaks(
        Recipe {
            dynamic: vec![(DT_PLTGOT, 0)],
            ..Recipe::default()
        },
        &[Rule::Got],
    );
}

#[test]
fn another_e_type_than_et_dyn_is_found() {
    for kind in [ET_REL, ET_EXEC] {
        let mut bytes = Recipe::default().build();
        bytes[16..18].copy_from_slice(&kind.to_le_bytes());
        assert_eq!(rules_of(&bytes, Profile::Own), [Rule::SharedObject]);
        assert_eq!(rules_of(&bytes, Profile::Foreign), [Rule::SharedObject]);
    }
}

/// The recipe's image with one more section, which is loaded.
fn with_section(recipe: Recipe, name: &str, kind: u32, size: u64) -> Vec<u8> {
    let mut bytes = Recipe {
        vvar: false,
        ..recipe
    }
    .build();
    let names = bytes.len();
    bytes.extend(format!("\0{name}\0").as_bytes());
    let names_size = (bytes.len() - names) as u64;
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let table = bytes.len();
    // Name, type; flags, address, offset, size; link and info, alignment, entry size.
    for (kind, flags, offset, size) in [
        (SHT_NULL, 0, 0, 0),
        (kind, SHF_ALLOC, 64, size),
        (SHT_STRTAB, 0, names as u64, names_size),
    ] {
        bytes.extend([1, kind].map(u32::to_le_bytes).concat());
        bytes.extend(
            [flags, 0, offset, size, 0, 1, 0]
                .map(u64::to_le_bytes)
                .concat(),
        );
    }
    bytes[40..48].copy_from_slice(&(table as u64).to_le_bytes());
    bytes[58..64].copy_from_slice(&[64u16, 3, 2].map(u16::to_le_bytes).concat());
    bytes
}

#[test]
fn sections_of_relocations_are_found() {
    for kind in [SHT_REL, SHT_RELA, SHT_RELR] {
        let bytes = with_section(Recipe::default(), ".rela.dyn", kind, 24);
        assert_eq!(rules_of(&bytes, Profile::Own), [Rule::Relocation]);
        assert_eq!(rules_of(&bytes, Profile::Foreign), [Rule::Relocation]);
        let empty = with_section(Recipe::default(), ".rela.dyn", kind, 0);
        assert_eq!(rules_of(&empty, Profile::Own), []);
    }
}

#[test]
fn slots_of_a_global_offset_table_are_found_beyond_the_reserved_ones() {
    let arm = |name, size| {
        let page = 0x1_0000;
        let recipe = Recipe {
            machine: EM_AARCH64,
            page,
            vaddr: page,
            ..Recipe::default()
        };
        with_section(recipe, name, SHT_PROGBITS, size)
    };
    let x86 = |name, size| with_section(Recipe::default(), name, SHT_PROGBITS, size);
    for (bytes, has_slots) in [
        (x86(".got", 8), true),
        (x86(".got", 16), true),
        (x86(".got.plt", 24), false),
        (x86(".got.plt", 32), true),
        (arm(".got", 8), false),
        (arm(".got", 16), true),
        (x86(".rodata", 64), false),
    ] {
        let expected: &[Rule] = if has_slots { &[Rule::Got] } else { &[] };
        if has_slots {
            let texts = texts(&bytes, Rule::Got);
            let is_counted =
                |text: &String| text.starts_with("holds 1 ") || text.starts_with("holds 2 ");
            assert!(texts.iter().all(is_counted), "{texts:?}");
        }
        assert_eq!(rules_of(&bytes, Profile::Own), expected);
        assert_eq!(rules_of(&bytes, Profile::Foreign), []);
    }
}

/// A rule that is added has to be broken here as well.
#[test]
fn every_rule_is_broken_by_an_image() {
    let with_tag = |tag| Recipe {
        dynamic: vec![(tag, 0)],
        ..Recipe::default()
    };
    let with_segment = |kind| Recipe {
        segments: vec![(kind, PF_R)],
        ..Recipe::default()
    };
    let with_symbol = |symbol| Recipe {
        symbols: vec![symbol],
        ..Recipe::default()
    };
    let elsewhere = 0x10_0000;
    let images = [
        with_tag(DT_REL),
        with_tag(DT_PLTGOT),
        with_tag(DT_VERNEED),
        with_segment(PT_TLS),
        with_segment(PT_INTERP),
        with_symbol(Sym {
            section: SHN_UNDEF,
            ..function("memcpy", 0, 0)
        }),
        with_symbol(Sym {
            kind: STT_NOTYPE,
            version: None,
            ..function("test_one", elsewhere, 0)
        }),
        Recipe {
            soname: None,
            build_id: false,
            stack: None,
            sysv_hash: None,
            vaddr: 0,
            text_flags: PF_R | PF_W | PF_X,
            ..Recipe::default()
        },
    ];
    let mut broken: Vec<Rule> = images
        .iter()
        .flat_map(|recipe| rules(recipe, Profile::Own))
        .collect();
    let [offset, vaddr, filesz, align] = fields(1);
    let hash = {
        let bytes = Recipe::default().build();
        let image = Image::parse(&bytes).expect("an image");
        let table = image.dynamic_value(DT_GNU_HASH).expect("a table");
        (table - Recipe::default().vaddr) as usize
    };
    // The size of the build id's owner, without the NUL.
    let note = {
        let bytes = Recipe::default().build();
        let mut windows = bytes.windows(4);
        let owner = windows
            .position(|window| window == b"GNU\0")
            .expect("a note");
        let sizes = owner - 12;
        let old = u64::from_le_bytes(*bytes[sizes..].first_chunk().expect("two sizes"));
        (sizes, old - 1)
    };
    for change in [
        note,
        (
            16,
            u64::from(ET_EXEC) | u64::from(EM_X86_64) << 16 | 1 << 32,
        ),
        (vaddr, 0x1000),
        (offset, 0),
        (filesz, elsewhere),
        (align, 0x1001),
        // The Bloom filter.
        (hash + 16, 0),
    ] {
        broken.extend(rules_of(&patched(&[change]), Profile::Own));
    }
    for rule in Rule::ALL {
        assert!(broken.contains(&rule), "{}", rule.name());
    }
    // On a command line and in JSON they are told apart by their names, which are their own.
    for rule in Rule::ALL {
        let words = format!("{rule:?}")
            .chars()
            .fold(String::new(), |mut name, character| {
                if character.is_uppercase() && !name.is_empty() {
                    name.push('-');
                }
                name.extend(character.to_lowercase());
                name
            });
        assert_eq!(rule.name(), words);
    }
}

#[test]
fn dependencies_and_constructors_are_found() {
    for tag in [
        DT_NEEDED,
        DT_VERNEED,
        DT_INIT,
        DT_FINI,
        DT_INIT_ARRAY,
        DT_FINI_ARRAY,
    ] {
        assert_breaks(
            Recipe {
                dynamic: vec![(tag, 0)],
                ..Recipe::default()
            },
            &[Rule::Dependency],
        );
    }
}

#[test]
fn undefined_and_unversioned_symbols_are_found() {
    let mut symbols = Recipe::default().symbols;
    symbols.push(Sym {
        section: SHN_UNDEF,
        ..function("memcpy", 0, 0)
    });
    assert_breaks(
        Recipe {
            symbols,
            ..Recipe::default()
        },
        &[Rule::Undefined],
    );
    let symbols = vec![Sym {
        version: None,
        ..function("test_one", 0, 0)
    }];
    assert_breaks(
        Recipe {
            symbols,
            ..Recipe::default()
        },
        &[Rule::Version],
    );
    assert_breaks(
        Recipe {
            versions: vec![],
            ..Recipe::default()
        },
        &[Rule::Version],
    );
    let symbols = vec![Sym {
        kind: STT_NOTYPE,
        ..function("test_one", 0, 0)
    }];
    assert_breaks(
        Recipe {
            symbols,
            ..Recipe::default()
        },
        &[Rule::Untyped],
    );
}

#[test]
fn missing_names_tables_and_notes_are_found() {
    assert_breaks(
        Recipe {
            soname: None,
            ..Recipe::default()
        },
        &[Rule::Soname],
    );
    assert_breaks(
        Recipe {
            build_id: false,
            ..Recipe::default()
        },
        &[Rule::BuildId],
    );
    assert_breaks(
        Recipe {
            gnu_hash: false,
            ..Recipe::default()
        },
        &[Rule::Hash],
    );
    assert_breaks(
        Recipe {
            sysv_hash: None,
            ..Recipe::default()
        },
        &[Rule::Hash, Rule::Reader],
    );
    let foreign = Recipe {
        sysv_hash: None,
        ..Recipe::default()
    };
    assert_eq!(rules(&foreign, Profile::Foreign), []);
    let foreign = Recipe {
        gnu_hash: false,
        ..foreign
    };
    assert_eq!(rules(&foreign, Profile::Foreign), [Rule::Hash]);
}

#[test]
fn a_hash_table_that_leads_elsewhere_is_found() {
    let recipe = Recipe::default();
    let bytes = recipe.build();
    let image = Image::parse(&bytes).expect("an image");
    let table = |tag| (image.dynamic_value(tag).expect("a table") - recipe.vaddr) as usize;
    let (gnu, sysv) = (table(DT_GNU_HASH), table(DT_HASH));
    // The Bloom filter; the first bucket; the SysV table's buckets.
    for at in [gnu + 16..gnu + 24, gnu + 24..gnu + 28, sysv + 8..sysv + 20] {
        let mut broken = bytes.clone();
        broken[at.clone()].fill(0);
        assert_eq!(
            rules_of(&broken, Profile::Own),
            [Rule::HashMismatch],
            "{at:?}"
        );
        assert_eq!(
            rules_of(&broken, Profile::Foreign),
            [Rule::HashMismatch],
            "{at:?}"
        );
    }
}

#[test]
fn writable_segments_are_found() {
    let rwx = PF_R | PF_W | PF_X;
    assert_breaks(
        Recipe {
            text_flags: rwx,
            ..Recipe::default()
        },
        &[Rule::Writable, Rule::WritableExecutable, Rule::Layout],
    );
    assert_breaks(
        Recipe {
            dynamic_flags: PF_R | PF_W,
            ..Recipe::default()
        },
        &[Rule::Writable],
    );
}

#[test]
fn stack_tls_and_interpreter_are_found() {
    let stack = [Rule::ExecutableStack];
    assert_breaks(
        Recipe {
            stack: None,
            ..Recipe::default()
        },
        &stack,
    );
    assert_breaks(
        Recipe {
            stack: Some(PF_R | PF_W | PF_X),
            ..Recipe::default()
        },
        &stack,
    );
    let with = |kind| Recipe {
        segments: vec![(kind, PF_R)],
        ..Recipe::default()
    };
    assert_breaks(with(PT_TLS), &[Rule::Tls, Rule::Reader]);
    assert_breaks(with(PT_INTERP), &[Rule::Interpreter, Rule::Reader]);
    assert_breaks(with(PT_GNU_RELRO), &[Rule::Reader]);
}

#[test]
fn symbols_and_segments_outside_are_found() {
    for (at, size) in [(0, 0x10_0000), (0x10_0000, 16), (u64::MAX - 0x2000, 16)] {
        let symbols = vec![Sym {
            size,
            ..function("test_one", at, 0)
        }];
        assert_breaks(
            Recipe {
                symbols,
                ..Recipe::default()
            },
            &[Rule::SymbolOutside],
        );
    }
    let recipe = Recipe::default();
    let mut cut = recipe.build();
    cut.truncate(cut.len() - recipe.page as usize);
    assert_eq!(rules_of(&cut, Profile::Own), [Rule::Outside, Rule::Layout]);
}

/// What the findings of a rule say.
fn texts(bytes: &[u8], rule: Rule) -> Vec<String> {
    let image = Image::parse(bytes).expect("an image");
    let findings = check(&image, Profile::Own).into_iter();
    let findings = findings.filter(|finding| finding.rule == rule);
    findings.map(|finding| finding.what).collect()
}

fn says(bytes: &[u8], rule: Rule, text: &str) -> bool {
    texts(bytes, rule).iter().any(|what| what.contains(text))
}

/// The offset of the first program header of this type.
fn header_of(bytes: &[u8], kind: u32) -> usize {
    let mut headers = (64..bytes.len()).step_by(56);
    let header = headers.find(|at| bytes[*at..].starts_with(&kind.to_le_bytes()));
    header.expect("such a segment")
}

#[test]
fn a_segment_that_no_loaded_one_holds_is_outside_unless_it_has_no_bytes() {
    let whole = Recipe::default().build();
    let note = header_of(&whole, PT_NOTE);
    let elsewhere = (note + 16, 0x10_0000_u64);
    for (changes, is_outside) in [
        (vec![], false),
        (vec![elsewhere], true),
        (vec![elsewhere, (note + 40, 0)], false),
    ] {
        let found = says(
            &patched(&changes),
            Rule::Outside,
            "lies in no loaded segment",
        );
        assert_eq!(found, is_outside, "{changes:?}");
    }
}

#[test]
fn a_table_outside_is_named_by_its_address() {
    for tag in [
        DT_STRTAB,
        DT_SYMTAB,
        DT_HASH,
        DT_GNU_HASH,
        DT_VERSYM,
        DT_VERDEF,
    ] {
        let recipe = |value| Recipe {
            dynamic: vec![(tag, value)],
            ..Recipe::default()
        };
        let outside = recipe(0x10_0000).build();
        let text = "its table at 0x100000 lies outside the image";
        assert!(says(&outside, Rule::Outside, text), "{tag:#x}");
        let inside = recipe(Recipe::default().vaddr).build();
        assert_eq!(texts(&inside, Rule::Outside), [""; 0], "{tag:#x}");
    }
}

#[test]
fn an_image_without_tables_has_no_reader() {
    let without_hash = Recipe {
        gnu_hash: false,
        sysv_hash: None,
        ..Recipe::default()
    };
    assert!(says(
        &without_hash.build(),
        Rule::Reader,
        "it has no hash table"
    ));
    for tag in [DT_STRTAB, DT_SYMTAB] {
        let recipe = Recipe {
            dynamic: vec![(tag, 0x10_0000)],
            ..Recipe::default()
        };
        let bytes = recipe.build();
        assert!(
            says(&bytes, Rule::Reader, "it has no symbol table"),
            "{tag:#x}"
        );
    }
}

#[test]
fn each_way_in_which_the_vvar_pages_are_misplaced_is_told() {
    let [offset, vaddr, filesz, _] = fields(1);
    let whole = patched(&[]);
    let get = |at: usize| u64::from_le_bytes(*whole[at..].first_chunk().expect("eight bytes"));
    let flags = 64 + 56 + 4;
    let multiples = "are not multiples of the page size";
    for (at, value, text) in [
        (vaddr, get(vaddr) + 8, multiples),
        (offset, get(offset) + 8, multiples),
        (
            vaddr,
            get(vaddr) + 0x1000,
            "its p_offset - p_vaddr is not the first segment's",
        ),
        (
            filesz,
            get(filesz) - 8,
            "has bytes in memory that are not in the file",
        ),
        (filesz, get(filesz) - 8, "are not the last of the file's"),
    ] {
        assert!(
            says(&patched(&[(at, value)]), Rule::Layout, text),
            "{at} {text}"
        );
        assert!(!says(&whole, Rule::Layout, text));
    }
    for bits in [PF_R | PF_X, PF_X, 0] {
        let mut bytes = whole.clone();
        bytes[flags] = bits as u8;
        assert!(
            says(&bytes, Rule::Layout, "the vvar pages are not read-only"),
            "{bits}"
        );
    }
}

#[test]
fn a_finding_names_its_rule_and_its_place() {
    for (place, text) in [
        (Place::Image, "image"),
        (
            Place::Segment {
                index: 1,
                kind: "LOAD",
            },
            "segment 1 (LOAD)",
        ),
        (
            Place::Section {
                name: ".got".into(),
            },
            "section .got",
        ),
        (
            Place::Dynamic { tag: 0x6fff_fef5 },
            "dynamic entry 0x6ffffef5",
        ),
        (
            Place::Symbol {
                name: "one".into(),
                value: 0x1040,
            },
            "symbol one at 0x1040",
        ),
    ] {
        let finding = Finding {
            rule: Rule::Got,
            place,
            what: "is there".into(),
        };
        assert_eq!(finding.to_string(), format!("got: {text}: is there"));
    }
}

/// Offsets of the fields of the recipe's program header `index`: offset, vaddr, filesz, align.
fn fields(index: usize) -> [usize; 4] {
    let at = 64 + 56 * index;
    [at + 8, at + 16, at + 32, at + 48]
}

fn patched(changes: &[(usize, u64)]) -> Vec<u8> {
    let mut bytes = Recipe::default().build();
    for &(at, value) in changes {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

#[test]
fn overlap_and_alignment_are_found() {
    let [offset, vaddr, _, align] = fields(1);
    let found = rules_of(&patched(&[(vaddr, 0x1000), (offset, 0)]), Profile::Foreign);
    assert!(found.contains(&Rule::Overlap), "{found:?}");
    let found = rules_of(&patched(&[(vaddr, 0x2800)]), Profile::Foreign);
    assert!(found.contains(&Rule::Alignment), "{found:?}");
    let found = rules_of(&patched(&[(align, 0x1001)]), Profile::Foreign);
    assert_eq!(found, [Rule::Alignment]);
}

#[test]
fn a_misplaced_segment_is_found() {
    // At address 0 all readers agree only as long as there is one segment.
    assert_breaks(
        Recipe {
            vaddr: 0,
            ..Recipe::default()
        },
        &[Rule::Layout, Rule::Reader],
    );
    assert_breaks(
        Recipe {
            vaddr: 0x1800,
            vvar: false,
            page: 0x800,
            ..Recipe::default()
        },
        &[Rule::Layout],
    );
    let mut longer = Recipe::default().build();
    longer.push(0);
    assert_eq!(
        rules_of(&longer, Profile::Own),
        [Rule::Layout],
        "vvar pages are the last bytes"
    );
}
