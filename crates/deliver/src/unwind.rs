//! Tables for unwinding the stack through functions of an object (DWARF 5, 6.4, in the form of the
//! LSB's `.eh_frame` and `.eh_frame_hdr`). C libraries find them by the PT_GNU_EH_FRAME of the one
//! vDSO that they know, so the image in front of an object has a table of all its functions.

use crate::arch;

/// An entry of the table: a function and its frame description, in bytes from the start of what
/// the table is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frame {
    pub(crate) function: i64,
    pub(crate) description: i64,
}

/// Version 1; the pointer to `.eh_frame` relative to itself, the count as it is, and the table
/// relative to the header, all in 4 bytes (DW_EH_PE_pcrel, _udata4, _datarel, _sdata4).
const HEADER: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

/// Bytes of a header with `count` entries.
pub(crate) const fn header_length(count: usize) -> usize {
    12 + 8 * count
}

/// The entries of the header at `at` in `text`. None where it is of another form.
pub(crate) fn read(text: &[u8], at: usize) -> Vec<Frame> {
    let read = || {
        let header = text.get(at..)?;
        let int = |offset: usize| {
            let bytes = header.get(offset..)?.first_chunk().copied();
            bytes.map(|bytes| i64::from(i32::from_ne_bytes(bytes)))
        };
        if !header.starts_with(&HEADER) {
            return None;
        }
        let count = usize::try_from(int(8)?).ok()?;
        let entry = |index: usize| {
            Some(Frame {
                function: at as i64 + int(12 + 8 * index)?,
                description: at as i64 + int(16 + 8 * index)?,
            })
        };
        (0..count).map(entry).collect::<Option<Vec<_>>>()
    };
    read().unwrap_or_default()
}

/// The bytes of `.eh_frame` in `text`, from the header at `at`: where it begins and its length.
pub(crate) fn section(text: &[u8], at: usize) -> Option<(u64, u64)> {
    let int = |at: usize| {
        text.get(at..)?
            .first_chunk()
            .copied()
            .map(i32::from_ne_bytes)
    };
    let pointer = at.checked_add(4)?;
    let start = usize::try_from(pointer as i64 + i64::from(int(pointer)?)).ok()?;
    let mut end = start;
    // Records of a length and as many bytes; a length of 0 ends them.
    loop {
        let length = usize::try_from(int(end)?).ok()?;
        end = end.checked_add(4 + length)?;
        if length == 0 {
            return Some((start as u64, (end - start) as u64));
        }
    }
}

/// A header at the distance `at`, for the `.eh_frame` at `section`.
pub(crate) fn header(at: i64, section: i64, frames: &mut [Frame]) -> Vec<u8> {
    frames.sort_unstable();
    let int = |value: i64| (value as i32).to_ne_bytes();
    let mut bytes = HEADER.to_vec();
    bytes.extend(int(section - (at + 4)));
    bytes.extend(int(frames.len() as i64));
    for frame in frames {
        bytes.extend(int(frame.function - at));
        bytes.extend(int(frame.description - at));
    }
    bytes
}

/// An `.eh_frame` that is being written.
pub(crate) struct Section {
    /// Where it lies.
    at: i64,
    bytes: Vec<u8>,
    /// Where its common information entry begins.
    common: usize,
    /// The entries for the header.
    pub(crate) entries: Vec<Frame>,
}

impl Section {
    /// A section that begins at `at` with the records of `other`, an `.eh_frame` that lies at
    /// `other_at`. Debuggers look into one section of an image, where unwinders have the header.
    ///
    /// Records of a form that can't be moved are left out, all of them.
    pub(crate) fn new(at: i64, other_at: i64, other: &[u8]) -> Section {
        let mut bytes = moved(other, other_at - at).unwrap_or_default();
        let common = bytes.len();
        bytes.extend(arch::LEAF_FRAMES);
        Section {
            at,
            bytes,
            common,
            entries: Vec::new(),
        }
    }

    /// Adds a description of `length` bytes of code at `code`. Without `instructions` it uses no
    /// stack: the return address is on top.
    pub(crate) fn describe(&mut self, code: i64, length: usize, instructions: &[u8]) {
        /// Bytes between the length and the instructions: two offsets, the code's length, and the
        /// length of the augmentation, which is empty.
        const HEAD: usize = 13;
        let padded = (HEAD + instructions.len() + 4).next_multiple_of(8) - 4;
        let int = |value: i64| (value as i32).to_ne_bytes();
        let start = self.bytes.len();
        self.bytes.extend(int(padded as i64));
        // From here back to the common information.
        self.bytes.extend(int((start + 4 - self.common) as i64));
        let here = self.at + start as i64 + 8;
        self.bytes.extend(int(code - here));
        self.bytes.extend(int(length as i64));
        self.bytes.push(0);
        self.bytes.extend(instructions);
        // DW_CFA_nop
        self.bytes.resize(start + 4 + padded, 0);
        self.entries.push(Frame {
            function: code,
            description: self.at + start as i64,
        });
    }

    /// Its bytes, with what ends it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.bytes.as_slice(), &[0; 4]].concat()
    }
}

/// The records of `section`, without what ends it, for a place from which they lay `by` bytes
/// ahead. `None` where they have another form than that of [`HEADER`] for their pointers.
fn moved(section: &[u8], by: i64) -> Option<Vec<u8>> {
    let int = |at: usize| section.get(at..)?.first_chunk().copied();
    let mut bytes = section.to_vec();
    let mut at = 0;
    loop {
        let length = u32::from_ne_bytes(int(at)?) as usize;
        if length == 0 {
            bytes.truncate(at);
            return Some(bytes);
        }
        let record = section.get(at + 4..)?.get(..length)?;
        match record.first_chunk()? {
            [0, 0, 0, 0] if is_movable(record.get(4..)?) => {}
            [0, 0, 0, 0] => return None,
            _ => {
                // The code's address, relative to itself.
                let target = i64::from(i32::from_ne_bytes(int(at + 8)?)) + by;
                let target = i32::try_from(target).ok()?.to_ne_bytes();
                bytes
                    .get_mut(at + 8..)?
                    .first_chunk_mut()
                    .map(|old| *old = target)?;
            }
        }
        at += 4 + length;
    }
}

/// Whether a common information entry, from its version on, says that addresses of code are
/// relative to themselves and have 4 bytes, and nothing else that is an address.
fn is_movable(entry: &[u8]) -> bool {
    /// DW_EH_PE_pcrel, _sdata4.
    const RELATIVE: u8 = 0x1b;
    let augmentations: [&[u8]; 2] = [b"\x01zR\0", b"\x01zRS\0"];
    let mut rests = augmentations
        .iter()
        .filter_map(|known| entry.strip_prefix(*known));
    let Some(rest) = rests.next() else {
        return false;
    };
    // Two factors, the register of the return address, and the length of the augmentation.
    let mut numbers = rest.split_inclusive(|byte| byte & 0x80 == 0);
    numbers.nth(3).is_some() && numbers.next().and_then(<[u8]>::first) == Some(&RELATIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back() {
        let frame = |function, description| Frame {
            function,
            description,
        };
        let mut frames = [frame(0x2000, 0x110), frame(0x1000, 0x130)];
        let mut bytes = vec![0; 0x100];
        bytes.extend(header(0x100, 0x40, &mut frames));
        assert_eq!(bytes.len(), 0x100 + header_length(2));
        assert_eq!(read(&bytes, 0x100), [frames[0], frames[1]]);
        assert!(frames[0].function < frames[1].function);
        assert_eq!(read(&bytes[..bytes.len() - 1], 0x100), []);
    }

    #[test]
    fn a_section_ends_where_its_records_do() {
        let mut leaf = Section::new(0x20, 0, &[]);
        leaf.describe(0x1000, 64, &[]);
        let frame = leaf.entries[0];
        assert_eq!(frame.description, 0x20 + arch::LEAF_FRAMES.len() as i64);
        let length = leaf.bytes().len() as u64;
        let mut text = vec![0; 0x20];
        text.extend(leaf.bytes());
        let at = text.len();
        text.extend(header(at as i64, 0x20, &mut leaf.entries));
        assert_eq!(section(&text, at), Some((0x20, length)));
    }

    #[test]
    fn descriptions_that_are_moved_are_those_of_the_same_code() {
        let mut old = Section::new(0x5000, 0, &[]);
        old.describe(0x6000, 64, &[]);
        let new = Section::new(0x100, 0x5000, &old.bytes());
        let at = old.entries[0].description - 0x5000;
        let word = |at: usize| new.bytes()[at..].first_chunk().copied();
        let target = i32::from_ne_bytes(word(at as usize + 8).expect("four bytes"));
        assert_eq!(0x100 + at + 8 + i64::from(target), 0x6000);
        // With a personality routine, say.
        let mut other = old.bytes();
        other[10] = b'P';
        assert_eq!(Section::new(0x100, 0x5000, &other).common, 0);
        for length in 0..old.bytes().len() {
            assert_eq!(moved(&old.bytes()[..length], 0), None, "{length} bytes");
        }
    }
}
