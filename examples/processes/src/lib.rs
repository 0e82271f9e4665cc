//! The number of processes, as a virtual system call of Linux.
//!
//! ```text
//! $ vdso kernel add --tree ../linux-6.12 examples/processes
//! ```
#![no_std]

use vdsokit_rt::{virtual_syscall, vvars};

vvars! {
    /// How many processes there are, in all namespaces.
    #[vvar(unit = "1")]
    pub static PROCESSES: u64 = 0;
}

/// How many processes there are.
#[virtual_syscall]
pub fn number_of_processes() -> u64 {
    PROCESSES.get()
}
