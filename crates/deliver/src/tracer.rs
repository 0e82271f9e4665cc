//! The tracer's loop: waits for a stop, gives the answer of [`crate::stop`].

use std::collections::HashSet;
use std::ffi::c_int;
use std::io;
use std::path::PathBuf;

use crate::error::Event;
use crate::inject::Injector;
use crate::program::{self, Programs};
use crate::stop::{Answer, Stop};
use crate::sys::{self, Pid, Resume};
use crate::visit::Failure;

/// What a tracer that follows wants to hear of.
pub(crate) const FOLLOW: c_int =
    ALONE | libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACECLONE;

/// What a tracer of one program wants to hear of.
pub(crate) const ALONE: c_int = libc::PTRACE_O_TRACEEXEC;

/// Delivers to every program that a traced tree of processes executes.
pub(crate) struct Tracer<'a> {
    injector: Injector,
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
            programs: Programs::default(),
            said: HashSet::new(),
            options,
            report,
        }
    }

    /// Serves every tracee of this thread until none is left, and calls `ended` for each that
    /// ends.
    pub(crate) fn run(&mut self, mut ended: impl FnMut(Pid)) -> io::Result<()> {
        while let Some((pid, status)) = sys::wait(-1)? {
            let outcome = match Stop::decode(status).answer() {
                Answer::Forget => {
                    ended(pid);
                    Ok(())
                }
                Answer::Continue(signal) => sys::resume(pid, Resume::Continue, signal),
                Answer::Listen => sys::listen(pid),
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

    /// Delivers to `pid` in its exec stop and says how it goes on, unless it ended.
    fn deliver(&mut self, pid: Pid) -> Option<(Resume, c_int)> {
        let signal = match self.injector.deliver(pid, self.options) {
            Ok(delivered) => {
                (self.report)(Event::Delivered {
                    pid: pid as u32,
                    address: delivered.address,
                });
                delivered.signal
            }
            Err(Failure::Ended) => return None,
            Err(Failure::Unserved(reason)) => {
                let (text, process) = (reason.to_string(), pid as u32);
                self.say(pid, text, |program| Event::Unserved {
                    pid: process,
                    program,
                    reason,
                });
                0
            }
        };
        if self.options == ALONE {
            return Some((Resume::Detach, signal));
        }
        let program = self.programs.of(pid);
        if !program::has_its_rights(pid, program) {
            let pid = pid as u32;
            let event = |program| Event::RightsWithheld { pid, program };
            self.say(pid as Pid, "rights withheld".to_owned(), event);
        }
        if program.has_ptrace {
            let event = |program| Event::TracesOthers {
                pid: pid as u32,
                program,
            };
            self.say(pid, "traces others".to_owned(), event);
            return Some((Resume::Detach, signal));
        }
        Some((Resume::Continue, signal))
    }

    /// Reports `event`, unless the same `text` has been said of the same executable.
    fn say(&mut self, pid: Pid, text: String, event: impl FnOnce(Option<PathBuf>) -> Event) {
        let program = program::path(pid);
        if self.said.insert((text, program.clone())) {
            (self.report)(event(program));
        }
    }
}
