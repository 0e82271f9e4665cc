//! Processes: what their threads share, and their ends.

use super::signal::{Action, Info, SIGNALS};
use super::{Denied, Key, Outcome, TASKS, Task, exec, schedule, signal};
use crate::arch;
use crate::errno::Errno;
use crate::files::Descriptors;
use crate::lock::Guarded;
use crate::memory::{Frame, Space};
use crate::{call, cpu, println, user, vdso};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use vdsokit_guest::Facts;

/// A process.
pub struct Process {
    /// Its number.
    pub id: usize,
    /// The number of the process that made it, or of the first one when that has ended; 0 for none.
    parent: AtomicUsize,
    /// Those that it made and has not waited for.
    pub children: Guarded<Vec<Arc<Process>>>,
    /// Its threads that have not ended.
    pub threads: Guarded<Vec<Arc<Task>>>,
    /// Its open files.
    pub files: Arc<Guarded<Descriptors>>,
    /// What it does at each signal.
    pub actions: Arc<Guarded<[Action; SIGNALS]>>,
    /// Signals for any of its threads.
    pub pending: Guarded<Vec<Info>>,
    /// Whether it runs in the space of the process that made it.
    pub shares: Guarded<bool>,
    /// Whether it was made by `vfork`, and its parent waits.
    pub borrows: Guarded<bool>,
    /// The path of its program.
    pub program: Guarded<String>,
    /// Its current directory.
    pub directory: Guarded<String>,
    /// Its group, and its session.
    pub group: Guarded<(usize, usize)>,
    /// What its vDSO lacks and its calls are refused for.
    pub denied: Guarded<Denied>,
    /// How it ended, as `wait4` reports it, once its end has begun.
    pub status: Guarded<Option<u32>>,
    space: Guarded<Option<Arc<Guarded<Space>>>>,
}

/// All processes that were not waited for, by number.
pub static PROCESSES: Guarded<BTreeMap<usize, Arc<Process>>> = Guarded::new(BTreeMap::new());

impl Process {
    /// A process without threads. With a parent, it has what that has.
    pub fn new(
        id: usize,
        parent: Option<&Arc<Self>>,
        space: Arc<Guarded<Space>>,
        files: Arc<Guarded<Descriptors>>,
        actions: Arc<Guarded<[Action; SIGNALS]>>,
    ) -> Arc<Self> {
        let process = Arc::new(Self {
            id,
            parent: AtomicUsize::new(parent.map_or(0, |it| it.id)),
            children: Guarded::new(Vec::new()),
            threads: Guarded::new(Vec::new()),
            files,
            actions,
            pending: Guarded::new(Vec::new()),
            shares: Guarded::new(false),
            borrows: Guarded::new(false),
            program: Guarded::new(parent.map_or(String::new(), |it| it.program.get().clone())),
            directory: Guarded::new(parent.map_or("/".into(), |it| it.directory.get().clone())),
            group: Guarded::new(parent.map_or((id, id), |it| *it.group.get())),
            denied: Guarded::new(parent.map_or(Denied::default(), |it| *it.denied.get())),
            status: Guarded::new(None),
            space: Guarded::new(Some(space)),
        });
        if let Some(parent) = parent {
            parent.children.get().push(process.clone());
        }
        PROCESSES.get().insert(id, process.clone());
        process
    }

    /// Its address space.
    ///
    /// # Panics
    /// When its last thread has ended.
    pub fn space(&self) -> Arc<Guarded<Space>> {
        let space = self.space.get();
        space
            .clone()
            .expect("a process that has ended has no space")
    }

    /// The frame of a page of its space, to be written.
    pub fn writable(&self, page: usize) -> Result<Frame, Errno> {
        let space = self.space.get();
        let space = space.as_ref().ok_or(Errno::FAULT)?;
        space.get().writable(page)
    }

    /// Replaces its address space, and uses that on this CPU.
    pub fn set_space(&self, space: Space) {
        let former = self.space.get().replace(Arc::new(Guarded::new(space)));
        self.activate();
        self.leave(former);
    }

    /// Runs in a space no longer.
    fn leave(&self, space: Option<Arc<Guarded<Space>>>) {
        let shared = core::mem::take(&mut *self.shares.get());
        if let Some(space) = space.filter(|_| shared)
            && let Some(page) = &mut space.get().process
        {
            page.unshare();
        }
    }

    /// What it reads in its page.
    pub fn facts(&self) -> Facts {
        Facts {
            pid: self.id as u32,
            ppid: self.parent_id() as u32,
        }
    }

    /// Has another parent, as the former one has ended.
    fn set_parent(&self, parent: &Arc<Process>) {
        self.parent.store(parent.id, Ordering::Relaxed);
        let space = self.space.get().clone();
        if let Some(space) = space.filter(|_| !*self.shares.get())
            && let Some(page) = &mut space.get().process
        {
            page.set_parent(parent.id as u32);
        }
    }

    /// Uses its page tables on this CPU.
    pub fn activate(&self) {
        cpu::use_tables(self.space().get().root());
    }

    /// The number of its parent; 0 for the first process.
    pub fn parent_id(&self) -> usize {
        self.parent.load(Ordering::Relaxed)
    }

    /// Denies it calls, and its programs from now on. Other processes that run in its space keep
    /// their functions: this one's change with its next program.
    pub fn deny(&self, denied: Denied) -> Result<(), Errno> {
        let all = self.denied.get().union(denied);
        *self.denied.get() = all;
        match *self.shares.get() {
            true => Ok(()),
            false => vdso::map_variant(&mut self.space().get(), all),
        }
    }

    /// Ends it: every thread ends before it returns to the program.
    pub fn end(&self, status: u32) {
        self.status.get().get_or_insert(status);
        self.end_threads(None);
    }

    /// Ends all threads but one.
    pub fn end_threads(&self, but: Option<usize>) {
        let threads = self.threads.get().clone();
        for thread in threads.iter().filter(|thread| Some(thread.id) != but) {
            thread.end();
            schedule::stop_waiting(thread, Outcome::Signal);
        }
    }

    /// Whether a number in an argument names a process: its own, or the negative one of its group; 0 is the
    /// caller's group.
    fn names(&self, id: isize, process: &Self) -> bool {
        let group = process.group.get().0;
        match id {
            0 => group == self.group.get().0,
            id if id > 0 => process.id == id as usize,
            id => group == id.unsigned_abs(),
        }
    }

    /// Has its own space from now on, or none: a parent in `vfork` goes on.
    pub fn return_space(&self) {
        if core::mem::take(&mut *self.borrows.get()) {
            schedule::wake(Key::Borrowed(self.id), 1);
        }
    }
}

/// Makes the first process, which runs a program with arguments.
pub fn first(command: &[String], denied: Denied) {
    let id = super::new_id();
    let space = Space::new().expect("the machine has no memory");
    let process = Process::new(
        id,
        None,
        Arc::new(Guarded::new(space)),
        Arc::new(Guarded::new(Descriptors::console())),
        Arc::new(Guarded::new([Action::default(); SIGNALS])),
    );
    *process.denied.get() = denied;
    let environment = ["PATH=/bin", "HOME=/", "TERM=dumb"].map(str::to_string);
    let program = match command[0].contains('/') {
        true => command[0].clone(),
        false => alloc::format!("/bin/{}", command[0]),
    };
    match exec::load(&program, command, &environment, &process) {
        Ok(image) => {
            *process.program.get() = image.path;
            *process.space.get() = Some(Arc::new(Guarded::new(image.space)));
            schedule::ready(Task::new(id, &process, &image.frame, Default::default()));
        }
        Err(error) => panic!("{program} can't be run: {error:?}"),
    }
}

/// What remains to do for the current task, which ends.
pub fn end_thread() {
    let task = schedule::current();
    let process = task.process.clone();
    let clear = *task.clear_id_at.get();
    if clear != 0 && user::write_u32(clear, 0).is_ok() {
        // A program that unmapped the word has no waiter.
        let _ = super::futex::wake(clear, 1, u32::MAX);
    }
    TASKS.get().remove(&task.id);
    process.threads.get().retain(|thread| thread.id != task.id);
    schedule::wake(Key::Thread(process.id), usize::MAX);
    let is_last = process.threads.get().is_empty();
    if is_last {
        end_process(&process);
    }
}

fn end_process(process: &Arc<Process>) {
    let status = *process.status.get().get_or_insert(0);
    if process.id == 1 {
        call::print_counts();
        println!("the first program ended: {}", shown(status));
        arch::power_off();
    }
    schedule::use_kernel_tables();
    let space = process.space.get().take();
    process.leave(space);
    if Arc::strong_count(&process.files) == 1 {
        process.files.get().close_all();
    }
    process.return_space();
    // Its children become the first process's.
    let first = PROCESSES.get().get(&1).cloned();
    let children = core::mem::take(&mut *process.children.get());
    if let Some(first) = first {
        #[cfg(target_arch = "x86_64")]
        vdso::current::relations_change();
        for child in children {
            child.set_parent(&first);
            first.children.get().push(child);
        }
        schedule::wake(Key::Child(1), usize::MAX);
    }
    let parent = PROCESSES.get().get(&process.parent_id()).cloned();
    if let Some(parent) = parent {
        signal::send(&parent, None, Info::child(process.id));
        schedule::wake(Key::Child(parent.id), usize::MAX);
    }
}

fn shown(status: u32) -> String {
    match status & 0x7f {
        0 => alloc::format!("exit status {}", status >> 8),
        signal => alloc::format!("signal {signal}"),
    }
}

/// The status of a process that a signal ended.
pub fn killed(signal: u32) -> u32 {
    signal
}

/// Waits for a child: the one with number `id`, those in group `-id`, or with -1 any. Returns its
/// number and status; `None` when none has ended and `now` is set.
pub fn wait_for_child(id: isize, now: bool) -> Result<Option<(usize, u32)>, Errno> {
    let process = schedule::current().process.clone();
    let is_meant = |child: &Process| id == -1 || process.names(id, child);
    schedule::wait_until(Key::Child(process.id), None, || {
        let mut children = process.children.get();
        if !children.iter().any(|child| is_meant(child)) {
            return Err(Errno::CHILD);
        }
        let has_ended = |child: &Process| child.threads.get().is_empty();
        let Some(nth) = children
            .iter()
            .position(|child| is_meant(child) && has_ended(child))
        else {
            return Ok(now.then_some(None));
        };
        let child = children.remove(nth);
        PROCESSES.get().remove(&child.id);
        let status = child.status.get().unwrap_or(0);
        Ok(Some(Some((child.id, status))))
    })
}

/// Sends a signal to a process, a group (`-id`), or with -1 to all but the first.
pub fn kill(id: isize, signal: u32) -> Result<usize, Errno> {
    let own = schedule::current().process.clone();
    let is_meant = |process: &Process| match id {
        -1 => process.id != 1,
        id => own.names(id, process),
    };
    let processes: Vec<Arc<Process>> = PROCESSES.get().values().cloned().collect();
    let mut any = false;
    for process in processes.iter().filter(|process| is_meant(process)) {
        any = true;
        if signal != 0 {
            signal::send(process, None, Info::sent(signal, own.id));
        }
    }
    if any { Ok(0) } else { Err(Errno::NO_PROCESS) }
}
