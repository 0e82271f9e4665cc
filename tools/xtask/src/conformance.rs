//! `cargo xtask conformance`: tests of a kernel's vDSO, from inside a program, on the reference
//! kernel and on Debian's Linux.
//!
//! The programs are static and print TAP, so any kernel that runs static Linux programs can boot
//! them.

use crate::reference::{self, Architecture, Boot, SUITE};
use crate::steps;
use clap::ValueEnum;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use vdsokit_lab::Workshop;
use vdsokit_lab::debian::{self, Archive};
use vdsokit_lab::selftests;

/// A kernel to test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    /// The reference kernel, of `kernel/`
    #[default]
    Reference,
    /// Debian's Linux
    Linux,
}

/// The programs with the tests, for each kernel that runs static Linux programs: what it has of a
/// vDSO, and waits with a time-out.
pub(crate) const TESTS: [&str; 2] = ["conformance", "waits"];

/// Compiles a program of `kernel/conformance`.
pub(crate) fn program(architecture: Architecture, name: &str) -> Result<PathBuf, String> {
    let machine = architecture.machine();
    let source = reference::directory().join(format!("conformance/{name}.c"));
    let output = reference::directory().join(format!("target/{}", machine.debian));
    fs::create_dir_all(&output).map_err(|error| format!("{}: {error}", output.display()))?;
    let program = output.join(name);
    let mut compiler = Command::new(machine.compiler);
    compiler
        .args([
            "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", "-o",
        ])
        .args([&program, &source]);
    steps::check(&mut compiler)?;
    Ok(program)
}

/// The directory in which compilers find the toolchain's LLD: GNU's linker of Debian 12 ends by a signal
/// on RISC-V's musl of Debian 13.
fn lld() -> Result<PathBuf, String> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir"])
        .output()
        .map_err(|error| format!("rustc: {error}"))?;
    let libraries = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(PathBuf::from(libraries).with_file_name("bin/gcc-ld"))
}

/// Compiles a program of `kernel/conformance` with musl, Debian's of the architecture, and the usual
/// compiler.
pub(crate) fn program_with_musl(architecture: Architecture, name: &str) -> Result<PathBuf, String> {
    let machine = architecture.machine();
    let workshop = Workshop::new(steps::root()).map_err(|error| error.to_string())?;
    let archive = Archive {
        architecture: machine.debian,
        release: Some(SUITE),
    };
    let tree =
        debian::package_of(&workshop, archive, "musl-dev").map_err(|error| error.to_string())?;
    let library = format!("{}-linux-musl", machine.musl);
    let headers = tree.join("usr/include").join(&library);
    let objects = tree.join("usr/lib").join(&library);
    let own = Command::new(machine.compiler)
        .arg("-print-file-name=include")
        .output()
        .map_err(|error| format!("{}: {error}", machine.compiler))?;
    let source = reference::directory().join(format!("conformance/{name}.c"));
    let program = reference::directory().join(format!("target/{}/{name}-musl", machine.debian));
    let mut compiler = Command::new(machine.compiler);
    compiler
        .args([
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-nostdinc",
            "-isystem",
        ])
        .arg(headers)
        .args(["-isystem", String::from_utf8_lossy(&own.stdout).trim()])
        .args(["-fuse-ld=lld", "-B"])
        .arg(lld()?)
        .args(["-static", "-no-pie", "-nostdlib", "-o"])
        .arg(&program)
        .args(["crt1.o", "crti.o"].map(|name| objects.join(name)))
        .arg(source)
        .arg("-Wl,--start-group")
        .arg(objects.join("libc.a"))
        .args(["-lgcc", "-lgcc_eh", "-Wl,--end-group"])
        .arg(objects.join("crtn.o"));
    steps::check(&mut compiler)?;
    Ok(program)
}

/// Compiles Linux's own tests of its vDSO.
pub(crate) fn self_tests(architecture: Architecture) -> Result<Vec<PathBuf>, String> {
    let machine = architecture.machine();
    let workshop = Workshop::new(steps::root()).map_err(|error| error.to_string())?;
    let directory = reference::directory().join(format!("target/{}", machine.debian));
    selftests::static_programs(&workshop, machine.compiler, &directory)
        .map_err(|error| error.to_string())
}

/// Compiles a program in Go.
pub(crate) fn program_in_go(architecture: Architecture, name: &str) -> Result<PathBuf, String> {
    // Go names these architectures as Debian does.
    let architecture = architecture.machine().debian;
    let source = reference::directory().join(format!("conformance/{name}.go"));
    let program = reference::directory().join(format!("target/{architecture}/{name}"));
    let mut compiler = Command::new("go");
    compiler
        .args(["build", "-o"])
        .args([&program, &source])
        .env("GOARCH", architecture)
        .env("CGO_ENABLED", "0");
    steps::check(&mut compiler)?;
    Ok(program)
}

/// Boots the tests and shows what they print.
pub(crate) fn run(architecture: Architecture, kernel: Kernel, cpus: u32) -> ExitCode {
    let mut results = TESTS.iter().map(|name| {
        let boot = boot(architecture, kernel, name)?;
        let output = match kernel {
            Kernel::Reference => boot.run(cpus, &[], &[name], Stdio::null(), true),
            Kernel::Linux => run_linux(&boot, cpus, &[], true),
        }?;
        verdict(&output)
    });
    match results.try_for_each(|result| result) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Boots Linux, whose first program powers the machine off, and returns what the machine printed.
pub(crate) fn run_linux(
    boot: &Boot,
    cpus: u32,
    command: &[&str],
    is_shown: bool,
) -> Result<String, String> {
    let console = format!("console={}", boot.architecture.machine().console);
    // The counter is all right in an emulator, which Linux on x86-64 can't know.
    let options = [
        &*console,
        "quiet",
        "panic=-1",
        "clocksource=tsc",
        "tsc=reliable",
    ];
    let options = match boot.architecture {
        Architecture::X86_64 => &options[..],
        _ => &options[..3],
    };
    boot.run(cpus, options, command, Stdio::null(), is_shown)
}

fn boot(architecture: Architecture, kernel: Kernel, name: &str) -> Result<Boot, String> {
    match kernel {
        Kernel::Linux => boot_linux(architecture, name),
        Kernel::Reference => Ok(Boot {
            architecture,
            kernel: reference::build(architecture)?,
            initrd: reference::initrd(architecture, &[&program(architecture, name)?])?,
        }),
    }
}

/// Debian's Linux with a program of `kernel/conformance` as its first one.
pub(crate) fn boot_linux(architecture: Architecture, name: &str) -> Result<Boot, String> {
    Ok(Boot {
        architecture,
        kernel: linux(architecture)?,
        initrd: reference::initrd(architecture, &[&program(architecture, name)?])?,
    })
}

/// Debian's Linux.
fn linux(architecture: Architecture) -> Result<PathBuf, String> {
    let workshop = Workshop::new(steps::root()).map_err(|error| error.to_string())?;
    if architecture == Architecture::X86_64 {
        return debian::kernel(&workshop, "6.12").map_err(|error| error.to_string());
    }
    let name = architecture.machine().debian;
    debian::kept_kernel(&workshop, name, SUITE).map_err(|error| error.to_string())
}

/// Boots a program whose output is TAP on the reference kernel; an error shows what failed.
pub(crate) fn check(boot: &Boot, cpus: u32, command: &[&str]) -> Result<(), String> {
    let output = boot.run(cpus, &[], command, Stdio::null(), false)?;
    verdict(&output)
}

/// Runs a program whose output is TAP on this machine's Linux.
pub(crate) fn check_here(program: &Path) -> Result<(), String> {
    let output = Command::new(program)
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    verdict(&String::from_utf8_lossy(&output.stdout))
}

/// Every planned test has a result, and none failed.
pub(crate) fn verdict(output: &str) -> Result<(), String> {
    let lines = || output.lines().map(str::trim);
    let planned = lines().find_map(|line| line.strip_prefix("1..")?.parse::<usize>().ok());
    let passed = lines().filter(|line| line.starts_with("ok ")).count();
    let failed: Vec<&str> = lines().filter(|line| line.starts_with("not ok ")).collect();
    match planned {
        Some(planned) if failed.is_empty() && passed == planned => Ok(()),
        None => Err(format!("the tests never began: {output}")),
        Some(planned) => Err(format!(
            "{passed} of {planned} tests passed, failed: {}",
            failed.join("; ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn tests_without_a_result_are_failures() {
        assert!(verdict("TAP version 13\n1..2\nok 1 - a\nok 2 - b\n").is_ok());
        assert!(verdict("TAP version 13\n1..2\nok 1 - a\n").is_err());
        assert!(verdict("TAP version 13\n1..2\nok 1 - a\nnot ok 2 - b\n").is_err());
        assert!(verdict("").is_err());
    }
}
