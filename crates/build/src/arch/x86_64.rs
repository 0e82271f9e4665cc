//! x86-64: psABI of System V, instruction encodings of Intel's manual, volume 2.
//!
//! Loads are not reordered with loads on this architecture (Intel's manual, volume 3,
//! "Memory ordering"), so acquire loads and acquire fences need no instruction.

use super::x86::Code;
use super::{CLOCK_BOOTTIME, Emitted, Getter, NANOSECONDS, Target, UNROLLED, Unwind, tail};
use object::elf;
use vdsokit_vvar::header::{self, State};
use vdsokit_vvar::latch;
use vdsokit_vvar::scalar::ScalarType;

pub(super) const TARGET: Target = Target {
    flags: elf::FileFlags(0),
    function_align: 16,
    filler: &[0xcc],
    unwind: Unwind {
        return_address: 16,
        data_alignment: -8,
        // The frame address is rsp + 8, the return address lies 8 below it.
        initial: &[0x0c, 7, 8, 0x80 | 16, 1],
        frame_offset: 8,
    },
    emit,
};

fn emit(code: &mut Vec<u8>, address: u64, pages: u64, getter: &Getter) -> Emitted {
    let mut text = Text {
        code: Code::new(code),
        address,
        pages,
    };
    match *getter {
        Getter::Scalar { ty, offset } => text.scalar(ty, offset),
        Getter::Latch { size, offset } => text.latch(size, offset),
        Getter::Condition => text.condition(),
    }
    Emitted::Leaf
}

/// `__NR_clock_gettime` (asm/unistd_64.h).
const CLOCK_GETTIME: u32 = 228;

/// A function that is being assembled.
struct Text<'c> {
    code: Code<'c>,
    address: u64,
    pages: u64,
}

impl Text<'_> {
    /// An instruction with a rip-relative operand in the vvar pages; `after` bytes of
    /// immediate come behind the displacement.
    fn at_pages(&mut self, opcode: &[u8], offset: usize, after: &[u8]) {
        self.code.bytes(opcode);
        let next = self.code.length() + 4 + after.len();
        let here = self.address.wrapping_add(next as u64);
        let there = self.pages.wrapping_add(offset as u64);
        // An image is far smaller than 2 GiB: `image` has checked that.
        self.code
            .bytes(&(there.wrapping_sub(here) as i32).to_le_bytes());
        self.code.bytes(after);
    }

    fn scalar(&mut self, ty: ScalarType, offset: usize) {
        let opcode: &[u8] = match ty {
            // A C bool is 0 or 1 whatever byte the page holds.
            ScalarType::Bool => {
                self.code.bytes(&[0x31, 0xc0]); // xor eax, eax
                self.at_pages(&[0x80, 0x3d], offset, &[0]); // cmp byte [rip+d], 0
                self.code.bytes(&[0x0f, 0x95, 0xc0, 0xc3]); // setne al; ret
                return;
            }
            ScalarType::I8 => &[0x0f, 0xbe, 0x05], // movsx eax, byte
            ScalarType::I16 => &[0x0f, 0xbf, 0x05], // movsx eax, word
            ScalarType::U8 => &[0x0f, 0xb6, 0x05], // movzx eax, byte
            ScalarType::U16 => &[0x0f, 0xb7, 0x05], // movzx eax, word
            ScalarType::I32 | ScalarType::U32 => &[0x8b, 0x05], // mov eax
            ScalarType::I64 | ScalarType::U64 => &[0x48, 0x8b, 0x05], // mov rax
            ScalarType::F32 => &[0xf3, 0x0f, 0x10, 0x05], // movss xmm0
            ScalarType::F64 => &[0xf2, 0x0f, 0x10, 0x05], // movsd xmm0
        };
        self.at_pages(opcode, offset, &[]);
        self.code.bytes(&[0xc3]); // ret
    }

    /// The reader's half of [`vdsokit_vvar::latch`].
    ///
    /// rdi: out. eax: state. r8: the latch. r9: the number before. rsi: the copy.
    fn latch(&mut self, size: usize, offset: usize) {
        self.at_pages(&[0x8b, 0x05], header::STATE_OFFSET, &[]); // mov eax, [state]
        self.at_pages(&[0x4c, 0x8d, 0x05], offset, &[]); // lea r8, [latch]
        let again = self.code.length();
        self.code.bytes(&[0x4d, 0x8b, 0x08]); // mov r9, [r8]
        self.code.bytes(&[0x44, 0x89, 0xce]); // mov esi, r9d
        self.code.bytes(&[0x83, 0xe6, 0x01]); // and esi, 1
        self.code.bytes(&[0x69, 0xf6]); // imul esi, esi, stride
        self.code.bytes(&(latch::stride(size) as u32).to_le_bytes());
        self.code
            .bytes(&[0x49, 0x8d, 0x74, 0x30, latch::COPIES as u8]); // lea rsi, [r8+rsi+copies]
        self.copy_words(size / 8);
        self.copy_tail(size);
        self.code.bytes(&[0x4d, 0x39, 0x08]); // cmp [r8], r9
        self.code.repeat(again);
        self.code.bytes(&[0xc3]); // ret
    }

    /// See [`Getter::Condition`]. r8: stale_after. r9: updated.
    ///
    /// The time is written into the red zone, 128 bytes below the stack pointer that signal
    /// handlers leave alone (psABI, 3.2.2), so that the stack pointer need not move.
    fn condition(&mut self) {
        self.at_pages(&[0x8b, 0x05], header::STATE_OFFSET, &[]); // mov eax, [state]
        self.code.bytes(&[0x85, 0xc0]); // test eax, eax
        let never = self.code.jump(0x74); // je
        self.code.bytes(&[0x83, 0xf8, 3]); // cmp eax, 3
        let replaced = self.code.jump(0x74); // je
        self.code.bytes(&[0x83, 0xf8, State::Live as u8]); // cmp eax, 1
        let stopped = self.code.jump(0x75); // jne
        self.at_pages(&[0x4c, 0x8b, 0x05], header::STALE_AFTER_OFFSET, &[]); // mov r8, [stale_after]
        self.at_pages(&[0x4c, 0x8b, 0x0d], header::UPDATED_OFFSET, &[]); // mov r9, [updated]
        self.code.load_immediate(0xbf, CLOCK_BOOTTIME); // mov edi
        self.code.bytes(&[0x48, 0x8d, 0x74, 0x24, 0xf0]); // lea rsi, [rsp-16]
        self.code.load_immediate(0xb8, CLOCK_GETTIME); // mov eax
        self.code.bytes(&[0x0f, 0x05]); // syscall
        self.code.bytes(&[0x85, 0xc0]); // test eax, eax
        let failed = self.code.jump(0x75); // jne
        self.code.bytes(&[0x48, 0x69, 0x44, 0x24, 0xf0]); // imul rax, [rsp-16], imm
        self.code.bytes(&NANOSECONDS.to_le_bytes());
        self.code.bytes(&[0x48, 0x03, 0x44, 0x24, 0xf8]); // add rax, [rsp-8]
        self.code.bytes(&[0x4c, 0x29, 0xc8]); // sub rax, r9
        let future = self.code.jump(0x72); // jb
        self.code.bytes(&[0x4d, 0x85, 0xc0]); // test r8, r8
        let unlimited = self.code.jump(0x74); // je
        self.code.bytes(&[0x4c, 0x39, 0xc0]); // cmp rax, r8
        let late = self.code.jump(0x77); // ja
        self.returns(&[unlimited], 1);
        self.returns(&[failed, future, late], 2);
        self.returns(&[stopped], 3);
        self.returns(&[replaced], 4);
        self.code.land(never); // eax is 0
        self.code.bytes(&[0xc3]); // ret
    }

    /// `return number`, for these jumps.
    fn returns(&mut self, jumps: &[usize], number: u32) {
        for jump in jumps {
            self.code.land(*jump);
        }
        self.code.load_immediate(0xb8, number); // mov eax
        self.code.bytes(&[0xc3]); // ret
    }

    fn copy_words(&mut self, words: usize) {
        if words <= UNROLLED {
            for word in 0..words {
                let displacement = (word as u32 * 8).to_le_bytes();
                self.code.bytes(&[0x48, 0x8b, 0x96]); // mov rdx, [rsi+d]
                self.code.bytes(&displacement);
                self.code.bytes(&[0x48, 0x89, 0x97]); // mov [rdi+d], rdx
                self.code.bytes(&displacement);
            }
            return;
        }
        self.code.bytes(&[0x31, 0xc9]); // xor ecx, ecx
        let next = self.code.length();
        self.code.bytes(&[0x48, 0x8b, 0x14, 0xce]); // mov rdx, [rsi+rcx*8]
        self.code.bytes(&[0x48, 0x89, 0x14, 0xcf]); // mov [rdi+rcx*8], rdx
        self.code.bytes(&[0xff, 0xc1]); // inc ecx
        self.code.bytes(&[0x81, 0xf9]); // cmp ecx, words
        self.code.bytes(&(words as u32).to_le_bytes());
        self.code.repeat_short(next);
    }

    fn copy_tail(&mut self, size: usize) {
        let mut at = size / 8 * 8;
        if at == size {
            return;
        }
        self.code.bytes(&[0x48, 0x8b, 0x96]); // mov rdx, [rsi+d]
        self.code.bytes(&(at as u32).to_le_bytes());
        for piece in tail(size) {
            let store: &[u8] = match piece {
                4 => &[0x89, 0x97],       // mov [rdi+d], edx
                2 => &[0x66, 0x89, 0x97], // mov [rdi+d], dx
                _ => &[0x88, 0x97],       // mov [rdi+d], dl
            };
            self.code.bytes(store);
            self.code.bytes(&(at as u32).to_le_bytes());
            at += piece;
            if at != size {
                self.code.bytes(&[0x48, 0xc1, 0xea, piece as u8 * 8]); // shr rdx, bits
            }
        }
    }
}
