//! What needs instructions of its own. The contract of each architecture's module:
//!
//! - `__address!`: the address of a symbol in the vvar pages.
//! - `system_call`: a system call without a C library.
#![allow(unsafe_code, reason = "addresses and system calls need assembly")]

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
#[cfg_attr(target_arch = "loongarch64", path = "loongarch64.rs")]
#[cfg_attr(target_arch = "x86", path = "x86.rs")]
#[cfg_attr(
    not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "loongarch64",
        target_arch = "x86"
    )),
    path = "missing.rs"
)]
mod this;

pub use this::system_call;

/// Where the vvar pages begin.
#[cfg(vdsokit_image)]
#[inline(always)]
pub(crate) fn pages() -> *const u8 {
    crate::__address!("__vdsokit_vvar")
}
