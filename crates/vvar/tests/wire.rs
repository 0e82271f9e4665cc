//! The wire format of the directory, byte by byte, and notes whose structure was tampered
//! with while every hash and length stays consistent.

use vdsokit_vvar::directory::{
    Directory, Kind, MAX_STRING, Malformed, Unencodable, Variable, encode, encoded_len,
};
use vdsokit_vvar::layout::{Field, MAX_VALUE, Shape, Type};
use vdsokit_vvar::scalar::ScalarType;

const F64: Type = Type::Scalar(ScalarType::F64);
const U32: Type = Type::Scalar(ScalarType::U32);

const WIND: [Field<'static>; 2] = [
    Field {
        name: "speed",
        ty: F64,
        offset: 0,
        unit: "m/s",
        doc: "",
    },
    Field {
        name: "from",
        ty: Type::Text(8),
        offset: 8,
        unit: "",
        doc: "Whence",
    },
];

fn variable<'a>(name: &'a str, shape: Shape<'a>) -> Variable<'a> {
    Variable {
        name,
        unit: "",
        doc: "",
        version: "W_1",
        shape,
    }
}

/// Two variables: the second is a record.
fn weather() -> Vec<u8> {
    note(&[
        variable("t", Shape::Plain(F64)),
        variable("wind", Shape::Record(&WIND)),
    ])
}

fn note(variables: &[Variable<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; encoded_len("w_", variables).unwrap()];
    encode("w_", variables, &mut bytes).unwrap();
    bytes
}

/// FNV-1a over what the layout hash covers, written down again from the documentation.
fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash
}

const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

fn place(hash: u64, name: &str, offset: u64) -> u64 {
    fnv(fnv(fnv(hash, name.as_bytes()), &[0]), &offset.to_le_bytes())
}

fn ty(hash: u64, form: u8, scalar: u8, count: u64) -> u64 {
    fnv(fnv(hash, &[form, scalar]), &count.to_le_bytes())
}

#[test]
fn the_note_is_laid_out_as_documented() {
    let after_t = ty(place(EMPTY, "t", 64), b's', 11, 1);
    let mut after_wind = fnv(place(after_t, "wind", 128), b"{");
    after_wind = ty(place(after_wind, "speed", 0), b's', 11, 1);
    after_wind = ty(place(after_wind, "from", 8), b't', 0, 8);

    let strings = b"\0w_\0t\0W_1\0wind\0W_1\0speed\0m/s\0from\0Whence\0";
    let at = |text: &str| {
        let nul = format!("{text}\0");
        let found = strings
            .windows(nul.len())
            .position(|at| at == nul.as_bytes());
        found.unwrap() as u32
    };
    let second_version = 15;
    let mut expected = Vec::new();
    let mut words = |words: &[u32]| {
        for word in words {
            expected.extend_from_slice(&word.to_le_bytes());
        }
    };
    let halves = |hash: u64| [hash as u32, (hash >> 32) as u32];
    // Head: format, variables, fields, buckets, bytes of strings, bytes used, prefix, and
    // four bytes of zero.
    words(&[1, 2, 2, 2, strings.len() as u32, 128 + 8 + 2 * 16, 1, 0]);
    words(&halves(after_wind));
    // Buckets: the index of the first variable, plus 1.
    let bucket = |name: &str| (fnv(EMPTY, name.as_bytes()) % 2) as usize;
    let mut buckets = [0_u32; 2];
    let mut next = 0;
    buckets[bucket("t")] = 1;
    match buckets[bucket("wind")] {
        0 => buckets[bucket("wind")] = 2,
        _ => next = 2,
    }
    words(&buckets);
    // Variables: name, unit, doc, type, count, offset, version, first field, next, zero, hash.
    words(&[at("t"), 0, 0, 11 << 8, 1, 64, at("W_1"), 0, next, 0]);
    words(&halves(after_t));
    words(&[at("wind"), 0, 0, 3, 2, 128, second_version, 0, 0, 0]);
    words(&halves(after_wind));
    // Fields: name, unit, doc, type, count, offset.
    words(&[at("speed"), at("m/s"), 0, 11 << 8, 1, 0]);
    words(&[at("from"), 0, at("Whence"), 2, 8, 8]);
    expected.extend_from_slice(strings);
    assert_eq!(weather(), expected);
}

// Offsets in the note of `weather`: see the test above.
const BUCKETS: usize = 40;
const VARIABLES: usize = 48;
const WIND_AT: usize = VARIABLES + 48;
const FIELDS: usize = VARIABLES + 2 * 48;
const TYPE: usize = 12;
/// The first code that no scalar has.
const UNKNOWN: u32 = ScalarType::ALL.len() as u32 + 1;
const COUNT: usize = 16;
const OFFSET: usize = 20;
const FIRST: usize = 28;
const NEXT: usize = 32;

/// The note with words changed.
fn changed(words: &[(usize, u32)]) -> Vec<u8> {
    let mut note = weather();
    for (offset, word) in words {
        note[*offset..offset + 4].copy_from_slice(&word.to_le_bytes());
    }
    note
}

/// The note with a word changed, and all hashes computed again from the result.
fn rehashed(words: &[(usize, u32)]) -> Vec<u8> {
    let mut note = changed(words);
    let word = |note: &[u8], at: usize| u32::from_le_bytes(*note[at..].first_chunk().unwrap());
    let string = |note: &[u8], at: usize| {
        let strings = FIELDS + 2 * 24;
        let text = &note[strings + word(note, at) as usize..];
        let end = text.iter().position(|byte| *byte == 0).unwrap();
        String::from_utf8(text[..end].to_vec()).unwrap()
    };
    let hash_type = |note: &[u8], hash: u64, at: usize| {
        let (kind, count) = (word(note, at + TYPE), word(note, at + COUNT));
        let form = [b's', b'a', b't'][(kind & 0xff) as usize % 3];
        ty(hash, form, (kind >> 8) as u8, count.into())
    };
    let mut hash = EMPTY;
    for at in [VARIABLES, WIND_AT] {
        hash = place(hash, &string(&note, at), word(&note, at + OFFSET).into());
        if word(&note, at + TYPE) == 3 {
            hash = fnv(hash, b"{");
            let first = word(&note, at + FIRST) as usize;
            let end = (first + word(&note, at + COUNT) as usize).min(2);
            for field in first..end {
                let at = FIELDS + 24 * field;
                hash = place(hash, &string(&note, at), word(&note, at + OFFSET).into());
                hash = hash_type(&note, hash, at);
            }
        } else {
            hash = hash_type(&note, hash, at);
        }
        note[at + 40..at + 48].copy_from_slice(&hash.to_le_bytes());
    }
    note[32..40].copy_from_slice(&hash.to_le_bytes());
    note
}

#[test]
fn the_recomputed_hashes_are_the_encoder_s() {
    assert_eq!(rehashed(&[]), weather());
}

#[test]
fn tampered_structure_is_refused_though_the_hashes_fit() {
    let (t, wind) = (Malformed::Variable(0), Malformed::Variable(1));
    let largest = MAX_VALUE as u32;
    for (what, words, expected) in [
        ("an unknown form", &[(VARIABLES + TYPE, 4)][..], t),
        ("a scalar of code 0", &[(VARIABLES + TYPE, 0)], t),
        (
            "a scalar of an unknown code",
            &[(VARIABLES + TYPE, UNKNOWN << 8)],
            t,
        ),
        (
            "a scalar code of 9 bits",
            &[(VARIABLES + TYPE, 0x1_0b00)],
            t,
        ),
        ("two elements of a scalar", &[(VARIABLES + COUNT, 2)], t),
        (
            "a text with a scalar",
            &[(VARIABLES + TYPE, 2 | 11 << 8)],
            t,
        ),
        (
            "an empty array",
            &[(VARIABLES + TYPE, 1 | 11 << 8), (VARIABLES + COUNT, 0)],
            t,
        ),
        (
            "an empty text",
            &[(VARIABLES + TYPE, 2), (VARIABLES + COUNT, 0)],
            t,
        ),
        (
            "an array that is too large",
            &[
                (VARIABLES + TYPE, 1 | 11 << 8),
                (VARIABLES + COUNT, largest / 8 + 1),
            ],
            t,
        ),
        (
            "a text that is too large",
            &[(VARIABLES + TYPE, 2), (VARIABLES + COUNT, largest + 1)],
            t,
        ),
        ("a record of no fields", &[(WIND_AT + COUNT, 0)], wind),
        ("a record beyond the fields", &[(WIND_AT + COUNT, 3)], wind),
        (
            "a record that skips a field",
            &[(WIND_AT + FIRST, 1), (WIND_AT + COUNT, 1)],
            wind,
        ),
        (
            "a record whose fields overflow",
            &[(WIND_AT + COUNT, u32::MAX)],
            wind,
        ),
        ("a field off its place", &[(FIELDS + 24 + OFFSET, 16)], wind),
        ("a field over another", &[(FIELDS + 24 + OFFSET, 0)], wind),
        ("a field that is a record", &[(FIELDS + TYPE, 3)], wind),
        (
            "a field that is too large",
            &[(FIELDS + 24 + COUNT, largest + 1)],
            wind,
        ),
        (
            "fields that are too large together",
            &[(FIELDS + 24 + COUNT, largest)],
            wind,
        ),
        ("a name beyond the strings", &[(VARIABLES, 1 << 20)], t),
        ("a unit beyond the strings", &[(VARIABLES + 4, u32::MAX)], t),
        ("a doc beyond the strings", &[(VARIABLES + 8, 1 << 20)], t),
        (
            "a version beyond the strings",
            &[(VARIABLES + 24, 1 << 20)],
            t,
        ),
        (
            "a field's name beyond the strings",
            &[(FIELDS, 1 << 20)],
            wind,
        ),
        (
            "a field's unit beyond the strings",
            &[(FIELDS + 4, 1 << 20)],
            wind,
        ),
        (
            "a field's doc beyond the strings",
            &[(FIELDS + 8, 1 << 20)],
            wind,
        ),
        (
            "a variable off its place",
            &[(VARIABLES + OFFSET, 72)],
            Malformed::Layout(0),
        ),
        (
            "a variable in the header",
            &[(VARIABLES + OFFSET, 56)],
            Malformed::Layout(0),
        ),
        (
            "a latch off its cache line",
            &[(WIND_AT + OFFSET, 136)],
            Malformed::Layout(1),
        ),
        ("more bytes used", &[(20, 4096)], Malformed::Layout(2)),
        ("fewer bytes used", &[(20, 64)], Malformed::Layout(2)),
    ] {
        // Where the hash can't be computed the structure is refused before it is compared.
        let beyond = what.contains("beyond the strings")
            || what.contains("too large")
            || what.contains("overflow");
        let note = if beyond {
            changed(words)
        } else {
            rehashed(words)
        };
        let found = Directory::parse(&note).map(|_| ());
        assert_eq!(found, Err(expected), "{what}");
    }
}

#[test]
fn a_wrong_hash_is_refused() {
    for (at, expected) in [
        (VARIABLES + 40, Malformed::Layout(0)),
        (WIND_AT + 40, Malformed::Layout(1)),
        (32, Malformed::Layout(2)),
    ] {
        let mut note = weather();
        note[at] ^= 1;
        assert_eq!(Directory::parse(&note).map(|_| ()), Err(expected), "{at}");
    }
}

#[test]
fn a_wrong_head_is_refused() {
    for (words, expected) in [
        (&[(0, 2)][..], Malformed::Format(2)),
        (&[(12, 0)], Malformed::Length),
        (&[(16, 0)], Malformed::Length),
        (&[(4, u32::MAX)], Malformed::Length),
        (&[(8, u32::MAX)], Malformed::Length),
        (&[(12, u32::MAX)], Malformed::Length),
        (&[(24, 1 << 20)], Malformed::Length),
    ] {
        let found = Directory::parse(&changed(words)).map(|_| ());
        assert_eq!(found, Err(expected), "{words:?}");
    }
    let mut open = weather();
    *open.last_mut().unwrap() = b'x';
    assert_eq!(Directory::parse(&open).map(|_| ()), Err(Malformed::Length));
    let whole = weather();
    for end in 0..whole.len() {
        assert!(Directory::parse(&whole[..end]).is_err(), "{end}");
    }
}

/// A look-up divides by the number of buckets.
#[test]
fn a_directory_of_no_variables_has_a_bucket_all_the_same() {
    let mut without = note(&[]);
    assert!(Directory::parse(&without).unwrap().find("t").is_none());
    let buckets = u32::from_le_bytes(*without[12..].first_chunk().unwrap()) as usize;
    without.drain(BUCKETS..BUCKETS + (4 * buckets).next_multiple_of(8));
    without[12..16].copy_from_slice(&[0; 4]);
    let refused = Directory::parse(&without).map(|_| ());
    assert_eq!(refused, Err(Malformed::Length));
}

/// Two records, whose three fields follow each other in the table.
fn two_records() -> Vec<u8> {
    let depth = Field {
        name: "depth",
        ty: U32,
        offset: 0,
        unit: "",
        doc: "",
    };
    // Strings begin with a NUL, so that their first bytes are a field's name too.
    let unnamed = Field {
        name: "",
        offset: 4,
        ..depth
    };
    note(&[
        variable("one", Shape::Record(&[depth])),
        variable("other", Shape::Record(&[depth, unnamed])),
    ])
}

#[test]
fn the_fields_of_a_record_follow_those_of_the_record_before_it() {
    let bytes = two_records();
    let directory = Directory::parse(&bytes).unwrap();
    let names = |index| match directory.get(index).unwrap().kind {
        Kind::Record(fields) => fields.map(|field| field.name).collect::<Vec<_>>(),
        Kind::Plain(_) => panic!("a record"),
    };
    assert_eq!([names(0), names(1)], [vec!["depth"], vec!["depth", ""]]);
    // The other's first field is the same as the one's, and the hash does not tell where it stands.
    let mut shared = bytes.clone();
    shared[WIND_AT + FIRST] = 0;
    let refused = Directory::parse(&shared).map(|_| ());
    assert_eq!(refused, Err(Malformed::Variable(1)));
}

/// The bytes stay: only the head says that there is a field less, and that the strings begin where
/// it was.
#[test]
fn a_field_among_the_strings_is_refused() {
    let mut bytes = two_records();
    let add = |bytes: &mut [u8], at: usize, by: i32| {
        let word = i32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) + by;
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    };
    let field = 24;
    for variable in [VARIABLES, WIND_AT] {
        for text in [0, 4, 8, 24] {
            add(&mut bytes, variable + text, field);
        }
    }
    for index in 0..2 {
        for text in [0, 4, 8] {
            add(&mut bytes, FIELDS + index * field as usize + text, field);
        }
    }
    add(&mut bytes, 24, field); // the prefix
    add(&mut bytes, 16, field); // bytes of the strings
    assert_eq!(bytes[8], 3);
    add(&mut bytes, 8, -1); // fields
    let refused = Directory::parse(&bytes).map(|_| ());
    assert_eq!(refused, Err(Malformed::Variable(1)));
}

#[test]
fn a_chain_that_leaves_the_table_is_cyclic_or_lacks_a_variable_is_refused() {
    let bucket = weather()[BUCKETS..BUCKETS + 8].to_vec();
    let used = if bucket[0] != 0 { BUCKETS } else { BUCKETS + 4 };
    for words in [
        &[(used, 3)][..],
        &[(used, u32::MAX)],
        // A variable that no chain has.
        &[(used, 0)],
        // Each variable leads to itself, and to the other.
        &[(used, 1), (VARIABLES + NEXT, 1)],
        &[(used, 1), (VARIABLES + NEXT, 2), (WIND_AT + NEXT, 1)],
        // Both buckets have all variables.
        &[
            (BUCKETS, 1),
            (BUCKETS + 4, 1),
            (VARIABLES + NEXT, 2),
            (WIND_AT + NEXT, 0),
        ],
    ] {
        let found = Directory::parse(&changed(words)).map(|_| ());
        assert_eq!(found, Err(Malformed::Buckets), "{words:?}");
    }
}

#[test]
fn a_string_of_the_maximum_is_read_and_a_longer_one_is_not() {
    let longest = "n".repeat(MAX_STRING);
    let bytes = note(&[variable(&longest, Shape::Plain(U32))]);
    assert!(Directory::parse(&bytes).unwrap().find(&longest).is_some());
    // The same note with the terminating NUL of the name overwritten: the next string
    // continues it.
    let mut longer = bytes.clone();
    let nul = bytes.len() - "W_1\0".len() - 1;
    assert_eq!(longer[nul], 0);
    longer[nul] = b'n';
    let found = Directory::parse(&longer).map(|_| ());
    assert_eq!(found, Err(Malformed::Variable(0)));
}

#[test]
fn a_record_is_distinguished_by_names_types_and_offsets_of_its_fields() {
    let bytes = weather();
    let directory = Directory::parse(&bytes).unwrap();
    let wind = directory.find("wind").unwrap();
    assert!(wind.is(&Shape::Record(&WIND)));
    assert!(!wind.is(&Shape::Plain(Type::Text(16))));
    let with = |change: fn(&mut Field<'static>)| {
        let mut fields = WIND;
        change(&mut fields[1]);
        fields
    };
    for other in [
        with(|field| field.name = "to"),
        with(|field| field.ty = Type::Array(ScalarType::U8, 8)),
        with(|field| field.offset = 16),
    ] {
        assert!(!wind.is(&Shape::Record(&other)), "{other:?}");
    }
    // Units and documentation do not count.
    assert!(wind.is(&Shape::Record(&with(|field| field.doc = "From"))));
    assert!(wind.is(&Shape::Record(&with(|field| field.unit = "deg"))));
}

/// What decides whether a value is carried over to a new layout.
#[test]
fn variables_of_two_directories_are_alike_if_one_is_of_the_others_shape() {
    let mut turned = WIND;
    turned[1].name = "to";
    let text = Shape::Plain(Type::Text(16));
    let shapes = [
        Shape::Plain(F64),
        Shape::Plain(Type::Scalar(ScalarType::U64)),
        text,
        Shape::Record(&WIND),
        Shape::Record(&turned),
    ];
    let notes = shapes.map(|shape| note(&[variable("t", Shape::Plain(U32)), variable("v", shape)]));
    let entries = notes.each_ref().map(|note| {
        let directory = Directory::parse(note).unwrap();
        directory.find("v").unwrap()
    });
    for (one, shape) in entries.iter().zip(&shapes) {
        for (other, others_shape) in entries.iter().zip(&shapes) {
            assert_eq!(
                one.is_like(other),
                one.is(others_shape),
                "{shape:?} {others_shape:?}"
            );
            assert_eq!(one.is_like(other), shape == others_shape);
        }
    }
}

#[test]
fn fields_have_their_units_and_documentation() {
    let bytes = weather();
    let directory = Directory::parse(&bytes).unwrap();
    let wind = directory.get(1).unwrap();
    let Kind::Record(fields) = wind.kind else {
        panic!("a record")
    };
    let fields: Vec<_> = fields.collect();
    assert_eq!(fields, WIND);
    assert!(directory.get(2).is_none());
    assert!(!directory.is_empty());
    assert!(Directory::parse(&note(&[])).unwrap().is_empty());
}

#[test]
fn a_value_of_the_maximum_is_written_and_read_and_a_larger_one_is_not() {
    let largest = MAX_VALUE as u32;
    let field = |ty| Field { ty, ..WIND[0] };
    for ty in [
        Type::Text(largest),
        Type::Array(ScalarType::F64, largest / 8),
    ] {
        let fields = [field(ty)];
        for shape in [Shape::Plain(ty), Shape::Record(&fields)] {
            let bytes = note(&[variable("v", shape)]);
            let directory = Directory::parse(&bytes).unwrap();
            let entry = directory.find("v").unwrap();
            assert_eq!(entry.size(), MAX_VALUE);
            assert!(entry.is_latched());
            assert_eq!(directory.used(), 64 + 8 + 2 * MAX_VALUE);
        }
    }
    let fields = [field(Type::Text(largest + 1))];
    for shape in [
        Shape::Plain(Type::Text(largest + 1)),
        Shape::Record(&fields),
        Shape::Record(&[]),
    ] {
        let refused = encoded_len(
            "w_",
            &[variable("t", Shape::Plain(F64)), variable("v", shape)],
        );
        assert_eq!(refused, Err(Unencodable::Size(1)), "{shape:?}");
    }
}

#[test]
fn a_buffer_of_another_length_is_refused() {
    let variables = [variable("t", Shape::Plain(F64))];
    let len = encoded_len("w_", &variables).unwrap();
    for len in [0, len - 1, len + 1] {
        let refused = encode("w_", &variables, &mut vec![0; len]);
        assert_eq!(refused, Err(Unencodable::Buffer), "{len}");
    }
}

/// Offsets have 32 bits.
#[test]
fn values_of_more_than_four_gibibytes_are_refused() {
    let names: Vec<String> = (0..1 << 15).map(|index| format!("v{index}")).collect();
    let shape = Shape::Plain(Type::Text(MAX_VALUE as u32));
    let variables: Vec<_> = names.iter().map(|name| variable(name, shape)).collect();
    let mut note = vec![0; encoded_len("w_", &variables).unwrap()];
    let refused = encode("w_", &variables, &mut note);
    assert_eq!(refused, Err(Unencodable::TooMany));
}

#[test]
fn only_a_scalar_is_not_latched() {
    let bytes = weather();
    let directory = Directory::parse(&bytes).unwrap();
    let latched: Vec<_> = directory.iter().map(|entry| entry.is_latched()).collect();
    assert_eq!(latched, [false, true]);
}

#[test]
fn the_layout_after_no_variables_is_the_empty_hash() {
    let bytes = weather();
    let directory = Directory::parse(&bytes).unwrap();
    assert_eq!(directory.layout_after(0), Some(EMPTY));
    assert_eq!(directory.layout_after(2), Some(directory.layout()));
    assert_eq!(directory.layout_after(3), None);
}
