//! The code by which one function of AArch64's vDSO leads to an object's, and how that reaches the
//! kernel's.
//!
//! One instruction of the function becomes a branch: its first, or the one behind that if the first is
//! a landing pad (BTI), which has to stay one. So a thread that is anywhere in the function when the
//! change comes goes on in it, or takes the branch with the registers of a call. The branch reaches
//! 128 MiB, the object may lie anywhere: between them is a *slot*, which also has the instruction that
//! was replaced, followed by a branch to the rest of the function.

/// `bti c`, `bti jc`: landing pads of calls.
const BTI_C: u32 = 0xd503_245f;
const BTI_JC: u32 = 0xd503_24df;
/// Instructions that sign the return address, and are landing pads, and those that undo it.
const SIGNATURES: [(u32, u32); 2] = [(0xd503_233f, 0xd503_23bf), (0xd503_237f, 0xd503_23ff)];
const NOP: u32 = 0xd503_201f;
const BRK: u32 = 0xd420_0000;
/// `br x16`. With x16 it may lead to a landing pad of functions (`bti c`).
const BR_X16: u32 = 0xd61f_0200;
/// `ldr Xn, word`, the word being three instructions on.
const LOAD: u32 = 0x5800_0000 | 3 << 5;

/// Bytes of a slot.
pub(crate) const LENGTH: u64 = 48;
/// The code that leads to the kernel's function, in bytes from the slot's start.
pub(crate) const KERNELS: u64 = 24;

/// How far a branch reaches, less than it does, since the image has some pages.
pub(crate) const REACH: u64 = 127 << 20;

/// Which instruction of a function of these bytes is replaced, in bytes from its start. `None`: it has
/// too few.
pub(crate) fn replaced(function: &[u8]) -> Option<u64> {
    let first = instruction(function, 0)?;
    let signs = SIGNATURES.iter().any(|&(sign, _)| sign == first);
    let at = if signs || matches!(first, BTI_C | BTI_JC) {
        4
    } else {
        0
    };
    instruction(function, at).map(|_| at as u64)
}

/// The instruction at the byte `at` of a function.
fn instruction(function: &[u8], at: usize) -> Option<u32> {
    let bytes = function.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// The slot for the function at the address `address`, of which `function` is the first bytes, and its
/// target in the object. The slot lies at `slot`.
///
/// `None`: the replaced instruction depends on its address in a way that no slot is made for, or the slot
/// is too far away.
pub(crate) fn compose(
    slot: u64,
    address: u64,
    function: &[u8],
    target: u64,
) -> Option<[u8; LENGTH as usize]> {
    let offset = replaced(function)?;
    let at = address + offset;
    let (first, original) = (
        instruction(function, 0)?,
        instruction(function, offset as usize)?,
    );
    let signature = SIGNATURES.iter().find(|&&(sign, _)| sign == first);
    let pad = if offset == 0 { BTI_C } else { first };
    let (moved, value) = match moved(original, at)? {
        Moved::Same => (original, 0),
        Moved::Load(register, value) => (LOAD | register, value),
    };
    let [target, value] = [target, value].map(|word| [word as u32, (word >> 32) as u32]);
    let code = [
        signature.map_or(NOP, |&(_, undo)| undo),
        // x16 may change between a call and the function called (AAPCS64, 6.1.1).
        LOAD | 16,
        BR_X16,
        BRK,
        target[0],
        target[1],
        pad,
        moved,
        branch(slot + 32, at + 4)?,
        BRK,
        value[0],
        value[1],
    ];
    let mut bytes = [0; LENGTH as usize];
    for (bytes, instruction) in bytes.as_chunks_mut().0.iter_mut().zip(code) {
        *bytes = instruction.to_le_bytes();
    }
    Some(bytes)
}

/// `b`, at the address `from`. `None`: `to` is too far away.
pub(crate) fn branch(from: u64, to: u64) -> Option<u32> {
    const REACH: i64 = 1 << 27;
    let distance = to.wrapping_sub(from) as i64;
    (-REACH..REACH)
        .contains(&distance)
        .then_some(0x1400_0000 | (distance >> 2) as u32 & 0x3ff_ffff)
}

/// What an instruction becomes at another address.
#[derive(Debug, PartialEq, Eq)]
enum Moved {
    Same,
    /// It puts this address into this register.
    Load(u32, u64),
}

/// `None`: the instruction is a branch, or loads from an address beside it (Arm Architecture Reference
/// Manual, C4.1).
fn moved(instruction: u32, at: u64) -> Option<Moved> {
    // B and BL; B.cond; CBZ and CBNZ, TBZ and TBNZ; LDR (literal).
    let relative = [
        (0x7c00_0000, 0x1400_0000),
        (0xff00_0000, 0x5400_0000),
        (0x7c00_0000, 0x3400_0000),
        (0x3b00_0000, 0x1800_0000),
    ];
    if relative
        .iter()
        .any(|&(mask, bits)| instruction & mask == bits)
    {
        return None;
    }
    let register = instruction & 31;
    let high = (instruction >> 5 & 0x7_ffff) as i64;
    // 21 bits with a sign.
    let value = (high << 2 | (instruction >> 29 & 3) as i64) << 43 >> 43;
    Some(match instruction & 0x9f00_0000 {
        // ADR, ADRP
        0x1000_0000 => Moved::Load(register, at.wrapping_add_signed(value)),
        0x9000_0000 => Moved::Load(register, (at & !0xfff).wrapping_add_signed(value << 12)),
        _ => Moved::Same,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK_GETTIME: u64 = 0xffff_8000_0340;

    fn words(bytes: &[u8]) -> Vec<u32> {
        let words = bytes.as_chunks().0.iter();
        words.map(|word| u32::from_le_bytes(*word)).collect()
    }

    /// `cmp w0, #15`, as 6.12's `__kernel_clock_gettime` begins.
    #[test]
    fn the_first_instruction_is_replaced_where_no_landing_pad_is_lost() {
        const COMPARE: u32 = 0x7100_3c1f;
        let function = COMPARE.to_le_bytes();
        assert_eq!(replaced(&function), Some(0));
        let slot = CLOCK_GETTIME - 0x1_0000;
        let target = 0x1234_5678_9abc;
        let bytes = compose(slot, CLOCK_GETTIME, &function, target).expect("it is near");
        let words = words(&bytes);
        assert_eq!(words[..3], [NOP, 0x5800_0070, BR_X16]);
        assert_eq!(words[4..6], [0x5678_9abc, 0x1234]);
        assert_eq!(words[KERNELS as usize / 4..][..2], [BTI_C, COMPARE]);
        assert_eq!(Some(words[8]), branch(slot + 32, CLOCK_GETTIME + 4));
    }

    /// `paciasp; cmp w0, #15`, as 6.1's begins.
    #[test]
    fn a_return_address_that_was_signed_is_as_it_was_called_with() {
        let [sign, compare] = [0xd503_233f, 0x7100_3c1f];
        let function = [sign, compare].map(u32::to_le_bytes);
        let function = function.as_flattened();
        assert_eq!(replaced(function), Some(4));
        assert_eq!(replaced(&function[..4]), None);
        let slot = CLOCK_GETTIME + 0x1_0000;
        let bytes = compose(slot, CLOCK_GETTIME, function, 0).expect("it is near");
        let words = words(&bytes);
        assert_eq!(words[0], 0xd503_23bf);
        assert_eq!(words[6..8], [sign, compare]);
        assert_eq!(Some(words[8]), branch(slot + 32, CLOCK_GETTIME + 8));
    }

    /// `adr x3, .` as `__kernel_gettimeofday` begins.
    #[test]
    fn an_address_beside_the_instruction_is_loaded_instead() {
        let (gettimeofday, vvar) = (0xffff_8000_2570, 0xffff_8000_0000);
        assert_eq!(moved(0x10fe_d483, gettimeofday), Some(Moved::Load(3, vvar)));
        let page = 0xb000_0000;
        assert_eq!(moved(page, 0x5678), Some(Moved::Load(0, 0x6000)));
        let function = 0x10fe_d483_u32.to_le_bytes();
        let bytes = compose(vvar, gettimeofday, &function, 0).expect("it is near");
        assert_eq!(words(&bytes)[7], 0x5800_0063);
        assert_eq!(words(&bytes)[10..], [0x8000_0000, 0xffff]);
    }

    #[test]
    fn an_instruction_that_depends_on_its_address_is_refused() {
        // b, bl, b.hi, cbz, tbnz, ldr (literal)
        let relative = [
            0x1400_0001,
            0x9400_0001,
            0x5400_05e8,
            0xb400_0500,
            0x3700_06a5,
            0x5800_0050,
        ];
        for instruction in relative {
            assert_eq!(moved(instruction, 0x1000), None, "{instruction:#x}");
        }
        // mov x8, #139; stp x29, x30, [sp, #-128]!; ret
        for instruction in [0xd280_1168, 0xa9b8_7bfd, 0xd65f_03c0] {
            assert_eq!(moved(instruction, 0x1000), Some(Moved::Same));
        }
    }

    #[test]
    fn a_branch_reaches_128_mib() {
        assert_eq!(branch(0x1000, 0x1004), Some(0x1400_0001));
        assert_eq!(branch(0x1000, 0xffc), Some(0x17ff_ffff));
        assert_eq!(branch(0, (1 << 27) - 4), Some(0x15ff_ffff));
        assert_eq!(branch(0, 1 << 27), None);
        assert_eq!(branch((1 << 27) + 4, 0), None);
    }
}
