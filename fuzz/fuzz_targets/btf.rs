//! The kernel's description of its types after edits.
#![no_main]

#[path = "../edits.rs"]
mod edits;

use libfuzzer_sys::fuzz_target;
use vdsokit_bpf::btf::Btf;

/// Names, at offsets that the types below have: `long` 1, `node` 6, `next` 11, `count` 16,
/// `.data..percpu` 22, `hook` 36.
const STRINGS: &[u8] = b"\0long\0node\0next\0count\0.data..percpu\0hook\0";

/// One type of each kind that is read (Documentation/bpf/btf.rst).
const TYPES: &[u32] = &[
    1, 1 << 24, 8, 64, // 1: long
    0, 2 << 24, 4, // 2: pointer to the structure
    0, 3 << 24, 0, 1, 1, 3, // 3: array of three long
    6, 4 << 24 | 2, 32, 11, 2, 0, 16, 3, 64, // 4: structure of the two
    6, 5 << 24 | 1, 8, 16, 1, 0, // 5: union
    0, 6 << 24 | 1, 4, 16, 7, // 6: enumeration
    1, 8 << 24, 1, // 7: another name
    0, 13 << 24 | 1, 0, 0, 2, // 8: prototype
    36, 12 << 24, 8, // 9: function
    16, 14 << 24, 1, 1, // 10: variable
    22, 15 << 24 | 1, 8, 10, 0, 8, // 11: section
];

fn whole() -> Vec<u8> {
    let size = (TYPES.len() * 4) as u32;
    let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&[1, 0]);
    for word in [24, 0, size, size, STRINGS.len() as u32].iter().chain(TYPES) {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes.extend_from_slice(STRINGS);
    bytes
}

fuzz_target!(|input: &[u8]| {
    let mut bytes = whole();
    edits::apply(&mut bytes, input);
    let Ok(btf) = Btf::parse(bytes) else {
        assert!(!input.is_empty(), "the table is whole");
        return;
    };
    for (variable, ty) in btf.variables() {
        let _ = (btf.name(variable), btf.kind(ty), btf.size(ty), btf.spelled(ty));
    }
    for id in 0..16 {
        let _ = (btf.kind(id), btf.size(btf.plain(id)), btf.spelled(id));
        let _ = (btf.members(id).take(1000).count(), btf.is_union(id));
        let _ = btf.parameters(id).take(1000).count();
    }
    let _ = (btf.section(".data..percpu"), btf.enumerator("count"));
});
