//! What lies where in the pages.
//!
//! There are two kinds of pages, each a BPF array map of one element: one **head** for all
//! readers, and **slots**, one map for each user or one for everybody. A reader maps the slots right
//! behind the head's page.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes of the head and of a slot.
pub const LINE: usize = 128;

/// The directory in the BPF file system with all of it.
pub const DIRECTORY: &str = "/sys/fs/bpf/current";

/// The head's name there.
pub const HEAD_NAME: &str = "head";

/// The name of slots that everybody may read. Those of one user have the user's number.
pub const WORLD_NAME: &str = "world";

/// The link of a clock image that delivery fills with the address of a page of the process's own,
/// zeros at first, for the times that its threads were given last. Head and slots are mapped right
/// behind it.
pub const LINK: &str = "vdsokit_current";

/// The layout version: another for each incompatible change of this module.
pub const LAYOUT: u32 = 1;

/// [`Head::state`] before every program is attached.
pub const STARTING: u32 = 0;
/// [`Head::state`] while the slots are kept up to date.
pub const LIVE: u32 = 1;
/// [`Head::state`] for ever after.
pub const RETIRED: u32 = 2;

/// [`Head::flags`]: the CPUs have the instruction `rdpid`.
pub const FLAG_RDPID: u32 = 1;

/// [`Slot::group_sum`] of a process of several threads.
pub const SEVERAL: u64 = u64::MAX;

/// For how many nanoseconds CPU time is known after the last tick. While any CPU runs a task, one of
/// them has the tick, at least every 10 ms; a hypervisor may hold that CPU up.
pub const PATIENCE: u64 = 250_000_000;

/// What holds for all CPUs.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Head {
    /// [`STARTING`], [`LIVE`] or [`RETIRED`].
    pub state: AtomicU32,
    /// [`LAYOUT`].
    pub layout: AtomicU32,
    /// The number of slots: one more than the greatest CPU number that there may be.
    pub cpus: AtomicU32,
    /// [`FLAG_RDPID`].
    pub flags: AtomicU32,
    /// Odd while the next three are being changed.
    pub clock_sequence: AtomicU64,
    /// `sched_clock` is `(counter × mult) >> shift`, plus `offset`: the kernel's own `cyc2ns`. 0 where
    /// the kernel's `sched_clock` is not that.
    pub mult: AtomicU32,
    /// See `mult`.
    pub shift: AtomicU32,
    /// See `mult`.
    pub offset: AtomicU64,
    /// The time-stamp counter at the last tick.
    pub heartbeat: AtomicU64,
    reserved: [AtomicU64; 2],
    /// How many tasks have exited. In a cache line of its own, since it changes on any CPU.
    pub relations: AtomicU64,
}

/// The task on one CPU. Only that CPU writes it.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Slot {
    /// Raised before any other field is written: at each switch to a task, and at exec.
    pub sequence: AtomicU64,
    /// The thread's id in its own PID namespace; 0 when only the kernel knows.
    pub tid: AtomicU32,
    /// The process's id in the same namespace.
    pub pid: AtomicU32,
    /// The parent's id in the same namespace, 0 when it is not in that; valid if `parent_known` is 1.
    pub parent: AtomicU32,
    /// 0 when the parent was exiting.
    pub parent_known: AtomicU32,
    /// [`Head::relations`] before the parent was looked up.
    pub relations: AtomicU64,
    /// CPU time of the thread when it came in, in nanoseconds (`se.sum_exec_runtime`).
    pub sum: AtomicU64,
    /// `sched_clock` when it came in (`se.exec_start`).
    pub start: AtomicU64,
    /// CPU time of the process's threads that have ended; [`SEVERAL`] unless one thread is left.
    pub group_sum: AtomicU64,
    reserved: AtomicU64,
    /// Context switches because the thread waited.
    pub voluntary: AtomicU64,
    /// Context switches because another task was to run.
    pub involuntary: AtomicU64,
    /// Nanoseconds that the thread has waited for a CPU while it could run.
    pub run_delay: AtomicU64,
}

const _: () = {
    assert!(size_of::<Head>() == LINE && size_of::<Slot>() == LINE);
    // Every read loads the state, and every exit stores the count.
    assert!(
        core::mem::offset_of!(Head, heartbeat) < 64 && core::mem::offset_of!(Head, relations) == 64
    );
    // Ids and CPU time are in one cache line.
    assert!(core::mem::offset_of!(Slot, group_sum) < 64);
};

/// Bytes of a map with the slots of so many CPUs: whole pages.
#[must_use]
pub const fn slots_size(cpus: usize) -> usize {
    cpus.saturating_mul(LINE).saturating_add(4095) & !4095
}
