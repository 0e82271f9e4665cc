//! The ELF file. [`object`]'s writer works in two phases: [`File::new`] and
//! [`File::place_code`] reserve the place of everything, then all is written in that order.

use super::code::{ALIGN, Code, Export, TEXT, UNWIND_HEADER};
use super::{ImageError, MAX_IMAGE, hash, notes};
use crate::arch::target;
use object::Endianness;
use object::elf;
use object::write::StringId;
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, Sym, Verdef, Writer};
use vdsokit_link::Architecture;

/// The contents of the image's tables.
pub(super) struct Tables<'a> {
    pub(super) soname: &'a str,
    pub(super) versions: &'a [String],
    pub(super) exports: &'a [Export],
    /// The directory.
    pub(super) note: &'a [u8],
    /// Which variables are the kernel's.
    pub(super) kernel: &'a str,
    pub(super) arch: Architecture,
}

const SEGMENTS: u32 = 6;
const DYNAMIC_ENTRIES: u64 = 11;

/// The sizes that differ between 32 and 64 bits (gABI, chapters 4 and 5).
struct Sizes {
    /// An address.
    word: u64,
    /// An entry of the dynamic section.
    dynamic: u64,
    /// A symbol.
    symbol: u64,
}

impl Sizes {
    fn of(arch: Architecture) -> &'static Self {
        match arch.is_64() {
            true => &Self {
                word: 8,
                dynamic: 16,
                symbol: 24,
            },
            false => &Self {
                word: 4,
                dynamic: 8,
                symbol: 16,
            },
        }
    }
}

/// The file's bytes, its build id still zero.
pub(super) fn write<E: From<ImageError>>(
    tables: &Tables<'_>,
    pages: &[u8],
    link: impl Fn(u64, u64) -> Result<Code, E>,
) -> Result<Vec<u8>, E> {
    let mut bytes = Vec::new();
    let writer = Writer::new(Endianness::Little, tables.arch.is_64(), &mut bytes);
    let mut file = File::new(writer, tables).map_err(ImageError::from)?;
    let address = file.address(file.code);
    // The code is generated twice: first for its length, with an assumed address of the
    // pages, then with the final one.
    let size = link(address, file.address(MAX_IMAGE / 2))?;
    let pages_at = file.place_code(&size, address, pages.len() as u64)?;
    let code = link(address, file.address(pages_at))?;
    file.write(&code, pages_at, pages)
        .map_err(ImageError::from)?;
    Ok(bytes)
}

/// The offsets of all parts, and the data to write there.
struct File<'a> {
    writer: Writer<'a>,
    tables: &'a Tables<'a>,
    buckets: hash::Buckets,
    names: Vec<StringId>,
    soname: StringId,
    versions: Vec<StringId>,
    notes: Vec<u8>,
    notes_at: u64,
    gnu_hash: u64,
    hash: u64,
    dynsym: u64,
    dynstr: u64,
    versym: u64,
    verdef: u64,
    dynamic: u64,
    code: u64,
    /// Where the first segment ends.
    end: u64,
    sections: Vec<StringId>,
    text_index: u32,
    note_name: StringId,
    dynamic_name: StringId,
    pages_name: StringId,
}

impl<'a> File<'a> {
    fn new(mut writer: Writer<'a>, tables: &'a Tables<'a>) -> object::write::Result<Self> {
        writer.reserve_file_header();
        writer.reserve_program_headers(SEGMENTS);
        let soname = writer.add_dynamic_string(tables.soname.as_bytes());
        let string = |version: &'a String| writer.add_dynamic_string(version.as_bytes());
        let versions = tables.versions.iter().map(string).collect();
        let symbol = |export: &'a Export| {
            writer.reserve_dynamic_symbol_index();
            writer.add_dynamic_string(export.name.as_bytes())
        };
        let names = tables.exports.iter().map(symbol).collect();
        let exports = tables.exports.iter().map(|export| export.name.as_str());
        let buckets = hash::Buckets::new(exports, tables.arch.is_64());
        let count = tables.exports.len() as u32;

        let notes = notes::notes(tables.note, tables.kernel);
        let notes_at = writer.reserve(notes.len() as u64, 4);
        let gnu_hash = writer.reserve_gnu_hash(buckets.bloom, buckets.count, count);
        let hash = writer.reserve_hash(buckets.count, count + 1);
        let dynsym = writer.reserve_dynsym();
        let dynstr = writer.reserve_dynstr()?;
        let versym = writer.reserve_gnu_versym();
        // The image itself is the first node.
        let nodes = tables.versions.len() + 1;
        let verdef = writer.reserve_gnu_verdef(nodes as u16, nodes);
        let dynamic = writer.reserve_dynamic(DYNAMIC_ENTRIES as usize);
        let code = writer.reserve(0, ALIGN);

        // In the order of `write_section_headers`.
        let note_name = writer.add_section_name(b".note");
        writer.reserve_section_index();
        writer.reserve_gnu_hash_section_index();
        writer.reserve_hash_section_index();
        writer.reserve_dynsym_section_index();
        writer.reserve_dynstr_section_index();
        writer.reserve_gnu_versym_section_index();
        writer.reserve_gnu_verdef_section_index();
        let dynamic_name = writer.add_section_name(b".dynamic");
        writer.reserve_dynamic_section_index();
        let pages_name = writer.add_section_name(b".vvar");
        Ok(Self {
            writer,
            tables,
            buckets,
            names,
            soname,
            versions,
            notes,
            notes_at,
            gnu_hash,
            hash,
            dynsym,
            dynstr,
            versym,
            verdef,
            dynamic,
            code,
            end: 0,
            sections: Vec::new(),
            text_index: 0,
            note_name,
            dynamic_name,
            pages_name,
        })
    }

    /// Bytes of the dynamic section.
    fn dynamic_size(&self) -> u64 {
        DYNAMIC_ENTRIES * Sizes::of(self.tables.arch).dynamic
    }

    /// The address at which the byte at `offset` of the file is mapped.
    fn address(&self, offset: u64) -> u64 {
        self.tables.arch.page() as u64 + offset
    }

    /// Reserves room for code of this length and returns the offset of the vvar pages.
    fn place_code(&mut self, code: &Code, address: u64, pages: u64) -> Result<u64, ImageError> {
        self.writer.reserve(code.size(address), 1);
        for section in &code.sections {
            let name = self.writer.add_section_name(section.name.as_bytes());
            let index = self.writer.reserve_section_index();
            if section.name == TEXT {
                self.text_index = index.0;
            }
            self.sections.push(name);
        }
        self.writer.reserve_section_index(); // the pages
        self.writer.reserve_shstrtab_section_index();
        // In the first segment, not behind the pages: they are the file's last bytes,
        // and a debugger that reads the image out of a process finds the sections there.
        self.writer.reserve_shstrtab()?;
        self.writer.reserve_section_headers();
        self.end = self.writer.reserved_len();
        let at = self.writer.reserve(pages, self.tables.arch.page() as u64);
        match self.writer.reserved_len() {
            length if length > MAX_IMAGE => Err(ImageError::TooLarge(length)),
            _ => Ok(at),
        }
    }

    fn write(mut self, code: &Code, pages_at: u64, pages: &[u8]) -> object::write::Result<()> {
        self.writer.write_file_header(&FileHeader {
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            e_type: elf::ET_DYN,
            e_machine: elf::Machine(self.tables.arch.abi().machine),
            e_entry: 0,
            e_flags: target(self.tables.arch).flags,
        })?;
        let pages_size = pages.len() as u64;
        self.write_program_headers(code, pages_at, pages_size);
        self.writer.pad_until(self.notes_at);
        self.writer.write(&self.notes);
        self.write_hash_tables();
        self.write_symbols(code);
        self.writer.write_dynstr();
        self.write_versions();
        self.write_dynamic()?;
        for section in &code.sections {
            let offset = section.address - self.address(0);
            self.writer.pad_until(offset);
            self.writer.write(&section.bytes);
        }
        self.writer.write_shstrtab();
        self.write_section_headers(code, pages_at, pages_size);
        self.writer.pad_until(pages_at);
        self.writer.write(pages);
        Ok(())
    }

    fn write_program_headers(&mut self, code: &Code, pages_at: u64, pages: u64) {
        self.writer.write_align_program_headers();
        let page = self.tables.arch.page() as u64;
        let base = self.address(0);
        let unwind = code.section(UNWIND_HEADER);
        let (unwind_at, unwind_size) = unwind.map_or((0, 0), |section| {
            (section.address - base, section.bytes.len() as u64)
        });
        let unwind_kind = match unwind {
            Some(_) => elf::PT_GNU_EH_FRAME,
            None => elf::PT_NULL,
        };
        let (read, notes) = (elf::PF_R, self.notes.len() as u64);
        let (dynamic, word) = (self.dynamic_size(), Sizes::of(self.tables.arch).word);
        let segments = [
            (elf::PT_LOAD, read | elf::PF_X, 0, self.end, page),
            (elf::PT_LOAD, read, pages_at, pages, page),
            (elf::PT_DYNAMIC, read, self.dynamic, dynamic, word),
            (elf::PT_NOTE, read, self.notes_at, notes, 4),
            (unwind_kind, read, unwind_at, unwind_size, 4),
        ];
        for (p_type, p_flags, offset, size, align) in segments {
            let address = self.address(offset);
            self.writer.write_program_header(&ProgramHeader {
                p_type,
                p_flags,
                p_offset: offset,
                p_vaddr: address,
                p_paddr: address,
                p_filesz: size,
                p_memsz: size,
                p_align: align,
            });
        }
        self.writer.write_program_header(&ProgramHeader {
            p_type: elf::PT_GNU_STACK,
            p_flags: elf::PF_R | elf::PF_W,
            p_offset: 0,
            p_vaddr: 0,
            p_paddr: 0,
            p_filesz: 0,
            p_memsz: 0,
            p_align: 16,
        });
    }

    fn write_hash_tables(&mut self) {
        let (buckets, exports) = (&self.buckets, self.tables.exports);
        let count = exports.len() as u32;
        let hash = |index: u32| buckets.gnu_hash(index as usize);
        self.writer.write_gnu_hash(
            1,
            hash::BLOOM_SHIFT,
            buckets.bloom,
            buckets.count,
            count,
            hash,
        );
        let hash = |index: u32| {
            let place = (index as usize).checked_sub(1)?;
            Some(elf::hash(exports[buckets.order[place]].name.as_bytes()))
        };
        self.writer.write_hash(buckets.count, count + 1, hash);
    }

    fn write_symbols(&mut self, code: &Code) {
        self.writer.write_null_dynamic_symbol();
        for index in &self.buckets.order {
            let (address, size) = code.places[*index];
            let binding = match self.tables.exports[*index].weak {
                true => elf::STB_WEAK,
                false => elf::STB_GLOBAL,
            };
            let symbol = Sym {
                section: Some(self.text_index),
                st_name: self.writer.dynamic_string_offset(Some(self.names[*index])),
                st_info: elf::SymbolInfo::new(binding, elf::STT_FUNC),
                st_other: elf::STV_DEFAULT.into(),
                st_shndx: elf::SHN_UNDEF,
                st_value: address,
                st_size: size,
            };
            self.writer.write_dynamic_symbol(&symbol);
        }
    }

    fn write_versions(&mut self) {
        let node = |index: usize| elf::VersionIndex(elf::VER_NDX_GLOBAL.0 + index as u16);
        self.writer.write_null_gnu_versym();
        for index in &self.buckets.order {
            let export = &self.tables.exports[*index];
            self.writer
                .write_gnu_versym(node(1 + export.version).versym(export.hidden));
        }
        self.writer.write_align_gnu_verdef();
        let base = (self.tables.soname, &self.soname);
        let names = self.tables.versions.iter().map(String::as_str);
        let nodes = names.zip(&self.versions);
        for (index, (name, id)) in std::iter::once(base).chain(nodes).enumerate() {
            self.writer.write_gnu_verdef(&Verdef {
                version: elf::VER_DEF_CURRENT,
                flags: match index {
                    0 => elf::VER_FLG_BASE,
                    _ => elf::VersionFlags(0),
                },
                index: node(index),
                aux_count: 1,
                name: self.writer.dynamic_string_offset(Some(*id)),
                hash: elf::hash(name.as_bytes()),
            });
        }
    }

    fn write_dynamic(&mut self) -> object::write::Result<()> {
        self.writer.write_align_dynamic();
        self.writer
            .write_dynamic_string(elf::DT_SONAME, self.soname)?;
        let entries = [
            (elf::DT_HASH, self.address(self.hash)),
            (elf::DT_GNU_HASH, self.address(self.gnu_hash)),
            (elf::DT_STRTAB, self.address(self.dynstr)),
            (elf::DT_SYMTAB, self.address(self.dynsym)),
            (elf::DT_STRSZ, u64::from(self.writer.dynstr_len())),
            (elf::DT_SYMENT, Sizes::of(self.tables.arch).symbol),
            (elf::DT_VERSYM, self.address(self.versym)),
            (elf::DT_VERDEF, self.address(self.verdef)),
            (elf::DT_VERDEFNUM, self.versions.len() as u64 + 1),
            (elf::DT_NULL, 0),
        ];
        for (tag, value) in entries {
            self.writer.write_dynamic(tag, value)?;
        }
        Ok(())
    }

    fn write_section_headers(&mut self, code: &Code, pages_at: u64, pages: u64) {
        self.writer.write_null_section_header();
        let note = self.section(self.note_name, self.notes_at, self.notes.len() as u64, 4);
        self.writer.write_section_header(&SectionHeader {
            sh_type: elf::SHT_NOTE,
            ..note
        });
        let [gnu_hash, hash] = [self.gnu_hash, self.hash].map(|offset| self.address(offset));
        self.writer.write_gnu_hash_section_header(gnu_hash);
        self.writer.write_hash_section_header(hash);
        let [dynsym, dynstr] = [self.dynsym, self.dynstr].map(|offset| self.address(offset));
        self.writer.write_dynsym_section_header(dynsym, 1);
        self.writer.write_dynstr_section_header(dynstr);
        let [versym, verdef] = [self.versym, self.verdef].map(|offset| self.address(offset));
        self.writer.write_gnu_versym_section_header(versym);
        self.writer.write_gnu_verdef_section_header(verdef);
        // Not the writer's own, which calls the section writable.
        let sizes = Sizes::of(self.tables.arch);
        let size = self.dynamic_size();
        let dynamic = self.section(self.dynamic_name, self.dynamic, size, sizes.word);
        let dynstr_index = self.writer.dynstr_index().0;
        self.writer.write_section_header(&SectionHeader {
            sh_type: elf::SHT_DYNAMIC,
            sh_link: dynstr_index,
            sh_entsize: sizes.dynamic,
            ..dynamic
        });
        for (index, section) in code.sections.iter().enumerate() {
            let offset = section.address - self.address(0);
            let size = section.bytes.len() as u64;
            let mut header = self.section(self.sections[index], offset, size, section.align);
            if section.name == TEXT {
                header.sh_flags |= elf::SHF_EXECINSTR;
            }
            self.writer.write_section_header(&header);
        }
        let page = self.tables.arch.page() as u64;
        let pages = self.section(self.pages_name, pages_at, pages, page);
        self.writer.write_section_header(&pages);
        self.writer.write_shstrtab_section_header();
    }

    /// The header of a loaded section.
    fn section(&self, name: StringId, offset: u64, size: u64, align: u64) -> SectionHeader {
        SectionHeader {
            sh_name: self.writer.section_name_offset(Some(name)),
            sh_type: elf::SHT_PROGBITS,
            sh_flags: elf::SHF_ALLOC,
            sh_addr: self.address(offset),
            sh_offset: offset,
            sh_size: size,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: align,
            sh_entsize: 0,
        }
    }
}
