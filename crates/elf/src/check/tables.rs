//! Rules about the dynamic section, the sections and the hash tables.

use super::{Findings, Place, Rule};
use crate::constants::*;
use crate::hash::{Gnu, Sysv, gnu_hash, sysv_hash};
use crate::image::Image;

pub(super) fn check(image: &Image<'_>, findings: &mut Findings) {
    check_dynamic(image, findings);
    check_sections(image, findings);
    if image.soname().is_none_or(|soname| soname.is_empty()) {
        findings.add(Rule::Soname, Place::Image, "has no soname (DT_SONAME)");
    }
    if findings.is_own() && image.build_id().is_none_or(<[u8]>::is_empty) {
        findings.add(
            Rule::BuildId,
            Place::Image,
            "has no build id (note GNU of type 3)",
        );
    }
    for note in image.notes().filter(|note| !note.is_terminated) {
        let what = format!(
            "the name of the note {} of type {} does not end in a NUL that its size counts",
            note.name, note.kind
        );
        findings.add(Rule::Note, Place::Image, what);
    }
    if !image.has_versions() {
        findings.add(
            Rule::Version,
            Place::Image,
            "has no versions (DT_VERSYM and DT_VERDEF)",
        );
    }
    check_hash(image, findings);
}

fn check_dynamic(image: &Image<'_>, findings: &mut Findings) {
    if image.dynamic.is_none() {
        findings.add(
            Rule::Outside,
            Place::Image,
            "has no PT_DYNAMIC inside its bytes",
        );
        return;
    }
    for entry in image.dynamic() {
        let place = Place::Dynamic { tag: entry.tag };
        match entry.tag {
            DT_REL | DT_RELA | DT_RELR | DT_JMPREL | DT_PLTRELSZ | DT_TEXTREL => {
                findings.add(Rule::Relocation, place, "announces relocations");
            }
            DT_PLTGOT if findings.is_own() => {
                findings.add(
                    Rule::Got,
                    place,
                    "announces a global offset table (DT_PLTGOT)",
                );
            }
            DT_NEEDED => findings.add(Rule::Dependency, place, "needs another library"),
            DT_VERNEED => findings.add(Rule::Dependency, place, "needs another library's version"),
            DT_INIT | DT_FINI | DT_INIT_ARRAY | DT_FINI_ARRAY => {
                findings.add(Rule::Dependency, place, "has a constructor or destructor");
            }
            DT_STRTAB | DT_SYMTAB | DT_HASH | DT_GNU_HASH | DT_VERSYM | DT_VERDEF
                if image.span(entry.value).is_none() =>
            {
                let what = format!("its table at {:#x} lies outside the image", entry.value);
                findings.add(Rule::Outside, place, what);
            }
            _ => {}
        }
    }
}

fn check_sections(image: &Image<'_>, findings: &mut Findings) {
    let word = image.header().class.word() as u64;
    for section in image.sections() {
        if section.flags & SHF_ALLOC == 0 || section.size == 0 {
            continue;
        }
        let name = section.name();
        let place = || Place::Section {
            name: name.to_string(),
        };
        if matches!(section.kind, SHT_REL | SHT_RELA | SHT_RELR) {
            findings.add(Rule::Relocation, place(), "holds relocations");
        }
        if findings.is_own() {
            // .got.plt begins with three words for a dynamic linker; on AArch64 .got begins with
            // the address of the dynamic section (their ELF ABI supplements).
            let reserved = match name.to_str() {
                Some(".got.plt") => 3 * word,
                Some(".got") if image.header().machine == EM_AARCH64 => word,
                Some(".got") => 0,
                _ => continue,
            };
            if section.size > reserved {
                let slots = (section.size - reserved) / word;
                let what = format!("holds {slots} slots that no loader fills");
                findings.add(Rule::Got, place(), what);
            }
        }
    }
}

fn check_hash(image: &Image<'_>, findings: &mut Findings) {
    let (gnu, sysv) = (image.gnu, image.sysv);
    if gnu.is_none() && sysv.is_none() {
        findings.add(Rule::Hash, Place::Image, "has no usable hash table");
    } else if findings.is_own() && sysv.is_none() {
        let what = "has no usable SysV hash table (DT_HASH), which musl requires of a vDSO";
        findings.add(Rule::Hash, Place::Image, what);
    } else if findings.is_own() && gnu.is_none() {
        findings.add(
            Rule::Hash,
            Place::Image,
            "has no usable GNU hash table (DT_GNU_HASH)",
        );
    }
    let tables = [
        ("GNU", gnu.map(|table| reached_gnu(image, &table))),
        ("SysV", sysv.map(|table| reached_sysv(image, &table))),
    ];
    for (table, reached) in tables {
        let Some(reached) = reached else { continue };
        for symbol in image.symbols().filter(|symbol| symbol.is_export()) {
            if !reached.get(symbol.index as usize).copied().unwrap_or(false) {
                let place = super::symbols::place(&symbol);
                findings.add(
                    Rule::HashMismatch,
                    place,
                    format!("is not found through the {table} hash table"),
                );
            }
        }
    }
}

/// The name of a symbol, for hashing.
fn name_of<'a>(image: &Image<'a>, index: u32) -> Option<&'a [u8]> {
    let tail = image.string_tail(u64::from(image.symbol_entry(index)?.name))?;
    Some(crate::Text::until_nul(tail).as_bytes())
}

/// Which symbols a look-up through the GNU table reaches: each chain is walked once.
fn reached_gnu(image: &Image<'_>, table: &Gnu) -> Vec<bool> {
    let mut walked = vec![false; image.symbol_count() as usize];
    let mut reached = walked.clone();
    for bucket in 0..table.bucket_count {
        let Some(mut index) = table.bucket(&image.data, bucket) else {
            break;
        };
        while let (Some(stored), Some(walked)) = (
            table.stored(&image.data, index),
            walked.get_mut(index as usize),
        ) {
            if std::mem::replace(walked, true) {
                break;
            }
            let hash = name_of(image, index).map(gnu_hash);
            reached[index as usize] = hash.is_some_and(|hash| {
                hash | 1 == stored | 1
                    && hash % table.bucket_count == bucket
                    && table.filter_passes(&image.data, hash)
            });
            if stored & 1 != 0 {
                break;
            }
            index += 1;
        }
    }
    reached
}

/// Which symbols a look-up through the SysV table reaches: each chain is walked once.
fn reached_sysv(image: &Image<'_>, table: &Sysv) -> Vec<bool> {
    let mut walked = vec![false; image.symbol_count() as usize];
    let mut reached = walked.clone();
    for bucket in 0..table.bucket_count {
        let Some(mut index) = table.bucket(&image.data, bucket) else {
            break;
        };
        while let Some(walked) = walked.get_mut(index as usize).filter(|_| index != 0) {
            if std::mem::replace(walked, true) {
                break;
            }
            let hash = name_of(image, index).map(sysv_hash);
            reached[index as usize] = hash.is_some_and(|hash| hash % table.bucket_count == bucket);
            let Some(next) = table.next(&image.data, index) else {
                break;
            };
            index = next;
        }
    }
    reached
}
