//! Which task runs on which CPU.
//!
//! Tasks that can run stand in one queue. A task gives up its CPU when it waits, ends, or has run
//! for a tick while others can run.
#![allow(unsafe_code, reason = "exchanges the kernel's stacks and registers")]

use super::{Key, Outcome, TASKS, Task, Waiting};
use crate::arch::{self, Frame};
use crate::errno::Errno;
use crate::lock::{self, Guarded};
use crate::memory::Space;
use crate::memory::table::Table;
use crate::{cpu, time};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::UnsafeCell;

/// The tasks that can run and do not.
static READY: Guarded<VecDeque<Arc<Task>>> = Guarded::new(VecDeque::new());

/// Page tables without a program.
static KERNEL: Guarded<Option<Table>> = Guarded::new(None);

/// The stack pointer of what does not run, with the kernel's registers behind it; 0 for what never ran.
pub struct Saved(UnsafeCell<usize>);

// SAFETY: only `switch_to` reaches the value, with the lock of the kernel held.
unsafe impl Sync for Saved {}

impl Saved {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(0))
    }
}

const STACK: usize = 16 << 10;

/// The memory of a stack of the kernel's.
#[repr(align(4096))]
struct Bytes(#[expect(dead_code, reason = "used by the processor")] [u8; STACK]);

/// The kernel's stack of a task, with the program's registers at its top.
pub struct Stack {
    bytes: Box<UnsafeCell<Bytes>>,
    saved: Saved,
}

// SAFETY: the bytes are used by the CPU that runs the task, and by `switch_to` with the lock of the
// kernel held.
unsafe impl Sync for Stack {}
// SAFETY: the memory is not bound to a CPU.
unsafe impl Send for Stack {}

impl Stack {
    /// A stack of a task that begins with these registers.
    pub fn new(frame: &Frame) -> Self {
        // Made where it is to lie: an argument of this size would be on the current stack.
        let mut bytes = Box::<UnsafeCell<Bytes>>::new_uninit();
        // SAFETY: bytes of any value are valid, and zeros are bytes.
        let bytes = unsafe {
            bytes.as_mut_ptr().write_bytes(0, 1);
            bytes.assume_init()
        };
        let stack = Self {
            bytes,
            saved: Saved::new(),
        };
        let place = stack.frame();
        // SAFETY: the place is aligned, in the stack, and not in use yet, nor is what lies below it;
        // nothing else has the stack.
        unsafe {
            place.write(*frame);
            let saved = arch::never_ran();
            let pointer = place.cast::<usize>().sub(saved.len());
            pointer.copy_from_nonoverlapping(saved.as_ptr(), saved.len());
            *stack.saved.0.get() = pointer as usize;
        }
        stack
    }

    /// Where the program's registers lie.
    fn frame(&self) -> *mut Frame {
        let end = self.bytes.get() as usize + STACK;
        (end - size_of::<Frame>().next_multiple_of(16)) as *mut Frame
    }
}

/// The task that this CPU runs.
///
/// # Panics
/// When it is idle.
pub fn current() -> Arc<Task> {
    let current = cpu::this().current.get();
    current.clone().expect("this CPU is idle")
}

/// The address space of the current task.
pub fn space() -> Arc<Guarded<Space>> {
    current().process.space()
}

/// Lets a task run.
pub fn ready(task: Arc<Task>) {
    READY.get().push_back(task);
}

/// Has the current task wait for an event, until a deadline if there is one.
pub fn wait(key: Key, deadline: Option<u64>) -> Outcome {
    let task = current();
    if task.is_interrupted() {
        return Outcome::Signal;
    }
    if deadline.is_some_and(|deadline| deadline <= time::monotonic()) {
        return Outcome::TimedOut;
    }
    wait_uninterrupted(key, deadline)
}

/// Has the current task wait for an event, even if a signal is pending already.
pub fn wait_uninterrupted(key: Key, deadline: Option<u64>) -> Outcome {
    let task = current();
    *task.waiting.get() = Some(Waiting { key, deadline });
    let next = READY.get().pop_front();
    switch_to(next);
    *task.outcome.get()
}

/// Waits until `condition` has a result. A signal ends the wait with [`Errno::RESTART`], the
/// deadline with [`Errno::TIMED_OUT`].
pub fn wait_until<T>(
    key: Key,
    deadline: Option<u64>,
    mut condition: impl FnMut() -> Result<Option<T>, Errno>,
) -> Result<T, Errno> {
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        match wait(key, deadline) {
            Outcome::Woken => {}
            Outcome::TimedOut => return Err(Errno::TIMED_OUT),
            Outcome::Signal => return Err(Errno::RESTART),
        }
    }
}

/// Lets a task that waits run.
pub fn stop_waiting(task: &Arc<Task>, outcome: Outcome) {
    if task.waiting.get().take().is_some() {
        *task.outcome.get() = outcome;
        ready(task.clone());
    }
}

/// Lets at most `most` tasks run that wait for this event, and returns how many.
pub fn wake(key: Key, most: usize) -> usize {
    let is_event = |waiting: &Waiting| match (waiting.key, key) {
        (Key::Futex(address, bits), Key::Futex(at, any)) => address == at && bits & any != 0,
        (waiting, key) => waiting == key,
    };
    let tasks = TASKS.get();
    let waits = |task: &&Arc<Task>| task.waiting.get().as_ref().is_some_and(is_event);
    let woken: Vec<Arc<Task>> = tasks.values().filter(waits).take(most).cloned().collect();
    drop(tasks);
    for task in &woken {
        stop_waiting(task, Outcome::Woken);
    }
    woken.len()
}

/// Lets tasks run whose deadline has passed, and returns the nearest of the others.
pub fn expire(now: u64) -> Option<u64> {
    let deadline = |task: &Arc<Task>| task.waiting.get().as_ref()?.deadline;
    let tasks = TASKS.get();
    let expired = tasks
        .values()
        .filter(|task| deadline(task).is_some_and(|at| at <= now));
    let expired: Vec<Arc<Task>> = expired.cloned().collect();
    let nearest = tasks
        .values()
        .filter_map(deadline)
        .filter(|at| *at > now)
        .min();
    drop(tasks);
    for task in expired {
        stop_waiting(&task, Outcome::TimedOut);
    }
    nearest
}

/// Lets another task run, if there is one.
pub fn give_up() {
    let next = READY.get().pop_front();
    if next.is_some() {
        ready(current());
        switch_to(next);
    }
}

/// Leaves the current task, which has ended, for ever. Nothing on its stack is dropped.
pub fn leave() -> ! {
    let next = READY.get().pop_front();
    switch_to(next);
    unreachable!("a task that has ended runs");
}

/// Runs tasks on this CPU for ever, and waits for interrupts while there are none.
pub fn idle() -> ! {
    loop {
        let next = READY.get().pop_front();
        if next.is_some() {
            switch_to(next);
            continue;
        }
        lock::release();
        arch::wait();
        lock::acquire();
        time::tick();
    }
}

/// Uses the page tables of the kernel alone on this CPU.
pub fn use_kernel_tables() {
    let mut kernel = KERNEL.get();
    let kernel = kernel.get_or_insert_with(|| Table::new().expect("the machine has no memory"));
    cpu::use_tables(kernel.root());
}

/// Goes on with another task, or with this CPU's idle loop.
fn switch_to(next: Option<Arc<Task>>) {
    let cpu = cpu::this();
    let previous = cpu.current.get().take();
    if let Some(task) = &previous {
        task.state.get().save();
    }
    match &next {
        Some(task) => {
            task.process.activate();
            task.state.get().restore();
            arch::set_stack(task.stack.frame());
        }
        None => use_kernel_tables(),
    }
    let saved = |task: &Option<Arc<Task>>| match task {
        Some(task) => task.stack.saved.0.get(),
        None => cpu.idle.0.get(),
    };
    let (from, to) = (saved(&previous), saved(&next));
    #[cfg(target_arch = "x86_64")]
    crate::vdso::current::switch(next.as_deref());
    *cpu.current.get() = next;
    *cpu.previous.get() = previous;
    // SAFETY: with the lock of the kernel held, only this CPU reaches either. `previous` and
    // `current` keep the tasks, and with them their stacks, until another switch has ended. What is
    // to run was stored here or by `Stack::new`; a CPU becomes idle only after `idle` left for a
    // task.
    unsafe {
        arch::switch(from, *to);
    }
    forget_previous();
}

/// Drops the task that ran before: its stack is not in use any more.
fn forget_previous() {
    let previous = cpu::this().previous.get().take();
    drop(previous);
}

/// The first code of a new task: what `switch_to` and [`super::trap::enter`] do behind the switch.
pub extern "C" fn started() {
    forget_previous();
    lock::release();
}
