//! The mapping at the address of the kernel's vDSO in a process that was attached to.
//!
//! The libc of a running program has looked up its vDSO already and calls the addresses that it
//! found. So the kernel's vDSO is moved, together with its vvar pages and in working order, and a
//! *front* takes its place: a copy of its bytes in which each exported function begins with a
//! jump, to the function of that name in the object's image, or to the moved function of the
//! kernel's if the image has none. No byte of the kernel's vDSO is changed, so detaching moves it
//! back. The front keeps the kernel's unwind tables, which are right at the first instruction of
//! each function.
//!
//! Before the front, where the vvar pages were, lies the [`Record`] of the change.

use std::ops::Range;

use vdsokit_elf::{Image, Kind};

use crate::arch;
use crate::object::Object;

/// The first word of a record, with the version of its layout.
const MAGIC: u64 = u64::from_ne_bytes(*b"vdsokit1");

/// The most mappings that a kernel's vDSO has.
const MOST: usize = 8;

/// The change of a process, as far as undoing it needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The address range of the object.
    pub(crate) image: Range<u64>,
    /// The new address of the kernel's vDSO, its vvar pages included.
    pub(crate) moved_to: u64,
    /// The original address ranges of its mappings.
    pub(crate) mappings: Vec<Range<u64>>,
}

impl Record {
    /// The address range of the record and the front behind it.
    pub(crate) fn place(&self) -> Range<u64> {
        let start = self.mappings.first().map_or(0, |first| first.start);
        start..self.mappings.last().map_or(start, |last| last.end)
    }

    /// The new address of one of its mappings.
    pub(crate) fn moved(&self, mapping: &Range<u64>) -> u64 {
        mapping.start - self.place().start + self.moved_to
    }

    /// The new address of the kernel's image.
    pub(crate) fn kernel_image(&self) -> u64 {
        self.mappings.last().map_or(0, |image| self.moved(image))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let count = self.mappings.len() as u64;
        let mut words = vec![
            MAGIC,
            self.image.start,
            self.image.end,
            self.moved_to,
            count,
        ];
        words.extend(
            self.mappings
                .iter()
                .flat_map(|mapping| [mapping.start, mapping.end]),
        );
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// The most bytes that a record has.
    pub(crate) const LENGTH: usize = (5 + 2 * MOST) * 8;

    pub(crate) fn read(bytes: &[u8]) -> Option<Record> {
        let word = |index: usize| {
            bytes
                .get(index * 8..)?
                .first_chunk()
                .map(|word| u64::from_ne_bytes(*word))
        };
        let count = usize::try_from(word(4)?).ok()?;
        if word(0)? != MAGIC || !(1..=MOST).contains(&count) {
            return None;
        }
        let mapping = |index| Some(word(5 + 2 * index)?..word(6 + 2 * index)?);
        let mappings = (0..count).map(mapping).collect::<Option<Vec<_>>>()?;
        Some(Record {
            image: word(1)?..word(2)?,
            moved_to: word(3)?,
            mappings,
        })
    }
}

/// The bytes of record and front. `None`: the kernel's vDSO has no room for them, because it has
/// no vvar pages before it or a function too short for a jump.
///
/// `kernel` is the kernel's image at its original address, the last mapping of `record`.
pub(crate) fn compose(record: &Record, kernel: &Image<'_>, object: &Object) -> Option<Vec<u8>> {
    let mut bytes = record.bytes();
    let place = record.place();
    let image = record.mappings.last()?;
    let before = (image.start - place.start) as usize;
    if bytes.len() > before {
        return None;
    }
    bytes.resize(before, 0);
    bytes.extend(kernel.bytes());

    let mut functions: Vec<(u64, Option<u64>)> = kernel
        .symbols()
        .filter(|symbol| symbol.is_export() && symbol.kind == Kind::Function)
        .map(|symbol| {
            let ours = symbol
                .name()
                .to_str()
                .and_then(|name| object.function(name));
            (kernel.address_of(&symbol) - image.start, ours)
        })
        .collect();
    // A function may have two names, of which the object's image has one.
    functions.sort_unstable_by_key(|&(offset, ours)| (offset, ours.is_none()));
    functions.dedup_by_key(|&mut (offset, _)| offset);
    for (index, &(offset, ours)) in functions.iter().enumerate() {
        let target = match ours {
            Some(distance) => record.image.start + distance,
            None => record.kernel_image() + offset,
        };
        let jump = arch::jump(target);
        let next = functions
            .get(index + 1)
            .map_or(kernel.bytes().len() as u64, |next| next.0);
        if next - offset < jump.len() as u64 {
            return None;
        }
        bytes
            .get_mut(before + offset as usize..)?
            .get_mut(..jump.len())?
            .copy_from_slice(&jump);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            image: 0x10_0000..0x10_3000,
            moved_to: 0x20_0000,
            mappings: vec![0x7000..0xb000, 0xb000..0xd000, 0xd000..0xf000],
        }
    }

    #[test]
    fn a_record_reads_back() {
        let bytes = record().bytes();
        assert!(bytes.len() <= Record::LENGTH);
        assert_eq!(Record::read(&bytes), Some(record()));
        for length in 0..bytes.len() {
            assert_eq!(Record::read(&bytes[..length]), None, "{length} bytes");
        }
        let mut foreign = bytes.clone();
        foreign[0] ^= 1;
        assert_eq!(Record::read(&foreign), None);
    }

    #[test]
    fn what_moved_keeps_its_distances() {
        assert_eq!(record().place(), 0x7000..0xf000);
        assert_eq!(record().kernel_image(), 0x20_6000);
        assert_eq!(record().moved(&(0xb000..0xd000)), 0x20_4000);
    }
}
