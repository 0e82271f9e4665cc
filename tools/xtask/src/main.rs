//! The project's tasks: `cargo xtask test` is all that CI runs.

mod conformance;
mod costs;
mod dist;
mod figures;
mod fresh;
mod fuzz;
mod html;
mod kernel;
mod msrv;
mod mutants;
mod package;
mod reference;
mod steps;
mod targets;
mod tools;
mod vm;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "The project's tasks")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run every check and test there is, or only the steps named
    Test {
        /// Steps to run, in the order given; all when none is named
        steps: Vec<String>,
        /// List the steps and what each is for
        #[arg(long)]
        list: bool,
        /// Also run what takes hours: mutation tests, a fresh root, a kernel's first build
        #[arg(long)]
        all: bool,
    },
    /// Measure all figures, or those named, and print one table; fails when a bound is missed
    Figures {
        /// Groups of figures, or single figures of programs; all when none is named
        names: Vec<String>,
        /// List what can be named
        #[arg(long)]
        list: bool,
        /// Measure this `vdso` instead of building one
        #[arg(long, value_name = "FILE")]
        vdso: Option<std::path::PathBuf>,
    },
    /// Make a Debian package, a tarball and checksums in target/dist-files
    Dist {
        /// The profile that is built; `dist` optimises the whole program
        #[arg(long, default_value = "dist")]
        profile: String,
    },
    /// Run the fuzzers; needs nightly Rust and cargo-fuzz
    Fuzz {
        /// How often, in total
        #[arg(long, default_value_t = 100_000_000)]
        runs: u64,
    },
    /// The reference kernel, in `kernel/`
    Kernel {
        #[command(subcommand)]
        chore: KernelChore,
    },
    /// Boot programs that test a kernel's vDSO and what is around it, and show their results (TAP)
    Conformance {
        /// The architecture
        #[arg(long, value_enum)]
        arch: reference::Architecture,
        /// The kernel
        #[arg(long, value_enum, default_value_t)]
        kernel: conformance::Kernel,
        /// How many CPUs the machine has
        #[arg(long, default_value_t = 4)]
        cpus: u32,
    },
    /// Boot stock kernels under emulation and run checks inside
    Vm {
        /// Checks to run; all when none is named
        checks: Vec<String>,
        /// Only on the kernel of this name
        #[arg(long, value_name = "NAME")]
        kernel: Option<String>,
        /// List the checks and what each shows
        #[arg(long)]
        list: bool,
    },
}

#[derive(Subcommand)]
enum KernelChore {
    /// Boot it under emulation and run a command of busybox's, a shell when none is named
    Run {
        /// The architecture
        #[arg(long, value_enum)]
        arch: reference::Architecture,
        /// How many CPUs the machine has
        #[arg(long, default_value_t = 1)]
        cpus: u32,
        /// Options on the kernel's command line: `count`, `vdso=off`
        #[arg(long, value_name = "WORD")]
        option: Vec<String>,
        /// The command and its arguments
        #[arg(last = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().chore {
        Chore::Test { list: true, .. } => {
            steps::list();
            ExitCode::SUCCESS
        }
        Chore::Figures { list: true, .. } => {
            figures::list();
            ExitCode::SUCCESS
        }
        Chore::Figures { names, vdso, .. } => figures::run(&names, vdso),
        Chore::Dist { profile } => match dist::run(&profile) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("dist: {error}");
                ExitCode::FAILURE
            }
        },
        Chore::Fuzz { runs } => fuzz::run(runs),
        Chore::Test { steps, all, .. } => steps::run(&steps, all),
        Chore::Kernel {
            chore:
                KernelChore::Run {
                    arch,
                    cpus,
                    option,
                    command,
                },
        } => reference::run(arch, cpus, &option, &command),
        Chore::Conformance { arch, kernel, cpus } => conformance::run(arch, kernel, cpus),
        Chore::Vm { list: true, .. } => {
            vm::list();
            ExitCode::SUCCESS
        }
        Chore::Vm { checks, kernel, .. } => vm::run(&checks, kernel.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use crate::steps::root;

    /// A path that the pages name in backquotes exists: the tables of CONTRIBUTING.md say which
    /// files to touch.
    #[test]
    fn files_that_the_pages_name_exist() {
        for page in ["CONTRIBUTING.md", "SECURITY.md"] {
            let text = std::fs::read_to_string(root().join(page)).unwrap();
            let quoted = text.split('`').skip(1).step_by(2);
            let is_path = |word: &&str| {
                let mut parts = word.split('/');
                matches!(parts.next(), Some("crates" | "tools" | "examples" | "docs"))
                    && parts.next().is_some()
            };
            let mut paths = quoted.filter(is_path).peekable();
            assert!(paths.peek().is_some(), "{page}");
            for path in paths {
                assert!(root().join(path).exists(), "{page}: {path}");
            }
        }
    }
}
