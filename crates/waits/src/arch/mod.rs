//! What each architecture has to say: the contract of this module.
//!
//! - `PAGE`: the size of its largest page.
//! - `AUDIT`: what seccomp calls it (include/uapi/linux/audit.h).
//! - `CLOCK_SETTERS, OTHER_EXECS`: calls by the numbers of the other architectures that it runs too.
//! - `number`: its call numbers. A call that it does not have is a number that none has.
//! - `CALL`: bytes from an entry to the instruction behind its call.
//! - `REPORTED`: the instruction behind the gate's call that reports.
//! - the gate, between the labels `vdsokit_waits_gate` and `vdsokit_waits_gate_end`: see [`entries`].
//! - `call_frame()`: the call frame instructions for it.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod entries;
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
pub mod generic;
#[cfg(target_arch = "x86_64")]
pub(crate) mod i386;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub(crate) use entries::{door, gate};

#[cfg(target_arch = "aarch64")]
pub use aarch64::{AUDIT, CALL, CLOCK_SETTERS, OTHER_EXECS, PAGE, number};
#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{REPORTED, call_frame};
#[cfg(target_arch = "riscv64")]
pub use riscv64::{AUDIT, CALL, CLOCK_SETTERS, OTHER_EXECS, PAGE, number};
#[cfg(target_arch = "riscv64")]
pub(crate) use riscv64::{REPORTED, call_frame};
#[cfg(target_arch = "x86_64")]
pub use x86_64::{AUDIT, CALL, CLOCK_SETTERS, OTHER_EXECS, PAGE, number};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{REPORTED, call_frame};

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
compile_error!(
    "PAGE, AUDIT, CLOCK_SETTERS, OTHER_EXECS, number, CALL, REPORTED, the gate and call_frame are \
     missing for this architecture"
);
