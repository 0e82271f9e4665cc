//! The image: header, segments, and where its tables lie.

use core::fmt;

use crate::constants::*;
use crate::data::{Class, Data, Order, Span};
use crate::dynamic::Dynamic;
use crate::hash::{Gnu, Sysv};
use crate::segment::{Segment, Segments};
use crate::text::Text;

/// The most bytes of program headers that are read: the smallest page, 73 headers of 64 bits.
/// Linux's own vDSOs have at most 8; its limit for programs is 64 KiB (6.18 `fs/binfmt_elf.c`,
/// `load_elf_phdrs`), with which a walk of the segments for each table would cost milliseconds.
const MAX_SEGMENT_TABLE: usize = 4096;

/// How an image's bytes are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As in its file: segments lie at their file offsets.
    File,
    /// As mapped: segments lie at their addresses, and byte 0 at this address.
    Memory {
        /// The address of byte 0, where the ELF header is.
        address: u64,
    },
}

/// The ELF header, with the format's own field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// 32 or 64 bits.
    pub class: Class,
    /// The byte order.
    pub order: Order,
    /// `e_type`.
    pub kind: u16,
    /// `e_machine`: one of the `EM_` [constants](crate::constants).
    pub machine: u16,
    /// `e_flags`; what they mean depends on the machine.
    pub flags: u32,
    /// `e_entry`: the address of a program's first instruction, 0 in images.
    pub entry: u64,
    /// Where the program headers are in the file.
    pub phoff: u64,
    /// Bytes from one program header to the next.
    pub phentsize: u16,
    /// How many program headers there are.
    pub phnum: u16,
    /// Where the section headers are in the file, 0 where there are none.
    pub shoff: u64,
    /// Bytes from one section header to the next.
    pub shentsize: u16,
    /// How many section headers there are.
    pub shnum: u16,
    /// Which section holds the section names.
    pub shstrndx: u16,
}

impl Header {
    /// Reads the ELF header at the start of `bytes`.
    ///
    /// # Errors
    /// [`ParseError::NotElf`], [`ParseError::Class`], [`ParseError::Order`],
    /// [`ParseError::Truncated`].
    pub fn read(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::read_data(bytes).map(|(header, _)| header)
    }

    pub(crate) fn read_data(bytes: &[u8]) -> Result<(Self, Data<'_>), ParseError> {
        let data = Self::ident(bytes)?;
        let header = Self::fields(&data).ok_or(ParseError::Truncated)?;
        Ok((header, data))
    }

    /// Reads class and order, which determine how all other fields are read.
    #[inline(always)]
    pub(crate) fn ident(bytes: &[u8]) -> Result<Data<'_>, ParseError> {
        let ident: &[u8; 16] = bytes.first_chunk().ok_or(ParseError::NotElf)?;
        if !ident.starts_with(b"\x7fELF") {
            return Err(ParseError::NotElf);
        }
        let class = match ident[4] {
            1 => Class::Elf32,
            2 => Class::Elf64,
            other => return Err(ParseError::Class(other)),
        };
        let order = match ident[5] {
            1 => Order::Little,
            2 => Order::Big,
            other => return Err(ParseError::Order(other)),
        };
        Ok(Data {
            bytes,
            class,
            order,
        })
    }

    #[inline(always)]
    pub(crate) fn fields(data: &Data<'_>) -> Option<Self> {
        let first = data.record::<24>(0)?;
        // After e_ident, e_type, e_machine and e_version come three words: entry, phoff, shoff.
        let (entry, phoff, shoff, rest) = match data.class {
            Class::Elf32 => {
                let words = data.record::<12>(24)?;
                (
                    words.u32(0).into(),
                    words.u32(4).into(),
                    words.u32(8).into(),
                    data.record::<16>(36)?,
                )
            }
            Class::Elf64 => {
                let words = data.record::<24>(24)?;
                let [entry, phoff, shoff] = [0, 8, 16].map(|at| words.u64(at));
                (entry, phoff, shoff, data.record::<16>(48)?)
            }
        };
        Some(Self {
            class: data.class,
            order: data.order,
            kind: first.u16(16),
            machine: first.u16(18),
            entry,
            phoff,
            shoff,
            flags: rest.u32(0),
            phentsize: rest.u16(6),
            phnum: rest.u16(8),
            shentsize: rest.u16(10),
            shnum: rest.u16(12),
            shstrndx: rest.u16(14),
        })
    }
}

/// Why bytes can't be read as an image.
///
/// Other defects are not errors: a table that is missing or lies outside the bytes reads as
/// absent, and [`check`](crate::check) reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes don't begin with `\x7fELF`.
    NotElf,
    /// `EI_CLASS` is neither 32 nor 64 bits.
    Class(u8),
    /// `EI_DATA` is neither byte order.
    Order(u8),
    /// The bytes end inside the ELF header.
    Truncated,
    /// The program headers lie outside the bytes, are smaller than the class needs, or take more
    /// than 4 KiB.
    SegmentTable,
    /// No segment is loaded.
    NoLoad,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => write!(f, "not an ELF object"),
            Self::Class(class) => write!(f, "EI_CLASS is {class}, neither 32 (1) nor 64 bits (2)"),
            Self::Order(order) => {
                write!(
                    f,
                    "EI_DATA is {order}, neither little (1) nor big endian (2)"
                )
            }
            Self::Truncated => write!(f, "the bytes end inside the ELF header"),
            Self::SegmentTable => write!(f, "the program headers lie outside the bytes"),
            Self::NoLoad => write!(f, "no segment is loaded (PT_LOAD)"),
        }
    }
}

impl core::error::Error for ParseError {}

/// The segments from which an image is read: its first PT_LOAD and its last PT_DYNAMIC.
pub(crate) struct Parts {
    pub(crate) load: Segment,
    dynamic: Option<Segment>,
}

impl Parts {
    /// Finds them in the program headers, all of which have to lie in the bytes.
    #[inline(always)]
    pub(crate) fn read(header: &Header, data: Data<'_>) -> Result<Self, ParseError> {
        let table = usize::from(header.phnum) * usize::from(header.phentsize);
        let start = usize::try_from(header.phoff).map_err(|_| ParseError::SegmentTable)?;
        if usize::from(header.phentsize) < header.class.segment_size()
            || table > MAX_SEGMENT_TABLE
            || data.range(start, table).is_none()
        {
            return Err(ParseError::SegmentTable);
        }
        let (stride, count) = (header.phentsize.into(), header.phnum.into());
        let (mut load, mut dynamic) = (None, None);
        for segment in Segments::new(data, start, stride, count) {
            match segment.kind {
                PT_LOAD if load.is_none() => load = Some(segment),
                PT_DYNAMIC => dynamic = Some(segment),
                _ => {}
            }
        }
        let load = load.ok_or(ParseError::NoLoad)?;
        Ok(Self { load, dynamic })
    }
}

/// A vDSO image, or any ELF shared object, in bytes.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    pub(crate) data: Data<'a>,
    header: Header,
    form: Form,
    /// What to add to an address of the image to have the offset of its byte from byte 0.
    offset_bias: u64,
    pub(crate) dynamic: Option<Span>,
    pub(crate) strings: Option<Span>,
    pub(crate) symbol_table: Option<Span>,
    pub(crate) versym: Option<Span>,
    pub(crate) verdef: Option<Span>,
    pub(crate) gnu: Option<Gnu>,
    pub(crate) sysv: Option<Sysv>,
    soname: Option<u64>,
}

impl<'a> Image<'a> {
    /// Reads an image laid out as in its file.
    ///
    /// # Errors
    /// [`ParseError`] where there is no ELF header, no program header table or no PT_LOAD.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_form(bytes, Form::File)
    }

    /// Reads an image laid out as mapped, from bytes that lay at `address`: what was copied out
    /// of another process or a core dump.
    ///
    /// Its loader may have relocated the addresses in its dynamic section.
    ///
    /// # Errors
    /// As [`Image::parse`].
    pub fn parse_memory(bytes: &'a [u8], address: u64) -> Result<Self, ParseError> {
        Self::parse_form(bytes, Form::Memory { address })
    }

    #[inline]
    fn parse_form(bytes: &'a [u8], form: Form) -> Result<Self, ParseError> {
        Header::ident(bytes)?.specialised(|data| {
            let header = Header::fields(&data).ok_or(ParseError::Truncated)?;
            let parts = Parts::read(&header, data)?;
            Ok(Self::from_parts(header, data, form, &parts))
        })
    }

    /// The image whose header and segments were read from the first bytes of `data`.
    #[inline(always)]
    pub(crate) fn from_parts(header: Header, data: Data<'a>, form: Form, parts: &Parts) -> Self {
        let mut image = Self {
            data,
            header,
            form,
            offset_bias: parts.load.offset.wrapping_sub(parts.load.vaddr),
            dynamic: None,
            strings: None,
            symbol_table: None,
            versym: None,
            verdef: None,
            gnu: None,
            sysv: None,
            soname: None,
        };
        if let Some(dynamic) = &parts.dynamic {
            image.dynamic = image.segment_span(dynamic);
            image.read_dynamic();
        }
        image
    }

    /// Finds the tables that the dynamic section names.
    #[inline(always)]
    fn read_dynamic(&mut self) {
        let (mut strings, mut symbol_table, mut strings_size) = (None, None, None);
        let (mut gnu, mut sysv, mut versym, mut verdef) = (None, None, None, None);
        for entry in self.dynamic() {
            let value = Some(entry.value);
            match entry.tag {
                DT_STRTAB => strings = value,
                DT_STRSZ => strings_size = usize::try_from(entry.value).ok(),
                DT_SYMTAB => symbol_table = value,
                DT_GNU_HASH => gnu = value,
                DT_HASH => sysv = value,
                DT_VERSYM => versym = value,
                DT_VERDEF => verdef = value,
                DT_SONAME => self.soname = value,
                _ => {}
            }
        }
        // Only now: a search of the segments for each of a section's entries would be no longer
        // linear in its length.
        self.strings = strings.and_then(|vaddr| self.span(vaddr));
        self.symbol_table = symbol_table.and_then(|vaddr| self.span(vaddr));
        self.versym = versym.and_then(|vaddr| self.span(vaddr));
        self.verdef = verdef.and_then(|vaddr| self.span(vaddr));
        let (gnu, sysv) = (
            gnu.and_then(|vaddr| self.span(vaddr)),
            sysv.and_then(|vaddr| self.span(vaddr)),
        );
        if let (Some(strings), Some(size)) = (&mut self.strings, strings_size) {
            strings.end = strings.end.min(strings.start.saturating_add(size));
        }
        // No chain names more symbols than the table can have.
        let symbols = self.symbol_room() as usize;
        self.gnu = gnu.and_then(|span| Gnu::read(&self.data, span, symbols));
        self.sysv = sysv.and_then(|span| Sysv::read(&self.data, span, self.header.machine));
    }

    /// The ELF header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How the bytes are laid out.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The bytes that the image was read from.
    pub fn bytes(&self) -> &'a [u8] {
        self.data.bytes
    }

    /// The program headers.
    pub fn segments(&self) -> Segments<'a> {
        // Parts::read has checked that the whole table lies in the bytes.
        Segments::new(
            self.data,
            self.header.phoff as usize,
            usize::from(self.header.phentsize),
            usize::from(self.header.phnum),
        )
    }

    /// The entries of the dynamic section; none where it is missing.
    pub fn dynamic(&self) -> Dynamic<'a> {
        Dynamic::new(self.data, self.dynamic.unwrap_or(Span { start: 0, end: 0 }))
    }

    /// The value of the first dynamic entry with this tag.
    pub fn dynamic_value(&self, tag: u64) -> Option<u64> {
        self.dynamic()
            .find(|entry| entry.tag == tag)
            .map(|entry| entry.value)
    }

    /// The image's soname (DT_SONAME).
    pub fn soname(&self) -> Option<Text<'a>> {
        self.text(self.soname?)
    }

    /// The bytes at an address of the image (before the load bias), as far as their segment goes.
    pub fn bytes_at(&self, vaddr: u64) -> Option<&'a [u8]> {
        let span = self.span(vaddr)?;
        self.data.bytes.get(span.start..span.end)
    }

    /// Where an address of the image lies: in this process for [`Form::Memory`], as the offset
    /// in the file for [`Form::File`] of an image whose segments all have the same `p_offset -
    /// p_vaddr`.
    pub fn locate(&self, vaddr: u64) -> u64 {
        let base = match self.form {
            Form::File => 0,
            Form::Memory { address } => address,
        };
        base.wrapping_add(self.offset_bias).wrapping_add(vaddr) & self.word_mask()
    }

    #[inline(always)]
    fn word_mask(&self) -> u64 {
        match self.header.class {
            Class::Elf32 => u64::from(u32::MAX),
            Class::Elf64 => u64::MAX,
        }
    }

    /// The string at `offset` in the string table.
    #[inline]
    pub(crate) fn text(&self, offset: u64) -> Option<Text<'a>> {
        self.string_tail(offset).map(Text::until_nul)
    }

    /// The bytes of the string table from `offset`.
    #[inline]
    pub(crate) fn string_tail(&self, offset: u64) -> Option<&'a [u8]> {
        let strings = self.strings?;
        let offset = usize::try_from(offset).ok()?;
        self.data
            .bytes
            .get(strings.start.checked_add(offset)?..strings.end)
    }

    /// Where the bytes of a segment other than PT_LOAD are.
    #[inline(always)]
    pub(crate) fn segment_span(&self, segment: &Segment) -> Option<Span> {
        let start = match self.form {
            Form::File => usize::try_from(segment.offset).ok()?,
            Form::Memory { .. } => self.span(segment.vaddr)?.start,
        };
        let size = usize::try_from(segment.filesz).ok()?;
        let end = start.checked_add(size)?.min(self.data.bytes.len());
        (start < end).then_some(Span { start, end })
    }

    /// Where an address of the image lies in the bytes, and how far its segment goes.
    #[inline(always)]
    pub(crate) fn span(&self, vaddr: u64) -> Option<Span> {
        match self.form {
            Form::File => self.file_span(vaddr),
            Form::Memory { address } => {
                let end = self.data.bytes.len();
                let within = |offset: u64| usize::try_from(offset).ok().filter(|&at| at < end);
                let mask = self.word_mask();
                // Relocated entries hold an address of the process, others one of the image.
                let start = within(vaddr.wrapping_add(self.offset_bias) & mask)
                    .or_else(|| within(vaddr.wrapping_sub(address) & mask))?;
                Some(Span { start, end })
            }
        }
    }

    #[inline(never)]
    fn file_span(&self, vaddr: u64) -> Option<Span> {
        let load = self.segments().find(|segment| {
            segment.is_load()
                && vaddr
                    .checked_sub(segment.vaddr)
                    .is_some_and(|from| from < segment.filesz)
        })?;
        let from = usize::try_from(vaddr - load.vaddr).ok()?;
        let offset = usize::try_from(load.offset).ok()?;
        let size = usize::try_from(load.filesz).ok()?;
        let start = offset.checked_add(from)?;
        let end = offset.saturating_add(size).min(self.data.bytes.len());
        (start < end).then_some(Span { start, end })
    }
}
