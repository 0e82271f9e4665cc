//! Reads vDSO images of any publisher, including malformed ones.
//!
//! [`Image`] reads an ELF shared object in bytes: a file, the memory of this
//! process ([`memory`]), of another one ([`process`]), or a core dump ([`core_dump`]). It finds
//! symbols by name, version and file through the GNU hash table, the SysV one or none, on every
//! architecture that Linux has a vDSO for ([`arch`]): 32 and 64 bits, both byte orders.
//!
//! # What it promises
//! 1. **No input makes it panic or read outside the bytes given.** Offsets, counts and addresses
//!    in an image are hostile until compared with the bytes that are there.
//! 2. **Work is linear in the image's length.** A look-up passes at most [`MAX_STEPS`] symbols,
//!    names are at most [`MAX_NAME`] bytes long and versions at most [`MAX_VERSIONS`]; program
//!    headers take at most 4 KiB.
//! 3. **Parsing and looking up allocate nothing** and need no standard library.
//!
//! What needs an allocator or an operating system is behind the feature `std` (on by default):
//! [`check`], [`compare`], [`process`] and [`own`].
//!
//! # What it does not do
//! It maps nothing, relocates nothing and executes nothing except the functions that are called through [`own`].
//!
//! ```
//! let image = vdsokit_elf::own::image().expect("this process has a vDSO");
//! for symbol in image.symbols().filter(|symbol| symbol.is_export()) {
//!     println!("{:#x} {}", image.address_of(&symbol), symbol.name());
//! }
//! ```
#![cfg_attr(not(feature = "std"), no_std)]

// The tests' writer of images names this crate as its users do.
#[cfg(test)]
extern crate self as vdsokit_elf;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;

pub mod arch;
pub mod constants;
pub mod core_dump;
pub mod memory;

mod data;
mod dynamic;
mod hash;
mod image;
mod lookup;
mod note;
mod section;
mod segment;
mod symbol;
mod text;
mod version;

#[cfg(feature = "std")]
pub mod check;
#[cfg(feature = "std")]
pub mod compare;
#[cfg(feature = "std")]
pub mod file;
#[cfg(feature = "std")]
pub mod own;
#[cfg(feature = "std")]
pub mod process;

pub use data::{Class, Order};
pub use dynamic::{Dynamic, DynamicEntry};
pub use hash::{gnu_hash, sysv_hash};
pub use image::{Form, Header, Image, ParseError};
pub use lookup::MAX_STEPS;
pub use note::{Note, Notes};
pub use section::{Section, Sections};
pub use segment::{Segment, Segments};
pub use symbol::{Binding, Descriptor, Kind, Symbol, Symbols};
pub use text::{MAX_NAME, Text};
pub use version::{MAX_VERSIONS, Version, Versions};

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
