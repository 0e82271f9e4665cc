//! One image for several objects, or for one that lacks functions of the kernel's vDSO.
//!
//! A program finds one vDSO, at AT_SYSINFO_EHDR. For it to find the functions of several
//! objects, a *joint image* is mapped right before them: an ELF object of tables alone, whose
//! symbols lie at fixed distances in the objects behind it. Each symbol keeps its version. The
//! joint image has the soname of the kernel's vDSO, so that `dlopen("linux-vdso.so.1",
//! RTLD_NOLOAD)` finds it.
//!
//! Functions of the kernel's vDSO that no object has are exported too: each jumps to the address
//! in a word that delivery fills (see [`crate::link`]). The segments of the joint image are those
//! of all objects, and its unwind table has all functions, so that unwinders that know nothing
//! but this image pass through them.

use std::collections::BTreeSet;

use object::elf;
use object::write::StringId;
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, Sym, Verdef, Writer};

use vdsokit_waits::gate::Gate;

use crate::arch;
use crate::object::{Function, PAGE};
use crate::unwind::{self, Frame};

/// The soname of the kernel's vDSO (arch/x86/entry/vdso/vdso.lds.S).
const SONAME: &str = "linux-vdso.so.1";
/// The link-time address of the joint image. glibc takes the load bias from the first PT_LOAD
/// whose address is not 0 (elf/setup-vdso.h).
const ADDRESS: u64 = PAGE;
const DYNAMIC_ENTRIES: usize = 11;
/// The shift of the second hash of the Bloom filter.
const BLOOM_SHIFT: u32 = 26;

/// What a joint image leads to. Distances are from its end on, `shift` bytes from its start.
pub(crate) struct Parts<'a> {
    pub(crate) functions: &'a [Function],
    /// Functions of the kernel's, which the joint image itself has jumps to.
    pub(crate) forwards: &'a [&'a Function],
    pub(crate) frames: &'a [Frame],
    /// Where the first object's `.eh_frame` lies, and its bytes.
    pub(crate) section: Option<(u64, &'a [u8])>,
    /// Where the gate lies through which waits are made.
    pub(crate) gate: Option<u64>,
    /// Bytes of the first object's text, which follows in the same mapping.
    pub(crate) first: u64,
    /// The mappings behind that.
    pub(crate) others: Vec<Load>,
}

/// A mapping.
pub(crate) struct Load {
    pub(crate) distance: u64,
    pub(crate) length: u64,
    pub(crate) is_text: bool,
}

/// A joint image. Distances are from its start.
pub(crate) struct Joint {
    pub(crate) bytes: Vec<u8>,
    /// For each forward its function and the word with the address to jump to.
    pub(crate) words: Vec<Forward>,
    /// The unwind table of all functions.
    pub(crate) frames: Vec<Frame>,
}

/// A function that jumps to one of the kernel's.
pub(crate) struct Forward {
    pub(crate) function: u64,
    pub(crate) word: u64,
}

/// The image whose symbols are the functions of `parts`, which lie `shift` bytes further from its
/// start. The length of the image does not depend on `shift`.
///
/// Of two functions with the same name and version the first one is exported; of two that differ
/// only in version, the first is the default.
pub(crate) fn compose(parts: &Parts<'_>, shift: u64) -> object::write::Result<Joint> {
    let functions = parts.functions.iter().map(|function| (function, true));
    let forwarded = parts.forwards.iter().map(|function| (*function, false));
    let functions: Vec<(&Function, bool)> = functions.chain(forwarded).collect();
    let mut seen = BTreeSet::new();
    // Where each begins: in an object, or as the forward of this number.
    let mut forward = 0;
    let mut functions: Vec<(&Function, Option<usize>)> = functions
        .into_iter()
        .map(|(function, is_in_object)| match is_in_object {
            true => (function, None),
            false => {
                forward += 1;
                (function, Some(forward - 1))
            }
        })
        .filter(|(function, _)| seen.insert((&function.name, &function.version)))
        .collect();
    let versions: BTreeSet<&str> = functions
        .iter()
        .filter_map(|(function, _)| function.version.as_deref())
        .collect();
    let mut names = BTreeSet::new();
    let defaults: BTreeSet<_> = functions
        .iter()
        .filter(|(function, _)| names.insert(&function.name))
        .map(|(function, _)| (&function.name, &function.version))
        .collect();
    // The GNU hash table requires the symbols sorted by bucket.
    let count = functions.len() as u32;
    let buckets = count | 1;
    let hash = |function: &Function| elf::gnu_hash(function.name.as_bytes());
    functions.sort_by_key(|(function, _)| hash(function) % buckets);
    let bloom = (count * 8).div_ceil(64).next_power_of_two();

    let mut bytes = Vec::new();
    let mut writer = Writer::new(object::Endianness::Little, true, &mut bytes);
    writer.reserve_file_header();
    writer.reserve_program_headers(4 + parts.others.len() as u32);
    writer.reserve_null_section_index();
    writer.reserve_gnu_hash_section_index();
    writer.reserve_hash_section_index();
    writer.reserve_dynsym_section_index();
    writer.reserve_dynstr_section_index();
    writer.reserve_gnu_versym_section_index();
    writer.reserve_gnu_verdef_section_index();
    writer.reserve_dynamic_section_index();
    let text_section = writer.reserve_section_index();
    let text_name = writer.add_section_name(b".text");
    writer.reserve_section_index();
    let frames_name = writer.add_section_name(b".eh_frame");
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
        .map(|(function, _)| {
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
    let count_forwards = parts.forwards.len();
    let code_length = (count_forwards * arch::FORWARD) as u64;
    let at_code = writer.reserve(code_length, arch::FORWARD as u64);
    let at_words = writer.reserve(count_forwards as u64 * 8, 8);
    let words: Vec<Forward> = (0..count_forwards as u64)
        .map(|index| Forward {
            function: at_code + index * arch::FORWARD as u64,
            word: at_words + index * 8,
        })
        .collect();
    let moved = |frame: &Frame| Frame {
        function: frame.function + shift as i64,
        description: frame.description + shift as i64,
    };
    let mut frames: Vec<Frame> = parts.frames.iter().map(moved).collect();
    let describe = |at: u64| {
        let (section_at, section) = parts.section.unwrap_or_default();
        let section_at = (shift + section_at) as i64;
        let mut section = unwind::Section::new(at as i64, section_at, section);
        section.describe(at_code as i64, code_length as usize, &[]);
        if let Some((gate, rules)) = parts.gate.zip(Gate::call_frame()) {
            section.describe((shift + gate) as i64, Gate::code().len(), &rules);
        }
        section
    };
    let section_length = describe(0).bytes().len() as u64;
    let at_section = writer.reserve(section_length, 8);
    let section = describe(at_section);
    frames.extend(&section.entries);
    let header_length = unwind::header_length(frames.len()) as u64;
    let at_header = writer.reserve(header_length, 4);
    let header = unwind::header(at_header as i64, at_section as i64, &mut frames);
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
    let text = elf::PF_R | elf::PF_X;
    // The bytes of the image and the text behind it. Without a text there is no shift to add.
    let text_length = match parts.first {
        0 => length,
        first => shift + first,
    };
    let mut segments = vec![(elf::PT_LOAD, text, 0, text_length, text_length, PAGE)];
    for load in &parts.others {
        // No segment is described as writable, though some are. LeakSanitizer and collectors of
        // garbage scan those for pointers (compiler-rt/lib/lsan/lsan_common_linux.cpp; bdwgc,
        // dyn_load.c), and a frame of the gate keeps the argument registers of a call that has
        // ended: a leak would look like memory in use.
        let flags = match load.is_text {
            true => text,
            false => elf::PF_R,
        };
        // No bytes of the file: gdb reads those of all segments into a buffer of the size of the
        // mapping at AT_SYSINFO_EHDR (bfd/elfcode.h, `bfd_from_remote_memory`).
        let at = shift + load.distance;
        segments.push((elf::PT_LOAD, flags, at, 0, load.length, PAGE));
    }
    let (read, both) = (elf::PF_R, elf::PF_R | elf::PF_W);
    for (p_type, flags, at, size, align) in [
        (elf::PT_DYNAMIC, read, at_dynamic, dynamic_size, 8),
        (elf::PT_GNU_EH_FRAME, read, at_header, header_length, 4),
        (elf::PT_GNU_STACK, both, 0, 0, 16),
    ] {
        segments.push((p_type, flags, at, size, size, align));
    }
    for (p_type, p_flags, offset, p_filesz, p_memsz, p_align) in segments {
        let address = if p_memsz == 0 { 0 } else { ADDRESS + offset };
        writer.write_program_header(&ProgramHeader {
            p_type,
            p_flags,
            p_offset: offset,
            p_vaddr: address,
            p_paddr: address,
            p_filesz,
            p_memsz,
            p_align,
        });
    }
    writer.write_gnu_hash(1, BLOOM_SHIFT, bloom, buckets, count, |index| {
        hash(functions[index as usize].0)
    });
    writer.write_hash(buckets, count + 1, |index| {
        let (function, _) = functions.get((index as usize).checked_sub(1)?)?;
        Some(elf::hash(function.name.as_bytes()))
    });
    writer.write_null_dynamic_symbol();
    for ((function, forward), name) in functions.iter().zip(&symbol_names) {
        let (distance, size) = match forward {
            None => (shift + function.distance, function.size),
            Some(index) => (words[*index].function, arch::FORWARD as u64),
        };
        writer.write_dynamic_symbol(&Sym {
            section: None,
            st_name: writer.dynamic_string_offset(Some(*name)),
            st_info: elf::SymbolInfo::new(elf::STB_GLOBAL, elf::STT_FUNC),
            st_other: elf::STV_DEFAULT.into(),
            st_shndx: elf::SymbolSection(text_section.0 as u16),
            st_value: ADDRESS + distance,
            st_size: size,
        });
    }
    writer.write_dynstr();
    writer.write_null_gnu_versym();
    for (function, _) in &functions {
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
    writer.pad_until(at_code);
    for forward in &words {
        writer.write(&arch::forward((forward.word - forward.function) as i32));
    }
    writer.pad_until(at_words);
    writer.write(&vec![0; count_forwards * 8]);
    writer.pad_until(at_section);
    writer.write(&section.bytes());
    writer.pad_until(at_header);
    writer.write(&header);
    writer.write_shstrtab();
    writer.write_null_section_header();
    writer.write_gnu_hash_section_header(ADDRESS + at_gnu_hash);
    writer.write_hash_section_header(ADDRESS + at_hash);
    writer.write_dynsym_section_header(ADDRESS + at_dynsym, 1);
    writer.write_dynstr_section_header(ADDRESS + at_dynstr);
    writer.write_gnu_versym_section_header(ADDRESS + at_versym);
    writer.write_gnu_verdef_section_header(ADDRESS + at_verdef);
    writer.write_dynamic_section_header(ADDRESS + at_dynamic);
    // From the forwards to the end of the first object's text, so that it holds all symbols there.
    let mut write_section = |name, offset, size, flags| {
        writer.write_section_header(&SectionHeader {
            sh_name: writer.section_name_offset(Some(name)),
            sh_type: elf::SHT_PROGBITS,
            sh_flags: flags,
            sh_addr: ADDRESS + offset,
            sh_offset: offset,
            sh_size: size,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: 16,
            sh_entsize: 0,
        });
    };
    let code = elf::SHF_ALLOC | elf::SHF_EXECINSTR;
    write_section(text_name, at_code, text_length - at_code, code);
    write_section(frames_name, at_section, section_length, elf::SHF_ALLOC);
    writer.write_shstrtab_section_header();
    Ok(Joint {
        bytes,
        words,
        frames,
    })
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
        let kernel = function("__vdso_new", Some("LINUX_2.6"), 0x777);
        let parts = Parts {
            functions: &functions,
            forwards: &[&kernel],
            frames: &[],
            section: None,
            gate: None,
            first: 0,
            others: Vec::new(),
        };
        let joint = compose(&parts, 0x1000).expect("an image");
        let bytes = joint.bytes;
        assert_eq!(
            bytes.len(),
            compose(&parts, 0).expect("an image").bytes.len()
        );
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
        let forward = &joint.words[0];
        let address = ADDRESS + forward.function;
        assert_eq!(at("__vdso_new", "LINUX_2.6"), Some(address));
        let code = &bytes[forward.function as usize..][..arch::FORWARD];
        let distance = (forward.word - forward.function) as i32;
        assert_eq!(code, arch::forward(distance));
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
