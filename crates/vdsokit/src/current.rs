//! The running task, without a system call.

use std::sync::OnceLock;
use std::time::Duration;
/// How often the kernel has taken the CPU from a thread.
pub use vdsokit_current::Switches;
use vdsokit_current::{PerThread, Reader};

/// The running task: from the page that `vdso serve current` publishes for this process's user, else
/// by system call. x86-64 only.
///
/// Every function is about the thread that calls it, right after fork(2), vfork(2), any
/// clone(2), exec, in PID namespaces and in signal handlers; a read takes no lock and no allocation.
/// The page is looked for when [`current`] is called first; a page that is published later is found by
/// programs that start then. When the publication ends, functions make system calls; so does a process that has
/// changed its user, until it is next switched in.
///
/// There are no user and group ids: see `DESIGN.md`.
///
/// ```
/// let current = vdsokit::current();
/// assert_eq!(current.pid(), std::process::id());
/// assert!(current.thread_cpu_time() <= current.process_cpu_time());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Current(Option<Reader>);

/// The running task. See [`Current`].
#[must_use]
pub fn current() -> Current {
    static READER: OnceLock<Option<Reader>> = OnceLock::new();
    Current(*READER.get_or_init(Reader::open))
}

thread_local! {
    // Tasks that share a thread's memory, as after vfork(2), may use it: it consists of atomics.
    static KEPT: PerThread = const { PerThread::new() };
}

impl Current {
    #[inline(always)]
    fn read<T>(self, read: impl FnOnce(vdsokit_current::Current<'_>) -> T) -> T {
        KEPT.with(|kept| read(vdsokit_current::Current::new(self.0, kept)))
    }

    /// Whether a page is published for this process's user. Without one every function makes a
    /// system call.
    #[must_use]
    pub fn is_published(self) -> bool {
        self.0.is_some()
    }

    /// The process's id in its own PID namespace: getpid(2).
    #[inline]
    #[must_use]
    pub fn pid(self) -> u32 {
        self.read(|current| current.pid())
    }

    /// The thread's id in its own PID namespace: gettid(2).
    #[inline]
    #[must_use]
    pub fn tid(self) -> u32 {
        self.read(|current| current.tid())
    }

    /// The parent's id, 0 when the parent is in an outer PID namespace: getppid(2). A system call until
    /// the thread is next switched in, when any task of the machine has exited.
    #[inline]
    #[must_use]
    pub fn parent(self) -> u32 {
        self.read(|current| current.parent())
    }

    /// The thread's CPU time: `CLOCK_THREAD_CPUTIME_ID`. It never goes back for a thread, is never behind the
    /// kernel's, and ahead of it by at most what the kernel's own account loses when another CPU wakes
    /// a task up. The CPU's counter is read unordered.
    #[inline]
    #[must_use]
    pub fn thread_cpu_time(self) -> Duration {
        Duration::from_nanos(self.read(|current| current.thread_cpu_time()))
    }

    /// The process's CPU time: `CLOCK_PROCESS_CPUTIME_ID`. Likewise; a system call for a process of several
    /// threads.
    #[inline]
    #[must_use]
    pub fn process_cpu_time(self) -> Duration {
        Duration::from_nanos(self.read(|current| current.process_cpu_time()))
    }

    /// The thread's context switches: getrusage(2) of `RUSAGE_THREAD`.
    #[inline]
    #[must_use]
    pub fn switches(self) -> Switches {
        self.read(|current| current.switches())
    }

    /// For how long the thread has waited for a CPU while it could run; `None` where no page knows,
    /// since no system call returns it (`/proc/thread-self/schedstat` does).
    #[inline]
    #[must_use]
    pub fn run_delay(self) -> Option<Duration> {
        self.read(|current| current.run_delay())
            .map(Duration::from_nanos)
    }
}
