//! Symbols.

use crate::constants::*;
use crate::data::{Class, Data, Span};
use crate::image::Image;
use crate::text::Text;
use crate::version::{MAX_VERSIONS, Version};

/// The binding of a symbol (`STB_`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Binding {
    /// Visible only inside the image.
    Local,
    /// Visible to other objects.
    Global,
    /// Visible to other objects, with lower precedence than a global symbol.
    Weak,
    /// Another value, such as GNU_UNIQUE (10).
    Other(u8),
}

/// The type of a symbol (`STT_`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// No type. PowerPC's vDSOs have functions without a type.
    NoType,
    /// Data.
    Object,
    /// A function.
    Function,
    /// A section.
    Section,
    /// Another value.
    Other(u8),
}

/// A symbol of the dynamic symbol table.
#[derive(Clone, Copy, Debug)]
pub struct Symbol<'a> {
    name: &'a [u8],
    /// Its index in the table.
    pub index: u32,
    /// Its address before the load bias is added; see [`Image::address_of`].
    pub value: u64,
    /// Its size in bytes; 0 where the symbol has none.
    pub size: u64,
    /// Its type.
    pub kind: Kind,
    /// Its binding.
    pub binding: Binding,
    /// `st_other`: visibility in its lowest two bits.
    pub other: u8,
    /// `st_shndx`: the section it is in, `SHN_UNDEF` or `SHN_ABS`.
    pub section: u16,
    /// Its version; `None` where it or the image has none.
    pub version: Option<Version<'a>>,
    /// Whether a look-up without a version skips it (the hidden bit).
    pub is_hidden_version: bool,
}

impl<'a> Symbol<'a> {
    /// The symbol's name.
    pub fn name(&self) -> Text<'a> {
        Text::until_nul(self.name)
    }

    /// Whether other objects can find it: it is defined, not local, and code or data. The absolute
    /// symbols that linkers define for version names are not exports.
    pub fn is_export(&self) -> bool {
        self.section != SHN_UNDEF
            && self.section != SHN_ABS
            && self.binding != Binding::Local
            && matches!(
                self.kind,
                Kind::NoType
                    | Kind::Object
                    | Kind::Function
                    | Kind::Other(STT_GNU_IFUNC | STT_COMMON)
            )
    }

    /// Whether the image refers to it and doesn't define it.
    pub fn is_undefined(&self) -> bool {
        self.section == SHN_UNDEF && self.index != 0
    }
}

/// A function descriptor: on PowerPC64's first ABI, IA-64 and PA-RISC a function symbol may name
/// one instead of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The address of the code, before the load bias is added.
    pub code: u64,
    /// The value of the global pointer (TOC, gp, dp) that the code expects.
    pub global: u64,
}

/// The fields of a symbol table entry.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: u32,
    info: u8,
    other: u8,
    pub(crate) section: u16,
    value: u64,
    size: u64,
}

impl Entry {
    /// Whether a look-up may yield it: defined, seen outside, and neither section, file nor TLS.
    #[inline]
    pub(crate) fn is_candidate(&self) -> bool {
        self.section != SHN_UNDEF
            && matches!(self.info >> 4, STB_GLOBAL | STB_WEAK | STB_GNU_UNIQUE)
            && matches!(
                self.info & 0xf,
                STT_NOTYPE | STT_OBJECT | STT_FUNC | STT_COMMON | STT_GNU_IFUNC
            )
    }
}

impl<'a> Image<'a> {
    /// The dynamic symbols in the table's order, the empty first one included.
    ///
    /// Their number is taken from the SysV hash table, else from the GNU one, else from the
    /// section headers, else from where the next table begins.
    pub fn symbols(&self) -> Symbols<'a> {
        let mut versions = [None; MAX_VERSIONS];
        for version in self.versions().filter(|version| !version.is_base) {
            if let Some(slot) = versions.get_mut(usize::from(version.index)) {
                *slot = slot.or(Some(version));
            }
        }
        Symbols {
            image: self.clone(),
            versions,
            next: 0,
            count: self.symbol_count(),
        }
    }

    /// Where a symbol's code or data lies: an address of the process for
    /// [`Form::Memory`](crate::Form::Memory), otherwise see [`Image::locate`]. The value of an
    /// absolute symbol is left alone.
    #[inline]
    pub fn address_of(&self, symbol: &Symbol<'_>) -> u64 {
        if symbol.section == SHN_ABS {
            symbol.value
        } else {
            self.locate(symbol.value)
        }
    }

    /// The descriptor that a function symbol names, on an architecture that has them and where
    /// the symbol lies in a segment that is not executable or in a section `.opd`.
    ///
    /// Sources: 64-bit PowerPC ELF ABI 1.9 section 3.2.1; Itanium Runtime Architecture section
    /// 8.3.1; Linux 6.18 `arch/powerpc/include/uapi/asm/elf.h`.
    pub fn descriptor(&self, symbol: &Symbol<'_>) -> Option<Descriptor> {
        let header = self.header();
        let has_them = match header.machine {
            EM_PPC64 => header.flags & EF_PPC64_ABI != 2,
            EM_IA_64 | EM_PARISC => header.class == Class::Elf64,
            _ => false,
        };
        if !has_them || symbol.kind != Kind::Function {
            return None;
        }
        let in_code = self.segments().any(|segment| {
            segment.is_load() && segment.flags & PF_X != 0 && segment.holds(symbol.value, 1)
        });
        let in_opd = self.sections().any(|section| {
            section.name() == ".opd"
                && symbol
                    .value
                    .checked_sub(section.vaddr)
                    .is_some_and(|from| from < section.size)
        });
        if in_code && !in_opd {
            return None;
        }
        // PA-RISC's has two reserved words in front.
        let skip = if header.machine == EM_PARISC { 16 } else { 0 };
        let start = self.span(symbol.value)?.start.checked_add(skip)?;
        Some(Descriptor {
            code: self.data.u64(start)?,
            global: self.data.u64(start.checked_add(8)?)?,
        })
    }

    /// How many symbols the table has, the empty first one included.
    pub fn symbol_count(&self) -> u32 {
        let Some(table) = self.symbol_table else {
            return 0;
        };
        let size = self.data.class.symbol_size();
        let room = self.symbol_room();
        let count = match (&self.sysv, &self.gnu) {
            (Some(sysv), _) => sysv.chain_count,
            (None, Some(gnu)) => gnu.symbol_count(&self.data),
            (None, None) => self.symbol_count_without_hash(table, size),
        };
        count.min(room)
    }

    /// How many symbols fit between the table's start and its segment's end.
    #[inline(always)]
    pub(crate) fn symbol_room(&self) -> u32 {
        let length = self.symbol_table.map_or(0, Span::length);
        u32::try_from(length / self.data.class.symbol_size()).unwrap_or(u32::MAX)
    }

    fn symbol_count_without_hash(&self, table: Span, size: usize) -> u32 {
        let from_section = self
            .sections()
            .find(|section| section.kind == SHT_DYNSYM)
            .map(|section| section.size / size as u64);
        let from_neighbour = || {
            let end = [self.strings, self.versym, self.verdef, self.dynamic]
                .into_iter()
                .flatten()
                .map(|span| span.start)
                .filter(|&start| start > table.start)
                .min()
                .unwrap_or(table.end);
            ((end - table.start) / size) as u64
        };
        u32::try_from(from_section.unwrap_or_else(from_neighbour)).unwrap_or(u32::MAX)
    }

    /// Entry `index` of the symbol table.
    #[inline]
    pub(crate) fn symbol_entry(&self, index: u32) -> Option<Entry> {
        let table = self.symbol_table?;
        let size = self.data.class.symbol_size();
        let at = table
            .start
            .checked_add(usize::try_from(index).ok()?.checked_mul(size)?)?;
        if at.checked_add(size)? > table.end {
            return None;
        }
        read_entry(&self.data, at)
    }

    /// A symbol from its entry; the version is looked for among all definitions.
    pub(crate) fn symbol_from(&self, index: u32, entry: &Entry) -> Symbol<'a> {
        self.symbol_with(index, entry, |wanted| {
            self.versions()
                .find(|version| !version.is_base && version.index == wanted)
        })
    }

    #[inline]
    pub(crate) fn symbol_with(
        &self,
        index: u32,
        entry: &Entry,
        version: impl FnOnce(u16) -> Option<Version<'a>>,
    ) -> Symbol<'a> {
        let stated = if self.has_versions() {
            self.version_entry(index)
        } else {
            None
        };
        Symbol {
            name: self.string_tail(u64::from(entry.name)).unwrap_or_default(),
            index,
            value: entry.value,
            size: entry.size,
            kind: match entry.info & 0xf {
                STT_NOTYPE => Kind::NoType,
                STT_OBJECT => Kind::Object,
                STT_FUNC => Kind::Function,
                STT_SECTION => Kind::Section,
                other => Kind::Other(other),
            },
            binding: match entry.info >> 4 {
                STB_LOCAL => Binding::Local,
                STB_GLOBAL => Binding::Global,
                STB_WEAK => Binding::Weak,
                other => Binding::Other(other),
            },
            other: entry.other,
            section: entry.section,
            version: stated.and_then(|stated| version(stated & !VERSYM_HIDDEN)),
            is_hidden_version: stated.is_some_and(|stated| stated & VERSYM_HIDDEN != 0),
        }
    }
}

#[inline]
fn read_entry(data: &Data<'_>, at: usize) -> Option<Entry> {
    Some(match data.class {
        Class::Elf32 => {
            let record = data.record::<16>(at)?;
            Entry {
                name: record.u32(0),
                value: u64::from(record.u32(4)),
                size: u64::from(record.u32(8)),
                info: record.u8(12),
                other: record.u8(13),
                section: record.u16(14),
            }
        }
        Class::Elf64 => {
            let record = data.record::<24>(at)?;
            Entry {
                name: record.u32(0),
                info: record.u8(4),
                other: record.u8(5),
                section: record.u16(6),
                value: record.u64(8),
                size: record.u64(16),
            }
        }
    })
}

/// The symbols of an image.
#[derive(Clone, Debug)]
pub struct Symbols<'a> {
    image: Image<'a>,
    /// The definitions by their number, so that each symbol's version is found at once.
    versions: [Option<Version<'a>>; MAX_VERSIONS],
    next: u32,
    count: u32,
}

impl<'a> Iterator for Symbols<'a> {
    type Item = Symbol<'a>;

    fn next(&mut self) -> Option<Symbol<'a>> {
        if self.next >= self.count {
            return None;
        }
        let index = self.next;
        self.next += 1;
        let entry = self.image.symbol_entry(index)?;
        let versions = &self.versions;
        Some(self.image.symbol_with(index, &entry, |wanted| {
            versions.get(usize::from(wanted)).copied().flatten()
        }))
    }
}
