//! What RISC-V and LoongArch have in common: machines without flags, whose few instructions that getters
//! need differ in their encodings alone. All instructions have four bytes.

use super::{CLOCK_BOOTTIME, Emitted, Getter, NANOSECONDS, UNROLLED, tail};
use std::marker::PhantomData;
use vdsokit_vvar::header::{self, State};
use vdsokit_vvar::latch;
use vdsokit_vvar::scalar::ScalarType;

/// `__NR_clock_gettime` (asm-generic/unistd.h).
const CLOCK_GETTIME: u32 = 113;

/// The register that is 0, by its number on both.
pub(super) const ZERO: u32 = 0;
/// The register of the return address, by its number on both.
pub(super) const RA: u32 = 1;

/// The kind of loads and stores of a word: the logarithm of its size, as of every kind without
/// [`Encoding::WITHOUT_SIGN`].
const DOUBLE: u32 = 3;

/// The registers and the instructions of an architecture.
pub(super) trait Encoding {
    /// The stack pointer.
    const SP: u32;
    /// The register that has the number of a system call.
    const NUMBER: u32;
    // The registers used, none of which a function keeps for its caller. A system call keeps all but OUT,
    // LATCH and PLACE.
    /// The first argument, and the result.
    const OUT: u32;
    /// The second argument of a call; the number of a latch before it is read.
    const BEFORE: u32;
    /// Where a copy is read.
    const COPY: u32;
    /// A word on its way.
    const WORD: u32;
    /// Where a copy ends.
    const END: u32;
    /// Where a copy is written.
    const TO: u32;
    /// The state.
    const STATE: u32;
    /// The latch.
    const LATCH: u32;
    /// An address in the vvar pages.
    const PLACE: u32;

    /// Returns from a function.
    const RET: u32;
    /// Makes a system call.
    const SYSTEM_CALL: u32;
    /// Makes the load before it an acquire load, and is an acquire fence.
    const ACQUIRE: u32;
    /// Added to the kind of a load without sign extension.
    const WITHOUT_SIGN: u32;

    /// Branches: if two registers are equal.
    const EQUAL: u32;
    /// If they are not.
    const NOT_EQUAL: u32;
    /// If the first is lower, without signs.
    const LOWER: u32;

    /// Operations on two registers: addition.
    const ADD: u32;
    /// Subtraction.
    const SUBTRACT: u32;
    /// Whether the first is lower, without signs.
    const SET_IF_LOWER: u32;
    /// Multiplication.
    const MULTIPLY: u32;

    /// Adds an immediate from -2048 to 2047, of which more than the lower twelve bits may be given.
    fn add(to: u32, from: u32, immediate: i32) -> u32;
    /// A load of that kind.
    fn load(kind: u32, to: u32, base: u32, offset: usize) -> u32;
    /// A store of that kind.
    fn store(kind: u32, from: u32, base: u32, offset: usize) -> u32;
    /// An operation on two registers.
    fn operate(operation: u32, to: u32, left: u32, right: u32) -> u32;
    /// The lowest bit of a register.
    fn lowest_bit(to: u32, from: u32) -> u32;
    /// Shifts a register right, without its sign.
    fn shift_right(register: u32, bits: u32) -> u32;
    /// Moves the bits of `OUT` to the floating-point result: of 64 bits, or else of 32.
    fn result_in_float(is_double: bool) -> u32;
    /// Two instructions that set a register to a number below 2^31.
    fn set(register: u32, number: u32) -> [u32; 2];
    /// The address `distance` bytes from the instruction, but for the lower twelve bits, which are added
    /// with their sign by the next.
    fn near(register: u32, distance: u32) -> u32;
    /// A branch without its distance.
    fn branch(condition: u32, left: u32, right: u32) -> u32;
    /// The bits of a branch's distance in bytes.
    fn distance(bytes: i64) -> u32;
}

/// [`super::Target::emit`].
pub(super) fn emit<E: Encoding>(
    code: &mut Vec<u8>,
    address: u64,
    pages: u64,
    getter: &Getter,
) -> Emitted {
    let mut text = Text::<E> {
        start: code.len(),
        code,
        address,
        pages,
        encoding: PhantomData,
    };
    match *getter {
        Getter::Scalar { ty, offset } => text.scalar(ty, offset),
        Getter::Latch { size, offset } => text.latch(size, offset),
        Getter::Condition => return text.condition(),
    }
    Emitted::Leaf
}

/// A function that is being assembled.
struct Text<'c, E> {
    code: &'c mut Vec<u8>,
    start: usize,
    address: u64,
    pages: u64,
    encoding: PhantomData<E>,
}

impl<E: Encoding> Text<'_, E> {
    fn put(&mut self, instruction: u32) {
        self.code.extend_from_slice(&instruction.to_le_bytes());
    }

    fn add(&mut self, to: u32, from: u32, immediate: i32) {
        self.put(E::add(to, from, immediate));
    }

    fn load(&mut self, kind: u32, to: u32, base: u32, offset: usize) {
        self.put(E::load(kind, to, base, offset));
    }

    fn store(&mut self, kind: u32, from: u32, base: u32, offset: usize) {
        self.put(E::store(kind, from, base, offset));
    }

    fn operate(&mut self, operation: u32, to: u32, left: u32, right: u32) {
        self.put(E::operate(operation, to, left, right));
    }

    fn set(&mut self, register: u32, number: u32) {
        for instruction in E::set(register, number) {
            self.put(instruction);
        }
    }

    /// The address `offset` bytes into the vvar pages.
    fn address(&mut self, register: u32, offset: usize) {
        let here = self
            .address
            .wrapping_add((self.code.len() - self.start) as u64);
        let there = self.pages.wrapping_add(offset as u64);
        // Signed, 32 bits: 2 GiB either way; an image is smaller.
        let distance = there.wrapping_sub(here) as u32;
        self.put(E::near(register, distance));
        self.add(register, register, distance as i32);
    }

    /// An acquire load of the word of that kind at `offset` bytes into the vvar pages.
    fn acquire(&mut self, kind: u32, to: u32, offset: usize) {
        self.address(E::PLACE, offset);
        self.load(kind, to, E::PLACE, 0);
        self.put(E::ACQUIRE);
    }

    fn scalar(&mut self, ty: ScalarType, offset: usize) {
        // Numbers of 32 bits are sign-extended in registers, also those without a sign.
        let kind = match ty {
            ScalarType::Bool | ScalarType::U8 => E::WITHOUT_SIGN,
            ScalarType::U16 => 1 | E::WITHOUT_SIGN,
            _ => ty.size().trailing_zeros(),
        };
        self.acquire(kind, E::OUT, offset);
        match ty {
            // A C bool is 0 or 1 whatever byte the page holds.
            ScalarType::Bool => self.operate(E::SET_IF_LOWER, E::OUT, ZERO, E::OUT),
            ScalarType::F32 => self.put(E::result_in_float(false)),
            ScalarType::F64 => self.put(E::result_in_float(true)),
            ScalarType::I8
            | ScalarType::I16
            | ScalarType::I32
            | ScalarType::I64
            | ScalarType::U8
            | ScalarType::U16
            | ScalarType::U32
            | ScalarType::U64 => {}
        }
        self.put(E::RET);
    }

    /// The reader's half of [`vdsokit_vvar::latch`].
    fn latch(&mut self, size: usize, offset: usize) {
        self.acquire(2, E::STATE, header::STATE_OFFSET);
        self.address(E::LATCH, offset);
        let again = self.code.len();
        self.load(DOUBLE, E::BEFORE, E::LATCH, 0);
        self.put(E::ACQUIRE);
        self.put(E::lowest_bit(E::COPY, E::BEFORE));
        self.set(E::WORD, latch::stride(size) as u32);
        self.operate(E::MULTIPLY, E::COPY, E::COPY, E::WORD);
        self.operate(E::ADD, E::COPY, E::COPY, E::LATCH);
        self.add(E::COPY, E::COPY, latch::COPIES as i32);
        self.add(E::TO, E::OUT, 0);
        let at = self.copy_words(size / 8);
        self.copy_tail(size % 8, at);
        self.put(E::ACQUIRE);
        self.load(DOUBLE, E::WORD, E::LATCH, 0);
        self.branch_back(E::NOT_EQUAL, E::WORD, E::BEFORE, again);
        self.add(E::OUT, E::STATE, 0);
        self.put(E::RET);
    }

    /// Copies words from where `E::COPY` points to where `E::TO` does. Returns how many bytes from there
    /// the rest lies.
    fn copy_words(&mut self, words: usize) -> usize {
        if words <= UNROLLED {
            for word in 0..words {
                self.load(DOUBLE, E::WORD, E::COPY, word * 8);
                self.store(DOUBLE, E::WORD, E::TO, word * 8);
            }
            return words * 8;
        }
        self.set(E::END, words as u32 * 8);
        self.operate(E::ADD, E::END, E::END, E::COPY);
        let next = self.code.len();
        self.load(DOUBLE, E::WORD, E::COPY, 0);
        self.store(DOUBLE, E::WORD, E::TO, 0);
        self.add(E::COPY, E::COPY, 8);
        self.add(E::TO, E::TO, 8);
        self.branch_back(E::NOT_EQUAL, E::COPY, E::END, next);
        0
    }

    /// Copies the last `size` bytes, fewer than a word.
    fn copy_tail(&mut self, size: usize, at: usize) {
        if size == 0 {
            return;
        }
        self.load(DOUBLE, E::WORD, E::COPY, at);
        let mut from = 0;
        for piece in tail(size) {
            self.store(piece.trailing_zeros(), E::WORD, E::TO, at + from);
            from += piece;
            if from != size {
                self.put(E::shift_right(E::WORD, piece as u32 * 8));
            }
        }
    }

    /// See [`Getter::Condition`].
    ///
    /// The ABI has no red zone, so the time is written above a lowered stack pointer.
    fn condition(&mut self) -> Emitted {
        let (stale_after, updated, seconds) = (E::TO, E::STATE, E::COPY);
        self.acquire(2, E::OUT, header::STATE_OFFSET);
        let never = self.branch(E::EQUAL, E::OUT, ZERO);
        self.add(E::WORD, ZERO, State::Replaced as i32);
        let replaced = self.branch(E::EQUAL, E::OUT, E::WORD);
        self.add(E::WORD, ZERO, State::Live as i32);
        let stopped = self.branch(E::NOT_EQUAL, E::OUT, E::WORD);
        self.acquire(DOUBLE, stale_after, header::STALE_AFTER_OFFSET);
        self.acquire(DOUBLE, updated, header::UPDATED_OFFSET);
        self.add(E::SP, E::SP, -16);
        let start = self.code.len() - self.start;
        self.add(E::OUT, ZERO, CLOCK_BOOTTIME as i32);
        self.add(E::BEFORE, E::SP, 0);
        self.add(E::NUMBER, ZERO, CLOCK_GETTIME as i32);
        self.put(E::SYSTEM_CALL);
        self.load(DOUBLE, seconds, E::SP, 0);
        self.load(DOUBLE, E::WORD, E::SP, 8);
        self.add(E::SP, E::SP, 16);
        let end = self.code.len() - self.start;
        let failed = self.branch(E::NOT_EQUAL, E::OUT, ZERO);
        self.set(E::END, NANOSECONDS);
        self.operate(E::MULTIPLY, seconds, seconds, E::END);
        self.operate(E::ADD, seconds, seconds, E::WORD);
        let future = self.branch(E::LOWER, seconds, updated);
        self.operate(E::SUBTRACT, seconds, seconds, updated);
        let unlimited = self.branch(E::EQUAL, stale_after, ZERO);
        let late = self.branch(E::LOWER, stale_after, seconds);
        self.returns(&[unlimited], 1);
        self.returns(&[failed, future, late], 2);
        self.returns(&[stopped], 3);
        self.returns(&[replaced], 4);
        self.land(never); // the state is 0
        self.put(E::RET);
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
        self.put(E::branch(condition, left, right));
        self.code.len() - 4
    }

    /// Lets the branch at `from` lead here.
    fn land(&mut self, from: usize) {
        self.set_distance(from, self.code.len() as i64 - from as i64);
    }

    /// Sets the distance of a branch in bytes.
    fn set_distance(&mut self, from: usize, distance: i64) {
        let field = E::distance(distance);
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
        self.add(E::OUT, ZERO, number as i32);
        self.put(E::RET);
    }
}
