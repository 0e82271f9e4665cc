//! i386, for 32-bit programs on x86-64 kernels: psABI of System V for i386, instruction encodings
//! of Intel's manual, volume 2.
//!
//! Loads are not reordered with loads, as on x86-64. Eight bytes are loaded at once through an SSE
//! register, or one of the x87 unit: an aligned load of a quadword is atomic (Intel's manual,
//! volume 3, "Guaranteed Atomic Operations"). Every CPU that runs an x86-64 kernel has SSE2.
//!
//! An instruction can't name an address relative to itself. So each function ends with a second
//! one that returns its return address ([`Text::base`]); a call that is returned from keeps the
//! CPU's prediction of return addresses right.

use super::x86::Code;
use super::{CLOCK_BOOTTIME, Emitted, Getter, NANOSECONDS, Saved, Target, UNROLLED, Unwind, tail};
use object::elf;
use vdsokit_vvar::header::{self, State};
use vdsokit_vvar::latch;
use vdsokit_vvar::scalar::ScalarType;

pub(super) const TARGET: Target = Target {
    flags: elf::FileFlags(0),
    function_align: 16,
    filler: &[0xcc],
    unwind: Unwind {
        return_address: 8,
        data_alignment: -4,
        // The frame address is esp + 4, the return address lies 4 below it.
        initial: &[0x0c, 4, 4, 0x80 | 8, 1],
        frame_offset: 4,
    },
    emit,
};

fn emit(code: &mut Vec<u8>, address: u64, pages: u64, getter: &Getter) -> Emitted {
    let mut text = Text {
        code: Code::new(code),
        address,
        pages,
    };
    text.code.bytes(&[0xe8, 0, 0, 0, 0]); // call base
    let emitted = match *getter {
        Getter::Scalar { ty, offset } => text.scalar(ty, offset),
        Getter::Latch { size, offset } => text.latch(size, offset),
        Getter::Condition => text.condition(),
    };
    text.base();
    emitted
}

/// Bytes of the call that every function begins with.
const CALL: usize = 5;

/// `__NR_clock_gettime64` (asm/unistd_32.h), since Linux 5.1.
const CLOCK_GETTIME64: u32 = 403;

/// `ebx` in DWARF's numbers (psABI, table 2.14).
const EBX: u8 = 3;

/// A function that is being assembled. `eax` is the address behind its first instruction.
struct Text<'c> {
    code: Code<'c>,
    address: u64,
    pages: u64,
}

impl Text<'_> {
    /// The function that returns its return address. Its own return address lies where that of a
    /// function without a frame does, so it needs no unwind rules of its own.
    fn base(&mut self) {
        let distance = (self.code.length() - CALL) as u32;
        self.code.patch(1, &distance.to_le_bytes());
        self.code.bytes(&[0x8b, 0x04, 0x24, 0xc3]); // mov eax, [esp]; ret
    }

    /// An instruction with an operand in the vvar pages, whose address register has the address
    /// behind the function's first instruction.
    fn at_pages(&mut self, opcode: &[u8], offset: usize) {
        self.code.bytes(opcode);
        let here = self.address.wrapping_add(CALL as u64);
        let there = self.pages.wrapping_add(offset as u64);
        // An image is far smaller than 2 GiB: `image` has checked that.
        self.code
            .bytes(&(there.wrapping_sub(here) as i32).to_le_bytes());
    }

    fn scalar(&mut self, ty: ScalarType, offset: usize) -> Emitted {
        let opcode: &[u8] = match ty {
            ScalarType::Bool => {
                // A C bool is 0 or 1 whatever byte the page holds.
                self.at_pages(&[0x80, 0xb8], offset); // cmp byte [eax+d], 0
                self.code.bytes(&[0]);
                self.code.bytes(&[0x0f, 0x95, 0xc0]); // setne al
                &[0x0f, 0xb6, 0xc0] // movzx eax, al
            }
            ScalarType::I64 | ScalarType::U64 => {
                self.at_pages(&[0xf3, 0x0f, 0x7e, 0x80], offset); // movq xmm0, [eax+d]
                self.code.bytes(&[0x66, 0x0f, 0x7e, 0xc0]); // movd eax, xmm0
                self.code.bytes(&[0x66, 0x0f, 0x73, 0xd0, 32]); // psrlq xmm0, 32
                &[0x66, 0x0f, 0x7e, 0xc2] // movd edx, xmm0
            }
            ScalarType::I8 => &[0x0f, 0xbe, 0x80], // movsx eax, byte
            ScalarType::I16 => &[0x0f, 0xbf, 0x80], // movsx eax, word
            ScalarType::U8 => &[0x0f, 0xb6, 0x80], // movzx eax, byte
            ScalarType::U16 => &[0x0f, 0xb7, 0x80], // movzx eax, word
            ScalarType::I32 | ScalarType::U32 => &[0x8b, 0x80], // mov eax
            ScalarType::F32 => &[0xd9, 0x80],      // fld dword
            ScalarType::F64 => &[0xdd, 0x80],      // fld qword
        };
        match ty {
            ScalarType::Bool | ScalarType::I64 | ScalarType::U64 => self.code.bytes(opcode),
            _ => self.at_pages(opcode, offset),
        }
        self.code.bytes(&[0xc3]); // ret
        Emitted::Leaf
    }

    /// The reader's half of [`vdsokit_vvar::latch`].
    ///
    /// eax: the latch. xmm0: the number before. ecx: the copy. edx: out. xmm2: state.
    fn latch(&mut self, size: usize, offset: usize) -> Emitted {
        self.at_pages(&[0x66, 0x0f, 0x6e, 0x90], header::STATE_OFFSET); // movd xmm2, [state]
        self.at_pages(&[0x8d, 0x80], offset); // lea eax, [latch]
        self.code.bytes(&[0x8b, 0x54, 0x24, 4]); // mov edx, [esp+4]
        let again = self.code.length();
        self.code.bytes(&[0xf3, 0x0f, 0x7e, 0x00]); // movq xmm0, [eax]
        self.code.bytes(&[0x66, 0x0f, 0x7e, 0xc1]); // movd ecx, xmm0
        self.code.bytes(&[0x83, 0xe1, 0x01]); // and ecx, 1
        self.code.bytes(&[0x69, 0xc9]); // imul ecx, ecx, stride
        self.code.bytes(&(latch::stride(size) as u32).to_le_bytes());
        self.code.bytes(&[0x8d, 0x4c, 0x08, latch::COPIES as u8]); // lea ecx, [eax+ecx+copies]
        self.copy_words(size / 8);
        self.copy_tail(size);
        self.code.bytes(&[0xf3, 0x0f, 0x7e, 0x08]); // movq xmm1, [eax]
        self.code.bytes(&[0x66, 0x0f, 0x76, 0xc8]); // pcmpeqd xmm1, xmm0
        self.code.bytes(&[0x66, 0x0f, 0xd7, 0xc9]); // pmovmskb ecx, xmm1
        self.code.bytes(&[0x81, 0xf9, 0xff, 0xff, 0, 0]); // cmp ecx, 0xffff
        self.code.repeat(again);
        self.code.bytes(&[0x66, 0x0f, 0x7e, 0xd0]); // movd eax, xmm2
        self.code.bytes(&[0xc3]); // ret
        Emitted::Leaf
    }

    fn copy_words(&mut self, words: usize) {
        if words <= UNROLLED {
            for word in 0..words {
                let displacement = (word as u32 * 8).to_le_bytes();
                self.code.bytes(&[0xf3, 0x0f, 0x7e, 0x89]); // movq xmm1, [ecx+d]
                self.code.bytes(&displacement);
                self.code.bytes(&[0x66, 0x0f, 0xd6, 0x8a]); // movq [edx+d], xmm1
                self.code.bytes(&displacement);
            }
            return;
        }
        self.code.bytes(&[0x66, 0x0f, 0x6e, 0xd8]); // movd xmm3, eax
        self.code.bytes(&[0x31, 0xc0]); // xor eax, eax
        let next = self.code.length();
        self.code.bytes(&[0xf3, 0x0f, 0x7e, 0x0c, 0xc1]); // movq xmm1, [ecx+eax*8]
        self.code.bytes(&[0x66, 0x0f, 0xd6, 0x0c, 0xc2]); // movq [edx+eax*8], xmm1
        self.code.bytes(&[0x40]); // inc eax
        self.code.load_immediate(0x3d, words as u32); // cmp eax, words
        self.code.repeat_short(next);
        self.code.bytes(&[0x66, 0x0f, 0x7e, 0xd8]); // movd eax, xmm3
    }

    fn copy_tail(&mut self, size: usize) {
        let mut at = size / 8 * 8;
        if at == size {
            return;
        }
        self.code.bytes(&[0xf3, 0x0f, 0x7e, 0x89]); // movq xmm1, [ecx+d]
        self.code.bytes(&(at as u32).to_le_bytes());
        for piece in tail(size) {
            let store: &[u8] = match piece {
                4 => &[0x66, 0x0f, 0x7e, 0x8a], // movd [edx+d], xmm1
                narrow => {
                    self.code.bytes(&[0x66, 0x0f, 0x7e, 0xc9]); // movd ecx, xmm1
                    match narrow {
                        2 => &[0x66, 0x89, 0x8a], // mov [edx+d], cx
                        _ => &[0x88, 0x8a],       // mov [edx+d], cl
                    }
                }
            };
            self.code.bytes(store);
            self.code.bytes(&(at as u32).to_le_bytes());
            at += piece;
            if at != size {
                self.code.bytes(&[0x66, 0x0f, 0x73, 0xd1, piece as u8 * 8]); // psrlq xmm1, bits
            }
        }
    }

    /// See [`Getter::Condition`]. xmm0, xmm1: stale_after. xmm2: updated.
    ///
    /// The time lies on the stack, and above it the caller's ebx, in which the system call's first
    /// argument is. i386 has no red zone.
    fn condition(&mut self) -> Emitted {
        const FRAME: u8 = 20;
        const EBX_AT: u8 = 16;
        self.code.bytes(&[0x89, 0xc1]); // mov ecx, eax
        self.at_pages(&[0x8b, 0x81], header::STATE_OFFSET); // mov eax, [state]
        self.code.bytes(&[0x83, 0xf8, State::Live as u8]); // cmp eax, 1
        let live = self.code.jump(0x74); // je
        self.code.bytes(&[0x85, 0xc0]); // test eax, eax
        let never = self.code.jump(0x74); // je
        self.code.bytes(&[0x83, 0xf8, 3]); // cmp eax, 3
        self.code.load_immediate(0xb8, 4); // mov eax
        let replaced = self.code.jump(0x74); // je
        self.code.load_immediate(0xb8, 3); // mov eax
        self.code.land(never);
        self.code.land(replaced);
        self.code.bytes(&[0xc3]); // ret

        self.code.land(live);
        self.at_pages(&[0xf3, 0x0f, 0x7e, 0x81], header::STALE_AFTER_OFFSET); // movq xmm0
        self.at_pages(&[0xf3, 0x0f, 0x7e, 0x91], header::UPDATED_OFFSET); // movq xmm2
        self.code.bytes(&[0x83, 0xec, FRAME]); // sub esp, frame
        let start = self.code.length() as u8;
        self.code.bytes(&[0x89, 0x5c, 0x24, EBX_AT]); // mov [esp+16], ebx
        let saved = self.code.length() as u8;
        self.code.load_immediate(0xbb, CLOCK_BOOTTIME); // mov ebx
        self.code.bytes(&[0x89, 0xe1]); // mov ecx, esp
        self.code.load_immediate(0xb8, CLOCK_GETTIME64); // mov eax
        self.code.bytes(&[0xcd, 0x80]); // int 0x80
        self.code.bytes(&[0x8b, 0x5c, 0x24, EBX_AT]); // mov ebx, [esp+16]
        self.code.bytes(&[0x85, 0xc0]); // test eax, eax
        // The lower half of the seconds: boot time that has more is 136 years.
        self.code.bytes(&[0x8b, 0x04, 0x24]); // mov eax, [esp]
        self.code.bytes(&[0x8b, 0x4c, 0x24, 8]); // mov ecx, [esp+8]
        self.code.bytes(&[0x8d, 0x64, 0x24, FRAME]); // lea esp, [esp+frame]
        let end = self.code.length() as u8;
        let failed = self.code.jump(0x75); // jne
        self.code.load_immediate(0xba, NANOSECONDS); // mov edx
        self.code.bytes(&[0xf7, 0xe2]); // mul edx
        self.code.bytes(&[0x01, 0xc8]); // add eax, ecx
        self.code.bytes(&[0x83, 0xd2, 0]); // adc edx, 0
        self.code.bytes(&[0x66, 0x0f, 0x7e, 0xd1]); // movd ecx, xmm2
        self.code.bytes(&[0x29, 0xc8]); // sub eax, ecx
        // Instructions of SSE change no flag.
        self.code.bytes(&[0x66, 0x0f, 0x73, 0xd2, 32]); // psrlq xmm2, 32
        self.code.bytes(&[0x66, 0x0f, 0x7e, 0xd1]); // movd ecx, xmm2
        self.code.bytes(&[0x19, 0xca]); // sbb edx, ecx
        let future = self.code.jump(0x72); // jb
        self.code.bytes(&[0xf3, 0x0f, 0x7e, 0xc8]); // movq xmm1, xmm0
        self.code.bytes(&[0x66, 0x0f, 0x7e, 0xc1]); // movd ecx, xmm0
        self.code.bytes(&[0x66, 0x0f, 0x73, 0xd1, 32]); // psrlq xmm1, 32
        self.code.bytes(&[0x29, 0xc1]); // sub ecx, eax
        self.code.bytes(&[0x66, 0x0f, 0x7e, 0xc8]); // movd eax, xmm1
        self.code.bytes(&[0x19, 0xd0]); // sbb eax, edx
        let in_time = self.code.jump(0x73); // jae
        self.code.bytes(&[0x66, 0x0f, 0x7e, 0xc1]); // movd ecx, xmm0
        self.code.bytes(&[0x66, 0x0f, 0x7e, 0xc8]); // movd eax, xmm1
        self.code.bytes(&[0x09, 0xc8]); // or eax, ecx
        let unlimited = self.code.jump(0x74); // je
        for jump in [failed, future] {
            self.code.land(jump);
        }
        self.code.load_immediate(0xb8, 2); // mov eax
        self.code.bytes(&[0xc3]); // ret
        for jump in [in_time, unlimited] {
            self.code.land(jump);
        }
        self.code.load_immediate(0xb8, 1); // mov eax
        self.code.bytes(&[0xc3]); // ret
        Emitted::Frame {
            start,
            end,
            bytes: FRAME,
            saved: Some(Saved {
                at: saved,
                register: EBX,
                // From the frame address, in fours: that is 4 above the frame.
                below: (FRAME + 4 - EBX_AT) / 4,
            }),
        }
    }
}
