//! Values of keys of a store, which `vdso feed` assigns to variables.
#![no_main]

// The whole crate has the clients of the stores.
#[allow(dead_code, reason = "the feed uses all of it")]
#[path = "../../crates/feed/src/value.rs"]
mod value;

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use vdsokit_build::declaration::{Field, Kind};
use vdsokit_publish::Dynamic;
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

static KINDS: LazyLock<[Kind; 4]> = LazyLock::new(|| {
    [
        Kind::Plain(Type::Scalar(ScalarType::F64)),
        Kind::Plain(Type::Text(8)),
        Kind::Plain(Type::Array(ScalarType::U8, 3)),
        Kind::record([
            Field::new("n", Type::Scalar(ScalarType::I64)),
            Field::new("t", Type::Text(8)),
            Field::new("a", Type::Array(ScalarType::F32, 2)),
        ]),
    ]
});

fuzz_target!(|bytes: &[u8]| {
    for kind in &*KINDS {
        let Ok(assignments) = value::assignments("v", kind, bytes) else {
            continue;
        };
        let fits = |field: &Option<String>, value: &str| {
            let ty = match (kind, field) {
                (Kind::Record(fields), Some(name)) => fields.iter().find(|field| field.name == *name)?.ty,
                (Kind::Plain(ty), None) => *ty,
                _ => return None,
            };
            Dynamic::check(ty, value).ok()
        };
        // The others are refused when they are assigned.
        if !assignments.iter().all(|one| fits(&one.field, &one.value).is_some()) {
            continue;
        }
        // What `vdso put` makes of it is read again as the same, or as the same written otherwise.
        let text = value::text(kind, &assignments);
        let again = value::assignments("v", kind, text.as_bytes()).expect("it was written by `text`");
        let once = value::text(kind, &again);
        assert_eq!(once, text);
    }
});
