//! The reference kernel of `kernel/`: `cargo xtask kernel run`, and the step `reference`.

mod checks;

use crate::steps::{End, Outcome, all, check, root};
use crate::targets;
use crate::{conformance, costs};
use checks::{LONG_TESTS, TESTS};
use clap::ValueEnum;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use vdsokit_figures::Verdict;
use vdsokit_lab::cpio::Archive;
use vdsokit_lab::{Workshop, debian};

/// An architecture that the reference kernel runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    #[value(name = "riscv64")]
    Riscv64,
    #[value(name = "x86_64", alias = "x86-64")]
    X86_64,
    #[value(name = "aarch64")]
    Aarch64,
}

/// What differs between the emulated machines.
pub(crate) struct Machine {
    /// As rustc names the kernel's target.
    pub(crate) target: &'static str,
    /// As Debian names the architecture of the programs.
    pub(crate) debian: &'static str,
    /// As musl names the architecture.
    pub(crate) musl: &'static str,
    /// The C compiler for its programs.
    pub(crate) compiler: &'static str,
    /// The console, as Linux names it.
    pub(crate) console: &'static str,
    /// The emulator and its machine.
    emulator: &'static [&'static str],
}

impl Architecture {
    pub(crate) fn machine(self) -> Machine {
        match self {
            Self::Riscv64 => Machine {
                target: "riscv64imac-unknown-none-elf",
                debian: "riscv64",
                musl: "riscv64",
                compiler: "riscv64-linux-gnu-gcc",
                console: "ttyS0",
                emulator: &["qemu-system-riscv64", "-machine", "virt"],
            },
            Self::X86_64 => Machine {
                target: "x86_64-unknown-none",
                debian: "amd64",
                musl: "x86_64",
                compiler: "x86_64-linux-gnu-gcc",
                console: "ttyS0",
                emulator: &["qemu-system-x86_64", "-machine", "q35", "-cpu", "max"],
            },
            Self::Aarch64 => Machine {
                target: "aarch64-unknown-none-softfloat",
                debian: "arm64",
                musl: "aarch64",
                compiler: "aarch64-linux-gnu-gcc",
                console: "ttyAMA0",
                emulator: &["qemu-system-aarch64", "-machine", "virt", "-cpu", "max"],
            },
        }
    }
}

/// The release of Debian that has busybox for each architecture.
pub(crate) const SUITE: &str = "trixie";

/// The programs in the initrd: busybox under these names.
const NAMES: &[&str] = &[
    "cat", "date", "echo", "env", "false", "head", "kill", "ls", "seq", "sh", "sleep", "sort",
    "true", "uname", "wc",
];

/// A machine that has printed nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(120);

/// What the kernel prints before the first program's exit status.
const END: &str = "the first program ended: ";

/// Runs a command in the emulated machine, as `cargo xtask kernel run` does.
pub(crate) fn run(
    architecture: Architecture,
    cpus: u32,
    options: &[String],
    command: &[String],
) -> ExitCode {
    // Where there is no rustup, cargo says what is missing.
    targets::has_std(architecture.machine().target);
    let result = build(architecture).and_then(|kernel| {
        let initrd = initrd(architecture, &[])?;
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let boot = Boot {
            architecture,
            kernel,
            initrd,
        };
        boot.run(cpus, &options, &command, Stdio::inherit(), true)
    });
    match result.as_deref().map(exit_status) {
        Ok(Some(status)) => ExitCode::from(status),
        Ok(None) => {
            eprintln!("xtask: the machine stopped before the program ended");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The first program's exit status; `None` when it did not exit.
fn exit_status(output: &str) -> Option<u8> {
    let (_, end) = output.rsplit_once(END)?;
    end.strip_prefix("exit status ")?.trim().parse().ok()
}

/// Compiles the kernel.
pub(crate) fn build(architecture: Architecture) -> Result<PathBuf, String> {
    let target = architecture.machine().target;
    let mut build = cargo("build");
    build.args(["--locked", "--release", "--quiet", "--target", target]);
    check(&mut build)?;
    Ok(directory().join(format!("target/{target}/release/reference-kernel")))
}

pub(crate) fn directory() -> PathBuf {
    root().join("kernel")
}

fn cargo(command: &str) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .arg(command)
        .current_dir(directory())
        .env_remove("CARGO_TARGET_DIR");
    cargo
}

/// Writes an archive with busybox and other programs, the first of which is the first program of
/// Linux.
pub(crate) fn initrd(architecture: Architecture, programs: &[&Path]) -> Result<PathBuf, String> {
    let machine = architecture.machine();
    let workshop = Workshop::new(root()).map_err(|error| error.to_string())?;
    let archive = debian::Archive {
        architecture: machine.debian,
        release: Some(SUITE),
    };
    let tree = debian::package_of(&workshop, archive, "busybox-static")
        .map_err(|error| error.to_string())?;
    let mut archive = Archive::default();
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut fill = || {
        archive.file("/bin/busybox", &read(&tree.join("usr/bin/busybox"))?)?;
        for name in NAMES {
            archive.link(&format!("/bin/{name}"), "busybox")?;
        }
        for program in programs {
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            archive.file(&format!("/bin/{name}"), &read(program)?)?;
        }
        if let Some(first) = programs.first() {
            archive.file("/init", &read(first)?)?;
        }
        Ok::<_, Failure>(())
    };
    fill().map_err(|Failure(error)| error)?;
    let bytes = archive.finish().map_err(|error| error.to_string())?;
    let path = directory().join(format!("target/{}.cpio", machine.debian));
    fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// An error's text, from either kind.
struct Failure(String);

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<vdsokit_lab::Error> for Failure {
    fn from(error: vdsokit_lab::Error) -> Self {
        Self(error.to_string())
    }
}

/// A kernel and its files.
pub(crate) struct Boot {
    pub(crate) architecture: Architecture,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
}

impl Boot {
    /// Boots, and returns what the machine printed before it powered off.
    pub(crate) fn run(
        &self,
        cpus: u32,
        options: &[&str],
        command: &[&str],
        input: Stdio,
        is_shown: bool,
    ) -> Result<String, String> {
        let machine = self.architecture.machine();
        // As in a shell.
        let quoted = command.iter().map(|word| {
            let word = word.replace('\\', r"\\").replace('"', "\\\"");
            format!("\"{word}\"")
        });
        let line: Vec<String> = options.iter().map(ToString::to_string).collect();
        let line = [line, vec!["--".into()], quoted.collect()]
            .concat()
            .join(" ");
        // Instructions are the machine's time for the program that counts them.
        let pace: &[&str] = match command {
            ["counts"] => &["-icount", "shift=0,sleep=off"],
            _ => &[],
        };
        // The emulator ends with this process even when that is killed.
        let mut emulator = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(machine.emulator)
            .args(pace)
            .args(["-m", "256", "-smp", &cpus.to_string()])
            .args([
                "-nodefaults",
                "-no-reboot",
                "-display",
                "none",
                "-serial",
                "stdio",
            ])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initrd)
            .args(["-append", &line])
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("setpriv: {error}"))?;
        let mut output = emulator.stdout.take().ok_or("the emulator has no output")?;
        let (sender, pieces) = mpsc::channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                if sender.send(piece[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut all = Vec::new();
        let result = loop {
            match pieces.recv_timeout(SILENCE) {
                Ok(piece) => {
                    if is_shown {
                        // A caller that no longer reads the output may still want the exit status.
                        let mut terminal = std::io::stdout().lock();
                        let _ = terminal.write_all(&piece).and_then(|()| terminal.flush());
                    }
                    all.extend(piece);
                }
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
                Err(RecvTimeoutError::Timeout) if is_shown => {}
                Err(RecvTimeoutError::Timeout) => {
                    break Err(format!(
                        "the machine hangs: {}",
                        String::from_utf8_lossy(&all)
                    ));
                }
            }
        };
        // It may have ended by itself.
        let _ = emulator.kill();
        emulator.wait().map_err(|error| error.to_string())?;
        result.map(|()| String::from_utf8_lossy(&all).replace('\r', ""))
    }

    /// Boots with a command, which has to succeed, and returns what the machine printed after the
    /// kernel's first line.
    pub(crate) fn output(
        &self,
        cpus: u32,
        options: &[&str],
        command: &[&str],
    ) -> Result<String, String> {
        let output = self.run(cpus, options, command, Stdio::null(), false)?;
        if exit_status(&output) != Some(0) {
            return Err(format!("{command:?} failed: {output}"));
        }
        let from = output.find("reference kernel: ").unwrap_or(0);
        Ok(output[from..].to_owned())
    }
}

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Outcome {
    check(cargo("fmt").args(["--", "--check"]))?;
    let mut figures = costs::of_the_crate()?;
    figures.push(costs::lines()?);
    for architecture in Architecture::value_variants() {
        let target = architecture.machine().target;
        if !targets::has_std(target) {
            return Ok(End::Skipped(format!(
                "rustup can't add the target {target}"
            )));
        }
        let kernel = build(*architecture)?;
        let mut clippy = cargo("clippy");
        clippy.args([
            "--release",
            "--quiet",
            "--target",
            target,
            "--",
            "-D",
            "warnings",
        ]);
        check(&mut clippy)?;
        let program = |name| conformance::program(*architecture, name);
        let [tests, waits] = conformance::TESTS.map(program);
        let (tests, waits) = (tests?, waits?);
        let with_musl = conformance::program_with_musl(*architecture, conformance::TESTS[0])?;
        let (table, calls) = (program("table")?, program("calls")?);
        let (counts, current) = (program("counts")?, program("current")?);
        if *architecture == Architecture::X86_64 && cfg!(target_arch = "x86_64") {
            conformance::check_here(&waits).map_err(|error| format!("Linux: waits: {error}"))?;
        }
        let hello = conformance::program_in_go(*architecture, "hello")?;
        let of_linux = conformance::self_tests(*architecture)?;
        let mut programs = vec![&*tests, &waits, &with_musl, &table, &calls, &counts];
        programs.extend([&*current, &hello]);
        programs.extend(of_linux.iter().map(PathBuf::as_path));
        let initrd = initrd(*architecture, &programs)?;
        let boot = Boot {
            architecture: *architecture,
            kernel,
            initrd,
        };
        let long = if all() { LONG_TESTS } else { &[] };
        for (name, test) in TESTS.iter().chain(long) {
            test(&boot).map_err(|error| format!("{target}: {name}: {error}"))?;
            println!("{target}: {name} ... ok");
        }
        figures.extend(costs::of_calls(&boot)?);
    }
    print!("{}", vdsokit_figures::table(&figures));
    match figures
        .iter()
        .find(|figure| figure.verdict() == Verdict::Missed)
    {
        Some(_) => Err("a bound was missed".into()),
        None => Ok(End::Passed),
    }
}
