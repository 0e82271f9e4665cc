//! No input panics, reads outside its bytes or costs more than linear work.

mod common;
#[path = "common/exercise.rs"]
mod exercise;

use common::Recipe;
use exercise::{exercise, exercise_core, exercise_lookup, exercise_memory};
use proptest::prelude::*;
use vdsokit_elf::constants::*;
use vdsokit_elf::core_dump::{self, CoreError};
use vdsokit_elf::{Class, Image, MAX_VERSIONS, Order, own};

/// Images to mutate: this process's own vDSO and one of each class and order.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![own::image().expect("Linux maps a vDSO").bytes().to_vec()];
    for class in [Class::Elf32, Class::Elf64] {
        for order in [Order::Little, Order::Big] {
            let machine = EM_PPC64;
            seeds.push(
                Recipe {
                    class,
                    order,
                    machine,
                    ..Recipe::default()
                }
                .build(),
            );
            let machine = EM_S390;
            let sysv_hash = Some(8);
            let recipe = Recipe {
                class,
                order,
                machine,
                sysv_hash,
                ..Recipe::default()
            };
            seeds.push(
                Recipe {
                    gnu_hash: false,
                    ..recipe
                }
                .build(),
            );
        }
    }
    seeds
}

fn interesting() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0u64..0x4000,
        Just(u64::MAX),
        Just(u64::from(u32::MAX)),
        Just(i64::MAX as u64),
        Just(0),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        exercise(&bytes);
        exercise_memory(&bytes, 0x7fff_0000);
        exercise_core(&bytes);
    }

    #[test]
    fn mutated_images_do_not_panic(
        seed in 0usize..9,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), interesting(), 1usize..9), 1..12),
        cut in any::<prop::sample::Index>(),
        is_cut in proptest::bool::weighted(0.2),
        address in interesting(),
    ) {
        let mut bytes = seeds().swap_remove(seed);
        for (at, value, width) in changes {
            // Headers and tables are at the front; most changes go there.
            let front = bytes.len().min(2048);
            let at = at.index(front);
            let width = width.min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&value.to_ne_bytes()[..width]);
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        exercise(&bytes);
        exercise_memory(&bytes, address);
    }

    #[test]
    fn mutated_core_dumps_do_not_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), interesting(), 1usize..9), 1..8),
    ) {
        let mut bytes = exercise::core_of(&Recipe::default().build());
        for (at, value, width) in changes {
            let at = at.index(bytes.len().min(512));
            bytes[at..at + width].copy_from_slice(&value.to_ne_bytes()[..width]);
        }
        exercise_core(&bytes);
    }
}

#[test]
fn a_core_dump_yields_the_image() {
    let image = Recipe::default().build();
    let core = exercise::core_of(&image);
    let vdso = core_dump::vdso(&core).expect("a vDSO");
    assert_eq!(
        (vdso.address, vdso.bytes),
        (exercise::CORE_ADDRESS, &image[..])
    );
    let image = Image::parse_memory(vdso.bytes, vdso.address).expect("an image");
    assert!(image.lookup("test_one").is_some());
    let error = core_dump::vdso(&Recipe::default().build()).expect_err("no core");
    assert_eq!(error.to_string(), "e_type is 3, not 4: not a core dump");
}

/// `vdso ls` of a sparse core dump of 6 GB once took as much memory.
#[test]
fn a_core_dump_is_read_by_parts() {
    let image = Recipe::default().build();
    let core = exercise::core_of(&image);
    let total = std::cell::Cell::new(0);
    let read = |at: u64, bytes: &mut [u8]| {
        total.set(total.get() + bytes.len());
        let part = usize::try_from(at).ok().and_then(|at| core.get(at..));
        let part = part.and_then(|part| part.get(..bytes.len()));
        part.map(|part| bytes.copy_from_slice(part)).is_some()
    };
    let found = core_dump::locate(6 << 30, read).expect("a vDSO");
    assert_eq!(found.address, exercise::CORE_ADDRESS);
    let range = found.range.start as usize..found.range.end as usize;
    assert_eq!(&core[range], &image[..]);
    assert!(total.get() < 4096, "{} bytes were read", total.get());
}

/// Of a dump with very many mappings their number is in a section header: here beyond all files.
#[test]
fn a_core_dump_with_a_section_table_at_the_end_of_the_address_space_is_refused() {
    let mut core = exercise::core_of(&Recipe::default().build());
    core[0x28..0x30].fill(0xff); // e_shoff
    core[0x38..0x3a].fill(0xff); // e_phnum
    assert!(core_dump::vdso(&core).is_err());
}

#[test]
fn a_truncated_core_dump_is_distinguished_from_one_without_a_vdso() {
    let core = exercise::core_of(&Recipe::default().build());
    let whole = core_dump::vdso(&core).expect("a vDSO").bytes.len();
    let truncated = |length: usize| match core_dump::vdso(&core[..length]) {
        Err(CoreError::Truncated { expected, length }) => expected > length,
        _ => false,
    };
    // The image is last in this dump.
    let start = core.len() - whole;
    assert!(truncated(start), "before the image");
    assert!(!truncated(start + 1), "in the image");
    assert!(truncated(start - 1), "in the notes or before");
    assert!(truncated(70), "in the program headers");
}

/// Where a table of the recipe's image lies in its file.
fn table(bytes: &[u8], recipe: &Recipe, tag: u64) -> usize {
    let image = Image::parse(bytes).expect("an image");
    (image.dynamic_value(tag).expect("the table") - recipe.vaddr) as usize
}

#[test]
fn a_sysv_chain_in_a_circle_ends() {
    let recipe = Recipe {
        gnu_hash: false,
        ..Recipe::default()
    };
    let mut bytes = recipe.build();
    let at = table(&bytes, &recipe, DT_HASH);
    let count = recipe.symbols.len() + 1;
    // Every bucket begins at symbol 1 and every chain entry leads back to it.
    for index in 0..3 + count {
        bytes[at + 8 + 4 * index..][..4].copy_from_slice(&1u32.to_le_bytes());
    }
    let image = Image::parse(&bytes).expect("an image");
    assert!(image.lookup("missing").is_none());
    exercise(&bytes);
}

#[test]
fn a_gnu_chain_without_end_stops_with_the_bytes() {
    let recipe = Recipe {
        sysv_hash: None,
        ..Recipe::default()
    };
    let mut bytes = recipe.build();
    let at = table(&bytes, &recipe, DT_GNU_HASH);
    let image = Image::parse(&bytes).expect("an image");
    let count = image.symbol_count();
    // Clear the end marks in the chain, after 16 + 8 + 8 bytes of counts, filter and buckets.
    for index in 0..recipe.symbols.len() {
        bytes[at + 32 + 4 * index] &= !1;
    }
    let image = Image::parse(&bytes).expect("an image");
    assert!(image.lookup("missing").is_none());
    assert!(image.symbol_count() >= count);
    exercise(&bytes);
}

#[test]
fn version_definitions_in_a_circle_end() {
    let recipe = Recipe::default();
    let mut bytes = recipe.build();
    let at = table(&bytes, &recipe, DT_VERDEF);
    // vd_next of the second definition, so large that it leads back to the first: the addition
    // must not wrap. Then 0 bytes from itself is the end, so 1 byte on overlaps.
    bytes[at + 28 + 16..][..4].copy_from_slice(&(-28i32).to_le_bytes());
    exercise(&bytes);
    bytes[at + 28 + 16..][..4].copy_from_slice(&1i32.to_le_bytes());
    exercise(&bytes);
    let image = Image::parse(&bytes).expect("an image");
    assert!(image.versions().count() <= MAX_VERSIONS);
}

/// In these images every symbol has the looked-up name, and no chain ends.
#[test]
fn hostile_images_of_a_mebibyte_are_read_without_panic() {
    for (what, bytes) in common::hostile_images::all() {
        let (name, version) = (
            common::hostile_images::NAME,
            common::hostile_images::VERSION,
        );
        let image = Image::parse(&bytes).expect(what);
        assert!(image.lookup_version(name, version).is_none(), "{what}");
        assert!(image.lookup(name).is_some(), "{what}");
        assert!(image.symbol_count() as usize <= bytes.len() / 16, "{what}");
        exercise_lookup(&bytes, 0x7fff_0000);
    }
}

/// The seeds of the fuzz targets, by target and name. They are small: one image of each class and
/// order, with either hash table.
fn corpus() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut corpus = vec![];
    for (class, bits) in [(Class::Elf32, 32), (Class::Elf64, 64)] {
        for (order, end) in [(Order::Little, "le"), (Order::Big, "be")] {
            for (gnu_hash, table) in [(true, "gnu"), (false, "sysv")] {
                let sysv_hash = (!gnu_hash).then_some(4);
                let recipe = Recipe {
                    class,
                    order,
                    gnu_hash,
                    sysv_hash,
                    ..Recipe::default()
                };
                let image = Recipe {
                    vvar: false,
                    vaddr: 0,
                    ..recipe
                }
                .build();
                let name = format!("seed-{bits}-{end}-{table}");
                let at = exercise::CORE_ADDRESS.to_le_bytes();
                corpus.push(("image", name.clone(), [&at[..], &image].concat()));
                if gnu_hash {
                    corpus.push(("core", name.clone(), exercise::core_of(&image)));
                    corpus.push(("notes", name, image));
                }
            }
        }
    }
    corpus
}

/// A smoke run of the fuzz targets: every seed that is committed does no harm, and is what the
/// recipes build. VDSOKIT_WRITE_SEEDS=1 writes them.
#[test]
fn the_fuzz_targets_begin_with_these_seeds() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (target, name, bytes) in corpus() {
        let path = root.join(target).join(name);
        if std::env::var_os("VDSOKIT_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(root.join(target)).expect("a directory");
            std::fs::write(&path, &bytes).expect("written");
        }
        let seed = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(seed, bytes, "{}", path.display());
        match target {
            "image" => {
                let (address, bytes) = seed.split_first_chunk().expect("an address");
                assert!(exercise_lookup(bytes, u64::from_le_bytes(*address)) > 0);
                assert!(exercise(bytes) > 0);
            }
            "core" => {
                assert!(exercise::exercise_core_lookup(&seed) > 0);
                assert!(exercise_core(&seed) > 0);
            }
            _ => assert!(exercise::exercise_notes(&seed) > 0),
        }
    }
}
