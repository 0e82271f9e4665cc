//! Reads of a page in this process's memory. What only a kernel does is tried in the lab.

use super::*;
use crate::arch::has_rdpid;
use crate::layout::{RETIRED, STARTING};
use core::cell::Cell;

/// Slots for all numbers that a CPU can have.
#[repr(C, align(4096))]
struct Pages {
    head: Head,
    rest: [[u8; LINE]; SLOTS / LINE - 1],
    slots: [Slot; 4096],
}

fn with_pages(test: impl FnOnce(&Pages, Reader)) {
    let mut pages: std::boxed::Box<core::mem::MaybeUninit<Pages>> = std::boxed::Box::new_zeroed();
    // SAFETY: zeros are a value of every field.
    let pages = unsafe { pages.assume_init_mut() };
    pages.head.state.store(LIVE, Ordering::Relaxed);
    pages.head.cpus.store(4096, Ordering::Relaxed);
    pages
        .head
        .flags
        .store(u32::from(has_rdpid()), Ordering::Relaxed);
    for slot in &pages.slots {
        slot.tid.store(7, Ordering::Relaxed);
        slot.pid.store(5, Ordering::Relaxed);
        slot.parent.store(3, Ordering::Relaxed);
        slot.parent_known.store(1, Ordering::Relaxed);
        slot.group_sum.store(100, Ordering::Relaxed);
        slot.sum.store(20, Ordering::Relaxed);
    }
    // SAFETY: head and slots lie as `new` wants them, for as long as the reader is used.
    let reader = unsafe { Reader::new(NonNull::from(&pages.head)) };
    test(pages, reader);
}

#[test]
fn the_facts_are_those_of_the_slot() {
    with_pages(|_, reader| {
        assert_eq!(
            (reader.tid(), reader.pid(), reader.parent()),
            (Some(7), Some(5), Some(3))
        );
    });
}

#[test]
fn nothing_is_known_of_a_cleared_slot_and_of_pages_that_are_not_live() {
    with_pages(|pages, reader| {
        for state in [STARTING, RETIRED, 77] {
            pages.head.state.store(state, Ordering::Relaxed);
            assert_eq!(
                (reader.tid(), reader.pid(), reader.parent()),
                (None, None, None)
            );
        }
        pages.head.state.store(LIVE, Ordering::Relaxed);
        for slot in &pages.slots {
            slot.tid.store(0, Ordering::Relaxed);
        }
        assert_eq!((reader.pid(), reader.run_delay()), (None, None));
    });
}

#[test]
fn a_cpu_without_a_slot_is_left_to_the_kernel() {
    with_pages(|pages, reader| {
        pages.head.cpus.store(0, Ordering::Relaxed);
        assert_eq!(reader.tid(), None);
        assert!(reader.slot(0).is_none());
    });
}

/// Whichever step it comes after but the last, a switch is noticed, and the next try has the new facts.
#[test]
fn a_switch_between_any_two_steps_starts_the_read_again() {
    for at in 1..=4 {
        with_pages(|pages, reader| {
            let steps = Cell::new(0);
            let switch = || {
                steps.set(steps.get() + 1);
                if steps.get() == at {
                    for slot in &pages.slots {
                        slot.sequence.fetch_add(1, Ordering::Relaxed);
                        slot.tid.store(8, Ordering::Relaxed);
                        slot.pid.store(6, Ordering::Relaxed);
                    }
                }
            };
            let facts = reader
                .read_stepwise(switch, |slot| load32(&slot.pid))
                .unwrap();
            assert_eq!((facts.tid, facts.of_slot), (8, 6), "step {at}");
        });
    }
}

#[test]
fn pages_that_are_retired_during_a_read_have_no_answer() {
    for at in 1..=5 {
        with_pages(|pages, reader| {
            let steps = Cell::new(0);
            let retire = || {
                steps.set(steps.get() + 1);
                if steps.get() == at {
                    pages.head.state.store(RETIRED, Ordering::Relaxed);
                }
            };
            assert_eq!(reader.read_stepwise(retire, |_| ()), None, "step {at}");
        });
    }
}

#[test]
fn a_thread_that_is_switched_without_end_gives_up() {
    with_pages(|pages, reader| {
        let switch = || {
            for slot in &pages.slots {
                slot.sequence.fetch_add(1, Ordering::Relaxed);
            }
        };
        assert_eq!(reader.read_stepwise(switch, |_| ()), None);
    });
}

#[test]
fn a_parent_is_known_until_a_task_exits() {
    with_pages(|pages, reader| {
        pages.head.relations.store(1, Ordering::Relaxed);
        assert_eq!(reader.parent(), None);
        pages.head.relations.store(0, Ordering::Relaxed);
        for slot in &pages.slots {
            slot.parent_known.store(0, Ordering::Relaxed);
        }
        assert_eq!(reader.parent(), None);
    });
}

#[test]
fn cpu_time_counts_from_the_switch_and_is_known_for_one_thread_only() {
    with_pages(|pages, reader| {
        assert_eq!(reader.thread_cpu_time(), None, "no coefficients");
        pages.head.mult.store(1, Ordering::Relaxed);
        pages.head.heartbeat.store(counter(), Ordering::Relaxed);
        for slot in &pages.slots {
            slot.start.store(counter(), Ordering::Relaxed);
        }
        let thread = reader.thread_cpu_time().unwrap().of_slot;
        let process = reader.process_cpu_time().unwrap().of_slot;
        assert!(
            thread >= 20 && process >= thread + 100,
            "{thread} {process}"
        );
        for slot in &pages.slots {
            slot.group_sum.store(SEVERAL, Ordering::Relaxed);
            // A switch in that is later than the counter was read.
            slot.start.store(counter() + (1 << 50), Ordering::Relaxed);
        }
        assert_eq!(reader.process_cpu_time(), None);
        assert_eq!(reader.thread_cpu_time().unwrap().of_slot, 20);
    });
}
