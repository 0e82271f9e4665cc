//! AArch64: AAPCS64, instruction encodings of the Arm Architecture Reference Manual
//! (DDI 0487), section C6.
//!
//! An acquire load is `ldar`, an acquire fence `dmb ishld`.

use super::{CLOCK_BOOTTIME, Emitted, Getter, NANOSECONDS, Target, UNROLLED, Unwind, tail};
use object::elf;
use vdsokit_vvar::header::{self, State};
use vdsokit_vvar::latch;
use vdsokit_vvar::scalar::ScalarType;

pub(super) const TARGET: Target = Target {
    flags: elf::FileFlags(0),
    function_align: 16,
    filler: &[0x00, 0x00, 0x20, 0xd4], // brk #0
    unwind: Unwind {
        return_address: 30,
        data_alignment: -8,
        // The frame address is sp; the return address is still in x30.
        initial: &[0x0c, 31, 0],
        frame_offset: 0,
    },
    emit,
};

fn emit(code: &mut Vec<u8>, address: u64, pages: u64, getter: &Getter) -> Emitted {
    let mut text = Text {
        start: code.len(),
        code,
        address,
        pages,
    };
    match *getter {
        Getter::Scalar { ty, offset } => text.scalar(ty, offset),
        Getter::Latch { size, offset } => text.latch(size, offset),
        Getter::Condition => return text.condition(),
    }
    Emitted::Leaf
}

/// `__NR_clock_gettime` (asm-generic/unistd.h).
const CLOCK_GETTIME: u32 = 113;

/// All registers used are caller-saved (AAPCS64, "General-purpose registers").
const OUT: u32 = 0;
const LATCH: u32 = 8;
const PLACE: u32 = 9;
const STATE: u32 = 10;
const BEFORE: u32 = 11;
const COPY: u32 = 12;
const WORD: u32 = 13;
const INDEX: u32 = 14;

const RET: u32 = 0xd65f_03c0;

/// Conditions of `b.cond` (C1.2.4).
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const LOWER: u32 = 3;
const HIGHER: u32 = 8;

/// A function that is being assembled.
struct Text<'c> {
    code: &'c mut Vec<u8>,
    start: usize,
    address: u64,
    pages: u64,
}

impl Text<'_> {
    fn put(&mut self, instruction: u32) {
        self.code.extend_from_slice(&instruction.to_le_bytes());
    }

    /// `adrp` and `add`: the address `offset` bytes into the vvar pages.
    fn address(&mut self, register: u32, offset: usize) {
        let here = self
            .address
            .wrapping_add((self.code.len() - self.start) as u64);
        let there = self.pages.wrapping_add(offset as u64);
        // In units of 4 KiB, signed, 21 bits: 4 GiB either way; an image is smaller.
        let pages = (there >> 12).wrapping_sub(here >> 12) as u32;
        self.put(0x9000_0000 | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5 | register);
        let low = there as u32 & 0xfff;
        self.put(0x9100_0000 | low << 10 | register << 5 | register);
    }

    fn scalar(&mut self, ty: ScalarType, offset: usize) {
        self.address(PLACE, offset);
        let size = match ty.size() {
            1 => 0,
            2 => 1,
            4 => 2,
            _ => 3,
        };
        self.put(0x08df_fc00 | size << 30 | PLACE << 5 | OUT); // ldar{b,h,} {w,x}0, [x9]
        match ty {
            // A C bool is 0 or 1 whatever byte the page holds.
            ScalarType::Bool => {
                self.put(0x7100_001f | OUT << 5); // cmp w0, #0
                self.put(0x1a9f_07e0 | OUT); // cset w0, ne
            }
            ScalarType::I8 => self.put(0x1300_1c00 | OUT << 5 | OUT), // sxtb w0, w0
            ScalarType::I16 => self.put(0x1300_3c00 | OUT << 5 | OUT), // sxth w0, w0
            ScalarType::F32 => self.put(0x1e27_0000 | OUT << 5),      // fmov s0, w0
            ScalarType::F64 => self.put(0x9e67_0000 | OUT << 5),      // fmov d0, x0
            ScalarType::I32
            | ScalarType::I64
            | ScalarType::U8
            | ScalarType::U16
            | ScalarType::U32
            | ScalarType::U64 => {}
        }
        self.put(RET);
    }

    /// The reader's half of [`vdsokit_vvar::latch`].
    fn latch(&mut self, size: usize, offset: usize) {
        self.address(PLACE, header::STATE_OFFSET);
        self.put(0x88df_fc00 | PLACE << 5 | STATE); // ldar w10, [x9]
        self.address(LATCH, offset);
        let again = self.code.len();
        self.put(0xc8df_fc00 | LATCH << 5 | BEFORE); // ldar x11, [x8]
        self.put(0x9240_0000 | BEFORE << 5 | COPY); // and x12, x11, #1
        let stride = latch::stride(size) as u32;
        self.put(0x5280_0000 | (stride & 0xffff) << 5 | WORD); // movz w13, #low
        self.put(0x72a0_0000 | (stride >> 16) << 5 | WORD); // movk w13, #high, lsl #16
        // madd x12, x12, x13, x8
        self.put(0x9b00_0000 | WORD << 16 | LATCH << 10 | COPY << 5 | COPY);
        self.put(0x9100_0000 | (latch::COPIES as u32) << 10 | COPY << 5 | COPY); // add x12, x12, #copies
        self.copy_words(size / 8);
        self.copy_tail(size);
        self.put(0xd503_39bf); // dmb ishld
        self.put(0xf940_0000 | LATCH << 5 | WORD); // ldr x13, [x8]
        self.put(0xeb00_001f | BEFORE << 16 | WORD << 5); // cmp x13, x11
        self.branch_if_not_equal(again);
        self.put(0x2a00_03e0 | STATE << 16 | OUT); // mov w0, w10
        self.put(RET);
    }

    fn branch_if_not_equal(&mut self, target: usize) {
        let words = (target as i64 - self.code.len() as i64) / 4;
        self.put(0x5400_0001 | (words as u32 & 0x7_ffff) << 5);
    }

    /// See [`Getter::Condition`]. x10: stale_after. x11: updated. x12, x13: the time.
    ///
    /// AAPCS64 has no red zone, so the time is written above a lowered stack pointer.
    fn condition(&mut self) -> Emitted {
        const STALE_AFTER: u32 = 10;
        const UPDATED: u32 = 11;
        self.address(PLACE, header::STATE_OFFSET);
        self.put(0x88df_fc00 | PLACE << 5 | OUT); // ldar w0, [x9]
        let never = self.jump(0x3400_0000 | OUT); // cbz w0
        self.put(0x7100_001f | 3 << 10 | OUT << 5); // cmp w0, #3
        let replaced = self.jump(0x5400_0000 | EQUAL);
        self.put(0x7100_001f | (State::Live as u32) << 10 | OUT << 5); // cmp w0, #1
        let stopped = self.jump(0x5400_0000 | NOT_EQUAL);
        self.address(PLACE, header::STALE_AFTER_OFFSET);
        self.put(0xc8df_fc00 | PLACE << 5 | STALE_AFTER); // ldar x10, [x9]
        self.address(PLACE, header::UPDATED_OFFSET);
        self.put(0xc8df_fc00 | PLACE << 5 | UPDATED); // ldar x11, [x9]
        self.put(0xd100_43ff); // sub sp, sp, #16
        let start = self.code.len() - self.start;
        self.put(0x5280_0000 | CLOCK_BOOTTIME << 5 | OUT); // movz w0, #7
        self.put(0x9100_03e1); // add x1, sp, #0
        self.put(0x5280_0000 | CLOCK_GETTIME << 5 | 8); // movz w8, #113
        self.put(0xd400_0001); // svc #0
        self.put(0xa940_0000 | WORD << 10 | 31 << 5 | COPY); // ldp x12, x13, [sp]
        self.put(0x9100_43ff); // add sp, sp, #16
        let end = self.code.len() - self.start;
        let failed = self.jump(0xb500_0000 | OUT); // cbnz x0
        self.put(0x5280_0000 | (NANOSECONDS & 0xffff) << 5 | INDEX); // movz w14, #low
        self.put(0x72a0_0000 | (NANOSECONDS >> 16) << 5 | INDEX); // movk w14, #high, lsl #16
        self.put(0x9b00_0000 | INDEX << 16 | WORD << 10 | COPY << 5 | COPY); // madd x12, x12, x14, x13
        self.put(0xeb00_0000 | UPDATED << 16 | COPY << 5 | COPY); // subs x12, x12, x11
        let future = self.jump(0x5400_0000 | LOWER);
        let unlimited = self.jump(0xb400_0000 | STALE_AFTER); // cbz x10
        self.put(0xeb00_001f | STALE_AFTER << 16 | COPY << 5); // cmp x12, x10
        let late = self.jump(0x5400_0000 | HIGHER);
        self.returns(&[unlimited], 1);
        self.returns(&[failed, future, late], 2);
        self.returns(&[stopped], 3);
        self.returns(&[replaced], 4);
        self.land(never); // w0 is 0
        self.put(RET);
        Emitted::Frame {
            start: start as u8,
            end: end as u8,
            bytes: 16,
            saved: None,
        }
    }

    /// A conditional branch forward; [`Text::land`] fills in the distance.
    fn jump(&mut self, instruction: u32) -> usize {
        self.put(instruction);
        self.code.len() - 4
    }

    /// Lets the branch at `from` lead here. Its distance is bits 5 to 23, in words.
    fn land(&mut self, from: usize) {
        let words = (self.code.len() - from) as u32 / 4;
        let bits = (words << 5).to_le_bytes();
        for (byte, bits) in self.code[from..from + 4].iter_mut().zip(bits) {
            *byte |= bits;
        }
    }

    /// `return number`, for these branches.
    fn returns(&mut self, branches: &[usize], number: u32) {
        for branch in branches {
            self.land(*branch);
        }
        self.put(0x5280_0000 | number << 5 | OUT); // movz w0, #number
        self.put(RET);
    }

    fn copy_words(&mut self, words: usize) {
        if words <= UNROLLED {
            for word in 0..words as u32 {
                self.put(0xf940_0000 | word << 10 | COPY << 5 | WORD); // ldr x13, [x12, #]
                self.put(0xf900_0000 | word << 10 | OUT << 5 | WORD); // str x13, [x0, #]
            }
            return;
        }
        let words = words as u32;
        self.put(0x5280_0000 | (words & 0xffff) << 5 | INDEX); // movz w14, #words
        let next = self.code.len();
        self.put(0x7100_0400 | INDEX << 5 | INDEX); // subs w14, w14, #1
        self.put(0xf860_7800 | INDEX << 16 | COPY << 5 | WORD); // ldr x13, [x12, x14, lsl #3]
        self.put(0xf820_7800 | INDEX << 16 | OUT << 5 | WORD); // str x13, [x0, x14, lsl #3]
        self.branch_if_not_equal(next);
    }

    fn copy_tail(&mut self, size: usize) {
        let at = size / 8 * 8;
        if at == size {
            return;
        }
        // A value of up to 64 KiB: base + offset in two steps, the offset in words.
        self.advance(COPY, INDEX, at);
        self.put(0xf940_0000 | INDEX << 5 | WORD); // ldr x13, [x14]
        self.advance(OUT, INDEX, at);
        let mut from = 0;
        for piece in tail(size) {
            let store = match piece {
                4 => 0xb800_0400, // str w13, [x14], #4
                2 => 0x7800_0400, // strh w13, [x14], #2
                _ => 0x3800_0400, // strb w13, [x14], #1
            };
            self.put(store | (piece as u32) << 12 | INDEX << 5 | WORD);
            from += piece;
            if at + from != size {
                let bits = piece as u32 * 8;
                self.put(0xd340_fc00 | bits << 16 | WORD << 5 | WORD); // lsr x13, x13, #bits
            }
        }
    }

    /// `to = from + bytes`, for less than 64 KiB.
    fn advance(&mut self, from: u32, to: u32, bytes: usize) {
        let (high, low) = (bytes as u32 >> 12, bytes as u32 & 0xfff);
        self.put(0x9140_0000 | high << 10 | from << 5 | to); // add to, from, #high, lsl #12
        self.put(0x9100_0000 | low << 10 | to << 5 | to); // add to, to, #low
    }
}
