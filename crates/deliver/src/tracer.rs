//! The tracer's loop: waits for a stop, gives the answer of [`crate::stop`].

use std::collections::{HashMap, HashSet};
use std::ffi::c_int;
use std::io;
use std::path::PathBuf;

use crate::error::Event;
use crate::inject::{Injector, Start};
use crate::program::{self, Programs};
use crate::stop::{Answer, Stop};
use crate::sys::{self, Pid, Resume};
use crate::visit::Failure;

/// The ptrace(2) options of a tracer that follows all descendants.
pub(crate) const FOLLOW: c_int =
    ALONE | libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACECLONE;

/// The ptrace(2) options of a tracer of one program.
pub(crate) const ALONE: c_int = libc::PTRACE_O_TRACEEXEC;

/// Threads in vfork(2), whose call returns when their child has executed a program or ended.
///
/// They are kept in the stop of that call for as long. A thread that was resumed at once would wake to
/// sleep again, be woken by its child, and run just when the child reports its exec, on the CPU that
/// the tracer needs to answer that: half of what following costs `make -j2` on two CPUs.
#[derive(Debug, Default)]
struct Waiting {
    /// By child.
    held: HashMap<Pid, Pid>,
    /// Those whose child has begun.
    released: Vec<Pid>,
    /// Whether one event of another tracee was taken since they were released.
    took_event: bool,
}

impl Waiting {
    /// The next event of a tracee. `None`: there is no tracee any more.
    ///
    /// Released threads are resumed after one other event, if there is one: their child was resumed
    /// before, and should have a CPU by then.
    fn next(&mut self) -> io::Result<Option<(Pid, c_int)>> {
        if !self.released.is_empty()
            && !self.took_event
            && let Ok(Some(report)) = sys::poll(-1)
        {
            self.took_event = true;
            return Ok(Some(report));
        }
        self.took_event = false;
        for parent in self.released.drain(..) {
            resume(parent)?;
        }
        sys::wait(-1)
    }

    /// Holds `parent`, which reports a child by vfork(2).
    fn hold(&mut self, parent: Pid) -> io::Result<()> {
        let child = sys::child_of(parent)?;
        // The kernel reports the fork, and what the child did since, in either order. A child that has
        // executed its program has its own memory, or none; so has one that never shared it, for
        // which nothing is lost.
        if sys::share_memory(parent, child) {
            self.held.insert(child, parent);
            return Ok(());
        }
        sys::resume(parent, Resume::Continue, 0)
    }

    /// Notes a `stop` of `pid`.
    fn note(&mut self, pid: Pid, stop: Stop) {
        // A thread that reports an event is no longer in vfork: it was killed, or another thread's
        // exec took over its tid.
        self.held.retain(|_, parent| *parent != pid);
        self.released.retain(|parent| *parent != pid);
        // Any event but its first stop means that a child has begun, or takes longer to begin.
        if stop != Stop::Interrupted {
            self.released.extend(self.held.remove(&pid));
        }
    }
}

/// Resumes `pid`, unless it was killed meanwhile: then its end is reported next.
fn resume(pid: Pid) -> io::Result<()> {
    match sys::resume(pid, Resume::Continue, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// Delivers to every program that a traced tree of processes executes.
pub(crate) struct Tracer<'a> {
    injector: Injector,
    /// Programs that were set to put the object into themselves, and have not been seen since.
    launched: HashMap<Pid, Start>,
    waiting: Waiting,
    programs: Programs,
    /// What has been said, and of which executable.
    said: HashSet<(String, Option<PathBuf>)>,
    options: c_int,
    report: &'a mut dyn FnMut(Event),
}

impl<'a> Tracer<'a> {
    /// `options` are [`FOLLOW`] or [`ALONE`], and those with which every tracee is attached.
    pub(crate) fn new(
        injector: Injector,
        options: c_int,
        report: &'a mut dyn FnMut(Event),
    ) -> Self {
        Tracer {
            injector,
            launched: HashMap::new(),
            waiting: Waiting::default(),
            programs: Programs::default(),
            said: HashSet::new(),
            options,
            report,
        }
    }

    /// Serves every tracee of this thread until none is left, and calls `ended` for each that
    /// ends.
    pub(crate) fn run(&mut self, mut ended: impl FnMut(Pid)) -> io::Result<()> {
        while let Some((pid, status)) = self.waiting.next()? {
            let stop = Stop::decode(status);
            self.settle(pid, stop, status);
            self.waiting.note(pid, stop);
            let outcome = match stop.answer() {
                Answer::Forget => {
                    ended(pid);
                    Ok(())
                }
                Answer::Continue(libc::SIGURG) => self.signalled(pid).unwrap_or_else(|| {
                    ended(pid);
                    Ok(())
                }),
                Answer::Continue(signal) => sys::resume(pid, Resume::Continue, signal),
                Answer::Listen => sys::listen(pid),
                Answer::Hold => self.waiting.hold(pid),
                Answer::Deliver => match self.deliver(pid) {
                    Some((how, signal)) => sys::resume(pid, how, signal),
                    None => {
                        ended(pid);
                        Ok(())
                    }
                },
            };
            match outcome {
                // Killed between its stop and our answer: its end is reported next.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Says of a launched program that it has the object, once its doings show that.
    fn settle(&mut self, pid: Pid, stop: Stop, status: c_int) {
        // The code that puts it in does neither, and a signal may come before it is done.
        let has_begun = match stop {
            Stop::Forked | Stop::Vforked | Stop::Executed => true,
            Stop::Ended => libc::WIFEXITED(status),
            Stop::Group | Stop::Interrupted | Stop::Signal(_) => false,
        };
        let is_known = has_begun || stop == Stop::Ended;
        if is_known && self.launched.remove(&pid).is_some() && has_begun {
            (self.report)(Event::Delivered { pid: pid as u32 });
        }
    }

    /// Answers a SIGURG: the program's own, or that of a launched program which could not put the
    /// object into itself. `None`: it ended.
    fn signalled(&mut self, pid: Pid) -> Option<io::Result<()>> {
        let failed = match self.launched.get(&pid) {
            Some(start) => self.injector.has_failed(pid, start),
            None => Ok(false),
        };
        let start = match failed {
            Ok(true) => self.launched.remove(&pid)?,
            Ok(false) => return Some(sys::resume(pid, Resume::Continue, libc::SIGURG)),
            Err(error) => return Some(Err(error)),
        };
        let outcome = self.injector.deliver_again(pid, &start, self.options);
        let signal = self.delivered(pid, outcome)?;
        Some(sys::resume(pid, Resume::Continue, signal))
    }

    /// Delivers to `pid` in its exec stop and says how it goes on, unless it ended.
    fn deliver(&mut self, pid: Pid) -> Option<(Resume, c_int)> {
        let traces = match self.options {
            ALONE => None,
            _ => Some(self.programs.has_ptrace(pid)),
        };
        let mut emulates = false;
        let outcome = self.injector.look(pid).and_then(|(start, memory)| {
            emulates = start.is_valgrind;
            // A program that is detached needs no descriptors of others from then on.
            if traces == Some(false) && self.injector.launch(pid, &start, &memory)? {
                self.launched.insert(pid, start);
                return Ok(None);
            }
            let signal = self.injector.deliver(pid, &start, memory, self.options);
            signal.map(Some)
        });
        let signal = match outcome.transpose() {
            None => 0,
            Some(outcome) => self.delivered(pid, outcome)?,
        };
        let Some(traces) = traces else {
            return Some((Resume::Detach, signal));
        };
        if !program::has_its_rights(pid) {
            let pid = pid as u32;
            let event = |program| Event::RightsWithheld { pid, program };
            self.say(pid as Pid, "rights withheld".to_owned(), event);
        }
        if emulates {
            let event = |program| Event::Emulates {
                pid: pid as u32,
                program,
            };
            self.say(pid, "emulates".to_owned(), event);
        }
        if traces {
            let event = |program| Event::TracesOthers {
                pid: pid as u32,
                program,
            };
            self.say(pid, "traces others".to_owned(), event);
            return Some((Resume::Detach, signal));
        }
        Some((Resume::Continue, signal))
    }

    /// Reports what a delivery ended with, and says the signal to go on with, unless it ended.
    fn delivered(&mut self, pid: Pid, outcome: Result<c_int, Failure>) -> Option<c_int> {
        match outcome {
            Ok(signal) => {
                (self.report)(Event::Delivered { pid: pid as u32 });
                Some(signal)
            }
            Err(Failure::Ended) => None,
            Err(Failure::Unserved(reason)) => {
                let (text, process) = (reason.to_string(), pid as u32);
                self.say(pid, text, |program| Event::Unserved {
                    pid: process,
                    program,
                    reason,
                });
                Some(0)
            }
        }
    }

    /// Reports `event`, unless the same `text` has been said of the same executable.
    fn say(&mut self, pid: Pid, text: String, event: impl FnOnce(Option<PathBuf>) -> Event) {
        let program = program::path(pid);
        if self.said.insert((text, program.clone())) {
            (self.report)(event(program));
        }
    }
}
