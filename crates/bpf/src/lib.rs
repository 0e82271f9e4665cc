//! The running kernel as a publisher.
//!
//! A BPF program on the function by which Linux updates its own vDSO copies declared
//! variables of the kernel's into a map, and that map *is* vvar pages: every process
//! that maps it reads the kernel's variables at the cost of a load. No patch, no
//! module, no reboot, and no process that polls: once [pinned](Publisher::pin), the
//! kernel goes on publishing when the one that set it up is gone.
//!
//! ```no_run
//! use vdsokit_bpf::{Hook, Kernel, KernelVariable, Machine, Publisher};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let image: Vec<u8> = Vec::new();
//! let kernel = Kernel::running()?;
//! let threads = kernel.resolve("nr_threads:i32", &Hook::Tick)?;
//! let release = kernel.resolve("init_uts_ns.name.release", &Hook::Tick)?;
//! let variables = [
//!     KernelVariable::plain("threads", 64, threads),
//!     KernelVariable::plain("release", 128, release),
//! ];
//! let mut publisher = Publisher::start(&kernel, &image, &variables, Machine::THIS)?;
//! publisher.pin("/sys/fs/bpf/system".as_ref())?;
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it does |
//! | --- | --- |
//! | [`expression`] | what a declaration calls a value of the kernel's |
//! | [`named`] | values with a name of their own, and what must never be published |
//! | [`btf`], [`kallsyms`] | the kernel's types and symbols |
//! | [`kernel`] | the meaning of an expression in the running kernel |
//! | [`hook`] | when a value is copied |
//! | [`program`] | the program, assembled from the declaration |
//! | [`publisher`] | loading, attaching, pinning, retiring |
//! | [`mapped_pages`] | the pages in a reader's memory |
//! | [`privileges`] | what is missing when the kernel refuses |
//! | [`sys`] | bpf(2) |
//! | `current` | facts about the running task, for `vdsokit-current` (x86-64) |
//!
//! # How old a value is
//! Values are copied at each tick (`CONFIG_HZ`: 4 ms at 250 Hz), right after the kernel has
//! counted it, and at once after the events that a variable names. Counted in ticks, a value is
//! of the current one. A tick that comes late by part of its length, as on a machine that a
//! hypervisor holds up, may be followed by one in which the kernel finds its clocks up to date
//! and doesn't update its vDSO (`timekeeping_advance`); values are one tick old then.
//!
//! While any CPU runs anything, one of them has the tick. While every CPU is idle no tick comes
//! and the pages stand still, for seconds perhaps; the first CPU that wakes up brings them up to
//! date before it runs anything else, since Linux updates its own clocks then
//! (`tick_nohz_irq_enter`): no program on it sees how long they stood.
//!
//! # What it costs
//! The tick's program, with all that Linux does around it, takes some 180 instructions without
//! a variable, 670 with sixteen ordinary ones on Linux 6.12 and 1,480 on 6.1, which has no
//! `bpf_rdonly_cast`: well below 2 µs, and 0.05 % of one CPU at 250 Hz, on a CPU that completes
//! only one instruction a nanosecond. What a count doesn't say is how far away the variables
//! are: a line of memory that no cache has takes some 100 ns, and a sum over all CPUs reads one
//! from each. `cargo xtask vm kernel-instructions` counts.
//!
//! # Rights
//! Publishing takes CAP_BPF and CAP_PERFMON, and CAP_SYSLOG for symbols; a kernel
//! that is locked down for confidentiality lets only per-CPU variables be read. Reading takes nothing. Everybody
//! can read what is published, so pointers are refused, symbols with a secret's name
//! are refused, and the program checks every 8-byte number for being an address of
//! the kernel's before it stores it. Where the kernel itself does not describe a value, because a
//! declaration says its type or the way to it leads through a union or beyond an array, every
//! aligned word that the value lies in is checked: half of a pointer is kept back too.

#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "what only the module `current` uses")
)]

mod asm;
pub mod btf;
#[cfg(target_arch = "x86_64")]
pub mod current;
#[cfg(not(target_arch = "x86_64"))]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "there are readers for x86-64 only"
)]
mod current;
mod error;
pub mod expression;
pub mod hook;
pub mod kallsyms;
pub mod kernel;
pub mod mapped_pages;
pub mod named;
pub mod privileges;
pub mod program;
pub mod publisher;
pub mod sys;

pub use error::Error;
pub use hook::Hook;
pub use kernel::{Kernel, Listed, Value};
pub use mapped_pages::MappedPages;
pub use named::plain_name;
pub use program::{Content, KernelVariable, Machine, Timeline};
pub use publisher::{Publisher, hooks, open, pages_of, retire};

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
