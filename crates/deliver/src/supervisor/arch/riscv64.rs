//! RISC-V, 64 bits. The kernel sets the instruction pointer back to a call that it restarts before a
//! tracer can see the thread, since 6.6 (arch/riscv/kernel/signal.c, `arch_do_signal_or_restart`).

use vdsokit_waits::call::{Call, Restart};

use crate::arch::{set_call, set_instruction_pointer};
use crate::sys::Registers;

/// Bytes of the instruction that makes a call.
const INSTRUCTION: u64 = 4;

/// Whether a stopped thread is in a call, behind which is `pointer`, that a stop or a signal ended.
/// One that failed with EINTR may also be behind a handler that ended it this moment.
pub(crate) fn was_interrupted(registers: &Registers, pointer: u64) -> bool {
    let is_interrupted = registers.a0 == (-i64::from(libc::EINTR)) as u64;
    registers.pc + INSTRUCTION == pointer || (registers.pc == pointer && is_interrupted)
}

/// Whether a stopped thread was stopped between its calls: a tracer can't tell.
pub(crate) fn is_between_calls(_: &Registers) -> bool {
    false
}

/// Makes `call` instead, by the entry at `address`. A signal that comes before that call is treated
/// as one that came before the thread's own, and does not end it: the kernel knows of no call that
/// is to be restarted any more.
pub(crate) fn restart(registers: &mut Registers, address: u64, call: &Call, _: Restart) {
    set_instruction_pointer(registers, address);
    set_call(registers, u64::from(call.number), call.arguments);
}

/// Has a call that was interrupted be made once more, also where it would fail with EINTR. `pointer`
/// is behind it, and `first` is its first argument.
pub(crate) fn make_again(registers: &mut Registers, pointer: u64, first: u64) {
    set_instruction_pointer(registers, pointer - INSTRUCTION);
    registers.a0 = first;
}

/// Would have a call that fails with EINTR by a mere stop be made once more unless a handler runs first.
/// The kernel has decided before a tracer sees the thread, so that such a call fails. Returns whether it
/// is made once more.
pub(crate) fn restart_unless_handled(_: &mut Registers) -> bool {
    false
}

/// Has a call that was interrupted, behind which is `pointer`, fail with `error`.
pub(crate) fn set_error(registers: &mut Registers, pointer: u64, error: i32) {
    set_instruction_pointer(registers, pointer);
    registers.a0 = i64::from(error).wrapping_neg() as u64;
}

/// What a call has returned.
pub(crate) fn result(registers: &Registers) -> i64 {
    registers.a0 as i64
}

/// Sets the `registers` of a thread to go on at the start of the page that it executes. Returns that
/// address, and the instructions for it: exit_group(2) with `status`. They set the registers
/// themselves, as a thread in its exec stop gets the result of execve(2) later.
pub(crate) fn exit(registers: &mut Registers, _length: usize, status: u8) -> (u64, [u8; 12]) {
    const PAGE: u64 = 4096;
    // li a7, 94; li a0, status; ecall
    let instructions = [0x05e0_0893, 0x0000_0513 | u32::from(status) << 20, 0x73];
    let mut code = [0; 12];
    for (bytes, instruction) in code.as_chunks_mut().0.iter_mut().zip(instructions) {
        *bytes = u32::to_le_bytes(instruction);
    }
    let address = registers.pc & !(PAGE - 1);
    set_instruction_pointer(registers, address);
    (address, code)
}
