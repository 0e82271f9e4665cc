//! x86-64: psABI of System V, instruction encodings of Intel's manual, volume 2.
//!
//! Loads are not reordered with loads on this architecture (Intel's manual, volume 3,
//! "Memory ordering"), so acquire loads and acquire fences need no instruction.

use super::{CLOCK_BOOTTIME, Emitted, Getter, NANOSECONDS, Target, UNROLLED, Unwind, tail};
use object::elf;
use vdsokit_vvar::header::{self, State};
use vdsokit_vvar::latch;
use vdsokit_vvar::scalar::ScalarType;

pub(super) const TARGET: Target = Target {
    machine: elf::EM_X86_64,
    is_64: true,
    page: 0x1000,
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
        start: code.len(),
        code,
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

    /// See [`Getter::Condition`]. r8: stale_after. r9: updated.
    ///
    /// The time is written into the red zone, 128 bytes below the stack pointer that signal
    /// handlers leave alone (psABI, 3.2.2), so that the stack pointer need not move.
    fn condition(&mut self) {
        self.at_pages(&[0x8b, 0x05], header::STATE_OFFSET, &[]); // mov eax, [state]
        self.bytes(&[0x85, 0xc0]); // test eax, eax
        let never = self.jump(0x74); // je
        self.bytes(&[0x83, 0xf8, 3]); // cmp eax, 3
        let replaced = self.jump(0x74); // je
        self.bytes(&[0x83, 0xf8, State::Live as u8]); // cmp eax, 1
        let stopped = self.jump(0x75); // jne
        self.at_pages(&[0x4c, 0x8b, 0x05], header::STALE_AFTER_OFFSET, &[]); // mov r8, [stale_after]
        self.at_pages(&[0x4c, 0x8b, 0x0d], header::UPDATED_OFFSET, &[]); // mov r9, [updated]
        self.load_immediate(0xbf, CLOCK_BOOTTIME); // mov edi
        self.bytes(&[0x48, 0x8d, 0x74, 0x24, 0xf0]); // lea rsi, [rsp-16]
        self.load_immediate(0xb8, CLOCK_GETTIME); // mov eax
        self.bytes(&[0x0f, 0x05]); // syscall
        self.bytes(&[0x85, 0xc0]); // test eax, eax
        let failed = self.jump(0x75); // jne
        self.bytes(&[0x48, 0x69, 0x44, 0x24, 0xf0]); // imul rax, [rsp-16], imm
        self.bytes(&NANOSECONDS.to_le_bytes());
        self.bytes(&[0x48, 0x03, 0x44, 0x24, 0xf8]); // add rax, [rsp-8]
        self.bytes(&[0x4c, 0x29, 0xc8]); // sub rax, r9
        let future = self.jump(0x72); // jb
        self.bytes(&[0x4d, 0x85, 0xc0]); // test r8, r8
        let unlimited = self.jump(0x74); // je
        self.bytes(&[0x4c, 0x39, 0xc0]); // cmp rax, r8
        let late = self.jump(0x77); // ja
        self.returns(&[unlimited], 1);
        self.returns(&[failed, future, late], 2);
        self.returns(&[stopped], 3);
        self.returns(&[replaced], 4);
        self.land(never); // eax is 0
        self.bytes(&[0xc3]); // ret
    }

    /// `opcode` with a 32-bit immediate.
    fn load_immediate(&mut self, opcode: u8, number: u32) {
        self.bytes(&[opcode]);
        self.bytes(&number.to_le_bytes());
    }

    /// A short jump forward; [`Text::land`] fills in the distance.
    fn jump(&mut self, opcode: u8) -> usize {
        self.bytes(&[opcode, 0]);
        self.code.len()
    }

    /// Lets the jump that ends at `from` lead here.
    fn land(&mut self, from: usize) {
        self.code[from - 1] = (self.code.len() - from) as u8;
    }

    /// `return number`, for these jumps.
    fn returns(&mut self, jumps: &[usize], number: u32) {
        for jump in jumps {
            self.land(*jump);
        }
        self.load_immediate(0xb8, number); // mov eax
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
