//! The supervisor of a tree of processes: it serves the calls that the tree's filter hands over,
//! and traces a thread only while it has to change its registers.
//!
//! - **execve**: the thread is seized, makes its call, and stops when the new program is there.
//!   The object is delivered and the thread is detached. One whose call fails gives no stop: it
//!   stays seized and is known as such.
//! - **reads of the clock** are answered ([`crate::strict`]).
//! - **waits and timers** are converted ([`waits`], [`timers`]), and so are **file times** ([`files`]).
//! - **calls that set the clock** set the tree's ([`setting`]).
//! - **sysinfo(2)** has the tree's uptime ([`uptime`]).
//!
//! A thread that another process traces (strace(1), gdb(1)) can't be seized. Its calls are the
//! kernel's, and that is reported once for each executable.

mod arch;
mod changes;
pub(crate) mod ending;
mod files;
mod frames;
mod idle;
pub(crate) mod keeper;
pub(crate) mod process;
mod setters;
pub(crate) mod setting;
mod sockets;
mod thread;
mod timerfds;
mod timers;
mod times;
mod transit;
pub(crate) mod uptime;
mod waits;

use std::collections::{HashSet, VecDeque};
use std::ffi::c_int;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};
use vdsokit_waits::{AUDIT, OTHER_EXECS, number};

use crate::error::{Event, Unserved, UnservedFileTimes, UnservedWait};
use crate::exec::forget_stderr;
use crate::inject::{Injector, Start};
use crate::memory::Memory;
use crate::program;
use crate::seccomp::{self, Inbox, Notification, Outcome};
use crate::stop::Stop;
use crate::strict::{self, Read};
use crate::sys::{self, Pid, Resume};
use crate::visit::Failure;
use process::Signals;
use waits::Handled;
pub(crate) use waits::{Waits, has_gate};

/// The signal that tells a supervisor that somebody changed the clock. Nothing happens to a
/// process that gets it unawares.
pub(crate) const CLOCK_CHANGED: c_int = libc::SIGURG;

/// How many launched programs are remembered, in case they report a failure: it comes within
/// microseconds.
const LAUNCHES: usize = 64;

/// The ptrace(2) options of a thread that is about to execute a program. `is_required`: the kernel kills it
/// if this process dies, rather than that it begins in real time.
pub(crate) fn options(is_required: bool) -> c_int {
    let at_exit = if is_required {
        libc::PTRACE_O_EXITKILL
    } else {
        0
    };
    libc::PTRACE_O_TRACEEXEC | at_exit
}

/// Serves one tree.
pub(crate) struct Supervisor<'a> {
    listener: OwnedFd,
    inbox: Inbox,
    signals: Signals,
    injector: Injector,
    /// Whether setuid programs gain their rights.
    leaves_rights: bool,
    /// Threads that are seized and have not stopped for an exec since.
    seized: HashSet<Pid>,
    /// Programs that were set to put the object into themselves.
    launched: VecDeque<(Pid, Start)>,
    /// What has been reported, and of which executable.
    said: HashSet<(String, Option<PathBuf>)>,
    read: Option<Read>,
    waits: Option<Waits>,
    /// Whether the tree ends rather than that a part of it sees real time.
    is_required: bool,
    /// The first process that could not be served where it had to be.
    unserved: Option<Pid>,
    /// A call that is answered while the tree is ended.
    unanswered: Option<Notification>,
    report: &'a mut dyn FnMut(Event),
}

impl<'a> Supervisor<'a> {
    #[allow(clippy::too_many_arguments, reason = "each is a part of it")]
    pub(crate) fn new(
        listener: OwnedFd,
        inbox: Inbox,
        signals: Signals,
        injector: Injector,
        read: Option<Read>,
        waits: Option<Waits>,
        is_required: bool,
        report: &'a mut dyn FnMut(Event),
    ) -> Self {
        Supervisor {
            listener,
            inbox,
            signals,
            injector,
            leaves_rights: process::leaves_rights(),
            seized: HashSet::new(),
            launched: VecDeque::new(),
            said: HashSet::new(),
            read,
            waits,
            is_required,
            unserved: None,
            unanswered: None,
            report,
        }
    }

    /// Serves until no process is left that uses the filter. Standard error is held until
    /// `target`, the first process, has ended. `is_seized`: that is seized, and has not called
    /// execve yet.
    pub(crate) fn run(&mut self, target: Pid, is_seized: bool) {
        self.seized.extend(is_seized.then_some(target));
        let mut is_complete = false;
        let mut first = rustix::process::Pid::from_raw(target)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        loop {
            let mut ready = vec![
                PollFd::new(&self.listener, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            ready.extend(first.iter().map(|first| PollFd::new(first, PollFlags::IN)));
            // Where time is skipped, something may be due without an event.
            let timeout = self.waits.as_ref().and_then(|waits| {
                let left = waits.next_tick()?.saturating_sub(waits.monotonic());
                Some(Timespec {
                    tv_sec: (left / 1_000_000_000) as i64,
                    tv_nsec: (left % 1_000_000_000) as i64,
                })
            });
            match poll(&mut ready, timeout.as_ref()) {
                Err(Errno::INTR | Errno::NOMEM) => continue,
                Err(_) => return,
                Ok(0) => {
                    self.waits.iter_mut().for_each(Waits::tick);
                    continue;
                }
                Ok(_) => {}
            }
            let (calls, signals) = (ready[0].revents(), ready[1].revents());
            if ready
                .get(2)
                .is_some_and(|first| !first.revents().is_empty())
            {
                drop(ready);
                first = None;
                forget_stderr();
            }
            // Stops first: a thread may have ended, and its id be another's.
            if signals.contains(PollFlags::IN) {
                let came = self.signals.take();
                self.stops(target);
                if came.contains(&CLOCK_CHANGED)
                    && let Some(waits) = &mut self.waits
                {
                    waits.changed();
                }
            }
            if calls.contains(PollFlags::IN) {
                // Without one, it was killed between its call and this.
                if let Ok(notification) = self.inbox.receive(&self.listener) {
                    let waits = &mut self.waits;
                    waits
                        .iter_mut()
                        .for_each(|waits| waits.begin(&notification));
                    self.notified(target, &notification);
                    self.waits.iter_mut().for_each(Waits::finish);
                    self.end(target, None);
                }
                // The first program is on its way meanwhile.
                if !is_complete {
                    is_complete = true;
                    self.waits.iter_mut().for_each(Waits::serve);
                    self.injector.prepare();
                    // If it fails, so it does again at the exec stop, and is reported.
                    let _ = self.injector.complete();
                    // Not before: the first program is to run on another CPU beside all this.
                    process::wake_synchronously(&self.listener);
                }
            } else if !calls.is_empty() {
                return;
            }
        }
    }

    fn notified(&mut self, target: Pid, notification: &Notification) {
        let number = notification.number as u32;
        let is_native = notification.architecture == AUDIT;
        let outcome = match number {
            _ if setting::serves(notification.architecture, number) => self.set(notification),
            _ if OTHER_EXECS.contains(&(notification.architecture, number)) => {
                self.seize(notification.pid);
                Outcome::Made
            }
            number::EXECVE | number::EXECVEAT if is_native => {
                if let Some(start) = self.failed_launch(notification) {
                    return self.deliver_again(target, notification, &start);
                }
                if let Some(waits) = &mut self.waits {
                    waits.executes(notification.pid);
                }
                self.seize(notification.pid);
                Outcome::Made
            }
            _ if strict::serves(notification) => self.read(notification),
            _ if uptime::serves(notification) => self.uptime(notification),
            _ => match self.wait(notification) {
                Some(outcome) => outcome,
                None => return,
            },
        };
        // It will be ended, and until then not wait or begin in real time.
        match self.unserved {
            Some(_) => self.unanswered = Some(*notification),
            None => match &mut self.waits {
                Some(waits) => {
                    waits.answer(&self.listener, notification, outcome, &mut self.seized);
                }
                None => seccomp::answer(&self.listener, notification, outcome),
            },
        }
    }

    /// Ends the tree if a part of it is not served though it has to be. `stopped` is a thread that
    /// this traces and that has stopped.
    fn end(&mut self, first: Pid, stopped: Option<Pid>) {
        if self.unserved.is_none() {
            return;
        }
        let waits = &self.waits;
        let is_of_tree = |pid| waits.as_ref().is_some_and(|waits| waits.is_of_tree(pid));
        let (listener, unanswered) = (&self.listener, self.unanswered.take());
        let release = || {
            if let Some(call) = unanswered {
                seccomp::answer(listener, &call, Outcome::Fails(libc::EINTR));
            }
        };
        let unserved = self.unserved;
        ending::end(first, unserved, stopped, &self.seized, is_of_tree, release);
    }

    /// Serves a call that sets the clock. It never reaches the kernel.
    fn set(&mut self, notification: &Notification) -> Outcome {
        let result = match &mut self.waits {
            Some(waits) if seccomp::waits(&self.listener, notification) => {
                setting::serve(waits, notification)
            }
            _ => Err(libc::EPERM),
        };
        match result {
            Ok(value) => Outcome::Returns(value),
            Err(error) => Outcome::Fails(error),
        }
    }

    /// Answers a read of the clock.
    fn read(&mut self, notification: &Notification) -> Outcome {
        match &mut self.read {
            Some(read) if seccomp::waits(&self.listener, notification) => {
                strict::outcome(notification, read, &mut |address, bytes| {
                    seccomp::write(notification.pid, address, bytes)
                })
            }
            _ => Outcome::Made,
        }
    }

    /// Answers a call that reads how long the machine runs.
    fn uptime(&self, notification: &Notification) -> Outcome {
        match &self.waits {
            Some(waits) if seccomp::waits(&self.listener, notification) => {
                uptime::serve(waits, notification)
            }
            _ => Outcome::Made,
        }
    }

    /// Serves a wait or a call about a timer. `None`: it has been answered.
    fn wait(&mut self, notification: &Notification) -> Option<Outcome> {
        let Some(waits) = &mut self.waits else {
            return Some(Outcome::Made);
        };
        match waits.notified(&self.listener, notification, &mut self.seized) {
            Handled::Answer(outcome) => return Some(outcome),
            Handled::Done => return None,
            Handled::Traced => self.unserved_wait(notification.pid, UnservedWait::Traced),
            Handled::IoUring => {
                if waits.has_file_times() {
                    self.unserved_file_times(notification.pid, UnservedFileTimes::IoUring);
                }
                self.unserved_wait(notification.pid, UnservedWait::IoUring);
            }
            Handled::I386 => self.unserved_wait(notification.pid, UnservedWait::I386),
            Handled::FileTraced => {
                self.unserved_file_times(notification.pid, UnservedFileTimes::Traced);
            }
            Handled::FileFilter => {
                self.unserved_file_times(notification.pid, UnservedFileTimes::Filter);
            }
        }
        Some(Outcome::Made)
    }

    fn unserved_wait(&mut self, pid: Pid, reason: UnservedWait) {
        self.require(pid);
        let process = pid as u32;
        self.say(pid, reason.to_string(), |program| Event::UnservedWait {
            pid: process,
            program,
            reason,
        });
    }

    fn unserved_file_times(&mut self, pid: Pid, reason: UnservedFileTimes) {
        self.require(pid);
        let process = pid as u32;
        self.say(pid, format!("file times: {reason}"), |program| {
            Event::UnservedFileTimes {
                pid: process,
                program,
                reason,
            }
        });
    }

    /// Has a thread that is about to execute a program stop when that is there.
    fn seize(&mut self, pid: Pid) {
        if self.seized.contains(&pid) {
            return;
        }
        match sys::seize(pid, options(self.is_required)) {
            Ok(()) => {
                self.seized.insert(pid);
            }
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(_) => self.unserved(pid, Unserved::Traced),
        }
    }

    /// Answers all stops that are there.
    fn stops(&mut self, first: Pid) {
        while let Ok(Some((pid, status))) = sys::poll(-1) {
            let stop = Stop::decode(status);
            // One that was killed meanwhile reports its end next.
            let _ = match stop {
                Stop::Ended => {
                    self.seized.remove(&pid);
                    Ok(())
                }
                Stop::Executed => {
                    // Another thread than the leader has the leader's id now.
                    if let Ok(former) = sys::child_of(pid) {
                        self.seized.remove(&former);
                    }
                    self.seized.remove(&pid);
                    if let Some(waits) = &mut self.waits {
                        waits.settings.executed(pid);
                    }
                    match self.executed(pid) {
                        Some(_) if self.unserved.is_some() => {
                            self.end(first, Some(pid));
                            Ok(())
                        }
                        Some(signal) => sys::resume(pid, Resume::Detach, signal),
                        None => Ok(()),
                    }
                }
                Stop::Group => sys::listen(pid),
                Stop::Signal(signal) => sys::resume(pid, Resume::Continue, signal),
                Stop::Forked | Stop::Vforked | Stop::Interrupted => {
                    sys::resume(pid, Resume::Continue, 0)
                }
            };
        }
    }

    /// Delivers to `pid` in its exec stop, and returns the signal to go on with, unless it ended.
    fn executed(&mut self, pid: Pid) -> Option<c_int> {
        if !self.leaves_rights && !program::has_its_rights(pid) {
            let event = |program| Event::RightsWithheld {
                pid: pid as u32,
                program,
            };
            self.say(pid, "rights withheld".to_owned(), event);
        }
        let looked = self.injector.look(pid);
        let outcome = looked.and_then(|(start, memory)| self.deliver(pid, start, memory));
        self.delivered(pid, outcome)
    }

    fn deliver(&mut self, pid: Pid, start: Start, memory: Memory) -> Result<c_int, Failure> {
        if start.is_valgrind {
            let event = |program| Event::Emulates {
                pid: pid as u32,
                program,
            };
            self.say(pid, "emulates".to_owned(), event);
        }
        if self.injector.launch(pid, &start, &memory)? {
            self.launched.retain(|(launched, _)| *launched != pid);
            self.launched.truncate(LAUNCHES - 1);
            self.launched.push_front((pid, start));
            return Ok(0);
        }
        let options = options(self.is_required);
        self.injector.deliver(pid, &start, memory, options)
    }

    /// The start of a program that reports by this call that it could not put the object into
    /// itself.
    fn failed_launch(&mut self, notification: &Notification) -> Option<Start> {
        let at = self.launched.iter().position(|(pid, start)| {
            *pid == notification.pid && self.injector.reports_failure(start, notification.pointer)
        })?;
        self.launched.remove(at).map(|(_, start)| start)
    }

    /// Delivers step by step to a program that could not put the object into itself.
    fn deliver_again(&mut self, first: Pid, notification: &Notification, start: &Start) {
        let pid = notification.pid;
        let stopped = sys::seize(pid, 0)
            .and_then(|()| sys::interrupt(pid))
            .is_ok();
        // Without a stop the call fails, and the program begins without the object.
        seccomp::answer(&self.listener, notification, Outcome::Fails(libc::EFAULT));
        if !stopped || process::stopped(pid).is_none() {
            return self.unserved(pid, Unserved::Traced);
        }
        let outcome = self.injector.deliver_again(pid, start, 0);
        if let Some(signal) = self.delivered(pid, outcome) {
            // One that is not served stays where it is until it is ended.
            if self.unserved.is_none() {
                let _ = sys::resume(pid, Resume::Detach, signal);
            } else {
                self.end(first, Some(pid));
            }
        }
    }

    /// Reports what a delivery ended with, and returns the signal to go on with, unless it ended.
    fn delivered(&mut self, pid: Pid, outcome: Result<c_int, Failure>) -> Option<c_int> {
        match outcome {
            Ok(signal) => {
                (self.report)(Event::Delivered { pid: pid as u32 });
                Some(signal)
            }
            Err(Failure::Ended) => None,
            Err(Failure::Unserved(reason)) => {
                self.unserved(pid, reason);
                Some(0)
            }
        }
    }

    fn unserved(&mut self, pid: Pid, reason: Unserved) {
        self.require(pid);
        let (text, process) = (reason.to_string(), pid as u32);
        self.say(pid, text, |program| Event::Unserved {
            pid: process,
            program,
            reason,
        });
    }

    /// Notes that `pid` is not served.
    fn require(&mut self, pid: Pid) {
        if self.is_required && self.unserved.is_none() {
            self.unserved = Some(pid);
        }
    }

    /// Reports `event`, unless the same `text` has been reported of the same executable.
    fn say(&mut self, pid: Pid, text: String, event: impl FnOnce(Option<PathBuf>) -> Event) {
        let program = program::path(pid);
        if self.said.insert((text, program.clone())) {
            (self.report)(event(program));
        }
    }
}

/// Reads `text` as each text of `/proc` that a supervisor reads.
#[cfg(fuzzing)]
pub(crate) fn exercise(text: &str) {
    idle::exercise(text);
    let _ = process::Blocked::parse(text);
    let _ = timers::clock_in(text, 0);
    let _ = timerfds::clock_in(text);
    let _ = timerfds::count_in(text);
}
