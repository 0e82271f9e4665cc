//! CPUs, and what each is doing.

use crate::arch;
use crate::lock::Guarded;
use crate::task::{Task, schedule};
use crate::time;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How many CPUs there may be.
pub const MOST_CPUS: usize = 8;

/// What one CPU is doing.
pub struct Cpu {
    /// The task that it runs; `None` while it is idle.
    pub current: Guarded<Option<Arc<Task>>>,
    /// The task that it ran before, until its stack is surely not in use any more.
    pub previous: Guarded<Option<Arc<Task>>>,
    /// Its own registers while it runs a task.
    pub idle: schedule::Saved,
    /// The physical address of the root of the page tables that it uses.
    root: AtomicUsize,
}

static CPUS: [Cpu; MOST_CPUS] = [const {
    Cpu {
        current: Guarded::new(None),
        previous: Guarded::new(None),
        idle: schedule::Saved::new(),
        root: AtomicUsize::new(0),
    }
}; MOST_CPUS];

/// How many CPUs run.
static RUNNING: AtomicUsize = AtomicUsize::new(1);

/// This CPU.
pub fn this() -> &'static Cpu {
    &CPUS[arch::cpu()]
}

/// Uses page tables on this CPU.
pub fn use_tables(root: usize) {
    this().root.store(root, Ordering::Relaxed);
    arch::activate(root);
}

/// The other CPUs that use these page tables, as bits. The lock of the kernel keeps the answer right.
pub fn others_with(root: usize) -> usize {
    let uses = |(_, cpu): &(usize, &Cpu)| cpu.root.load(Ordering::Relaxed) == root;
    let cpus = CPUS.iter().enumerate().filter(uses);
    cpus.fold(0, |bits, (cpu, _)| bits | 1 << cpu) & !(1 << arch::cpu())
}

/// How many CPUs run.
pub fn count() -> usize {
    RUNNING.load(Ordering::Relaxed)
}

/// Starts the others, and this one's timer.
pub fn start(cpus: usize) {
    RUNNING.store(cpus, Ordering::Relaxed);
    arch::start_cpus(cpus);
    time::arm();
}

/// Begins work on another CPU than the first, with the lock of the kernel held.
pub fn start_other() -> ! {
    time::arm();
    schedule::idle()
}
