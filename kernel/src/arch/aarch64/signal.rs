//! The frame of a signal: `struct rt_sigframe` of Linux's arch/arm64/kernel/signal.c.

use super::{Frame, UserState};
use crate::task::signal::{Layout, set};

/// The size of the whole frame, and the place of what both sides share in it.
pub const LAYOUT: Layout = Layout {
    size: RECORD + 16,
    information: 0,
    user_context: INFORMATION,
    mask: INFORMATION + 40,
    red_zone: 0,
};

pub const RESTORER: usize = 0x0400_0000;

pub const RETURN_ADDRESS: usize = 0;

const INFORMATION: usize = 128;

/// `uc_mcontext`: behind flags, link, stack and 128 bytes for the mask, aligned to 16.
const SIGNAL_CONTEXT: usize = INFORMATION + 176;
const REGISTERS: usize = SIGNAL_CONTEXT + 8;
const STACK: usize = REGISTERS + 31 * 8;
/// `__reserved`, aligned to 16: records of a magic number, a size and data. Two zeros end them.
const RECORDS: usize = SIGNAL_CONTEXT + 288;
const RECORDS_SIZE: usize = 4096;
/// The record of `fpsr`, `fpcr` and vectors: FPSIMD_MAGIC, 528 bytes.
const VECTORS_HEADER: usize = 528 << 32 | 0x4650_8001;
/// `struct frame_record`: the handler's caller, for unwinders.
const RECORD: usize = RECORDS + RECORDS_SIZE;

pub fn each_word(
    frame: &mut Frame,
    state: &mut UserState,
    mut word: impl FnMut(usize, &mut usize),
) {
    for (number, register) in frame.x.iter_mut().enumerate() {
        word(REGISTERS + 8 * number, register);
    }
    word(STACK, &mut frame.stack);
    word(STACK + 8, &mut frame.pc);
    let mut conditions = frame.conditions();
    word(STACK + 16, &mut conditions);
    frame.set_conditions(conditions);
    let mut control = state.control << 32 | state.status;
    word(RECORDS + 8, &mut control);
    (state.control, state.status) = (control >> 32, control & 0xffff_ffff);
    for (index, half) in state.vectors.as_flattened_mut().iter_mut().enumerate() {
        word(RECORDS + 16 + 8 * index, half);
    }
}

/// Stores what is in the frame besides registers.
pub fn store_rest(bytes: &mut [u8], _address: usize, frame: &Frame) {
    set(bytes, RECORDS, VECTORS_HEADER);
    set(bytes, RECORD, frame.x[29]);
    set(bytes, RECORD + 8, frame.x[30]);
}

pub fn enter(frame: &mut Frame, handler: usize, stack: usize, restorer: usize, signal: u32) {
    frame.pc = handler;
    frame.stack = stack;
    frame.x[0] = signal as usize;
    frame.x[1] = stack + LAYOUT.information;
    frame.x[2] = stack + LAYOUT.user_context;
    frame.x[29] = stack + RECORD;
    frame.x[30] = restorer;
}
