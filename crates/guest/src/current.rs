//! The pages of the running tasks: a head, and a slot for each CPU.

use core::mem::offset_of;

use vdsokit_current::{FLAG_RDPID, LAYOUT, LINE, LIVE, RETIRED};

use crate::page::{Page, WORDS};

/// The slots in a page of 4,096 bytes: those of the CPUs from 0 on are in the page behind the head.
pub const SLOTS_IN_PAGE: usize = WORDS / SLOT;

/// The words of a slot.
const SLOT: usize = LINE / 8;

/// The task that is about to run on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// The result of gettid(2) in it, not 0.
    pub tid: u32,
    /// The result of getpid(2) in it.
    pub pid: u32,
    /// The result of getppid(2) in it; `None` while the parent is exiting.
    pub parent: Option<u32>,
    /// [`Head::relations`], loaded before the parent was looked up.
    pub relations: u64,
}

/// Keeps what holds for the slots of all CPUs: one page, the same frame for all processes.
///
/// With its slots it answers gettid, getpid and getppid without a system call, for every task: also
/// for a child of vfork, for which a [`Process`](crate::Process) has no answer while the two share an
/// address space. It needs an instruction that tells the CPU's number to programs, which x86-64 alone
/// has (`rdpid`, and `lsl` of a segment): the number that AArch64 and RISC-V keep for programs is in a
/// register that a program can set, or in memory that a child of vfork shares. The functions are
/// those of [`vdsokit_current::Reader`], which a kernel puts into its own crate (see `docs/kernels.md`).
///
/// The layout of both pages is that of [`vdsokit_current`]. Counts of switches and CPU time, for which
/// slots have room, are not published.
///
/// | event | what the kernel calls |
/// | --- | --- |
/// | another task is about to run on a CPU | [`Slot::switch`] on that CPU, with its interrupts off |
/// | a CPU becomes idle, or runs a task of the kernel | `Slot::switch` with `None` |
/// | `fork`, `vfork`, `clone` | nothing: the child is switched in before it runs |
/// | the running task gets another id, as in an `execve` by a thread that is not the first | `Slot::switch` |
/// | a process ends | [`relations_change`](Self::relations_change), before a child of it has another parent |
///
/// One object belongs to the lock around the kernel's tree of processes.
///
/// ```
/// use std::sync::atomic::AtomicU64;
/// use vdsokit_guest::{Head, Running, Slot, WORDS};
///
/// let pages = [const { [const { AtomicU64::new(0) }; WORDS] }; 2];
/// // At boot: the head, and a slot for each of four CPUs.
/// let mut head = Head::new(&pages[0], 4, true);
/// let mut slots = [0, 1, 2, 3].map(|cpu| Slot::new(&pages[1], cpu));
/// // CPU 2 goes on with another task.
/// let relations = head.relations();
/// slots[2].switch(Some(&Running { tid: 7, pid: 7, parent: Some(1), relations }));
/// // Process 1 ends.
/// head.relations_change();
/// ```
#[derive(Debug)]
pub struct Head<P> {
    page: P,
    relations: u64,
}

impl<P: Page> Head<P> {
    /// Initialises the page, before it is mapped: slots of `cpus` CPUs follow it. `has_rdpid`: the CPUs
    /// have the instruction `rdpid`, and `IA32_TSC_AUX` has the number of each; otherwise the limit of
    /// segment 0x7b has it in its lower 12 bits.
    pub fn new(page: P, cpus: u32, has_rdpid: bool) -> Self {
        for index in 0..WORDS {
            page.store(index, 0);
        }
        let flags = if has_rdpid { FLAG_RDPID } else { 0 };
        let second = offset_of!(vdsokit_current::Head, cpus) / 8;
        page.store(second, pair(cpus, flags));
        page.fence();
        page.store(STATE, pair(LIVE, LAYOUT));
        Self { page, relations: 0 }
    }

    /// The page.
    pub fn page(&self) -> &P {
        &self.page
    }

    /// How often parents may have changed: for [`Running::relations`].
    pub fn relations(&self) -> u64 {
        self.relations
    }

    /// The children of a process are about to have another parent. No slot's parent that was looked up
    /// before this is used any more.
    pub fn relations_change(&mut self) {
        self.relations = self.relations.wrapping_add(1);
        self.page.store(
            offset_of!(vdsokit_current::Head, relations) / 8,
            self.relations,
        );
        // The new parent is stored behind it, where the system call finds it.
        self.page.fence();
    }

    /// Every function makes the system call from now on: to be called before the first switch that is
    /// not published.
    pub fn retire(&mut self) {
        self.page.store(STATE, pair(RETIRED, LAYOUT));
        self.page.fence();
    }
}

/// Keeps the slot of one CPU: which task runs there. It belongs to that CPU.
#[derive(Debug)]
pub struct Slot<P> {
    page: P,
    /// The index of the slot's first word.
    start: usize,
    sequence: u64,
}

impl<P: Page> Slot<P> {
    /// The slot of a CPU in `page`, the one behind the head with the index `cpu / `[`SLOTS_IN_PAGE`]. No
    /// task runs there yet.
    pub fn new(page: P, cpu: usize) -> Self {
        let start = cpu % SLOTS_IN_PAGE * SLOT;
        for index in start..start + SLOT {
            page.store(index, 0);
        }
        Self {
            page,
            start,
            sequence: 0,
        }
    }

    /// A task is about to run on this CPU, or none of a program: 4 stores.
    ///
    /// A read that was interrupted on this CPU finds another sequence number when its task is back:
    /// the number is stored first, and the task executes no instruction before all is stored. So the
    /// order of the other stores does not matter.
    pub fn switch(&mut self, running: Option<&Running>) {
        self.sequence = self.sequence.wrapping_add(1);
        self.store(offset_of!(vdsokit_current::Slot, sequence), self.sequence);
        self.page.fence();
        let (tid, pid) = running.map_or((0, 0), |task| (task.tid, task.pid));
        self.store(offset_of!(vdsokit_current::Slot, tid), pair(tid, pid));
        if let Some(task) = running {
            let known = u32::from(task.parent.is_some());
            let parent = pair(task.parent.unwrap_or(0), known);
            self.store(offset_of!(vdsokit_current::Slot, parent), parent);
            let relations = offset_of!(vdsokit_current::Slot, relations);
            self.store(relations, task.relations);
        }
        self.page.fence();
    }

    fn store(&self, offset: usize, word: u64) {
        self.page.store(self.start + offset / 8, word);
    }
}

/// The index of the head's word with the state.
const STATE: usize = offset_of!(vdsokit_current::Head, state) / 8;

/// The word of two numbers that lie one behind the other.
const fn pair(first: u32, second: u32) -> u64 {
    first as u64 | (second as u64) << 32
}

const _: () = {
    use vdsokit_current::{Head, Slot};
    assert!(offset_of!(Head, layout) == offset_of!(Head, state) + 4);
    assert!(offset_of!(Head, flags) == offset_of!(Head, cpus) + 4);
    assert!(offset_of!(Slot, pid) == offset_of!(Slot, tid) + 4);
    assert!(offset_of!(Slot, parent_known) == offset_of!(Slot, parent) + 4);
};
