//! What the clock image of each architecture exports, and what its links lead to.
//!
//! Names and versions are those of Linux's own vDSO there ([`vdsokit_elf::arch`]).

use vdsokit_clock::page::READS;
use vdsokit_elf::arch::Call;
use vdsokit_link::Architecture;

use crate::System;

/// An architecture's image.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) arch: Architecture,
    /// The compiler's option for what the image's code may use of the processor.
    pub(crate) code: &'static str,
    /// The functions that Linux's vDSO exports, without the prefix of their names.
    pub(crate) functions: &'static [&'static str],
    /// Whether the functions have names without the prefix too.
    pub(crate) plain: bool,
    /// The functions of the kernel's vDSO for which the image has links.
    links: &'static [&'static str],
    /// Its links to memory that delivery maps.
    memory: &'static [&'static str],
}

impl Interface {
    /// That of an architecture.
    pub(crate) fn of(arch: Architecture) -> Self {
        match arch {
            Architecture::X86_64 => Self {
                arch,
                code: "-Ctarget-cpu=x86-64",
                functions: &[
                    "clock_gettime",
                    "clock_getres",
                    "gettimeofday",
                    "time",
                    "getcpu",
                    "getrandom",
                ],
                plain: true,
                links: &[
                    "clock_gettime",
                    "clock_getres",
                    "gettimeofday",
                    "getcpu",
                    "getrandom",
                ],
                memory: &[READS, vdsokit_current::LINK],
            },
            Architecture::Aarch64 => Self {
                arch,
                // Atomic operations out of line are functions that need a C library to choose the
                // instruction. In x28 Go keeps its goroutine, which its signal handlers read
                // (runtime/signal_unix.go, `sigFetchG`). The compiler warns that the options are
                // unstable.
                code: "-Ctarget-feature=-outline-atomics,+reserve-x28",
                functions: &[
                    "clock_gettime",
                    "clock_getres",
                    "gettimeofday",
                    "getrandom",
                    "rt_sigreturn",
                ],
                plain: false,
                links: &["clock_gettime", "clock_getres", "gettimeofday", "getrandom"],
                memory: &[READS],
            },
            Architecture::Riscv64 | Architecture::Loongarch64 => Self {
                arch,
                code: match arch {
                    // The target has vectors (LSX), which not every processor and no kernel by itself
                    // has. Linux builds its vDSO without them.
                    Architecture::Loongarch64 => "-Ctarget-feature=-lsx",
                    _ => "-Ctarget-cpu=generic-rv64",
                },
                functions: &[
                    "clock_gettime",
                    "clock_getres",
                    "gettimeofday",
                    "getcpu",
                    "getrandom",
                    "rt_sigreturn",
                ],
                plain: false,
                links: &[
                    "clock_gettime",
                    "clock_getres",
                    "gettimeofday",
                    "getcpu",
                    "getrandom",
                ],
                memory: &[READS],
            },
            Architecture::I386 => Self {
                arch,
                code: "-Ctarget-cpu=pentium4",
                functions: &[
                    "clock_gettime64",
                    "clock_gettime",
                    "clock_getres_time64",
                    "clock_getres",
                    "gettimeofday",
                    "time",
                ],
                plain: false,
                links: &["clock_gettime64", "clock_getres_time64", "gettimeofday"],
                memory: &[READS],
            },
        }
    }

    /// The prefix and the version of Linux's functions: those of the one that every vDSO has.
    fn linux(&self) -> (&'static str, &'static str) {
        let function = self.arch.abi().function(Call::ClockGettime);
        let function = function.expect("every vDSO has clock_gettime");
        let prefix = function.name.strip_suffix("clock_gettime");
        (prefix.expect("its name ends so"), function.version)
    }

    /// The version of what the image exports.
    pub(crate) fn version(&self) -> &'static str {
        self.linux().1
    }

    /// The names of the functions that the image exports, without those that are aliases.
    pub(crate) fn exports(&self, system: System) -> Vec<String> {
        let (prefix, _) = self.linux();
        let linux = self.functions.iter().map(|name| format!("{prefix}{name}"));
        linux
            .chain(self.others(system).map(str::to_owned))
            .collect()
    }

    /// The functions that are not named like Linux's. i386's image is beside the kernel's own vDSO, and
    /// what it exports beyond that would not be found.
    fn others(&self, system: System) -> impl Iterator<Item = &'static str> {
        let is_i386 = self.arch == Architecture::I386;
        let every: &[_] = match is_i386 {
            true => &[],
            false => &["vdso_clock_bound"],
        };
        let guest: &[_] = match (system, is_i386) {
            (System::Linux, _) => &[],
            (System::Guest, false) => &["vdso_getpid", "vdso_getppid"],
            // i386's kernels export their entry and both returns of signal handlers, too.
            (System::Guest, true) => &[
                "vdso_getpid",
                "vdso_getppid",
                "__kernel_vsyscall",
                "__kernel_sigreturn",
                "__kernel_rt_sigreturn",
            ],
        };
        every.iter().chain(guest).copied()
    }

    /// The image's links, and the versions of what they name.
    pub(crate) fn links(&self) -> Vec<(String, &'static str)> {
        let (prefix, version) = self.linux();
        let functions = self.links.iter();
        let functions = functions.map(|name| (format!("{prefix}{name}"), version));
        let memory = self.memory.iter().map(|&name| (name.to_owned(), ""));
        functions.chain(memory).collect()
    }
}
