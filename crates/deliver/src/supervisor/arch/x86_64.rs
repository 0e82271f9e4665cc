//! x86-64.

use vdsokit_waits::call::{Call, Restart};
use vdsokit_waits::gate::CALL;

use crate::arch;
use crate::sys::Registers;

/// What the kernel's restart of calls makes of the result register
/// (arch/x86/kernel/signal.c, `arch_do_signal_or_restart`).
const RESTARTS: [u64; 4] = [512, 513, 514, 516];

/// Whether a stopped thread is behind a call at `pointer` that a stop or a signal ended.
pub(crate) fn was_interrupted(registers: &Registers, pointer: u64) -> bool {
    let error = result(registers).wrapping_neg() as u64;
    registers.rip == pointer
        && (RESTARTS.contains(&error) || error == libc::EINTR as u64)
        && (registers.orig_rax as i64) >= 0
}

/// Whether a stopped thread was stopped between its calls (arch/x86/include/asm/ptrace.h, `orig_ax`).
pub(crate) fn is_between_calls(registers: &Registers) -> bool {
    (registers.orig_rax as i64) < 0
}

/// Has the kernel restart, at the call at `address`, `call` instead: at once, or behind a handler,
/// or not at all, as it does for calls that fail with `restart`.
pub(crate) fn restart(registers: &mut Registers, address: u64, call: &Call, restart: Restart) {
    registers.rip = address + CALL;
    registers.rax = restart.value();
    registers.orig_rax = u64::from(call.number);
    arch::set_arguments(registers, call.arguments);
}

/// Has a call that was interrupted be made once more, also where it would fail with EINTR. `pointer`
/// is behind it, and `first` is its first argument.
pub(crate) fn make_again(registers: &mut Registers, _pointer: u64, _first: u64) {
    restart_unless_handled(registers);
}

/// Has a call that fails with EINTR by a mere stop, such as epoll_wait(2) and sigtimedwait(2), be made
/// once more unless a handler runs first. Returns whether it is such a call.
pub(crate) fn restart_unless_handled(registers: &mut Registers) -> bool {
    let fails = registers.rax == i64::from(libc::EINTR).wrapping_neg() as u64;
    if fails {
        registers.rax = Restart::NoHandler.value();
    }
    fails
}

/// Has a call that was interrupted, behind which is `pointer`, fail with `error`.
pub(crate) fn set_error(registers: &mut Registers, _pointer: u64, error: i32) {
    registers.rax = i64::from(error).wrapping_neg() as u64;
}

/// What a call has returned.
pub(crate) fn result(registers: &Registers) -> i64 {
    match arch::is_narrow(registers) {
        true => i64::from(registers.rax as i32),
        false => registers.rax as i64,
    }
}

/// Sets the `registers` of a thread, whose kind of program has `length` bytes of them, to go on at the start
/// of the page that it executes. Returns that address, and the instructions for it: exit_group(2)
/// with `status`. They set the registers themselves, as a thread in its exec stop gets the result
/// of execve(2) later.
pub(crate) fn exit(registers: &mut Registers, length: usize, status: u8) -> (u64, [u8; 12]) {
    const PAGE: u64 = 4096;
    registers.orig_rax = u64::MAX;
    registers.rip &= !(PAGE - 1);
    let code = match length == size_of::<Registers>() {
        // mov $231,%eax; mov $status,%edi; syscall
        true => [0xb8, 231, 0, 0, 0, 0xbf, status, 0, 0, 0, 0x0f, 0x05],
        // mov $252,%eax; mov $status,%ebx; int $0x80
        false => [0xb8, 252, 0, 0, 0, 0xbb, status, 0, 0, 0, 0xcd, 0x80],
    };
    (registers.rip, code)
}
