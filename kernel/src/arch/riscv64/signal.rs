//! The frame of a signal: `struct rt_sigframe` of Linux's arch/riscv/kernel/signal.c.

use super::{Frame, UserState};
use crate::task::signal::Layout;

/// The alignment and size of the whole frame, and the place of what both sides share in it.
pub const LAYOUT: Layout = Layout {
    size: SIGNAL_CONTEXT + 32 * 8 + 528,
    information: 0,
    user_context: INFORMATION,
    mask: INFORMATION + 40,
    red_zone: 0,
};

const INFORMATION: usize = 128;

/// `uc_mcontext`: behind flags, link, stack and 128 bytes for the mask, aligned to 16.
const SIGNAL_CONTEXT: usize = INFORMATION + 176;
const FLOATS: usize = SIGNAL_CONTEXT + 32 * 8;

pub const RESTORER: usize = 0;

pub const RETURN_ADDRESS: usize = 0;

pub fn each_word(
    frame: &mut Frame,
    state: &mut UserState,
    mut word: impl FnMut(usize, &mut usize),
) {
    word(SIGNAL_CONTEXT, &mut frame.pc);
    for (number, register) in frame.x.iter_mut().enumerate().skip(1) {
        word(SIGNAL_CONTEXT + 8 * number, register);
    }
    for (number, float) in state.floats.iter_mut().enumerate() {
        word(FLOATS + 8 * number, float);
    }
    word(FLOATS + 8 * 32, &mut state.control);
    state.control &= 0xff;
}

/// There is nothing else in the frame.
pub fn store_rest(_bytes: &mut [u8], _address: usize, _frame: &Frame) {}

pub fn enter(frame: &mut Frame, handler: usize, stack: usize, restorer: usize, signal: u32) {
    frame.pc = handler;
    frame.x[1] = restorer;
    frame.x[2] = stack;
    frame.x[10] = signal as usize;
    frame.x[11] = stack + LAYOUT.information;
    frame.x[12] = stack + LAYOUT.user_context;
}
