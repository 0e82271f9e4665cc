//! How the program comes by a value: from memory, as a sum over all CPUs, from the clock.

use super::{Writer, frame};
use crate::asm::{Helper, Label, Operation, Register, When, Width};
use crate::btf::TypeId;
use crate::kernel::{Base, Fetch, Guard, Value};
use Register::{R0, R1, R2, R3, R8, R9, R10};
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

impl Writer {
    /// Leaves a scalar's bits, as wide as it is in the pages, in R1.
    pub(super) fn number(&mut self, value: &Value, fail: Label) {
        let (size, signed) = match value.found {
            Type::Scalar(scalar) => (scalar.size(), scalar.is_signed()),
            // Only a scalar agrees with a scalar.
            Type::Array(..) | Type::Text(_) => (8, false),
        };
        let widens = signed && value.ty.size() > size;
        match &value.fetch {
            Fetch::Memory { base, offsets } if value.guard == Guard::Words => {
                self.checked_word(value, *base, offsets, fail);
                self.part_of_word(R1, value.fetch.place_in_word(), size);
                self.widen(R1, size, widens);
            }
            Fetch::Memory { base, offsets } => {
                match offsets.as_slice() {
                    [offset] if self.pointer(*base, *offset) => {
                        self.asm.load(width(size), R1, R0, 0);
                    }
                    _ => {
                        self.address(value, fail);
                        self.asm.register(Operation::Move, R1, R10);
                        self.asm
                            .immediate(Operation::Add, R1, frame::SCRATCH.into());
                        self.read(size as i32, 0, fail);
                        self.asm.load(width(size), R1, R10, frame::SCRATCH);
                    }
                }
                self.widen(R1, size, widens);
                if matches!(value.found, Type::Scalar(found) if is_guarded(value, found)) {
                    self.guard(fail);
                }
            }
            Fetch::Sum { variable, offset } => {
                let guarded =
                    matches!(value.found, Type::Scalar(found) if is_guarded(value, found));
                let guard = guarded.then_some(fail);
                self.sum(*variable, *offset, size, widens, guard);
            }
            Fetch::Uptime => self.asm.load(Width::W8, R1, R10, frame::NOW),
        }
    }

    /// Leaves the aligned word that a number lies in in R1, unless it may be an address.
    fn checked_word(&mut self, value: &Value, base: Base, offsets: &[i32], fail: Label) {
        let place = i32::from(value.fetch.place_in_word());
        match (base, offsets) {
            // The kernel's own type of an argument does not have a word there.
            (Base::Address(_), [offset]) if self.pointer(base, offset - place) => {
                self.asm.load(Width::W8, R1, R0, 0);
            }
            _ => {
                self.address(value, fail);
                self.asm.register(Operation::Move, R1, R10);
                self.asm
                    .immediate(Operation::Add, R1, frame::SCRATCH.into());
                self.read(8, -place, fail);
                self.asm.load(Width::W8, R1, R10, frame::SCRATCH);
            }
        }
        self.guard(fail);
    }

    /// Takes `size` bytes, `place` bytes behind its start in memory, out of a word.
    fn part_of_word(&mut self, register: Register, place: u8, size: usize) {
        let unused = 64 - 8 * size as i32;
        let before = 8 * i32::from(place);
        let left = match cfg!(target_endian = "little") {
            true => unused - before,
            false => before,
        };
        if unused > 0 {
            self.asm.immediate(Operation::ShiftLeft, register, left);
            self.asm.immediate(Operation::ShiftRight, register, unused);
        }
    }

    /// Leaves a pointer in R0 through which the program may load a number; false when it may
    /// not, and has changed nothing.
    fn pointer(&mut self, base: Base, offset: i32) -> bool {
        match (base, self.setting.cast) {
            (Base::Address(address), Some(cast)) => {
                let address = address.wrapping_add_signed(offset.into());
                self.asm.constant(R1, address);
                self.asm
                    .immediate(Operation::Move, R2, cast.word.cast_signed());
                self.asm.call_function(cast.function);
                true
            }
            (Base::Argument { number, typed }, _) if typed => {
                self.asm.load(Width::W8, R0, R10, frame::CONTEXT);
                self.asm.load(Width::W8, R0, R0, 8 * number);
                self.asm.immediate(Operation::Add, R0, offset);
                true
            }
            _ => false,
        }
    }

    /// Leaves a value's address in R9.
    pub(super) fn address(&mut self, value: &Value, fail: Label) {
        let Fetch::Memory { base, offsets } = &value.fetch else {
            return;
        };
        let (last, pointers) = offsets.split_last().unwrap_or((&0, &[]));
        match base {
            Base::Address(address) => self.asm.constant(R9, *address),
            Base::Argument { number, .. } => {
                self.asm.load(Width::W8, R9, R10, frame::CONTEXT);
                self.asm.load(Width::W8, R9, R9, 8 * number);
            }
        }
        for (n, offset) in pointers.iter().enumerate() {
            if n == 0 && self.pointer(*base, *offset) {
                self.asm.load(Width::W8, R9, R0, 0);
                continue;
            }
            self.asm.register(Operation::Move, R1, R10);
            self.asm
                .immediate(Operation::Add, R1, frame::POINTER.into());
            self.read(8, *offset, fail);
            self.asm.load(Width::W8, R9, R10, frame::POINTER);
        }
        if value.guard == Guard::Words
            && (!pointers.is_empty() || matches!(base, Base::Argument { .. }))
        {
            // An odd pointer would lead to parts of two words.
            self.asm.register(Operation::Move, R2, R9);
            self.asm.immediate(Operation::And, R2, 7);
            self.asm.jump_if(R2, When::NotEqual, 0, fail);
        }
        self.asm.immediate(Operation::Add, R9, *last);
    }

    /// Reads `size` bytes at R9 + `offset` to where R1 points.
    pub(super) fn read(&mut self, size: i32, offset: i32, fail: Label) {
        self.asm.immediate(Operation::Move, R2, size);
        self.asm.register(Operation::Move, R3, R9);
        self.asm.immediate(Operation::Add, R3, offset);
        self.asm.call(Helper::ProbeReadKernel);
        self.asm.jump_if(R0, When::NotEqual, 0, fail);
    }

    /// Adds up what all CPUs have, modulo 2^64: a number that one CPU counts up and
    /// another down is right only as a sum. A single CPU's number may be an address, or the
    /// sum would tell it.
    fn sum(
        &mut self,
        variable: TypeId,
        offset: i16,
        size: usize,
        widens: bool,
        guard: Option<Label>,
    ) {
        let (turn, done) = (self.asm.label(), self.asm.label());
        self.asm.immediate(Operation::Move, R8, 0);
        self.asm.immediate(Operation::Move, R9, 0);
        self.asm.place(turn);
        self.asm.variable(R1, variable);
        self.asm.register(Operation::Move, R2, R9);
        self.asm.call(Helper::PerCpuPtr);
        // Null: there is no such CPU.
        self.asm.jump_if(R0, When::Equal, 0, done);
        self.asm.load(width(size), R1, R0, offset);
        self.widen(R1, size, widens);
        if let Some(fail) = guard {
            self.guard(fail);
        }
        self.asm.register(Operation::Add, R8, R1);
        self.asm.immediate(Operation::Add, R9, 1);
        self.asm.jump_if(R9, When::Below, self.setting.cpus, turn);
        self.asm.place(done);
        self.asm.register(Operation::Move, R1, R8);
    }

    fn widen(&mut self, register: Register, size: usize, signed: bool) {
        if signed {
            let bits = 64 - 8 * size as i32;
            self.asm.immediate(Operation::ShiftLeft, register, bits);
            self.asm
                .immediate(Operation::ShiftRightSigned, register, bits);
        }
    }

    /// Fails when R1 is in the kernel's half of the address space, but for its last 8 MiB. With
    /// five levels of page tables an address has 57 bits, so its upper 8 are all ones; with four,
    /// its upper 17 are. Nothing is mapped in the last 8 MiB (Documentation/arch/x86/x86_64/mm.rst,
    /// FIXADDR_TOP in arch/x86/include/asm/fixmap.h; Documentation/arch/arm64/memory.rst), where
    /// small negative numbers are: what one CPU counts down that another counts up.
    pub(super) fn guard(&mut self, fail: Label) {
        let harmless = self.asm.label();
        self.asm.register(Operation::Move, R2, R1);
        self.asm.immediate(Operation::ShiftRightSigned, R2, 56);
        self.asm.jump_if(R2, When::NotEqual, -1, harmless);
        self.asm.register(Operation::Move, R2, R1);
        self.asm.immediate(Operation::ShiftRightSigned, R2, 23);
        self.asm.jump_if(R2, When::NotEqual, -1, fail);
        self.asm.place(harmless);
    }
}

/// Whether numbers of this type might be addresses.
pub(super) fn is_guarded(value: &Value, scalar: ScalarType) -> bool {
    let number = scalar.size() == 8 && !scalar.is_float();
    match value.guard {
        Guard::Off => false,
        Guard::Unsigned => number && !scalar.is_signed(),
        Guard::All => number,
        Guard::Words => scalar.size() == 8,
    }
}

pub(super) fn width(size: usize) -> Width {
    match size {
        1 => Width::W1,
        2 => Width::W2,
        4 => Width::W4,
        _ => Width::W8,
    }
}
