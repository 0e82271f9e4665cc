//! The directory: an ELF note in the image that names every variable.
//!
//! With it, tools and other languages need no header file, and only programs that were
//! built against an image have its offsets compiled in. The note's owner is
//! [`crate::NOTE_NAME`], its type [`crate::NOTE_DIRECTORY`].
//!
//! Every number is little-endian on all machines. The head is followed by the buckets for
//! look-up by name, the variables in the order of their declaration, the fields of all
//! records, and the NUL-terminated strings.
//!
//! [`encode`] writes a directory and [`Directory`] reads one. The reader checks the whole
//! note once, so that later look-ups cannot meet a malformed table.

mod read;
mod wire;
mod write;

pub use read::{Directory, Entry, Fields, Kind, Malformed};
pub use wire::MAX_STRING;
pub use write::{Unencodable, Variable, encode, encoded_len};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Field, Shape, Type};
    use crate::scalar::ScalarType;
    use proptest::prelude::*;

    const F64: Type = Type::Scalar(ScalarType::F64);

    fn plain<'a>(name: &'a str, ty: Type) -> Variable<'a> {
        Variable {
            name,
            unit: "",
            doc: "",
            version: "TEST_1.0",
            shape: Shape::Plain(ty),
        }
    }

    fn note(variables: &[Variable<'_>]) -> Vec<u8> {
        let mut bytes = vec![0; encoded_len("test_", variables).unwrap()];
        encode("test_", variables, &mut bytes).unwrap();
        bytes
    }

    const WIND: [Field<'static>; 2] = [
        Field {
            name: "speed",
            ty: F64,
            offset: 0,
            unit: "m/s",
            doc: "How fast",
        },
        Field {
            name: "from",
            ty: Type::Text(8),
            offset: 8,
            unit: "",
            doc: "",
        },
    ];

    #[test]
    fn what_is_written_is_read() {
        let bytes = note(&[
            Variable {
                unit: "degC",
                doc: "Outside",
                ..plain("temperature", F64)
            },
            Variable {
                version: "TEST_1.1",
                shape: Shape::Record(&WIND),
                ..plain("wind", F64)
            },
        ]);
        let directory = Directory::parse(&bytes).unwrap();
        assert_eq!(directory.prefix(), "test_");
        assert_eq!(directory.len(), 2);
        let temperature = directory.find("temperature").unwrap();
        assert_eq!((temperature.unit, temperature.doc), ("degC", "Outside"));
        assert_eq!(temperature.offset, 64);
        assert!(temperature.is(&Shape::Plain(F64)));
        assert!(!temperature.is(&Shape::Plain(Type::Scalar(ScalarType::U64))));
        let wind = directory.find("wind").unwrap();
        assert_eq!((wind.version, wind.offset), ("TEST_1.1", 128));
        assert!(wind.is(&Shape::Record(&WIND)));
        assert!(!wind.is(&Shape::Record(&WIND[..1])));
        let Kind::Record(mut fields) = wind.kind.clone() else {
            panic!("a record")
        };
        assert_eq!(fields.next(), Some(WIND[0]));
        assert_eq!(wind.size(), 16);
        assert!(directory.find("gust").is_none());
        assert_eq!(directory.used(), 128 + 8 + 2 * 16);
    }

    #[test]
    fn a_layout_that_grew_shares_its_first_variables() {
        let variables = [plain("a", F64), plain("b", F64), plain("c", F64)];
        let (old, new) = (note(&variables[..2]), note(&variables));
        let other = note(&[variables[0], variables[2]]);
        let [old, new, other] = [&old, &new, &other].map(|note| Directory::parse(note).unwrap());
        assert_eq!(old.shared_with(&new), 2);
        assert_eq!(new.shared_with(&old), 2);
        assert_eq!(other.shared_with(&new), 1);
        assert_eq!(new.layout_after(2), Some(old.layout()));
    }

    #[test]
    fn names_are_found_among_many() {
        let names: Vec<String> = (0..1000).map(|index| format!("v{index}")).collect();
        let variables: Vec<_> = names.iter().map(|name| plain(name, F64)).collect();
        let bytes = note(&variables);
        let directory = Directory::parse(&bytes).unwrap();
        for (index, name) in names.iter().enumerate() {
            assert_eq!(directory.find(name).unwrap().offset, 64 + 8 * index);
        }
        assert_eq!(directory.iter().count(), 1000);
    }

    #[test]
    fn what_cannot_be_encoded_is_refused() {
        let twice = [plain("a", F64), plain("a", F64)];
        assert_eq!(
            encoded_len("", &twice).and_then(|len| encode("", &twice, &mut vec![0; len])),
            Err(Unencodable::Twice(1))
        );
        let nul = [plain("a\0", F64)];
        assert_eq!(encoded_len("", &nul), Err(Unencodable::Nul(0)));
        let long = "a".repeat(MAX_STRING + 1);
        assert_eq!(
            encoded_len("", &[plain(&long, F64)]),
            Err(Unencodable::TooLong(0))
        );
        let huge = [plain("a", Type::Array(ScalarType::U64, 1 << 20))];
        assert_eq!(encoded_len("", &huge), Err(Unencodable::Size(0)));
        let none = [plain("a", Type::Array(ScalarType::U64, 0))];
        assert_eq!(encoded_len("", &none), Err(Unencodable::Size(0)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = Directory::parse(&bytes);
        }

        #[test]
        fn a_changed_note_is_refused_or_still_whole(at: prop::sample::Index, byte: u8) {
            let mut bytes = note(&[plain("temperature", F64), Variable {
                shape: Shape::Record(&WIND),
                ..plain("wind", F64)
            }]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(directory) = Directory::parse(&bytes) {
                for entry in directory.iter() {
                    prop_assert!(entry.offset + entry.size() <= directory.used());
                    let _ = directory.find(entry.name);
                }
            }
        }
    }
}
