//! Writing a directory, which assigns each variable its offset.

use super::wire::{self, MAX_STRING, Tables, field, form, head, type_to_wire, variable};
use crate::layout::{Cursor, Hash, MAX_VALUE, Shape};
use core::fmt;

/// A declared variable; its offset follows from those before it.
#[derive(Clone, Copy, Debug)]
pub struct Variable<'a> {
    /// A C identifier, unique in the declaration.
    pub name: &'a str,
    /// Its unit; may be empty.
    pub unit: &'a str,
    /// Its documentation; may be empty.
    pub doc: &'a str,
    /// The version node of its function.
    pub version: &'a str,
    /// Its type.
    pub shape: Shape<'a>,
}

impl<'a> Variable<'a> {
    fn fields(&self) -> &'a [crate::layout::Field<'a>] {
        match self.shape {
            Shape::Plain(_) => &[],
            Shape::Record(fields) => fields,
        }
    }

    fn strings(&self) -> impl Iterator<Item = &'a str> {
        let own = [self.name, self.unit, self.doc, self.version].into_iter();
        own.chain(
            self.fields()
                .iter()
                .flat_map(|field| [field.name, field.unit, field.doc]),
        )
    }
}

/// Why a declaration cannot be encoded as a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unencodable {
    /// The variable with this index has the name of an earlier one.
    Twice(usize),
    /// A string of the variable with this index contains a NUL.
    Nul(usize),
    /// A string of the variable with this index has more than [`MAX_STRING`] bytes.
    TooLong(usize),
    /// The variable with this index is empty, or larger than [`MAX_VALUE`].
    Size(usize),
    /// The directory or the pages would exceed 32 bits.
    TooMany,
    /// The buffer's length differs from [`encoded_len`].
    Buffer,
}

impl fmt::Display for Unencodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice(index) => write!(f, "variable {index} has the name of an earlier one"),
            Self::Nul(index) => write!(f, "a string of variable {index} contains a NUL"),
            Self::TooLong(index) => write!(
                f,
                "a string of variable {index} has more than {MAX_STRING} bytes"
            ),
            Self::Size(index) => write!(
                f,
                "variable {index} is empty or has more than {MAX_VALUE} bytes"
            ),
            Self::TooMany => f.write_str("more variables than fit into a directory"),
            Self::Buffer => f.write_str("the buffer's length is not that of the directory"),
        }
    }
}

impl core::error::Error for Unencodable {}

/// The number of bytes that [`encode`] writes.
///
/// # Errors
/// [`Unencodable`], but for [`Unencodable::Twice`], which only `encode` finds.
pub fn encoded_len(prefix: &str, variables: &[Variable<'_>]) -> Result<usize, Unencodable> {
    Ok(tables(prefix, variables)?.end)
}

fn buckets(variables: &[Variable<'_>]) -> usize {
    variables.len().max(1)
}

fn tables(prefix: &str, variables: &[Variable<'_>]) -> Result<Tables, Unencodable> {
    // The empty string comes first, then the prefix.
    let mut strings = 1 + prefix.len() + 1;
    let mut fields = 0;
    for (index, variable) in variables.iter().enumerate() {
        let size = variable.shape.size();
        if size == 0 || size > MAX_VALUE {
            return Err(Unencodable::Size(index));
        }
        if variable.strings().any(|string| string.contains('\0')) {
            return Err(Unencodable::Nul(index));
        }
        if variable.strings().any(|string| string.len() > MAX_STRING) {
            return Err(Unencodable::TooLong(index));
        }
        strings += variable
            .strings()
            .filter(|string| !string.is_empty())
            .map(|string| string.len() + 1)
            .sum::<usize>();
        fields += variable.fields().len();
    }
    Tables::new(buckets(variables), variables.len(), fields, strings).ok_or(Unencodable::TooMany)
}

/// Writes the directory of `variables`, whose functions' names begin with `prefix`.
///
/// # Errors
/// [`Unencodable`]; the content of `note` is then unspecified.
pub fn encode(
    prefix: &str,
    variables: &[Variable<'_>],
    note: &mut [u8],
) -> Result<(), Unencodable> {
    let tables = tables(prefix, variables)?;
    if note.len() != tables.end {
        return Err(Unencodable::Buffer);
    }
    note.fill(0);
    let buckets = buckets(variables);
    let mut note = Note {
        bytes: note,
        strings: tables.strings,
        strings_end: tables.strings + 1,
    };
    let mut cursor = Cursor::PAGES;
    let mut layout = Hash::EMPTY;
    let mut first_field = 0;
    let prefix = note.string(prefix);
    for (index, declared) in variables.iter().enumerate() {
        let offset = cursor.variable(&declared.shape);
        if u32::try_from(cursor.end()).is_err() {
            return Err(Unencodable::TooMany);
        }
        layout = layout.variable(declared.name, &declared.shape, offset);
        let at = tables.variables + index * variable::SIZE;
        let (word, count) = match declared.shape {
            Shape::Plain(ty) => type_to_wire(ty),
            Shape::Record(fields) => (form::RECORD, fields.len() as u32),
        };
        note.words(at, declared.name, declared.unit, declared.doc);
        note.set(at + variable::TYPE, word);
        note.set(at + variable::COUNT, count);
        note.set(at + variable::OFFSET, offset as u32);
        let version = note.string(declared.version);
        note.set(at + variable::VERSION, version);
        note.set(at + variable::FIRST, first_field as u32);
        note.set_u64(at + variable::LAYOUT, layout.get());
        for member in declared.fields() {
            let at = tables.fields + first_field * field::SIZE;
            let (word, count) = type_to_wire(member.ty);
            note.words(at, member.name, member.unit, member.doc);
            note.set(at + variable::TYPE, word);
            note.set(at + variable::COUNT, count);
            note.set(at + variable::OFFSET, member.offset as u32);
            first_field += 1;
        }
        let bucket = tables.buckets + 4 * (Hash::of_name(declared.name) as usize % buckets);
        note.link(&tables, bucket, index, declared.name, variables)?;
    }
    let numbers = [
        (head::FORMAT, wire::FORMAT),
        (head::VARIABLES, variables.len() as u32),
        (head::FIELDS, first_field as u32),
        (head::BUCKETS, buckets as u32),
        (head::STRINGS, (tables.end - tables.strings) as u32),
        (head::USED, cursor.end() as u32),
        (head::PREFIX, prefix),
    ];
    for (offset, number) in numbers {
        note.set(offset, number);
    }
    note.set_u64(head::LAYOUT, layout.get());
    Ok(())
}

/// The note under construction. `tables` measured it, so every offset is within it.
struct Note<'n> {
    bytes: &'n mut [u8],
    strings: usize,
    strings_end: usize,
}

impl Note<'_> {
    fn set(&mut self, offset: usize, number: u32) {
        self.bytes[offset..offset + 4].copy_from_slice(&number.to_le_bytes());
    }

    fn set_u64(&mut self, offset: usize, number: u64) {
        self.bytes[offset..offset + 8].copy_from_slice(&number.to_le_bytes());
    }

    fn get(&self, offset: usize) -> u32 {
        wire::get_u32(self.bytes, offset).unwrap_or_default()
    }

    /// Appends a string and returns its position; the empty string is at 0.
    fn string(&mut self, string: &str) -> u32 {
        if string.is_empty() {
            return 0;
        }
        let at = self.strings_end;
        self.bytes[at..at + string.len()].copy_from_slice(string.as_bytes());
        self.strings_end = at + string.len() + 1;
        (at - self.strings) as u32
    }

    /// Writes the strings that variables and fields have in common.
    fn words(&mut self, at: usize, name: &str, unit: &str, doc: &str) {
        let strings = [
            (variable::NAME, name),
            (variable::UNIT, unit),
            (variable::DOC, doc),
        ];
        for (offset, string) in strings {
            let string = self.string(string);
            self.set(at + offset, string);
        }
    }

    /// Appends a variable to the chain of its bucket.
    fn link(
        &mut self,
        tables: &Tables,
        bucket: usize,
        index: usize,
        name: &str,
        variables: &[Variable<'_>],
    ) -> Result<(), Unencodable> {
        let mut link = bucket;
        loop {
            let next = self.get(link) as usize;
            if next == 0 {
                self.set(link, index as u32 + 1);
                return Ok(());
            }
            if variables[next - 1].name == name {
                return Err(Unencodable::Twice(index));
            }
            link = tables.variables + (next - 1) * variable::SIZE + variable::NEXT;
        }
    }
}
