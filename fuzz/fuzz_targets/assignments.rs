//! Assignments in text, as `vdso set` and publishers read them, and values in the form in which they
//! are printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vdsokit_publish::{Dynamic, assign};
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

const TYPES: [Type; 6] = [
    Type::Scalar(ScalarType::Bool),
    Type::Scalar(ScalarType::I8),
    Type::Scalar(ScalarType::U64),
    Type::Scalar(ScalarType::F64),
    Type::Array(ScalarType::F32, 2),
    Type::Text(16),
];

fuzz_target!(|bytes: &[u8]| {
    for ty in TYPES {
        let value = bytes.get(..ty.size()).and_then(|bytes| Dynamic::from_bytes(ty, bytes));
        // A bool of another byte than 0 and 1, or a text that is not UTF-8, is printed all the same.
        let Some(value) = value else { continue };
        let line = format!("v={value} w.x=1");
        let read = assign::parse(&line).expect("it is printed as it is read");
        assert_eq!(read.len(), 2, "{line}");
        // A text in foreign pages may lack its end.
        let is_text = matches!(ty, Type::Text(_));
        assert!(is_text || Dynamic::check(ty, &read[0].value).is_ok(), "{line}");
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for parsed in [assign::parse(text), assign::parse_argument(text)] {
        for assignment in parsed.unwrap_or_default() {
            assert!(!assignment.name.is_empty() && assignment.field.as_deref() != Some(""));
            for ty in TYPES {
                let _ = Dynamic::check(ty, &assignment.value);
            }
        }
    }
});
