//! The commands: each is a module with its arguments and a `run`.

#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod attach;
mod bench;
mod build;
mod check;
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod clock;
mod completions;
mod demo;
mod doctor;
mod dump;
mod export;
#[cfg(feature = "feed")]
mod feed;
mod get;
mod init;
mod kernel;
mod ls;
mod man;
mod now;
#[cfg(feature = "feed")]
mod put;
mod retire;
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod run;
mod serve;
mod set;
mod status;
#[cfg(target_arch = "x86_64")]
mod trace;
#[cfg(not(target_arch = "x86_64"))]
mod unsupported;
mod watch;

use clap::Subcommand;
use miette::Result;
use std::ffi::OsString;
use std::process::ExitCode;

/// The commands of `vdso`.
#[derive(Subcommand)]
pub(crate) enum Command {
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    ))]
    Attach(attach::Arguments),
    Bench(bench::Arguments),
    Build(build::Arguments),
    Check(check::Arguments),
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    ))]
    #[command(flatten)]
    Change(Change),
    Completions(completions::Arguments),
    Demo(demo::Arguments),
    #[command(hide = true)]
    DemoReader(demo::reader::Arguments),
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    ))]
    Detach(attach::DetachArguments),
    Doctor(doctor::Arguments),
    Dump(dump::Arguments),
    Export(export::Arguments),
    #[cfg(feature = "feed")]
    Feed(feed::Arguments),
    Get(get::Arguments),
    Init(init::Arguments),
    Kernel(kernel::Arguments),
    Ls(ls::Arguments),
    Man(man::Arguments),
    Now(now::Arguments),
    #[cfg(feature = "feed")]
    Put(put::Arguments),
    Retire(retire::Arguments),
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    ))]
    #[command(flatten)]
    Start(Start),
    Serve(serve::Arguments),
    Set(set::Arguments),
    Status(status::Arguments),
    #[cfg(target_arch = "x86_64")]
    Trace(trace::Arguments),
    Watch(watch::Arguments),
    /// Give a running program another time (x86-64, AArch64 and RISC-V)
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )))]
    Attach(unsupported::Arguments),
    /// Show or change the time of programs that run under a name (x86-64, AArch64 and RISC-V)
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )))]
    Clock(unsupported::Arguments),
    /// Give a program back the vDSO that it had before `vdso attach` (x86-64, AArch64 and RISC-V)
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )))]
    Detach(unsupported::Arguments),
    /// Show each call of a program's vDSO, or count them (x86-64 only)
    #[cfg(not(target_arch = "x86_64"))]
    Trace(unsupported::Arguments),
    /// Run a program, unchanged, at another time (x86-64, AArch64 and RISC-V)
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )))]
    Run(unsupported::Arguments),
}

/// The command that becomes another program.
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
#[derive(Subcommand)]
pub(crate) enum Start {
    Run(run::Arguments),
}

/// The command that changes the time of programs while they run.
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
#[derive(Subcommand)]
pub(crate) enum Change {
    Clock(clock::Arguments),
}

impl Command {
    /// Runs the command and returns its exit status. `main` prints an error and exits with status 1;
    /// a command with another convention returns its own status.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            #[cfg(any(
                target_arch = "x86_64",
                target_arch = "aarch64",
                target_arch = "riscv64"
            ))]
            Self::Attach(arguments) => attach::run(&arguments),
            Self::Bench(arguments) => bench::run(&arguments),
            Self::Build(arguments) => build::run(&arguments),
            Self::Check(arguments) => check::run(&arguments),
            #[cfg(any(
                target_arch = "x86_64",
                target_arch = "aarch64",
                target_arch = "riscv64"
            ))]
            Self::Change(Change::Clock(arguments)) => clock::run(&arguments),
            Self::Completions(arguments) => completions::run(&arguments),
            Self::Demo(arguments) => demo::run(&arguments),
            Self::DemoReader(arguments) => demo::reader::run(&arguments),
            #[cfg(any(
                target_arch = "x86_64",
                target_arch = "aarch64",
                target_arch = "riscv64"
            ))]
            Self::Detach(arguments) => attach::detach(&arguments),
            Self::Doctor(arguments) => Ok(doctor::run(&arguments)),
            Self::Dump(arguments) => dump::run(&arguments),
            Self::Export(arguments) => export::run(&arguments),
            #[cfg(feature = "feed")]
            Self::Feed(arguments) => feed::run(&arguments),
            Self::Get(arguments) => get::run(&arguments),
            Self::Init(arguments) => init::run(&arguments),
            Self::Kernel(arguments) => kernel::run(&arguments),
            Self::Ls(arguments) => ls::run(&arguments),
            Self::Man(arguments) => man::run(&arguments),
            Self::Now(arguments) => now::run(&arguments),
            #[cfg(feature = "feed")]
            Self::Put(arguments) => put::run(&arguments),
            Self::Retire(arguments) => retire::run(&arguments),
            #[cfg(any(
                target_arch = "x86_64",
                target_arch = "aarch64",
                target_arch = "riscv64"
            ))]
            Self::Start(Start::Run(arguments)) => Ok(run::run(&arguments)),
            Self::Serve(arguments) => serve::run(&arguments),
            Self::Set(arguments) => set::run(&arguments),
            Self::Status(arguments) => Ok(status::run(&arguments)),
            #[cfg(target_arch = "x86_64")]
            Self::Trace(arguments) => trace::run(&arguments),
            Self::Watch(arguments) => watch::run(&arguments),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Trace(_) => unsupported::refuse("trace"),
            #[cfg(not(any(
                target_arch = "x86_64",
                target_arch = "aarch64",
                target_arch = "riscv64"
            )))]
            Self::Attach(_) => unsupported::refuse("attach"),
            #[cfg(not(any(
                target_arch = "x86_64",
                target_arch = "aarch64",
                target_arch = "riscv64"
            )))]
            Self::Clock(_) => unsupported::refuse("clock"),
            #[cfg(not(any(
                target_arch = "x86_64",
                target_arch = "aarch64",
                target_arch = "riscv64"
            )))]
            Self::Detach(_) => unsupported::refuse("detach"),
            #[cfg(not(any(
                target_arch = "x86_64",
                target_arch = "aarch64",
                target_arch = "riscv64"
            )))]
            Self::Run(_) => unsupported::refuse("run"),
        }
    }
}

/// The exit status for arguments that can't be parsed: 2, but for commands that use 2 otherwise.
pub(crate) fn usage_status(arguments: &[OsString]) -> u8 {
    match arguments.get(1).and_then(|command| command.to_str()) {
        #[cfg(any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "riscv64"
        ))]
        Some("run") => run::NOT_TRIED,
        #[cfg(target_arch = "x86_64")]
        Some("trace") => run::NOT_TRIED,
        Some("status") => status::UNKNOWN,
        _ => 2,
    }
}
