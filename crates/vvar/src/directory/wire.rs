//! The fields of the note and their offsets, shared by writer and reader.

use crate::layout::Type;
use crate::scalar::ScalarType;

/// The only format so far.
pub(super) const FORMAT: u32 = 1;

/// The size limit of a string, in bytes: it bounds the work for a hostile note.
pub const MAX_STRING: usize = 4096;

/// A table of `u32` fields at fixed offsets, the last of which may be a `u64`.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $size:literal: $($(#[$about:meta])* $field:ident = $offset:literal,)*) => {
        $(#[$doc])*
        pub(super) mod $name {
            /// Its size in bytes.
            pub(in super::super) const SIZE: usize = $size;
            $($(#[$about])* pub(in super::super) const $field: usize = $offset;)*
        }
    };
}

record! {
    /// The start of the note.
    head, 40:
    /// [`FORMAT`].
    FORMAT = 0,
    /// The number of variables.
    VARIABLES = 4,
    /// The number of fields of all records.
    FIELDS = 8,
    /// The number of buckets, at least one.
    BUCKETS = 12,
    /// Bytes of all strings.
    STRINGS = 16,
    /// Bytes of the vvar pages in use.
    USED = 20,
    /// The prefix of the functions' names: a string.
    PREFIX = 24,
    /// The layout hash, 8 bytes.
    LAYOUT = 32,
}

record! {
    /// A variable.
    variable, 48:
    /// A string.
    NAME = 0,
    /// A string.
    UNIT = 4,
    /// A string.
    DOC = 8,
    /// Its type: see [`super::form`].
    TYPE = 12,
    /// Elements of an array, bytes of a text, fields of a record.
    COUNT = 16,
    /// The offset of a variable in the pages, or of a field in its record.
    OFFSET = 20,
    /// The version node of its function: a string.
    VERSION = 24,
    /// The first of a record's fields.
    FIRST = 28,
    /// The index of the next variable in the same bucket, plus 1; 0 ends the chain.
    NEXT = 32,
    /// The layout hash after it, 8 bytes.
    LAYOUT = 40,
}

record! {
    /// A field: it has the first members of a variable.
    field, 24:
}

/// The word of a type: the form in the low byte, the scalar's code in the next.
pub(super) mod form {
    /// One scalar.
    pub(in super::super) const SCALAR: u32 = 0;
    /// An array of scalars.
    pub(in super::super) const ARRAY: u32 = 1;
    /// A text.
    pub(in super::super) const TEXT: u32 = 2;
    /// A record; only a variable can be one.
    pub(in super::super) const RECORD: u32 = 3;
}

/// Encodes a type as a word and a count.
pub(super) fn type_to_wire(ty: Type) -> (u32, u32) {
    match ty {
        Type::Scalar(scalar) => (form::SCALAR | u32::from(scalar as u8) << 8, 1),
        Type::Array(scalar, count) => (form::ARRAY | u32::from(scalar as u8) << 8, count),
        Type::Text(bytes) => (form::TEXT, bytes),
    }
}

/// Decodes a word and a count to a type.
pub(super) fn type_from_wire(word: u32, count: u32) -> Option<Type> {
    let scalar = || ScalarType::from_code(u8::try_from(word >> 8).ok()?);
    match word & 0xff {
        form::SCALAR if count == 1 => Some(Type::Scalar(scalar()?)),
        form::ARRAY => Some(Type::Array(scalar()?, count)),
        form::TEXT if word == form::TEXT => Some(Type::Text(count)),
        _ => None,
    }
}

/// The number at `offset` of `bytes`.
pub(super) fn get_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(offset..)?.first_chunk().copied()?,
    ))
}

/// The number at `offset` of `bytes`.
pub(super) fn get_u64(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(
        bytes.get(offset..)?.first_chunk().copied()?,
    ))
}

/// The offset of each table in a note, and the end of the note.
pub(super) struct Tables {
    pub(super) buckets: usize,
    pub(super) variables: usize,
    pub(super) fields: usize,
    pub(super) strings: usize,
    pub(super) end: usize,
}

impl Tables {
    /// For tables of these sizes; `None` when the note would exceed 32 bits.
    pub(super) fn new(
        buckets: usize,
        variables: usize,
        fields: usize,
        strings: usize,
    ) -> Option<Self> {
        let at_buckets = head::SIZE;
        let at_variables = buckets
            .checked_mul(4)?
            .checked_next_multiple_of(8)?
            .checked_add(at_buckets)?;
        let at_fields = variables
            .checked_mul(variable::SIZE)?
            .checked_add(at_variables)?;
        let at_strings = fields.checked_mul(field::SIZE)?.checked_add(at_fields)?;
        let end = at_strings.checked_add(strings)?;
        u32::try_from(end).ok()?;
        Some(Self {
            buckets: at_buckets,
            variables: at_variables,
            fields: at_fields,
            strings: at_strings,
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_note_has_32_bits() {
        let end = |strings| Tables::new(1, 1, 1, strings).map(|tables| tables.end);
        let others = end(0).unwrap();
        let most = u32::MAX as usize;
        assert_eq!(end(most - others), Some(most));
        assert_eq!(end(most - others + 1), None);
    }
}
