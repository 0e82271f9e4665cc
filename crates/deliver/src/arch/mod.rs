//! What differs from one architecture to the next: registers, system call numbers and the
//! few instructions that run inside the target. The contract of each architecture's module:
//!
//! - `number`, `FORKS`: the numbers of system calls. `MACHINE`: `e_machine` of its images.
//! - `RED_ZONE`, `free_addresses()`: what a program uses below its stack pointer, and where nothing lies
//!   when it begins.
//! - the stub, with the labels that `stub` looks up: it reads a [`Block`]. `enter_stub()`, `enter_call()`,
//!   `stub_result()`, `call_result()`: its registers.
//! - `FRAME`, `frame()`: the registers as the stub loads them.
//! - `instruction_pointer()`, `set_instruction_pointer()`, `stack_pointer()`, `is_native()`: what the
//!   registers say.
//! - `leave_syscall()`, `leave_exec()`, `settle()`, `restart_interrupted()`, `LOSES_ARGUMENT`: how the
//!   kernel restarts calls. `is_call()`, where `entry` is used: whether an address is that of a call.
//! - `signal_frames()`: the signal frames on a stack.
//! - `LEAF_FRAMES`, `FORWARD`, `forward()`: a function that jumps to another, and its unwind information.
//! - `guest`: the code by which a stopped thread makes calls for its tracer, also when that dies:
//!   `length()`, `code()`, `spare()`, `before()`, `bytes()`, `enter()`, `settled()`, `begun()`,
//!   `Fleeting`, `leave_call()`.
//!
//! `sys::Registers` is what ptrace(2) reads and writes: `libc` calls it differently on some architectures.
//!
//! [`block`] is what all stubs read; `stub` finds the places in them. `entry` is what AArch64 and RISC-V
//! share of restarted calls.

mod block;
#[cfg(not(target_arch = "x86_64"))]
mod entry;
mod stub;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;
pub(crate) use block::*;
#[cfg(target_arch = "riscv64")]
pub(crate) use riscv64::*;
pub(crate) use stub::{has_failed, is_done, reports_failure, stub};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
compile_error!(
    "the stub, guest, number, registers, restarts, signal frames and forwards are missing for this \
     architecture: the contract in crates/deliver/src/arch/mod.rs lists them"
);

/// What a signal frame on a stack restores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignalFrame {
    pub(crate) instruction_pointer: u64,
    pub(crate) stack_pointer: u64,
}

/// How the file of an object is opened: not blocking and not becoming a terminal, should the path name
/// something else.
pub(crate) const OPEN_FLAGS: i32 =
    libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;

/// System calls return `-errno` in the last 4095 values.
fn error_of(value: u64) -> Option<i32> {
    (value > -4096i64 as u64).then(|| (value as i64).wrapping_neg() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stub_fits_before_anything_else_in_a_page() {
        assert!(stub().len() < 640, "{} bytes", stub().len());
    }

    #[test]
    fn errors_are_the_last_4095_values() {
        assert_eq!(error_of(-1i64 as u64), Some(1));
        assert_eq!(error_of(-4095i64 as u64), Some(4095));
        assert_eq!(error_of(-4096i64 as u64), None);
        assert_eq!(error_of(0x7fff_0000_0000), None);
    }
}
