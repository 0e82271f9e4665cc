//! AArch64. The kernel sets the instruction pointer back to a call that it restarts before a tracer
//! can see the thread (arch/arm64/kernel/signal.c, `do_signal`).

use vdsokit_waits::call::{Call, Restart};

use crate::sys::Registers;

/// Bytes of the instruction that makes a call.
const INSTRUCTION: u64 = 4;

/// Whether a stopped thread is in a call, behind which is `pointer`, that a stop or a signal ended.
/// One that failed with EINTR may also be behind a handler that ended it this moment.
pub(crate) fn was_interrupted(registers: &Registers, pointer: u64) -> bool {
    let is_interrupted = registers.regs[0] == (-i64::from(libc::EINTR)) as u64;
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
    crate::arch::set_instruction_pointer(registers, address);
    registers.regs[..6].copy_from_slice(&call.arguments);
    registers.regs[8] = u64::from(call.number);
}

/// Has a call that was interrupted be made once more, also where it would fail with EINTR. `pointer`
/// is behind it, and `first` is its first argument.
pub(crate) fn make_again(registers: &mut Registers, pointer: u64, first: u64) {
    crate::arch::set_instruction_pointer(registers, pointer - INSTRUCTION);
    registers.regs[0] = first;
}

/// Would have a call that fails with EINTR by a mere stop be made once more unless a handler runs first.
/// The kernel has decided before a tracer sees the thread, so that such a call fails. Returns whether it
/// is made once more.
pub(crate) fn restart_unless_handled(_: &mut Registers) -> bool {
    false
}

/// Has a call that was interrupted, behind which is `pointer`, fail with `error`.
pub(crate) fn set_error(registers: &mut Registers, pointer: u64, error: i32) {
    crate::arch::set_instruction_pointer(registers, pointer);
    registers.regs[0] = i64::from(error).wrapping_neg() as u64;
}

/// What a call has returned.
pub(crate) fn result(registers: &Registers) -> i64 {
    registers.regs[0] as i64
}

/// Sets the `registers` of a thread, of which the kernel gave `length` bytes, to go on at the start
/// of the page that it executes, of 4 KiB or more. Returns that address, and the instructions for it:
/// exit_group(2) with `status`. They set the registers themselves, as a thread in its exec stop gets
/// the result of execve(2) later.
pub(crate) fn exit(registers: &mut Registers, length: usize, status: u8) -> (u64, [u8; 12]) {
    const PAGE: u64 = 4096;
    let code = |instructions: [u32; 3]| {
        let mut bytes = [0; 12];
        for (bytes, instruction) in bytes.as_chunks_mut().0.iter_mut().zip(instructions) {
            *bytes = instruction.to_le_bytes();
        }
        bytes
    };
    let status = u32::from(status);
    if length == size_of::<Registers>() {
        let address = registers.pc & !(PAGE - 1);
        crate::arch::set_instruction_pointer(registers, address);
        // mov x8, #94; mov x0, #status; svc #0
        return (
            address,
            code([0xd280_0bc8, 0xd280_0000 | status << 5, 0xd400_0001]),
        );
    }
    // A 32-bit program's registers are 18 words of 4 bytes, r0 to r15, cpsr and orig_r0
    // (arch/arm64/kernel/ptrace.c, `compat_gpr_get`). Without T in cpsr its instructions have 4 bytes.
    const THUMB: u64 = 1 << 5;
    let address = registers.regs[7] >> 32 & !(PAGE - 1);
    registers.regs[7] = registers.regs[7] & 0xffff_ffff | address << 32;
    registers.regs[8] &= !THUMB;
    // mov r7, #248; mov r0, #status; svc #0
    (
        address,
        code([0xe3a0_70f8, 0xe3a0_0000 | status, 0xef00_0000]),
    )
}
