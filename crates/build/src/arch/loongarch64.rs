//! LoongArch, 64 bits: the ABI lp64d of the LoongArch ELF psABI, instruction encodings of the
//! LoongArch Reference Manual (volume 1, appendix B, "Table of Instruction Encoding").
//!
//! An acquire load is a load with `dbar 0x14` behind it, and an acquire fence the latter: the hint
//! orders reads before it with reads and writes behind it (`ldacq_mb` in Linux 6.6's
//! arch/loongarch/include/asm/barrier.h). A CPU that does not know a hint does what `dbar 0` does,
//! which orders everything (Reference Manual, volume 1, "DBAR"); so Linux uses one hint on every CPU.

use super::{CLOCK_BOOTTIME, Emitted, Getter, NANOSECONDS, Target, UNROLLED, Unwind, tail};
use object::elf;
use vdsokit_vvar::header::{self, State};
use vdsokit_vvar::latch;
use vdsokit_vvar::scalar::ScalarType;

pub(super) const TARGET: Target = Target {
    machine: elf::EM_LOONGARCH,
    // psABI, "ELF Header": the floating-point ABI, and the second version of relocations. Linkers
    // compare the ABI with the program's.
    flags: elf::FileFlags(elf::EF_LARCH_ABI_DOUBLE_FLOAT.0 | elf::EF_LARCH_OBJABI_V1.0),
    is_64: true,
    // Kernels have pages of 4, 16 or 64 KiB (arch/loongarch/Kconfig).
    page: 0x10000,
    function_align: 16,
    filler: &BREAK.to_le_bytes(),
    unwind: Unwind {
        return_address: RA as u8,
        data_alignment: -8,
        // The frame address is sp; the return address is still in ra. DWARF's numbers of the
        // general registers are their own (LoongArch DWARF specification).
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
const SP: u32 = 3;
/// a7 has the number of a system call.
const NUMBER: u32 = 11;
/// The registers used: a0 to a6, t0 and t1, none of which a function keeps for its caller. A system
/// call keeps a1 to a6, and may change t0 to t8 (glibc, sysdeps/unix/sysv/linux/loongarch/sysdep.h,
/// `__SYSCALL_CLOBBERS`).
const OUT: u32 = 4;
const BEFORE: u32 = 5;
const COPY: u32 = 6;
const WORD: u32 = 7;
const END: u32 = 8;
const TO: u32 = 9;
const STATE: u32 = 10;
const LATCH: u32 = 12;
const PLACE: u32 = 13;

/// `jirl zero, ra, 0`
const RET: u32 = 0x4c00_0020;
const BREAK: u32 = 0x002a_0000;
const SYSCALL: u32 = 0x002b_0000;
/// `dbar 0x14`
const ACQUIRE: u32 = 0x3872_0014;

/// Kinds of loads and stores: by the logarithm of the size, and 8 more for loads without sign
/// extension.
const DOUBLE: u32 = 3;
const WITHOUT_SIGN: u32 = 8;

/// `beq`, `bne` and `bltu`.
const EQUAL: u32 = 0x5800_0000;
const NOT_EQUAL: u32 = 0x5c00_0000;
const LOWER: u32 = 0x6800_0000;

/// `add.d`, `sub.d`, `sltu` and `mul.d`.
const ADD: u32 = 0x0010_8000;
const SUBTRACT: u32 = 0x0011_8000;
const SET_IF_LOWER: u32 = 0x0012_8000;
const MULTIPLY: u32 = 0x001d_8000;

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

    /// `addi.d to, from, immediate`, for immediates from -2048 to 2047.
    fn add(&mut self, to: u32, from: u32, immediate: i32) {
        self.put(0x02c0_0000 | (immediate as u32 & 0xfff) << 10 | from << 5 | to);
    }

    /// `ld.{b,h,w,d,bu,hu,wu} to, base, offset`.
    fn load(&mut self, kind: u32, to: u32, base: u32, offset: usize) {
        self.put(0x2800_0000 | kind << 22 | (offset as u32) << 10 | base << 5 | to);
    }

    /// `st.{b,h,w,d} from, base, offset`.
    fn store(&mut self, kind: u32, from: u32, base: u32, offset: usize) {
        self.put(0x2900_0000 | kind << 22 | (offset as u32) << 10 | base << 5 | from);
    }

    /// An instruction of three registers.
    fn operate(&mut self, operation: u32, to: u32, left: u32, right: u32) {
        self.put(operation | right << 10 | left << 5 | to);
    }

    /// `lu12i.w` and `ori`: a number below 2^31.
    fn set(&mut self, register: u32, number: u32) {
        self.put(0x1400_0000 | number >> 12 << 5 | register);
        self.put(0x0380_0000 | (number & 0xfff) << 10 | register << 5 | register);
    }

    /// `pcaddu12i` and `addi.d`: the address `offset` bytes into the vvar pages.
    fn address(&mut self, register: u32, offset: usize) {
        let here = self
            .address
            .wrapping_add((self.code.len() - self.start) as u64);
        let there = self.pages.wrapping_add(offset as u64);
        // Signed, 32 bits: 2 GiB either way; an image is smaller.
        let distance = there.wrapping_sub(here) as u32;
        let upper = distance.wrapping_add(0x800) >> 12;
        self.put(0x1c00_0000 | upper << 5 | register);
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
            ScalarType::Bool => self.operate(SET_IF_LOWER, OUT, ZERO, OUT),
            ScalarType::F32 => self.put(0x0114_a400 | OUT << 5), // movgr2fr.w fa0, a0
            ScalarType::F64 => self.put(0x0114_a800 | OUT << 5), // movgr2fr.d fa0, a0
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
        self.put(0x0340_0000 | 1 << 10 | BEFORE << 5 | COPY); // andi a2, a1, 1
        self.set(WORD, latch::stride(size) as u32);
        self.operate(MULTIPLY, COPY, COPY, WORD);
        self.operate(ADD, COPY, COPY, LATCH);
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
        self.operate(ADD, END, END, COPY);
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
                self.put(0x0045_0000 | bits << 10 | WORD << 5 | WORD); // srli.d a3, a3, bits
            }
        }
    }

    /// See [`Getter::Condition`].
    ///
    /// The ABI has no red zone, so the time is written above a lowered stack pointer.
    fn condition(&mut self) -> Emitted {
        const STALE_AFTER: u32 = TO;
        const UPDATED: u32 = STATE;
        const SECONDS: u32 = COPY;
        self.acquire(2, OUT, header::STATE_OFFSET);
        let never = self.branch(EQUAL, OUT, ZERO);
        self.add(WORD, ZERO, State::Replaced as i32);
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
        self.put(SYSCALL);
        self.load(DOUBLE, SECONDS, SP, 0);
        self.load(DOUBLE, WORD, SP, 8);
        self.add(SP, SP, 16);
        let end = self.code.len() - self.start;
        let failed = self.branch(NOT_EQUAL, OUT, ZERO);
        self.set(END, NANOSECONDS);
        self.operate(MULTIPLY, SECONDS, SECONDS, END);
        self.operate(ADD, SECONDS, SECONDS, WORD);
        let future = self.branch(LOWER, SECONDS, UPDATED);
        self.operate(SUBTRACT, SECONDS, SECONDS, UPDATED);
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
        self.put(condition | left << 5 | right);
        self.code.len() - 4
    }

    /// Lets the branch at `from` lead here.
    fn land(&mut self, from: usize) {
        self.set_distance(from, self.code.len() as i64 - from as i64);
    }

    /// Sets the distance of a branch: bits 10 to 25, in words.
    fn set_distance(&mut self, from: usize, distance: i64) {
        let field = ((distance / 4) as u32 & 0xffff) << 10;
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
