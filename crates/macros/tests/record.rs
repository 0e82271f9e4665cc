//! What `#[derive(Record)]` makes of a struct, against the layout that C gives it.

use std::mem::{offset_of, size_of};
use vdsokit_macros::Record;
use vdsokit_vvar::latch::{Latch, LatchWriter, Word, stride};
use vdsokit_vvar::layout::Shape;
use vdsokit_vvar::value::{Text, Value};

/// All kinds of fields, with holes between them.
#[derive(Clone, Copy, Debug, PartialEq, Record)]
#[vvar(crate = vdsokit_vvar)]
#[repr(C)]
struct Mixed {
    flag: bool,
    /// How fast the wind blows,
    /// on average.
    ///
    /// Never negative.
    #[vvar(unit = "m/s")]
    speed: f64,
    gusts: [i16; 3],
    r#type: u8,
    place: Text<5>,
    count: u32,
}

#[test]
fn a_record_lies_as_c_has_it() {
    let Shape::Record(fields) = Mixed::SHAPE else {
        panic!("a record")
    };
    let places: Vec<_> = fields
        .iter()
        .map(|field| (field.name, field.offset))
        .collect();
    assert_eq!(
        places,
        [
            ("flag", offset_of!(Mixed, flag)),
            ("speed", offset_of!(Mixed, speed)),
            ("gusts", offset_of!(Mixed, gusts)),
            ("type", offset_of!(Mixed, r#type)),
            ("place", offset_of!(Mixed, place)),
            ("count", offset_of!(Mixed, count)),
        ]
    );
    assert_eq!(Mixed::SHAPE.size(), size_of::<Mixed>());
    assert_eq!(fields[1].unit, "m/s");
    assert_eq!(
        fields[1].doc,
        "How fast the wind blows, on average.\nNever negative."
    );
    assert_eq!((fields[0].unit, fields[0].doc), ("", ""));
}

#[test]
fn a_record_comes_back() {
    let words: Vec<Word> = (0..=2 * stride(Mixed::SHAPE.size()) / 8)
        .map(|_| Word::new(u64::MAX))
        .collect();
    let latch = Latch::new(&words).unwrap();
    let mixed = Mixed {
        flag: true,
        speed: -1.5,
        gusts: [1, -2, 3],
        r#type: 255,
        place: Text::new("Kiel").unwrap(),
        count: 0xdead_beef,
    };
    LatchWriter::new(latch).write(|copy| mixed.store(&copy));
    assert_eq!(latch.read(Mixed::load), mixed);
}
