//! Registers of a thread that makes a call. The contract of each architecture's module:
//!
//! - `was_interrupted()`: whether a stopped thread is in a call that a stop or a signal ended.
//! - `is_between_calls()`: whether it is in none.
//! - `restart()`: makes another call instead.
//! - `make_again()`: has a call that was interrupted be made once more.
//! - `restart_unless_handled()`: has the kernel restart a call unless a signal's handler runs, where it
//!   decides that later.
//! - `set_error()`: has a call that was interrupted fail.
//! - `result()`: what a call has returned.
//! - `exit()`: has a thread end its process.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::*;
#[cfg(target_arch = "riscv64")]
pub(super) use riscv64::*;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::*;

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
compile_error!(
    "was_interrupted, is_between_calls, restart, make_again, restart_unless_handled, set_error, \
     result and exit are missing for this architecture"
);
