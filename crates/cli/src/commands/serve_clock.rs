//! `vdso serve clock`: the machine's clock, published.

use crate::start::ExitCode;
use std::fmt::Write;
use std::os::fd::AsFd;
use std::path::Path;

use clap::ValueEnum;
use miette::{IntoDiagnostic, Result, miette};
use serde_json::json;
use vdsokit_inspect::call::Callee;
use vdsokit_inspect::function::{Clock, Function, Route};
use vdsokit_inspect::probe::{Served, probe};
use vdsokit_publish::serve::{End, Serve};
use vdsokit_publish::{Publisher, place};
use vdsokit_sources::clock::{
    self, ClockSource, Counter, Kept, Untrusted, is_delivered, is_machine_time,
};
use vdsokit_sources::kernel::{self, Kernel, start_clock};

use crate::published::{self, CLOCK};

/// Where a published clock's time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// The kernel's own vDSO where it needs no system call, else the CPU's counter where that
    /// can be trusted
    Auto,
    /// The kernel's own vDSO
    Kernel,
    /// The CPU's counter, also where the kernel doesn't use it; refused where it is not
    /// invariant or CPUs disagree
    Counter,
    /// System calls
    SystemCall,
    /// The running kernel's own timekeeper, at each tick: with `vdso run --clock` programs tell
    /// the same time as the kernel's vDSO, to the nanosecond. Privileged, as `vdso serve --kernel`
    Timekeeper,
}

impl Source {
    fn name(kept: &Kept) -> &'static str {
        match kept {
            Kept::Kernel => "kernel",
            Kept::SystemCall => "system-call",
            Kept::Counter(_) => "counter",
            _ => "timekeeper",
        }
    }

    /// What this comes to on this machine, and why not the counter where it was tried; all but
    /// the timekeeper, which needs a file first.
    fn choose(self, file: &Path) -> Result<(Publisher, Kept, Option<Untrusted>)> {
        let counter = || Counter::new(Default::default()).map(|one| Kept::Counter(Box::new(one)));
        let (kept, why_not) = match self {
            Self::Timekeeper => {
                let started = start_clock(&Kernel::running()?, vdsokit_virtual_time::IMAGE)?;
                let publisher = Publisher::create(file, vdsokit_virtual_time::IMAGE)?;
                let kept = Kept::Timekeeper(Box::new(started.beside(&publisher)?));
                // From here on nothing is done that only a privileged process may do.
                kernel::drop_privileges().into_diagnostic()?;
                return Ok((publisher, kept, None));
            }
            Self::Kernel => (Kept::Kernel, None),
            Self::SystemCall => (Kept::SystemCall, None),
            Self::Counter => (counter()?, None),
            Self::Auto if kernel_is_fast() => (Kept::Kernel, None),
            Self::Auto => match counter() {
                Ok(kept) => (kept, None),
                Err(why) => (Kept::Kernel, Some(why)),
            },
        };
        let publisher = Publisher::create(file, vdsokit_virtual_time::IMAGE)?;
        Ok((publisher, kept, why_not))
    }
}

/// Whether the kernel's own vDSO tells the time without a system call.
fn kernel_is_fast() -> bool {
    let monotonic = Function::ClockGettime(Clock::Monotonic);
    let callee = Callee::resolve(monotonic, Route::Vdso, None).filter(|_| !is_delivered());
    callee.is_some_and(|callee| matches!(probe(&callee), Ok(Served::Directly)))
}

pub(crate) fn is_clock(file: &Path) -> bool {
    file == Path::new(CLOCK) && !file.exists()
}

/// Publishes the clock in the file `at`, or in a place of this user's; or leaves that to the
/// kernel.
pub(crate) fn run(source: Source, at: Option<&Path>, detach: bool, json: bool) -> Result<ExitCode> {
    if !is_machine_time() {
        return Err(miette!(
            help = "publish it outside; programs in here have the kernel's own clock",
            "this process lives in a time namespace of its own: its clocks are not the machine's"
        ));
    }
    if detach && source != Source::Timekeeper {
        return Err(miette!(
            help = "with `--source timekeeper` the kernel does",
            "somebody has to keep the clock: no `--detach`"
        ));
    }
    let file = match at {
        Some(at) => at.to_owned(),
        None => place::make()?.join(clock::FILE),
    };
    if detach {
        let started = start_clock(&Kernel::running()?, vdsokit_virtual_time::IMAGE)?;
        let path = started.detach(&file)?;
        say(event(json, "detached", &path, "timekeeper", None));
        return Ok(ExitCode::SUCCESS);
    }
    let stop = published::stop()?;
    let (publisher, kept, why_not) = source.choose(&file)?;
    if let Some(why) = &why_not {
        untrusted(json, why);
    }
    let path = publisher.path().to_owned();
    let pid = std::process::id();
    say(event(json, "live", &path, Source::name(&kept), Some(pid)));
    let source = ClockSource::new(&publisher, kept, |why| untrusted(json, why))?;
    let serve = Serve {
        lines: None,
        stop: stop.as_fd(),
    };
    let end = serve.run(publisher, source, |_, _| {})?;
    say(match json {
        true => json!({"event": "retired", "file": path, "why": end.to_string()}).to_string(),
        false => format!("retired: {}, {end}", path.display()),
    });
    Ok(match end {
        End::Stopped | End::EndOfInput | End::Retired => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What is told of a clock, and of who publishes it.
fn event(json: bool, what: &str, path: &Path, source: &str, publisher: Option<u32>) -> String {
    let kernel = kernel::describe(path);
    if json {
        let mut event =
            json!({"event": what, "file": path, "publisher": publisher, "source": source});
        if let Some(kernel) = &kernel {
            event["kernel"] = published::kernel(kernel);
        }
        return event.to_string();
    }
    let mut text = format!("{what}: {}, source {source}", path.display());
    text += &published::map(kernel.as_ref());
    if let Some(publisher) = publisher {
        let _ = write!(text, ", publisher {publisher}");
    }
    text
}

/// Readers get the kernel's time instead of the counter's.
fn untrusted(json: bool, why: &Untrusted) {
    if json {
        say(json!({"event": "untrusted", "why": why.to_string()}).to_string());
    } else {
        eprintln!("vdso: the source is the kernel, not the counter: {why}");
    }
}

/// Whether anybody reads this is no matter of the publisher's.
fn say(text: String) {
    let _ = published::line(text);
}
