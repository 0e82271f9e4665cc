//! The offset of each variable, and the layout hash.
//!
//! Variables are placed in the order of their declaration after the [`crate::header`]: a
//! scalar at a multiple of its size, a latch at the start of a cache line. So a variable
//! that is added at the end moves none of the others (rule 6), and programs and images
//! of both versions agree about the variables that they share.
//!
//! The *layout hash* after a variable covers everything up to and including it that a
//! compiled program relies on: names, types and offsets, but neither units nor
//! documentation. A layout is an earlier version of another exactly when its hash equals
//! the other's hash after the same number of variables.

use crate::latch;
use crate::scalar::ScalarType;
use core::fmt;

/// Alignment of a latch: the cache line size of the supported machines.
pub const LATCH_ALIGN: usize = 64;

/// The size limit of a value, in bytes: two copies of it fit a 32-bit offset, and a reader
/// that retries has lost at most some microseconds.
pub const MAX_VALUE: usize = 64 * 1024;

/// The type of a plain variable, or of a field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// One scalar.
    Scalar(ScalarType),
    /// An array of that many scalars.
    Array(ScalarType, u32),
    /// UTF-8 in that many bytes, NUL-terminated and padded with NULs: the longest text
    /// is one byte shorter.
    Text(u32),
}

impl Type {
    /// Size in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Scalar(scalar) => scalar.size(),
            Self::Array(scalar, count) => scalar.size() * count as usize,
            Self::Text(bytes) => bytes as usize,
        }
    }

    /// Alignment within a record, as in C.
    #[must_use]
    pub const fn align(self) -> usize {
        match self {
            Self::Scalar(scalar) | Self::Array(scalar, _) => scalar.size(),
            Self::Text(_) => 1,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => scalar.fmt(f),
            Self::Array(scalar, count) => write!(f, "{scalar}[{count}]"),
            Self::Text(bytes) => write!(f, "str[{bytes}]"),
        }
    }
}

/// A field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name, a C identifier.
    pub name: &'a str,
    /// Its type.
    pub ty: Type,
    /// Offset in bytes from the start of the record.
    pub offset: usize,
    /// Its unit; may be empty.
    pub unit: &'a str,
    /// Its documentation; may be empty.
    pub doc: &'a str,
}

/// The type of a variable: one value or a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape<'a> {
    /// One value of a type.
    Plain(Type),
    /// Fields that are read together.
    Record(&'a [Field<'a>]),
}

impl Shape<'_> {
    /// Size of one value in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        match self {
            Self::Plain(ty) => ty.size(),
            Self::Record(fields) => record_size(fields),
        }
    }

    /// Whether the variable is stored in a latch; otherwise it is one atomic.
    #[must_use]
    pub const fn is_latched(&self) -> bool {
        !matches!(self, Self::Plain(Type::Scalar(_)))
    }
}

/// Assigns offsets in ascending order.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    end: usize,
}

impl Cursor {
    /// For the fields of a record.
    pub const RECORD: Self = Self { end: 0 };
    /// For the variables of vvar pages.
    pub const PAGES: Self = Self {
        end: crate::header::SIZE,
    };

    /// The offset of the next `size` bytes, a multiple of `align`, a power of two.
    pub const fn place(&mut self, size: usize, align: usize) -> usize {
        let offset = self.end.next_multiple_of(align);
        self.end = offset + size;
        offset
    }

    /// The offset of the next field.
    pub const fn field(&mut self, ty: Type) -> usize {
        self.place(ty.size(), ty.align())
    }

    /// The offset of the next variable.
    pub fn variable(&mut self, shape: &Shape<'_>) -> usize {
        self.value(shape.size(), shape.is_latched())
    }

    /// The offset of the next value of `size` bytes: a latch, or a scalar.
    pub(crate) const fn value(&mut self, size: usize, latched: bool) -> usize {
        if latched {
            self.place(latch::size_of(size), LATCH_ALIGN)
        } else {
            self.place(size, size)
        }
    }

    /// The end of what has been placed.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.end
    }
}

/// Size of a record with these fields, as `sizeof` in C.
const fn record_size(fields: &[Field<'_>]) -> usize {
    let mut cursor = Cursor::RECORD;
    let mut align = 1;
    let mut index = 0;
    while index < fields.len() {
        let ty = fields[index].ty;
        cursor.field(ty);
        if ty.align() > align {
            align = ty.align();
        }
        index += 1;
    }
    cursor.end().next_multiple_of(align)
}

/// The running layout hash: FNV-1a, 64 bits
/// (<http://www.isthe.com/chongo/tech/comp/fnv/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(u64);

impl Hash {
    /// The hash of no variables.
    pub const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    /// The hash of a name alone; the directory's buckets use it.
    #[must_use]
    pub const fn of_name(name: &str) -> u64 {
        Self::EMPTY.bytes(name.as_bytes()).0
    }

    /// The hash after one more variable.
    #[must_use]
    pub fn variable(self, name: &str, shape: &Shape<'_>, offset: usize) -> Self {
        match shape {
            Shape::Plain(ty) => self.plain(name, offset, *ty),
            Shape::Record(fields) => self.record(name, offset, fields.iter().copied()),
        }
    }

    /// The hash after one more variable of a plain type.
    pub(crate) fn plain(self, name: &str, offset: usize, ty: Type) -> Self {
        self.place(name, offset).ty(ty)
    }

    /// The hash after one more variable that is a record.
    pub(crate) fn record<'a>(
        self,
        name: &str,
        offset: usize,
        fields: impl Iterator<Item = Field<'a>>,
    ) -> Self {
        fields.fold(self.place(name, offset).bytes(b"{"), |hash, field| {
            hash.place(field.name, field.offset).ty(field.ty)
        })
    }

    /// The hash as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    fn place(self, name: &str, offset: usize) -> Self {
        self.bytes(name.as_bytes()).bytes(&[0]).number(offset)
    }

    fn ty(self, ty: Type) -> Self {
        let (form, scalar, count) = match ty {
            Type::Scalar(scalar) => (b's', scalar as u8, 1),
            Type::Array(scalar, count) => (b'a', scalar as u8, count),
            Type::Text(bytes) => (b't', 0, bytes),
        };
        self.bytes(&[form, scalar]).number(count as usize)
    }

    fn number(self, number: usize) -> Self {
        self.bytes(&(number as u64).to_le_bytes())
    }

    const fn bytes(mut self, bytes: &[u8]) -> Self {
        let mut index = 0;
        while index < bytes.len() {
            self.0 = (self.0 ^ bytes[index] as u64).wrapping_mul(0x100_0000_01b3);
            index += 1;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const F64: Type = Type::Scalar(ScalarType::F64);

    #[test]
    fn variables_are_placed_in_the_order_of_their_declaration() {
        let mut cursor = Cursor::PAGES;
        let byte = Shape::Plain(Type::Scalar(ScalarType::U8));
        assert_eq!(cursor.variable(&byte), 64);
        assert_eq!(cursor.variable(&Shape::Plain(F64)), 72);
        assert_eq!(cursor.variable(&byte), 80);
        assert_eq!(cursor.variable(&Shape::Plain(Type::Text(5))), 128);
        assert_eq!(cursor.end(), 128 + 8 + 2 * 8);
    }

    #[test]
    fn records_are_laid_out_as_in_c() {
        let fields = [Type::Scalar(ScalarType::U8), F64, Type::Text(3)];
        let mut cursor = Cursor::RECORD;
        let fields = fields.map(|ty| Field {
            name: "x",
            ty,
            offset: cursor.field(ty),
            unit: "",
            doc: "",
        });
        assert_eq!(fields.map(|field| field.offset), [0, 8, 16]);
        assert_eq!(Shape::Record(&fields).size(), 24);
        assert_eq!(Shape::Record(&fields[2..]).size(), 3);
    }

    /// Every format of a data page and of a directory is read by other versions too.
    #[test]
    fn a_value_has_at_most_64_kibibytes() {
        assert_eq!((MAX_VALUE, LATCH_ALIGN), (65_536, 64));
    }

    #[test]
    fn the_hash_distinguishes_names_types_and_offsets() {
        let hash =
            |name, shape: Shape<'_>, offset| Hash::EMPTY.variable(name, &shape, offset).get();
        let one = hash("a", Shape::Plain(F64), 64);
        assert_ne!(one, hash("b", Shape::Plain(F64), 64));
        assert_ne!(one, hash("a", Shape::Plain(F64), 72));
        assert_ne!(
            one,
            hash("a", Shape::Plain(Type::Scalar(ScalarType::U64)), 64)
        );
        let fields = [Field {
            name: "x",
            ty: F64,
            offset: 0,
            unit: "",
            doc: "",
        }];
        assert_ne!(one, hash("a", Shape::Record(&fields), 64));
    }
}
