//! Facts about the running task, read without a system call.
//!
//! A page for each *process* can't be right: a child of vfork(2) shares its parent's memory, and C
//! libraries have given up their caches of the process id over that. So there is a slot for each
//! **CPU**. A BPF program on the tracepoint `sched_switch` (crate `vdsokit-bpf`, module `current`)
//! fills it with the facts of the task that comes in, and the reader finds out whether it has
//! stayed on that CPU, uninterrupted, while it read.
//!
//! # The order of a read
//! 1. The choice of a slot: that of the CPU where the thread was at its last read ([`Hint`]), else that of the
//!    CPU whose number `rdpid` tells, or `lsl` where the CPU lacks that.
//! 2. The slot's sequence number.
//! 3. The facts, and the time-stamp counter where time is wanted.
//! 4. The CPU's number, by the same instruction.
//! 5. The sequence number again, **last**.
//!
//! If 4 is the slot's CPU and 5 equals 2, then the facts are the reader's own, whatever chose the slot. Let *c*
//! be its CPU. At step 4 the thread runs on *c*. If it came in on *c* after step 2, then that switch raised the
//! slot's number before the thread executed another instruction, and step 5 loads the new number:
//! either it still runs on *c*, whose program order holds, or it was moved after step 4, and a
//! switch on another CPU comes after the switch out on *c* (the run queue's lock orders them). So
//! the thread has been on *c* since before step 2, without a switch, and steps 2 and 3 found what
//! its own switch in has stored. A thread that was elsewhere at step 2 has come in after it.
//!
//! What the CPU executes out of order does not matter: a switch comes between two instructions, loads of one
//! thread are in program order on x86-64, and between two switches the CPU's number is always the same.
//!
//! With the steps in another order this fails: without step 4 a thread whose guess is wrong, or that moves
//! between steps 1 and 2, reads the slot of another CPU's task, in which nothing has to change before step 5;
//! with step 5 before step 4 it moves away after step 5 and back before step 4. The number that
//! rseq(2) keeps in user memory is no substitute for the instruction: it lies in the memory that a
//! child of vfork shares with its parent. That is why it may guess, and must not confirm.
//! Tests in the lab move the thread between any two steps.
//!
//! # What else can change
//! | event | what keeps the facts right |
//! | --- | --- |
//! | fork, vfork, any clone, setns(2), PID namespaces | the child is switched in before it runs |
//! | exec by a thread that is not the leader: it takes over the leader's id | a program on `sched_process_exec` |
//! | the parent exits | each exit of a task raises a count that the snapshot of the parent's id has to match, before children get another parent; a parent that is exiting is none |
//! | a second thread begins | a program on `task_newtask` withdraws the process's CPU time |
//! | the kernel threads, idle CPUs | clear the slot |
//! | the programs are detached | [`Head::state`], see below |
//!
//! # Detaching
//! Slots of a kernel whose programs are gone look valid and are wrong. So every read ends with a
//! load of [`Head::state`]. It is set to retired, by a BPF program, before the kernel releases any
//! link of the programs: by `vdso retire current`, or by programs on the functions through which the kernel
//! releases links, whatever the reason (the pins are removed, the BPF file system is unmounted).
//! CPU time has a second bound, since it reads the counter anyway: it is unknown when the last tick
//! was more than [`PATIENCE`] ago.
//!
//! # Memory ordering
//! x86-64 only. Loads are not reordered with loads there, and the writer of a slot is the reader's
//! own CPU, so the orderings below compile to plain loads; they keep the compiler from reordering.
//! Other architectures have no instruction that tells the CPU's number without a system call, or
//! none that holds in a child of vfork (AArch64's `TPIDRRO_EL0` is zero under Linux).
#![no_std]
#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "no reader there")
)]

#[cfg(test)]
extern crate std;

#[cfg(target_arch = "x86_64")]
mod arch;
mod clock;
#[cfg(target_arch = "x86_64")]
mod cpu_clocks;
#[cfg(target_arch = "x86_64")]
mod current;
mod layout;
#[cfg(all(vdsokit_current_library, target_arch = "x86_64"))]
mod library;
#[cfg(target_arch = "x86_64")]
mod open;
#[cfg(target_arch = "x86_64")]
mod reader;

#[cfg(target_arch = "x86_64")]
pub use arch::{counter, cpu, has_rdpid};
pub use clock::{Clamp, Coefficients};
#[cfg(target_arch = "x86_64")]
pub use cpu_clocks::{Clamps, CpuClocks};
#[cfg(target_arch = "x86_64")]
pub use current::{Current, PerThread};
pub use layout::{
    DIRECTORY, FLAG_RDPID, HEAD_NAME, Head, LAYOUT, LINE, LINK, LIVE, PATIENCE, RETIRED, SEVERAL,
    STARTING, Slot, WORLD_NAME, slots_size,
};
#[cfg(target_arch = "x86_64")]
#[doc(hidden)]
pub use open::in_memory;
#[cfg(target_arch = "x86_64")]
pub use reader::{Facts, Hint, Reader, Switches};

/// Tests the examples of the README.
#[cfg(all(doctest, target_arch = "x86_64"))]
#[doc = include_str!("../README.md")]
struct Readme;
