//! The readers of vDSOs that an image has to satisfy, and how each computes its load bias: the
//! difference between an address in the process and in the image.
//!
//! They differ, and agree only on images of a certain layout. Each rule here was read in the
//! reader's source:
//!
//! | reader | bias | requires |
//! | --- | --- | --- |
//! | ld.so: glibc 2.36 `elf/dl-map-segments.h`, `_dl_map_segments` | header - (p_vaddr - p_offset) of the first PT_LOAD | loads in ascending order (`elf/dl-load.c`) |
//! | glibc 2.36 `elf/setup-vdso.h` | header - p_vaddr of the first PT_LOAD whose p_vaddr is not 0 | no PT_TLS (aborts) |
//! | musl 1.2.3 `src/internal/vdso.c` | header + p_offset - p_vaddr of the *last* PT_LOAD | DT_HASH |
//! | Go 1.19 `src/runtime/vdso_linux.go` | header + p_offset - p_vaddr of the first PT_LOAD | a hash table |
//! | rustix 1.1 `src/backend/linux_raw/vdso.rs` | as Go | first PT_LOAD readable and executable, no PT_INTERP, no PT_GNU_RELRO, DT_SYMENT right |
//! | Linux 6.12 `tools/testing/selftests/vDSO/parse_vdso.c` | as Go | a hash table |
//!
//! ld.so maps the first PT_LOAD, wherever the kernel likes and long enough for all, and takes the
//! map's start less that segment's p_vaddr, both page-aligned; the header lies at the map's start
//! because p_offset is 0. musl's own loader (1.2.3 `ldso/dynlink.c`, `map_library`) does the same
//! with the lowest p_vaddr. glibc's `setup_vdso` maps nothing: it stores the first p_vaddr in
//! the same field that records whether one was found, so that 0 counts as none; it marks the
//! dynamic section read-only (`l_ld_readonly`) and writes nothing to it.

use super::{Findings, Place, Rule};
use crate::constants::*;
use crate::image::Image;
use crate::segment::Segment;

/// How one reader parses an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The reader's name.
    pub reader: &'static str,
    /// Its load bias less the address of the ELF header (modulo 2^64), or why it refuses.
    pub bias: Result<u64, &'static str>,
}

type Read = fn(&Image<'_>, &[Segment]) -> Result<u64, &'static str>;

/// Each reader and how it reads.
const READERS: [(&str, Read); 6] = [
    ("ld.so", ld_so),
    ("glibc", glibc),
    ("musl", musl),
    ("Go", go),
    ("rustix", rustix),
    ("Linux selftests", selftests),
];

/// How each reader parses an image.
pub fn readings(image: &Image<'_>) -> [Reading; 6] {
    let loads: Vec<_> = image.segments().filter(Segment::is_load).collect();
    READERS.map(|(reader, read)| Reading {
        reader,
        bias: read(image, &loads),
    })
}

pub(super) fn check(image: &Image<'_>, findings: &mut Findings) {
    let readings = readings(image);
    // All that readers need of a single-segment image with both tables: Go's way is the plain one.
    let expected = readings.iter().find_map(|reading| reading.bias.ok());
    for Reading { reader, bias } in readings {
        let what = match (bias, expected) {
            (Err(why), _) => format!("{reader} refuses it: {why}"),
            (Ok(bias), Some(expected)) if bias != expected => {
                format!(
                    "{reader} takes {:#x} for the address of its start, others {:#x}",
                    bias.wrapping_neg(),
                    expected.wrapping_neg()
                )
            }
            _ => continue,
        };
        // Linux's own vDSO may lack what only musl requires.
        let counts = findings.is_own() || bias.is_ok();
        if counts {
            findings.add(Rule::Reader, Place::Image, what);
        }
    }
}

fn first_load(loads: &[Segment]) -> Result<u64, &'static str> {
    let first = loads.first().ok_or("it has no PT_LOAD")?;
    Ok(first.offset.wrapping_sub(first.vaddr))
}

fn needs_tables(image: &Image<'_>) -> Result<(), &'static str> {
    if image.strings.is_none() || image.symbol_table.is_none() {
        return Err("it has no symbol table");
    }
    if image.gnu.is_none() && image.sysv.is_none() {
        return Err("it has no hash table");
    }
    Ok(())
}

fn ld_so(image: &Image<'_>, loads: &[Segment]) -> Result<u64, &'static str> {
    if !loads.is_sorted_by(|a, b| a.vaddr < b.vaddr) {
        return Err("its loaded segments are not in ascending order");
    }
    needs_tables(image)?;
    first_load(loads)
}

fn glibc(image: &Image<'_>, loads: &[Segment]) -> Result<u64, &'static str> {
    if image.segments().any(|segment| segment.kind == PT_TLS) {
        return Err("it has thread-local data, on which glibc aborts");
    }
    needs_tables(image)?;
    let vaddr = loads
        .iter()
        .map(|load| load.vaddr)
        .find(|&vaddr| vaddr != 0);
    Ok(vaddr.unwrap_or(0).wrapping_neg())
}

fn musl(image: &Image<'_>, loads: &[Segment]) -> Result<u64, &'static str> {
    needs_tables(image)?;
    if image.sysv.is_none() {
        return Err("it has no SysV hash table");
    }
    first_load(&loads[loads.len().saturating_sub(1)..])
}

fn go(image: &Image<'_>, loads: &[Segment]) -> Result<u64, &'static str> {
    needs_tables(image)?;
    first_load(loads)
}

fn rustix(image: &Image<'_>, loads: &[Segment]) -> Result<u64, &'static str> {
    if image
        .segments()
        .any(|segment| matches!(segment.kind, PT_INTERP | PT_GNU_RELRO))
    {
        return Err("it has an interpreter or RELRO");
    }
    let is_text = |load: &Segment| load.flags & (PF_R | PF_X) == PF_R | PF_X;
    if !loads.first().is_some_and(is_text) {
        return Err("its first loaded segment is not readable and executable");
    }
    let size = image.header().class.symbol_size() as u64;
    if image
        .dynamic_value(DT_SYMENT)
        .is_some_and(|stated| stated != size)
    {
        return Err("DT_SYMENT is not the size of a symbol");
    }
    needs_tables(image)?;
    first_load(loads)
}

fn selftests(image: &Image<'_>, loads: &[Segment]) -> Result<u64, &'static str> {
    go(image, loads)
}
