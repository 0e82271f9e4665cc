//! BTF that a test writes, and what is read from it.

use super::*;
use proptest::prelude::*;

/// Writes BTF for tests.
#[derive(Default)]
pub(crate) struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Writer {
    pub(crate) fn string(&mut self, text: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    pub(crate) fn add(&mut self, name: &str, info: u32, size: u32, more: &[u32]) -> TypeId {
        let name = self.string(name);
        for word in [name, info, size].iter().chain(more) {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    pub(crate) fn int(&mut self, name: &str, size: u32, encoding: u32) -> TypeId {
        self.add(name, raw::INT << 24, size, &[(encoding << 24) | (size * 8)])
    }

    pub(crate) fn pointer(&mut self, to: TypeId) -> TypeId {
        self.add("", raw::PTR << 24, to, &[])
    }

    pub(crate) fn array(&mut self, of: TypeId, count: u32) -> TypeId {
        self.add("", raw::ARRAY << 24, 0, &[of, 1, count])
    }

    pub(crate) fn structure(
        &mut self,
        name: &str,
        size: u32,
        members: &[(&str, TypeId, u32)],
    ) -> TypeId {
        self.composite(raw::STRUCT, name, size, members)
    }

    pub(crate) fn union(
        &mut self,
        name: &str,
        size: u32,
        members: &[(&str, TypeId, u32)],
    ) -> TypeId {
        self.composite(raw::UNION, name, size, members)
    }

    fn composite(
        &mut self,
        kind: u32,
        name: &str,
        size: u32,
        members: &[(&str, TypeId, u32)],
    ) -> TypeId {
        let more: Vec<u32> = members
            .iter()
            .flat_map(|&(name, ty, byte)| [self.string(name), ty, byte * 8])
            .collect();
        let info = kind << 24 | members.len() as u32;
        self.add(name, info, size, &more)
    }

    pub(crate) fn enumeration(&mut self, values: &[(&str, u32)]) -> TypeId {
        let more: Vec<u32> = values
            .iter()
            .flat_map(|&(name, value)| [self.string(name), value])
            .collect();
        self.add("", raw::ENUM << 24 | values.len() as u32, 4, &more)
    }

    pub(crate) fn function(&mut self, name: &str, parameters: &[TypeId]) -> TypeId {
        let more: Vec<u32> = parameters.iter().flat_map(|&ty| [0, ty]).collect();
        let info = raw::FUNC_PROTO << 24 | parameters.len() as u32;
        let prototype = self.add("", info, 0, &more);
        self.add(name, raw::FUNC << 24, prototype, &[])
    }

    pub(crate) fn per_cpu(&mut self, variables: &[(&str, TypeId)]) {
        let ids: Vec<TypeId> = variables
            .iter()
            .map(|&(name, ty)| self.add(name, raw::VAR << 24, ty, &[1]))
            .collect();
        let more: Vec<u32> = ids.iter().flat_map(|&id| [id, 0, 8]).collect();
        let info = raw::DATASEC << 24 | ids.len() as u32;
        self.add(".data..percpu", info, 0, &more);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.string("");
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&[1, 0]);
        for word in [24, 0, types, types, strings] {
            bytes.extend_from_slice(&u32::to_ne_bytes(word));
        }
        bytes.extend(self.types);
        bytes.extend(self.strings);
        bytes
    }
}

fn small() -> Vec<u8> {
    let mut writer = Writer::default();
    let long = writer.int("unsigned long", 8, 0);
    let name = writer.structure("named", 24, &[("one", long, 0), ("two", long, 8)]);
    let array = writer.array(name, 3);
    writer.pointer(array);
    writer.enumeration(&[("NR_A", 0), ("NR_B", 7)]);
    writer.per_cpu(&[("counts", long)]);
    writer.finish()
}

#[test]
fn types_members_enumerators_and_sections_are_found() {
    let btf = Btf::parse(small()).unwrap();
    let named = btf
        .find("named", |kind| matches!(kind, Kind::Composite(_)))
        .unwrap();
    let members: Vec<(&str, u32)> = btf.members(named).map(|m| (m.name, m.bit)).collect();
    assert_eq!(members, [("one", 0), ("two", 64)]);
    assert_eq!(btf.size(3), Some(72));
    assert_eq!(btf.spelled(4), "named[3]*");
    assert_eq!(btf.enumerator("NR_B"), Some(7));
    assert_eq!(btf.enumerator("NR_C"), None);
    let section = btf.section(".data..percpu");
    assert_eq!(btf.name(section[0]), "counts");
}

#[test]
fn an_alias_of_itself_is_no_type() {
    let mut writer = Writer::default();
    writer.add("loop", raw::TYPEDEF << 24, 1, &[]);
    let btf = Btf::parse(writer.finish()).unwrap();
    assert_eq!(btf.plain(1), 0);
    assert_eq!(btf.size(1), None);
}

fn walk(btf: &Btf) {
    for id in 0..64 {
        let _ = (btf.kind(id), btf.spelled(id), btf.size(id), btf.plain(id));
        let _ = (btf.members(id).count(), btf.parameters(id).count());
    }
    let _ = (
        btf.enumerator("x"),
        btf.section("x"),
        btf.variables().count(),
    );
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes: Vec<u8>) {
        if let Ok(btf) = Btf::parse(bytes) {
            walk(&btf);
        }
    }

    #[test]
    fn a_flipped_byte_is_survived(at in 0_usize..400, to: u8) {
        let mut bytes = small();
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(btf) = Btf::parse(bytes) {
            walk(&btf);
        }
    }
}
