//! What differs from one architecture to the next: registers, system call numbers and the
//! few instructions that run inside the target. One module an architecture.

#[cfg(target_arch = "x86_64")]
pub(crate) mod guest;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;
