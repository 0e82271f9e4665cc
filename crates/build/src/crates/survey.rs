//! Reading the linker's output: code is taken over, anything that an image cannot have is
//! an error.

use super::CrateError;
use crate::image::code::{CONSTANTS, Code, Section, TEXT, UNWIND, UNWIND_HEADER};
use object::elf;
use object::read::elf::{ElfFile64, FileHeader, Rela, SectionHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Sections of the linked executable that the image does not take over.
const LEFT_BEHIND: [&str; 6] = [
    ".dynamic",
    ".dynsym",
    ".dynstr",
    ".hash",
    ".gnu.hash",
    ".vvar",
];

type File<'a> = ElfFile64<'a, Endianness>;

/// The code in the linked program `bytes`, and where `functions` lie in it.
pub(super) fn code(bytes: &[u8], address: u64, functions: &[&str]) -> Result<Code, CrateError> {
    let file = File::parse(bytes)?;
    let found = forbidden(&file, bytes)?;
    if !found.is_empty() {
        return Err(CrateError::Forbidden { found });
    }
    let mut sections = Vec::new();
    for name in [UNWIND_HEADER, UNWIND, CONSTANTS, TEXT] {
        let Some(section) = file.section_by_name(name).filter(|one| one.size() > 0) else {
            continue;
        };
        sections.push(Section {
            name,
            address: section.address(),
            align: section.align(),
            bytes: section.data()?.to_vec(),
        });
    }
    debug_assert!(
        sections
            .first()
            .is_none_or(|first| first.address >= address)
    );
    let places = functions.iter().map(|function| {
        file.symbol_by_name(function)
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
            .map(|symbol| (symbol.address(), symbol.size()))
            .ok_or_else(|| CrateError::Forbidden {
                found: vec![format!("{function} is no function of the crate")],
            })
    });
    Ok(Code {
        places: places.collect::<Result<_, _>>()?,
        sections,
    })
}

/// A description of each loaded section that an image cannot have.
fn forbidden(file: &File<'_>, bytes: &[u8]) -> Result<Vec<String>, CrateError> {
    let endian = file.endian();
    let mut found = Vec::new();
    for section in file.sections() {
        let header = section.elf_section_header();
        let name = section.name()?;
        let loaded = header.sh_flags(endian).contains(elf::SHF_ALLOC);
        let is_code = [UNWIND_HEADER, UNWIND, CONSTANTS, TEXT].contains(&name);
        if !loaded || is_code || section.size() == 0 || LEFT_BEHIND.contains(&name) {
            continue;
        }
        // The words that a dynamic linker would use: three in .got.plt, and on AArch64, RISC-V and
        // LoongArch the address of .dynamic in .got.
        let reserved = match name {
            ".got.plt" => 24,
            ".got"
                if matches!(
                    file.elf_header().e_machine(endian),
                    elf::EM_AARCH64 | elf::EM_RISCV | elf::EM_LOONGARCH
                ) =>
            {
                8
            }
            _ => 0,
        };
        if section.size() <= reserved {
            continue;
        }
        if let Some((relocations, _)) = header.rela(endian, bytes)? {
            for relocation in relocations {
                let at = relocation.r_offset(endian);
                let held = holder(file, at);
                found.push(format!(
                    "a relocation at {at:#x}, in {held}: an image is never relocated"
                ));
            }
            continue;
        }
        let symbols: Vec<_> = file
            .symbols()
            .filter(|symbol| symbol.section_index() == Some(section.index()))
            .filter(|symbol| symbol.size() > 0)
            .filter_map(|symbol| Some(demangled(symbol.name().ok()?)))
            .collect();
        let what = match header.sh_flags(endian) {
            flags if flags.contains(elf::SHF_TLS) => "thread-local memory",
            flags if flags.contains(elf::SHF_WRITE) => "writable memory, or addresses to fill in",
            _ => "a section that an image does not have",
        };
        let size = section.size();
        // `.bss.SYMBOL`: a compiler gives each symbol a section of its own.
        let kind = name.split('.').nth(1).unwrap_or(name);
        let of = match symbols.is_empty() {
            true => String::new(),
            false => format!(": {}", symbols.join(", ")),
        };
        found.push(format!(".{kind}, {size} bytes of {what}{of}"));
    }
    Ok(found)
}

/// The name in the source.
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// The symbol or the section that contains an address.
fn holder(file: &File<'_>, address: u64) -> String {
    let holds = |start: u64, size: u64| address >= start && address - start < size;
    let symbol = file
        .symbols()
        .find(|symbol| holds(symbol.address(), symbol.size()));
    if let Some(name) = symbol.and_then(|symbol| symbol.name().ok().map(demangled)) {
        return name;
    }
    file.sections()
        .find(|section| holds(section.address(), section.size()))
        .and_then(|section| section.name().ok().map(str::to_owned))
        .unwrap_or_else(|| "no section".to_owned())
}
