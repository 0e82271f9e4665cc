//! Waits, time-outs and timers of programs whose clocks are not the kernel's.
//!
//! This crate decides and computes. It traces nothing and makes no system call: processes are
//! the business of `vdsokit-deliver`.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`call`] | the table of calls that take a time, and how each is made with a converted one |
//! | [`files`] | the calls that read and set file times, and what these are at another time |
//! | [`filter`] | a seccomp filter that lets all others through |
//! | [`gate`] | code and data in each program through which a converted call is made |
//! | [`course`] | when a clock of the tree will show a time, in terms of the kernel's clocks |
//! | [`idle`] | when a tree in which nothing runs may step to its next deadline |
//! | `i386` | the same calls of 32-bit programs on x86-64 |
//! | [`timers`] | timers that the kernel holds for the tree |
//! | `arch` | call numbers and the gate's code |
//!
//! # How a wait is converted
//! The filter hands a call with a time-out to a supervisor (seccomp_unotify(2)) and exempts calls
//! from one address range, the *gate*. The supervisor interrupts the thread, writes the converted
//! time-out and the call's own arguments into a *frame* of that thread, and lets the kernel
//! restart the call in the gate. The thread is traced for a few microseconds and not while it
//! waits: signals, handlers and restarts are the kernel's. Behind the call the gate loads the
//! arguments again and jumps to the instruction behind the program's own call.
#![cfg(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
))]

mod arch;
pub mod call;
pub mod course;
pub mod expiry;
pub mod files;
pub mod filter;
pub mod gate;
#[cfg(target_arch = "x86_64")]
pub mod i386;
pub mod idle;
pub mod timers;

use std::io;
use std::os::fd::BorrowedFd;

use vdsokit_clock::{Clock, KernelTime, Record};

pub use arch::{AUDIT, CLOCK_SETTERS, OTHER_EXECS, number};

/// What the wall clocks are to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WallTime {
    /// Nanoseconds since 1970.
    At(i128),
    /// Nanoseconds more than they show.
    MovedBy(i128),
}

/// The clocks of a tree.
pub trait Clocks: Send {
    /// How a clock goes, as programs read it.
    fn record(&self, clock: Clock) -> Record;

    /// What the kernel's clocks show.
    ///
    /// # Errors
    /// When they can't be read.
    fn now(&self) -> io::Result<KernelTime>;

    /// Moves all clocks forward by nanoseconds, at once.
    ///
    /// # Errors
    /// When the change can't be published.
    fn advance(&mut self, nanoseconds: u64) -> io::Result<()>;

    /// Makes this process one that gets SIGURG after each change by another process.
    fn serve(&mut self);

    /// Sets the wall clocks, or moves them, and tells other processes that serve them.
    ///
    /// # Errors
    /// When the wall clocks are not among those to move, or the change can't be published.
    fn set_wall(&mut self, to: WallTime) -> io::Result<()>;

    /// What adjtimex(2) returns and stores when it is called without modes.
    ///
    /// # Errors
    /// When it can't be read.
    fn adjustment(&self) -> io::Result<(i32, libc::timex)>;

    /// Whether time in which nothing runs is not to be skipped for now.
    fn is_held(&self) -> bool;

    /// The descriptors that this needs.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;
}
