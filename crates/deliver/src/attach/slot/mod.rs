//! The code by which one function of the kernel's vDSO leads to an object's, and how that reaches the
//! kernel's. The contract of each architecture's module:
//!
//! - `replaced()`: where the instruction is that becomes a branch.
//! - `branch()`: that branch, four bytes. `REACH` says how far it leads.
//! - `compose()`: a *slot* of `LENGTH` bytes, to which the branch leads. Behind its first `KERNELS` bytes is
//!   the code that leads to the kernel's function.

#[cfg(any(target_arch = "aarch64", test))]
#[cfg_attr(
    not(target_arch = "aarch64"),
    allow(dead_code, reason = "its tests run everywhere")
)]
mod aarch64;
#[cfg(any(target_arch = "riscv64", test))]
#[cfg_attr(
    not(target_arch = "riscv64"),
    allow(dead_code, reason = "its tests run everywhere")
)]
mod riscv64;

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::*;
#[cfg(target_arch = "riscv64")]
pub(super) use riscv64::*;

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
compile_error!(
    "replaced, branch, REACH, compose, LENGTH and KERNELS are missing for this architecture"
);
