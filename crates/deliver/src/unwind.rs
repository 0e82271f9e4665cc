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

/// An `.eh_frame` for `length` bytes of code at `code`, which use no stack, when it lies at `at`;
/// and the entry for the header.
pub(crate) fn leaf(at: i64, code: i64, length: usize) -> (Vec<u8>, Frame) {
    let mut bytes = arch::LEAF_FRAMES.to_vec();
    let description = at + bytes.len() as i64;
    let int = |value: i64| (value as i32).to_ne_bytes();
    bytes.extend(int(16));
    // From here back to the common information.
    bytes.extend(int(bytes.len() as i64));
    bytes.extend(int(code - (at + bytes.len() as i64)));
    bytes.extend(int(length as i64));
    // No augmentation, and padding; then the end of the section.
    bytes.extend([0; 8]);
    let frame = Frame {
        function: code,
        description,
    };
    (bytes, frame)
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
        let (mut bytes, frame) = leaf(0x20, 0x1000, 64);
        assert_eq!(frame.description, 0x20 + arch::LEAF_FRAMES.len() as i64);
        let length = bytes.len() as u64;
        let mut text = vec![0; 0x20];
        text.append(&mut bytes);
        let at = text.len();
        text.extend(header(at as i64, 0x20, &mut [frame]));
        assert_eq!(section(&text, at), Some((0x20, length)));
    }
}
