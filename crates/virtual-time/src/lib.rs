//! Virtual time for a tree of processes.
//!
//! | module | what it does |
//! | --- | --- |
//! | `pages` | the vvar pages in a memfd, and what the next publisher needs to know |
//! | `name` | finding the pages of a name from another terminal |
//! | `time` | creating, showing and changing a tree's time |
//! | `kernel` | the kernel's own clocks, whatever vDSO this process has |
//! | `mapping` | shared memory: the crate's only unsafe code |
//! | [`text`] | dates, durations and rates as people write them |
//!
//! [`IMAGE`] is the clock image, built with this crate. [`Time::create`] makes the pages
//! that go behind it; who delivers both to a tree of processes gives it that time. Each
//! change is a write to those pages, and every process of the tree reads them: there is
//! nothing to tell anybody, and no process that would have to run for time to go on.
//!
//! # What it promises
//! 1. **One publisher at a time**, for as long as a change takes: a lock on the pages' file.
//! 2. **Whole changes.** The new state is stored in one latched write before the records
//!    follow; a publisher that is killed between leaves the rest to the next.
//! 3. **Nothing on disk.** The pages are in a memfd, which the kernel frees with the last
//!    process that has it mapped or open.
//!
//! # What it does not do
//! It can't change what the kernel does: sleeps, time-outs, timers and file times are in real
//! time, and so is what a program asks for by system call, unless somebody catches that and
//! answers it from a [`Reader`].
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod error;
mod kernel;
mod mapping;
mod name;
mod pages;
pub mod text;
mod time;

pub use error::Error;
pub use name::{Name, Named, list};
pub use time::{Change, Reader, Reading, Time};

/// The clock image, an ELF shared object for delivery: the functions of the kernel's own
/// vDSO, over records in its vvar pages.
pub const IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clock.so"));
