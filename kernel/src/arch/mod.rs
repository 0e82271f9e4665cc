//! What differs between architectures, under the same names for each.
//!
//! | name | contract |
//! | --- | --- |
//! | `DIRECT` | where the machine's memory is mapped for the kernel, its own image included |
//! | `USER_END` | the address behind the last one of programs |
//! | `ELF_MACHINE`, `MACHINE`, `CALL_LENGTH` | the machine in ELF headers and in `uname`; the length of the instruction that makes a system call |
//! | `LEVELS`, `kernel_entries`, `table_of`, `table_entry`, `page_entry` | the levels of page tables, the entries of each root that map the kernel, and the words that lead to a table or map a page for programs |
//! | `has_execute_only` | whether pages that programs execute and can't read are possible |
//! | `activate`, `flush`, `flush_all`, `instructions_written` | which tables this CPU uses; it forgets what it remembers of a page, or of all; so it does of instructions that were written to a page no CPU has executed |
//! | `cpu`, `relax`, `start_cpus` | CPUs, numbered from 0 |
//! | `counter`, `set_timer`, `wait` | the counter that the clock is made of; an interrupt when it has a value; idling |
//! | `Frame` | the registers of a program while the kernel runs for it, at the top of the task's stack: those with which it begins (`new`), the number and arguments of a call, its result, `restart` to go back to before it, the stack pointer |
//! | `UserState` | its other registers, which the kernel does not use: floating point, thread pointer |
//! | `switch`, `never_ran` | exchanges the kernel's own registers, which lie on the stack of a task that does not run |
//! | `signal` | the layout of a signal's frame on the program's stack: `each_word` calls a function with the place of each word that is a register, to store it there or to load it again, as a handler may have changed it; `store_rest` stores the others; `enter` has the program begin a handler |
//! | `signal::RESTORER` | the flag of `rt_sigaction` by which a program says where handlers return to; 0 where its structure has no place for that (`sa_restorer`) |
//! | `signal::RETURN_ADDRESS` | the bytes of a return address on the stack, at the start of the frame |
//! | `put`, `get`, `power_off` | the console, and the end |
//!
//! Each begins in assembly, makes a [`crate::Boot`] of what its firmware says and calls
//! [`crate::start`]. Each trap from a program calls [`crate::task::trap::enter`]. Interrupts are off
//! while kernel code runs; a trap of the kernel itself is a fault of the kernel, and ends it.

#![allow(unsafe_code, reason = "names what assembly and the linker define")]

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

use crate::cpu::MOST_CPUS;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

/// A page table of the kernel's image.
#[repr(align(4096))]
struct Table(#[expect(dead_code, reason = "used by the processor")] [u64; 512]);

/// The stacks that CPUs boot and idle on.
#[repr(align(16))]
struct Stacks(#[expect(dead_code, reason = "used by assembly")] [[u8; STACK]; MOST_CPUS]);

const STACK: usize = 16 << 10;

static mut STACKS: Stacks = Stacks([[0; STACK]; MOST_CPUS]);

/// The machine's own number of each CPU: its hart, affinity (`MPIDR_EL1`) or local APIC.
static NUMBERS: [AtomicUsize; MOST_CPUS] = [const { AtomicUsize::new(0) }; MOST_CPUS];

unsafe extern "C" {
    static KERNEL_START: u8;
    static KERNEL_END: u8;
    /// The first code of a task.
    fn begin();
    /// Stores the kernel's registers on the stack and its pointer at `from`, and goes on with another
    /// stack.
    ///
    /// # Safety
    /// `to` was stored by this function or leads to what [`never_ran`] returns, and its stack is not
    /// in use.
    pub fn switch(from: *mut usize, to: usize);
}

/// Where the kernel lies, in physical addresses.
fn kernel() -> Range<usize> {
    let address = |symbol: *const u8| symbol as usize - DIRECT;
    address(&raw const KERNEL_START)..address(&raw const KERNEL_END)
}

/// The kernel's address of a physical one.
pub fn direct(physical: usize) -> *mut u8 {
    (DIRECT + physical) as *mut u8
}

/// Stores the machine's numbers of the CPUs, the first one's first, and returns how many there are.
fn set_numbers(numbers: impl Iterator<Item = usize>) -> usize {
    let set = NUMBERS.iter().zip(numbers);
    set.map(|(place, number)| place.store(number, Ordering::Relaxed))
        .count()
}

/// The CPUs behind the first one, with the machine's numbers of them.
fn others(cpus: usize) -> impl Iterator<Item = (usize, usize)> {
    let all = NUMBERS.iter().enumerate().take(cpus).skip(1);
    all.map(|(cpu, number)| (cpu, number.load(Ordering::Relaxed)))
}

/// Why a program's code was left.
#[derive(Clone, Copy, Debug)]
pub enum Trap {
    /// It made a system call.
    Call,
    /// An access that the page tables do not permit.
    Page(usize, crate::memory::Rights),
    /// What it did is a signal's cause (`SIGILL`, `SIGTRAP`, `SIGFPE`, `SIGBUS`).
    Signal(u32),
    /// The timer's interrupt.
    Timer,
}
