//! One image for several objects.
//!
//! A program finds one vDSO, at AT_SYSINFO_EHDR. For it to find the functions of several
//! objects, a *joint image* is mapped right before them: an ELF object of tables alone, whose
//! symbols lie at fixed distances in the objects behind it. Each symbol keeps its version. The
//! joint image has the soname of the kernel's vDSO, so that `dlopen("linux-vdso.so.1",
//! RTLD_NOLOAD)` finds it.

use std::collections::BTreeSet;

use object::elf;
use object::write::StringId;
use object::write::elf::{FileHeader, ProgramHeader, Sym, Verdef, Writer};

use crate::arch;
use crate::object::{Function, PAGE};

/// The soname of the kernel's vDSO (arch/x86/entry/vdso/vdso.lds.S).
const SONAME: &str = "linux-vdso.so.1";
/// The link-time address of the joint image. glibc takes the load bias from the first PT_LOAD
/// whose address is not 0 (elf/setup-vdso.h).
const ADDRESS: u64 = PAGE;
const DYNAMIC_ENTRIES: usize = 11;
/// The shift of the second hash of the Bloom filter.
const BLOOM_SHIFT: u32 = 26;

/// The bytes of an image whose symbols are `functions`, each `shift` bytes further from the
/// image's start than its distance. The length of the image does not depend on `shift`.
///
/// Of two functions with the same name and version the first one is exported; of two that differ
/// only in version, the first is the default.
pub(crate) fn compose(functions: &[Function], shift: u64) -> object::write::Result<Vec<u8>> {
    let mut seen = BTreeSet::new();
    let mut functions: Vec<&Function> = functions
        .iter()
        .filter(|function| seen.insert((&function.name, &function.version)))
        .collect();
    let versions: BTreeSet<&str> = functions
        .iter()
        .filter_map(|function| function.version.as_deref())
        .collect();
    let mut names = BTreeSet::new();
    let defaults: BTreeSet<_> = functions
        .iter()
        .filter(|function| names.insert(&function.name))
        .map(|function| (&function.name, &function.version))
        .collect();
    // The GNU hash table requires the symbols sorted by bucket.
    let count = functions.len() as u32;
    let buckets = count | 1;
    let hash = |function: &Function| elf::gnu_hash(function.name.as_bytes());
    functions.sort_by_key(|function| hash(function) % buckets);
    let bloom = (count * 8).div_ceil(64).next_power_of_two();

    let mut bytes = Vec::new();
    let mut writer = Writer::new(object::Endianness::Little, true, &mut bytes);
    writer.reserve_file_header();
    writer.reserve_program_headers(3);
    writer.reserve_null_section_index();
    writer.reserve_gnu_hash_section_index();
    writer.reserve_hash_section_index();
    writer.reserve_dynsym_section_index();
    writer.reserve_dynstr_section_index();
    writer.reserve_gnu_versym_section_index();
    writer.reserve_gnu_verdef_section_index();
    writer.reserve_dynamic_section_index();
    writer.reserve_shstrtab_section_index();
    let soname = writer.add_dynamic_string(SONAME.as_bytes());
    let version_names: Vec<(&str, StringId)> = std::iter::once((SONAME, soname))
        .chain(
            versions
                .iter()
                .map(|name| (*name, writer.add_dynamic_string(name.as_bytes()))),
        )
        .collect();
    let symbol_names: Vec<StringId> = functions
        .iter()
        .map(|function| {
            writer.reserve_dynamic_symbol_index();
            writer.add_dynamic_string(function.name.as_bytes())
        })
        .collect();
    let at_gnu_hash = writer.reserve_gnu_hash(bloom, buckets, count);
    let at_hash = writer.reserve_hash(buckets, count + 1);
    let at_dynsym = writer.reserve_dynsym();
    let at_dynstr = writer.reserve_dynstr()?;
    let at_versym = writer.reserve_gnu_versym();
    let at_verdef = writer.reserve_gnu_verdef(version_names.len() as u16, version_names.len());
    let at_dynamic = writer.reserve_dynamic(DYNAMIC_ENTRIES);
    writer.reserve_shstrtab()?;
    writer.reserve_section_headers();
    let length = writer.reserved_len();

    writer.write_file_header(&FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_DYN,
        e_machine: elf::Machine(arch::MACHINE),
        e_entry: 0,
        e_flags: elf::FileFlags(0),
    })?;
    writer.write_align_program_headers();
    let dynamic_size = DYNAMIC_ENTRIES as u64 * 16;
    for (p_type, p_flags, offset, size, p_align) in [
        (elf::PT_LOAD, elf::PF_R | elf::PF_X, 0, length, PAGE),
        (elf::PT_DYNAMIC, elf::PF_R, at_dynamic, dynamic_size, 8),
        (elf::PT_GNU_STACK, elf::PF_R | elf::PF_W, 0, 0, 16),
    ] {
        let address = if size == 0 { 0 } else { ADDRESS + offset };
        writer.write_program_header(&ProgramHeader {
            p_type,
            p_flags,
            p_offset: offset,
            p_vaddr: address,
            p_paddr: address,
            p_filesz: size,
            p_memsz: size,
            p_align,
        });
    }
    writer.write_gnu_hash(1, BLOOM_SHIFT, bloom, buckets, count, |index| {
        hash(functions[index as usize])
    });
    writer.write_hash(buckets, count + 1, |index| {
        let function = functions.get((index as usize).checked_sub(1)?)?;
        Some(elf::hash(function.name.as_bytes()))
    });
    writer.write_null_dynamic_symbol();
    for (function, name) in functions.iter().zip(&symbol_names) {
        writer.write_dynamic_symbol(&Sym {
            section: None,
            st_name: writer.dynamic_string_offset(Some(*name)),
            st_info: elf::SymbolInfo::new(elf::STB_GLOBAL, elf::STT_FUNC),
            st_other: elf::STV_DEFAULT.into(),
            // Any index that is neither undefined nor absolute: no section of this image contains
            // the code.
            st_shndx: elf::SymbolSection(1),
            st_value: ADDRESS + shift + function.distance,
            st_size: function.size,
        });
    }
    writer.write_dynstr();
    writer.write_null_gnu_versym();
    for function in &functions {
        let position = function.version.as_deref().and_then(|version| {
            version_names
                .iter()
                .skip(1)
                .position(|(name, _)| *name == version)
        });
        let node = position.map_or(elf::VER_NDX_GLOBAL.0, |at| {
            elf::VER_NDX_GLOBAL.0 + 1 + at as u16
        });
        let is_default = defaults.contains(&(&function.name, &function.version));
        writer.write_gnu_versym(elf::VersionIndex(node).versym(!is_default));
    }
    writer.write_align_gnu_verdef();
    for (index, (name, id)) in version_names.iter().enumerate() {
        writer.write_gnu_verdef(&Verdef {
            version: elf::VER_DEF_CURRENT,
            flags: if index == 0 {
                elf::VER_FLG_BASE
            } else {
                elf::VersionFlags(0)
            },
            index: elf::VersionIndex(elf::VER_NDX_GLOBAL.0 + index as u16),
            aux_count: 1,
            name: writer.dynamic_string_offset(Some(*id)),
            hash: elf::hash(name.as_bytes()),
        });
    }
    writer.write_align_dynamic();
    writer.write_dynamic_string(elf::DT_SONAME, soname)?;
    for (tag, value) in [
        (elf::DT_HASH, ADDRESS + at_hash),
        (elf::DT_GNU_HASH, ADDRESS + at_gnu_hash),
        (elf::DT_STRTAB, ADDRESS + at_dynstr),
        (elf::DT_SYMTAB, ADDRESS + at_dynsym),
        (elf::DT_STRSZ, u64::from(writer.dynstr_len())),
        (elf::DT_SYMENT, 24),
        (elf::DT_VERSYM, ADDRESS + at_versym),
        (elf::DT_VERDEF, ADDRESS + at_verdef),
        (elf::DT_VERDEFNUM, version_names.len() as u64),
        (elf::DT_NULL, 0),
    ] {
        writer.write_dynamic(tag, value)?;
    }
    writer.write_shstrtab();
    writer.write_null_section_header();
    writer.write_gnu_hash_section_header(ADDRESS + at_gnu_hash);
    writer.write_hash_section_header(ADDRESS + at_hash);
    writer.write_dynsym_section_header(ADDRESS + at_dynsym, 1);
    writer.write_dynstr_section_header(ADDRESS + at_dynstr);
    writer.write_gnu_versym_section_header(ADDRESS + at_versym);
    writer.write_gnu_verdef_section_header(ADDRESS + at_verdef);
    writer.write_dynamic_section_header(ADDRESS + at_dynamic);
    writer.write_shstrtab_section_header();
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use vdsokit_elf::Image;

    use super::*;

    fn function(name: &str, version: Option<&str>, distance: u64) -> Function {
        Function {
            name: name.to_owned(),
            version: version.map(str::to_owned),
            distance,
            size: 5,
        }
    }

    #[test]
    fn every_symbol_is_found_by_name_and_version() {
        let functions = [
            function("__vdso_time", Some("LINUX_2.6"), 0x10),
            function("beat", Some("BEAST_1"), 0x3000),
            function("beat", Some("BEAST_2"), 0x3040),
            function("beat", Some("BEAST_1"), 0x9999),
            function("plain", None, 0x4000),
        ];
        let bytes = compose(&functions, 0x1000).expect("an image");
        assert_eq!(bytes.len(), compose(&functions, 0).expect("an image").len());
        let image = Image::parse(&bytes).expect("an image that parses");
        let at = |name, version| {
            image
                .lookup_version(name, version)
                .map(|symbol| symbol.value)
        };
        assert_eq!(at("__vdso_time", "LINUX_2.6"), Some(ADDRESS + 0x1010));
        assert_eq!(at("beat", "BEAST_1"), Some(ADDRESS + 0x4000));
        assert_eq!(at("beat", "BEAST_2"), Some(ADDRESS + 0x4040));
        assert_eq!(at("beat", "LINUX_2.6"), None);
        assert_eq!(
            image.lookup("plain").map(|symbol| symbol.value),
            Some(ADDRESS + 0x5000)
        );
        assert_eq!(
            image.lookup("beat").map(|symbol| symbol.value),
            Some(ADDRESS + 0x4000)
        );
        assert!(image.soname().is_some_and(|name| name == SONAME));
    }
}
