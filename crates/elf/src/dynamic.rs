//! The dynamic section.

use crate::constants::DT_NULL;
use crate::data::{Data, Span};

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

    #[inline]
    fn next(&mut self) -> Option<DynamicEntry> {
        let word = self.data.class.word();
        if self.span.length() < 2 * word {
            return None;
        }
        let tag = self.data.word(self.span.start)?;
        let value = self.data.word(self.span.start + word)?;
        if tag == DT_NULL {
            self.span.start = self.span.end;
            return None;
        }
        self.span.start += 2 * word;
        Some(DynamicEntry { tag, value })
    }
}
