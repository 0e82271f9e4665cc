//! x86-64 with four levels of page tables, started by the PVH protocol.
#![allow(
    unsafe_code,
    reason = "uses registers and instructions of the processor"
)]

mod acpi;
mod boot;
mod calibrate;
mod devices;
mod interrupts;
mod registers;
pub mod signal;

pub use boot::start_cpus;
pub use devices::{get, power_off, put, set_timer};
pub use interrupts::{cpu, flush_others, has_rdpid, relax, set_stack, wait};
pub use registers::{Frame, UserState, never_ran};

use crate::memory::Rights;
use core::arch::asm;
use core::sync::atomic::Ordering;

/// Where the first 2 GiB of the machine's memory are mapped. Memory behind them is not used.
pub const DIRECT: usize = 0xffff_ffff_8000_0000;

/// Where the first 4 GiB of physical addresses are mapped for devices, without caches.
const DEVICES: usize = 0xffff_8000_0000_0000;

/// The address behind the last one of programs. The last page below 2⁴⁷ stays free: a system call
/// in its last bytes would return to an address that is none.
pub const USER_END: usize = (1 << 47) - 4096;

pub const LEVELS: usize = 4;
pub const CALL_LENGTH: usize = 2;
pub const ELF_MACHINE: u16 = vdsokit_elf::constants::EM_X86_64;
pub const MACHINE: &str = "x86_64";

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const UNCACHED: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
/// Protection key 1, with which [`registers`] forbids data accesses.
const EXECUTE_ONLY: u64 = 1 << 59;
const NO_EXECUTE: u64 = 1 << 63;

/// The bits of an entry that are an address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

pub fn kernel_entries() -> impl Iterator<Item = (usize, u64)> {
    boot::kernel_tables().into_iter()
}

pub fn table_of(entry: u64) -> Option<usize> {
    (entry & PRESENT != 0).then_some((entry & ADDRESS) as usize)
}

pub fn table_entry(physical: usize) -> u64 {
    physical as u64 | PRESENT | WRITE | USER
}

/// An entry that maps a page for programs. Pages can't be written without being read; where the
/// processor has protection keys, they can be executed without that.
pub fn page_entry(physical: usize, rights: Rights) -> u64 {
    let bit = |condition: bool, bit: u64| if condition { bit } else { 0 };
    let has = |right| rights.intersects(right);
    let is_text = rights == Rights::EXECUTE;
    physical as u64
        | PRESENT
        | USER
        | bit(has(Rights::WRITE), WRITE)
        | bit(!has(Rights::EXECUTE), NO_EXECUTE)
        | bit(is_text && has_execute_only(), EXECUTE_ONLY)
}

/// Whether pages may be executed without being read: by a protection key, which a program can take
/// back (`wrpkru`), as on Linux.
pub fn has_execute_only() -> bool {
    interrupts::HAS_KEYS.load(Ordering::Relaxed)
}

pub fn activate(root: usize) {
    // SAFETY: every root table maps the kernel as the current one does.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) }
}

pub fn flush(address: usize) {
    // SAFETY: removes cached entries only.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) }
}

pub fn flush_all() {
    // SAFETY: loading the current root again removes cached entries only.
    unsafe {
        asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags));
    }
}

/// Instructions were written to a page that no CPU has executed yet: caches agree by themselves.
pub fn instructions_written(_physical: usize) {}

/// `AT_HWCAP`: the feature bits of `cpuid`, leaf 1, `edx`.
pub fn capabilities() -> usize {
    core::arch::x86_64::__cpuid(1).edx as usize
}

pub fn counter() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter, behind the instructions before it.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Random bytes of the processor's.
fn seed() -> Option<[u8; 32]> {
    const RDRAND: u32 = 1 << 30;
    if core::arch::x86_64::__cpuid(1).ecx & RDRAND == 0 {
        return None;
    }
    let mut seed = [0; 32];
    for word in seed.chunks_exact_mut(8) {
        let value: u64;
        let is_random: u8;
        // SAFETY: the processor has the instruction, which sets the carry flag when it had bytes.
        unsafe {
            asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) is_random,
                options(nomem, nostack));
        }
        if is_random == 0 {
            return None;
        }
        word.copy_from_slice(&value.to_ne_bytes());
    }
    Some(seed)
}
