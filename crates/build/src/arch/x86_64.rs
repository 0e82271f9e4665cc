//! x86-64: psABI of System V, instruction encodings of Intel's manual, volume 2.
//!
//! Loads are not reordered with loads on this architecture (Intel's manual, volume 3,
//! "Memory ordering"), so acquire loads and acquire fences need no instruction.

use super::{Getter, Target, UNROLLED, Unwind, tail};
use object::elf;
use vdsokit_vvar::header;
use vdsokit_vvar::latch;
use vdsokit_vvar::scalar::ScalarType;

pub(super) const TARGET: Target = Target {
    machine: elf::EM_X86_64,
    page: 0x1000,
    function_align: 16,
    filler: &[0xcc],
    unwind: Unwind {
        return_address: 16,
        // The frame address is rsp + 8, the return address lies 8 below it.
        initial: &[0x0c, 7, 8, 0x80 | 16, 1],
    },
    emit,
};

fn emit(code: &mut Vec<u8>, address: u64, pages: u64, getter: &Getter) {
    let mut text = Text {
        start: code.len(),
        code,
        address,
        pages,
    };
    match *getter {
        Getter::Scalar { ty, offset } => text.scalar(ty, offset),
        Getter::Latch { size, offset } => text.latch(size, offset),
    }
}

/// A function that is being assembled.
struct Text<'c> {
    code: &'c mut Vec<u8>,
    start: usize,
    address: u64,
    pages: u64,
}

impl Text<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }

    /// An instruction with a rip-relative operand in the vvar pages; `after` bytes of
    /// immediate come behind the displacement.
    fn at_pages(&mut self, opcode: &[u8], offset: usize, after: &[u8]) {
        self.bytes(opcode);
        let next = self.code.len() - self.start + 4 + after.len();
        let here = self.address.wrapping_add(next as u64);
        let there = self.pages.wrapping_add(offset as u64);
        // An image is far smaller than 2 GiB: `image` has checked that.
        self.bytes(&(there.wrapping_sub(here) as i32).to_le_bytes());
        self.bytes(after);
    }

    fn scalar(&mut self, ty: ScalarType, offset: usize) {
        let opcode: &[u8] = match ty {
            // A C bool is 0 or 1 whatever byte the page holds.
            ScalarType::Bool => {
                self.bytes(&[0x31, 0xc0]); // xor eax, eax
                self.at_pages(&[0x80, 0x3d], offset, &[0]); // cmp byte [rip+d], 0
                self.bytes(&[0x0f, 0x95, 0xc0, 0xc3]); // setne al; ret
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
        self.bytes(&[0xc3]); // ret
    }

    /// The reader's half of [`vdsokit_vvar::latch`].
    ///
    /// rdi: out. eax: state. r8: the latch. r9: the number before. rsi: the copy.
    fn latch(&mut self, size: usize, offset: usize) {
        self.at_pages(&[0x8b, 0x05], header::STATE_OFFSET, &[]); // mov eax, [state]
        self.at_pages(&[0x4c, 0x8d, 0x05], offset, &[]); // lea r8, [latch]
        let again = self.code.len();
        self.bytes(&[0x4d, 0x8b, 0x08]); // mov r9, [r8]
        self.bytes(&[0x44, 0x89, 0xce]); // mov esi, r9d
        self.bytes(&[0x83, 0xe6, 0x01]); // and esi, 1
        self.bytes(&[0x69, 0xf6]); // imul esi, esi, stride
        self.bytes(&(latch::stride(size) as u32).to_le_bytes());
        self.bytes(&[0x49, 0x8d, 0x74, 0x30, latch::COPIES as u8]); // lea rsi, [r8+rsi+copies]
        self.copy_words(size / 8);
        self.copy_tail(size);
        self.bytes(&[0x4d, 0x39, 0x08]); // cmp [r8], r9
        self.bytes(&[0x0f, 0x85]); // jne again
        let back = again as i64 - (self.code.len() as i64 + 4);
        self.bytes(&(back as i32).to_le_bytes());
        self.bytes(&[0xc3]); // ret
    }

    fn copy_words(&mut self, words: usize) {
        if words <= UNROLLED {
            for word in 0..words {
                let displacement = (word as u32 * 8).to_le_bytes();
                self.bytes(&[0x48, 0x8b, 0x96]); // mov rdx, [rsi+d]
                self.bytes(&displacement);
                self.bytes(&[0x48, 0x89, 0x97]); // mov [rdi+d], rdx
                self.bytes(&displacement);
            }
            return;
        }
        self.bytes(&[0x31, 0xc9]); // xor ecx, ecx
        let next = self.code.len();
        self.bytes(&[0x48, 0x8b, 0x14, 0xce]); // mov rdx, [rsi+rcx*8]
        self.bytes(&[0x48, 0x89, 0x14, 0xcf]); // mov [rdi+rcx*8], rdx
        self.bytes(&[0xff, 0xc1]); // inc ecx
        self.bytes(&[0x81, 0xf9]); // cmp ecx, words
        self.bytes(&(words as u32).to_le_bytes());
        let back = next as i64 - (self.code.len() as i64 + 2);
        self.bytes(&[0x75, back as i8 as u8]); // jne next
    }

    fn copy_tail(&mut self, size: usize) {
        let mut at = size / 8 * 8;
        if at == size {
            return;
        }
        self.bytes(&[0x48, 0x8b, 0x96]); // mov rdx, [rsi+d]
        self.bytes(&(at as u32).to_le_bytes());
        for piece in tail(size) {
            let store: &[u8] = match piece {
                4 => &[0x89, 0x97],       // mov [rdi+d], edx
                2 => &[0x66, 0x89, 0x97], // mov [rdi+d], dx
                _ => &[0x88, 0x97],       // mov [rdi+d], dl
            };
            self.bytes(store);
            self.bytes(&(at as u32).to_le_bytes());
            at += piece;
            if at != size {
                self.bytes(&[0x48, 0xc1, 0xea, piece as u8 * 8]); // shr rdx, bits
            }
        }
    }
}
