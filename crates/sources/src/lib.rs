//! Sources of values for a published vDSO.
//!
//! | module | values | kept by |
//! | --- | --- | --- |
//! | [`system`] | this machine's numbers, from /proc | this process, once each period |
//! | [`clock`] | time for a clock image | this process, or the kernel |
//! | [`kernel`] | variables of the running kernel | the kernel, at each tick |
//!
//! [`System`](system::System), [`ClockSource`](clock::ClockSource) and
//! [`Relay`](kernel::Relay) implement [`vdsokit_publish::serve::Source`]: the main loop
//! [`Serve`](vdsokit_publish::serve::Serve) runs any of them.
//!
//! Without the feature `publish` only a published clock can be read.

#![cfg(target_os = "linux")]

pub mod clock;
#[cfg(feature = "publish")]
mod error;
#[cfg(feature = "publish")]
pub mod kernel;
#[cfg(feature = "publish")]
pub mod system;

#[cfg(feature = "publish")]
pub use error::Error;

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
