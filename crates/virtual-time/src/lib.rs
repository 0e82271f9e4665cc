//! Virtual time for a tree of processes.
//!
//! | module | what it does |
//! | --- | --- |
//! | `board` | words that several processes write: servers, reports |
//! | `pages` | the vvar pages in a memfd, and what the next publisher needs to know |
//! | `name` | finding the pages of a name from another terminal |
//! | `time` | creating, showing and changing a tree's time |
//! | `kernel` | the kernel's own clocks, whatever vDSO this process has |
//! | `mapping` | shared memory: the crate's only unsafe code |
//! | [`text`] | dates, durations and rates as people write them |
//! | `timex` | the results of adjtimex(2) |
//!
//! [`IMAGE`] is the clock image, built with this crate. [`Time::create`] makes the vvar pages
//! that belong behind it; a tree of processes to which both are delivered has that time. Each
//! change is a write to those pages, which every process of the tree reads: no process is
//! notified, and none has to run for time to advance.
//!
//! # What it promises
//! 1. **One publisher at a time**, for as long as a change takes: a lock on the pages' file.
//! 2. **Whole changes.** The new state is stored in one latched write, and the records after
//!    it; if a publisher is killed in between, the next one writes the records.
//! 3. **Nothing on disk.** The pages are in a memfd, which the kernel frees with the last
//!    process that has it mapped or open.
//!
//! # What it does not do
//! The kernel's own behaviour is unchanged: sleeps, time-outs, timers, file times and the
//! results of system calls are in real time, unless a supervisor intercepts the calls and
//! converts them with a [`Reader`] and [`timex`].
#![cfg(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
))]

mod board;
mod clock_pages;
mod error;
mod kernel;
mod name;
mod pages;
pub mod text;
mod time;
mod timex;
mod tree;

pub use error::Error;
pub use name::{Name, Named, list};
pub use time::{Change, Reader, Reading, Reports, Time};
pub use timex::timex;
pub use vdsokit_clock::Clocks;

/// The clock image, an ELF shared object for delivery: the functions of the kernel's own
/// vDSO, reading records in its vvar pages.
pub const IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clock.so"));

/// The same for 32-bit programs on x86-64 kernels, i386's, over the same vvar pages. `None` where the
/// compiler that built this crate had no `core` library for them.
#[cfg(target_arch = "x86_64")]
pub const IMAGE_I386: Option<&[u8]> = {
    let image: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clock-i386.so"));
    if image.is_empty() { None } else { Some(image) }
};
