//! Becoming a program on another vDSO.
//!
//! The calling process itself becomes the program, as with exec(2): its parent, its terminal and
//! its job control see the program and nothing else, with the process id, exit status, signals
//! and stops that it has without us.
//!
//! Beside it runs a process in a process group of its own and without a terminal. It is a grandchild
//! that is orphaned at once, as strace(1) starts one with `-DDD`, so that no wait(2) of the program
//! shows it. A process that adopts orphans would adopt this one: there it is a child that ends without
//! a signal, which wait(2) shows only with `__WALL`.
//!
//! It stays in the session. A new one has an autogroup of its own (sched(7)), which takes 0.1 ms to make,
//! and in which this process would wait for its turn beside the program, instead of running when the
//! program stops for it.
//!
//! | that process is | when |
//! | --- | --- |
//! | a [`Supervisor`] | what the program starts is followed, and this process may trace later what is no descendant of the supervisor |
//! | a [`Tracer`] | otherwise: it traces all from their start |

mod conversion;
mod seizure;

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use vdsokit_waits::call::Scope;
#[cfg(target_arch = "x86_64")]
use vdsokit_waits::filter::Foreign;
use vdsokit_waits::filter::{Refused, Rule, filter};
use vdsokit_waits::gate::Gate;
#[cfg(target_arch = "x86_64")]
use vdsokit_waits::i386::AUDIT_I386;
use vdsokit_waits::{CLOCK_SETTERS, Clocks, OTHER_EXECS, number};

use crate::channel::Channel;
use crate::error::{Error, Event};
use crate::fork;
use crate::inject::Injector;
use crate::object::Object;
use crate::proc;
use crate::program;
use crate::seccomp::{self, Inbox};
use crate::strict::{self, Strict, Timestamp};
use crate::supervisor::process::{self, Signals};
use crate::supervisor::{self, CLOCK_CHANGED, Supervisor, Waits, keeper, setting};
use crate::sys;
use crate::tracer::{ALONE, FOLLOW, Tracer};
use conversion::Conversion;
use seizure::{await_seizure, leave, meet, refused};
pub(crate) use seizure::{close_all_but, forget_stderr};

/// How an object goes into a program and those that it starts.
#[derive(Debug)]
pub struct Delivery {
    object: Object,
    follow: bool,
    ignores_sigpipe: bool,
    protects_clocks: bool,
    is_required: bool,
    strict: Option<Strict>,
    waits: Option<Conversion>,
}

/// What serves the program.
enum Server {
    /// With the listener, and whether the target is seized.
    Supervisor(OwnedFd, bool),
    /// With the listener of reads of the clock.
    Tracer(Option<OwnedFd>),
}

impl Delivery {
    /// Delivers `object` to a program and to everything that it starts.
    pub fn new(object: Object) -> Delivery {
        Delivery {
            object,
            follow: true,
            ignores_sigpipe: false,
            protects_clocks: false,
            is_required: false,
            strict: None,
            waits: None,
        }
    }

    /// Whether programs that the first one starts get the object as well. The default is that
    /// they do. The tracer of a program that isn't followed ends when that has begun.
    pub fn follow(mut self, follow: bool) -> Delivery {
        self.follow = follow;
        self
    }

    /// Whether the program begins with SIGPIPE ignored. The default is that it doesn't: Rust's
    /// runtime ignores that signal before `main` and forgets whether it was ignored before.
    pub fn ignores_sigpipe(mut self, ignores: bool) -> Delivery {
        self.ignores_sigpipe = ignores;
        self
    }

    /// Whether calls that set or adjust the machine's clocks are kept from it, in the program and in
    /// everything that it starts. The default is that they are not. A program whose time is another
    /// would set the machine's clock by its own. Where a supervisor converts waits
    /// ([`Delivery::waits`]) they set the clocks of the tree; elsewhere they fail with EPERM.
    pub fn protects_clocks(mut self, protects: bool) -> Delivery {
        self.protects_clocks = protects;
        self
    }

    /// Whether the program and all that it starts end rather than that a part of them sees real
    /// time: one that can't be served, or a wait that can't, or when the supervisor has died. The
    /// program then exits with status 125, unless another process traces it, and all others are
    /// killed; so is the program itself if the supervisor dies just before it begins. The default is
    /// that what can't be served goes on in real time. It is for what [`Delivery::waits`] and
    /// [`Delivery::strict`] convert.
    pub fn require(mut self, required: bool) -> Delivery {
        self.is_required = required;
        self
    }

    /// Catches `clock_gettime` of `clocks` (ids as in clock_gettime(2)), `gettimeofday` and
    /// `time` where they are made by system call, and answers with what `read` returns for the
    /// clock, or has the kernel answer where that is `None`. `read` runs in another process; the
    /// last two read `CLOCK_REALTIME`.
    ///
    /// Each such call costs a round trip to that process. It takes CAP_SYS_ADMIN, or else makes
    /// the program and all that it starts unable to gain rights by setuid programs; and a program
    /// that has a seccomp listener already can't be given another.
    pub fn strict(
        mut self,
        clocks: &[i32],
        read: impl FnMut(i32) -> Option<Timestamp> + Send + 'static,
    ) -> Delivery {
        self.strict = Some(Strict {
            clocks: clocks.to_vec(),
            read: Box::new(read),
        });
        self
    }

    /// Converts the time-outs of waits and the settings of timers by `clocks`: those that `scope`
    /// names. `is_changeable`: the clocks may be changed while programs wait, and SIGURG to the
    /// process that serves the program tells that they were.
    ///
    /// A converted wait costs some ten microseconds more than a plain one. Where the program can't
    /// be followed by a supervisor ([`Delivery::follow`], Yama), waits stay the kernel's.
    pub fn waits(mut self, clocks: Box<dyn Clocks>, scope: Scope, is_changeable: bool) -> Delivery {
        self.waits = Some(Conversion {
            clocks,
            scope,
            is_changeable,
            skip: None,
            file_times: false,
        });
        self
    }

    /// Moves the clocks of [`Delivery::waits`] to the next deadline whenever no thread has run for
    /// `threshold`, at most some minutes. They must be changeable, and the scope all waits.
    ///
    /// Threads of the processes in `outside` and of all their descendants count too: the program waits
    /// for what they do. One that has ended counts no more.
    pub fn skip_idle(mut self, threshold: Duration, outside: &[u32]) -> Delivery {
        if let Some(waits) = &mut self.waits {
            let threshold = u64::try_from(threshold.as_nanos()).ok();
            let outside = outside.iter().map(|&pid| pid as sys::Pid).collect();
            waits.skip = threshold.map(|threshold| (threshold, outside));
        }
        self
    }

    /// Whether file times follow the wall clock of [`Delivery::waits`]: those that stat(2) and its siblings
    /// read, and those that utimensat(2) and its siblings set. The default is that they are the file
    /// system's. Each such call then costs about 0.1 ms more.
    pub fn file_times(mut self, converted: bool) -> Delivery {
        if let Some(waits) = &mut self.waits {
            waits.file_times = converted;
        }
        self
    }

    /// Replaces this process by `program`, looked for in `PATH` as execvp(3) does, with
    /// `arguments` behind its own name, on a delivered vDSO. Returns only on failure, and
    /// then nothing of it is left behind.
    ///
    /// `report` runs in another process that has a copy of this one's memory as it is now. Of this
    /// process's descriptors it keeps those of the object, and standard error until the program
    /// ends.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::CannotExecute`], [`Error::Trace`], [`Error::NoProc`],
    /// [`Error::OtherPidNamespace`], and [`Error::System`] among others when this process has more
    /// than one thread.
    pub fn exec(
        self,
        program: &OsStr,
        arguments: &[OsString],
        mut report: impl FnMut(Event),
    ) -> Error {
        let strings: Result<Vec<CString>, _> = std::iter::once(program)
            .chain(arguments.iter().map(OsString::as_os_str))
            .map(|argument| CString::new(argument.as_bytes()))
            .collect();
        let strings = match strings {
            Ok(strings) => strings,
            Err(error) => {
                return Error::system("pass on an argument with a NUL in it")(error.into());
            }
        };
        let ignores_sigpipe = self.ignores_sigpipe;
        // A name is looked for before the program is served: each execve(2) is handed over.
        let found = program::find(program);
        let found = found.and_then(|found| CString::new(found.into_os_string().into_vec()).ok());
        let (server, mut channel) = match self.start(&mut report) {
            Ok(started) => started,
            Err(error) => return error,
        };
        let file = found.as_ref().unwrap_or(&strings[0]);
        let mut source = sys::execute(file, &strings, ignores_sigpipe);
        if found.is_some() && source.raw_os_error() != Some(libc::ENOSYS) {
            // The error is that of all that execvp(3) tries.
            source = sys::execute(&strings[0], &strings, ignores_sigpipe);
        }
        // The listener is closed: the server may not serve this process, or has died.
        if source.raw_os_error() == Some(libc::ENOSYS) {
            let died = || io::Error::other("the process that is to serve it has ended");
            return match channel.receive() {
                Ok(error) => refused(error),
                Err(_) => Error::system("serve the program")(died()),
            };
        }
        // It serves this process and no other yet.
        let _ = rustix::process::kill_process(server, Signal::KILL);
        Error::of_exec(program, source)
    }

    /// As [`Delivery::exec`], in a new child of this process. What `failed` makes of an error, in the
    /// child, is the child's exit status. Returns the child's id, and what `prepare` returns, which runs
    /// in this process once there is a child.
    ///
    /// `prepare` is the place to install signal handlers: signals that arrive after the child was made
    /// are delivered when it has returned, and the child has none of its handlers.
    ///
    /// # Errors
    /// [`Error::System`] when there can be no child, or this process has more than one thread.
    pub fn spawn<P>(
        self,
        program: &OsStr,
        arguments: &[OsString],
        report: impl FnMut(Event),
        failed: impl FnOnce(Error) -> u8,
        prepare: impl FnOnce() -> P,
    ) -> Result<(u32, P), Error> {
        let started = fork::child(|| failed(self.exec(program, arguments, report)), prepare);
        let (child, prepared) = started.map_err(Error::system("start the program's process"))?;
        Ok((child as u32, prepared))
    }

    /// Starts the process that serves this one, and has all calls handed over to it that it has
    /// to serve. A supervisor is not waited for: the first call that it gets, an execve, is.
    fn start(mut self, report: &mut dyn FnMut(Event)) -> Result<(Pid, Channel), Error> {
        proc::check()?;
        let system = || Error::system("start the tracer");
        let this = std::process::id();
        let (mut near, far) = Channel::pair().map_err(system())?;
        let end = near.as_raw_fd() as u32;
        let is_reaper = process::is_reaper();
        let supervises = self.follow && process::may_trace_later();
        if self.is_required && !supervises {
            return Err(Error::NoSupervisor);
        }
        let mut gate = None;
        if supervises && self.waits.is_some() {
            let placed = self.object.with_gate();
            #[cfg(target_arch = "x86_64")]
            let (object, i386) = placed.0.with_i386_gate();
            #[cfg(not(target_arch = "x86_64"))]
            let (object, i386) = (placed.0, None);
            self.object = object;
            gate = Some((placed.1, i386));
        }
        let filters = proc::own_filters().map_err(system())?;
        let needs_filter = self.strict.is_some() || self.is_required;
        let protects = self.protects_clocks;
        let rules = self.rules(supervises);
        #[cfg(target_arch = "x86_64")]
        let i386_gate = gate.and_then(|(_, i386)| i386);
        #[cfg(target_arch = "x86_64")]
        let i386_rules = self.i386_rules(i386_gate.is_some());
        let role = supervises.then_some(Supervision {
            gate,
            is_reaper,
            filters,
        });
        let serve = || {
            if sys::close_range(end, end).is_ok() {
                self.serve(this as sys::Pid, role, far, report);
            }
        };
        let refused = Refused {
            calls: if protects { &CLOCK_SETTERS } else { &[] },
            error: libc::EPERM as u16,
        };
        let mut instructions = (!rules.is_empty()).then(|| {
            let exempt = gate.map(|(gate, _)| gate.exempt());
            #[cfg(target_arch = "x86_64")]
            let i386_exempt = i386_gate.map(|gate| gate.exempt());
            #[cfg(target_arch = "x86_64")]
            let foreign = Some(Foreign {
                architecture: AUDIT_I386,
                rules: &i386_rules,
                exempt: i386_exempt.as_ref(),
            });
            #[cfg(not(target_arch = "x86_64"))]
            let foreign = None;
            let others: &[(u32, u32)] = if supervises { &OTHER_EXECS } else { &[] };
            filter(&rules, others, refused, exempt.as_ref(), foreign)
        });
        let mut listen = || instructions.as_deref_mut().map(seccomp::listen);
        // The kernel compiles the filter while it copies this process.
        let mut early = || supervises.then(&mut listen).flatten();
        let started = match is_reaper {
            true => fork::hidden_child(false, serve).map(|server| (server, early())),
            false => fork::orphan(serve, early),
        };
        let (server, mut listening) = started.map_err(system())?;
        if !supervises {
            await_seizure(server, &mut near)?;
            listening = listen();
        }
        let mut listener = None;
        if let Some(outcome) = listening {
            let failed = || Error::system("catch system calls of the program");
            match outcome {
                Ok(made) => listener = Some(made),
                // The tracer's way needs no filter.
                Err(_) if !needs_filter => {}
                Err(error) => return Err(failed()(error)),
            }
            near.send_descriptor(listener.as_ref()).map_err(failed())?;
            if supervises && listener.is_none() {
                await_seizure(server, &mut near)?;
            }
        }
        // One filter is enough, and a program with one more looks like one with a sandbox.
        if protects && listener.is_none() && !seccomp::refuses_clock_settime() {
            // EACCES: a process without CAP_SYS_ADMIN, whose children may still gain rights by
            // setuid programs. A supervised one has given these up, and gets the filter.
            let _ = seccomp::restrict(&mut filter(&[], &[], refused, None, None));
        }
        let server = Pid::from_raw(server);
        let server = server.ok_or_else(|| system()(io::ErrorKind::InvalidData.into()))?;
        Ok((server, near))
    }

    /// Whether a supervisor of this serves calls that set the clock.
    fn sets_clocks(&self) -> bool {
        self.protects_clocks && self.waits.is_some()
    }

    /// The calls that a listener has to get.
    fn rules(&self, supervises: bool) -> Vec<Rule> {
        let mut rules = Vec::new();
        if supervises {
            rules.extend([number::EXECVE, number::EXECVEAT].map(Rule::always));
            rules.extend(self.waits.iter().flat_map(Conversion::rules));
            rules.extend(setting::rules().filter(|_| self.sets_clocks()));
        }
        if let Some(strict) = &self.strict {
            rules.extend(strict::rules(&strict.clocks));
        }
        rules
    }

    /// The same by the numbers of 32-bit programs. Waits are handed over where they have a gate.
    #[cfg(target_arch = "x86_64")]
    fn i386_rules(&self, has_gate: bool) -> Vec<Rule> {
        let waits = self.waits.as_ref().filter(|_| has_gate);
        let mut rules = waits.map_or_else(Vec::new, Conversion::i386_rules);
        if let Some(strict) = &self.strict {
            rules.extend(strict::narrow_rules(&strict.clocks));
        }
        rules
    }

    /// What the server does, from its birth to its end. `role`: as a supervisor.
    fn serve(
        self,
        target: sys::Pid,
        role: Option<Supervision>,
        mut channel: Channel,
        report: &mut dyn FnMut(Event),
    ) {
        // Whatever is sent to it: it ends when no process is left to serve.
        let Ok(signals) = Signals::block_all(CLOCK_CHANGED) else {
            return;
        };
        process::take_short_slices();
        let options = if self.follow { FOLLOW } else { ALONE };
        let is_filtered = role.is_some() || self.strict.is_some();
        let mut injector = Injector::new(self.object);
        let exec = role.map(|_| supervisor::options(self.is_required));
        let mut kept: Vec<_> = injector.files().map(AsFd::as_fd).collect();
        kept.extend([signals.as_fd(), channel.as_fd()]);
        let clocks = self.waits.as_ref().map(|waits| waits.clocks.descriptors());
        kept.extend(clocks.into_iter().flatten());
        // All that can be done without the listener: the target then waits in its execve for less.
        if leave(&kept).is_err() {
            return;
        }
        let Ok(inbox) = Inbox::new() else {
            return;
        };
        let keeper = role.map(|role| {
            let required = role.gate.filter(|_| self.is_required);
            let required = required.map(|(gate, i386)| (target, [Some(gate), i386]));
            keeper::start(&inbox, required, role.is_reaper)
        });
        let Ok(mut lifeline) = keeper.transpose() else {
            return;
        };
        let Ok(server) = meet(target, options, exec, is_filtered, &mut channel) else {
            return;
        };
        drop(channel);
        match (server, role) {
            (Server::Supervisor(listener, is_seized), Some(role)) => {
                // Before the first call is answered: a program that began without a keeper would get
                // ENOSYS from each call that is handed over, if this process died.
                let kept = lifeline
                    .as_mut()
                    .map(|keeper| keeper.send_descriptor(Some(&listener)));
                if kept.is_none_or(|sent| sent.is_err()) {
                    return;
                }
                let injector = injector.with_filters(role.filters + 1);
                let read = self.strict.map(|strict| strict.read);
                let waits = self.waits.zip(role.gate);
                let waits = waits.map(|(waits, gate)| {
                    let Conversion {
                        clocks,
                        is_changeable,
                        skip,
                        file_times,
                        ..
                    } = waits;
                    let filters = role.filters + 1;
                    let waits = Waits::new(gate, clocks, is_changeable, skip, filters);
                    match file_times {
                        true => waits.with_file_times(),
                        false => waits,
                    }
                });
                let required = self.is_required;
                let mut supervisor = Supervisor::new(
                    listener, inbox, signals, injector, read, waits, required, report,
                );
                supervisor.run(target, is_seized);
            }
            (Server::Supervisor(..), None) => {}
            (Server::Tracer(listener), _) => {
                // There is nothing to keep.
                drop(lifeline);
                let answers = listener.zip(self.strict).map(|(listener, strict)| {
                    std::thread::spawn(move || strict::serve(&listener, strict.read))
                });
                injector.prepare();
                let _ = Tracer::new(injector, options, report).run(|ended| {
                    if ended == target {
                        forget_stderr();
                    }
                });
                // Processes that are no longer traced may read the clock yet.
                let _ = answers.map(std::thread::JoinHandle::join);
            }
        }
    }
}

/// What a supervisor has to know from its start.
#[derive(Debug, Clone, Copy)]
struct Supervision {
    /// Where waits are converted.
    /// That of the architecture's programs and that of 32-bit ones.
    gate: Option<(Gate, Option<Gate>)>,
    /// Whether orphans of the target's descendants become the target's children.
    is_reaper: bool,
    /// How many filters the target had before that of the listener.
    filters: u32,
}
