//! `vdso serve clock`: publishes the machine's clock.

use super::Arguments;
use super::report::Reporter;
use crate::published::{self, CLOCK};
use crate::signals;
use clap::ValueEnum;
use miette::{IntoDiagnostic, Result, miette};
use serde_json::json;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use vdsokit_inspect::call::Callee;
use vdsokit_inspect::function::{ClockId, Function, Route};
use vdsokit_inspect::probe::{Served, probe};
use vdsokit_publish::{Options, Publisher, place};
use vdsokit_sources::clock::{
    self, ClockSource, Counter, Kept, Untrusted, is_delivered, is_machine_time,
};
use vdsokit_sources::kernel::{self, Kernel, start_clock};

/// The source of a published clock's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimeSource {
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

impl TimeSource {
    /// The publisher and the source on this machine; also the reason why the counter was not chosen,
    /// where it was tried.
    fn choose(self, file: &Path, options: Options) -> Result<(Publisher, Kept, Option<Untrusted>)> {
        let counter = || Counter::new(Default::default()).map(|one| Kept::Counter(Box::new(one)));
        let (kept, why_not) = match self {
            Self::Timekeeper => {
                let started = start_clock(&Kernel::running()?, vdsokit_virtual_time::IMAGE)?;
                // Without a thread for the heartbeat: it would keep the privileges.
                let publisher = options
                    .stale_after(std::time::Duration::from_secs(5))
                    .create(file, vdsokit_virtual_time::IMAGE)?;
                let kept = Kept::Timekeeper(Box::new(started.beside(&publisher)?));
                // Nothing below needs the privileges.
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
        let publisher = options.create(file, vdsokit_virtual_time::IMAGE)?;
        Ok((publisher, kept, why_not))
    }
}

/// Whether the kernel's own vDSO reads the clock without a system call.
fn kernel_is_fast() -> bool {
    let monotonic = Function::ClockGettime(ClockId::Monotonic);
    let callee = Callee::resolve(monotonic, Route::Vdso, None).filter(|_| !is_delivered());
    callee.is_some_and(|callee| matches!(probe(&callee), Ok(Served::Directly)))
}

pub(super) fn is_clock(file: &Path) -> bool {
    file == Path::new(CLOCK) && !file.exists()
}

/// Publishes the clock in the file of `--at` or in a directory of this user, or sets the kernel up
/// to publish it.
pub(super) fn run(arguments: &Arguments, reporter: &Reporter) -> Result<ExitCode> {
    if arguments.stdin {
        return Err(miette!("the clock has no values to assign: no `--stdin`"));
    }
    if !is_machine_time() {
        return Err(miette!(
            help = "publish it outside of the namespace",
            "this process is in a time namespace: its clocks are not the machine's"
        ));
    }
    if arguments.detach && arguments.source != TimeSource::Timekeeper {
        return Err(miette!(
            help = "with `--source timekeeper` the kernel keeps the clock",
            "this process has to keep the clock: no `--detach`"
        ));
    }
    let made;
    let file = match &arguments.at {
        Some(at) => at.clone(),
        None => {
            made = place::make()?;
            made.path().join(clock::FILE)
        }
    };
    signals::exit_on_truncation(&file);
    if arguments.detach {
        let started = start_clock(&Kernel::running()?, vdsokit_virtual_time::IMAGE)?;
        let path = started.detach(&file)?;
        event(reporter, "detached", &path, "timekeeper", None);
        return Ok(ExitCode::SUCCESS);
    }
    let stop = signals::stop()?;
    let (publisher, kept, why_not) = arguments.source.choose(&file, arguments.options())?;
    if let Some(why) = &why_not {
        reporter.untrusted(why);
    }
    let pid = std::process::id();
    let name = kept.name();
    event(reporter, "live", publisher.path(), name, Some(pid));
    let source = ClockSource::new(&publisher, kept, |why| reporter.untrusted(why))?;
    reporter.serve(publisher, source, None, &stop)
}

/// Reports a published clock.
fn event(reporter: &Reporter, name: &str, path: &Path, source: &str, publisher: Option<u32>) {
    let kernel = kernel::describe(path);
    let mut details = json!({"publisher": publisher, "source": source});
    if let Some(kernel) = &kernel {
        details["kernel"] = published::kernel(kernel);
    }
    let mut text = format!(", source {source}{}", published::map(kernel.as_ref()));
    if let Some(publisher) = publisher {
        // Writing to a string does not fail.
        let _ = write!(text, ", publisher {publisher}");
    }
    reporter.event(name, path, details, &text);
}
