//! Registers of a thread that makes a call. The contract of each architecture's module:
//!
//! - `was_interrupted()`: whether a stopped thread is in a call that a stop or a signal ended.
//! - `restart()`: makes another call instead.
//! - `arguments()`: of the call that a thread is in.
//! - `resumption()`: how a thread goes on once it has made another call in between.
//! - `exit()`: has a thread end its process.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::*;

/// How a thread goes on once it has made another call than its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resumption {
    /// At which address.
    pub(super) address: u64,
    /// With what in the register of results.
    pub(super) result: u64,
    /// With what in the register of numbers, where that is another one.
    pub(super) number: u64,
}
