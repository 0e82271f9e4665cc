//! The running kernel as a publisher.
//!
//! A BPF program on the function by which Linux updates its own vDSO copies declared
//! variables of the kernel's into a map, and that map *is* vvar pages: every process
//! that maps it reads the kernel's variables at the cost of a load. No patch, no
//! module, no reboot, and no process that polls: once [pinned](Publisher::pin), the
//! kernel goes on publishing when the one that set it up is gone.
//!
//! ```no_run
//! use vdsokit_bpf::{Hook, Kernel, Machine, Publisher, Variable};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let image: Vec<u8> = Vec::new();
//! let kernel = Kernel::running()?;
//! let threads = kernel.resolve("nr_threads:i32", &Hook::Tick)?;
//! let release = kernel.resolve("init_uts_ns.name.release", &Hook::Tick)?;
//! let variables = [
//!     Variable::plain("threads", 64, threads),
//!     Variable::plain("release", 128, release),
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
//! | [`mapping`] | the pages in a reader's memory |
//! | [`privileges`] | what is missing, when the kernel says no |
//! | [`sys`] | bpf(2) |
//!
//! # How old a value is
//! Values are copied at each tick (`CONFIG_HZ`: 4 ms at 250 Hz), and at once after
//! the events that a variable names. While every CPU is idle no tick comes; the first
//! that wakes up brings the pages up to date before it runs anything else, since
//! Linux updates its own clocks then.
//!
//! # Who may do it, and who reads
//! Publishing takes CAP_BPF and CAP_PERFMON, and CAP_SYSLOG for symbols; a kernel
//! that is locked down for confidentiality lets only per-CPU variables be read. Reading takes nothing. Everybody
//! can read what is published, so pointers are refused, symbols with a secret's name
//! are refused, and the program checks every 8-byte number for being an address of
//! the kernel's before it stores it. What that can't catch is a declaration that calls
//! half of a pointer a 32-bit number; only who may load BPF programs can make one.

mod asm;
pub mod btf;
mod error;
pub mod expression;
pub mod hook;
pub mod kallsyms;
pub mod kernel;
pub mod mapping;
pub mod named;
pub mod privileges;
pub mod program;
pub mod publisher;
pub mod sys;

pub use error::Error;
pub use hook::Hook;
pub use kernel::{Kernel, Listed, Value};
pub use mapping::Mapping;
pub use named::plain_name;
pub use program::{Content, Machine, Timeline, Variable};
pub use publisher::{Publisher, hooks, open, pages_of, retire};
