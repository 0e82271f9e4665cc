//! BTF: the kernel's own description of its types.
//!
//! Source: Documentation/bpf/btf.rst and include/uapi/linux/btf.h. The bytes come
//! from the kernel, but nothing here depends on their being well-formed: whatever
//! reaches beyond them is an error, whatever goes in circles ends.

use crate::Error;
use std::path::Path;

/// Where a kernel offers the types of itself.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// More qualifiers and typedefs than this in a row are a circle.
const LONGEST_CHAIN: usize = 64;

/// A type's number; 0 is `void`.
pub type TypeId = u32;

/// All types of a kernel.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    /// Where each type begins; that of `void` is never used.
    types: Vec<usize>,
    strings: usize,
}

/// What a type is, with what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An integer: its size in bytes, and whether it is signed, a character or a truth value.
    Integer {
        /// Bytes.
        size: u32,
        /// Has a sign.
        signed: bool,
        /// Is C's `_Bool`.
        boolean: bool,
    },
    /// A pointer to that type.
    Pointer(TypeId),
    /// So many of that type.
    Array(TypeId, u32),
    /// Members at offsets: a structure or a union of that size.
    Composite(u32),
    /// An enumeration of that size.
    Enumeration {
        /// Bytes.
        size: u32,
        /// Has negative values.
        signed: bool,
    },
    /// Another name for that type, or a qualifier of it.
    Alias(TypeId),
    /// A function of that prototype.
    Function(TypeId),
    /// A prototype.
    Prototype,
    /// A variable of that type.
    Variable(TypeId),
    /// A section of variables.
    Section,
    /// Something with no value to publish: `void`, a forward declaration, a tag, a float.
    Other,
}

/// A member of a structure or union.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'btf> {
    /// Its name; empty for an anonymous structure or union.
    pub name: &'btf str,
    /// Its type.
    pub ty: TypeId,
    /// Where it begins, in bits.
    pub bit: u32,
    /// Whether it is a bit-field.
    pub bitfield: bool,
}

mod raw {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// The twelve bytes that every type begins with.
struct Head {
    name: u32,
    kind: u32,
    count: u32,
    flag: bool,
    /// A size or a type, depending on the kind.
    size: u32,
}

impl Btf {
    /// Reads the types of the running kernel.
    ///
    /// # Errors
    /// [`Error::NoBtf`] when the kernel has none, or sysfs is not mounted.
    pub fn of_kernel() -> Result<Self, Error> {
        let path = Path::new(VMLINUX);
        let bytes = std::fs::read(path).map_err(|source| Error::NoBtf {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(bytes)
    }

    /// Indexes the types in `bytes`.
    ///
    /// # Errors
    /// [`Error::BadBtf`] when they are not BTF of this machine's byte order, or
    /// reach beyond their end.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Error> {
        let mut btf = Self {
            bytes,
            types: vec![0],
            strings: 0,
        };
        btf.index().ok_or(Error::BadBtf)?;
        Ok(btf)
    }

    fn index(&mut self) -> Option<()> {
        let magic = self.bytes.first_chunk::<2>()?;
        if u16::from_ne_bytes(*magic) != MAGIC {
            return None;
        }
        let header = self.u32(4)? as usize;
        let field = |at: usize| Some(self.u32(at)? as usize);
        let types = header.checked_add(field(8)?)?;
        let types_end = types.checked_add(field(12)?)?;
        let strings = header.checked_add(field(16)?)?;
        let strings_end = strings.checked_add(field(20)?)?;
        self.strings = strings;
        if types_end > self.bytes.len() || strings_end > self.bytes.len() {
            return None;
        }
        self.bytes.truncate(strings_end.max(types_end));
        let mut at = types;
        while at < types_end {
            let id = self.types.len();
            self.types.push(at);
            let head = self.head(TypeId::try_from(id).ok()?)?;
            let each = match head.kind {
                raw::INT | raw::VAR | raw::DECL_TAG => 4,
                raw::ARRAY => 12,
                raw::STRUCT | raw::UNION | raw::DATASEC | raw::ENUM64 => 12 * head.count as usize,
                raw::ENUM | raw::FUNC_PROTO => 8 * head.count as usize,
                raw::PTR | raw::FWD | raw::TYPEDEF | raw::VOLATILE | raw::CONST => 0,
                raw::RESTRICT | raw::FUNC | raw::FLOAT | raw::TYPE_TAG => 0,
                _ => return None,
            };
            at += 12 + each;
        }
        Some(())
    }

    /// The name of a type; empty when it has none.
    #[must_use]
    pub fn name(&self, id: TypeId) -> &str {
        let name = || self.string(self.head(id)?.name);
        name().unwrap_or("")
    }

    /// What a type is.
    #[must_use]
    pub fn kind(&self, id: TypeId) -> Kind {
        self.try_kind(id).unwrap_or(Kind::Other)
    }

    fn try_kind(&self, id: TypeId) -> Option<Kind> {
        let head = self.head(id)?;
        let more = self.types[id as usize] + 12;
        Some(match head.kind {
            raw::INT => {
                // Bits 24 to 27 are the encoding: 1 signed, 2 character, 4 boolean.
                let encoding = self.u32(more)? >> 24;
                Kind::Integer {
                    size: head.size,
                    signed: encoding & 1 != 0,
                    boolean: encoding & 4 != 0,
                }
            }
            raw::PTR => Kind::Pointer(head.size),
            raw::ARRAY => Kind::Array(self.u32(more)?, self.u32(more + 8)?),
            raw::STRUCT | raw::UNION => Kind::Composite(head.size),
            raw::ENUM | raw::ENUM64 => Kind::Enumeration {
                size: head.size,
                signed: head.flag,
            },
            raw::TYPEDEF | raw::VOLATILE | raw::CONST | raw::RESTRICT | raw::TYPE_TAG => {
                Kind::Alias(head.size)
            }
            raw::FUNC => Kind::Function(head.size),
            raw::FUNC_PROTO => Kind::Prototype,
            raw::VAR => Kind::Variable(head.size),
            raw::DATASEC => Kind::Section,
            _ => Kind::Other,
        })
    }

    /// The type behind typedefs and qualifiers.
    #[must_use]
    pub fn plain(&self, mut id: TypeId) -> TypeId {
        for _ in 0..LONGEST_CHAIN {
            match self.kind(id) {
                Kind::Alias(next) => id = next,
                _ => return id,
            }
        }
        0
    }

    /// The size of a value of this type in bytes; `None` when it has none.
    #[must_use]
    pub fn size(&self, id: TypeId) -> Option<u32> {
        let mut count = 1_u32;
        let mut id = self.plain(id);
        for _ in 0..LONGEST_CHAIN {
            match self.kind(id) {
                Kind::Integer { size, .. }
                | Kind::Enumeration { size, .. }
                | Kind::Composite(size) => return count.checked_mul(size),
                Kind::Pointer(_) => return count.checked_mul(8),
                Kind::Array(element, more) => {
                    count = count.checked_mul(more)?;
                    id = self.plain(element);
                }
                _ => return None,
            }
        }
        None
    }

    /// Whether a type is a union, whose members share their bytes.
    #[must_use]
    pub fn is_union(&self, id: TypeId) -> bool {
        self.head(id).is_some_and(|head| head.kind == raw::UNION)
    }

    /// The members of a structure or union.
    pub fn members(&self, id: TypeId) -> impl Iterator<Item = Member<'_>> {
        let composite = |head: &Head| matches!(head.kind, raw::STRUCT | raw::UNION);
        let head = self.head(id).filter(composite);
        let count = head.as_ref().map_or(0, |head| head.count as usize);
        let flag = head.is_some_and(|head| head.flag);
        (0..count).map_while(move |n| {
            let at = self.types[id as usize] + 12 + 12 * n;
            let place = self.u32(at + 8)?;
            // With the flag, the top eight bits are a bit-field's width.
            let (bit, bits) = match flag {
                true => (place & 0x00ff_ffff, place >> 24),
                false => (place, 0),
            };
            Some(Member {
                name: self.string(self.u32(at)?)?,
                ty: self.u32(at + 4)?,
                bit,
                bitfield: bits != 0 || bit % 8 != 0,
            })
        })
    }

    /// The parameters of a function, by its prototype's number.
    pub fn parameters(&self, prototype: TypeId) -> impl Iterator<Item = TypeId> {
        let head = self.head(prototype);
        let head = head.filter(|head| head.kind == raw::FUNC_PROTO);
        let count = head.map_or(0, |head| head.count as usize);
        (0..count).map_while(move |n| self.u32(self.types[prototype as usize] + 16 + 8 * n))
    }

    /// The value of an enumerator, whichever enumeration has it.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<i64> {
        self.ids().find_map(|id| {
            let head = self.head(id)?;
            let width = match head.kind {
                raw::ENUM => 8,
                raw::ENUM64 => 12,
                _ => return None,
            };
            (0..head.count as usize).find_map(|n| {
                let at = self.types[id as usize] + 12 + width * n;
                if !self.is_string(self.u32(at)?, name) {
                    return None;
                }
                let low = self.u32(at + 4)?;
                Some(match (width, head.flag) {
                    (8, true) => i64::from(low.cast_signed()),
                    (8, false) => i64::from(low),
                    _ => (u64::from(low) | u64::from(self.u32(at + 8)?) << 32).cast_signed(),
                })
            })
        })
    }

    /// The first type of this name that `wanted` accepts.
    #[must_use]
    pub fn find(&self, name: &str, wanted: impl Fn(Kind) -> bool) -> Option<TypeId> {
        self.ids().find(|&id| {
            let named = |head: Head| self.is_string(head.name, name);
            self.head(id).is_some_and(named) && wanted(self.kind(id))
        })
    }

    /// The variables that BTF knows: on most kernels, the per-CPU ones.
    pub fn variables(&self) -> impl Iterator<Item = (TypeId, TypeId)> {
        self.ids().filter_map(|id| match self.kind(id) {
            Kind::Variable(ty) => Some((id, ty)),
            _ => None,
        })
    }

    /// The variables in a section of the kernel's.
    #[must_use]
    pub fn section(&self, name: &str) -> Vec<TypeId> {
        let Some(id) = self.find(name, |kind| kind == Kind::Section) else {
            return Vec::new();
        };
        let count = self.head(id).map_or(0, |head| head.count as usize);
        let first = self.types[id as usize] + 12;
        (0..count).map_while(|n| self.u32(first + 12 * n)).collect()
    }

    /// A type as C spells it, more or less.
    #[must_use]
    pub fn spelled(&self, id: TypeId) -> String {
        self.spell(id, LONGEST_CHAIN)
    }

    fn spell(&self, id: TypeId, depth: usize) -> String {
        let name = self.name(id);
        let Some(depth) = depth.checked_sub(1) else {
            return "…".into();
        };
        match self.kind(id) {
            Kind::Pointer(to) => format!("{}*", self.spell(to, depth)),
            Kind::Array(of, count) => format!("{}[{count}]", self.spell(of, depth)),
            Kind::Alias(to) if name.is_empty() => self.spell(to, depth),
            Kind::Composite(_) if name.is_empty() => "struct".into(),
            Kind::Enumeration { .. } if name.is_empty() => "enum".into(),
            Kind::Prototype => "function".into(),
            _ if id == 0 => "void".into(),
            _ => name.to_owned(),
        }
    }

    fn ids(&self) -> impl Iterator<Item = TypeId> {
        // `parse` has checked that the count fits.
        (1..).take(self.types.len() - 1)
    }

    fn head(&self, id: TypeId) -> Option<Head> {
        let at = *self.types.get(id as usize).filter(|_| id != 0)?;
        let info = self.u32(at + 4)?;
        Some(Head {
            name: self.u32(at)?,
            kind: info >> 24 & 0x1f,
            count: info & 0xffff,
            flag: info >> 31 != 0,
            size: self.u32(at + 8)?,
        })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*bytes))
    }

    /// Whether this string is `text`, without looking for its end first.
    fn is_string(&self, offset: u32, text: &str) -> bool {
        let at = self.strings.checked_add(offset as usize);
        let rest = at.and_then(|at| self.bytes.get(at..));
        let rest = rest.and_then(|rest| rest.strip_prefix(text.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let rest = self
            .bytes
            .get(self.strings.checked_add(offset as usize)?..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    }
}

#[cfg(test)]
pub(crate) mod tests;
