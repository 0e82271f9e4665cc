//! The frame of a signal: `struct rt_sigframe` of Linux's arch/x86/include/asm/sigframe.h.

use super::{Frame, UserState};
use crate::task::signal::{Layout, set};

/// The size of the whole frame, and the place of what both sides share in it.
///
/// From the start: the handler's return address; `ucontext` (flags, link, stack, registers, mask);
/// `siginfo`; and here too, aligned to 16, the state of the floating-point unit.
pub const LAYOUT: Layout = Layout {
    size: FLOATS + 512,
    information: INFORMATION,
    user_context: 8,
    mask: MASK,
    red_zone: 128,
};

pub const RESTORER: usize = 0x0400_0000;

pub const RETURN_ADDRESS: usize = 8;

/// `uc_mcontext`: `struct sigcontext_64`.
const REGISTERS: usize = 8 + 40;
const MASK: usize = REGISTERS + 256;
const INFORMATION: usize = MASK + 8;
/// The frame starts 8 bytes before a multiple of 16.
const FLOATS: usize = (INFORMATION + 128 + 8).next_multiple_of(16) + 8;

/// The words of `struct sigcontext_64`, by index.
const RSP: usize = 15;
const RIP: usize = 16;
const FLAGS: usize = 17;
const SEGMENTS: usize = 18;
const FLOATS_AT: usize = 23;

/// The first 15 words: general registers in the structure's order.
fn registers(frame: &mut Frame) -> [&mut usize; 15] {
    [
        &mut frame.r8,
        &mut frame.r9,
        &mut frame.r10,
        &mut frame.r11,
        &mut frame.r12,
        &mut frame.r13,
        &mut frame.r14,
        &mut frame.r15,
        &mut frame.rdi,
        &mut frame.rsi,
        &mut frame.rbp,
        &mut frame.rbx,
        &mut frame.rdx,
        &mut frame.rax,
        &mut frame.rcx,
    ]
}

/// The place of a word of `struct sigcontext_64`.
const fn at(word: usize) -> usize {
    REGISTERS + 8 * word
}

pub fn each_word(
    frame: &mut Frame,
    state: &mut UserState,
    mut word: impl FnMut(usize, &mut usize),
) {
    for (index, register) in registers(frame).into_iter().enumerate() {
        word(at(index), register);
    }
    word(at(RSP), &mut frame.rsp);
    let (mut pc, mut flags) = (frame.pc(), frame.flags());
    word(at(RIP), &mut pc);
    word(at(FLAGS), &mut flags);
    frame.set_pc(pc);
    frame.set_flags(flags);
    for (index, float) in state.floats.iter_mut().enumerate() {
        word(FLOATS + 8 * index, float);
    }
    // Reserved bits of MXCSR would make the processor refuse the state.
    const MXCSR: usize = 0xffbf;
    state.floats[3] &= MXCSR | 0xffff_ffff_0000_0000;
}

/// Stores what is in a frame at `address` besides registers.
pub fn store_rest(bytes: &mut [u8], address: usize, _frame: &Frame) {
    // The selectors of code (the lowest 16 bits) and stack (the highest).
    set(bytes, at(SEGMENTS), 0x23 | 0x1b << 48);
    set(bytes, at(FLOATS_AT), address + FLOATS);
}

pub fn enter(frame: &mut Frame, handler: usize, stack: usize, _restorer: usize, signal: u32) {
    frame.set_pc(handler);
    frame.set_flags(0);
    frame.rsp = stack;
    frame.rax = 0;
    frame.rdi = signal as usize;
    frame.rsi = stack + LAYOUT.information;
    frame.rdx = stack + LAYOUT.user_context;
}
