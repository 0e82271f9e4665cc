//! The reader's half.
#![allow(
    unsafe_code,
    reason = "a reader has the address of its pages, of which references are made here"
)]

use crate::arch::{counter, cpu};
use crate::clock::Coefficients;
use crate::layout::{FLAG_RDPID, Head, LINE, LIVE, SEVERAL, Slot};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// How often a read starts again before it leaves the answer to the kernel. Each time the thread was
/// switched out in the nanoseconds of a read.
const TRIES: u32 = 64;

/// Where the slots begin, from the head.
pub(crate) const SLOTS: usize = 4096;

/// Where a thread has last found its slot, which the next read tries first: with the right guess a read
/// takes the CPU's number once.
///
/// A wrong guess costs another try and nothing else, so tasks that share the memory, as after vfork(2), may
/// use it at the same time.
#[derive(Debug, Default)]
pub struct Hint(
    /// The slot's distance from the head in bytes; 0 for none, and always without `rdpid`.
    AtomicU32,
);

impl Hint {
    /// No guess yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }
}

/// The pages, mapped: the head, and the slots of one user or of everybody.
///
/// Every function returns `None` where only the kernel knows; the caller then makes the system
/// call. A reader may be used by any thread, in a signal handler, and after fork(2) and vfork(2); it
/// takes no lock and writes nothing but the [`Hint`].
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    head: NonNull<Head>,
}

// SAFETY: the pages belong to the process, not to a thread, and consist of atomics.
unsafe impl Send for Reader {}
// SAFETY: the pages belong to the process, not to a thread, and consist of atomics.
unsafe impl Sync for Reader {}

/// The result of one read, with the thread's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<T> {
    /// The thread's id; never 0.
    pub tid: u32,
    /// What was read of its slot.
    pub of_slot: T,
}

/// How often the kernel has taken the CPU from a thread, as `ru_nvcsw` and `ru_nivcsw` of
/// getrusage(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Because the thread waited.
    pub voluntary: u64,
    /// Because another task was to run.
    pub involuntary: u64,
}

impl Reader {
    /// A reader of the pages at `head`.
    ///
    /// # Safety
    /// A [`Head`] is mapped there, aligned, and [`Head::cpus`] slots 4096 bytes behind it, one for each CPU
    /// that the machine may have, readable for as long as any copy of the reader is used. Nothing but atomic
    /// stores changes them.
    #[must_use]
    pub const unsafe fn new(head: NonNull<Head>) -> Self {
        Self { head }
    }

    /// The pages' address.
    #[must_use]
    pub const fn address(self) -> NonNull<Head> {
        self.head
    }

    /// The head.
    #[inline]
    #[must_use]
    pub fn head(&self) -> &Head {
        // SAFETY: `new` has it that the head stays mapped, and consists of atomics.
        unsafe { self.head.as_ref() }
    }

    /// The slot of a CPU; `None` for a number that no CPU of this machine can have.
    #[inline]
    #[must_use]
    pub fn slot(&self, cpu: u32) -> Option<&Slot> {
        let cpus = self.head().cpus.load(Ordering::Relaxed);
        // SAFETY: `new` has it that so many slots are mapped.
        (cpu < cpus).then(|| unsafe { self.slot_at(distance(cpu)) })
    }

    /// The slot at this distance from the head.
    ///
    /// # Safety
    /// The distance is that of a CPU of this machine.
    #[inline(always)]
    unsafe fn slot_at(&self, distance: u32) -> &Slot {
        // SAFETY: (1) `new` has it that each CPU's slot is mapped; (2) it consists of atomics.
        unsafe {
            self.head
                .byte_add(distance as usize)
                .cast::<Slot>()
                .as_ref()
        }
    }

    /// One read, in the order that the crate's documentation has; `facts` loads what is wanted.
    #[inline(always)]
    pub fn read<T>(self, hint: &Hint, facts: impl Fn(&Slot) -> T + Copy) -> Option<Facts<T>> {
        self.read_stepwise(hint, || (), facts)
    }

    /// As [`read`](Self::read), with a call of `step` between any two steps, for tests that disturb
    /// a read there.
    #[doc(hidden)]
    #[inline(always)]
    pub fn read_stepwise<T>(
        self,
        hint: &Hint,
        step: impl Fn() + Copy,
        facts: impl Fn(&Slot) -> T + Copy,
    ) -> Option<Facts<T>> {
        let guess = hint.0.load(Ordering::Relaxed);
        if guess != 0 {
            step();
            // SAFETY: (1) `search` stores the distance of a CPU's slot, (2) if there is `rdpid`.
            if let Some(result) = unsafe { self.attempt(guess, true, step, facts) } {
                return result;
            }
        }
        self.search(hint, step, facts)
    }

    /// Reads the slot of the CPU that the thread is on, until it stays there.
    #[cold]
    #[inline(never)]
    fn search<T>(
        self,
        hint: &Hint,
        step: impl Fn() + Copy,
        facts: impl Fn(&Slot) -> T + Copy,
    ) -> Option<Facts<T>> {
        let rdpid = self.head().flags.load(Ordering::Relaxed) & FLAG_RDPID != 0;
        for _ in 0..TRIES {
            let cpu = cpu(rdpid)?;
            self.slot(cpu)?;
            if rdpid {
                hint.0.store(distance(cpu), Ordering::Relaxed);
            }
            step();
            // SAFETY: the CPU has a slot.
            if let Some(result) = unsafe { self.attempt(distance(cpu), rdpid, step, facts) } {
                return result;
            }
        }
        None
    }

    /// The steps of a read behind the choice of a slot. The outer `None` means that the slot was not this
    /// thread's all the time.
    ///
    /// # Safety
    /// The distance is that of a CPU of this machine.
    #[inline(always)]
    unsafe fn attempt<T>(
        self,
        chosen: u32,
        rdpid: bool,
        step: impl Fn() + Copy,
        facts: impl Fn(&Slot) -> T + Copy,
    ) -> Option<Option<Facts<T>>> {
        // SAFETY: the caller has it that a CPU's slot is there.
        let slot = unsafe { self.slot_at(chosen) };
        let sequence = slot.sequence.load(Ordering::Acquire);
        step();
        let read = Facts {
            tid: slot.tid.load(Ordering::Relaxed),
            of_slot: facts(slot),
        };
        // Orders the loads of the facts before the load of the sequence number.
        fence(Ordering::Acquire);
        step();
        if distance(cpu(rdpid)?) != chosen {
            return None;
        }
        step();
        if slot.sequence.load(Ordering::Acquire) != sequence {
            return None;
        }
        step();
        // Last: as it is live now, every switch during the read was recorded.
        let live = self.head().state.load(Ordering::Acquire) == LIVE;
        Some((live && read.tid != 0).then_some(read))
    }

    /// The thread's id in its own PID namespace, as gettid(2).
    #[inline]
    #[must_use]
    pub fn tid(self, hint: &Hint) -> Option<u32> {
        Some(self.read(hint, |_| ())?.tid)
    }

    /// The process's id in its own PID namespace, as getpid(2).
    #[inline]
    #[must_use]
    pub fn pid(self, hint: &Hint) -> Option<u32> {
        Some(self.read(hint, |slot| load32(&slot.pid))?.of_slot)
    }

    /// The parent's id in the same namespace, 0 when the parent is in another, as getppid(2). `None` when any
    /// task of the machine has exited since this thread was switched in.
    #[inline]
    #[must_use]
    pub fn parent(self, hint: &Hint) -> Option<u32> {
        let (parent, known, relations) = self
            .read(hint, |slot| {
                (
                    load32(&slot.parent),
                    load32(&slot.parent_known),
                    load(&slot.relations),
                )
            })?
            .of_slot;
        // After the read: an exit raises the count before any child gets another parent.
        fence(Ordering::Acquire);
        let unchanged = self.head().relations.load(Ordering::Acquire) == relations;
        (known != 0 && unchanged).then_some(parent)
    }

    /// The thread's id and CPU time in nanoseconds, as `CLOCK_THREAD_CPUTIME_ID`: never behind the
    /// kernel's, ahead by at most what the kernel's own account loses when another CPU wakes a
    /// task up here. [`Clamp`](crate::Clamp) keeps it from going back over that.
    ///
    /// The counter is read unordered.
    #[inline]
    #[must_use]
    pub fn thread_cpu_time(self, hint: &Hint) -> Option<Facts<u64>> {
        let read = self.read(hint, |slot| (load(&slot.sum), load(&slot.start), counter()))?;
        let (sum, start, ticks) = read.of_slot;
        Some(Facts {
            tid: read.tid,
            of_slot: sum.wrapping_add(self.since(start, ticks)?),
        })
    }

    /// The thread's id and its process's CPU time, as `CLOCK_PROCESS_CPUTIME_ID`; `None` for a process of
    /// several threads.
    #[inline]
    #[must_use]
    pub fn process_cpu_time(self, hint: &Hint) -> Option<Facts<u64>> {
        let read = self.read(hint, |slot| {
            (
                load(&slot.sum),
                load(&slot.start),
                load(&slot.group_sum),
                counter(),
            )
        })?;
        let (sum, start, group, ticks) = read.of_slot;
        if group == SEVERAL {
            return None;
        }
        let all = group.wrapping_add(sum);
        Some(Facts {
            tid: read.tid,
            of_slot: all.wrapping_add(self.since(start, ticks)?),
        })
    }

    /// Nanoseconds from `start` until the counter was `ticks`.
    #[inline]
    fn since(self, start: u64, ticks: u64) -> Option<u64> {
        let now = Coefficients::load(self.head(), ticks)?.nanoseconds(ticks);
        let passed = now.wrapping_sub(start) as i64;
        Some(passed.max(0) as u64)
    }

    /// The thread's context switches.
    #[inline]
    #[must_use]
    pub fn switches(self, hint: &Hint) -> Option<Switches> {
        let read = self.read(hint, |slot| Switches {
            voluntary: load(&slot.voluntary),
            involuntary: load(&slot.involuntary),
        })?;
        Some(read.of_slot)
    }

    /// For how many nanoseconds the thread has waited for a CPU while it could run: the second number of
    /// `/proc/thread-self/schedstat`.
    #[inline]
    #[must_use]
    pub fn run_delay(self, hint: &Hint) -> Option<u64> {
        Some(self.read(hint, |slot| load(&slot.run_delay))?.of_slot)
    }
}

/// How far behind the head the slot of a CPU is, in bytes. The number has 12 bits.
#[inline(always)]
const fn distance(cpu: u32) -> u32 {
    SLOTS as u32 + LINE as u32 * cpu
}

#[inline(always)]
fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

#[inline(always)]
fn load32(word: &AtomicU32) -> u32 {
    word.load(Ordering::Relaxed)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
