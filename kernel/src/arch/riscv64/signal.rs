//! The frame of a signal: `struct rt_sigframe` of Linux's arch/riscv/kernel/signal.c.

use super::{Frame, UserState};
use crate::task::signal::{Layout, get, set};

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

/// The flag of `rt_sigaction` by which a program says where handlers return to; 0 where its structure
/// has no place for that (`sa_restorer`).
pub const RESTORER: usize = 0;

/// The bytes of a return address on the stack, at the start of the frame.
pub const RETURN_ADDRESS: usize = 0;

/// Writes registers into a frame.
pub fn store(bytes: &mut [u8], _address: usize, frame: &Frame, state: &UserState) {
    set(bytes, SIGNAL_CONTEXT, frame.pc);
    for number in 1..32 {
        set(bytes, SIGNAL_CONTEXT + 8 * number, frame.x[number]);
    }
    for (number, float) in state.floats.iter().enumerate() {
        set(bytes, FLOATS + 8 * number, *float as usize);
    }
    set(bytes, FLOATS + 8 * 32, state.control as usize);
}

/// Reads registers back, as a handler may have changed them.
pub fn load(bytes: &[u8], frame: &mut Frame, state: &mut UserState) {
    frame.pc = get(bytes, SIGNAL_CONTEXT);
    for number in 1..32 {
        frame.x[number] = get(bytes, SIGNAL_CONTEXT + 8 * number);
    }
    for (number, float) in state.floats.iter_mut().enumerate() {
        *float = get(bytes, FLOATS + 8 * number) as u64;
    }
    state.control = get(bytes, FLOATS + 8 * 32) as u64 & 0xff;
}

/// Has the program begin a handler whose frame is at `stack`.
pub fn enter(frame: &mut Frame, handler: usize, stack: usize, restorer: usize, signal: u32) {
    frame.pc = handler;
    frame.x[1] = restorer;
    frame.x[2] = stack;
    frame.x[10] = signal as usize;
    frame.x[11] = stack + LAYOUT.information;
    frame.x[12] = stack + LAYOUT.user_context;
}
