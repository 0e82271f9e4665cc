//! What differs between architectures. The contract of each module:
//!
//! - `number`: the numbers of the system calls that the image makes; `generic` has those of newer
//!   architectures.
//! - `counter()`: the CPU's counter.
//! - `vvar()`: the address of a byte of the vvar pages.
//! - `cpu_and_node()`: the CPU's number, where a program can read it.
//! - `kernel_name!`, `export!`: the names of functions in Linux's vDSO.
//! - `load_link!`: the word of a link.
//! - the return of signal handlers, where the kernel's vDSO has it.
//! - `memcpy` and `memset` in the image, where the cipher is Rust (`vdsokit_random::chacha`).

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(any(
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64"
))]
mod generic;
#[cfg(target_arch = "loongarch64")]
mod loongarch64;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;
#[cfg(any(
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64"
))]
pub(crate) use generic::*;
#[cfg(target_arch = "loongarch64")]
pub(crate) use loongarch64::*;
#[cfg(target_arch = "riscv64")]
pub(crate) use riscv64::*;
#[cfg(target_arch = "x86")]
pub(crate) use x86::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64",
    target_arch = "x86"
)))]
compile_error!(
    "number, counter, vvar, cpu_and_node, kernel_name!, export! and load_link! are missing for this \
     architecture"
);

pub(crate) use vdsokit_rt::system_call;
