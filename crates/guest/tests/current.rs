//! Head and slots, read by the reader of `vdsokit-current`.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code, reason = "the reader has the address of its pages")]

use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use vdsokit_current::{Hint, Reader};
use vdsokit_guest::{Head, Image, Plan, Running, SLOTS_IN_PAGE, Slot, WORDS};

/// CPU numbers are below this: they have 12 bits.
const CPUS: usize = 4096;

#[repr(align(4096))]
struct Page([AtomicU64; WORDS]);

/// Head and slots, one behind the other.
static PAGES: [Page; 1 + CPUS / SLOTS_IN_PAGE] =
    [const { Page([const { AtomicU64::new(0) }; WORDS]) }; 1 + CPUS / SLOTS_IN_PAGE];

/// Keeps this thread on the CPU that it runs on, whose number this is.
fn stay() -> usize {
    // SAFETY: zeros are an empty set, which the calls read and write, and the number is below its size.
    unsafe {
        let cpu = usize::try_from(libc::sched_getcpu()).unwrap();
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        assert_eq!(
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set),
            0
        );
        cpu
    }
}

#[test]
fn a_reader_finds_what_the_slot_of_its_cpu_has() {
    let cpu = stay();
    let mut head = Head::new(&PAGES[0].0, CPUS as u32, vdsokit_current::has_rdpid());
    let mut slot = Slot::new(&PAGES[1 + cpu / SLOTS_IN_PAGE].0, cpu);
    let start = NonNull::from(&PAGES).cast();
    // SAFETY: head and slots of all CPUs lie there for ever, and are changed by atomic stores.
    let reader = unsafe { Reader::new(start) };
    let hint = Hint::new();
    assert_eq!(reader.tid(&hint), None, "before the first switch");
    let running = Running {
        tid: 77,
        pid: 70,
        parent: Some(7),
        relations: head.relations(),
    };
    slot.switch(Some(&running));
    let ids = || (reader.tid(&hint), reader.pid(&hint), reader.parent(&hint));
    assert_eq!(ids(), (Some(77), Some(70), Some(7)));
    // A task of the kernel.
    slot.switch(None);
    assert_eq!(ids(), (None, None, None));
    slot.switch(Some(&running));
    assert_eq!(reader.pid(&hint), Some(70));
    // Another process has ended: the parent may be another one by now.
    head.relations_change();
    assert_eq!(ids(), (Some(77), Some(70), None));
    let relations = head.relations();
    slot.switch(Some(&Running {
        relations,
        ..running
    }));
    assert_eq!(reader.parent(&hint), Some(7));
    slot.switch(Some(&Running {
        relations,
        parent: None,
        ..running
    }));
    assert_eq!(reader.parent(&hint), None, "the parent is exiting");
    // CPU time and counts are never those of a slot without them.
    assert_eq!(reader.thread_cpu_time(&hint), None);
    head.retire();
    assert_eq!(ids(), (None, None, None));
}

#[test]
fn each_switch_raises_the_sequence_number_before_it_stores_another_word() {
    let stores = std::cell::RefCell::new(Vec::new());
    struct Recorded<'a>(&'a std::cell::RefCell<Vec<(usize, u64)>>);
    impl vdsokit_guest::Page for Recorded<'_> {
        fn store(&self, index: usize, word: u64) {
            self.0.borrow_mut().push((index, word));
        }
    }
    let mut slot = Slot::new(Recorded(&stores), 33);
    // The second slot of its page, and no word of another one.
    assert!(
        stores
            .take()
            .iter()
            .all(|(index, _)| (16..32).contains(index))
    );
    let running = Running {
        tid: 5,
        pid: 4,
        parent: Some(1),
        relations: 9,
    };
    slot.switch(Some(&running));
    assert_eq!(
        stores.take(),
        [(16, 1), (17, 5 | 4 << 32), (18, 1 | 1 << 32), (19, 9)]
    );
    slot.switch(None);
    assert_eq!(stores.take(), [(16, 2), (17, 0)]);
}

#[test]
fn a_plan_with_slots_reserves_their_pages() {
    let plan = Plan::new(Image::native().unwrap(), 4096).unwrap();
    let with_slots = plan.with_slots(33);
    // The head, and 33 slots of 128 bytes.
    assert_eq!(with_slots.size(), plan.current() + 3 * 4096);
    assert!(plan.size() <= plan.current());
    assert_eq!(with_slots.pages().count(), plan.pages().count());
}
