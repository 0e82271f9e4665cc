//! Tasks of every kind, and what the kernel says of them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use vdsokit_current::{Hint, Reader};
use vdsokit_test_support::abort_on_panic;

pub(crate) fn tid() -> u32 {
    call(libc::SYS_gettid)
}

pub(crate) fn pid() -> u32 {
    call(libc::SYS_getpid)
}

pub(crate) fn parent() -> u32 {
    call(libc::SYS_getppid)
}

fn call(number: libc::c_long) -> u32 {
    // SAFETY: the call takes no arguments and has no effects.
    unsafe { libc::syscall(number) as u32 }
}

/// Waits until something is so, for a number of turns, each of which lets other tasks run: a wait that
/// does not end fails, and says where.
#[track_caller]
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    const TURNS: u32 = 5_000_000;
    for _ in 0..TURNS {
        if is_so() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("not so after {TURNS} turns");
}

/// How many CPUs there are, whatever the calling thread may run on.
pub(crate) fn cpus() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    *CPUS.get_or_init(|| {
        // SAFETY: it returns a number.
        let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        usize::try_from(online).unwrap()
    })
}

/// Lets the calling thread run on one CPU only.
pub(crate) fn run_on(cpu: usize) {
    let mask: u64 = 1 << cpu;
    // SAFETY: the mask has the size that is given.
    unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            size_of_val(&mask),
            &raw const mask,
        )
    };
}

/// A cheap source of different numbers.
pub(crate) fn next(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}

/// Memory that this process and its children share.
pub(crate) fn shared<T>() -> &'static T {
    // SAFETY: the kernel chooses a place where nothing is mapped, and never unmaps it; callers
    // only use types of atomics, for which zeros are a value.
    unsafe {
        let memory = libc::mmap(
            std::ptr::null_mut(),
            size_of::<T>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(memory, libc::MAP_FAILED);
        &*memory.cast()
    }
}

thread_local! {
    /// Tasks that share the thread pointer, as after vfork(2), share it.
    static HINT: Hint = const { Hint::new() };
}

/// What a kind of task has compared.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) reads: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) wrong: AtomicU64,
}

impl Counts {
    /// Counts a read; `right` is whether its result was the kernel's.
    pub(crate) fn count<T>(&self, read: Option<T>, right: impl FnOnce(&T) -> bool) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        match read {
            None => self.unknown.fetch_add(1, Ordering::Relaxed),
            Some(read) if !right(&read) => self.wrong.fetch_add(1, Ordering::Relaxed),
            Some(_) => 0,
        };
    }

    /// The calling thread's and process's ids, with its hint and without. They are the same for as long as it
    /// runs this.
    pub(crate) fn ids(&self, reader: Reader) {
        HINT.with(|hint| {
            for hint in [hint, &Hint::new()] {
                let (tid_read, pid_read) = (reader.tid(hint), reader.pid(hint));
                self.count(tid_read, |&read| read == tid());
                self.count(pid_read, |&read| read == pid());
            }
        });
    }

    /// Many reads for each system call.
    pub(crate) fn many_ids(&self, reader: Reader, reads: u32) {
        let (tid, pid) = (tid(), pid());
        for _ in 0..reads {
            let (tid_read, pid_read) = HINT.with(|hint| (reader.tid(hint), reader.pid(hint)));
            self.count(tid_read, |&read| read == tid);
            self.count(pid_read, |&read| read == pid);
        }
    }

    /// The parent may change at any time, so it is one of those before and after.
    pub(crate) fn parents(&self, reader: Reader) {
        let before = parent();
        let read = HINT.with(|hint| reader.parent(hint));
        let after = parent();
        self.count(read, |&read| read == before || read == after);
    }

    pub(crate) fn numbers(&self) -> [u64; 3] {
        [&self.reads, &self.unknown, &self.wrong].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Runs `child` in a child that has a copy of the memory, and ends it; returns its id.
pub(crate) fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: the child uses only its own memory and what is shared for this, and never returns.
    match unsafe { libc::fork() } {
        0 => {
            abort_on_panic(child);
            // SAFETY: it ends the process.
            unsafe { libc::_exit(0) }
        }
        pid => {
            assert!(pid > 0);
            pid
        }
    }
}

/// Waits for a child; whether it ended with status 0.
pub(crate) fn wait(pid: i32) -> bool {
    let mut status = 0;
    // SAFETY: the status is written to a local variable.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    waited == pid && status == 0
}

/// A stack of a task that shares this process's memory.
pub(crate) struct Stack(Box<[u128]>);

impl Stack {
    pub(crate) fn new() -> Self {
        Self(vec![0; 4096].into_boxed_slice())
    }

    /// Starts a task in this memory by clone(2), with the parent's thread pointer; `CLONE_VFORK`
    /// makes it what vfork(2) makes.
    ///
    /// # Safety
    /// The task only uses memory that stays until it was waited for, and takes no lock.
    pub(crate) unsafe fn clone<F: Fn()>(&mut self, flags: i32, child: &F) -> i32 {
        extern "C" fn begin<F: Fn()>(child: *mut libc::c_void) -> i32 {
            // SAFETY: `clone` has passed a reference that lives until the task has ended.
            (unsafe { &*child.cast::<F>() })();
            0
        }
        let top = self.0.as_mut_ptr_range().end;
        let child = std::ptr::from_ref(child).cast_mut().cast();
        // SAFETY: (1) the stack is this task's until it has ended; (2) the caller vouches for what it does.
        unsafe {
            libc::clone(
                begin::<F>,
                top.cast(),
                flags | libc::CLONE_VM | libc::SIGCHLD,
                child,
            )
        }
    }
}

/// The argument with which this program compares once and ends, before any test.
pub(crate) const EXECUTED: &std::ffi::CStr = c"--executed";

/// Executes this program, to compare after each of `more` + 1 executions. A failure is the process's status.
pub(crate) fn execute(more: u8) -> ! {
    let digit = [b'0' + more.min(9), 0];
    let arguments = [
        c"current".as_ptr(),
        EXECUTED.as_ptr(),
        digit.as_ptr().cast(),
        std::ptr::null(),
    ];
    // SAFETY: the arguments end in a null, each of them in a zero; the second call ends the process.
    unsafe {
        libc::execv(c"/proc/self/exe".as_ptr(), arguments.as_ptr());
        libc::_exit(7)
    }
}

/// Runs before Rust's test harness: an execution must be as cheap as possible, and compare at once.
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn(i32, *const *const libc::c_char) = begin;

extern "C" fn begin(count: i32, arguments: *const *const libc::c_char) {
    if count != 3 {
        return;
    }
    // SAFETY: the C library passes the arguments of `main`, of which there are three.
    let (what, more) = unsafe {
        let arguments = std::slice::from_raw_parts(arguments, 3);
        (std::ffi::CStr::from_ptr(arguments[1]), *arguments[2])
    };
    if what != EXECUTED {
        return;
    }
    let status = match Reader::open() {
        None => 3,
        Some(reader) if reader.tid(&Hint::new()).is_some_and(|read| read != tid()) => 4,
        Some(reader) if reader.pid(&Hint::new()).is_some_and(|read| read != pid()) => 5,
        Some(reader)
            if reader
                .parent(&Hint::new())
                .is_some_and(|read| read != parent()) =>
        {
            6
        }
        Some(_) if more as u8 > b'0' => execute(more as u8 - b'0' - 1),
        Some(_) => 0,
    };
    // SAFETY: it ends the process.
    unsafe { libc::_exit(status) }
}
