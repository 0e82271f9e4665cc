//! Which changes of an image break programs that were built against the old one.

mod common;

use common::{Recipe, Sym, function};
use vdsokit_elf::compare::{Breakage, compare};
use vdsokit_elf::constants::*;
use vdsokit_elf::{Class, Image};

fn breakages(old: &Recipe, new: &Recipe) -> Vec<Breakage> {
    let (old, new) = (old.build(), new.build());
    let image = |bytes| Image::parse(bytes).expect("an image");
    compare(&image(&old), &image(&new))
}

fn with_symbols(symbols: Vec<Sym>) -> Recipe {
    Recipe {
        symbols,
        ..Recipe::default()
    }
}

fn data(size: u64) -> Sym {
    Sym {
        kind: STT_OBJECT,
        size,
        ..function("test_data", 0, 0)
    }
}

#[test]
fn an_image_that_gains_symbols_or_whose_functions_grow_breaks_nothing() {
    let old = Recipe::default();
    assert_eq!(breakages(&old, &old), []);
    let mut new = old.clone();
    new.symbols[0].size = 40;
    new.symbols.push(function("test_more", 0, 1));
    assert_eq!(breakages(&old, &new), []);
    let without_soname = Recipe {
        soname: None,
        ..old.clone()
    };
    assert_eq!(breakages(&without_soname, &old), []);
}

#[test]
fn an_image_for_another_machine_is_compared_no_further() {
    let old = Recipe::default();
    let others = [
        Recipe {
            machine: EM_PPC64,
            ..with_symbols(vec![])
        },
        Recipe {
            class: Class::Elf32,
            ..with_symbols(vec![])
        },
        with_symbols(vec![]).big(),
    ];
    for other in others {
        assert_eq!(breakages(&old, &other), [Breakage::Machine]);
    }
}

#[test]
fn another_soname_breaks_the_programs_that_load_the_old_one() {
    let old = Recipe::default();
    for (soname, new) in [(Some("libtest.so.2"), "libtest.so.2"), (None, "")] {
        let other = Recipe {
            soname,
            ..old.clone()
        };
        let expected = Breakage::Soname {
            old: "libtest.so.1".into(),
            new: new.into(),
        };
        assert_eq!(breakages(&old, &other), [expected]);
    }
}

#[test]
fn a_symbol_must_not_go_or_move_to_another_version() {
    let gone = |symbol: &str| Breakage::Gone {
        symbol: symbol.into(),
    };
    let old = with_symbols(vec![
        function("test_one", 0, 0),
        function("test_two", 16, 0),
    ]);
    let new = with_symbols(vec![function("test_one", 0, 1)]);
    let expected = [gone("test_one@TEST_1.0"), gone("test_two@TEST_1.0")];
    assert_eq!(breakages(&old, &new), expected);
    // One that is not exported was no part of the interface.
    let local = with_symbols(vec![Sym {
        binding: STB_LOCAL,
        ..function("test_one", 0, 0)
    }]);
    assert_eq!(
        breakages(&local, &with_symbols(vec![function("test_two", 0, 0)])),
        []
    );
}

#[test]
fn data_must_keep_its_size_and_stay_data() {
    let symbol = || "test_data@TEST_1.0".to_owned();
    let [eight, sixteen] = [8, 16].map(|size| with_symbols(vec![data(size)]));
    let code = with_symbols(vec![function("test_data", 0, 0)]);
    let size = Breakage::Size {
        symbol: symbol(),
        old: 8,
        new: 16,
    };
    assert_eq!(breakages(&eight, &sixteen), [size]);
    let kind = Breakage::Kind { symbol: symbol() };
    assert_eq!(breakages(&sixteen, &code), std::slice::from_ref(&kind));
    assert_eq!(breakages(&code, &eight), [kind]);
    assert_eq!(breakages(&eight, &eight), []);
}

#[test]
fn a_symbol_must_not_lose_its_default_version() {
    let hidden = |is_hidden| {
        with_symbols(vec![Sym {
            version: Some((0, is_hidden)),
            ..function("test_one", 0, 0)
        }])
    };
    let expected = Breakage::Default {
        symbol: "test_one@TEST_1.0".into(),
    };
    assert_eq!(breakages(&hidden(false), &hidden(true)), [expected]);
    assert_eq!(breakages(&hidden(true), &hidden(false)), []);
    assert_eq!(breakages(&hidden(true), &hidden(true)), []);
}

#[test]
fn a_breakage_names_the_symbol_and_what_changed() {
    let symbol = || "one@V_1".to_owned();
    for (breakage, expected) in [
        (
            Breakage::Machine,
            "is for another machine, class or byte order",
        ),
        (
            Breakage::Soname {
                old: "a".into(),
                new: "b".into(),
            },
            "soname was a, is b",
        ),
        (Breakage::Gone { symbol: symbol() }, "one@V_1 is gone"),
        (
            Breakage::Kind { symbol: symbol() },
            "one@V_1 changed between function and data",
        ),
        (
            Breakage::Size {
                symbol: symbol(),
                old: 4,
                new: 8,
            },
            "one@V_1 had 4 bytes, has 8",
        ),
        (
            Breakage::Default { symbol: symbol() },
            "one@V_1 is no longer the default version",
        ),
    ] {
        assert_eq!(breakage.to_string(), expected);
    }
}
