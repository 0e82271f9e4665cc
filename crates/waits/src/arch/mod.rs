//! What each architecture has to say: the contract of this module.
//!
//! - `PAGE`: the size of its largest page.
//! - `AUDIT`: what seccomp calls it (include/uapi/linux/audit.h).
//! - `CLOCK_SETTERS, OTHER_EXECS`: calls by the numbers of the other architectures that it runs too.
//! - `number`: its call numbers. A call that it does not have is a number that none has.
//! - `door()`: for each argument register the gate's entry whose frame that register holds.
//! - `CALL`: bytes from an entry to the instruction behind its call.
//! - `REPORTED`: the instruction behind the gate's call that reports.
//! - `gate()`: the gate's bytes.
//! - `call_frame()`: the call frame instructions for these.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
pub mod generic;
#[cfg(target_arch = "x86_64")]
pub(crate) mod i386;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::{AUDIT, CALL, CLOCK_SETTERS, OTHER_EXECS, PAGE, number};
#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{REPORTED, call_frame, door, gate};
#[cfg(target_arch = "riscv64")]
pub use riscv64::{AUDIT, CALL, CLOCK_SETTERS, OTHER_EXECS, PAGE, number};
#[cfg(target_arch = "riscv64")]
pub(crate) use riscv64::{REPORTED, call_frame, door, gate};
#[cfg(target_arch = "x86_64")]
pub use x86_64::{AUDIT, CALL, CLOCK_SETTERS, OTHER_EXECS, PAGE, number};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{REPORTED, call_frame, door, gate};

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
compile_error!(
    "PAGE, AUDIT, CLOCK_SETTERS, OTHER_EXECS, number, door, CALL, REPORTED, gate and call_frame are \
     missing for this architecture"
);
