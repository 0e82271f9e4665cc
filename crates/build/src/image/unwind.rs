//! Unwind tables, by which debuggers, profilers and exceptions thrown in a signal handler
//! unwind through a function. DWARF 5, 6.4, in the form of the LSB's
//! `.eh_frame` and `.eh_frame_hdr`.
//!
//! Functions written here move no stack pointer and save no register, so one entry
//! covers all of them.

use crate::arch::Unwind;

/// `DW_EH_PE_pcrel | DW_EH_PE_sdata4`: a signed distance from the place itself.
const PC_RELATIVE: u8 = 0x1b;
/// `DW_EH_PE_udata4`.
const COUNT: u8 = 0x03;
/// `DW_EH_PE_datarel | DW_EH_PE_sdata4`: a signed distance from the header.
const HEADER_RELATIVE: u8 = 0x3b;

/// Bytes of the header.
pub(super) const HEADER_SIZE: usize = 20;

/// The addresses of the tables, and the code that they cover.
pub(super) struct Tables {
    pub(super) header: u64,
    pub(super) frames: u64,
    pub(super) text: u64,
    pub(super) size: u64,
}

/// Bytes of the frames.
pub(super) fn size(unwind: &Unwind) -> usize {
    let nowhere = Tables {
        header: 0,
        frames: 0,
        text: 0,
        size: 0,
    };
    nowhere.frames(unwind).len()
}

/// `to - from`. An image is smaller than 2 GiB.
fn distance(to: u64, from: u64) -> [u8; 4] {
    (to.wrapping_sub(from) as i32).to_le_bytes()
}

impl Tables {
    /// `.eh_frame_hdr`: a table of one entry to be searched.
    pub(super) fn header(&self) -> Vec<u8> {
        let mut bytes = vec![1, PC_RELATIVE, COUNT, HEADER_RELATIVE];
        bytes.extend(distance(self.frames, self.header + 4));
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(distance(self.text, self.header));
        bytes.extend(distance(self.frames + self.entry_at(), self.header));
        bytes
    }

    /// `.eh_frame`: the common information, the one entry, and the end.
    pub(super) fn frames(&self, unwind: &Unwind) -> Vec<u8> {
        let mut common = vec![0; 4]; // CIE id
        common.push(1); // version
        common.extend(b"zR\0");
        common.push(1); // code alignment factor
        common.push(0x78); // data alignment factor, -8 as SLEB128
        common.push(unwind.return_address);
        common.extend([1, PC_RELATIVE]); // augmentation data: how addresses are written
        common.extend(unwind.initial);
        // Filled up with DW_CFA_nop, which is 0, to the length that `entry_at` counts on.
        common.resize(COMMON_SIZE - 4, 0);
        let mut bytes = (common.len() as u32).to_le_bytes().to_vec();
        bytes.extend(common);

        let entry = bytes.len() as u64;
        let length = 20_u32;
        bytes.extend(length.to_le_bytes());
        bytes.extend((entry as u32 + 4).to_le_bytes()); // distance back to the CIE
        bytes.extend(distance(self.text, self.frames + entry + 8));
        bytes.extend((self.size as u32).to_le_bytes());
        bytes.resize(entry as usize + 4 + length as usize, 0); // no augmentation data; nops
        bytes.extend(0_u32.to_le_bytes());
        bytes
    }

    fn entry_at(&self) -> u64 {
        COMMON_SIZE as u64
    }
}

/// Bytes of the common information, its length word included.
const COMMON_SIZE: usize = 24;
