//! The data page of a vDSO, and the only place that knows its layout.
//!
//! A publisher keeps values in *vvar pages*; readers map those pages read-only and
//! call functions that load from them. This crate holds both halves of every
//! structure in the pages side by side, so that one reading shows that they agree:
//!
//! | module | defines |
//! | --- | --- |
//! | [`header`] | the first 64 bytes: format, layout hash, state, heartbeat; the [`Condition`](header::Condition) of the values |
//! | [`scalar`] | a variable of up to 8 bytes: one atomic load, one atomic store |
//! | [`latch`] | anything larger: two copies and a sequence number |
//! | [`layout`] | the offset of each variable, and the layout hash |
//! | [`directory`] | the ELF note that names every variable |
//! | [`pages`] | typed access to mapped memory |
//! | `mapping` | with the feature of this name: files mapped into a Linux process |
//! | [`process`] | the page that a kernel publishes to one process |
//! | [`value`] | typed values: records, arrays, texts |
//!
//! # The rules of this shared memory
//!
//! Every `SAFETY` comment in the project that touches vvar pages rests on these.
//!
//! 1. **One writer.** At any time at most one publisher stores into the pages.
//! 2. **Readers never write**, not even a count of readers. Their mapping is read-only,
//!    and a reader costs the writer and other readers nothing.
//! 3. **Atomics only.** Everything that may change while it is mapped is loaded and
//!    stored with atomic instructions, each location always with the same width.
//! 4. **Any bits are a value.** A reader decodes all bit patterns without undefined
//!    behaviour: a hostile publisher can publish wrong values, but not corrupt its readers.
//! 5. **Files never shrink.** Mapped pages stay backed: a publisher replaces a file and
//!    never truncates one.
//! 6. **Layouts only grow.** A new variable is placed after the existing ones, whose
//!    offsets do not change.
//!
//! # What it does not do
//!
//! But for the module `mapping` it maps nothing, allocates nothing and makes no system call.
//! It runs in kernels, in images and in programs alike.
#![cfg_attr(not(test), no_std)]

#[cfg(all(feature = "mapping", not(test)))]
extern crate std;

pub mod directory;
pub mod header;
pub mod latch;
pub mod layout;
#[cfg(feature = "mapping")]
pub mod mapping;
#[cfg(not(loom))]
pub mod pages;
pub mod process;
pub mod scalar;
pub mod value;

/// The owner name of every ELF note that this project writes.
pub const NOTE_NAME: &str = "vdsokit";

/// Note type of the [`directory`].
pub const NOTE_DIRECTORY: u32 = 1;

/// Note type of the *links*: words in the image's read-only segment that delivery may
/// fill with the address of a function in the kernel's own vDSO.
///
/// The description is a `u32` count and a `u32` zero; then for each link the `p_vaddr`
/// of its 8-byte word as `u64`, the symbol's name and its version, both NUL-terminated,
/// and zeros up to the next multiple of 8. A word that was not filled is 0.
pub const NOTE_LINKS: u32 = 2;

/// Note type of the variables that the running kernel is to publish.
///
/// The description is text in UTF-8, a line for each variable: its name, a tab, and what it is in
/// the kernel, as `vdso serve --kernel` takes it.
pub const NOTE_KERNEL: u32 = 3;

/// The smallest page size of all supported architectures. An image chooses its own: the
/// largest page size of its architecture.
pub const PAGE_SIZE: usize = 4096;

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
