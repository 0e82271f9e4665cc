//! What a Rust crate that becomes a vDSO image is written with.
//!
//! ```
//! use vdsokit_rt::{virtual_syscall, vvars};
//!
//! vvars! {
//!     /// The number of the beast, for now.
//!     #[vvar(unit = "1")]
//!     pub static NUMBER: u64 = 666;
//! }
//!
//! /// The number of the beast.
//! #[virtual_syscall]
//! pub fn number_of_the_beast() -> u64 {
//!     NUMBER.get()
//! }
//! ```
//!
//! ```toml
//! # Cargo.toml
//! [package.metadata.vdso]
//! soname = "libbeast.so.1"
//! version = "BEAST_1.0"
//! ```
//!
//! `vdso build path/to/crate` compiles it and links the image. Compiled in any other
//! way, for `cargo test` for instance, the same crate has ordinary functions, and every
//! variable keeps its initial value.
//!
//! # Rules of code in an image
//!
//! It runs in processes that were not built with it. So there is no heap, no thread-local and
//! no writable memory, and code that needs one fails the build. No panic can be reached: a
//! panic handler that is would be an undefined symbol. A function whose pages have no answer
//! makes the system call: see [`system_call`].
#![no_std]

mod arch;
mod memory;
#[cfg(vdsokit_image)]
mod panic;

pub use arch::system_call;
pub use memory::{state, updated};
#[cfg(feature = "macros")]
pub use vdsokit_macros::{virtual_syscall, vvars};
pub use vdsokit_vvar as vvar;

/// Functions that the macros' output calls. Not public API.
#[doc(hidden)]
pub mod private {
    pub use crate::memory::{latched, scalar};
}

/// Expands to the first of two pieces of code in an image, elsewhere to the second. It is
/// defined here so that the `cfg` is known to this crate only, and not to its users' crates.
#[cfg(vdsokit_image)]
#[doc(hidden)]
#[macro_export]
macro_rules! __if_image {
    ({ $($image:tt)* } { $($elsewhere:tt)* }) => { $($image)* };
}

/// Expands to the first of two pieces of code in an image, elsewhere to the second. It is
/// defined here so that the `cfg` is known to this crate only, and not to its users' crates.
#[cfg(not(vdsokit_image))]
#[doc(hidden)]
#[macro_export]
macro_rules! __if_image {
    ({ $($image:tt)* } { $($elsewhere:tt)* }) => { $($elsewhere)* };
}

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
