//! Tasks (threads) and processes.

pub mod denied;
pub mod exec;
pub mod fork;
pub mod futex;
pub mod process;
pub mod schedule;
pub mod signal;
pub mod trap;

pub use denied::Denied;
pub use process::Process;

use crate::arch::{Frame, UserState};
use crate::lock::Guarded;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use signal::Signals;

/// A thread of a program.
pub struct Task {
    /// Its number: the process's for its first thread.
    pub id: usize,
    /// The process that it belongs to.
    pub process: Arc<Process>,
    /// The registers that the kernel does not use, while another task runs.
    pub state: Guarded<UserState>,
    /// Its blocked and pending signals.
    pub signals: Guarded<Signals>,
    /// What it waits for.
    pub waiting: Guarded<Option<Waiting>>,
    /// Why it last stopped waiting.
    pub outcome: Guarded<Outcome>,
    ending: AtomicBool,
    /// Where 0 is stored, and a futex woken, when it ends.
    pub clear_id_at: Guarded<usize>,
    stack: schedule::Stack,
}

/// What a task waits for.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    key: Key,
    /// Nanoseconds of monotonic time.
    deadline: Option<u64>,
}

/// Names an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Nothing but time or a signal.
    Time,
    /// A child of this process ended.
    Child(usize),
    /// A thread of this process ended.
    Thread(usize),
    /// This process, a child of `vfork`, has a space of its own or ended.
    Borrowed(usize),
    /// Some file may be read or written.
    Files,
    /// The futex at this physical address, with the bits that a waker has to name one of.
    Futex(usize, u32),
}

/// Why a task stopped waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What it waited for happened.
    Woken,
    /// The deadline passed.
    TimedOut,
    /// A signal arrived, or the task ends.
    Signal,
}

/// All tasks, by number.
pub static TASKS: Guarded<BTreeMap<usize, Arc<Task>>> = Guarded::new(BTreeMap::new());

/// A number that no task or process has had.
pub fn new_id() -> usize {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

impl Task {
    /// Ends before it returns to the program.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether it ends before it returns to the program.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// A task that begins with these registers. It runs once it is given to
    /// [`schedule::ready`].
    pub fn new(id: usize, process: &Arc<Process>, frame: &Frame, state: UserState) -> Arc<Self> {
        let task = Arc::new(Self {
            id,
            process: process.clone(),
            state: Guarded::new(state),
            signals: Guarded::new(Signals::default()),
            waiting: Guarded::new(None),
            outcome: Guarded::new(Outcome::Woken),
            ending: AtomicBool::new(false),
            clear_id_at: Guarded::new(0),
            stack: schedule::Stack::new(frame),
        });
        process.threads.get().push(task.clone());
        TASKS.get().insert(id, task.clone());
        task
    }
}
