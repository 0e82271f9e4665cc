//! Rules about segments.

use super::{Findings, Place, Rule};
use crate::arch;
use crate::constants::*;
use crate::image::{Form, Image};
use crate::segment::Segment;

pub(super) fn check(image: &Image<'_>, findings: &mut Findings) {
    if image.header().kind != ET_DYN {
        let what = format!("e_type is {}, not {ET_DYN} (ET_DYN)", image.header().kind);
        findings.add(Rule::SharedObject, Place::Image, what);
    }
    for (index, segment) in image.segments().enumerate() {
        check_one(image, &segment, place(index, &segment), findings);
    }
    check_stack(image, findings);
    let loads: Vec<_> = image
        .segments()
        .enumerate()
        .filter(|(_, s)| s.is_load())
        .collect();
    check_overlap(&loads, findings);
    if findings.is_own() {
        check_layout(image, &loads, findings);
    }
}

fn place(index: usize, segment: &Segment) -> Place {
    Place::Segment {
        index,
        kind: segment.kind_name(),
    }
}

fn check_one(image: &Image<'_>, segment: &Segment, place: Place, findings: &mut Findings) {
    // PT_DYNAMIC must not be writable either: glibc before 2.35 and, where it is not marked
    // read-only, later ones relocate its entries in place.
    let mapped = matches!(segment.kind, PT_LOAD | PT_DYNAMIC);
    if mapped && segment.flags & PF_W != 0 {
        if segment.flags & PF_X != 0 {
            findings.add(
                Rule::WritableExecutable,
                place.clone(),
                "is writable and executable",
            );
        }
        findings.add(Rule::Writable, place.clone(), "is writable");
    }
    match segment.kind {
        PT_TLS => findings.add(Rule::Tls, place.clone(), "holds thread-local data"),
        PT_INTERP => findings.add(Rule::Interpreter, place.clone(), "names an interpreter"),
        _ => {}
    }
    if segment.kind == PT_GNU_STACK {
        return;
    }
    let length = image.bytes().len() as u64;
    let in_file = segment
        .offset
        .checked_add(segment.filesz)
        .is_some_and(|end| end <= length);
    if image.form() == Form::File && !in_file {
        let what = format!(
            "its {:#x} bytes from offset {:#x} reach beyond the file's {length:#x}",
            segment.filesz, segment.offset
        );
        findings.add(Rule::Outside, place.clone(), what);
    }
    if !segment.is_load() {
        let held = image
            .segments()
            .any(|load| load.is_load() && load.holds(segment.vaddr, segment.memsz));
        if !held && segment.memsz != 0 {
            findings.add(Rule::Outside, place, "lies in no loaded segment");
        }
        return;
    }
    let align = segment.align.max(1);
    if !align.is_power_of_two() {
        let what = format!("its alignment {align:#x} is no power of two");
        findings.add(Rule::Alignment, place, what);
    } else if segment.offset.wrapping_sub(segment.vaddr) & (align - 1) != 0 {
        let what = format!(
            "offset {:#x} and address {:#x} differ modulo {align:#x}",
            segment.offset, segment.vaddr
        );
        findings.add(Rule::Alignment, place, what);
    }
}

fn check_stack(image: &Image<'_>, findings: &mut Findings) {
    let stack = image
        .segments()
        .enumerate()
        .find(|(_, segment)| segment.kind == PT_GNU_STACK);
    match stack {
        Some((index, segment)) if segment.flags & PF_X != 0 => {
            let what = "requires an executable stack";
            findings.add(Rule::ExecutableStack, place(index, &segment), what);
        }
        None if findings.is_own() => {
            let what = "has no PT_GNU_STACK, so that ld.so makes the stack executable on x86";
            findings.add(Rule::ExecutableStack, Place::Image, what);
        }
        _ => {}
    }
}

/// Whether two ranges (start, length) overlap.
fn overlap(a: (u64, u64), b: (u64, u64)) -> bool {
    a.1 != 0 && b.1 != 0 && a.0 < b.0.saturating_add(b.1) && b.0 < a.0.saturating_add(a.1)
}

/// Compares each loaded segment with the one before it in memory and the one before it in the
/// file: in sorted order, ranges overlap exactly if neighbours do.
fn check_overlap(loads: &[(usize, Segment)], findings: &mut Findings) {
    let mut sorted = loads.to_vec();
    for (what, stretch) in [
        (
            "memory",
            (|s| (s.vaddr, s.memsz)) as fn(&Segment) -> (u64, u64),
        ),
        ("the file", |s| (s.offset, s.filesz)),
    ] {
        sorted.sort_by_key(|(_, segment)| stretch(segment));
        for pair in sorted.windows(2) {
            let [(before, first), (index, second)] = pair else {
                continue;
            };
            if overlap(stretch(first), stretch(second)) {
                let what = format!("overlaps segment {before} in {what}");
                findings.add(Rule::Overlap, place(*index, second), what);
            }
        }
    }
}

/// The layout by which one image satisfies every reader; see [`super::readers`].
fn check_layout(image: &Image<'_>, loads: &[(usize, Segment)], findings: &mut Findings) {
    let mut add = |index: usize, segment: &Segment, what: String| {
        findings.add(Rule::Layout, place(index, segment), what);
    };
    let page = arch::of(image.header()).map_or(4096, |abi| abi.max_page);
    let Some((index, text)) = loads.first() else {
        return;
    };
    if text.flags & (PF_R | PF_W | PF_X) != PF_R | PF_X {
        add(
            *index,
            text,
            "the first loaded segment is not read and execute only".into(),
        );
    }
    if text.offset != 0 {
        add(
            *index,
            text,
            format!("begins at file offset {:#x}, not 0", text.offset),
        );
    }
    if text.vaddr == 0 || text.vaddr % page != 0 {
        let what = format!(
            "begins at address {:#x}, which is not a multiple of {page:#x} above 0",
            text.vaddr
        );
        add(*index, text, what);
    }
    if text.memsz != text.filesz {
        add(
            *index,
            text,
            "has bytes in memory that are not in the file".into(),
        );
    }
    let Some((index, vvar)) = loads.get(1) else {
        return;
    };
    if vvar.flags & (PF_R | PF_W | PF_X) != PF_R {
        add(*index, vvar, "the vvar pages are not read-only".into());
    }
    if vvar.offset % page != 0 || vvar.vaddr % page != 0 {
        let what = format!(
            "offset {:#x} and address {:#x} are not multiples of the page size {page:#x}",
            vvar.offset, vvar.vaddr
        );
        add(*index, vvar, what);
    }
    if vvar.offset.wrapping_sub(vvar.vaddr) != text.offset.wrapping_sub(text.vaddr) {
        add(
            *index,
            vvar,
            "its p_offset - p_vaddr is not the first segment's".into(),
        );
    }
    if vvar.memsz != vvar.filesz {
        add(
            *index,
            vvar,
            "has bytes in memory that are not in the file".into(),
        );
    }
    let length = image.bytes().len() as u64;
    if image.form() == Form::File && vvar.offset.checked_add(vvar.filesz) != Some(length) {
        let what = format!("the vvar pages are not the last of the file's {length:#x} bytes");
        add(*index, vvar, what);
    }
    for (index, segment) in &loads[2..] {
        add(
            *index,
            segment,
            "is loaded beside text and vvar pages".into(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn adjacent_ranges_do_not_overlap() {
        assert!(!overlap((0, 16), (16, 16)));
        assert!(!overlap((16, 16), (0, 16)));
        assert!(overlap((0, 17), (16, 16)));
        assert!(overlap((16, 16), (31, 1)));
        assert!(overlap((0, u64::MAX), (u64::MAX - 1, 4)));
    }

    #[test]
    fn an_empty_range_overlaps_nothing() {
        assert!(!overlap((8, 0), (0, 16)));
        assert!(!overlap((0, 16), (8, 0)));
    }
}
