//! The mapping at the address of the kernel's vDSO in a process that was attached to.
//!
//! The libc of a running program has looked up its vDSO already and calls the addresses that it
//! found. So a *front* takes the place of the kernel's image: a copy of its bytes in which each
//! exported function begins with a jump, to the function of that name in the object's image, or
//! to that of the kernel's own vDSO, which is mapped elsewhere, if the image has none. The front
//! keeps the kernel's unwind tables, which are right at the first instruction of each function.
//!
//! While the kernel's own vDSO is not mapped, a function that only it has returns -ENOSYS, upon
//! which C libraries make the system call.
//!
//! The [`Record`] of the change lies in a mapping of its own.

use std::ops::Range;

use vdsokit_elf::{Image, Kind};

use crate::arch;
use crate::object::Object;

/// The first word of a record, with the version of its layout.
const MAGIC: u64 = u64::from_ne_bytes(*b"vdsokit2");

/// The most mappings that a kernel's vDSO has.
const MOST: usize = 8;
/// The most links to functions of the kernel's that an image may have.
const MOST_LINKS: usize = 256;

/// The change of a process, as far as undoing it needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The address range of the object; empty before one is reserved for it.
    pub(crate) image: Range<u64>,
    /// The address of bytes behind the image of the kernel or its front that are 0.
    pub(crate) spare: u64,
    /// The address ranges of the kernel's vDSO before the change: of its vvar pages, and last of
    /// its image, where the front is now.
    pub(crate) mappings: Vec<Range<u64>>,
    /// The addresses of words that hold addresses in the kernel's vDSO, or 0.
    pub(crate) links: Vec<u64>,
}

impl Record {
    /// The address range of the front.
    pub(crate) fn text(&self) -> Range<u64> {
        self.mappings.last().cloned().unwrap_or_default()
    }

    /// The bytes of a record; `None` if there are too many links.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        if self.links.len() > MOST_LINKS {
            return None;
        }
        let counts = self.mappings.len() as u64 | (self.links.len() as u64) << 32;
        let mut words = vec![MAGIC, self.image.start, self.image.end, self.spare, counts];
        words.extend(
            self.mappings
                .iter()
                .flat_map(|mapping| [mapping.start, mapping.end]),
        );
        words.extend(&self.links);
        Some(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
    }

    /// The most bytes that a record has.
    pub(crate) const LENGTH: usize = (5 + 2 * MOST + MOST_LINKS) * 8;

    pub(crate) fn read(bytes: &[u8]) -> Option<Record> {
        let word = |index: usize| {
            bytes
                .get(index * 8..)?
                .first_chunk()
                .map(|word| u64::from_ne_bytes(*word))
        };
        let counts = word(4)?;
        let (count, links) = (counts as u32 as usize, (counts >> 32) as usize);
        if word(0)? != MAGIC || !(1..=MOST).contains(&count) || links > MOST_LINKS {
            return None;
        }
        let mapping = |index| Some(word(5 + 2 * index)?..word(6 + 2 * index)?);
        let link = |index| word(5 + 2 * count + index);
        Some(Record {
            image: word(1)?..word(2)?,
            spare: word(3)?,
            mappings: (0..count).map(mapping).collect::<Option<_>>()?,
            links: (0..links).map(link).collect::<Option<_>>()?,
        })
    }
}

/// The bytes of a front for the `kernel`'s image, parsed as one at the address 0, which jumps to `object` at the address `image` and
/// to the kernel's own vDSO at the address `own`, if it is mapped. `None`: a function is too short
/// for a jump.
pub(crate) fn compose(
    kernel: &Image<'_>,
    object: &Object,
    image: u64,
    own: Option<u64>,
) -> Option<Vec<u8>> {
    let mut bytes = kernel.bytes().to_vec();
    let mut functions: Vec<(u64, Option<u64>)> = kernel
        .symbols()
        .filter(|symbol| symbol.is_export() && symbol.kind == Kind::Function)
        .map(|symbol| {
            let ours = symbol
                .name()
                .to_str()
                .and_then(|name| object.function(name));
            (kernel.address_of(&symbol), ours)
        })
        .collect();
    // A function may have two names, of which the object's image has one.
    functions.sort_unstable_by_key(|&(offset, ours)| (offset, ours.is_none()));
    functions.dedup_by_key(|&mut (offset, _)| offset);
    for (index, &(offset, ours)) in functions.iter().enumerate() {
        let target = match ours {
            Some(distance) => Some(image + distance),
            None => own.map(|own| own + offset),
        };
        let code = target.map_or(arch::UNAVAILABLE, arch::jump);
        let next = functions
            .get(index + 1)
            .map_or(bytes.len() as u64, |next| next.0);
        if next - offset < code.len() as u64 {
            return None;
        }
        bytes
            .get_mut(offset as usize..)?
            .get_mut(..code.len())?
            .copy_from_slice(&code);
    }
    Some(bytes)
}

/// Has functions of a `front` that jump into `own`, the kernel's own vDSO, return -ENOSYS instead.
pub(crate) fn disconnect(front: &mut [u8], own: &Range<u64>) {
    let length = arch::UNAVAILABLE.len();
    for at in 0..front.len().saturating_sub(length - 1) {
        let code = &mut front[at..at + length];
        if arch::jump_target(code).is_some_and(|target| own.contains(&target)) {
            code.copy_from_slice(&arch::UNAVAILABLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            image: 0x10_0000..0x10_3000,
            spare: 0xe800,
            mappings: vec![0x7000..0xb000, 0xb000..0xd000, 0xd000..0xf000],
            links: vec![0x10_0100, 0x10_0108],
        }
    }

    #[test]
    fn a_record_reads_back() {
        let bytes = record().bytes().expect("it has room");
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
    fn only_jumps_to_the_kernels_own_are_disconnected() {
        let mut front = [arch::jump(0x1000), arch::jump(0x2000)].concat();
        disconnect(&mut front, &(0x2000..0x3000));
        assert_eq!(front, [arch::jump(0x1000), arch::UNAVAILABLE].concat());
    }
}
