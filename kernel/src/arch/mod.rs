//! What differs between architectures, under the same names for each.
//!
//! | name | contract |
//! | --- | --- |
//! | `DIRECT` | where the machine's memory is mapped for the kernel, its own image included |
//! | `USER_END` | the address behind the last one of programs |
//! | `LEVELS`, `kernel_entries`, `table_of`, `table_entry`, `page_entry` | the words of page tables |
//! | `has_execute_only` | whether pages that programs execute and can't read are possible |
//! | `activate`, `flush`, `flush_all`, `instructions_written` | which tables a CPU uses, and what it remembers of them |
//! | `cpu`, `relax`, `start_cpus` | CPUs, numbered from 0 |
//! | `counter`, `set_timer`, `wait` | the counter that the clock is made of; an interrupt when it has a value; idling |
//! | `Frame` | the registers of a program while the kernel runs for it |
//! | `UserState` | its other registers, which the kernel does not use: floating point, thread pointer |
//! | `Context`, `switch` | the kernel's own registers of a task that does not run |
//! | `signal` | the layout of a signal's frame on the program's stack |
//! | `put`, `get`, `power_off` | the console, and the end |
//!
//! Each begins in assembly, makes a [`crate::Boot`] of what its firmware says and calls
//! [`crate::start`]. Each trap from a program calls [`crate::task::trap::enter`]. Interrupts are off
//! while kernel code runs; a trap of the kernel itself is a fault of the kernel, and ends it.

#[cfg(any(target_arch = "riscv64", target_arch = "aarch64"))]
mod device_tree;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(target_arch = "riscv64")]
pub use riscv64::*;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

/// Why a program's code was left.
#[derive(Clone, Copy, Debug)]
pub enum Trap {
    /// It made a system call.
    Call,
    /// An access that the page tables do not permit.
    Page(usize, crate::memory::Access),
    /// What it did is a signal's cause (`SIGILL`, `SIGTRAP`, `SIGFPE`, `SIGBUS`).
    Signal(u32),
    /// The timer's interrupt.
    Timer,
}
