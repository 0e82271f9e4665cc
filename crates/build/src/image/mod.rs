//! A declaration's image, written without a compiler or a linker.
//!
//! [`object`]'s writer works in two phases: everything is first given its place in the
//! file, then written. [`Plan`] is the first phase and [`Plan::write`] the second.

mod functions;
mod hash;
mod notes;
mod pages;
mod unwind;

use crate::arch::{Architecture, Target};
use crate::declaration::Declaration;
use crate::verify::{Unsound, verify};
use functions::Functions;
use miette::Diagnostic;
use object::Endianness;
use object::elf;
use object::write::StringId;
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, Sym, Verdef, Writer};
use pages::pages;
use thiserror::Error;
use vdsokit_vvar::directory::Unencodable;

/// Why a declaration has no image.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum ImageError {
    /// The directory can't name all variables.
    #[error("the variables have no directory: {0}")]
    #[diagnostic(help("declare fewer or smaller variables, or several vDSOs"))]
    Directory(#[from] Unencodable),
    /// Code reaches the vvar pages by a signed 32-bit distance.
    #[error("the image would have {0} bytes, and can have at most 1 GiB")]
    #[diagnostic(help("declare fewer or smaller variables, or several vDSOs"))]
    TooLarge(u64),
    /// More version nodes than a symbol's version index can tell apart.
    #[error("there are {0} version nodes, and can be at most {MAX_VERSIONS}")]
    #[diagnostic(help("use fewer different `version`s"))]
    Versions(usize),
    /// The ELF writer refused.
    #[error("the image could not be written as ELF")]
    #[diagnostic(help("declare fewer variables, or several vDSOs"))]
    Writer(#[from] object::write::Error),
    /// The finished image fails the check that every image goes through.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unsound(#[from] Unsound),
}

/// `vs_index` has 15 bits, of which 0 is local and 1 the image itself.
const MAX_VERSIONS: usize = 0x7ffd;
const MAX_IMAGE: u64 = 1 << 30;

/// The image of `declaration`: the bytes of its file. The same declaration gives the same
/// bytes.
///
/// # Errors
/// [`ImageError`], only for declarations larger than an image can be.
pub fn image(declaration: &Declaration, arch: Architecture) -> Result<Vec<u8>, ImageError> {
    let target = arch.target();
    let note = declaration.directory()?;
    let versions = declaration.versions();
    if versions.len() > MAX_VERSIONS {
        return Err(ImageError::Versions(versions.len()));
    }
    let pages = pages(declaration, &note, target.page);
    let functions = Functions::new(declaration, &versions, target);
    let mut bytes = Vec::new();
    let writer = Writer::new(Endianness::Little, true, &mut bytes);
    Plan::new(writer, declaration, target, &versions, &functions, &note)?.write(&pages)?;
    let id = notes::build_id(&bytes);
    notes::set_build_id(&mut bytes, &id);
    verify(&bytes)?;
    Ok(bytes)
}

/// The places of everything, and what is needed to write it there.
struct Plan<'a> {
    writer: Writer<'a>,
    target: &'static Target,
    functions: &'a Functions,
    table: hash::Buckets,
    names: Vec<StringId>,
    soname: StringId,
    versions: Vec<(&'a str, StringId)>,
    base_version: &'a str,
    notes: Part,
    gnu_hash: u64,
    hash: u64,
    dynsym: u64,
    dynstr: u64,
    versym: u64,
    verdef: u64,
    unwind_header: Part,
    unwind: Part,
    dynamic: u64,
    text: Part,
    /// Where the first segment ends.
    end: u64,
    /// Where the vvar pages begin.
    pages: u64,
    sections: Sections,
}

/// Bytes of the file that this module writes itself.
struct Part {
    at: u64,
    bytes: Vec<u8>,
}

/// The names of those sections that the writer has no own function for.
struct Sections {
    note: StringId,
    unwind_header: StringId,
    unwind: StringId,
    dynamic: StringId,
    text: StringId,
    pages: StringId,
    text_index: u32,
}

const DYNAMIC_ENTRIES: usize = 11;
const SEGMENTS: u32 = 6;

impl<'a> Plan<'a> {
    fn new(
        mut writer: Writer<'a>,
        declaration: &'a Declaration,
        target: &'static Target,
        versions: &[&'a str],
        functions: &'a Functions,
        note: &[u8],
    ) -> Result<Self, ImageError> {
        writer.reserve_file_header();
        writer.reserve_program_headers(SEGMENTS);
        let soname = writer.add_dynamic_string(declaration.soname.as_bytes());
        let versions: Vec<_> = versions
            .iter()
            .map(|version| (*version, writer.add_dynamic_string(version.as_bytes())))
            .collect();
        let table = hash::Buckets::new(functions.names());
        let names = functions
            .list
            .iter()
            .map(|function| {
                writer.reserve_dynamic_symbol_index();
                writer.add_dynamic_string(function.name.as_bytes())
            })
            .collect();
        let count = functions.list.len() as u32;

        let notes = notes::notes(note);
        let notes = Part::reserve(&mut writer, notes, 4);
        let gnu_hash = writer.reserve_gnu_hash(table.bloom, table.count, count);
        let hash = writer.reserve_hash(table.count, count + 1);
        let dynsym = writer.reserve_dynsym();
        let dynstr = writer.reserve_dynstr()?;
        let versym = writer.reserve_gnu_versym();
        let nodes = versions.len() + 1;
        let verdef = writer.reserve_gnu_verdef(nodes as u16, nodes);
        let unwind_header = Part::reserve(&mut writer, vec![0; unwind::HEADER_SIZE], 4);
        let unwind = Part::reserve(&mut writer, vec![0; unwind::size(&target.unwind)], 8);
        let dynamic = writer.reserve_dynamic(DYNAMIC_ENTRIES);
        let text = Part::reserve(
            &mut writer,
            vec![0; functions.size],
            target.function_align as u64,
        );
        let sections = Sections::reserve(&mut writer);
        writer.reserve_shstrtab()?;
        writer.reserve_section_headers();
        let end = writer.reserved_len();
        let pages = writer.reserve(0, target.page as u64);
        Ok(Self {
            writer,
            target,
            functions,
            table,
            names,
            soname,
            versions,
            base_version: &declaration.soname,
            notes,
            gnu_hash,
            hash,
            dynsym,
            dynstr,
            versym,
            verdef,
            unwind_header,
            unwind,
            dynamic,
            text,
            end,
            pages,
            sections,
        })
    }

    /// The address of what lies at `offset` of the file.
    fn address(&self, offset: u64) -> u64 {
        self.target.page as u64 + offset
    }

    fn write(mut self, pages: &[u8]) -> Result<(), ImageError> {
        self.writer.reserve(pages.len() as u64, 1);
        let length = self.writer.reserved_len();
        if length > MAX_IMAGE {
            return Err(ImageError::TooLarge(length));
        }
        let text = self.address(self.text.at);
        self.text.bytes = self.functions.code(text, self.address(self.pages));
        let tables = unwind::Tables {
            header: self.address(self.unwind_header.at),
            frames: self.address(self.unwind.at),
            text,
            size: self.functions.size as u64,
        };
        self.unwind_header.bytes = tables.header();
        self.unwind.bytes = tables.frames(&self.target.unwind);

        self.writer.write_file_header(&FileHeader {
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            e_type: elf::ET_DYN,
            e_machine: self.target.machine,
            e_entry: 0,
            e_flags: elf::FileFlags(0),
        })?;
        self.write_program_headers(pages.len() as u64);
        self.notes.write(&mut self.writer);
        self.write_hash_tables();
        self.write_symbols();
        self.writer.write_dynstr();
        self.write_versions();
        self.unwind_header.write(&mut self.writer);
        self.unwind.write(&mut self.writer);
        self.write_dynamic()?;
        self.text.write(&mut self.writer);
        self.writer.write_shstrtab();
        self.write_section_headers(pages.len() as u64);
        self.writer.pad_until(self.pages);
        self.writer.write(pages);
        Ok(())
    }

    fn write_program_headers(&mut self, pages: u64) {
        self.writer.write_align_program_headers();
        let page = self.target.page as u64;
        let word = 8;
        let dynamic = DYNAMIC_ENTRIES as u64 * 16;
        let (notes, unwind_header) = (&self.notes, &self.unwind_header);
        let segments = [
            (elf::PT_LOAD, elf::PF_R | elf::PF_X, 0, self.end, page),
            (elf::PT_LOAD, elf::PF_R, self.pages, pages, page),
            (elf::PT_DYNAMIC, elf::PF_R, self.dynamic, dynamic, word),
            (elf::PT_NOTE, elf::PF_R, notes.at, notes.size(), 4),
            (
                elf::PT_GNU_EH_FRAME,
                elf::PF_R,
                unwind_header.at,
                unwind_header.size(),
                4,
            ),
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
        let count = self.functions.list.len() as u32;
        let gnu = |index: u32| self.table.gnu_hash(index as usize);
        self.writer.write_gnu_hash(
            1,
            hash::BLOOM_SHIFT,
            self.table.bloom,
            self.table.count,
            count,
            gnu,
        );
        let function = |index: u32| {
            let place = (index as usize).checked_sub(1)?;
            let name = &self.functions.list[self.table.order[place]].name;
            Some(elf::hash(name.as_bytes()))
        };
        self.writer
            .write_hash(self.table.count, count + 1, function);
    }

    fn write_symbols(&mut self) {
        self.writer.write_null_dynamic_symbol();
        let text = self.address(self.text.at);
        for index in &self.table.order {
            let function = &self.functions.list[*index];
            let symbol = Sym {
                section: Some(self.sections.text_index),
                st_name: self.writer.dynamic_string_offset(Some(self.names[*index])),
                st_info: elf::SymbolInfo::new(elf::STB_GLOBAL, elf::STT_FUNC),
                st_other: elf::STV_DEFAULT.into(),
                st_shndx: elf::SHN_UNDEF,
                st_value: text + function.at as u64,
                st_size: function.size as u64,
            };
            self.writer.write_dynamic_symbol(&symbol);
        }
    }

    fn write_versions(&mut self) {
        self.writer.write_null_gnu_versym();
        for index in &self.table.order {
            let version = self.functions.list[*index].version;
            let node = elf::VersionIndex(elf::VER_NDX_GLOBAL.0 + 1 + version as u16);
            self.writer.write_gnu_versym(node.versym(false));
        }
        self.writer.write_align_gnu_verdef();
        let base = (self.base_version, self.soname);
        let nodes = std::iter::once(&base).chain(&self.versions);
        for (index, (name, id)) in nodes.enumerate() {
            self.writer.write_gnu_verdef(&Verdef {
                version: elf::VER_DEF_CURRENT,
                flags: if index == 0 {
                    elf::VER_FLG_BASE
                } else {
                    elf::VersionFlags(0)
                },
                index: elf::VersionIndex(elf::VER_NDX_GLOBAL.0 + index as u16),
                aux_count: 1,
                name: self.writer.dynamic_string_offset(Some(*id)),
                hash: elf::hash(name.as_bytes()),
            });
        }
    }

    fn write_dynamic(&mut self) -> Result<(), ImageError> {
        self.writer.write_align_dynamic();
        self.writer
            .write_dynamic_string(elf::DT_SONAME, self.soname)?;
        let numbers = [
            (elf::DT_HASH, self.address(self.hash)),
            (elf::DT_GNU_HASH, self.address(self.gnu_hash)),
            (elf::DT_STRTAB, self.address(self.dynstr)),
            (elf::DT_SYMTAB, self.address(self.dynsym)),
            (elf::DT_STRSZ, u64::from(self.writer.dynstr_len())),
            (elf::DT_SYMENT, 24),
            (elf::DT_VERSYM, self.address(self.versym)),
            (elf::DT_VERDEF, self.address(self.verdef)),
            (elf::DT_VERDEFNUM, self.versions.len() as u64 + 1),
            (elf::DT_NULL, 0),
        ];
        for (tag, value) in numbers {
            self.writer.write_dynamic(tag, value)?;
        }
        Ok(())
    }

    fn write_section_headers(&mut self, pages: u64) {
        self.writer.write_null_section_header();
        let alloc = elf::SHF_ALLOC;
        self.write_part(
            self.sections.note,
            elf::SHT_NOTE,
            alloc,
            self.notes.place(),
            4,
        );
        let address = [
            self.gnu_hash,
            self.hash,
            self.dynsym,
            self.dynstr,
            self.versym,
            self.verdef,
        ]
        .map(|offset| self.address(offset));
        self.writer.write_gnu_hash_section_header(address[0]);
        self.writer.write_hash_section_header(address[1]);
        self.writer.write_dynsym_section_header(address[2], 1);
        self.writer.write_dynstr_section_header(address[3]);
        self.writer.write_gnu_versym_section_header(address[4]);
        self.writer.write_gnu_verdef_section_header(address[5]);
        let data = elf::SHT_PROGBITS;
        let (header, frames) = (self.unwind_header.place(), self.unwind.place());
        self.write_part(self.sections.unwind_header, data, alloc, header, 4);
        self.write_part(self.sections.unwind, data, alloc, frames, 8);
        self.write_dynamic_section_header();
        let align = self.target.function_align as u64;
        let executable = alloc | elf::SHF_EXECINSTR;
        self.write_part(
            self.sections.text,
            data,
            executable,
            self.text.place(),
            align,
        );
        let page = self.target.page as u64;
        self.write_part(self.sections.pages, data, alloc, (self.pages, pages), page);
        self.writer.write_shstrtab_section_header();
    }

    /// Not the writer's own, which calls the section writable.
    fn write_dynamic_section_header(&mut self) {
        let header = SectionHeader {
            sh_name: self.writer.section_name_offset(Some(self.sections.dynamic)),
            sh_type: elf::SHT_DYNAMIC,
            sh_flags: elf::SHF_ALLOC,
            sh_addr: self.address(self.dynamic),
            sh_offset: self.dynamic,
            sh_size: DYNAMIC_ENTRIES as u64 * 16,
            sh_link: self.writer.dynstr_index().0,
            sh_info: 0,
            sh_addralign: 8,
            sh_entsize: 16,
        };
        self.writer.write_section_header(&header);
    }

    fn write_part(
        &mut self,
        name: StringId,
        kind: elf::SectionType,
        flags: elf::SectionFlags,
        (offset, size): (u64, u64),
        align: u64,
    ) {
        let header = SectionHeader {
            sh_name: self.writer.section_name_offset(Some(name)),
            sh_type: kind,
            sh_flags: flags,
            sh_addr: self.address(offset),
            sh_offset: offset,
            sh_size: size,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: align,
            sh_entsize: 0,
        };
        self.writer.write_section_header(&header);
    }
}

impl Sections {
    /// In the order in which [`Plan::write_section_headers`] writes them.
    fn reserve(writer: &mut Writer<'_>) -> Self {
        let note = writer.add_section_name(b".note");
        writer.reserve_section_index();
        writer.reserve_gnu_hash_section_index();
        writer.reserve_hash_section_index();
        writer.reserve_dynsym_section_index();
        writer.reserve_dynstr_section_index();
        writer.reserve_gnu_versym_section_index();
        writer.reserve_gnu_verdef_section_index();
        let unwind_header = writer.add_section_name(b".eh_frame_hdr");
        writer.reserve_section_index();
        let unwind = writer.add_section_name(b".eh_frame");
        writer.reserve_section_index();
        let dynamic = writer.add_section_name(b".dynamic");
        writer.reserve_dynamic_section_index();
        let text = writer.add_section_name(b".text");
        let text_index = writer.reserve_section_index().0;
        let pages = writer.add_section_name(b".vvar");
        writer.reserve_section_index();
        writer.reserve_shstrtab_section_index();
        Self {
            note,
            unwind_header,
            unwind,
            dynamic,
            text,
            pages,
            text_index,
        }
    }
}

impl Part {
    fn reserve(writer: &mut Writer<'_>, bytes: Vec<u8>, align: u64) -> Self {
        let at = writer.reserve(bytes.len() as u64, align);
        Self { at, bytes }
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn place(&self) -> (u64, u64) {
        (self.at, self.size())
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.pad_until(self.at);
        writer.write(&self.bytes);
    }
}
