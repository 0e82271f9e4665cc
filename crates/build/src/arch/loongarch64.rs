//! LoongArch, 64 bits: the ABI lp64d of the LoongArch ELF psABI, instruction encodings of the
//! LoongArch Reference Manual (volume 1, appendix B, "Table of Instruction Encoding").
//!
//! An acquire load is a load with `dbar 0x14` behind it, and an acquire fence the latter: the hint
//! orders reads before it with reads and writes behind it (`ldacq_mb` in Linux 6.6's
//! arch/loongarch/include/asm/barrier.h). A CPU that does not know a hint does what `dbar 0` does,
//! which orders everything (Reference Manual, volume 1, "DBAR"); so Linux uses one hint on every CPU.
//!
//! [`risc`](super::risc) has the functions.

use super::risc::{Encoding, RA, emit};
use super::{Target, Unwind};
use object::elf;

pub(super) const TARGET: Target = Target {
    // psABI, "ELF Header": the floating-point ABI, and the second version of relocations. Linkers
    // compare the ABI with the program's.
    flags: elf::FileFlags(elf::EF_LARCH_ABI_DOUBLE_FLOAT.0 | elf::EF_LARCH_OBJABI_V1.0),
    function_align: 16,
    filler: &BREAK.to_le_bytes(),
    unwind: Unwind {
        return_address: RA as u8,
        data_alignment: -8,
        // The frame address is sp; the return address is still in ra. DWARF's numbers of the
        // general registers are their own (LoongArch DWARF specification).
        initial: &[0x0c, Loongarch64::SP as u8, 0],
        frame_offset: 0,
    },
    emit: emit::<Loongarch64>,
};

const BREAK: u32 = 0x002a_0000;

struct Loongarch64;

impl Encoding for Loongarch64 {
    const SP: u32 = 3;
    /// a7
    const NUMBER: u32 = 11;
    // a0 to a6, t0 and t1. A system call keeps a1 to a6, and may change t0 to t8 (glibc,
    // sysdeps/unix/sysv/linux/loongarch/sysdep.h, `__SYSCALL_CLOBBERS`).
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
    /// `syscall 0`
    const SYSTEM_CALL: u32 = 0x002b_0000;
    /// `dbar 0x14`
    const ACQUIRE: u32 = 0x3872_0014;
    const WITHOUT_SIGN: u32 = 8;

    // `beq`, `bne` and `bltu`.
    const EQUAL: u32 = 0x5800_0000;
    const NOT_EQUAL: u32 = 0x5c00_0000;
    const LOWER: u32 = 0x6800_0000;

    // `add.d`, `sub.d`, `sltu` and `mul.d`.
    const ADD: u32 = 0x0010_8000;
    const SUBTRACT: u32 = 0x0011_8000;
    const SET_IF_LOWER: u32 = 0x0012_8000;
    const MULTIPLY: u32 = 0x001d_8000;

    /// `addi.d to, from, immediate`
    fn add(to: u32, from: u32, immediate: i32) -> u32 {
        0x02c0_0000 | (immediate as u32 & 0xfff) << 10 | from << 5 | to
    }

    /// `ld.{b,h,w,d,bu,hu,wu} to, base, offset`
    fn load(kind: u32, to: u32, base: u32, offset: usize) -> u32 {
        0x2800_0000 | kind << 22 | (offset as u32) << 10 | base << 5 | to
    }

    /// `st.{b,h,w,d} from, base, offset`
    fn store(kind: u32, from: u32, base: u32, offset: usize) -> u32 {
        0x2900_0000 | kind << 22 | (offset as u32) << 10 | base << 5 | from
    }

    fn operate(operation: u32, to: u32, left: u32, right: u32) -> u32 {
        operation | right << 10 | left << 5 | to
    }

    /// `andi to, from, 1`
    fn lowest_bit(to: u32, from: u32) -> u32 {
        0x0340_0000 | 1 << 10 | from << 5 | to
    }

    /// `srli.d register, register, bits`
    fn shift_right(register: u32, bits: u32) -> u32 {
        0x0045_0000 | bits << 10 | register << 5 | register
    }

    /// `movgr2fr.d fa0, a0` and `movgr2fr.w fa0, a0`
    fn result_in_float(is_double: bool) -> u32 {
        let operation = if is_double { 0x0114_a800 } else { 0x0114_a400 };
        operation | Self::OUT << 5
    }

    /// `lu12i.w` and `ori`
    fn set(register: u32, number: u32) -> [u32; 2] {
        [
            0x1400_0000 | number >> 12 << 5 | register,
            0x0380_0000 | (number & 0xfff) << 10 | register << 5 | register,
        ]
    }

    /// `pcaddu12i`
    fn near(register: u32, distance: u32) -> u32 {
        0x1c00_0000 | distance.wrapping_add(0x800) >> 12 << 5 | register
    }

    fn branch(condition: u32, left: u32, right: u32) -> u32 {
        condition | left << 5 | right
    }

    /// Bits 10 to 25, in words.
    fn distance(bytes: i64) -> u32 {
        ((bytes / 4) as u32 & 0xffff) << 10
    }
}
