//! AArch64 with pages of 4 KiB and four levels of tables, started as Linux is.
#![allow(
    unsafe_code,
    reason = "uses registers and instructions of the processor"
)]

mod boot;
mod devices;
mod registers;
pub mod signal;

pub use boot::start_cpus;
pub use devices::{get, power_off, put};
pub use registers::{Frame, UserState, never_ran};

use super::direct;
use crate::memory::{PAGE, Rights};
use core::arch::asm;

/// Where the machine's memory is mapped: the upper half, which has tables of its own.
pub const DIRECT: usize = 0xffff_0000_0000_0000;

/// The address behind the last one of programs.
pub const USER_END: usize = 1 << 48;

pub const LEVELS: usize = 4;
pub const CALL_LENGTH: usize = 4;
pub const ELF_MACHINE: u16 = vdsokit_elf::constants::EM_AARCH64;
pub const MACHINE: &str = "aarch64";

const VALID: u64 = 1;
/// A table, or on the last level a page; without it, a block.
const TABLE: u64 = 1 << 1;
/// The second memory type of `MAIR_EL1`: with caches.
const NORMAL: u64 = 1 << 2;
const USER: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const SHARED: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
const KERNEL_NEVER_EXECUTES: u64 = 1 << 53;
const USER_NEVER_EXECUTES: u64 = 1 << 54;

/// The bits of an entry that are an address.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// The kernel has tables of its own: there is nothing of it in those of a process.
pub fn kernel_entries() -> impl Iterator<Item = (usize, u64)> {
    core::iter::empty()
}

pub fn table_of(entry: u64) -> Option<usize> {
    (entry & VALID != 0).then_some((entry & ADDRESS) as usize)
}

pub fn table_entry(physical: usize) -> u64 {
    physical as u64 | VALID | TABLE
}

/// An entry that maps a page for programs. Pages can't be written without being read.
pub fn page_entry(physical: usize, rights: Rights) -> u64 {
    let bit = |condition: bool, bit: u64| if condition { bit } else { 0 };
    let has = |right| rights.intersects(right);
    physical as u64
        | VALID
        | TABLE
        | NORMAL
        | bit(has(Rights::READ | Rights::WRITE), USER)
        | SHARED
        | ACCESSED
        | NOT_GLOBAL
        | KERNEL_NEVER_EXECUTES
        | bit(!has(Rights::WRITE), READ_ONLY)
        | bit(!has(Rights::EXECUTE), USER_NEVER_EXECUTES)
}

/// Pages may be executed without being read: what programs may read and what they may execute are
/// bits of their own. (The kernel reaches no page by a program's address, so it needs no PAN.)
pub fn has_execute_only() -> bool {
    true
}

pub fn activate(root: usize) {
    // SAFETY: the kernel is mapped by other tables. Without a number of an address space, what the
    // CPU remembers has to be flushed.
    unsafe {
        asm!("dsb ishst", "msr ttbr0_el1, {}", "isb", "tlbi vmalle1", "dsb nsh", "isb",
            in(reg) root, options(nostack, preserves_flags));
    }
}

/// Forgets what all CPUs remember of a page.
pub fn flush(address: usize) {
    // SAFETY: removes cached entries only, behind the stores that changed the tables.
    unsafe {
        asm!("dsb ishst", "tlbi vaae1is, {}", "dsb ish", "isb", in(reg) address >> 12,
            options(nostack, preserves_flags));
    }
}

/// Forgets what all CPUs remember of page tables.
pub fn flush_all() {
    // SAFETY: removes cached entries only, behind the stores that changed the tables.
    unsafe {
        asm!(
            "dsb ishst",
            "tlbi vmalle1is",
            "dsb ish",
            "isb",
            options(nostack, preserves_flags)
        );
    }
}

/// Has other CPUs forget what they remember: they already have, as flushing reaches all.
pub fn flush_others(_cpus: usize) {}

/// Instructions were written to a page that no CPU has executed yet.
pub fn instructions_written(physical: usize) {
    // The smallest line that there is.
    for line in (0..PAGE).step_by(16) {
        // SAFETY: writes a line of the caches back.
        unsafe { asm!("dc cvau, {}", in(reg) direct(physical + line), options(nostack)) }
    }
    // SAFETY: removes cached instructions only.
    unsafe { asm!("dsb ish", "ic ialluis", "dsb ish", "isb", options(nostack)) }
}

/// `AT_HWCAP`: floating point and vectors (HWCAP_FP, HWCAP_ASIMD), which every program may use.
pub fn capabilities() -> usize {
    3
}

/// The stack of the next trap is the one that the current task's registers lie on.
pub fn set_stack(_frame: *mut Frame) {}

/// The number of this CPU, which the kernel has in a register of its own.
pub fn cpu() -> usize {
    let cpu;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, tpidr_el1", out(reg) cpu, options(nomem, nostack, preserves_flags)) }
    cpu
}

pub fn relax() {
    core::hint::spin_loop();
}

pub fn counter() -> u64 {
    let ticks;
    // SAFETY: reads a counter, behind the instructions before it.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) }
    ticks
}

pub fn set_timer(at: u64) {
    // SAFETY: sets the virtual timer's comparator and switches it on.
    unsafe {
        asm!("msr cntv_cval_el0, {}", "msr cntv_ctl_el0, {}", "isb", in(reg) at, in(reg) 1_u64,
            options(nomem, nostack));
    }
}

pub fn wait() {
    // SAFETY: `wfi` also ends for an interrupt that is masked.
    unsafe { asm!("dsb sy", "wfi", options(nomem, nostack)) }
}
