//! Section headers, which an image may lack.

use crate::constants::SHT_NOBITS;
use crate::data::{Class, Data};
use crate::image::Image;
use crate::text::Text;

/// A section header, with the format's own field names.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Its index in the table.
    pub index: usize,
    name: &'a [u8],
    /// `sh_type`: one of the `SHT_` [constants](crate::constants).
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// Where it starts in memory, before the load bias is added.
    pub vaddr: u64,
    /// Where it starts in the file.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes of one entry, 0 where there are none.
    pub entsize: u64,
}

impl<'a> Section<'a> {
    /// The section's name, empty where the table of names is missing.
    pub fn name(&self) -> Text<'a> {
        Text::until_nul(self.name)
    }
}

/// An image's section headers, without the empty first one.
#[derive(Clone, Debug)]
pub struct Sections<'a> {
    data: Data<'a>,
    table: usize,
    stride: usize,
    names: &'a [u8],
    index: usize,
    count: usize,
}

impl<'a> Sections<'a> {
    pub(crate) fn new(image: &Image<'a>) -> Self {
        let data = image.data;
        let header = image.header();
        let stride = usize::from(header.shentsize);
        let usable = header.shoff != 0 && stride >= data.class.section_size();
        let table = usize::try_from(header.shoff).unwrap_or(usize::MAX);
        let mut sections = Self {
            data,
            table,
            stride,
            names: &[],
            index: 1,
            count: if usable { usize::from(header.shnum) } else { 0 },
        };
        sections.names = sections
            .read(usize::from(header.shstrndx))
            .and_then(|section| image.section_bytes(&section))
            .unwrap_or_default();
        sections
    }

    fn read(&self, index: usize) -> Option<Section<'a>> {
        if index >= self.count {
            return None;
        }
        let at = self.table.checked_add(index.checked_mul(self.stride)?)?;
        let data = &self.data;
        data.range(at, data.class.section_size())?;
        let word = data.class.word();
        // sh_name, sh_type, then four words: flags, addr, offset, size.
        let words = at + 8;
        let entsize_at = match data.class {
            Class::Elf32 => at + 36,
            Class::Elf64 => at + 56,
        };
        let name = usize::try_from(data.u32(at)?).ok()?;
        Some(Section {
            index,
            name: self.names.get(name..).unwrap_or_default(),
            kind: data.u32(at + 4)?,
            flags: data.word(words)?,
            vaddr: data.word(words + word)?,
            offset: data.word(words + 2 * word)?,
            size: data.word(words + 3 * word)?,
            entsize: data.word(entsize_at)?,
        })
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Section<'a>;

    fn next(&mut self) -> Option<Section<'a>> {
        let section = self.read(self.index)?;
        self.index += 1;
        Some(section)
    }
}

impl<'a> Image<'a> {
    /// The section headers; none where the image has none (they are not mapped by every kernel).
    pub fn sections(&self) -> Sections<'a> {
        Sections::new(self)
    }

    /// A section's bytes in the file; `None` where it has none or they lie outside.
    pub fn section_bytes(&self, section: &Section<'_>) -> Option<&'a [u8]> {
        if section.kind == SHT_NOBITS {
            return None;
        }
        self.data.range(
            section.offset.try_into().ok()?,
            section.size.try_into().ok()?,
        )
    }
}
