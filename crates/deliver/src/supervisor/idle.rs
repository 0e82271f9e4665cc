//! Stepping over the time in which nothing in the tree runs.

use std::collections::HashMap;
use std::fs;

use vdsokit_clock::{Clock, KernelTime};
use vdsokit_waits::course::Nanoseconds;
use vdsokit_waits::idle::{Idle, Pollers, Seen};

use super::process::Blocked;
use super::waits::{Purpose, Waits};
use crate::arch::FORKS;
use crate::seccomp::Notification;
use crate::sys::Pid;

/// What is known of the tree, and when to look at it.
#[derive(Debug)]
pub(crate) struct Skip {
    idle: Idle,
    pollers: Pollers,
    /// Whether each process is of the tree, with the time at which it started.
    processes: HashMap<Pid, (u64, bool)>,
    /// The id that was given to a process or thread last, when `processes` was made.
    last: String,
    /// For how long each thread has run.
    ran: HashMap<Pid, u64>,
}

impl Skip {
    pub(crate) fn new(threshold: u64, now: u64) -> Skip {
        Skip {
            idle: Idle::new(threshold, now),
            pollers: Pollers::default(),
            processes: HashMap::new(),
            last: String::new(),
            ran: HashMap::new(),
        }
    }

    /// Notes that `process` is of the tree.
    pub(crate) fn executes(&mut self, process: Pid, now: u64) {
        self.processes.remove(&process);
        // It is looked at again, whatever it was.
        self.last.clear();
        self.idle.happened(now, false);
    }

    /// Notes that time is held: the tree counts as one in which something runs.
    pub(crate) fn happened(&mut self, now: u64) {
        self.idle.happened(now, false);
    }

    /// Notes a call that was handed over; `wait`: the span that it waits for.
    ///
    /// Returns whether time may step to the end of that wait at once.
    pub(crate) fn called(
        &mut self,
        call: &Notification,
        wait: Option<Nanoseconds>,
        now: u64,
    ) -> bool {
        let is_poller = wait.is_some_and(|span| {
            let span = u64::try_from(span).unwrap_or(u64::MAX);
            let writes = writes(call.pid).unwrap_or(0);
            self.pollers.waits(call.pid, call.pointer, span, writes)
        });
        self.idle.happened(now, is_poller);
        is_poller && self.idle.has_polls_only(now) && self.seen(Some(call.pid)) == Seen::Quiet
    }

    /// When to look at the tree next.
    pub(crate) fn next_look(&self) -> u64 {
        self.idle.next_look()
    }

    /// Looks at the tree. Returns whether time is to step.
    pub(crate) fn look(&mut self, is_of_tree: impl Fn(Pid) -> bool, now: u64) -> bool {
        self.find(is_of_tree);
        let seen = self.seen(None);
        self.idle.looked(now, seen)
    }

    /// Learns which processes there are.
    fn find(&mut self, is_of_tree: impl Fn(Pid) -> bool) {
        // Running and all threads, and the last id given (proc_loadavg(5)).
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let last = load.split_whitespace().last().unwrap_or_default();
        if self.last == last && !last.is_empty() {
            return;
        }
        last.clone_into(&mut self.last);
        let Ok(entries) = fs::read_dir("/proc") else {
            return;
        };
        let mut found = HashMap::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let Some((_, started)) = stat(&format!("/proc/{pid}/stat")) else {
                continue;
            };
            let known = self.processes.get(&pid).filter(|known| known.0 == started);
            let is_one = known.map_or_else(|| is_of_tree(pid), |known| known.1);
            found.insert(pid, (started, is_one));
        }
        self.processes = found;
    }

    /// Which threads of the tree but `but` run, or have run since the last look.
    fn seen(&mut self, but: Option<Pid>) -> Seen {
        let mut seen = Seen::Quiet;
        let mut ran = HashMap::new();
        let tree = self.processes.iter().filter(|(_, (_, is_one))| *is_one);
        for (pid, _) in tree {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
                continue;
            };
            for task in tasks.flatten() {
                let path = task.path();
                let name = task.file_name();
                let Some(thread) = name.to_str().and_then(|name| name.parse().ok()) else {
                    continue;
                };
                if but == Some(thread) {
                    continue;
                }
                let Some((state, _)) = stat(&path.join("stat").to_string_lossy()) else {
                    continue;
                };
                let mut is_quiet = match state {
                    'S' | 'I' | 'T' | 'Z' | 'X' => true,
                    'D' => is_in_vfork(thread),
                    _ => false,
                };
                // Time on a CPU, and how often (Documentation/scheduler/sched-stats.rst).
                let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
                let mut numbers = text.split_whitespace().flat_map(str::parse::<u64>);
                let time = numbers.next().unwrap_or(0) + numbers.nth(1).unwrap_or(0);
                is_quiet &= self.ran.get(&thread) == Some(&time);
                ran.insert(thread, time);
                seen = seen.max(match (is_quiet, self.pollers.is_one(thread)) {
                    (true, _) => Seen::Quiet,
                    (false, true) => Seen::Polls,
                    (false, false) => Seen::Busy,
                });
            }
        }
        self.ran = ran;
        seen
    }
}

impl Waits {
    /// Whether a thread or a timer has a deadline.
    pub(crate) fn has_deadline(&self) -> bool {
        let mut calls = self.frames.iter();
        !self.settings.timers.is_empty()
            || calls.any(|(_, _, passage)| matches!(passage.purpose, Purpose::Wait(_)))
    }

    /// Moves the clocks to the next deadline, and ends what waits for it.
    pub(crate) fn step(&mut self) {
        let Ok(now) = self.clocks.now() else {
            return;
        };
        if let Some(step) = self.next_deadline(&now)
            && step > 0
            && self.clocks.advance(step).is_ok()
        {
            self.end_due();
        }
    }

    /// How far the next deadline is; 0 if one has come. `None`: there is none.
    pub(crate) fn next_deadline(&mut self, now: &KernelTime) -> Option<u64> {
        self.forget_ended();
        self.roll(now);
        let waits = self.frames.iter().filter_map(|(_, _, passage)| {
            let Purpose::Wait(waiting) = &passage.purpose else {
                return None;
            };
            Some(waiting.due - self.at(waiting.clock, now))
        });
        let timers = self.settings.timers.iter();
        let timers = timers.map(|(_, due)| due.due - self.at(due.clock, now));
        let step = u64::try_from(waits.chain(timers).min()?.max(0)).ok()?;
        // What never ends is no deadline.
        (step < 1 << 61).then_some(step)
    }

    /// Whether `wait`, which a poller is about to make, may end at once: time then is what it is
    /// when that ends.
    pub(crate) fn polls(&mut self, due: Nanoseconds, now: &KernelTime) -> bool {
        let ahead = due - self.at(Clock::Monotonic, now);
        let is_next = |next: u64| Nanoseconds::from(next) >= ahead;
        let Ok(step) = u64::try_from(ahead) else {
            return false;
        };
        self.next_deadline(now).is_none_or(is_next) && self.clocks.advance(step).is_ok() && {
            self.end_due();
            true
        }
    }

    /// Ends what is due by now, but is to wake later by what the kernel was told, and notes when
    /// the next such is due.
    pub(crate) fn end_due(&mut self) {
        let Ok(now) = self.clocks.now() else {
            return;
        };
        let mut next: Option<u64> = None;
        let mut due = Vec::new();
        let later = |at: Option<u64>| at.map_or(u64::MAX, |real| now.monotonic + real);
        for (thread, index, passage) in self.frames.iter() {
            let Purpose::Wait(waiting) = &passage.purpose else {
                continue;
            };
            let course = self.course(waiting.clock);
            let at = later(course.until(waiting.clock, waiting.due, &now));
            if at >= waiting.armed {
                continue;
            }
            match at <= now.monotonic {
                true => due.push((thread, index)),
                false => next = Some(next.map_or(at, |known| known.min(at))),
            }
        }
        for (thread, index) in due {
            self.make_again(thread, index, &now);
        }
        let timers: Vec<_> = self.settings.timers.iter().collect();
        for (key, due) in timers {
            let course = self.course(due.clock);
            let at = later(course.until(due.clock, due.due, &now));
            if at >= self.fires(key, due, &now) {
                continue;
            }
            match at <= now.monotonic {
                true => self.set_timer_again(key, due, &now),
                false => next = Some(next.map_or(at, |known| known.min(at))),
            }
        }
        self.roll(&now);
        self.lagging = next;
    }

    /// Whether `process` has the gate of this tree.
    pub(crate) fn is_of_tree(&self, process: Pid) -> bool {
        self.has_gate(process)
    }

    /// What the kernel's monotonic clock shows.
    pub(crate) fn monotonic(&self) -> u64 {
        self.clocks.now().map_or(0, |now: KernelTime| now.monotonic)
    }
}

/// State and start time of a process or thread (proc_pid_stat(5)).
fn stat(path: &str) -> Option<(char, u64)> {
    let text = fs::read_to_string(path).ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Whether a thread waits for its child to execute a program or end.
fn is_in_vfork(thread: Pid) -> bool {
    Blocked::read(thread).is_some_and(|blocked| FORKS.contains(&blocked.number))
}

/// How many calls that write a thread has made (proc_pid_io(5)).
fn writes(thread: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{thread}/task/{thread}/io")).ok()?;
    let count = text.lines().find_map(|line| line.strip_prefix("syscw: "))?;
    count.parse().ok()
}
