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
}

static CPUS: [Cpu; MOST_CPUS] = [const {
    Cpu {
        current: Guarded::new(None),
        previous: Guarded::new(None),
        idle: schedule::Saved::new(),
    }
}; MOST_CPUS];

/// How many CPUs run.
static RUNNING: AtomicUsize = AtomicUsize::new(1);

/// This CPU.
pub fn this() -> &'static Cpu {
    &CPUS[arch::cpu()]
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
