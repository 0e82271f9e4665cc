//! RISC-V, 64 bits: the ABI lp64d of the RISC-V ELF psABI, instruction encodings of the RISC-V
//! Instruction Set Manual (volume I, "RV32/64G Instruction Set Listings").
//!
//! An acquire load is a load with `fence r,rw` behind it, and an acquire fence the latter (volume I,
//! "Mappings from C/C++ primitives to RISC-V primitives"). [`risc`](super::risc) has the functions.

use super::risc::{Encoding, RA, emit};
use super::{Target, Unwind};
use object::elf;

pub(super) const TARGET: Target = Target {
    // Linkers and glibc's loader compare it with the program's.
    flags: elf::EF_RISCV_FLOAT_ABI_DOUBLE,
    function_align: 16,
    filler: &EBREAK.to_le_bytes(),
    unwind: Unwind {
        return_address: RA as u8,
        data_alignment: -8,
        // The frame address is sp; the return address is still in ra.
        initial: &[0x0c, Riscv64::SP as u8, 0],
        frame_offset: 0,
    },
    emit: emit::<Riscv64>,
};

const EBREAK: u32 = 0x0010_0073;

struct Riscv64;

impl Encoding for Riscv64 {
    const SP: u32 = 2;
    /// a7
    const NUMBER: u32 = 17;
    // a0 to a5 and t0 to t2.
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
    /// `ecall`
    const SYSTEM_CALL: u32 = 0x0000_0073;
    /// `fence r,rw`
    const ACQUIRE: u32 = 0x0230_000f;
    const WITHOUT_SIGN: u32 = 4;

    // `beq`, `bne` and `bltu`.
    const EQUAL: u32 = 0x0063;
    const NOT_EQUAL: u32 = 0x1063;
    const LOWER: u32 = 0x6063;

    // `add`, `sub`, `sltu` and `mul`.
    const ADD: u32 = 0x0000_0033;
    const SUBTRACT: u32 = 0x4000_0033;
    const SET_IF_LOWER: u32 = 0x0000_3033;
    const MULTIPLY: u32 = 0x0200_0033;

    /// `addi to, from, immediate`
    fn add(to: u32, from: u32, immediate: i32) -> u32 {
        (immediate as u32 & 0xfff) << 20 | from << 15 | to << 7 | 0x13
    }

    /// `{lb,lh,lw,ld,lbu,lhu,lwu} to, offset(base)`
    fn load(kind: u32, to: u32, base: u32, offset: usize) -> u32 {
        (offset as u32) << 20 | base << 15 | kind << 12 | to << 7 | 0x03
    }

    /// `{sb,sh,sw,sd} from, offset(base)`
    fn store(kind: u32, from: u32, base: u32, offset: usize) -> u32 {
        let (high, low) = (offset as u32 >> 5, offset as u32 & 0x1f);
        high << 25 | from << 20 | base << 15 | kind << 12 | low << 7 | 0x23
    }

    fn operate(operation: u32, to: u32, left: u32, right: u32) -> u32 {
        operation | right << 20 | left << 15 | to << 7
    }

    /// `andi to, from, 1`
    fn lowest_bit(to: u32, from: u32) -> u32 {
        1 << 20 | from << 15 | 0x7000 | to << 7 | 0x13
    }

    /// `srli register, register, bits`
    fn shift_right(register: u32, bits: u32) -> u32 {
        bits << 20 | register << 15 | 0x5000 | register << 7 | 0x13
    }

    /// `fmv.d.x fa0, a0` and `fmv.w.x fa0, a0`
    fn result_in_float(is_double: bool) -> u32 {
        let operation = if is_double { 0xf200_0053 } else { 0xf000_0053 };
        operation | Self::OUT << 15 | Self::OUT << 7
    }

    /// `lui` and `addi`
    fn set(register: u32, number: u32) -> [u32; 2] {
        [
            (number + 0x800) & 0xffff_f000 | register << 7 | 0x37,
            Self::add(register, register, number as i32),
        ]
    }

    /// `auipc`
    fn near(register: u32, distance: u32) -> u32 {
        distance.wrapping_add(0x800) & 0xffff_f000 | register << 7 | 0x17
    }

    fn branch(condition: u32, left: u32, right: u32) -> u32 {
        right << 20 | left << 15 | condition
    }

    /// Bits 12, 10 to 5, 4 to 1 and 11 of it, from the instruction's highest bit on (B-type).
    fn distance(bytes: i64) -> u32 {
        let distance = bytes as u32;
        (distance >> 12 & 1) << 31
            | (distance >> 5 & 0x3f) << 25
            | (distance >> 1 & 0xf) << 8
            | (distance >> 11 & 1) << 7
    }
}
