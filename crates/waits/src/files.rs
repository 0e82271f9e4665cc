//! File times: which calls read and set them, and what they are at the time of the tree.
//!
//! A file system has one clock, the kernel's wall clock. What a program reads from it is converted
//! behind the call, and what it sets before the call. Both are made through the gate
//! ([`crate::gate`]).
//!
//! Sources: stat(2), statx(2), utimensat(2); include/uapi/linux/stat.h, arch/x86/include/uapi/asm/stat.h
//! and include/uapi/asm-generic/stat.h for the structures.

mod calls;
mod mapping;

pub use calls::{DELIVERY, FileCall, Layout, Set, decode, rules};
#[cfg(target_arch = "x86_64")]
pub use calls::{decode_i386, rules_i386};
pub use mapping::Mapping;
