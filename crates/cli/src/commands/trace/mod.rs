//! `vdso trace`: the calls of a program's vDSO, which no tracer of system calls sees.

mod declared;
mod decode;
mod summary;
mod symbols;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libc::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitOptions, WaitStatus, kill_process, pidfd_open,
    setrlimit, waitpid,
};
use serde_json::json;
use vdsokit_deliver::{Delivery, Error, Event, Object, Unserved};
use vdsokit_trace::buffer::{Buffer, CallRecord, LIMITS};
use vdsokit_trace::counter;

use self::declared::Getter;
pub(crate) use self::summary::Summary;
use self::symbols::{Callers, is_traced};
use crate::commands::run::NOT_TRIED;
use crate::output;
use crate::published::Located;
use crate::signals::sigpipe_was_ignored;

/// Show each call of a program's vDSO, or count them
///
/// strace shows system calls, and a call of the vDSO is none. The program, and all that it starts,
/// gets a vDSO whose functions call the kernel's own and record each call: thread, arguments, result,
/// nanoseconds, and the function that made it, looked for behind those of the C library. What a
/// program prints, reads and returns is unchanged. The trace is written to the standard error, or with
/// -o to a file, and ends with the program.
///
/// With -p the calls of a running process are shown, and those of children that it forks, but not those
/// of programs that they execute, until the process ends or SIGINT or SIGTERM arrives. Each process
/// then has its own vDSO back.
///
/// Exit status: the program's; 127 when it is not found, 126 when it can't be executed, 125 when it
/// was not tried. With -p, 0, or 1 when the process can't be traced.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Count calls instead of showing each: a summary at the end, by function and by caller
    #[arg(short = 'c', long)]
    count: bool,
    /// Trace these functions only
    #[arg(short = 'e', long, value_name = "NAME,…", value_delimiter = ',')]
    functions: Vec<String>,
    /// One JSON object a line: a call, or the summary
    #[arg(long)]
    json: bool,
    /// Write the trace to this file
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Trace the process with this id
    #[arg(short = 'p', long, value_name = "PID", conflicts_with_all = ["object", "command"])]
    pid: Option<u32>,
    /// Trace the functions of this vDSO too, which the program gets as with `vdso run --object`;
    /// may be given again
    #[arg(long, value_name = "FILE")]
    object: Vec<PathBuf>,
    /// How many calls the buffer holds until they are written. Calls that find it full are counted as
    /// dropped
    #[arg(
        long,
        value_name = "CALLS",
        default_value_t = 1 << 16,
        value_parser = clap::value_parser!(u32).range(i64::from(*LIMITS.start())..=i64::from(*LIMITS.end()))
    )]
    buffer: u32,
    /// The program, looked for in PATH, and its arguments
    #[arg(
        required_unless_present = "pid",
        trailing_var_arg = true,
        value_name = "PROGRAM"
    )]
    command: Vec<OsString>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match (arguments.pid, arguments.command.split_first()) {
        (Some(pid), _) => attached(arguments, pid),
        (None, Some((program, rest))) => {
            Ok(executed(arguments, program, rest).unwrap_or_else(|report| {
                output::report(&report);
                ExitCode::from(NOT_TRIED)
            }))
        }
        // clap requires one.
        (None, None) => Ok(ExitCode::from(NOT_TRIED)),
    }
}

/// Runs a program and traces it.
fn executed(arguments: &Arguments, program: &OsString, rest: &[OsString]) -> Result<ExitCode> {
    let (mut session, object) = Session::start(arguments)?;
    let delivery = Delivery::new(object).ignores_sigpipe(sigpipe_was_ignored());
    let failed = |error: Error| {
        let status = error.exit_status();
        output::report(&error.into());
        status
    };
    // The terminal sends its signals to the program too, which decides what they do. The other one is
    // handed on. A signal also interrupts the waiting, so that the program's end is seen at once.
    let handlers = || -> Result<Arc<AtomicBool>> {
        flag(&[SIGINT, SIGQUIT, SIGHUP, SIGCHLD])?;
        flag(&[SIGTERM])
    };
    let report = |event: Event| report_event(&event);
    let (child, terminate) = delivery.spawn(program, rest, report, failed, handlers)?;
    let child = i32::try_from(child).ok().and_then(Pid::from_raw);
    let child = child.ok_or_else(|| miette!("the program has no process id"))?;
    let terminate = terminate?;
    let status = loop {
        let is_busy = session.round(false);
        match waitpid(Some(child), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => break Some(status),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => break None,
        }
        if terminate.swap(false, Ordering::Relaxed) {
            let _ = kill_process(child, Signal::TERM);
        }
        if !is_busy {
            session.pause();
        }
    };
    let written = session.finish();
    if let Err(report) = &written {
        output::report(report);
    }
    Ok(match status {
        Some(status) => end_as(status, written.is_ok()),
        None => ExitCode::from(NOT_TRIED),
    })
}

/// Traces a process that runs already.
fn attached(arguments: &Arguments, pid: u32) -> Result<ExitCode> {
    let (mut session, object) = Session::start(arguments)?;
    session.attach(pid, &object, Duration::MAX)?;
    session.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Counts the calls of a process that runs already, for so long.
pub(crate) fn observed(pid: u32, time: Duration) -> Result<Summary> {
    let counts_only = Arguments {
        count: true,
        functions: Vec::new(),
        json: false,
        output: None,
        pid: Some(pid),
        object: Vec::new(),
        buffer: *LIMITS.start(),
        command: Vec::new(),
    };
    let (mut session, object) = Session::start(&counts_only)?;
    session.attach(pid, &object, time)?;
    Ok(session.summary())
}

fn is_running(process: &OwnedFd) -> bool {
    let none = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // A descriptor of a process is readable when that has ended (pidfd_open(2)).
    let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&none));
    ended.is_ok_and(|ended| ended == 0)
}

/// A flag that is set when one of `signals` comes.
fn flag(signals: &[i32]) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for &signal in signals {
        signal_hook::flag::register(signal, Arc::clone(&flag)).into_diagnostic()?;
    }
    Ok(flag)
}

/// Ends as the program did: with its status, or by its signal.
fn end_as(status: WaitStatus, is_written: bool) -> ExitCode {
    if let Some(signal) = status.terminating_signal() {
        // The program has left a core file, if any.
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        let _ = setrlimit(Resource::Core, none);
        let _ = signal_hook::low_level::emulate_default_handler(signal);
        return ExitCode::from(128u8.wrapping_add(signal as u8));
    }
    match status.exit_status() {
        Some(0) if !is_written => ExitCode::FAILURE,
        Some(status) => ExitCode::from(status as u8),
        None => ExitCode::FAILURE,
    }
}

/// Prints why a program is not traced.
fn report_event(event: &Event) {
    let program = |path: &Option<PathBuf>, pid: &u32| match path {
        Some(path) => output::path(path),
        None => format!("process {pid}"),
    };
    let text = match event {
        Event::Unserved {
            pid,
            program: path,
            reason,
        } => format!("{} is not traced: {reason}", program(path, pid)),
        Event::RightsWithheld { pid, program: path } => format!(
            "{} runs without the rights of its owner, as under any tracer",
            program(path, pid)
        ),
        Event::TracesOthers { pid, program: path } => format!(
            "{} can trace others: what it starts is not traced",
            program(path, pid)
        ),
        _ => return,
    };
    output::warn(format_args!("vdso: {text}"));
}

/// A trace under way.
struct Session {
    buffer: Buffer,
    callers: Callers,
    /// The functions by number, each with its signature if an object's declaration has it.
    names: Vec<String>,
    getters: HashMap<String, Getter>,
    out: Box<dyn Write>,
    /// Why the trace could not be written; nothing is after that.
    failure: Option<io::Error>,
    is_json: bool,
    is_counted: bool,
    /// Calls that were reported as dropped.
    dropped: u64,
    began: Instant,
    ticks: u64,
}

impl Session {
    fn start(arguments: &Arguments) -> Result<(Session, Object)> {
        let objects: Result<Vec<Object>> = arguments
            .object
            .iter()
            .map(|path| {
                let why = || format!("{} can't be put into the program", output::path(path));
                let object = Located::at(path.clone()).object();
                object.map_err(|error| error.wrap_err(why()))
            })
            .collect();
        let records = (!arguments.count).then_some(arguments.buffer);
        let buffer = Buffer::new(records)
            .into_diagnostic()
            .wrap_err("the memory to trace into can't be made")?;
        let wanted = &arguments.functions;
        let all = RefCell::new(Vec::new());
        let is_wanted = |name: &str| {
            all.borrow_mut().push(name.to_owned());
            wanted.is_empty() || wanted.iter().any(|wanted| wanted == name)
        };
        let (object, names) = Object::traced(objects?, &buffer, is_wanted)?;
        let getters = declared::getters(&arguments.object, &all.borrow());
        if let Some(unknown) = wanted.iter().find(|wanted| !names.contains(wanted)) {
            return Err(miette!(
                help = format!("there are {}", all.into_inner().join(", ")),
                "no function {} can be traced",
                output::escaped(unknown)
            ));
        }
        let out: Box<dyn Write> = match &arguments.output {
            Some(path) => {
                let file = File::create(path)
                    .into_diagnostic()
                    .wrap_err_with(|| format!("{} can't be written", output::path(path)))?;
                Box::new(BufWriter::new(file))
            }
            None => Box::new(BufWriter::new(io::stderr())),
        };
        let callers = Callers::new(buffer.inode().into_diagnostic()?);
        let session = Session {
            buffer,
            callers,
            names,
            getters,
            out,
            failure: None,
            is_json: arguments.json,
            is_counted: arguments.count,
            dropped: 0,
            began: Instant::now(),
            ticks: counter(),
        };
        Ok((session, object))
    }

    /// Traces the process until it ends, a signal asks for the end, or `time` is over.
    fn attach(&mut self, pid: u32, object: &Object, time: Duration) -> Result<()> {
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let process = process.and_then(|process| pidfd_open(process, PidfdFlags::empty()).ok());
        let stop = flag(&[SIGINT, SIGTERM, SIGHUP])?;
        vdsokit_deliver::attach(pid, object)?;
        let began = Instant::now();
        while !stop.load(Ordering::Relaxed)
            && began.elapsed() < time
            && process.as_ref().is_some_and(is_running)
        {
            if !self.round(false) {
                self.pause();
            }
        }
        self.buffer.close();
        // Wrappers that wait for an answer go on, and threads leave the functions.
        self.round(false);
        self.detach();
        Ok(())
    }

    /// Waits until there may be something to do.
    fn pause(&self) {
        /// How often records are looked for. A program can make some 10⁴ calls meanwhile.
        const RECORDS: Duration = Duration::from_millis(1);
        /// Counts are read at the end; new callers and signals end the wait.
        const COUNTS: Duration = Duration::from_millis(50);
        let patience = if self.is_counted { COUNTS } else { RECORDS };
        self.buffer.wait(patience);
    }

    /// Answers new callers, and prints what was recorded. Returns whether there was anything.
    fn round(&mut self, is_last: bool) -> bool {
        let callers = self.buffer.callers();
        for caller in &callers {
            let skip = self.callers.add(caller);
            self.buffer.answer(caller.entry, skip);
        }
        if self.is_counted {
            return !callers.is_empty();
        }
        let records = self.buffer.records(is_last);
        if records.is_empty() && callers.is_empty() {
            return false;
        }
        let scale = self.scale();
        for record in &records {
            let line = self.line(record, scale);
            self.write(&line);
        }
        let dropped = self.buffer.dropped();
        if dropped > self.dropped && !self.is_json {
            let count = dropped - self.dropped;
            self.write(&format!("+++ {count} calls dropped +++"));
        }
        self.dropped = dropped;
        self.flush();
        true
    }

    /// Nanoseconds of a tick, by the time since the start.
    fn scale(&self) -> f64 {
        /// For an error of less than a thousandth.
        const LEAST: Duration = Duration::from_millis(2);
        while self.began.elapsed() < LEAST {
            std::thread::sleep(LEAST);
        }
        let ticks = counter().wrapping_sub(self.ticks);
        self.began.elapsed().as_nanos() as f64 / ticks.max(1) as f64
    }

    fn line(&self, record: &CallRecord, scale: f64) -> String {
        let name = self.names.get(record.function).map_or("?", String::as_str);
        let getter = self.getters.get(name).copied();
        let call = decode::decode(name, getter, record);
        let nanoseconds = (record.ticks as f64 * scale).round() as u64;
        let site = self.callers.site(record.entry);
        let (pid, tid) = (record.pid as i32, record.tid as i32);
        if self.is_json {
            let mut value = call.json();
            value["function"] = json!(name);
            value["pid"] = json!((pid > 0).then_some(pid));
            value["tid"] = json!((tid > 0).then_some(tid));
            value["ns"] = json!(nanoseconds);
            let since = record.start.wrapping_sub(self.ticks) as f64 * scale;
            value["since_start_ns"] = json!(since.round() as u64);
            value["caller"] = json!(site);
            return value.to_string();
        }
        let number = |id: i32| match id {
            1.. => id.to_string(),
            _ => "?".to_owned(),
        };
        let thread = match pid == tid {
            true => number(pid),
            false => format!("{}/{}", number(pid), number(tid)),
        };
        let site = site.map_or("?".to_owned(), |site| site.to_string());
        format!("{thread} {name}{} <{nanoseconds} ns> {site}", call.text())
    }

    fn write(&mut self, line: &str) {
        if self.failure.is_none() {
            self.failure = writeln!(self.out, "{line}").err();
        }
    }

    fn flush(&mut self) {
        if self.failure.is_none() {
            self.failure = self.out.flush().err();
        }
    }

    /// All calls until now.
    fn summary(&self) -> Summary {
        let counts = self.buffer.counts();
        Summary::new(&counts, &self.names, &self.callers, self.scale())
    }

    /// Prints what is left, and the summary or how many calls are missing.
    fn finish(&mut self) -> Result<()> {
        self.buffer.close();
        while self.round(true) {}
        let summary = self.summary();
        let calls = summary.calls();
        let dropped = self.buffer.dropped();
        match (self.is_counted, self.is_json) {
            (true, true) => self.write(&summary.json().to_string()),
            (true, false) => self.write(summary.text().trim_end()),
            (false, true) => self.write(&json!({"calls": calls, "dropped": dropped}).to_string()),
            (false, false) if dropped != 0 => self.write(&format!(
                "+++ {dropped} of {calls} calls dropped: the buffer was full, --buffer makes it \
                 larger +++"
            )),
            (false, false) => {}
        }
        self.flush();
        match self.failure.take() {
            // As if for `| head`.
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Some(error) => Err(error)
                .into_diagnostic()
                .wrap_err("the trace could not be written"),
            None => Ok(()),
        }
    }

    /// Gives each traced process the vDSO back that it had.
    fn detach(&mut self) {
        /// A thread may be about to leave a function.
        const ATTEMPTS: usize = 10;
        let Ok(inode) = self.buffer.inode() else {
            return;
        };
        for pid in processes() {
            let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
            if !is_traced(&maps, inode) || pid == std::process::id() {
                continue;
            }
            for attempt in 1..=ATTEMPTS {
                match vdsokit_deliver::detach(pid) {
                    Err(Error::Unserved {
                        reason: Unserved::InsideVdso | Unserved::Busy,
                        ..
                    }) if attempt < ATTEMPTS => {
                        self.round(false);
                    }
                    Ok(()) | Err(Error::NoProcess { .. }) => break,
                    Err(error) => {
                        output::warn(format_args!(
                            "vdso: process {pid} keeps functions that count nothing: {error}. \
                             `vdso detach {pid}` removes them"
                        ));
                        break;
                    }
                }
            }
        }
    }
}

/// The ids of all processes.
fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}
