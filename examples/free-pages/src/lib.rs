//! The number of free pages, as a virtual system call of Linux.
//!
//! ```text
//! $ vdso kernel add --tree ../linux-6.12 examples/free-pages
//! ```
#![no_std]

use vdsokit_rt::{virtual_syscall, vvars};

vvars! {
    /// How many pages of memory are free, and not used as a cache either.
    #[vvar(unit = "1")]
    pub static FREE_PAGES: u64 = 0;
}

/// How many pages of memory are free, and not used as a cache either.
#[virtual_syscall]
pub fn number_of_free_pages() -> u64 {
    FREE_PAGES.get()
}
