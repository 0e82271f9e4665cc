//! The stub that each architecture's module has in assembler: its bytes, and the places in it by its
//! labels.
#![allow(
    unsafe_code,
    reason = "the stub's bytes are read through the two labels around it"
)]

use std::slice;

use super::instruction_pointer;
use crate::sys::Registers;

unsafe extern "C" {
    safe static vdsokit_deliver_stub: u8;
    safe static vdsokit_deliver_stub_done: u8;
    safe static vdsokit_deliver_stub_signalled: u8;
    safe static vdsokit_deliver_stub_reported: u8;
    safe static vdsokit_deliver_stub_call: u8;
    safe static vdsokit_deliver_stub_called: u8;
    safe static vdsokit_deliver_stub_end: u8;
}

/// The offset of one of the stub's labels.
fn label(address: *const u8) -> u64 {
    (address as usize - (&raw const vdsokit_deliver_stub) as usize) as u64
}

/// The stub's bytes: position-independent code.
pub(crate) fn stub() -> &'static [u8] {
    let start = &raw const vdsokit_deliver_stub;
    let length = label(&raw const vdsokit_deliver_stub_end) as usize;
    // SAFETY: the labels are the first byte of the stub and the byte behind its last, in one
    // section of this program's read-only data, which is never written.
    unsafe { slice::from_raw_parts(start, length) }
}

/// The offset of the code that makes a single system call.
pub(super) fn call() -> u64 {
    label(&raw const vdsokit_deliver_stub_call)
}

/// Whether a thread stopped by a trap or a fault is at the end of the stub at `address`.
pub(crate) fn is_done(registers: &Registers, address: u64) -> bool {
    // On AArch64 a breakpoint is reported with its own address, on x86-64 with that behind it.
    let at = instruction_pointer(registers).wrapping_sub(address);
    at == label(&raw const vdsokit_deliver_stub_done)
        || at == label(&raw const vdsokit_deliver_stub_called)
}

/// Whether a thread about to get SIGURG has sent that from the stub at `address`, which a program
/// runs that was to begin without a tracer's help, and failed.
pub(crate) fn has_failed(registers: &Registers, address: u64) -> bool {
    let at = instruction_pointer(registers).wrapping_sub(address);
    at == label(&raw const vdsokit_deliver_stub_signalled)
}

/// Whether `pointer` is behind the call by which the same stub reports the same failure to a
/// seccomp listener.
pub(crate) fn reports_failure(pointer: u64, address: u64) -> bool {
    pointer.wrapping_sub(address) == label(&raw const vdsokit_deliver_stub_reported)
}
