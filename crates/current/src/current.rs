//! The facts, by the page or by system call.
#![allow(unsafe_code, reason = "system calls for what the pages do not know")]

use crate::arch::system_call;
use crate::clock::Clamp;
use crate::reader::{Facts, Hint, Reader, Switches};

/// arch/x86/entry/syscalls/syscall_64.tbl.
pub(crate) mod number {
    pub(crate) const GETPID: usize = 39;
    pub(super) const GETRUSAGE: usize = 98;
    pub(crate) const GETPPID: usize = 110;
    pub(crate) const GETPGID: usize = 121;
    pub(crate) const GETTID: usize = 186;
    pub(crate) const CLOCK_GETTIME: usize = 228;
}

/// `CLOCK_PROCESS_CPUTIME_ID` in include/uapi/linux/time.h.
pub(crate) const PROCESS_CLOCK: usize = 2;
/// `CLOCK_THREAD_CPUTIME_ID` in include/uapi/linux/time.h.
pub(crate) const THREAD_CLOCK: usize = 3;

/// What a thread keeps from one read to the next, zeros at first.
#[derive(Debug, Default)]
#[repr(C)]
pub struct PerThread {
    hint: Hint,
    thread: Clamp,
    process: Clamp,
}

impl PerThread {
    /// Before the first read.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            hint: Hint::new(),
            thread: Clamp::new(),
            process: Clamp::new(),
        }
    }
}

/// The running task: from the pages where they are published and know, else from the kernel.
///
/// All functions may be called by any thread, in a signal handler, and after fork(2) and vfork(2).
#[derive(Clone, Copy, Debug)]
pub struct Current<'memory> {
    reader: Option<Reader>,
    kept: &'memory PerThread,
}

impl<'memory> Current<'memory> {
    /// With these pages, and memory of the thread that calls; without any pages, every function makes its
    /// system call.
    #[inline]
    #[must_use]
    pub const fn new(reader: Option<Reader>, kept: &'memory PerThread) -> Self {
        Self { reader, kept }
    }

    /// The pages.
    #[inline]
    #[must_use]
    pub const fn reader(self) -> Option<Reader> {
        self.reader
    }

    /// The process's id: getpid(2).
    #[inline]
    #[must_use]
    pub fn pid(self) -> u32 {
        let known = self.reader.and_then(|reader| reader.pid(&self.kept.hint));
        known.unwrap_or_else(|| id(number::GETPID))
    }

    /// The thread's id: gettid(2).
    #[inline]
    #[must_use]
    pub fn tid(self) -> u32 {
        let known = self.reader.and_then(|reader| reader.tid(&self.kept.hint));
        known.unwrap_or_else(|| id(number::GETTID))
    }

    /// The parent's id: getppid(2).
    #[inline]
    #[must_use]
    pub fn parent(self) -> u32 {
        let known = self
            .reader
            .and_then(|reader| reader.parent(&self.kept.hint));
        known.unwrap_or_else(|| id(number::GETPPID))
    }

    /// The thread's CPU time in nanoseconds: `CLOCK_THREAD_CPUTIME_ID`. It does not go back for a thread
    /// that always uses the same memory.
    #[inline]
    #[must_use]
    pub fn thread_cpu_time(self) -> u64 {
        let hint = &self.kept.hint;
        let known = self.reader.and_then(|reader| reader.thread_cpu_time(hint));
        raised(known, &self.kept.thread, THREAD_CLOCK)
    }

    /// The process's CPU time in nanoseconds: `CLOCK_PROCESS_CPUTIME_ID`. Likewise.
    #[inline]
    #[must_use]
    pub fn process_cpu_time(self) -> u64 {
        let hint = &self.kept.hint;
        let known = self.reader.and_then(|reader| reader.process_cpu_time(hint));
        raised(known, &self.kept.process, PROCESS_CLOCK)
    }

    /// The thread's context switches: getrusage(2) of `RUSAGE_THREAD`.
    #[inline]
    #[must_use]
    pub fn switches(self) -> Switches {
        let known = self
            .reader
            .and_then(|reader| reader.switches(&self.kept.hint));
        known.unwrap_or_else(switches_by_system_call)
    }

    /// For how many nanoseconds the thread has waited for a CPU; `None` without pages that know, as no
    /// system call returns it (`/proc/thread-self/schedstat` does).
    #[inline]
    #[must_use]
    pub fn run_delay(self) -> Option<u64> {
        self.reader?.run_delay(&self.kept.hint)
    }
}

#[inline]
fn raised(known: Option<Facts<u64>>, clamp: &Clamp, clock: usize) -> u64 {
    match known {
        Some(time) => clamp.raise(time.tid, time.of_slot),
        None => time_by_system_call(clamp, clock),
    }
}

#[cold]
#[inline(never)]
pub(crate) fn id(number: usize) -> u32 {
    // SAFETY: the calls for ids take no arguments and have no effects.
    (unsafe { system_call(number, [0; 6]) }) as u32
}

/// The kernel's time, which may be behind one that the pages had before.
#[cold]
#[inline(never)]
fn time_by_system_call(clamp: &Clamp, clock: usize) -> u64 {
    let time = kernel_time(clock);
    if clamp.is_used() {
        return clamp.raise(id(number::GETTID), time);
    }
    time
}

/// The kernel's time of one of its clocks, in nanoseconds.
#[cold]
pub(crate) fn kernel_time(clock: usize) -> u64 {
    let mut time = [0_u64; 2];
    let address = time.as_mut_ptr().expose_provenance();
    // SAFETY: `struct timespec` has two words, which live until the call returns. It fails for a wrong
    // clock only.
    let _ = unsafe { system_call(number::CLOCK_GETTIME, [clock, address, 0, 0, 0, 0]) };
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

#[cold]
#[inline(never)]
fn switches_by_system_call() -> Switches {
    const RUSAGE_THREAD: usize = 1;
    // `struct rusage`: two times of two words, then 14 numbers, of which these are the last.
    let mut usage = [0_u64; 18];
    let address = usage.as_mut_ptr().expose_provenance();
    // SAFETY: the structure has 18 words, which live until the call returns.
    let _ = unsafe { system_call(number::GETRUSAGE, [RUSAGE_THREAD, address, 0, 0, 0, 0]) };
    Switches {
        voluntary: usage[16],
        involuntary: usage[17],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn without_pages_every_answer_is_the_kernels() {
        let kept = PerThread::new();
        let current = Current::new(None, &kept);
        assert_eq!(current.pid(), std::process::id());
        assert!(current.tid() > 0 && current.parent() != current.pid());
        assert_eq!(current.run_delay(), None);
        let first = current.thread_cpu_time();
        for turn in 0..100_000 {
            black_box(turn);
        }
        assert!(current.thread_cpu_time() > first);
        assert!(current.process_cpu_time() >= first);
        let before = current.switches();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(current.switches().voluntary > before.voluntary);
    }

    /// The kernel's own account is behind what the pages had, by what it lost.
    #[test]
    fn a_fallback_does_not_go_back() {
        let kept = PerThread::new();
        let current = Current::new(None, &kept);
        let ahead = current.thread_cpu_time() + 500_000_000;
        kept.thread.raise(current.tid(), ahead);
        assert_eq!(current.thread_cpu_time(), ahead);
    }
}
