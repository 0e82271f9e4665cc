//! 64-bit RISC-V.
//!
//! The first four bytes of the function become a jump. They are one instruction, or two compressed ones, or a
//! compressed one and half of the next. So no thread may be behind the first of them when the change comes:
//! none is let into the vDSO. The jump reaches 1 MiB, the object may lie anywhere: between them is a
//! *slot*, which also has the instructions that were replaced, followed by a jump to the rest of the
//! function.

/// `c.nop`.
const NOP: [u8; 2] = 0x0001_u16.to_le_bytes();
/// `ebreak`.
const EBREAK: [u8; 4] = 0x0010_0073_u32.to_le_bytes();

/// Bytes of a slot.
pub(crate) const LENGTH: u64 = 40;
/// The code that leads to the kernel's function, in bytes from the slot's start.
pub(crate) const KERNELS: u64 = 24;
/// How far a jump reaches, less than it does, since the image has some pages.
pub(crate) const REACH: u64 = 1000 << 10;
/// Bytes of a jump.
const JUMP: usize = 4;

/// Which instruction of a function of these bytes is replaced, in bytes from its start: the first. `None`:
/// it has too few.
pub(crate) fn replaced(function: &[u8]) -> Option<u64> {
    (function.len() >= JUMP).then_some(0)
}

/// The slot for the function at `address`, of which `function` is the first bytes, and its target in
/// the object. The slot lies at `slot`.
///
/// `None`: a replaced instruction depends on its address, or the slot is too far away.
pub(crate) fn compose(
    slot: u64,
    address: u64,
    function: &[u8],
    target: u64,
) -> Option<[u8; LENGTH as usize]> {
    /// Room for the instructions that are replaced, whose last may begin at the jump's last half.
    const MOVED: usize = 8;
    let mut moved = 0;
    while moved < JUMP {
        let instruction = function.get(moved..)?;
        moved += length(instruction)?;
    }
    let mut bytes = Vec::with_capacity(LENGTH as usize);
    bytes.extend(forward());
    bytes.extend(target.to_le_bytes());
    bytes.extend(function.get(..moved)?);
    while bytes.len() < KERNELS as usize + MOVED {
        bytes.extend(NOP);
    }
    let here = slot + bytes.len() as u64;
    bytes.extend(branch(here, address + moved as u64)?.to_le_bytes());
    bytes.extend(EBREAK);
    bytes.try_into().ok()
}

/// `auipc t2, 0; ld t2, 16(t2); jr t2; ebreak`: a jump to the address in the word behind it. A jump
/// through t2 may lead to any instruction also where landing pads are required (Zicfilp).
fn forward() -> [u8; 16] {
    let mut bytes = [0; 16];
    let code = [0x0000_0397_u32, 0x0103_b383, 0x0003_8067].map(u32::to_le_bytes);
    bytes[..12].copy_from_slice(code.as_flattened());
    bytes[12..].copy_from_slice(&EBREAK);
    bytes
}

/// `j`, at the address `from` (`jal zero`). `None`: `to` is too far away.
pub(crate) fn branch(from: u64, to: u64) -> Option<u32> {
    const REACH: i64 = 1 << 20;
    let distance = to.wrapping_sub(from) as i64;
    let bits = |high: u32, low: u32| (distance as u32 >> low) & ((1 << (high - low + 1)) - 1);
    (-REACH..REACH).contains(&distance).then(|| {
        0x6f | bits(20, 20) << 31 | bits(10, 1) << 21 | bits(11, 11) << 20 | bits(19, 12) << 12
    })
}

/// Bytes of the first instruction of `code`. `None`: it depends on its address, as branches, jumps and
/// `auipc` do, or a return address of it would be another at another place (The RISC-V Instruction Set Manual,
/// volume I, "RV32/64G Instruction Set Listings" and "RVC Instruction Set Listings").
fn length(code: &[u8]) -> Option<usize> {
    let half = u16::from_le_bytes(*code.first_chunk()?);
    let (quadrant, function) = (half & 3, half >> 13);
    if quadrant == 3 {
        // Longer than 32 bits: 0b11111 at the end.
        let is_longer = half & 0x1c == 0x1c;
        // auipc, branches, jalr, jal
        let depends = matches!(half & 0x7f, 0x17 | 0x63 | 0x67 | 0x6f);
        return (!is_longer && !depends && code.len() >= 4).then_some(4);
    }
    // c.j, c.beqz and c.bnez; c.jr and c.jalr, which are c.mv and c.add without a second register.
    let jumps = quadrant == 1 && function >= 5;
    let jumps = jumps || (quadrant == 2 && function == 4 && half & 0x7c == 0);
    (!jumps).then_some(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK_GETTIME: u64 = 0x3f_f7ff_55ba;

    fn word(bytes: &[u8], at: usize) -> u32 {
        let bytes = bytes[at..].first_chunk().copied();
        u32::from_le_bytes(bytes.expect("four bytes"))
    }

    /// `addi sp, sp, -16; sd s0, 0(sp); sd ra, 8(sp)`, as 6.12's `__vdso_clock_gettime` begins: each has
    /// two bytes.
    #[test]
    fn two_compressed_instructions_are_replaced() {
        let function = [0x41, 0x11, 0x22, 0xe0, 0x06, 0xe4];
        let slot = CLOCK_GETTIME + 0x2_0006;
        let target = 0x1234_5678_9abc;
        let bytes = compose(slot, CLOCK_GETTIME, &function, target).expect("it is near");
        assert_eq!(bytes[16..24], u64::to_le_bytes(target));
        assert_eq!(bytes[24..], [&function[..4], &bytes[28..]].concat());
        assert_eq!(bytes[28..32], [NOP, NOP].concat());
        let back = branch(slot + 32, CLOCK_GETTIME + 4);
        assert_eq!(Some(word(&bytes, 32)), back);
    }

    /// `li a7, 168; ecall`, as `__vdso_getcpu` begins; and a compressed instruction before one of four bytes.
    #[test]
    fn an_instruction_is_moved_as_a_whole() {
        let getcpu = [0x93, 0x08, 0x80, 0x0a, 0x73, 0, 0, 0];
        let bytes = compose(0x2_0000, 0x1_0000, &getcpu, 0).expect("it is near");
        assert_eq!(bytes[24..32], [&getcpu[..4], &NOP, &NOP].concat());
        assert_eq!(Some(word(&bytes, 32)), branch(0x2_0020, 0x1_0004));
        let mixed = [0x41, 0x11, 0x93, 0x08, 0x80, 0x0a];
        let bytes = compose(0x2_0000, 0x1_0000, &mixed, 0).expect("it is near");
        assert_eq!(bytes[24..32], [&mixed[..], &NOP].concat());
        assert_eq!(Some(word(&bytes, 32)), branch(0x2_0020, 0x1_0006));
        assert_eq!(compose(0x2_0000, 0x1_0000, &mixed[..4], 0), None);
    }

    #[test]
    fn an_instruction_that_depends_on_its_address_is_refused() {
        let long = [
            0xffff_d697_u32, // auipc a3, 0xffffd
            0x0aa7_e463,     // bltu a5, a0, .+168
            0x0003_8067,     // jr t2
            0x0000_00ef,     // jal .
        ];
        for instruction in long {
            assert_eq!(length(&instruction.to_le_bytes()), None, "{instruction:#x}");
        }
        let short = [
            0xa001_u16, // j .
            0xc14d,     // beqz a0, .+162
            0xe7b9,     // bnez a5, .+78
            0x8082,     // ret
            0x9382,     // jalr t2
        ];
        for instruction in short {
            assert_eq!(length(&instruction.to_le_bytes()), None, "{instruction:#x}");
        }
        // mv a0, a1; add a7, a7, a0; sd s0, 0(sp)
        for instruction in [0x852e_u16, 0x98aa, 0xe022] {
            assert_eq!(length(&instruction.to_le_bytes()), Some(2));
        }
    }

    #[test]
    fn a_jump_reaches_1_mib() {
        // As an assembler encodes `j .+4`, `j .-4`, `j .+2048` and `j .-1048576`.
        assert_eq!(branch(0x1000, 0x1004), Some(0x0040_006f));
        assert_eq!(branch(0x1000, 0xffc), Some(0xffdf_f06f));
        assert_eq!(branch(0, 2048), Some(0x0010_006f));
        assert_eq!(branch(1 << 20, 0), Some(0x8000_006f));
        assert_eq!(branch(0, 1 << 20), None);
        assert_eq!(branch((1 << 20) + 2, 0), None);
    }
}
