//! Reading a directory that may be hostile.

use super::wire::{
    self, MAX_STRING, Tables, field, form, get_u32, get_u64, head, type_from_wire, variable,
};
use crate::layout::{Cursor, Field, Hash, MAX_VALUE, Shape, Type};
use core::fmt;

/// A well-formed directory.
#[derive(Clone, Copy)]
pub struct Directory<'a> {
    note: &'a [u8],
    tables: Places,
    count: usize,
    buckets: usize,
}

/// The offsets of [`Tables`].
#[derive(Clone, Copy)]
struct Places {
    buckets: usize,
    variables: usize,
    fields: usize,
    strings: usize,
}

/// A variable in a directory.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its index in the declaration, from 0.
    pub index: usize,
    /// Its name.
    pub name: &'a str,
    /// Its unit; may be empty.
    pub unit: &'a str,
    /// Its documentation; may be empty.
    pub doc: &'a str,
    /// The version node of its function.
    pub version: &'a str,
    /// Its offset in bytes from the start of the vvar pages.
    pub offset: usize,
    /// Its type.
    pub kind: Kind<'a>,
    /// The layout hash after it.
    pub layout: u64,
}

/// The type of a variable: a [`Shape`] as it is read from a directory.
#[derive(Clone, Debug)]
pub enum Kind<'a> {
    /// One value of a type.
    Plain(Type),
    /// Fields that are read together.
    Record(Fields<'a>),
}

impl Entry<'_> {
    /// Whether it has this shape: the same type, or fields of the same names, types and
    /// offsets. Units and documentation are not compared.
    #[must_use]
    pub fn is(&self, other: &Shape<'_>) -> bool {
        match (&self.kind, other) {
            (Kind::Plain(ty), Shape::Plain(other)) => ty == other,
            (Kind::Record(fields), Shape::Record(others)) => fields
                .clone()
                .map(shape)
                .eq(others.iter().copied().map(shape)),
            _ => false,
        }
    }

    /// Whether another variable has the same shape, as [`Entry::is`] has it.
    #[must_use]
    pub fn is_like(&self, other: &Entry<'_>) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Plain(ty), Kind::Plain(other)) => ty == other,
            (Kind::Record(fields), Kind::Record(others)) => {
                fields.clone().map(shape).eq(others.clone().map(shape))
            }
            _ => false,
        }
    }

    /// Size of one value in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.kind {
            Kind::Plain(ty) => ty.size(),
            Kind::Record(fields) => {
                let align = fields.clone().map(|field| field.ty.align()).max();
                fields
                    .clone()
                    .last()
                    .map_or(0, |field| field.offset + field.ty.size())
                    .next_multiple_of(align.unwrap_or(1))
            }
        }
    }

    /// Whether it is stored in a latch.
    #[must_use]
    pub fn is_latched(&self) -> bool {
        !matches!(self.kind, Kind::Plain(Type::Scalar(_)))
    }
}

/// What has to be the same of a field of two records that have the same shape.
fn shape(field: Field<'_>) -> (&str, Type, usize) {
    (field.name, field.ty, field.offset)
}

/// The fields of a record, in their order.
#[derive(Clone)]
pub struct Fields<'a> {
    directory: Directory<'a>,
    next: usize,
    end: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.next == self.end {
            return None;
        }
        let at = self.directory.tables.fields + self.next * field::SIZE;
        self.next += 1;
        self.directory.field(at)
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// Why a note is not a well-formed directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Its length differs from the one that its head states.
    Length,
    /// This version does not know the format.
    Format(u32),
    /// The variable with this index has an invalid string, type or fields.
    Variable(usize),
    /// The variable with this index is not at the offset that the layout rules give, or its
    /// layout hash is wrong. An index of the number of variables refers to the totals in
    /// the head.
    Layout(usize),
    /// The chain of a bucket leaves the table or is cyclic, or a variable is not in its bucket.
    Buckets,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed directory: ")?;
        match self {
            Self::Length => f.write_str("its length differs from the one in its head"),
            Self::Format(format) => write!(
                f,
                "format {format}, this version reads format {}",
                wire::FORMAT
            ),
            Self::Variable(index) => {
                write!(f, "variable {index} has an invalid string, type or field")
            }
            Self::Layout(index) => write!(
                f,
                "variable {index} is not at the offset that the layout rules give"
            ),
            Self::Buckets => f.write_str("a variable is not once in the chain of its bucket"),
        }
    }
}

impl core::error::Error for Malformed {}

impl<'a> Directory<'a> {
    /// The directory in the description of a note. Checks all of it, in time linear in
    /// its length.
    ///
    /// # Errors
    /// [`Malformed`] names the fault and the variable.
    pub fn parse(note: &'a [u8]) -> Result<Self, Malformed> {
        let fields = get_u32(note, head::FIELDS).ok_or(Malformed::Length)? as usize;
        let directory = Self::tables(note)?;
        directory.check_variables(fields)?;
        directory.check_buckets()?;
        Ok(directory)
    }

    /// The directory in a note of which only the head is checked.
    fn tables(note: &'a [u8]) -> Result<Self, Malformed> {
        let number = |offset| get_u32(note, offset).ok_or(Malformed::Length);
        let format = number(head::FORMAT)?;
        if format != wire::FORMAT {
            return Err(Malformed::Format(format));
        }
        let count = number(head::VARIABLES)? as usize;
        let fields = number(head::FIELDS)? as usize;
        let buckets = number(head::BUCKETS)? as usize;
        let strings = number(head::STRINGS)? as usize;
        let tables = Tables::new(buckets, count, fields, strings)
            .filter(|tables| tables.end == note.len() && buckets > 0)
            .ok_or(Malformed::Length)?;
        let directory = Self {
            note,
            tables: Places {
                buckets: tables.buckets,
                variables: tables.variables,
                fields: tables.fields,
                strings: tables.strings,
            },
            count,
            buckets,
        };
        // A note without strings has no prefix either.
        if note.last() != Some(&0) || directory.string(head::PREFIX).is_none() {
            return Err(Malformed::Length);
        }
        Ok(directory)
    }

    /// Gives the variables of a note the offsets and hashes that belong to their types, so that other
    /// checks are reached. Stops at the first variable that is none.
    #[cfg(fuzzing)]
    pub fn mend(note: &mut [u8]) {
        let (mut cursor, mut layout) = (Cursor::PAGES, Hash::EMPTY);
        let mut index = 0;
        while let Ok(directory) = Directory::tables(note) {
            let entry = directory.get(index);
            let Some(entry) = entry.filter(|entry| (1..=MAX_VALUE).contains(&entry.size())) else {
                break;
            };
            let offset = cursor.value(entry.size(), entry.is_latched());
            layout = match entry.kind {
                Kind::Plain(ty) => layout.plain(entry.name, offset, ty),
                Kind::Record(fields) => layout.record(entry.name, offset, fields),
            };
            let at = directory.at(index);
            note[at + variable::OFFSET..][..4].copy_from_slice(&(offset as u32).to_le_bytes());
            note[at + variable::LAYOUT..][..8].copy_from_slice(&layout.get().to_le_bytes());
            index += 1;
        }
        if let Some(words) = note.get_mut(..head::SIZE) {
            words[head::USED..][..4].copy_from_slice(&(cursor.end() as u32).to_le_bytes());
            words[head::LAYOUT..][..8].copy_from_slice(&layout.get().to_le_bytes());
        }
    }

    /// The prefix of the functions' names; the rest is the variable's name.
    #[must_use]
    pub fn prefix(&self) -> &'a str {
        self.string(head::PREFIX).unwrap_or_default()
    }

    /// The layout hash.
    #[must_use]
    pub fn layout(&self) -> u64 {
        get_u64(self.note, head::LAYOUT).unwrap_or_default()
    }

    /// The layout hash after the first `count` variables.
    #[must_use]
    pub fn layout_after(&self, count: usize) -> Option<u64> {
        match count.checked_sub(1) {
            None => Some(Hash::EMPTY.get()),
            Some(last) => Some(self.get(last)?.layout),
        }
    }

    /// Bytes of the vvar pages in use.
    #[must_use]
    pub fn used(&self) -> usize {
        get_u32(self.note, head::USED).unwrap_or_default() as usize
    }

    /// The number of variables.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no variables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The number of leading variables that are the same in `other`: all of the shorter
    /// one's when one layout is an earlier version of the other.
    #[must_use]
    pub fn shared_with(&self, other: &Directory<'_>) -> usize {
        self.iter()
            .zip(other.iter())
            .take_while(|(one, other)| one.layout == other.layout)
            .count()
    }

    /// The variable with this index, from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Entry<'a>> {
        if index >= self.count {
            return None;
        }
        let at = self.at(index);
        let count = get_u32(self.note, at + variable::COUNT)?;
        let word = get_u32(self.note, at + variable::TYPE)?;
        let kind = if word == form::RECORD {
            let first = get_u32(self.note, at + variable::FIRST)? as usize;
            Kind::Record(Fields {
                directory: *self,
                next: first,
                end: first.checked_add(count as usize)?,
            })
        } else {
            Kind::Plain(type_from_wire(word, count)?)
        };
        Some(Entry {
            index,
            name: self.name(at)?,
            unit: self.string(at + variable::UNIT)?,
            doc: self.string(at + variable::DOC)?,
            version: self.string(at + variable::VERSION)?,
            offset: get_u32(self.note, at + variable::OFFSET)? as usize,
            kind,
            layout: get_u64(self.note, at + variable::LAYOUT)?,
        })
    }

    /// The variables in the order of their declaration.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<'a>> + use<'a> {
        let directory = *self;
        // `parse` has read each of them, so none is missing.
        (0..self.count).map(move |index| directory.get(index).unwrap_or_else(Entry::empty))
    }

    /// The variable with this name. The expected time does not depend on the number of
    /// variables.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Entry<'a>> {
        let bucket = Hash::of_name(name) as usize % self.buckets;
        let mut link = self.tables.buckets + 4 * bucket;
        loop {
            let index = (get_u32(self.note, link)? as usize).checked_sub(1)?;
            let at = self.at(index);
            if self.name(at)? == name {
                return self.get(index);
            }
            link = at + variable::NEXT;
        }
    }

    fn at(&self, index: usize) -> usize {
        self.tables.variables + index * variable::SIZE
    }

    /// The name of the variable or field at `at`.
    fn name(&self, at: usize) -> Option<&'a str> {
        self.string(at + variable::NAME)
    }

    /// The string whose position is stored at `offset`.
    fn string(&self, offset: usize) -> Option<&'a str> {
        let start = get_u32(self.note, offset)? as usize;
        let bytes = self.note.get(self.tables.strings.checked_add(start)?..)?;
        let end = bytes
            .iter()
            .take(MAX_STRING + 1)
            .position(|byte| *byte == 0)?;
        core::str::from_utf8(&bytes[..end]).ok()
    }

    fn field(&self, at: usize) -> Option<Field<'a>> {
        Some(Field {
            name: self.name(at)?,
            ty: type_from_wire(
                get_u32(self.note, at + variable::TYPE)?,
                get_u32(self.note, at + variable::COUNT)?,
            )?,
            offset: get_u32(self.note, at + variable::OFFSET)? as usize,
            unit: self.string(at + variable::UNIT)?,
            doc: self.string(at + variable::DOC)?,
        })
    }

    /// Checks that every variable has valid strings, type and fields, the offset that the
    /// layout rules give, and the right hash.
    fn check_variables(&self, fields: usize) -> Result<(), Malformed> {
        let mut cursor = Cursor::PAGES;
        let mut layout = Hash::EMPTY;
        let mut next_field = 0;
        for index in 0..self.count {
            let malformed = Malformed::Variable(index);
            let entry = self.get(index).ok_or(malformed)?;
            if let Kind::Record(members) = &entry.kind {
                // In order and not shared, so that the check stays linear.
                if members.next != next_field || members.end > fields {
                    return Err(malformed);
                }
                next_field = members.end;
                let mut places = Cursor::RECORD;
                for member in members.next..members.end {
                    let at = self.tables.fields + member * field::SIZE;
                    let member = self.field(at).ok_or(malformed)?;
                    if member.ty.size() > MAX_VALUE || member.offset != places.field(member.ty) {
                        return Err(malformed);
                    }
                }
            }
            let size = entry.size();
            if size == 0 || size > MAX_VALUE {
                return Err(malformed);
            }
            let offset = cursor.value(size, entry.is_latched());
            layout = match entry.kind {
                Kind::Plain(ty) => layout.plain(entry.name, entry.offset, ty),
                Kind::Record(fields) => layout.record(entry.name, entry.offset, fields),
            };
            if offset != entry.offset || layout.get() != entry.layout {
                return Err(Malformed::Layout(index));
            }
        }
        if cursor.end() != self.used() || layout.get() != self.layout() {
            return Err(Malformed::Layout(self.count));
        }
        Ok(())
    }

    /// Checks that every variable is once in the chain of its name's bucket, so that each chain
    /// ends and each variable is found.
    fn check_buckets(&self) -> Result<(), Malformed> {
        let mut links = 0;
        for bucket in 0..self.buckets {
            let mut link = self.tables.buckets + 4 * bucket;
            while let Some(index) = get_u32(self.note, link).and_then(|next| next.checked_sub(1)) {
                links += 1;
                if index as usize >= self.count || links > self.count {
                    return Err(Malformed::Buckets);
                }
                let at = self.at(index as usize);
                let name = self.name(at);
                if name.is_none_or(|name| Hash::of_name(name) as usize % self.buckets != bucket) {
                    return Err(Malformed::Buckets);
                }
                link = at + variable::NEXT;
            }
        }
        match links == self.count {
            true => Ok(()),
            false => Err(Malformed::Buckets),
        }
    }
}

impl<'a> Entry<'a> {
    fn empty() -> Self {
        Self {
            index: 0,
            name: "",
            unit: "",
            doc: "",
            version: "",
            offset: 0,
            kind: Kind::Plain(Type::Text(0)),
            layout: 0,
        }
    }
}

impl fmt::Debug for Directory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
