//! A function over variables of the running kernel: is this machine short of memory?
//!
//! ```text
//! $ vdso build examples/pressure
//! $ sudo vdso serve libpressure.so.1        # the kernel publishes, at each tick
//! ```
#![no_std]

use vdsokit_rt::{virtual_syscall, vvars};

vvars! {
    /// Pages that are free: no cache holds them either. The kernel counts them in signed words.
    #[vvar(unit = "pages")]
    #[kernel = "vm_zone_stat[NR_FREE_PAGES]"]
    pub static FREE: i64 = 0;

    /// Pages of files that have not been read for a while.
    #[vvar(unit = "pages")]
    #[kernel = "vm_node_stat[NR_INACTIVE_FILE]"]
    pub static INACTIVE_FILES: i64 = 0;

    /// Pages that the kernel keeps back for itself.
    #[vvar(unit = "pages")]
    #[kernel = "totalreserve_pages"]
    pub static RESERVE: u64 = 0;
}

/// 1 when less memory is to be had without swapping than twice what the kernel keeps back for
/// itself: free pages, and half of the inactive pages of files, as `MemAvailable` counts them
/// (`si_mem_available` in mm/show_mem.c). 0 otherwise, and before the kernel has published.
#[virtual_syscall]
pub fn memory_is_short() -> u64 {
    let available = FREE.get().saturating_add(INACTIVE_FILES.get() / 2);
    // Each CPU adds what it counted now and then, so a sum may be below 0 for a moment.
    u64::from(available.max(0).unsigned_abs() < RESERVE.get().saturating_mul(2))
}
