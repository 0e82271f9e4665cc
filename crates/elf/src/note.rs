//! Notes: name, type and bytes.

use crate::constants::*;
use crate::data::{Data, Span};
use crate::image::Image;
use crate::segment::Segments;
use crate::text::Text;

/// One note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// The name, which identifies the owner of the type: `GNU`, `Linux`, … without its NUL.
    pub name: Text<'a>,
    /// Whether the name's size counts a NUL at its end, as it must (gABI, "Note Section").
    pub is_terminated: bool,
    /// The note's type; each name has its own.
    pub kind: u32,
    /// The note's contents.
    pub desc: &'a [u8],
}

/// All notes of all PT_NOTE segments. A note that reaches out of its segment ends that segment.
///
/// Segments may overlap, but no more bytes are read than the image has: a segment that would
/// exceed that is left out.
#[derive(Clone, Debug)]
pub struct Notes<'a> {
    image: Image<'a>,
    segments: Segments<'a>,
    rest: NotesIn<'a>,
    budget: usize,
}

/// The notes in one stretch of bytes.
#[derive(Clone, Debug)]
pub(crate) struct NotesIn<'a> {
    data: Data<'a>,
    span: Span,
    align: usize,
}

impl<'a> NotesIn<'a> {
    /// `align` is the segment's p_align: 8 pads name and bytes to 8, anything else to 4
    /// (binutils 2.40 `elfcomm`: GNU property notes are the only ones padded to 8).
    pub(crate) fn new(data: Data<'a>, span: Span, align: u64) -> Self {
        Self {
            data,
            span,
            align: if align == 8 { 8 } else { 4 },
        }
    }

    fn read(&mut self) -> Option<Note<'a>> {
        let start = self.span.start;
        if self.span.length() < 12 {
            return None;
        }
        let name_size = usize::try_from(self.data.u32(start)?).ok()?;
        let desc_size = usize::try_from(self.data.u32(start + 4)?).ok()?;
        let kind = self.data.u32(start + 8)?;
        let name_end = 12usize.checked_add(name_size)?;
        let desc_start = name_end.checked_next_multiple_of(self.align)?;
        let desc_end = desc_start.checked_add(desc_size)?;
        if desc_end > self.span.length() {
            return None;
        }
        let next = desc_end
            .checked_next_multiple_of(self.align)?
            .min(self.span.length());
        let note = self.data.range(start, desc_end)?;
        self.span.start = start + next;
        Some(Note {
            name: Text::until_nul(&note[12..name_end]),
            is_terminated: note[12..name_end].last() == Some(&0),
            kind,
            desc: &note[desc_start..desc_end],
        })
    }
}

impl<'a> Iterator for NotesIn<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let note = self.read();
        if note.is_none() {
            self.span.start = self.span.end;
        }
        note
    }
}

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        loop {
            if let Some(note) = self.rest.next() {
                return Some(note);
            }
            let segment = self.segments.find(|segment| segment.kind == PT_NOTE)?;
            let Some(span) = self.image.segment_span(&segment) else {
                continue;
            };
            let Some(budget) = self.budget.checked_sub(span.length()) else {
                continue;
            };
            self.budget = budget;
            self.rest = NotesIn::new(self.image.data, span, segment.align);
        }
    }
}

impl<'a> Image<'a> {
    /// The notes of all PT_NOTE segments.
    pub fn notes(&self) -> Notes<'a> {
        let none = Span { start: 0, end: 0 };
        Notes {
            image: self.clone(),
            segments: self.segments(),
            rest: NotesIn::new(self.data, none, 4),
            budget: self.data.bytes.len(),
        }
    }

    /// The build id (the note GNU of type 3).
    pub fn build_id(&self) -> Option<&'a [u8]> {
        self.notes()
            .find(|note| note.name == "GNU" && note.kind == NT_GNU_BUILD_ID)
            .map(|note| note.desc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Class, Order};

    fn note(name: &[u8], kind: u8, desc: &[u8]) -> Vec<u8> {
        let mut bytes = vec![
            name.len() as u8,
            0,
            0,
            0,
            desc.len() as u8,
            0,
            0,
            0,
            kind,
            0,
            0,
            0,
        ];
        for part in [name, desc] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn kinds(bytes: &[u8]) -> Vec<u32> {
        let data = Data {
            bytes,
            class: Class::Elf64,
            order: Order::Little,
        };
        let span = Span {
            start: 0,
            end: bytes.len(),
        };
        NotesIn::new(data, span, 4).map(|note| note.kind).collect()
    }

    #[test]
    fn notes_follow_each_other_to_the_end_of_the_bytes() {
        let three = [
            note(b"GNU\0", 1, b"abcde"),
            note(b"a\0", 2, b""),
            // The least that a note has.
            note(b"", 3, b""),
        ]
        .concat();
        assert_eq!(kinds(&three), [1, 2, 3]);
        assert_eq!(kinds(&three[..three.len() - 1]), [1, 2]);
        // The padding of the last one may be missing, and none of its bytes.
        let last = note(b"GNU\0", 7, b"abcde");
        assert_eq!(kinds(&last[..last.len() - 3]), [7]);
        assert_eq!(kinds(&last[..last.len() - 4]), []);
    }
}
