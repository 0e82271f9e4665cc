//! What undoing a change of a process needs, in a mapping of its own in that process.

use std::ops::Range;

/// The first word of a record, with the version of its layout.
const MAGIC: u64 = u64::from_ne_bytes(*b"vdsokit3");

/// The most mappings that a kernel's vDSO has.
const MOST: usize = 8;
/// The most links to functions of the kernel's that an image may have.
const MOST_LINKS: usize = 256;

/// The most functions of the kernel's that are patched.
const MOST_PATCHES: usize = 32;

/// The change of a process, as far as undoing it needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttachRecord {
    /// The address range of the object; empty before one is reserved for it.
    pub(crate) image: Range<u64>,
    /// The address of bytes behind the image of the kernel or its front that are 0.
    pub(crate) spare: u64,
    /// The address ranges of the kernel's vDSO before the change: of its vvar pages, and last of
    /// its image, where the front is now on x86-64.
    pub(crate) mappings: Vec<Range<u64>>,
    /// The addresses of words that hold addresses in the kernel's vDSO, or 0.
    pub(crate) links: Vec<u64>,
    /// The instructions of the kernel's image that are replaced; none on x86-64.
    pub(crate) patches: Vec<Patch>,
}

/// An instruction that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patch {
    /// Where it is, in bytes from the image's start.
    pub(crate) offset: u32,
    /// The kernel's instruction.
    pub(crate) original: u32,
}

impl AttachRecord {
    /// The address range of the kernel's image, or of the front in its place.
    pub(crate) fn text(&self) -> Range<u64> {
        self.mappings.last().cloned().unwrap_or_default()
    }

    /// The bytes of a record; `None` if there are too many links or patches.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        if self.links.len() > MOST_LINKS || self.patches.len() > MOST_PATCHES {
            return None;
        }
        let [mappings, patches, links] =
            [self.mappings.len(), self.patches.len(), self.links.len()].map(|count| count as u64);
        let counts = mappings | patches << 16 | links << 32;
        let mut words = vec![MAGIC, self.image.start, self.image.end, self.spare, counts];
        words.extend(
            self.mappings
                .iter()
                .flat_map(|mapping| [mapping.start, mapping.end]),
        );
        words.extend(&self.links);
        let patches = self.patches.iter();
        words
            .extend(patches.map(|patch| u64::from(patch.offset) << 32 | u64::from(patch.original)));
        Some(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
    }

    /// The most bytes that a record has.
    pub(crate) const LENGTH: usize = (5 + 2 * MOST + MOST_LINKS + MOST_PATCHES) * 8;

    pub(crate) fn read(bytes: &[u8]) -> Option<AttachRecord> {
        let word = |index: usize| {
            bytes
                .get(index * 8..)?
                .first_chunk()
                .map(|word| u64::from_ne_bytes(*word))
        };
        let counts = word(4)?;
        let (count, links) = (counts as u16 as usize, (counts >> 32) as usize);
        let patches = (counts >> 16) as u16 as usize;
        if word(0)? != MAGIC
            || !(1..=MOST).contains(&count)
            || links > MOST_LINKS
            || patches > MOST_PATCHES
        {
            return None;
        }
        let mapping = |index| Some(word(5 + 2 * index)?..word(6 + 2 * index)?);
        let link = |index| word(5 + 2 * count + index);
        let patch = |index| {
            let word = word(5 + 2 * count + links + index)?;
            Some(Patch {
                offset: (word >> 32) as u32,
                original: word as u32,
            })
        };
        Some(AttachRecord {
            image: word(1)?..word(2)?,
            spare: word(3)?,
            mappings: (0..count).map(mapping).collect::<Option<_>>()?,
            links: (0..links).map(link).collect::<Option<_>>()?,
            patches: (0..patches).map(patch).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AttachRecord {
        AttachRecord {
            image: 0x10_0000..0x10_3000,
            spare: 0xe800,
            mappings: vec![0x7000..0xb000, 0xb000..0xd000, 0xd000..0xf000],
            links: vec![0x10_0100, 0x10_0108],
            patches: vec![Patch {
                offset: 0x344,
                original: 0x7100_3c1f,
            }],
        }
    }

    #[test]
    fn a_record_reads_back() {
        let bytes = record().bytes().expect("it has room");
        assert!(bytes.len() <= AttachRecord::LENGTH);
        assert_eq!(AttachRecord::read(&bytes), Some(record()));
        for length in 0..bytes.len() {
            assert_eq!(AttachRecord::read(&bytes[..length]), None, "{length} bytes");
        }
        let mut foreign = bytes.clone();
        foreign[0] ^= 1;
        assert_eq!(AttachRecord::read(&foreign), None);
    }
}
