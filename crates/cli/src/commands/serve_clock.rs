//! `vdso serve clock`: the machine's clock, published.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use miette::{Result, miette};
use serde_json::json;
use vdsokit_look::call::Callee;
use vdsokit_look::function::{Clock, Function, Route};
use vdsokit_look::probe::{Served, probe};
use vdsokit_publish::clock::{Counter, Kept, Untrusted, is_delivered, is_machine_time, serve};
use vdsokit_publish::serve::End;
use vdsokit_publish::{Publisher, clock, place};

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
}

impl Source {
    fn name(kept: &Kept) -> &'static str {
        match kept {
            Kept::Kernel => "kernel",
            Kept::SystemCall => "system-call",
            Kept::Counter(_) => "counter",
        }
    }

    /// What this comes to on this machine, and why not the counter where it was tried.
    fn choose(self) -> Result<(Kept, Option<Untrusted>)> {
        let counter = || Counter::new(Default::default()).map(|one| Kept::Counter(Box::new(one)));
        Ok(match self {
            Self::Kernel => (Kept::Kernel, None),
            Self::SystemCall => (Kept::SystemCall, None),
            Self::Counter => (counter()?, None),
            Self::Auto if kernel_is_fast() => (Kept::Kernel, None),
            Self::Auto => match counter() {
                Ok(kept) => (kept, None),
                Err(why) => (Kept::Kernel, Some(why)),
            },
        })
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

/// Publishes the clock in the file `at`, or in a place of this user's.
pub(crate) fn run(source: Source, at: Option<&Path>, json: bool) -> Result<ExitCode> {
    if !is_machine_time() {
        return Err(miette!(
            help = "publish it outside; programs in here have the kernel's own clock",
            "this process lives in a time namespace of its own: its clocks are not the machine's"
        ));
    }
    let stop = published::stop()?;
    let (kept, why_not) = source.choose()?;
    if let Some(why) = &why_not {
        untrusted(json, why);
    }
    let path = match at {
        Some(at) => at.to_owned(),
        None => place::make()?.join(clock::FILE),
    };
    let publisher = Publisher::create(path, vdsokit_time::IMAGE)?;
    let path = publisher.path().to_owned();
    let (pid, name) = (std::process::id(), Source::name(&kept));
    say(match json {
        true => {
            json!({"event": "live", "file": path, "publisher": pid, "source": name}).to_string()
        }
        false => format!("live: {}, source {name}, publisher {pid}", path.display()),
    });
    let end = serve(publisher, kept, stop.as_fd(), |why| untrusted(json, why))?;
    say(match json {
        true => json!({"event": "retired", "file": path, "why": end.to_string()}).to_string(),
        false => format!("retired: {}, {end}", path.display()),
    });
    Ok(match end {
        End::Stopped | End::EndOfInput => ExitCode::SUCCESS,
        End::Displaced | End::Retired => ExitCode::FAILURE,
    })
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
