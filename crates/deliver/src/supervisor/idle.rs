//! Stepping over the time in which nothing in the tree runs.

use std::collections::{HashMap, HashSet};
use std::fs;

use rustix::event::{PollFd, PollFlags, Timespec};
use vdsokit_clock::{Clock, KernelTime};
use vdsokit_waits::call::{Basis, Wait};
use vdsokit_waits::course::Nanoseconds;
use vdsokit_waits::expiry::Expiry;
use vdsokit_waits::idle::{Idle, Pause, Pollers, Seen};

use super::process::{self, Blocked};
use super::times::given;
use super::transit::Connections;
use super::waits::{Purpose, Waits, has_gate};
use crate::arch::FORKS;
use crate::proc;
use crate::seccomp::{Notification, Outcome};
use crate::sys::Pid;

/// What is known of the tree, and when to look at it.
#[derive(Debug)]
pub(crate) struct Skip {
    idle: Idle,
    /// The processes of the tree.
    processes: HashSet<Pid>,
    /// Processes outside the tree that it waits for, with all that they start.
    outside: Vec<Pid>,
    /// The id that was given to a process or thread last, when the tree was quiet: `processes` has
    /// all of the tree up to this one. While a thread of it runs, a process may be about to begin of
    /// which there is nothing to be seen but its id.
    last: Option<Pid>,
    /// For how long each thread has run.
    ran: HashMap<Pid, u64>,
    /// The connections of the tree. `None`: a thread that is no poller has run since they were listed.
    connections: Option<Connections>,
}

impl Skip {
    pub(crate) fn new(threshold: u64, outside: Vec<Pid>, now: u64) -> Skip {
        Skip {
            idle: Idle::new(threshold, now),
            processes: HashSet::new(),
            outside,
            last: None,
            ran: HashMap::new(),
            connections: None,
        }
    }

    /// Notes that `thread`, which is of the tree, executes a program.
    pub(crate) fn executes(&mut self, pollers: &mut Pollers, thread: Pid, now: u64) {
        self.processes.extend(process::thread_group(thread));
        pollers.others_ran();
        self.happened(now);
    }

    /// Notes that something runs in the tree, or that time is held, which counts as much.
    pub(crate) fn happened(&mut self, now: u64) {
        self.connections = None;
        self.idle.happened(now, false);
    }

    /// Notes a call that was handed over. `wait`: when it waits, and for how long.
    ///
    /// Returns whether time may step to the end of that wait at once.
    pub(crate) fn called(
        &mut self,
        pollers: &mut Pollers,
        call: &Notification,
        wait: Option<(Nanoseconds, Nanoseconds)>,
        now: u64,
    ) -> bool {
        let is_poller = wait.is_some_and(|(at, span)| {
            let pause = Pause {
                place: call.pointer,
                at: positive(at),
                span: positive(span),
                writes: writes(call.pid).unwrap_or(0),
            };
            pollers.waits(call.pid, pause)
        });
        self.idle.happened(now, is_poller);
        if !is_poller {
            self.connections = None;
            pollers.others_ran();
        }
        is_poller
            && self.idle.has_polls_only(now)
            && self.connections_are_sending() == Some(false)
            && self.seen(pollers, Some(call.pid)) == Seen::Quiet
    }

    /// When to look at the tree next.
    pub(crate) fn next_look(&self) -> u64 {
        self.idle.next_look()
    }

    /// Looks at the tree. Returns whether time is to step.
    pub(crate) fn look(
        &mut self,
        pollers: &mut Pollers,
        is_of_tree: impl Fn(Pid) -> bool,
        now: u64,
    ) -> bool {
        let last = self.find(is_of_tree);
        // Before the look at the threads, which then shows those that data has woken since.
        let are_sending = self.connections_are_sending();
        let seen = self.seen(pollers, None);
        match seen {
            Seen::Quiet => self.last = last,
            Seen::Polls => {}
            Seen::Busy => pollers.others_ran(),
        }
        if are_sending == Some(true) {
            self.happened(now);
            return false;
        }
        if seen == Seen::Quiet && self.connections.is_none() {
            self.connections = Some(Connections::list(self.members()));
        }
        self.idle.looked(now, seen) && are_sending == Some(false)
    }

    /// Whether no thread but `but` has run since the tree was seen quiet. What was read of their waits in
    /// between then holds: this process may have lost its CPU meanwhile, for as long as a poll takes.
    fn is_still_quiet(&mut self, pollers: &mut Pollers, but: Option<Pid>) -> bool {
        let seen = self.seen(pollers, but);
        if seen == Seen::Busy {
            pollers.others_ran();
        }
        seen == Seen::Quiet
    }

    /// Whether the kernel is about to send data between processes. `None`: the connections are not
    /// known.
    fn connections_are_sending(&self) -> Option<bool> {
        self.connections.as_ref().map(Connections::are_sending)
    }

    /// The processes of the tree, and those outside that it waits for.
    fn members(&self) -> Vec<Pid> {
        let outside = self.outside.iter().flat_map(|&pid| with_descendants(pid));
        self.processes.iter().copied().chain(outside).collect()
    }

    /// The threads of the tree when it was last looked at, each with the time for which it had run.
    pub(crate) fn threads(&self) -> impl Iterator<Item = (Pid, u64)> {
        self.ran.iter().map(|(&thread, &ran)| (thread, ran))
    }

    /// Notes whether time stepped when it was to.
    pub(crate) fn stepped(&mut self, has_stepped: bool) {
        self.idle.stepped(has_stepped);
    }

    /// Learns which processes there are. Ids are given in ascending order (kernel/pid.c,
    /// `alloc_pid`), so that only new ones are looked at. Returns the one that was given last.
    fn find(&mut self, is_of_tree: impl Fn(Pid) -> bool) -> Option<Pid> {
        /// So many new ids are looked at one by one.
        const MOST: Pid = 1000;
        let last = last_id(&fs::read_to_string("/proc/loadavg").unwrap_or_default());
        let candidates: Vec<Pid> = match self.last.zip(last) {
            Some((before, last)) if (before..before.saturating_add(MOST)).contains(&last) => {
                (before + 1..=last).collect()
            }
            _ => process::numbers("/proc").collect(),
        };
        let is_process = |id: &Pid| is_of_tree(*id) && process::thread_group(*id) == Some(*id);
        self.processes
            .extend(candidates.into_iter().filter(is_process));
        last
    }

    /// Which threads of the tree but `but`, and of what it waits for, run or have run since the last
    /// look.
    fn seen(&mut self, pollers: &Pollers, but: Option<Pid>) -> Seen {
        let mut seen = Seen::Quiet;
        let mut ran = HashMap::new();
        let mut ended = Vec::new();
        for pid in self.members() {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
                ended.push(pid);
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
                let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
                let Some(state) = proc::state_of(&stat) else {
                    continue;
                };
                let mut is_quiet = match state {
                    'S' | 'I' | 'T' | 'Z' | 'X' => true,
                    'D' => is_in_vfork(thread),
                    _ => false,
                };
                let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
                let time = time_on_cpus(&text);
                is_quiet &= self.ran.get(&thread) == Some(&time);
                ran.insert(thread, time);
                seen = seen.max(match (is_quiet, pollers.is_one(thread)) {
                    (true, _) => Seen::Quiet,
                    (false, true) => Seen::Polls,
                    (false, false) => Seen::Busy,
                });
            }
        }
        self.ran = ran;
        if seen == Seen::Busy {
            self.connections = None;
        }
        for pid in ended {
            self.processes.remove(&pid);
            self.outside.retain(|&outside| outside != pid);
        }
        seen
    }
}

/// A process and all its descendants (proc_pid_task(5), `children`).
fn with_descendants(pid: Pid) -> Vec<Pid> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        for thread in process::numbers(&format!("/proc/{pid}/task")) {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{thread}/children"));
            let children = children.unwrap_or_default();
            let children = children.split_whitespace().flat_map(str::parse::<Pid>);
            found.extend(children);
        }
        next += 1;
    }
    found
}

/// What a call of `thread` returns as its time has come. `None`: that has ended it before.
fn expired(thread: Pid, expiry: Expiry) -> Option<Outcome> {
    match expiry {
        Expiry::Slept => Some(Outcome::Returns(0)),
        Expiry::Futex { address, value } => {
            let mut word = [0; 4];
            process::read(thread, address, &mut word).ok()?;
            let is_same = u32::from_ne_bytes(word) == value;
            is_same.then_some(Outcome::Fails(libc::ETIMEDOUT))
        }
        Expiry::Epoll(descriptor) => {
            let instance = process::thread_group(thread)?;
            let instance = process::descriptor(instance, descriptor).ok()?;
            // It is not read, which would lose an event that epoll reports once (EPOLLET).
            let mut ready = [PollFd::new(&instance, PollFlags::IN)];
            let count = rustix::event::poll(&mut ready, Some(&Timespec::default())).ok()?;
            (count == 0).then_some(Outcome::Returns(0))
        }
    }
}

/// How far the next deadlines are; 0 or less if one has come.
#[derive(Debug, Default, Clone, Copy)]
struct Deadlines {
    /// Of what does not poll.
    others: Option<Nanoseconds>,
    /// Of pollers.
    polls: Option<Nanoseconds>,
    /// Of pollers, as late as each may end.
    late_polls: Option<Nanoseconds>,
}

impl Deadlines {
    /// How far the next one is. A poller may be late only while something else waits: alone it may
    /// count its polls, and then takes as long as they are to last.
    fn next(&self) -> Option<u64> {
        let polls = match self.others {
            Some(_) => self.late_polls,
            None => self.polls,
        };
        let next = self.others.into_iter().chain(polls).min()?;
        u64::try_from(next.max(0)).ok()
    }

    /// Whether the next one is of a poller that may be no later.
    fn next_is_late_poll(&self) -> bool {
        match (self.others, self.late_polls) {
            (Some(others), Some(polls)) => polls <= others,
            _ => false,
        }
    }
}

/// The nearest time that is not negative.
fn positive(time: Nanoseconds) -> u64 {
    u64::try_from(time.max(0)).unwrap_or(u64::MAX)
}

/// The earlier of two deadlines. What never ends is none.
fn earlier(known: Option<Nanoseconds>, left: Nanoseconds) -> Option<Nanoseconds> {
    let new = (left < 1 << 61).then_some(left);
    known.into_iter().chain(new).min()
}

impl Waits {
    /// Notes a wait where time is skipped, and ends it at once if it is a poller's, nothing else runs
    /// and the kernel has no part in how it ends.
    pub(super) fn poll(
        &mut self,
        call: &Notification,
        wait: &Wait,
        now: &KernelTime,
    ) -> Option<Outcome> {
        let mut skip = self.skip.take()?;
        let shown = self.at(Clock::Monotonic, now);
        let made = &wait.made;
        let given = given(call.pid, wait.given);
        let span = given.map(|given| match wait.basis {
            Basis::Call => given,
            Basis::Clock(clock) => given - self.at(clock, now),
        });
        let wait = span.map(|span| (shown, span));
        let is_next = skip.called(&mut self.pollers, call, wait, now.monotonic);
        let slack = self.pollers.slack(call.pid).unwrap_or(0);
        let outcome = match is_next && !self.clocks.is_held() {
            true => Expiry::of(made).and_then(|expiry| expired(call.pid, expiry)),
            false => None,
        };
        let ends = span.filter(|_| outcome.is_some()).is_some_and(|span| {
            let is_quiet = |pollers: &mut Pollers| skip.is_still_quiet(pollers, Some(call.pid));
            self.polls(span, slack, now, is_quiet)
        });
        self.skip = Some(skip);
        outcome.filter(|_| ends)
    }

    /// Notes that a process is about to execute a program.
    pub(crate) fn executes(&mut self, process: Pid) {
        if let Some(mut skip) = self.skip.take() {
            let now = self.monotonic();
            skip.executes(&mut self.pollers, process, now);
            self.skip = Some(skip);
        }
    }

    /// When [`Waits::tick`] is to be called unless something happens before, on
    /// `CLOCK_MONOTONIC`.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        let skip = self.skip.as_ref().filter(|_| self.has_deadline());
        let times = [self.lagging, skip.map(Skip::next_look), self.settings.retry];
        times.into_iter().flatten().min()
    }

    /// Does what is due by itself. Nothing that happened must be left to serve: a thread whose
    /// call waits for that looks idle.
    pub(crate) fn tick(&mut self) {
        self.set_rest();
        let Some(mut skip) = self.skip.take() else {
            return;
        };
        self.end_due(false);
        let Ok(clocks) = self.clocks.now() else {
            self.skip = Some(skip);
            return;
        };
        let now = clocks.monotonic;
        let mut is_time = self.has_deadline() && now >= skip.next_look();
        if is_time && self.clocks.is_held() {
            skip.happened(now);
            is_time = false;
        }
        if is_time {
            let gates: Vec<_> = self.gates().collect();
            let is_of_tree = |process| gates.iter().any(|gate| has_gate(gate, process));
            let is_idle = skip.look(&mut self.pollers, is_of_tree, now);
            self.find_blocked(skip.threads(), &clocks);
            if is_idle {
                let is_quiet = |pollers: &mut Pollers| skip.is_still_quiet(pollers, None);
                let has_stepped = self.step(is_quiet);
                skip.stepped(has_stepped);
            }
        }
        self.skip = Some(skip);
    }

    /// Whether a thread or a timer has a deadline.
    pub(crate) fn has_deadline(&self) -> bool {
        let mut calls = self.frames.iter();
        !self.settings.timers.is_empty()
            || self.sockets.have_timeouts()
            || calls.any(|(_, _, passage)| matches!(passage.purpose, Purpose::Wait(_)))
    }

    /// Moves the clocks to the next deadline, and ends what waits for it, if the tree `is_still_quiet`.
    /// Returns whether there is one.
    fn step(&mut self, is_still_quiet: impl FnOnce(&mut Pollers) -> bool) -> bool {
        let Ok(now) = self.clocks.now() else {
            return false;
        };
        let deadlines = self.deadlines(&now);
        let Some(step) = deadlines.next() else {
            return false;
        };
        if !is_still_quiet(&mut self.pollers) {
            return true;
        }
        if step == 0 || self.clocks.advance(step).is_ok() {
            self.end_due(deadlines.next_is_late_poll());
        }
        true
    }

    fn deadlines(&mut self, now: &KernelTime) -> Deadlines {
        self.forget_ended();
        self.roll(now);
        let mut next = Deadlines::default();
        for (thread, _, passage) in self.frames.iter() {
            let Purpose::Wait(waiting) = &passage.purpose else {
                continue;
            };
            let left = waiting.due - self.at(waiting.clock, now);
            match self.pollers.slack(thread) {
                None => next.others = earlier(next.others, left),
                Some(slack) => {
                    let late = left + Nanoseconds::from(slack);
                    next.polls = earlier(next.polls, left);
                    next.late_polls = earlier(next.late_polls, late);
                }
            }
        }
        let timers = self.settings.timers.iter();
        let timers = timers.map(|(_, due)| due.due - self.at(due.clock, now));
        let shown = self.at(Clock::Monotonic, now);
        let sockets = self.sockets.deadlines().map(|due| due - shown);
        next.others = timers.chain(sockets).fold(next.others, earlier);
        self.others_wait = next.others.is_some();
        next
    }

    /// Whether a wait of `span`, which a poller is about to make, may end at once: time then is what
    /// it is when that ends, late by `slack` at most.
    fn polls(
        &mut self,
        span: Nanoseconds,
        slack: u64,
        now: &KernelTime,
        is_still_quiet: impl FnOnce(&mut Pollers) -> bool,
    ) -> bool {
        let Ok(ahead) = u64::try_from(span) else {
            return false;
        };
        let deadlines = self.deadlines(now);
        let next = deadlines.next().unwrap_or(u64::MAX);
        let slack = deadlines.others.map_or(0, |_| slack);
        let step = (ahead + slack).min(next);
        next >= ahead && is_still_quiet(&mut self.pollers) && self.clocks.advance(step).is_ok() && {
            self.end_due(step < next || deadlines.next_is_late_poll());
            true
        }
    }

    /// Ends what is due by now, but is to wake later by what the kernel was told, and notes when
    /// the next such is due. Polls that may be late end with the first that may be no later, all
    /// at once; `ends_polls`: they do now.
    pub(crate) fn end_due(&mut self, ends_polls: bool) {
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
            let may_be_late = || self.pollers.slack(thread).is_some_and(|slack| slack > 0);
            if !ends_polls && self.others_wait && may_be_late() {
                continue;
            }
            match at <= now.monotonic {
                true => due.push((thread, index)),
                false => next = Some(next.map_or(at, |known| known.min(at))),
            }
        }
        self.make_again(&due, &now);
        let timers: Vec<_> = self.settings.timers.iter().collect();
        for (key, due) in timers {
            let course = self.course(due.clock);
            let at = later(course.until(due.clock, due.due, &now));
            if at >= self.fires(key, due, now.monotonic) {
                continue;
            }
            match at <= now.monotonic {
                true => self.set_timer_again(key, due, &now),
                false => next = Some(next.map_or(at, |known| known.min(at))),
            }
        }
        self.end_blocked(&now);
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

/// The last id that was given to a thread (proc_loadavg(5)).
fn last_id(load: &str) -> Option<Pid> {
    load.split_whitespace().last()?.parse().ok()
}

/// A number that changes when a thread runs: its time on a CPU and how often it ran, together
/// (Documentation/scheduler/sched-stats.rst).
fn time_on_cpus(schedstat: &str) -> u64 {
    let mut numbers = schedstat.split_whitespace().flat_map(str::parse::<u64>);
    let mut next = |skipped| numbers.nth(skipped).unwrap_or(0);
    next(0).wrapping_add(next(1))
}

/// Whether a thread waits for its child to execute a program or end.
fn is_in_vfork(thread: Pid) -> bool {
    Blocked::read(thread).is_some_and(|blocked| FORKS.contains(&blocked.number))
}

/// How many calls that write a thread has made (proc_pid_io(5)).
fn writes(thread: Pid) -> Option<u64> {
    writes_in(&fs::read_to_string(format!("/proc/{thread}/task/{thread}/io")).ok()?)
}

fn writes_in(text: &str) -> Option<u64> {
    let count = text.lines().find_map(|line| line.strip_prefix("syscw: "))?;
    count.parse().ok()
}

/// Reads `text` as each of these.
#[cfg(fuzzing)]
pub(super) fn exercise(text: &str) {
    let _ = (last_id(text), time_on_cpus(text), writes_in(text));
}
