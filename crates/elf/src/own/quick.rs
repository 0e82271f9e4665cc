//! The short way to a function of this process's own vDSO, for 64-bit processes.
//!
//! What a first look-up costs is not its instructions but the cache lines of code that nobody has
//! run yet: the parser for all images, hostile ones too, takes three times as many as this, which
//! knows class and byte order, overlays the format's own records and reads only what it needs.
//! It says `None` wherever it isn't sure, and the parser has the last word then.

use core::mem::size_of;
use core::slice;

use crate::arch::Function;
use crate::constants::*;
use crate::hash::gnu_hash;
use crate::memory::FIRST_PAGE;
use crate::version::is_string;

/// What the ELF header of a 64-bit image in this machine's byte order begins with.
const IDENT: [u8; 6] = [
    0x7f,
    b'E',
    b'L',
    b'F',
    2,
    if cfg!(target_endian = "little") { 1 } else { 2 },
];

/// Records of the format that hold integers only, without padding.
///
/// # Safety
/// Every bit pattern is a value of the type.
unsafe trait Record: Copy {}

macro_rules! records {
    ($($name:ident { $($field:ident: $of:ty),* })*) => {$(
        #[repr(C)]
        #[derive(Clone, Copy)]
        #[allow(dead_code, reason = "the format has more fields than are asked for")]
        struct $name { $($field: $of),* }

        // SAFETY: integers, and `repr(C)` puts no padding between these (asserted below).
        unsafe impl Record for $name {}
        const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$of>())*);
    )*};
}

// System V ABI, chapters 4 and 5, the 64-bit forms; LSB Core, "Symbol Versioning".
records! {
    Header {
        ident: [u8; 16], kind: u16, machine: u16, version: u32, entry: u64, phoff: u64, shoff: u64,
        flags: u32, ehsize: u16, phentsize: u16, phnum: u16, shentsize: u16, shnum: u16,
        shstrndx: u16
    }
    Segment {
        kind: u32, flags: u32, offset: u64, vaddr: u64, paddr: u64, filesz: u64, memsz: u64,
        align: u64
    }
    Dynamic { tag: u64, value: u64 }
    Symbol { name: u32, info: u8, other: u8, section: u16, value: u64, size: u64 }
    Definition { version: u16, flags: u16, index: u16, count: u16, hash: u32, names: u32, next: u32 }
    GnuHash { buckets: u32, first: u32, filter: u32, shift: u32 }
}

// SAFETY: integers.
unsafe impl Record for u32 {}
// SAFETY: as above.
unsafe impl Record for u16 {}

/// The record at an offset, if it lies in the bytes and where records of its kind may lie.
#[inline(always)]
fn record<T: Record>(bytes: &[u8], at: usize) -> Option<&T> {
    let end = at.checked_add(size_of::<T>())?;
    let record = bytes.get(at..end)?.as_ptr().cast::<T>();
    // SAFETY: 1. the bytes are there; 2. the address is a multiple of the alignment, asked here;
    // 3. every bit pattern is a value (`Record`).
    record.is_aligned().then(|| unsafe { &*record })
}

/// Where `function` is in this process, or `None` where the parser has to say.
///
/// # Safety
/// As [`crate::memory::image_at`].
pub(super) unsafe fn find(address: *const u8, function: &Function) -> Option<usize> {
    // SAFETY: fact 1 of the caller (a page is at least so long) and fact 2.
    let page = unsafe { slice::from_raw_parts(address, FIRST_PAGE) };
    let header: &Header = record(page, 0)?;
    if header.ident[..6] != IDENT || usize::from(header.phentsize) != size_of::<Segment>() {
        return None;
    }
    let (mut text, mut dynamic) = (None, None);
    for nth in 0..usize::from(header.phnum) {
        let at = (header.phoff as usize).checked_add(nth * size_of::<Segment>())?;
        let segment: &Segment = record(page, at)?;
        match segment.kind {
            PT_LOAD if text.is_none() => text = Some(segment),
            PT_DYNAMIC => dynamic = Some(segment),
            _ => {}
        }
    }
    let (text, dynamic) = (text?, dynamic?);
    let length = text.offset.checked_add(text.memsz)?;
    if length > isize::MAX as u64 {
        return None;
    }
    // SAFETY: fact 1: from the header to the end of the first PT_LOAD all is mapped; fact 2.
    let image = unsafe { slice::from_raw_parts(address, length as usize) };
    let bias = text.offset.wrapping_sub(text.vaddr);

    let (mut strings, mut symbols, mut gnu, mut versym, mut verdef) =
        (None, None, None, None, None);
    let mut at = dynamic.vaddr.wrapping_add(bias) as usize;
    loop {
        let entry: &Dynamic = record(image, at)?;
        let place = Some(entry.value.wrapping_add(bias) as usize);
        match entry.tag {
            DT_NULL => break,
            DT_STRTAB => strings = place,
            DT_SYMTAB => symbols = place,
            DT_GNU_HASH => gnu = place,
            DT_VERSYM => versym = place,
            DT_VERDEF => verdef = place,
            _ => {}
        }
        at += size_of::<Dynamic>();
    }
    let (strings, symbols, gnu) = (image.get(strings?..)?, symbols?, gnu?);
    let (versym, mut verdef) = (versym?, verdef?);

    let index = loop {
        let definition: &Definition = record(image, verdef)?;
        let name: &u32 = record(image, verdef + definition.names as usize)?;
        if definition.flags & VER_FLG_BASE == 0 && is(strings, *name, function.version) {
            break definition.index;
        }
        if definition.next == 0 {
            return None;
        }
        verdef += definition.next as usize;
    };

    let table: &GnuHash = record(image, gnu)?;
    let buckets = (gnu + size_of::<GnuHash>()).checked_add(table.filter as usize * 8)?;
    let hash = gnu_hash(function.name.as_bytes());
    let bucket = hash.checked_rem(table.buckets)? as usize;
    let mut number = *record::<u32>(image, buckets + bucket * 4)? as usize;
    let hashes = buckets + table.buckets as usize * 4;
    loop {
        let nth = number.checked_sub(table.first as usize)?;
        let stored = *record::<u32>(image, hashes + nth * 4)?;
        if stored | 1 == hash | 1 {
            let symbol: &Symbol =
                record(image, symbols.checked_add(number * size_of::<Symbol>())?)?;
            let version = record::<u16>(image, versym.checked_add(number * 2)?)? & !VERSYM_HIDDEN;
            if version == index && is(strings, symbol.name, function.name) {
                return code(address, text, symbol);
            }
        }
        if stored & 1 != 0 {
            return None;
        }
        number += 1;
    }
}

/// Whether the string at an offset of the table is this one.
#[inline(always)]
fn is(strings: &[u8], at: u32, text: &str) -> bool {
    strings
        .get(at as usize..)
        .is_some_and(|tail| is_string(tail, text.as_bytes()))
}

/// Where the symbol is, if it is a function of the text.
#[inline(always)]
fn code(address: *const u8, text: &Segment, symbol: &Symbol) -> Option<usize> {
    let from = symbol.value.checked_sub(text.vaddr)?;
    let is_function = matches!(symbol.info >> 4, STB_GLOBAL | STB_WEAK)
        && matches!(symbol.info & 0xf, STT_FUNC | STT_NOTYPE)
        && symbol.section != SHN_UNDEF;
    (is_function && text.flags & PF_X != 0 && from < text.memsz)
        .then(|| address.addr() + (text.offset + from) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{self, Call};
    use crate::memory::image_at;
    use crate::own;
    use proptest::prelude::*;

    /// What this machine's vDSO may export.
    fn functions() -> impl Iterator<Item = &'static Function> {
        [
            Call::ClockGettime,
            Call::ClockGetres,
            Call::Gettimeofday,
            Call::Time,
            Call::Getcpu,
            Call::Getrandom,
        ]
        .into_iter()
        .filter_map(arch::current_function)
    }

    /// An image with pages of its own, as the kernel maps one.
    #[repr(C, align(4096))]
    struct Pages([u8; 4 * FIRST_PAGE]);

    /// This process's vDSO, copied.
    fn copied() -> Box<Pages> {
        let image = own::image().expect("Linux maps a vDSO");
        let mut pages = Box::new(Pages([0; 4 * FIRST_PAGE]));
        pages.0[..image.bytes().len()].copy_from_slice(image.bytes());
        pages
    }

    #[test]
    fn leads_where_the_parser_does() {
        let address = own::address().expect("Linux maps a vDSO");
        // SAFETY: as in `own::image`.
        let image = unsafe { image_at(address) }.unwrap();
        let mut found = 0;
        for function in functions() {
            // SAFETY: as above.
            let quick = unsafe { find(address, function) };
            assert_eq!(quick, own::code(&image, function), "{}", function.name);
            found += usize::from(quick.is_some());
        }
        // A vDSO without the GNU table is left to the parser. Linux's have had one since 2.6.23.
        assert!(found >= 4, "{found} functions");
    }

    #[test]
    fn is_not_sure_of_another_version() {
        let address = own::address().expect("Linux maps a vDSO");
        let function = arch::current_function(Call::ClockGettime).unwrap();
        let other = Function {
            version: "LINUX_2.5",
            ..*function
        };
        // SAFETY: as in `own::image`.
        assert_eq!(unsafe { find(address, &other) }, None);
    }

    proptest! {
        /// Whatever the tables hold, it ends, and what it finds is in the text.
        #[test]
        fn stays_within_an_image_whose_tables_are_wrong(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..20)
        ) {
            let mut pages = copied();
            let address = pages.0.as_ptr();
            let image = own::image().unwrap();
            let length = image.bytes().len();
            let headers = image.header().phoff as usize
                + usize::from(image.header().phnum) * size_of::<Segment>();
            for (at, value) in changes {
                let at = headers + at.index((length - headers - 4) / 4) * 4;
                // Small values reach further than those that lead out at once.
                let value = if value % 3 == 0 { value } else { value % 0x2000 };
                pages.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
            }
            for function in functions() {
                // SAFETY: the headers are as they were, and the pages are as long as they say.
                let found = unsafe { find(address, function) };
                prop_assert!(found.is_none_or(|at| (address.addr()..address.addr() + length).contains(&at)));
            }
        }
    }
}
