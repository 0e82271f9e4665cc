//! The reference kernel of `kernel/`: `cargo xtask kernel run`, and the step `reference`.

use crate::steps::{End, Outcome, all, check, root};
use crate::targets;
use crate::{conformance, costs};
use clap::ValueEnum;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
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
                        // Who reads it no more may still want the exit status.
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

type Test = fn(&Boot) -> Result<(), String>;

/// What is checked on each architecture.
const TESTS: &[(&str, Test)] = &[
    (
        "a program reads the clock without a system call",
        clock_by_vdso,
    ),
    (
        "without a vDSO the same program makes the call",
        clock_by_call,
    ),
    ("a shell runs pipelines, waits and gets signals", shell),
    ("processes on four CPUs", four_cpus),
    ("goroutines sleep and wake", goroutines),
    ("a function of the vDSO for each call", |boot| {
        conformance::check(boot, 4, &["calls"])
    }),
    ("Linux's own tests of its vDSO", of_linux),
    ("conformance on one CPU", |boot| {
        conformance::check(boot, 1, &["conformance"])
    }),
    ("conformance on four CPUs", |boot| {
        conformance::check(boot, 4, &["conformance"])
    }),
    ("conformance of a static program with musl", |boot| {
        conformance::check(boot, 1, &["conformance-musl"])
    }),
    ("waits with a time-out, of each kind", |boot| {
        conformance::check(boot, 4, &["waits"])
    }),
    (
        "the running task's slot and the process's page under torture",
        torture,
    ),
    (
        "pages of the kernel's image, denied calls, and clocks that are set",
        |boot| conformance::check(boot, 4, &["table"]),
    ),
    ("one program on kernels of three ages", ages),
    ("a first program that is started without some calls", denied),
];

/// What is checked with `--all` only.
const LONG_TESTS: &[(&str, Test)] = &[(
    "a billion reads in order on four CPUs, while the clock is slewed and stepped",
    |boot| conformance::check(boot, 4, &["table", "reads", "1000000000"]),
)];

/// Prints what was read of each kind of task.
fn torture(boot: &Boot) -> Result<(), String> {
    let output = boot.output(4, &[], &["current"])?;
    for line in output.lines().filter(|line| line.contains(" wrong")) {
        println!("{line}");
    }
    conformance::verdict(&output)
}

/// The wall time that `date +%s` printed is between this machine's before and after.
fn is_now(output: &str, before: u64) -> Result<(), String> {
    let after = seconds();
    let mut numbers = output.lines().filter_map(|line| line.parse::<u64>().ok());
    match numbers.next() {
        Some(printed) if (before..=after).contains(&printed) => Ok(()),
        _ => Err(format!("no time from {before} to {after}: {output}")),
    }
}

fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn has_call(output: &str, name: &str) -> bool {
    output.contains(&format!("calls: __NR_{name} "))
}

/// Whether a clock was read by a system call: C libraries differ in which they make.
fn reads_clock_by_call(output: &str) -> bool {
    let calls = ["clock_gettime", "gettimeofday", "time"];
    calls.iter().any(|name| has_call(output, name))
}

fn clock_by_vdso(boot: &Boot) -> Result<(), String> {
    let before = seconds();
    let output = boot.output(1, &["count"], &["date", "+%s"])?;
    is_now(&output, before)?;
    if !has_call(&output, "write") || reads_clock_by_call(&output) {
        return Err(format!("the clock was read by system call: {output}"));
    }
    Ok(())
}

fn clock_by_call(boot: &Boot) -> Result<(), String> {
    let before = seconds();
    let output = boot.output(1, &["count", "vdso=off"], &["date", "+%s"])?;
    is_now(&output, before)?;
    if !reads_clock_by_call(&output) {
        return Err(format!("the clock was not read by system call: {output}"));
    }
    Ok(())
}

/// The symbols of the vDSO decide what a program does, and a kernel that counts calls shows it.
fn ages(boot: &Boot) -> Result<(), String> {
    let ages: [(&[&str], &str, &str); 3] = [
        (&["count", "vdso=off"], "call", "call"),
        (&["count", "vdso=old"], "function", "call"),
        (&["count"], "function", "function"),
    ];
    for (options, clock, random) in ages {
        let output = boot.output(1, options, &["table", "use"])?;
        expect(
            &output,
            &[&format!("clock by {clock}, random bytes by {random}")],
        )?;
        if reads_clock_by_call(&output) != (clock == "call") {
            return Err(format!(
                "{options:?}: the clock was not read by {clock}: {output}"
            ));
        }
    }
    Ok(())
}

fn denied(boot: &Boot) -> Result<(), String> {
    let sets = [("without=clock", "1"), ("without=random,socket", "6")];
    for (option, bits) in sets {
        boot.output(1, &[option], &["table", "denied", bits])?;
    }
    Ok(())
}

fn expect(output: &str, lines: &[&str]) -> Result<(), String> {
    let mut all = output.lines();
    for line in lines {
        if !all.any(|printed| printed == *line) {
            return Err(format!("`{line}` is missing or too early: {output}"));
        }
    }
    Ok(())
}

fn shell(boot: &Boot) -> Result<(), String> {
    let script = "trap 'echo caught' USR1; kill -USR1 $$; \
                  seq 3 | sort -r | cat; \
                  (sleep 0.2; echo slept) & wait; \
                  sh -c 'kill -KILL $$'; echo killed $?; \
                  sleep 100 & kill $!; wait $!; echo ended $?";
    let output = boot.output(1, &[], &["sh", "-c", script])?;
    let lines = ["caught", "3", "2", "1", "slept", "killed 137", "ended 143"];
    expect(&output, &lines)
}

fn four_cpus(boot: &Boot) -> Result<(), String> {
    let script = "for i in 1 2 3 4; do (seq 2000 | sort | wc -l) & done; wait; date +%s";
    let before = seconds();
    let output = boot.output(4, &[], &["sh", "-c", script])?;
    expect(&output, &["2000"; 4])?;
    let time = output.replace("2000\n", "");
    is_now(&time, before)
}

fn goroutines(boot: &Boot) -> Result<(), String> {
    let output = boot.output(2, &[], &["hello"])?;
    expect(&output, &["sum 45 slept true"])
}

fn of_linux(boot: &Boot) -> Result<(), String> {
    let names = ["gettimeofday", "getcpu", "abi", "clock_getres"];
    // 4: a function that this architecture's vDSO does not have, on Linux neither (KSFT_SKIP).
    let run = names.map(|name| format!("vdso_test_{name}; echo {name} ended $?"));
    let output = boot.output(1, &[], &["sh", "-c", &run.join("; ")])?;
    let ended = |line: &&str| line.ends_with(" ended 0") || line.ends_with(" ended 4");
    match output.lines().filter(ended).count() == names.len() && !output.contains("[FAIL]") {
        true => Ok(()),
        false => Err(format!("a test failed: {output}")),
    }
}
