//! Readers that do the steps in another order, which are refuted, and the right order under the same
//! adversary: it moves the thread, or lets others run, between any two steps.

use super::tasks::{Stack, cpus, next, run_on, tid, wait};
use super::{Published, reader};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vdsokit_current::{FLAG_RDPID, Hint, Reader, cpu};

/// An order of the steps.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// No second look at the CPU's number.
    NoCpu,
    /// The sequence number, then the CPU's.
    SequenceFirst,
    /// No second look at the sequence number.
    NoSequence,
}

/// A read of the thread's id in a wrong order.
fn read(reader: Reader, order: Order, step: impl Fn()) -> Option<u32> {
    let rdpid = reader.head().flags.load(Ordering::Relaxed) & FLAG_RDPID != 0;
    let first = cpu(rdpid)?;
    let slot = reader.slot(first)?;
    step();
    let sequence = slot.sequence.load(Ordering::Acquire);
    step();
    let tid = slot.tid.load(Ordering::Acquire);
    step();
    let same_sequence = || slot.sequence.load(Ordering::Acquire) == sequence;
    let same_cpu = || cpu(rdpid) == Some(first);
    let accepted = match order {
        Order::NoCpu => same_sequence(),
        Order::SequenceFirst => {
            let same = same_sequence();
            step();
            same_cpu() && same
        }
        Order::NoSequence => same_cpu(),
    };
    (accepted && tid != 0).then_some(tid)
}

/// Moves the thread to another CPU, or yields, once in three calls.
struct Adversary {
    state: Cell<u32>,
    /// Of the thread, which is often on another CPU when it reads next.
    hint: Hint,
}

impl Adversary {
    fn new(seed: u32) -> Self {
        Self {
            state: Cell::new(seed.wrapping_mul(7919) | 1),
            hint: Hint::new(),
        }
    }

    fn act(&self) {
        let mut state = self.state.get();
        let number = next(&mut state) >> 8;
        self.state.set(state);
        if !number.is_multiple_of(3) {
            return;
        }
        match number >> 8 & 3 {
            0 => std::thread::yield_now(),
            _ => run_on((number >> 12) as usize % cpus()),
        }
    }
}

/// Lets threads read until one is wrong or each has read `reads` times; returns reads and wrong ones.
fn compete(reads: u64, read: impl Fn(&Adversary) -> Option<u32> + Sync) -> (u64, u64) {
    let (count, wrong, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (read, count, wrong, stop) = (&read, &count, &wrong, &stop);
            scope.spawn(move || {
                let (adversary, tid) = (Adversary::new(number + 1), tid());
                for _ in 0..reads {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    if read(&adversary).is_some_and(|read| read != tid) {
                        wrong.fetch_add(1, Ordering::Relaxed);
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    (count.into_inner(), wrong.into_inner())
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-orders"]
fn every_other_order_is_refuted_and_the_right_one_is_not() {
    let _published = Published::for_everybody();
    let reader = reader();
    for order in [Order::NoCpu, Order::SequenceFirst, Order::NoSequence] {
        // In each thread, until one is wrong.
        let (reads, wrong) = compete(1_000_000, |adversary| {
            read(reader, order, || adversary.act())
        });
        println!("{order:?}: wrong after {reads} reads");
        assert_ne!(wrong, 0);
    }
    // In each of eight threads. A wrong order is refuted by some hundred to a thousand reads of them all.
    let rounds = std::env::var("ROUNDS").map_or(1_500, |text| text.parse().unwrap());
    let read = |adversary: &Adversary, hint: &Hint| {
        Some(reader.read_stepwise(hint, || adversary.act(), |_| ())?.tid)
    };
    let (reads, wrong) = compete(rounds, |adversary| read(adversary, &Hint::new()));
    println!("the right order: {reads} reads, {wrong} wrong");
    assert_eq!(wrong, 0);
    let (reads, wrong) = compete(rounds, |adversary| read(adversary, &adversary.hint));
    println!("the same with a hint: {reads} reads, {wrong} wrong");
    assert_eq!(wrong, 0);
}

/// The CPU's number that the kernel keeps in a thread's memory for rseq(2) is the parent's in a
/// child of vfork(2).
#[test]
#[ignore = "runs in the lab: cargo xtask vm current-rseq"]
fn the_number_of_rseq_is_refuted_by_vfork() {
    unsafe extern "C" {
        static __rseq_offset: isize;
    }
    fn rseq_cpu() -> u32 {
        let number;
        // SAFETY: the C library keeps the area there, of which `cpu_id` is the second word.
        unsafe {
            std::arch::asm!("mov {:e}, fs:[{} + 4]", out(reg) number, in(reg) __rseq_offset);
        }
        number
    }
    let _published = Published::for_everybody();
    let reader = reader();
    let (wrong, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Something else runs where the parent was.
        for _ in 0..cpus() {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            });
        }
        let mut stack = Stack::new();
        for _ in 0..100_000 {
            if wrong.load(Ordering::Relaxed) != 0 {
                break;
            }
            let child = || {
                for cpu in 0..cpus() {
                    run_on(cpu);
                    let read = reader
                        .slot(rseq_cpu())
                        .map(|slot| slot.tid.load(Ordering::Acquire));
                    if read.is_some_and(|read| read != 0 && read != tid()) {
                        wrong.fetch_add(1, Ordering::Relaxed);
                    }
                }
            };
            // SAFETY: the task only counts, in memory that lasts until it was waited for.
            let child = unsafe { stack.clone(libc::CLONE_VFORK, &child) };
            wait(child);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_ne!(wrong.into_inner(), 0);
}
