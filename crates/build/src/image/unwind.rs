//! Unwind tables, by which debuggers, profilers and exceptions thrown in a signal handler
//! unwind through a function. DWARF 5, 6.4, in the form of the LSB's `.eh_frame` and
//! `.eh_frame_hdr`.
//!
//! Most functions move no stack pointer and save no register, so one entry covers a run of
//! them; a function with a stack frame has an entry of its own.

use crate::arch::{Emitted, Unwind};

/// `DW_EH_PE_pcrel | DW_EH_PE_sdata4`: a signed distance from the place itself.
const PC_RELATIVE: u8 = 0x1b;
/// `DW_EH_PE_udata4`.
const COUNT: u8 = 0x03;
/// `DW_EH_PE_datarel | DW_EH_PE_sdata4`: a signed distance from the header.
const HEADER_RELATIVE: u8 = 0x3b;

const ADVANCE_LOC1: u8 = 0x02;
const DEF_CFA_OFFSET: u8 = 0x0e;
/// The register's number is in the lower six bits.
const OFFSET: u8 = 0x80;
/// As [`OFFSET`].
const RESTORE: u8 = 0xc0;

/// Bytes of the header before its table.
const HEADER_SIZE: usize = 12;
/// Bytes of the common information, its length word included.
const COMMON_SIZE: usize = 24;
/// Bytes of an entry, its length word included: those of its fields, and room for the
/// instructions of a [`Emitted::Frame`].
const ENTRY_SIZE: usize = 32;

/// The functions that one entry covers.
struct Cover {
    /// Offset in the text.
    at: usize,
    size: usize,
    emitted: Emitted,
}

/// All entries, in the order of the text.
#[derive(Default)]
pub(super) struct Covers {
    list: Vec<Cover>,
}

impl Covers {
    /// Adds a function that lies after all others.
    pub(super) fn add(&mut self, at: usize, size: usize, emitted: Emitted) {
        match self.list.last_mut() {
            Some(last) if last.emitted == Emitted::Leaf && emitted == Emitted::Leaf => {
                last.size = at + size - last.at;
            }
            _ => self.list.push(Cover { at, size, emitted }),
        }
    }

    /// Bytes of `.eh_frame_hdr`.
    pub(super) fn header_size(&self) -> usize {
        HEADER_SIZE + 8 * self.list.len()
    }

    /// Bytes of `.eh_frame`.
    pub(super) fn size(&self, unwind: &Unwind) -> usize {
        let nowhere = Tables {
            header: 0,
            frames: 0,
            text: 0,
            covers: self,
        };
        nowhere.frames(unwind).len()
    }
}

/// The addresses of the tables, and the code that they cover.
pub(super) struct Tables<'c> {
    pub(super) header: u64,
    pub(super) frames: u64,
    pub(super) text: u64,
    pub(super) covers: &'c Covers,
}

/// `to - from`. An image is smaller than 2 GiB.
fn distance(to: u64, from: u64) -> [u8; 4] {
    (to.wrapping_sub(from) as i32).to_le_bytes()
}

impl Tables<'_> {
    /// `.eh_frame_hdr`: the table that is searched for an address.
    pub(super) fn header(&self) -> Vec<u8> {
        let mut bytes = vec![1, PC_RELATIVE, COUNT, HEADER_RELATIVE];
        bytes.extend(distance(self.frames, self.header + 4));
        bytes.extend((self.covers.list.len() as u32).to_le_bytes());
        for (index, cover) in self.covers.list.iter().enumerate() {
            let entry = self.frames + (COMMON_SIZE + index * ENTRY_SIZE) as u64;
            bytes.extend(distance(self.text + cover.at as u64, self.header));
            bytes.extend(distance(entry, self.header));
        }
        bytes
    }

    /// `.eh_frame`: the common information, the entries, and the end.
    pub(super) fn frames(&self, unwind: &Unwind) -> Vec<u8> {
        let mut common = vec![0; 4]; // CIE id
        common.push(1); // version
        common.extend(b"zR\0");
        common.push(1); // code alignment factor
        common.push(unwind.data_alignment as u8 & 0x7f); // data alignment factor as SLEB128
        common.push(unwind.return_address);
        common.extend([1, PC_RELATIVE]); // augmentation data: how addresses are written
        common.extend(unwind.initial);
        let mut bytes = record(common, COMMON_SIZE);
        for cover in &self.covers.list {
            let at = bytes.len();
            let mut entry = (at as u32 + 4).to_le_bytes().to_vec(); // distance back to the CIE
            let start = self.text + cover.at as u64;
            entry.extend(distance(start, self.frames + at as u64 + 8));
            entry.extend((cover.size as u32).to_le_bytes());
            entry.push(0); // no augmentation data
            if let Emitted::Frame {
                start,
                end,
                bytes,
                saved,
            } = cover.emitted
            {
                let lowered = unwind.frame_offset + bytes;
                entry.extend([ADVANCE_LOC1, start, DEF_CFA_OFFSET, lowered]);
                let mut at = start;
                if let Some(saved) = saved {
                    entry.extend([ADVANCE_LOC1, saved.at - at]);
                    entry.extend([OFFSET | saved.register, saved.below]);
                    at = saved.at;
                }
                entry.extend([ADVANCE_LOC1, end - at]);
                entry.extend([DEF_CFA_OFFSET, unwind.frame_offset]);
                entry.extend(saved.map(|saved| RESTORE | saved.register));
            }
            bytes.extend(record(entry, ENTRY_SIZE));
        }
        bytes.extend(0_u32.to_le_bytes());
        bytes
    }
}

/// A record of `size` bytes: its length, `contents` and `DW_CFA_nop`, which is 0.
fn record(mut contents: Vec<u8>, size: usize) -> Vec<u8> {
    contents.resize(size - 4, 0);
    let mut bytes = (contents.len() as u32).to_le_bytes().to_vec();
    bytes.extend(contents);
    bytes
}
