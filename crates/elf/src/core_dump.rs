//! The vDSO of a process that left a core dump.
//!
//! A dump is as large as its process was, so [`locate`] reads only what it needs, through a function
//! that reads at an offset: the ELF header, program headers, note headers and the auxiliary vector.

use core::fmt;
use core::ops::Range;

use crate::constants::*;
use crate::data::{Class, Data};
use crate::image::{Header, ParseError};
use crate::segment::Segment;

/// A vDSO in a core dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreVdso<'a> {
    /// Its address in the process.
    pub address: u64,
    /// The dumped part of its mapping: what
    /// [`Image::parse_memory`](crate::Image::parse_memory) takes.
    pub bytes: &'a [u8],
}

/// The location of the vDSO in a core dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Its address in the process.
    pub address: u64,
    /// The dumped part of its mapping, as offsets in the file; not empty.
    pub range: Range<u64>,
}

/// Why no vDSO was found in a core dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoreError {
    /// The bytes are not an ELF object.
    Elf(ParseError),
    /// An ELF object that is not a core dump: this is its `e_type`.
    NotCore(u16),
    /// No NT_AUXV note has AT_SYSINFO_EHDR: the process had no vDSO.
    NoAddress,
    /// No segment of the dump contains this address.
    NotDumped(u64),
    /// The dump ends before a part that it should contain.
    Truncated {
        /// The number of bytes that the program headers promise, as far as they were needed.
        expected: u64,
        /// The length of the dump.
        length: u64,
    },
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elf(error) => write!(f, "{error}"),
            Self::NotCore(kind) => write!(f, "e_type is {kind}, not 4: not a core dump"),
            Self::NoAddress => write!(f, "the auxiliary vector has no address of a vDSO"),
            Self::NotDumped(address) => {
                write!(f, "the vDSO at {address:#x} is not in the dumped memory")
            }
            Self::Truncated { expected, length } => write!(
                f,
                "the dump is truncated: it has {length} bytes of at least {expected}"
            ),
        }
    }
}

impl core::error::Error for CoreError {}

impl From<ParseError> for CoreError {
    fn from(error: ParseError) -> Self {
        Self::Elf(error)
    }
}

/// Finds the vDSO in a core dump that is in memory.
///
/// # Errors
/// [`CoreError`], with the part that the dump lacks.
pub fn vdso(core: &[u8]) -> Result<CoreVdso<'_>, CoreError> {
    let read = |at: u64, buffer: &mut [u8]| {
        let part = usize::try_from(at)
            .ok()
            .and_then(|at| core.get(at..at.checked_add(buffer.len())?));
        part.map(|part| buffer.copy_from_slice(part)).is_some()
    };
    let Location { address, range } = locate(core.len() as u64, read)?;
    // `locate` keeps within the length, which is a `usize`.
    let bytes = &core[range.start as usize..range.end as usize];
    Ok(CoreVdso { address, bytes })
}

/// The most program headers and notes that are read, each: more than a process of a million
/// mappings or threads has. It bounds the work that a hostile file can cause.
const MAX_PARTS: u32 = 1 << 20;

/// Finds the vDSO in a core dump of `length` bytes. `read` fills the buffer with the bytes at an
/// offset, or returns false where it can't.
///
/// # Errors
/// [`CoreError`], with the part that the dump lacks.
pub fn locate(length: u64, read: impl Fn(u64, &mut [u8]) -> bool) -> Result<Location, CoreError> {
    let mut bytes = [0; 64];
    // A 32-bit header has 52 bytes.
    let available = length.min(64) as usize;
    if !read(0, &mut bytes[..available]) {
        return Err(ParseError::Truncated.into());
    }
    let header = Header::read(&bytes[..available])?;
    if header.kind != ET_CORE {
        return Err(CoreError::NotCore(header.kind));
    }
    let core = Core {
        header,
        length,
        read,
    };
    let count = core.count()?;
    let address = core.address(count)?;
    let mut truncated = None;
    for segment in core.segments(count) {
        let segment = segment?;
        if !segment.is_load() || !segment.holds(address, 1) {
            continue;
        }
        let start = segment.offset.saturating_add(address - segment.vaddr);
        let end = segment.offset.saturating_add(segment.filesz);
        if start < end.min(length) {
            let range = start..end.min(length);
            return Ok(Location { address, range });
        }
        if start < end {
            truncated = Some(end);
        }
    }
    Err(match truncated {
        Some(expected) => CoreError::Truncated { expected, length },
        None => CoreError::NotDumped(address),
    })
}

/// A core dump that is read by parts.
struct Core<R> {
    header: Header,
    length: u64,
    read: R,
}

impl<R: Fn(u64, &mut [u8]) -> bool> Core<R> {
    /// The bytes at an offset; `None` where they can't be read.
    fn bytes<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.read)(at, &mut bytes).then_some(bytes)
    }

    fn data<'a>(&self, bytes: &'a [u8]) -> Data<'a> {
        Data {
            bytes,
            class: self.header.class,
            order: self.header.order,
        }
    }

    /// The number of program headers. A process with 65535 mappings or more has it in section
    /// header 0 (Linux 6.18 `fs/binfmt_elf.c`, `fill_extnum_info`).
    fn count(&self) -> Result<u32, CoreError> {
        if usize::from(self.header.phentsize) < self.header.class.segment_size() {
            return Err(ParseError::SegmentTable.into());
        }
        if self.header.phnum != PN_XNUM {
            return Ok(self.header.phnum.into());
        }
        // sh_info is the eighth field: after two 4-byte ones, four words and sh_link.
        let distance = 12 + 4 * self.header.class.word() as u64;
        let at = self.header.shoff.saturating_add(distance);
        let count = self
            .bytes::<4>(at)
            .and_then(|bytes| self.data(&bytes).u32(0));
        count.ok_or(ParseError::SegmentTable.into())
    }

    fn segments(&self, count: u32) -> impl Iterator<Item = Result<Segment, CoreError>> {
        let size = self.header.class.segment_size();
        (0..count.min(MAX_PARTS)).map(move |index| {
            let distance = u64::from(index) * u64::from(self.header.phentsize);
            let at = self.header.phoff.saturating_add(distance);
            let segment = match self.header.class {
                Class::Elf32 => self
                    .bytes::<32>(at)
                    .and_then(|bytes| Segment::read(&self.data(&bytes), 0)),
                Class::Elf64 => self
                    .bytes::<56>(at)
                    .and_then(|bytes| Segment::read(&self.data(&bytes), 0)),
            };
            segment.ok_or(CoreError::Truncated {
                expected: at.saturating_add(size as u64),
                length: self.length,
            })
        })
    }

    /// The address of the vDSO, from the first auxiliary vector that has one.
    fn address(&self, count: u32) -> Result<u64, CoreError> {
        let mut left = MAX_PARTS;
        let mut missing = None;
        for segment in self.segments(count) {
            let segment = segment?;
            if segment.kind != PT_NOTE {
                continue;
            }
            let end = segment.offset.saturating_add(segment.filesz);
            if let Some(address) = self.address_in(&segment, end.min(self.length), &mut left) {
                return Ok(address);
            }
            if end > self.length {
                missing = Some(end);
            }
        }
        Err(match missing {
            Some(expected) => CoreError::Truncated {
                expected,
                length: self.length,
            },
            None => CoreError::NoAddress,
        })
    }

    /// As [`Core::address`], in the notes of one segment, which ends at `end`. `left` counts the
    /// notes that may still be read.
    fn address_in(&self, segment: &Segment, end: u64, left: &mut u32) -> Option<u64> {
        // binutils 2.40 `elfcomm`: 8 pads name and bytes to 8, any other alignment to 4.
        let align = if segment.align == 8 { 8 } else { 4 };
        let mut at = segment.offset;
        while let Some(bytes) = self.bytes::<12>(at) {
            *left = left.checked_sub(1)?;
            let note = self.data(&bytes);
            let (name_size, size, kind) = (note.u32(0)?, note.u32(4)?, note.u32(8)?);
            let after_name = (12 + u64::from(name_size)).next_multiple_of(align);
            let start = at.checked_add(after_name)?;
            let desc_end = start.checked_add(size.into())?;
            if desc_end > end {
                return None;
            }
            let is_core = name_size == 5 && self.bytes(at.saturating_add(12)) == Some(*b"CORE\0");
            if kind == NT_AUXV && is_core {
                if let Some(address) = self.sysinfo_ehdr(start..desc_end) {
                    return Some(address);
                }
            }
            at = at.checked_add((after_name + u64::from(size)).next_multiple_of(align))?;
        }
        None
    }

    /// AT_SYSINFO_EHDR in an auxiliary vector.
    fn sysinfo_ehdr(&self, auxv: Range<u64>) -> Option<u64> {
        let word = self.header.class.word();
        let pair = 2 * word as u64;
        // Linux's vectors have some 20 entries.
        for index in 0..256 {
            let at = auxv.start.saturating_add(index * pair);
            let mut bytes = [0; 16];
            let bytes = &mut bytes[..2 * word];
            if at.saturating_add(pair) > auxv.end || !(self.read)(at, bytes) {
                return None;
            }
            let data = self.data(bytes);
            match data.word(0)? {
                AT_NULL => return None,
                AT_SYSINFO_EHDR => return data.word(word).filter(|&address| address != 0),
                _ => {}
            }
        }
        None
    }
}
