//! The data page of a vDSO, and the only place that knows its layout.
//!
//! A publisher keeps values in *vvar pages*; readers map those pages read-only and
//! call functions that load from them. This crate holds both halves of every
//! structure in the pages side by side, so that one reading shows that they agree:
//!
//! | module | what it lays down |
//! | --- | --- |
//! | [`header`] | the first 64 bytes: format, layout hash, state, when last written |
//! | [`scalar`] | a variable of up to 8 bytes: one atomic load, one atomic store |
//! | [`latch`] | anything larger: two copies and a sequence number |
//! | [`layout`] | where each variable comes to lie, and the hash of it |
//! | [`directory`] | the ELF note that names every variable |
//! | [`pages`] | mapped memory seen as all of the above: the only unsafe code here |
//! | [`value`] | typed values: records, arrays, texts |
//!
//! # The rules of this shared memory
//!
//! Every `SAFETY` comment in the project that touches vvar pages rests on these.
//!
//! 1. **One writer.** At any instant at most one publisher stores into the pages.
//! 2. **Readers never write**, not even a count of readers: their mapping is read-only,
//!    and a reader costs the writer and other readers nothing.
//! 3. **Atomics only.** Everything that may change while it is mapped is loaded and
//!    stored with atomic instructions, each location always with the same width.
//! 4. **Any bits are a value.** A reader decodes whatever it finds without undefined
//!    behaviour; a hostile publisher can lie, it cannot corrupt its readers.
//! 5. **Nothing shrinks.** Pages once mapped stay backed: a publisher replaces a file,
//!    it never truncates one.
//! 6. **Layouts only grow.** A new variable comes behind the old ones; an offset once
//!    given stays.
//!
//! # What it does not do
//!
//! It maps nothing, allocates nothing and makes no system call. It runs in kernels,
//! in images and in programs alike.
#![cfg_attr(not(test), no_std)]

pub mod directory;
pub mod header;
pub mod latch;
pub mod layout;
#[cfg(not(loom))]
pub mod pages;
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
/// of its 8-byte word as `u64`, the symbol's name and its version, both ended by a
/// NUL, and zeros up to the next multiple of 8. A word that nobody filled is 0.
pub const NOTE_LINKS: u32 = 2;

/// The smallest unit in which a page can be mapped by every supported machine of an
/// architecture is chosen by the image; this is the smallest there is.
pub const PAGE_SIZE: usize = 4096;
