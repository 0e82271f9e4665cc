//! RISC-V, 64 bits: the ABI lp64d of the RISC-V ELF psABI, instruction encodings of the RISC-V
//! Instruction Set Manual (volume I, "RV32/64G Instruction Set Listings").
//!
//! An acquire load is a load with `fence r,rw` behind it, and an acquire fence the latter (volume I,
//! "Mappings from C/C++ primitives to RISC-V primitives"). All instructions have four bytes.

use super::{CLOCK_BOOTTIME, Emitted, Getter, NANOSECONDS, Target, UNROLLED, Unwind, tail};
use object::elf;
use vdsokit_vvar::header::{self, State};
use vdsokit_vvar::latch;
use vdsokit_vvar::scalar::ScalarType;

pub(super) const TARGET: Target = Target {
    machine: elf::EM_RISCV,
    // Linkers and glibc's loader compare it with the program's.
    flags: elf::EF_RISCV_FLOAT_ABI_DOUBLE,
    is_64: true,
    page: 0x1000,
    function_align: 16,
    filler: &EBREAK.to_le_bytes(),
    unwind: Unwind {
        return_address: RA as u8,
        data_alignment: -8,
        // The frame address is sp; the return address is still in ra.
        initial: &[0x0c, SP as u8, 0],
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

const ZERO: u32 = 0;
const RA: u32 = 1;
const SP: u32 = 2;
/// a7 has the number of a system call.
const NUMBER: u32 = 17;
/// The registers used: a0 to a5 and t0 to t2, none of which a function keeps for its caller.
const OUT: u32 = 10;
const BEFORE: u32 = 11;
const COPY: u32 = 12;
const WORD: u32 = 13;
const END: u32 = 14;
const TO: u32 = 15;
const LATCH: u32 = 5;
const PLACE: u32 = 6;
const STATE: u32 = 7;

const RET: u32 = 0x0000_8067;
const EBREAK: u32 = 0x0010_0073;
const ECALL: u32 = 0x0000_0073;
/// `fence r,rw`
const ACQUIRE: u32 = 0x0230_000f;

/// Kinds of loads and stores (`funct3`): by the logarithm of the size, and 4 more for loads without
/// sign extension.
const DOUBLE: u32 = 3;
const WITHOUT_SIGN: u32 = 4;

/// Kinds of branches (`funct3`).
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const LOWER: u32 = 6;

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

    /// `addi to, from, immediate`, for immediates from -2048 to 2047.
    fn add(&mut self, to: u32, from: u32, immediate: i32) {
        self.put((immediate as u32 & 0xfff) << 20 | from << 15 | to << 7 | 0x13);
    }

    /// `{lb,lh,lw,ld,lbu,lhu,lwu} to, offset(base)`.
    fn load(&mut self, kind: u32, to: u32, base: u32, offset: usize) {
        self.put((offset as u32) << 20 | base << 15 | kind << 12 | to << 7 | 0x03);
    }

    /// `{sb,sh,sw,sd} from, offset(base)`.
    fn store(&mut self, kind: u32, from: u32, base: u32, offset: usize) {
        let (high, low) = (offset as u32 >> 5, offset as u32 & 0x1f);
        self.put(high << 25 | from << 20 | base << 15 | kind << 12 | low << 7 | 0x23);
    }

    /// An instruction of three registers.
    fn operate(&mut self, operation: u32, to: u32, left: u32, right: u32) {
        self.put(operation | right << 20 | left << 15 | to << 7);
    }

    /// `lui` and `addi`: a number below 2^31.
    fn set(&mut self, register: u32, number: u32) {
        self.put((number + 0x800) & 0xffff_f000 | register << 7 | 0x37);
        self.add(register, register, number as i32);
    }

    /// `auipc` and `addi`: the address `offset` bytes into the vvar pages.
    fn address(&mut self, register: u32, offset: usize) {
        let here = self
            .address
            .wrapping_add((self.code.len() - self.start) as u64);
        let there = self.pages.wrapping_add(offset as u64);
        // Signed, 32 bits: 2 GiB either way; an image is smaller.
        let distance = there.wrapping_sub(here) as u32;
        self.put(distance.wrapping_add(0x800) & 0xffff_f000 | register << 7 | 0x17);
        self.add(register, register, distance as i32);
    }

    /// An acquire load of the word of that kind at `offset` bytes into the vvar pages.
    fn acquire(&mut self, kind: u32, to: u32, offset: usize) {
        self.address(PLACE, offset);
        self.load(kind, to, PLACE, 0);
        self.put(ACQUIRE);
    }

    fn scalar(&mut self, ty: ScalarType, offset: usize) {
        // Numbers of 32 bits are sign-extended in registers, also those without a sign.
        let kind = match ty {
            ScalarType::Bool | ScalarType::U8 => WITHOUT_SIGN,
            ScalarType::U16 => 1 | WITHOUT_SIGN,
            _ => ty.size().trailing_zeros(),
        };
        self.acquire(kind, OUT, offset);
        match ty {
            // A C bool is 0 or 1 whatever byte the page holds.
            ScalarType::Bool => self.operate(0x3033, OUT, ZERO, OUT), // sltu a0, zero, a0
            ScalarType::F32 => self.put(0xf000_0053 | OUT << 15 | OUT << 7), // fmv.w.x fa0, a0
            ScalarType::F64 => self.put(0xf200_0053 | OUT << 15 | OUT << 7), // fmv.d.x fa0, a0
            _ => {}
        }
        self.put(RET);
    }

    /// The reader's half of [`vdsokit_vvar::latch`].
    fn latch(&mut self, size: usize, offset: usize) {
        self.acquire(2, STATE, header::STATE_OFFSET);
        self.address(LATCH, offset);
        let again = self.code.len();
        self.load(DOUBLE, BEFORE, LATCH, 0);
        self.put(ACQUIRE);
        self.put(1 << 20 | BEFORE << 15 | 0x7000 | COPY << 7 | 0x13); // andi a2, a1, 1
        self.set(WORD, latch::stride(size) as u32);
        self.operate(0x0200_0033, COPY, COPY, WORD); // mul a2, a2, a3
        self.operate(0x33, COPY, COPY, LATCH); // add a2, a2, t0
        self.add(COPY, COPY, latch::COPIES as i32);
        self.add(TO, OUT, 0);
        let at = self.copy_words(size / 8);
        self.copy_tail(size % 8, at);
        self.put(ACQUIRE);
        self.load(DOUBLE, WORD, LATCH, 0);
        self.branch_back(NOT_EQUAL, WORD, BEFORE, again);
        self.add(OUT, STATE, 0);
        self.put(RET);
    }

    /// Copies words from where `COPY` points to where `TO` does. Returns how many bytes from there
    /// the rest lies.
    fn copy_words(&mut self, words: usize) -> usize {
        if words <= UNROLLED {
            for word in 0..words {
                self.load(DOUBLE, WORD, COPY, word * 8);
                self.store(DOUBLE, WORD, TO, word * 8);
            }
            return words * 8;
        }
        self.set(END, words as u32 * 8);
        self.operate(0x33, END, END, COPY); // add a4, a4, a2
        let next = self.code.len();
        self.load(DOUBLE, WORD, COPY, 0);
        self.store(DOUBLE, WORD, TO, 0);
        self.add(COPY, COPY, 8);
        self.add(TO, TO, 8);
        self.branch_back(NOT_EQUAL, COPY, END, next);
        0
    }

    /// Copies the last `size` bytes, fewer than a word.
    fn copy_tail(&mut self, size: usize, at: usize) {
        if size == 0 {
            return;
        }
        self.load(DOUBLE, WORD, COPY, at);
        let mut from = 0;
        for piece in tail(size) {
            self.store(piece.trailing_zeros(), WORD, TO, at + from);
            from += piece;
            if from != size {
                let bits = piece as u32 * 8;
                self.put(bits << 20 | WORD << 15 | 0x5000 | WORD << 7 | 0x13); // srli a3, a3, bits
            }
        }
    }

    /// See [`Getter::Condition`].
    ///
    /// The ABI has no red zone, so the time is written above a lowered stack pointer.
    fn condition(&mut self) -> Emitted {
        const STALE_AFTER: u32 = LATCH;
        const UPDATED: u32 = STATE;
        const SECONDS: u32 = COPY;
        self.acquire(2, OUT, header::STATE_OFFSET);
        let never = self.branch(EQUAL, OUT, ZERO);
        self.add(WORD, ZERO, 3);
        let replaced = self.branch(EQUAL, OUT, WORD);
        self.add(WORD, ZERO, State::Live as i32);
        let stopped = self.branch(NOT_EQUAL, OUT, WORD);
        self.acquire(DOUBLE, STALE_AFTER, header::STALE_AFTER_OFFSET);
        self.acquire(DOUBLE, UPDATED, header::UPDATED_OFFSET);
        self.add(SP, SP, -16);
        let start = self.code.len() - self.start;
        self.add(OUT, ZERO, CLOCK_BOOTTIME as i32);
        self.add(BEFORE, SP, 0);
        self.add(NUMBER, ZERO, CLOCK_GETTIME as i32);
        self.put(ECALL);
        self.load(DOUBLE, SECONDS, SP, 0);
        self.load(DOUBLE, WORD, SP, 8);
        self.add(SP, SP, 16);
        let end = self.code.len() - self.start;
        let failed = self.branch(NOT_EQUAL, OUT, ZERO);
        self.set(END, NANOSECONDS);
        self.operate(0x0200_0033, SECONDS, SECONDS, END); // mul a2, a2, a4
        self.operate(0x33, SECONDS, SECONDS, WORD); // add a2, a2, a3
        let future = self.branch(LOWER, SECONDS, UPDATED);
        self.operate(0x4000_0033, SECONDS, SECONDS, UPDATED); // sub a2, a2, t2
        let unlimited = self.branch(EQUAL, STALE_AFTER, ZERO);
        let late = self.branch(LOWER, STALE_AFTER, SECONDS);
        self.returns(&[unlimited], 1);
        self.returns(&[failed, future, late], 2);
        self.returns(&[stopped], 3);
        self.returns(&[replaced], 4);
        self.land(never); // a0 is 0
        self.put(RET);
        Emitted::Frame {
            start: start as u8,
            end: end as u8,
            bytes: 16,
            saved: None,
        }
    }

    /// A branch to an earlier instruction.
    fn branch_back(&mut self, condition: u32, left: u32, right: u32, target: usize) {
        let from = self.branch(condition, left, right);
        self.set_distance(from, target as i64 - from as i64);
    }

    /// A branch forward; [`Text::land`] fills in the distance.
    fn branch(&mut self, condition: u32, left: u32, right: u32) -> usize {
        self.put(right << 20 | left << 15 | condition << 12 | 0x63);
        self.code.len() - 4
    }

    /// Lets the branch at `from` lead here.
    fn land(&mut self, from: usize) {
        self.set_distance(from, self.code.len() as i64 - from as i64);
    }

    /// Sets the distance of a branch, in bytes: bits 12, 10 to 5, 4 to 1 and 11 of it, from the
    /// instruction's highest bit on (B-type).
    fn set_distance(&mut self, from: usize, distance: i64) {
        let distance = distance as u32;
        let field = (distance >> 12 & 1) << 31
            | (distance >> 5 & 0x3f) << 25
            | (distance >> 1 & 0xf) << 8
            | (distance >> 11 & 1) << 7;
        for (byte, bits) in self.code[from..from + 4]
            .iter_mut()
            .zip(field.to_le_bytes())
        {
            *byte |= bits;
        }
    }

    /// Returns `number`, for these branches.
    fn returns(&mut self, branches: &[usize], number: u32) {
        for branch in branches {
            self.land(*branch);
        }
        self.add(OUT, ZERO, number as i32);
        self.put(RET);
    }
}
