//! The vDSO of a process that left a core dump.

use core::fmt;

use crate::constants::*;
use crate::data::{Data, Span};
use crate::image::{Header, ParseError};
use crate::note::NotesIn;
use crate::segment::{Segment, Segments};

/// A vDSO in a core dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreVdso<'a> {
    /// Where the process had it.
    pub address: u64,
    /// Its mapping, as far as it was dumped: what
    /// [`Image::parse_memory`](crate::Image::parse_memory) takes.
    pub bytes: &'a [u8],
}

/// Why no vDSO was found in a core dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoreError {
    /// The bytes are no ELF object.
    Elf(ParseError),
    /// An ELF object, but no core dump: this is its `e_type`.
    NotCore(u16),
    /// No NT_AUXV note that has AT_SYSINFO_EHDR: the process had no vDSO.
    NoAddress,
    /// No segment of the dump holds this address.
    NotDumped(u64),
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elf(error) => write!(f, "{error}"),
            Self::NotCore(kind) => write!(f, "e_type is {kind}, not 4: no core dump"),
            Self::NoAddress => write!(f, "the auxiliary vector names no vDSO"),
            Self::NotDumped(address) => {
                write!(f, "the vDSO at {address:#x} is not among the dumped memory")
            }
        }
    }
}

impl core::error::Error for CoreError {}

impl From<ParseError> for CoreError {
    fn from(error: ParseError) -> Self {
        Self::Elf(error)
    }
}

/// The vDSO of the process that a core dump was made of.
///
/// # Errors
/// [`CoreError`] says what the dump lacks.
pub fn vdso(core: &[u8]) -> Result<CoreVdso<'_>, CoreError> {
    let (header, data) = Header::read_data(core)?;
    if header.kind != ET_CORE {
        return Err(CoreError::NotCore(header.kind));
    }
    let segments = segments(&header, data)?;
    // Overlapping PT_NOTEs may make no more work than the dump is long.
    let mut budget = core.len();
    let address = segments
        .clone()
        .filter(|segment| segment.kind == PT_NOTE)
        .filter_map(|segment| file_span(&segment, core).map(|span| (span, segment.align)))
        .take_while(|(span, _)| {
            budget
                .checked_sub(span.length())
                .inspect(|&left| budget = left)
                .is_some()
        })
        .flat_map(|(span, align)| NotesIn::new(data, span, align))
        .filter(|note| note.kind == NT_AUXV && note.name == "CORE")
        .find_map(|note| {
            sysinfo_ehdr(Data {
                bytes: note.desc,
                ..data
            })
        })
        .ok_or(CoreError::NoAddress)?;
    segments
        .filter(|segment| segment.is_load() && segment.holds(address, 1))
        .find_map(|segment| {
            let span = file_span(&segment, core)?;
            let from = usize::try_from(address - segment.vaddr).ok()?;
            let bytes = core.get(span.start.checked_add(from)?..span.end)?;
            (!bytes.is_empty()).then_some(CoreVdso { address, bytes })
        })
        .ok_or(CoreError::NotDumped(address))
}

/// The dump's program headers. A process with 65535 mappings or more has their number in section
/// header 0 (Linux 6.18 `fs/binfmt_elf.c`, `fill_extnum_info`).
fn segments<'a>(header: &Header, data: Data<'a>) -> Result<Segments<'a>, ParseError> {
    let count = if header.phnum == PN_XNUM {
        // sh_info is the eighth field: after two 4-byte ones, four words and sh_link.
        usize::try_from(header.shoff)
            .ok()
            .and_then(|at| at.checked_add(12 + 4 * header.class.word()))
            .and_then(|at| data.u32(at))
            .ok_or(ParseError::SegmentTable)? as usize
    } else {
        usize::from(header.phnum)
    };
    let start = usize::try_from(header.phoff).map_err(|_| ParseError::SegmentTable)?;
    let stride = usize::from(header.phentsize);
    if stride < header.class.segment_size() {
        return Err(ParseError::SegmentTable);
    }
    Ok(Segments::new(data, start, stride, count))
}

/// The part of a segment that is in the dump, which may have been cut short.
fn file_span(segment: &Segment, core: &[u8]) -> Option<Span> {
    let start = usize::try_from(segment.offset).ok()?;
    let end = usize::try_from(segment.offset.saturating_add(segment.filesz)).ok()?;
    let end = end.min(core.len());
    (start < end).then_some(Span { start, end })
}

/// AT_SYSINFO_EHDR in an auxiliary vector.
fn sysinfo_ehdr(auxv: Data<'_>) -> Option<u64> {
    let word = auxv.class.word();
    let mut at = 0;
    loop {
        match auxv.word(at)? {
            AT_NULL => return None,
            AT_SYSINFO_EHDR => return auxv.word(at + word).filter(|&address| address != 0),
            _ => at += 2 * word,
        }
    }
}
