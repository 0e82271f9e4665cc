//! The texts of types, conditions and errors.

use vdsokit_vvar::directory::{MAX_STRING, Malformed, Unencodable};
use vdsokit_vvar::header::{Condition, Unrecognised};
use vdsokit_vvar::layout::{MAX_VALUE, Type};
use vdsokit_vvar::pages::PagesError;
use vdsokit_vvar::scalar::ScalarType;
use vdsokit_vvar::value::TextError;

#[test]
fn types_are_written_as_in_a_declaration() {
    let array = Type::Array(ScalarType::U16, 3);
    assert_eq!(Type::Scalar(ScalarType::F64).to_string(), "f64");
    assert_eq!(array.to_string(), "u16[3]");
    assert_eq!(Type::Text(16).to_string(), "str[16]");
    // In a column of a table.
    assert_eq!(format!("{:>6}|", ScalarType::Bool), "  bool|");
}

#[test]
fn conditions_have_names_for_people() {
    for (condition, name) in [
        (Condition::NeverPublished, "never published"),
        (Condition::Live, "live"),
        (Condition::Stale, "stale"),
        (Condition::Stopped, "stopped"),
        (Condition::Replaced, "replaced"),
    ] {
        assert_eq!(condition.to_string(), name);
    }
    assert_eq!(format!("{:<6}|", Condition::Live), "live  |");
}

#[test]
fn errors_name_the_fault_and_its_numbers() {
    let format = Unrecognised::Format(7);
    let errors: [(&dyn core::error::Error, &[&str]); 18] = [
        (&Malformed::Length, &["malformed directory", "length"]),
        (&Malformed::Format(7), &["format 7", "format 1"]),
        (&Malformed::Variable(7), &["variable 7"]),
        (&Malformed::Layout(7), &["variable 7", "offset"]),
        (&Malformed::Buckets, &["bucket"]),
        (&Unencodable::Twice(7), &["variable 7", "earlier"]),
        (&Unencodable::Nul(7), &["variable 7", "NUL"]),
        (&Unencodable::TooLong(7), &["variable 7", "4096"]),
        (&Unencodable::Size(7), &["variable 7", "65536"]),
        (&Unencodable::TooMany, &["more variables"]),
        (&Unencodable::Buffer, &["buffer"]),
        (&Unrecognised::Foreign, &["magic number"]),
        (&format, &["format 7", "format 1"]),
        (&PagesError::Size(7), &["7 bytes"]),
        (
            &PagesError::Used { used: 9, size: 8 },
            &["9 bytes", "8 are"],
        ),
        (&PagesError::Header(format), &["format 7"]),
        (&TextError::TooLong { bytes: 9, most: 7 }, &["9 bytes", "7"]),
        (&TextError::Nul, &["NUL"]),
    ];
    assert_eq!((MAX_STRING, MAX_VALUE), (4096, 65536));
    for (error, parts) in errors {
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "{text}: {part}");
        }
    }
}
