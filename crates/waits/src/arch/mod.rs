//! What each architecture has to say: the contract of this module.
//!
//! - `AUDIT`: what seccomp calls it (include/uapi/linux/audit.h).
//! - `CLOCK_SETTERS, OTHER_EXECS`: execve and execveat by numbers of the other architectures that it runs.
//! - `number`: its call numbers, those of calls that it does not have left out.
//! - `door()`: for each argument register the gate's entry whose frame that register holds.
//! - `REPORTED`: the instruction behind the gate's call that reports.
//! - `gate()`: the gate's bytes.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub use x86_64::{AUDIT, CLOCK_SETTERS, OTHER_EXECS, number};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{REPORTED, door, gate};

#[cfg(not(target_arch = "x86_64"))]
compile_error!(
    "AUDIT, CLOCK_SETTERS, OTHER_EXECS, number, door, REPORTED and gate are missing for this architecture"
);
