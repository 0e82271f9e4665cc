//! The dynamic section.

use crate::constants::DT_NULL;
use crate::data::{Class, Data, Span};

/// An entry of the dynamic section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DynamicEntry {
    /// `d_tag`: one of the `DT_` [constants](crate::constants).
    pub tag: u64,
    /// `d_val` or `d_ptr`.
    pub value: u64,
}

/// The entries before DT_NULL, or before the end of the section where that is missing.
#[derive(Clone, Debug)]
pub struct Dynamic<'a> {
    data: Data<'a>,
    span: Span,
}

impl<'a> Dynamic<'a> {
    pub(crate) fn new(data: Data<'a>, span: Span) -> Self {
        Self { data, span }
    }
}

impl Iterator for Dynamic<'_> {
    type Item = DynamicEntry;

    #[inline(always)]
    fn next(&mut self) -> Option<DynamicEntry> {
        let size = 2 * self.data.class.word();
        if self.span.length() < size {
            return None;
        }
        let (tag, value) = match self.data.class {
            Class::Elf32 => {
                let record = self.data.record::<8>(self.span.start)?;
                (u64::from(record.u32(0)), u64::from(record.u32(4)))
            }
            Class::Elf64 => {
                let record = self.data.record::<16>(self.span.start)?;
                (record.u64(0), record.u64(8))
            }
        };
        if tag == DT_NULL {
            self.span.start = self.span.end;
            return None;
        }
        self.span.start += size;
        Some(DynamicEntry { tag, value })
    }
}
