//! The CPU-time clocks for a caller that has no thread-local storage: the functions of a vDSO.
#![allow(
    unsafe_code,
    reason = "a caller has the address of memory and pages, of which references are made here"
)]

use crate::arch::system_call;
use crate::clock::Clamp;
use crate::current::{PROCESS_CLOCK, THREAD_CLOCK, id, kernel_time, number};
use crate::reader::{Facts, Hint, Reader};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

/// The last times that a process's threads were given: a page of the process's own.
///
/// A thread's id selects its words. Threads of one process whose ids select the same words compete: the
/// first one that is given a time by the pages has the word until it ends, and the others are given the kernel's time.
/// So no thread loses what it was given last. Ids that follow each other, as those of
/// threads that are started together, select different words.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct Clamps {
    thread: [Clamp; 256],
    process: [Clamp; 255],
    /// 1 as soon as any thread was given a time by the pages.
    used: AtomicU64,
}

const _: () = assert!(size_of::<Clamps>() == 4096);

/// `CLOCK_THREAD_CPUTIME_ID` and `CLOCK_PROCESS_CPUTIME_ID`: from the pages where they know, else by
/// system call. Neither goes back for one thread.
///
/// May be used by any thread, in a signal handler, and after fork(2) and vfork(2).
#[derive(Clone, Copy, Debug)]
pub struct CpuClocks {
    clamps: &'static Clamps,
    reader: Reader,
}

impl CpuClocks {
    /// The clocks with this memory.
    ///
    /// # Safety
    /// A [`Clamps`] lies at `memory`, zeros when the process began, writable and used for nothing else. What
    /// [`Reader::new`] requires holds for the address behind it.
    #[must_use]
    pub const unsafe fn new(memory: NonNull<Clamps>) -> Self {
        // SAFETY: the caller vouches for the memory, and for the pages behind it.
        unsafe {
            Self {
                clamps: memory.as_ref(),
                reader: Reader::new(memory.add(1).cast()),
            }
        }
    }

    /// The thread's CPU time in nanoseconds.
    #[must_use]
    pub fn thread(self) -> u64 {
        let known = self.reader.thread_cpu_time(&Hint::new());
        self.raised(known, &self.clamps.thread, THREAD_CLOCK)
    }

    /// The process's CPU time in nanoseconds.
    #[must_use]
    pub fn process(self) -> u64 {
        let known = self.reader.process_cpu_time(&Hint::new());
        self.raised(known, &self.clamps.process, PROCESS_CLOCK)
    }

    #[inline(always)]
    fn raised<const N: usize>(
        self,
        known: Option<Facts<u64>>,
        clamps: &[Clamp; N],
        clock: usize,
    ) -> u64 {
        let clamp = |tid: u32| &clamps[tid as usize % N];
        if let Some(Facts { tid, of_slot: time }) = known {
            if let Some(time) = clamp(tid).raise_own(tid, time, is_alive) {
                self.clamps.used.store(1, Ordering::Relaxed);
                return time;
            }
        }
        let time = kernel_time(clock);
        if self.clamps.used.load(Ordering::Relaxed) == 0 {
            return time;
        }
        // The kernel's time may be behind one that the pages had before.
        let tid = self
            .reader
            .tid(&Hint::new())
            .unwrap_or_else(|| id(number::GETTID));
        clamp(tid).raised(tid, time)
    }
}

/// Whether any task has this id. Where a security module refuses the call, it has.
#[cold]
fn is_alive(tid: u32) -> bool {
    const ESRCH: isize = 3;
    // SAFETY: getpgid(2), which takes any thread's id, has no effects.
    (unsafe { system_call(number::GETPGID, [tid as usize, 0, 0, 0, 0, 0]) }) != -ESRCH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Head, LIVE};
    use crate::open::in_memory;

    /// The clocks and their pages, in which every CPU runs thread `tid`, with a clock that stands still.
    fn clocks(tid: u32, time: u64) -> (CpuClocks, Reader) {
        let (memory, reader) = in_memory(tid).unwrap();
        reader.head().shift.store(63, Ordering::Relaxed);
        runs(reader, tid, time);
        // SAFETY: the pages lie behind the memory, which is used for nothing else.
        (unsafe { CpuClocks::new(memory) }, reader)
    }

    fn runs(reader: Reader, tid: u32, time: u64) {
        for slot in (0..u32::MAX).map_while(|cpu| reader.slot(cpu)) {
            slot.sum.store(time, Ordering::Relaxed);
            slot.tid.store(tid, Ordering::Relaxed);
        }
    }

    fn own_tid() -> u32 {
        id(number::GETTID)
    }

    #[test]
    fn a_thread_s_time_does_not_go_back_and_another_thread_s_is_its_own() {
        let (clocks, reader) = clocks(7, 1_000);
        assert_eq!((clocks.thread(), clocks.process()), (1_000, 1_000));
        runs(reader, 7, 900);
        assert_eq!((clocks.thread(), clocks.process()), (1_000, 1_000));
        runs(reader, 8, 5);
        assert_eq!((clocks.thread(), clocks.process()), (5, 5));
        runs(reader, 7, 950);
        assert_eq!(clocks.thread(), 1_000);
    }

    /// The word of a thread that is alive would be lost to another one, and its time could go back.
    #[test]
    fn a_thread_whose_word_another_thread_has_is_given_the_kernels_time() {
        let own = own_tid();
        let (clocks, reader) = clocks(own, u64::MAX >> 4);
        assert_eq!(clocks.thread(), u64::MAX >> 4);
        runs(reader, own + 256, 5);
        assert!(clocks.thread() > 5, "the kernel's");
        runs(reader, own, (u64::MAX >> 4) - 5);
        assert_eq!(clocks.thread(), u64::MAX >> 4);
    }

    /// Ids of tasks are below 2^22 (`PID_MAX_LIMIT`), so these are no task's.
    #[test]
    fn the_word_of_a_thread_that_has_ended_is_free() {
        let (clocks, reader) = clocks((1 << 22) - 1, 1_000);
        assert_eq!(clocks.thread(), 1_000);
        runs(reader, (1 << 22) - 257, 5);
        assert_eq!(clocks.thread(), 5);
    }

    #[test]
    fn without_pages_the_time_is_the_kernels_and_does_not_go_back() {
        let (clocks, reader) = clocks(own_tid(), 0);
        let head: &Head = reader.head();
        head.state.store(crate::RETIRED, Ordering::Relaxed);
        let first = clocks.thread();
        assert!(first > 0 && clocks.process() >= first);
        let ahead = kernel_time(THREAD_CLOCK) + 500_000_000;
        runs(reader, own_tid(), ahead);
        head.state.store(LIVE, Ordering::Relaxed);
        assert_eq!(clocks.thread(), ahead);
        head.state.store(crate::RETIRED, Ordering::Relaxed);
        assert_eq!(clocks.thread(), ahead);
    }
}
