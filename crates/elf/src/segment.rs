//! Program headers.

use crate::constants::*;
use crate::data::{Class, Data};

/// A program header, with the format's own field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `p_type`: one of the `PT_` [constants](crate::constants).
    pub kind: u32,
    /// `p_flags`: `PF_R`, `PF_W`, `PF_X`.
    pub flags: u32,
    /// Where it starts in the file.
    pub offset: u64,
    /// Where it starts in memory, before the load bias is added.
    pub vaddr: u64,
    /// Bytes in the file.
    pub filesz: u64,
    /// Bytes in memory.
    pub memsz: u64,
    /// Alignment of `offset` and `vaddr`.
    pub align: u64,
}

impl Segment {
    /// Reads the header at `at`.
    pub(crate) fn read(data: &Data<'_>, at: usize) -> Option<Self> {
        data.range(at, data.class.segment_size())?;
        let word = data.class.word();
        let flags_at = match data.class {
            Class::Elf32 => at + 24,
            Class::Elf64 => at + 4,
        };
        // After p_type (and, in the 64-bit layout, p_flags) come offset, vaddr, paddr, filesz
        // and memsz, a word each.
        let words = match data.class {
            Class::Elf32 => at + 4,
            Class::Elf64 => at + 8,
        };
        let align_at = match data.class {
            Class::Elf32 => at + 28,
            Class::Elf64 => at + 48,
        };
        Some(Self {
            kind: data.u32(at)?,
            flags: data.u32(flags_at)?,
            offset: data.word(words)?,
            vaddr: data.word(words + word)?,
            filesz: data.word(words + 3 * word)?,
            memsz: data.word(words + 4 * word)?,
            align: data.word(align_at)?,
        })
    }

    /// Whether the segment is mapped (PT_LOAD).
    pub fn is_load(&self) -> bool {
        self.kind == PT_LOAD
    }

    /// Whether `length` bytes from `vaddr` lie in the segment's memory.
    pub fn holds(&self, vaddr: u64, length: u64) -> bool {
        vaddr
            .checked_sub(self.vaddr)
            .and_then(|from| from.checked_add(length))
            .is_some_and(|end| end <= self.memsz)
    }

    /// The segment's type as readelf writes it.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            PT_LOAD => "LOAD",
            PT_DYNAMIC => "DYNAMIC",
            PT_INTERP => "INTERP",
            PT_NOTE => "NOTE",
            PT_PHDR => "PHDR",
            PT_TLS => "TLS",
            PT_GNU_EH_FRAME => "GNU_EH_FRAME",
            PT_GNU_STACK => "GNU_STACK",
            PT_GNU_RELRO => "GNU_RELRO",
            PT_GNU_PROPERTY => "GNU_PROPERTY",
            _ => "OTHER",
        }
    }
}

/// An image's program headers, in the file's order.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    data: Data<'a>,
    at: usize,
    stride: usize,
    left: usize,
}

impl<'a> Segments<'a> {
    /// `count` headers from `at`, `stride` bytes apart.
    pub(crate) fn new(data: Data<'a>, at: usize, stride: usize, count: usize) -> Self {
        Self {
            data,
            at,
            stride,
            left: count,
        }
    }
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    #[inline]
    fn next(&mut self) -> Option<Segment> {
        self.left = self.left.checked_sub(1)?;
        let segment = Segment::read(&self.data, self.at)?;
        self.at = self.at.checked_add(self.stride)?;
        Some(segment)
    }
}
