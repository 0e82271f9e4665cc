//! Becoming a program on another vDSO.
//!
//! The calling process itself becomes the program, as with exec(2): its parent, its terminal and
//! its job control see the program and nothing else, with the process id, exit status, signals
//! and stops that it has without us.
//!
//! Beside it runs a process in a session of its own. It is a grandchild that is orphaned at once,
//! as strace(1) starts one with `-DDD`, so that no wait(2) of the program shows it. A process that
//! adopts orphans would adopt this one: there it is a child that ends without a signal, which
//! wait(2) shows only with `__WALL`.
//!
//! | that process is | when |
//! | --- | --- |
//! | a [`Supervisor`] | what the program starts is followed, and this process may trace later what is no descendant of the supervisor |
//! | a [`Tracer`] | otherwise: it traces all from their start |

use std::collections::HashSet;
use std::ffi::{CString, OsStr, OsString, c_int};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use vdsokit_waits::call::{self, Scope};
use vdsokit_waits::filter::{Rule, filter, refusal};
use vdsokit_waits::gate::Gate;
use vdsokit_waits::{CLOCK_SETTERS, Clocks, OTHER_EXECS, number};

use crate::error::{Error, Event};
use crate::inject::Injector;
use crate::object::Object;
use crate::seccomp::{self, Inbox};
use crate::strict::{self, Strict, Timestamp};
use crate::supervisor::process::{self, Signals};
use crate::supervisor::{CLOCK_CHANGED, Supervisor, Waits, ending, has_gate, keeper, setting};
use crate::sys;
use crate::tracer::{ALONE, FOLLOW, Tracer};

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

/// Which waits are converted, and by which clocks.
struct Conversion {
    clocks: Box<dyn Clocks>,
    scope: Scope,
    is_changeable: bool,
    threshold: Option<u64>,
}

impl std::fmt::Debug for Conversion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversion")
            .field("scope", &self.scope)
            .field("is_changeable", &self.is_changeable)
            .finish_non_exhaustive()
    }
}

/// What serves the program.
enum Server {
    Supervisor(OwnedFd),
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
    /// killed. The default is that what can't be served goes on in real time. It is for what
    /// [`Delivery::waits`] and [`Delivery::strict`] convert.
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
            threshold: None,
        });
        self
    }

    /// Moves the clocks of [`Delivery::waits`] to the next deadline whenever no thread has run for
    /// `threshold`, at most some minutes. They must be changeable, and the scope all waits.
    pub fn skip_idle(mut self, threshold: Duration) -> Delivery {
        if let Some(waits) = &mut self.waits {
            waits.threshold = u64::try_from(threshold.as_nanos()).ok();
        }
        self
    }

    /// Replaces this process by `program`, looked for in `PATH` as execvp(3) does, with
    /// `arguments` behind its own name, on a vDSO of ours. Returns only on failure, and
    /// then nothing of it is left behind.
    ///
    /// `report` runs in another process that has a copy of this one's memory as it is now. Of this
    /// process's descriptors it keeps those of the object, and standard error until the program
    /// ends.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::CannotExecute`], [`Error::Trace`], and [`Error::System`]
    /// among others when this process has more than one thread.
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
        let server = match self.start(&mut report) {
            Ok(started) => started,
            Err(error) => return error,
        };
        let source = sys::execute(&strings[0], &strings, ignores_sigpipe);
        // It serves this process and no other yet.
        let _ = rustix::process::kill_process(server, Signal::KILL);
        Error::of_exec(program, source)
    }

    /// Starts the process that serves this one, and returns once it does.
    fn start(mut self, report: &mut dyn FnMut(Event)) -> Result<Pid, Error> {
        let system = || Error::system("start the tracer");
        let this = std::process::id();
        let (mut near, mut far) = UnixStream::pair().map_err(system())?;
        let end = near.as_raw_fd() as u32;
        let is_reaper = process::is_reaper();
        let supervises = self.follow && process::may_trace_later();
        if self.is_required && !supervises {
            return Err(Error::NoSupervisor);
        }
        let mut gate = None;
        if supervises && self.waits.is_some() {
            let placed = self.object.with_gate().map_err(system())?;
            self.object = placed.0;
            gate = Some(placed.1);
        }
        let needs_filter = self.strict.is_some() || self.is_required;
        let (protects_clocks, sets_clocks) =
            (self.protects_clocks, supervises && self.sets_clocks());
        let rules = self.rules(supervises);
        // Filters are installed before the server counts those of this process.
        if protects_clocks && rules.is_empty() {
            refuse_setters(false);
        }
        let serve = || {
            // Each side has one end only, and so learns of the other's death.
            if sys::close_range(end, end).is_ok() {
                let role = supervises.then_some(gate);
                self.serve(this as sys::Pid, role, is_reaper, &mut far, report);
            }
        };
        let server = match is_reaper {
            true => process::hidden_child(false, serve),
            false => sys::orphan(serve),
        };
        let server = server.map_err(system())?;
        drop(far);
        let mut outcome = receive(&mut near).map_err(system())?;
        if outcome != 0 && sys::allow_tracer(server) {
            send(&mut near, 0).map_err(system())?;
            outcome = receive(&mut near).map_err(system())?;
        }
        let refused = |error| {
            let source = io::Error::from_raw_os_error(error);
            Err(Error::Trace { pid: this, source })
        };
        if outcome != 0 {
            return refused(outcome);
        }
        if !rules.is_empty() {
            let exempt = gate.map(|gate| gate.exempt());
            let others: &[(u32, u32)] = if supervises { &OTHER_EXECS } else { &[] };
            let failed = || Error::system("catch system calls of the program");
            let listener = match seccomp::listen(&mut filter(&rules, others, exempt.as_ref())) {
                Ok(listener) => Some(listener),
                // The tracer's way needs no filter.
                Err(_) if !needs_filter => None,
                Err(error) => return Err(failed()(error)),
            };
            if protects_clocks {
                refuse_setters(sets_clocks && listener.is_some());
            }
            let number = listener.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            send(&mut near, number).map_err(failed())?;
            // The server has its own descriptor now.
            let outcome = receive(&mut near).map_err(failed())?;
            if outcome != 0 {
                return refused(outcome);
            }
        }
        Pid::from_raw(server).ok_or_else(|| system()(io::ErrorKind::InvalidData.into()))
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
            let scope = self.waits.as_ref().map(|waits| waits.scope);
            rules.extend(scope.into_iter().flat_map(call::rules));
            rules.extend(setting::rules().filter(|_| self.sets_clocks()));
        }
        if let Some(strict) = &self.strict {
            rules.extend(strict::rules(&strict.clocks));
        }
        rules
    }

    /// What the server does, from its birth to its end. `role`: as a supervisor, with a gate if
    /// waits are converted.
    fn serve(
        self,
        target: sys::Pid,
        role: Option<Option<Gate>>,
        is_reaper: bool,
        channel: &mut UnixStream,
        report: &mut dyn FnMut(Event),
    ) {
        // Whatever is sent to it: it ends when no process is left to serve.
        let Ok(signals) = Signals::block_all(CLOCK_CHANGED) else {
            return;
        };
        let options = if self.follow { FOLLOW } else { ALONE };
        let Ok(server) = self.set_up(target, options, role.is_some(), channel, &signals) else {
            return;
        };
        let mut injector = Injector::new(self.object);
        injector.prepare(target);
        match server {
            Server::Supervisor(listener) => {
                let Ok(inbox) = Inbox::new() else {
                    return;
                };
                let required = role.flatten().filter(|_| self.is_required);
                let required = required.map(|gate| (target, gate));
                let Ok(lifeline) = keep(&listener, &inbox, required, is_reaper) else {
                    return;
                };
                let read = self.strict.map(|strict| strict.read);
                let waits = self.waits.zip(role.flatten());
                let waits = waits.map(|(waits, gate)| {
                    let Conversion {
                        clocks,
                        is_changeable,
                        threshold,
                        ..
                    } = waits;
                    Waits::new(gate, clocks, is_changeable, threshold)
                });
                let required = self.is_required;
                Supervisor::new(
                    listener, inbox, signals, injector, read, waits, required, report,
                )
                .run(target);
                drop(lifeline);
            }
            Server::Tracer(listener) => {
                let answers = listener.zip(self.strict).map(|(listener, strict)| {
                    std::thread::spawn(move || strict::serve(&listener, strict.read))
                });
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

    /// Gets hold of the target, and lets go of all that its parent or terminal could miss.
    fn set_up(
        &self,
        target: sys::Pid,
        options: c_int,
        supervises: bool,
        channel: &mut UnixStream,
        signals: &Signals,
    ) -> io::Result<Server> {
        let is_filtered = supervises || self.strict.is_some();
        if !supervises {
            seize(target, options, channel)?;
        } else if let Err(error) = process::descriptor(target, channel.as_raw_fd())
            // Permission is checked first.
            && error.raw_os_error() != Some(libc::EBADF)
        {
            send(channel, error.raw_os_error().unwrap_or(libc::EPERM))?;
            receive(channel)?;
        }
        send(channel, 0)?;
        let mut server = Server::Tracer(None);
        if is_filtered {
            match receive(channel)? {
                // There is no filter.
                ..0 => seize(target, options, channel)?,
                fd => match process::descriptor(target, fd) {
                    Ok(listener) if supervises => server = Server::Supervisor(listener),
                    Ok(listener) => server = Server::Tracer(Some(listener)),
                    Err(error) => {
                        send(channel, error.raw_os_error().unwrap_or(libc::EPERM))?;
                        return Err(error);
                    }
                },
            }
            send(channel, 0)?;
        }
        // From here on the target is on its way into the program.
        rustix::process::setsid()?;
        let mut kept: Vec<_> = self.object.files().map(AsFd::as_fd).collect();
        kept.push(signals.as_fd());
        let clocks = self.waits.as_ref().map(|waits| waits.clocks.descriptors());
        kept.extend(clocks.into_iter().flatten());
        match &server {
            Server::Supervisor(listener) => kept.push(listener.as_fd()),
            Server::Tracer(listener) => kept.extend(listener.as_ref().map(AsFd::as_fd)),
        }
        close_all_but(&kept)?;
        Ok(server)
    }
}

/// Has calls that set the machine's clocks fail with EPERM in this process and all that it starts,
/// but for those that a supervisor serves, if it `serves` any.
fn refuse_setters(serves: bool) {
    // One filter is enough.
    if !serves && seccomp::refuses_clock_settime() {
        return;
    }
    let mut refused = CLOCK_SETTERS.to_vec();
    refused.retain(|&(architecture, number)| !serves || !setting::serves(architecture, number));
    // EACCES: a process without CAP_SYS_ADMIN, whose children may still gain rights by setuid
    // programs. A supervised one has given these up, and gets the filter.
    let _ = seccomp::restrict(&mut refusal(&refused, libc::EPERM as u16));
}

/// Becomes the target's tracer, once the target allows that.
fn seize(target: sys::Pid, options: c_int, channel: &mut UnixStream) -> io::Result<()> {
    while let Err(refusal) = sys::seize(target, options) {
        send(channel, refusal.raw_os_error().unwrap_or(libc::EPERM))?;
        // It allows what it can, or ends.
        receive(channel)?;
    }
    Ok(())
}

/// Starts the keeper of `listener`, which takes over when what this returns is dropped. `required`:
/// the first process and the gate of a tree that is then to end.
fn keep(
    listener: &OwnedFd,
    inbox: &Inbox,
    required: Option<(sys::Pid, Gate)>,
    is_reaper: bool,
) -> io::Result<OwnedFd> {
    let (far, near) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    process::hidden_child(is_reaper, || {
        if close_all_but(&[listener.as_fd(), far.as_fd()]).is_ok() {
            forget_stderr();
            let end = required.map(|(first, gate)| {
                move || {
                    let is_of_tree = |pid| has_gate(&gate, pid);
                    ending::end(first, None, None, &HashSet::new(), is_of_tree);
                }
            });
            keeper::keep(listener, &far, inbox, end);
        }
    })?;
    Ok(near)
}

/// Lets go of standard error, for whatever waits to see it closed.
pub(crate) fn forget_stderr() {
    let _ = null().map(rustix::stdio::dup2_stderr);
}

fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}

/// Closes every descriptor but standard error and `kept`: a pipe that stays open here would keep
/// its reader waiting for the end.
fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let null = null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    drop(null);
    let mut kept: Vec<u32> = kept.iter().map(|kept| kept.as_raw_fd() as u32).collect();
    kept.sort_unstable();
    let mut from = 3;
    for kept in kept {
        sys::close_range(from, kept.saturating_sub(1))?;
        from = from.max(kept + 1);
    }
    sys::close_range(from, u32::MAX)
}

fn send(channel: &mut UnixStream, value: i32) -> io::Result<()> {
    channel.write_all(&value.to_ne_bytes())
}

fn receive(channel: &mut UnixStream) -> io::Result<i32> {
    let mut bytes = [0; 4];
    channel.read_exact(&mut bytes)?;
    Ok(i32::from_ne_bytes(bytes))
}
