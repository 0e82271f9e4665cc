//! RISC-V with Sv39 page tables, started by SBI firmware.
#![allow(
    unsafe_code,
    reason = "uses registers and instructions of the processor"
)]

mod boot;
mod registers;
pub mod signal;

pub use boot::{flush_others, start_cpus};
pub use registers::{Frame, UserState, never_ran};

use crate::memory::Rights;
use core::arch::asm;

/// Where the machine's memory is mapped: the upper half, by pages of 1 GiB.
pub const DIRECT: usize = 0xffff_ffc0_0000_0000;

/// The address behind the last one of programs: half of what 39 bits reach.
pub const USER_END: usize = 1 << 38;

pub const LEVELS: usize = 3;
pub const CALL_LENGTH: usize = 4;
pub const ELF_MACHINE: u16 = vdsokit_elf::constants::EM_RISCV;
pub const MACHINE: &str = "riscv64";

const VALID: u64 = 1;
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 2;
const EXECUTE: u64 = 1 << 3;
const USER: u64 = 1 << 4;
const GLOBAL: u64 = 1 << 5;
const ACCESSED: u64 = 1 << 6;
const DIRTY: u64 = 1 << 7;

/// Gigabytes of physical addresses that the kernel maps, devices included.
const GIGABYTES: usize = 64;

/// The kernel's half of the root table: entry 256 maps the first gigabyte at [`DIRECT`].
const fn kernel_entry(gigabyte: usize) -> u64 {
    let page = (gigabyte as u64) << 18;
    page << 10 | VALID | READ | WRITE | EXECUTE | GLOBAL | ACCESSED | DIRTY
}

pub fn kernel_entries() -> impl Iterator<Item = (usize, u64)> {
    (0..GIGABYTES).map(|gigabyte| (256 + gigabyte, kernel_entry(gigabyte)))
}

pub fn table_of(entry: u64) -> Option<usize> {
    (entry & VALID != 0).then_some((entry >> 10 << 12) as usize)
}

pub fn table_entry(physical: usize) -> u64 {
    (physical as u64) >> 12 << 10 | VALID
}

/// An entry that maps a page for programs. Pages can't be written without being read.
pub fn page_entry(physical: usize, rights: Rights) -> u64 {
    let bit = |condition: bool, bit: u64| if condition { bit } else { 0 };
    let has = |right| rights.intersects(right);
    // Without the last two, some processors trap at the first access.
    (physical as u64) >> 12 << 10
        | VALID
        | USER
        | bit(has(Rights::READ | Rights::WRITE), READ)
        | bit(has(Rights::WRITE), WRITE)
        | bit(has(Rights::EXECUTE), EXECUTE)
        | ACCESSED
        | DIRTY
}

/// Pages may be executed without being read.
pub fn has_execute_only() -> bool {
    true
}

pub fn activate(root: usize) {
    let satp = 8 << 60 | root >> 12;
    // SAFETY: every root table maps the kernel as the current one does. Without a number of an
    // address space, what the CPU remembers has to be flushed, its instructions too.
    unsafe { asm!("csrw satp, {}", "sfence.vma", "fence.i", in(reg) satp, options(nostack)) }
}

pub fn flush(address: usize) {
    // SAFETY: removes cached entries only.
    unsafe { asm!("sfence.vma {}", in(reg) address, options(nostack)) }
}

pub fn flush_all() {
    // SAFETY: removes cached entries only.
    unsafe { asm!("sfence.vma", options(nostack)) }
}

/// Instructions were written to a page that no CPU has executed yet. Others that run the same program
/// learn of it by [`flush_others`].
pub fn instructions_written(_physical: usize) {
    // SAFETY: orders fetches behind stores.
    unsafe { asm!("fence.i", options(nostack)) }
}

/// `AT_HWCAP`: a bit for each letter of the extensions that every program may use.
pub fn capabilities() -> usize {
    b"imafdc".iter().map(|letter| 1 << (letter - b'a')).sum()
}

/// The stack of the next trap lies at the frame, which `run` passes on.
pub fn set_stack(_frame: *mut Frame) {}

/// The number of this CPU, which the kernel has in `tp`.
pub fn cpu() -> usize {
    let cpu;
    // SAFETY: reads a register.
    unsafe { asm!("mv {}, tp", out(reg) cpu, options(nomem, nostack, preserves_flags)) }
    cpu
}

pub fn relax() {
    core::hint::spin_loop();
}

pub fn counter() -> u64 {
    let time;
    // SAFETY: reads a counter.
    unsafe { asm!("rdtime {}", out(reg) time, options(nomem, nostack)) }
    time
}

pub fn set_timer(at: u64) {
    sbi_rt::set_timer(at);
}

pub fn wait() {
    // SAFETY: `wfi` also ends for an interrupt that `sstatus` holds back.
    unsafe { asm!("wfi", options(nomem, nostack)) }
}

#[allow(
    deprecated,
    reason = "each version of SBI has this call, not each the newer one"
)]
pub fn put(byte: u8) {
    sbi_rt::legacy::console_putchar(byte.into());
}

#[allow(
    deprecated,
    reason = "each version of SBI has this call, not each the newer one"
)]
pub fn get() -> Option<u8> {
    u8::try_from(sbi_rt::legacy::console_getchar()).ok()
}

pub fn power_off() -> ! {
    sbi_rt::system_reset(sbi_rt::Shutdown, sbi_rt::NoReason);
    loop {
        wait();
    }
}
