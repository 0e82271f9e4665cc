//! A small assembler for BPF.
//!
//! Source: Documentation/bpf/standardization/instruction-set.rst. An instruction is
//! eight bytes: operation, two registers of four bits each, a 16-bit offset and a
//! 32-bit immediate; a 64-bit immediate takes two.

use crate::Error;
use crate::btf::TypeId;

/// A register. `R0` is what a call returns, `R1` to `R5` are its arguments and lost
/// after it, `R6` to `R9` survive it, `R10` is the frame's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6 = 6,
    R7,
    R8,
    R9,
    R10,
}

/// Bytes that a load or store moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    W1 = 0x10,
    W2 = 0x08,
    W4 = 0x00,
    W8 = 0x18,
}

/// A condition between a register and an immediate or another register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Equal = 0x10,
    NotEqual = 0x50,
    Below = 0xa0,
    NotBelow = 0x30,
}

/// Arithmetic on 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Add = 0x00,
    Subtract = 0x10,
    Multiply = 0x20,
    /// Unsigned; by 0 it gives 0.
    Divide = 0x30,
    Or = 0x40,
    And = 0x50,
    ShiftLeft = 0x60,
    ShiftRight = 0x70,
    ShiftRightSigned = 0xc0,
    Move = 0xb0,
}

/// A helper of the kernel's (enum bpf_func_id in include/uapi/linux/bpf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Helper {
    MapLookupElem = 1,
    GetSmpProcessorId = 8,
    ProbeReadKernel = 113,
    KtimeGetBootNs = 125,
    PerCpuPtr = 153,
    ThisCpuPtr = 154,
}

/// A place in the program that jumps lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label(usize);

mod class {
    pub(super) const LOAD_IMMEDIATE: u8 = 0x18;
    pub(super) const LOAD: u8 = 0x61;
    pub(super) const STORE: u8 = 0x63;
    pub(super) const ATOMIC: u8 = 0xdb;
    pub(super) const JUMP: u8 = 0x05;
    pub(super) const CALL: u8 = 0x85;
    pub(super) const EXIT: u8 = 0x95;
    pub(super) const ALU64: u8 = 0x07;
    pub(super) const BY_REGISTER: u8 = 0x08;
}

/// What the "source register" of a 64-bit immediate makes of it.
mod pseudo {
    pub(super) const PLAIN: u8 = 0;
    pub(super) const MAP: u8 = 1;
    pub(super) const MAP_VALUE: u8 = 2;
    pub(super) const BTF_ID: u8 = 3;
}

/// The "source register" of a call that BTF names, instead of a helper's number.
const BY_TYPE: u8 = 2;

/// Atomic operations, in the immediate.
mod atomic {
    pub(super) const ADD: i32 = 0;
    pub(super) const EXCHANGE: i32 = 0xe1;
}

/// A program in the making.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    code: Vec<[u8; 8]>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<Option<usize>>,
}

impl Assembler {
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Lets a label stand for the next instruction.
    pub(crate) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// Whether any jump so far leads there: the verifier refuses what nothing reaches.
    pub(crate) fn is_used(&self, label: Label) -> bool {
        self.jumps.iter().any(|&(_, to)| to == label)
    }

    pub(crate) fn immediate(&mut self, operation: Operation, to: Register, value: i32) {
        self.emit(class::ALU64 | operation as u8, to, 0, 0, value);
    }

    pub(crate) fn register(&mut self, operation: Operation, to: Register, from: Register) {
        let code = class::ALU64 | class::BY_REGISTER | operation as u8;
        self.emit(code, to, from as u8, 0, 0);
    }

    /// `to = *(from + offset)`, zero-extended.
    pub(crate) fn load(&mut self, width: Width, to: Register, from: Register, offset: i16) {
        self.emit(class::LOAD | width as u8, to, from as u8, offset, 0);
    }

    /// `*(to + offset) = from`: one store of that width.
    pub(crate) fn store(&mut self, width: Width, to: Register, offset: i16, from: Register) {
        self.emit(class::STORE | width as u8, to, from as u8, offset, 0);
    }

    /// `*to += from` for 8 bytes, atomically.
    pub(crate) fn atomic_add(&mut self, to: Register, from: Register) {
        self.emit(class::ATOMIC, to, from as u8, 0, atomic::ADD);
    }

    /// Exchanges the 8 bytes at `to + offset` with `with`, atomically: a full barrier
    /// in the kernel's memory model, as all its atomic operations that return a value.
    pub(crate) fn exchange(&mut self, to: Register, offset: i16, with: Register) {
        self.emit(class::ATOMIC, to, with as u8, offset, atomic::EXCHANGE);
    }

    pub(crate) fn constant(&mut self, to: Register, value: u64) {
        let (low, high) = halves(value);
        self.wide(to, pseudo::PLAIN, low, high);
    }

    /// The address of a byte in the only element of an array map.
    pub(crate) fn map_value(&mut self, to: Register, map: i32, offset: u32) {
        self.wide(to, pseudo::MAP_VALUE, map, offset.cast_signed());
    }

    /// A map, for [`Helper::MapLookupElem`].
    pub(crate) fn map(&mut self, to: Register, map: i32) {
        self.wide(to, pseudo::MAP, map, 0);
    }

    /// A per-CPU variable of the kernel's, for [`Helper::PerCpuPtr`] and [`Helper::ThisCpuPtr`].
    pub(crate) fn variable(&mut self, to: Register, variable: TypeId) {
        self.wide(to, pseudo::BTF_ID, variable.cast_signed(), 0);
    }

    pub(crate) fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(class::JUMP, Register::R0, 0, 0, 0);
    }

    pub(crate) fn jump_if(&mut self, left: Register, when: When, right: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(class::JUMP | when as u8, left, 0, 0, right);
    }

    pub(crate) fn jump_if_register(
        &mut self,
        left: Register,
        when: When,
        right: Register,
        to: Label,
    ) {
        self.jumps.push((self.code.len(), to));
        let code = class::JUMP | class::BY_REGISTER | when as u8;
        self.emit(code, left, right as u8, 0, 0);
    }

    pub(crate) fn call(&mut self, helper: Helper) {
        self.emit(class::CALL, Register::R0, 0, 0, helper as i32);
    }

    /// Calls a function of the kernel's that is open to programs, by its number in BTF.
    pub(crate) fn call_function(&mut self, function: TypeId) {
        let number = function.cast_signed();
        self.emit(class::CALL, Register::R0, BY_TYPE, 0, number);
    }

    /// Returns 0, the only thing that these programs may return.
    pub(crate) fn exit(&mut self) {
        self.immediate(Operation::Move, Register::R0, 0);
        self.emit(class::EXIT, Register::R0, 0, 0, 0);
    }

    /// The finished program.
    ///
    /// # Errors
    /// [`Error::TooMuch`] when a jump leads further than an instruction can say.
    pub(crate) fn finish(mut self) -> Result<Vec<[u8; 8]>, Error> {
        for (from, label) in self.jumps {
            let to = self.labels[label.0].ok_or(Error::TooMuch)?;
            let distance = to.cast_signed() - from.cast_signed() - 1;
            let distance = i16::try_from(distance).map_err(|_| Error::TooMuch)?;
            self.code[from][2..4].copy_from_slice(&distance.to_ne_bytes());
        }
        Ok(self.code)
    }

    fn wide(&mut self, to: Register, pseudo: u8, low: i32, high: i32) {
        self.emit(class::LOAD_IMMEDIATE, to, pseudo, 0, low);
        self.emit(0, Register::R0, 0, 0, high);
    }

    fn emit(&mut self, code: u8, to: Register, from: u8, offset: i16, immediate: i32) {
        // The registers' bit-fields follow the machine's byte order.
        let registers = if cfg!(target_endian = "little") {
            to as u8 | from << 4
        } else {
            (to as u8) << 4 | from
        };
        let mut bytes = [code, registers, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
        bytes[4..].copy_from_slice(&immediate.to_ne_bytes());
        self.code.push(bytes);
    }
}

fn halves(value: u64) -> (i32, i32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (
        i32::from_le_bytes([a, b, c, d]),
        i32::from_le_bytes([e, f, g, h]),
    )
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_encoded_as_the_specification_has_them() {
        let mut asm = Assembler::default();
        let end = asm.label();
        asm.immediate(Operation::Move, Register::R6, -1);
        asm.load(Width::W8, Register::R1, Register::R10, -8);
        asm.store(Width::W4, Register::R6, 4, Register::R1);
        asm.jump_if(Register::R0, When::NotEqual, 0, end);
        asm.constant(Register::R3, 0xffff_ffff_8200_0010);
        asm.exchange(Register::R1, 0, Register::R2);
        asm.call(Helper::ProbeReadKernel);
        asm.place(end);
        asm.exit();
        let code: Vec<u64> = asm
            .finish()
            .unwrap()
            .into_iter()
            .map(u64::from_le_bytes)
            .collect();
        assert_eq!(
            code,
            [
                0xffff_ffff_0000_06b7, // r6 = -1
                0x0000_0000_fff8_a179, // r1 = *(u64 *)(r10 - 8)
                0x0000_0000_0004_1663, // *(u32 *)(r6 + 4) = r1
                0x0000_0000_0004_0055, // if r0 != 0 goto +4
                0x8200_0010_0000_0318, // r3 = 0xffffffff82000010
                0xffff_ffff_0000_0000,
                0x0000_00e1_0000_21db, // r2 = xchg(r1, r2)
                0x0000_0071_0000_0085, // call 113
                0x0000_0000_0000_00b7, // r0 = 0
                0x0000_0000_0000_0095, // exit
            ]
        );
    }

    #[test]
    fn a_jump_that_is_too_far_is_refused() {
        let mut asm = Assembler::default();
        let far = asm.label();
        asm.jump(far);
        for _ in 0..40_000 {
            asm.exit();
        }
        asm.place(far);
        assert!(matches!(asm.finish(), Err(Error::TooMuch)));
    }
}
