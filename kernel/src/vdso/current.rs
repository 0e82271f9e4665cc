//! Which task runs on each CPU, in pages that programs read. On x86-64 only: the others have no
//! instruction by which a program learns the number of its CPU.

use super::Words;
use super::own::PLAN;
use crate::arch;
use crate::cpu::MOST_CPUS;
use crate::errno::Errno;
use crate::lock::Guarded;
use crate::memory::{Rights, Section, SharedImage, Space};
use crate::task::Task;
use core::sync::atomic::AtomicU64;
use vdsokit_guest::{Head, Running, SLOTS_IN_PAGE, Slot, WORDS};

/// The head, and the slots behind it.
static PAGES: Section<[Words; 2]> = Section([const { [const { AtomicU64::new(0) }; WORDS] }; 2]);

const _: () = assert!(MOST_CPUS <= SLOTS_IN_PAGE);

struct Slots {
    head: Head<&'static Words>,
    all: [Slot<&'static Words>; MOST_CPUS],
}

static SLOTS: Guarded<Option<Slots>> = Guarded::new(None);

/// Begins the pages.
pub fn initialise() {
    let [head, slots] = &PAGES.0;
    *SLOTS.get() = Some(Slots {
        head: Head::new(head, MOST_CPUS as u32, arch::has_rdpid()),
        all: core::array::from_fn(|cpu| Slot::new(slots, cpu)),
    });
}

/// Maps the pages.
pub fn map(space: &mut Space) -> Result<(), Errno> {
    let address = space.vdso + PLAN.current();
    SharedImage::of(&PAGES).map(space, address, 0..2, Rights::READ)
}

/// This CPU goes on with a task, or is idle.
pub fn switch(task: Option<&Task>) {
    if let Some(slots) = SLOTS.get().as_mut() {
        let running = task.map(|task| Running {
            tid: task.id as u32,
            pid: task.process.id as u32,
            parent: Some(task.process.parent_id() as u32),
            relations: slots.head.relations(),
        });
        slots.all[arch::cpu()].switch(running.as_ref());
    }
}

/// Processes are about to have another parent.
pub fn relations_change() {
    if let Some(slots) = SLOTS.get().as_mut() {
        slots.head.relations_change();
    }
}
