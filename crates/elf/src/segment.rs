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
    #[inline(always)]
    pub(crate) fn read(data: &Data<'_>, at: usize) -> Option<Self> {
        Some(match data.class {
            Class::Elf32 => {
                let record = data.record::<32>(at)?;
                let word = |at| u64::from(record.u32(at));
                Self {
                    kind: record.u32(0),
                    offset: word(4),
                    vaddr: word(8),
                    filesz: word(16),
                    memsz: word(20),
                    flags: record.u32(24),
                    align: word(28),
                }
            }
            Class::Elf64 => {
                let record = data.record::<56>(at)?;
                Self {
                    kind: record.u32(0),
                    flags: record.u32(4),
                    offset: record.u64(8),
                    vaddr: record.u64(16),
                    filesz: record.u64(32),
                    memsz: record.u64(40),
                    align: record.u64(48),
                }
            }
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

    #[inline(always)]
    fn next(&mut self) -> Option<Segment> {
        self.left = self.left.checked_sub(1)?;
        let segment = Segment::read(&self.data, self.at)?;
        self.at = self.at.checked_add(self.stride)?;
        Some(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_the_name_that_readelf_writes() {
        for (kind, name) in [
            (PT_LOAD, "LOAD"),
            (PT_DYNAMIC, "DYNAMIC"),
            (PT_INTERP, "INTERP"),
            (PT_NOTE, "NOTE"),
            (PT_PHDR, "PHDR"),
            (PT_TLS, "TLS"),
            (PT_GNU_EH_FRAME, "GNU_EH_FRAME"),
            (PT_GNU_STACK, "GNU_STACK"),
            (PT_GNU_RELRO, "GNU_RELRO"),
            (PT_GNU_PROPERTY, "GNU_PROPERTY"),
            (0x7000_0000, "OTHER"),
        ] {
            let segment = Segment {
                kind,
                flags: 0,
                offset: 0,
                vaddr: 0x1000,
                filesz: 0,
                memsz: 0x100,
                align: 1,
            };
            assert_eq!(segment.kind_name(), name);
            assert_eq!(segment.is_load(), kind == PT_LOAD);
            let holds = |vaddr, length| segment.holds(vaddr, length);
            assert!(holds(0x1000, 0x100) && holds(0x10ff, 1) && holds(0x1100, 0));
            assert!(!holds(0xfff, 1) && !holds(0x1000, 0x101) && !holds(0x1001, u64::MAX));
        }
    }
}
