//! Becoming a program on another vDSO.
//!
//! The calling process itself becomes the program, as with exec(2): what its parent, its
//! terminal and its job control see is the program and nothing else, with the process id,
//! exit status, signals and stops that it has without us. The tracer is a grandchild, in a
//! session of its own, that no one waits for; strace(1) calls this way `-DDD`.

use std::ffi::{CString, OsStr, OsString, c_int};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open};

use crate::error::{Error, Event};
use crate::inject::Injector;
use crate::object::Object;
use crate::seccomp;
use crate::strict::{self, Strict, Timestamp};
use crate::sys;
use crate::tracer::{ALONE, FOLLOW, Tracer};

/// How an object goes into a program and those that it starts.
#[derive(Debug)]
pub struct Delivery {
    object: Object,
    follow: bool,
    ignores_sigpipe: bool,
    strict: Option<Strict>,
}

impl Delivery {
    /// Delivers `object` to a program and to everything that it starts.
    pub fn new(object: Object) -> Delivery {
        Delivery {
            object,
            follow: true,
            ignores_sigpipe: false,
            strict: None,
        }
    }

    /// Whether programs that the first one starts get the object as well (they do unless told
    /// otherwise). The tracer of a program that isn't followed ends when that has begun.
    pub fn follow(mut self, follow: bool) -> Delivery {
        self.follow = follow;
        self
    }

    /// Whether the program begins with SIGPIPE ignored. It doesn't unless told otherwise: Rust's
    /// runtime ignores that signal before `main`, and doesn't say whether it was ignored before.
    pub fn ignores_sigpipe(mut self, ignores: bool) -> Delivery {
        self.ignores_sigpipe = ignores;
        self
    }

    /// Catches `clock_gettime` of `clocks` (ids as in clock_gettime(2)), `gettimeofday` and
    /// `time` where they are made by system call, and answers what `read` says for the clock, or
    /// the kernel where that says `None`. `read` runs in a thread of the tracer; the last two
    /// ask it for `CLOCK_REALTIME`.
    ///
    /// Each such call costs a round trip to that thread, and fails with ENOSYS once the tracer
    /// has been killed. Sleeps and time-outs stay the kernel's. It takes a right to administrate
    /// or else makes the program and all that it starts unable to gain rights by setuid
    /// programs; and a program that has a seccomp listener already can't be given another.
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

    /// Replaces this process by `program`, looked for in `PATH` as execvp(3) does, with
    /// `arguments` behind its own name, on a vDSO of ours. Returns only on failure, and
    /// then nothing of it is left behind.
    ///
    /// `report` runs in the tracer, another process that has a copy of this one's memory as
    /// it is now. Of this process's descriptors the tracer keeps those of the object, and
    /// standard error until the program ends.
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
        let tracer = match self.start_tracer(&mut report) {
            Ok(tracer) => tracer,
            Err(error) => return error,
        };
        let source = sys::execute(&strings[0], &strings, ignores_sigpipe);
        // It traces this process and nothing else: without it we are what we were.
        let _ = rustix::process::kill_process(tracer, Signal::KILL);
        let program = program.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound { program, source },
            _ => Error::CannotExecute { program, source },
        }
    }

    /// Starts the tracer of this process, and returns once it traces.
    fn start_tracer(self, report: &mut dyn FnMut(Event)) -> Result<Pid, Error> {
        let system = || Error::system("start the tracer");
        let this = std::process::id();
        let (mut ours, mut theirs) = UnixStream::pair().map_err(system())?;
        let end = ours.as_raw_fd() as u32;
        let mut filter = self
            .strict
            .as_ref()
            .map(|strict| strict::filter(&strict.clocks));
        let tracer = sys::orphan(|| {
            // Each side has one end only, and so hears of the other's death.
            if sys::close_range(end, end).is_ok() {
                self.trace(this, &mut theirs, report);
            }
        });
        let tracer = tracer.map_err(system())?;
        drop(theirs);
        let mut outcome = receive(&mut ours).map_err(system())?;
        if outcome != 0 && sys::allow_tracer(tracer) {
            send(&mut ours, 0).map_err(system())?;
            outcome = receive(&mut ours).map_err(system())?;
        }
        match outcome {
            0 => {}
            error => {
                let source = io::Error::from_raw_os_error(error);
                return Err(Error::Trace { pid: this, source });
            }
        }
        if let Some(filter) = &mut filter {
            let failed = || Error::system("catch reads of the clock that are system calls");
            let listener = seccomp::listen(filter).map_err(failed())?;
            send(&mut ours, listener.as_raw_fd()).map_err(failed())?;
            // The tracer has its own now.
            receive(&mut ours).map_err(failed())?;
        }
        Pid::from_raw(tracer).ok_or_else(|| system()(io::ErrorKind::InvalidData.into()))
    }

    /// What the tracer does, from its birth to its end.
    fn trace(self, target: u32, channel: &mut UnixStream, report: &mut dyn FnMut(Event)) {
        let options = if self.follow { FOLLOW } else { ALONE };
        let target = target as sys::Pid;
        let Ok(listener) = self.set_up(target, options, channel) else {
            return;
        };
        let answers = listener.zip(self.strict).map(|(listener, strict)| {
            std::thread::spawn(move || strict::serve(&listener, strict.read))
        });
        let mut injector = Injector::new(self.object);
        injector.prepare();
        let _ = Tracer::new(injector, options, report).run(|ended| {
            if ended == target {
                let _ = null().map(rustix::stdio::dup2_stderr);
            }
        });
        // Those that were let go may ask for longer than there is anybody to trace.
        let _ = answers.map(std::thread::JoinHandle::join);
    }

    /// Starts to trace, and lets go of all that the target's parent or terminal could miss.
    fn set_up(
        &self,
        target: sys::Pid,
        options: c_int,
        channel: &mut UnixStream,
    ) -> io::Result<Option<OwnedFd>> {
        while let Err(refusal) = sys::seize(target, options) {
            send(channel, refusal.raw_os_error().unwrap_or(libc::EPERM))?;
            // It allows what it can, or ends.
            receive(channel)?;
        }
        send(channel, 0)?;
        let mut listener = None;
        if self.strict.is_some() {
            let fd = receive(channel)?;
            let target = Pid::from_raw(target).ok_or(io::ErrorKind::InvalidData)?;
            let process = pidfd_open(target, PidfdFlags::empty())?;
            listener = Some(pidfd_getfd(process, fd, PidfdGetfdFlags::empty())?);
            send(channel, 0)?;
        }
        // From here on the target is on its way into the program.
        rustix::process::setsid()?;
        let mut kept: Vec<_> = self.object.files().map(AsFd::as_fd).collect();
        kept.extend(listener.as_ref().map(AsFd::as_fd));
        close_all_but(&kept)?;
        Ok(listener)
    }
}

fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}

/// Closes every descriptor but standard error and `kept`, so that the tracer holds no pipe
/// open that someone waits to see closed.
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
