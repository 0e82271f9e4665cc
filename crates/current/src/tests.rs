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

fn tid(reader: Reader) -> Option<u32> {
    reader.tid(&Hint::new())
}

fn pid(reader: Reader) -> Option<u32> {
    reader.pid(&Hint::new())
}

fn parent(reader: Reader) -> Option<u32> {
    reader.parent(&Hint::new())
}

/// A hint before its first read, and one of a thread that has read.
fn hints(reader: Reader) -> [Hint; 2] {
    let used = Hint::new();
    assert_eq!(reader.tid(&used), Some(7));
    [Hint::new(), used]
}

#[test]
fn the_facts_are_those_of_the_slot() {
    with_pages(|_, reader| {
        assert_eq!(
            (tid(reader), pid(reader), parent(reader)),
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
                (tid(reader), pid(reader), parent(reader)),
                (None, None, None)
            );
        }
        pages.head.state.store(LIVE, Ordering::Relaxed);
        for slot in &pages.slots {
            slot.tid.store(0, Ordering::Relaxed);
        }
        assert_eq!((pid(reader), reader.run_delay(&Hint::new())), (None, None));
    });
}

#[test]
fn a_cpu_without_a_slot_is_left_to_the_kernel() {
    with_pages(|pages, reader| {
        pages.head.cpus.store(0, Ordering::Relaxed);
        assert_eq!(tid(reader), None);
        assert!(reader.slot(0).is_none());
    });
}

/// Whichever step it comes after but the last, a switch is noticed, and the next try has the new facts.
#[test]
fn a_switch_between_any_two_steps_starts_the_read_again() {
    for (at, which) in (1..=4).flat_map(|at| [(at, 0), (at, 1)]) {
        with_pages(|pages, reader| {
            let hint = &hints(reader)[which];
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
                .read_stepwise(hint, switch, |slot| load32(&slot.pid))
                .unwrap();
            assert_eq!((facts.tid, facts.of_slot), (8, 6), "step {at}");
        });
    }
}

#[test]
fn pages_that_are_retired_during_a_read_have_no_answer() {
    for (at, which) in (1..=5).flat_map(|at| [(at, 0), (at, 1)]) {
        with_pages(|pages, reader| {
            let hint = &hints(reader)[which];
            let steps = Cell::new(0);
            let retire = || {
                steps.set(steps.get() + 1);
                if steps.get() == at {
                    pages.head.state.store(RETIRED, Ordering::Relaxed);
                }
            };
            let facts = reader.read_stepwise(hint, retire, |_| ());
            assert_eq!(facts, None, "step {at}");
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
        for hint in hints(reader) {
            assert_eq!(reader.read_stepwise(&hint, switch, |_| ()), None);
        }
    });
}

/// The thread was moved since its last read, or another task has left the hint in memory that they share.
#[test]
fn a_hint_of_another_cpu_is_put_right() {
    with_pages(|pages, reader| {
        const ELSEWHERE: u32 = 4095;
        pages.slots[ELSEWHERE as usize]
            .tid
            .store(8, Ordering::Relaxed);
        let hint = Hint(AtomicU32::new(distance(ELSEWHERE)));
        assert_eq!(reader.tid(&hint), Some(7));
        let put_right = hint.0.load(Ordering::Relaxed);
        assert_ne!(put_right, distance(ELSEWHERE));
        assert_eq!(put_right == 0, !has_rdpid());
        assert_eq!(reader.tid(&hint), Some(7));
    });
}

/// The guess would take `rdpid`, an instruction that the CPU does not have.
#[test]
fn without_rdpid_there_is_no_hint() {
    with_pages(|pages, reader| {
        pages.head.flags.store(0, Ordering::Relaxed);
        let hint = Hint::new();
        assert_eq!(reader.tid(&hint), Some(7));
        assert_eq!(hint.0.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_parent_is_known_until_a_task_exits() {
    with_pages(|pages, reader| {
        pages.head.relations.store(1, Ordering::Relaxed);
        assert_eq!(parent(reader), None);
        pages.head.relations.store(0, Ordering::Relaxed);
        for slot in &pages.slots {
            slot.parent_known.store(0, Ordering::Relaxed);
        }
        assert_eq!(parent(reader), None);
    });
}

#[test]
fn cpu_time_counts_from_the_switch_and_is_known_for_one_thread_only() {
    with_pages(|pages, reader| {
        assert_eq!(
            reader.thread_cpu_time(&Hint::new()),
            None,
            "no coefficients"
        );
        pages.head.mult.store(1, Ordering::Relaxed);
        pages.head.heartbeat.store(counter(), Ordering::Relaxed);
        for slot in &pages.slots {
            slot.start.store(counter(), Ordering::Relaxed);
        }
        let thread = reader.thread_cpu_time(&Hint::new()).unwrap().of_slot;
        let process = reader.process_cpu_time(&Hint::new()).unwrap().of_slot;
        assert!(
            thread >= 20 && process >= thread + 100,
            "{thread} {process}"
        );
        for slot in &pages.slots {
            slot.group_sum.store(SEVERAL, Ordering::Relaxed);
            // A switch in that is later than the counter was read.
            slot.start.store(counter() + (1 << 50), Ordering::Relaxed);
        }
        assert_eq!(reader.process_cpu_time(&Hint::new()), None);
        assert_eq!(reader.thread_cpu_time(&Hint::new()).unwrap().of_slot, 20);
    });
}
