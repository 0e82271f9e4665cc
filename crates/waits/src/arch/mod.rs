//! What each architecture has to say: the contract of this module.
//!
//! - `AUDIT`: what seccomp calls it (include/uapi/linux/audit.h).
//! - `number`: its call numbers, those of calls that it does not have left out.
//! - `DOORS`: for each argument register the gate's entry whose frame that register holds.
//! - `gate()`: the gate's bytes.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub use x86_64::{AUDIT, number};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{DOOR, REPORTED, gate};

#[cfg(not(target_arch = "x86_64"))]
compile_error!("AUDIT, number, DOOR, REPORTED and gate are missing for this architecture");
