//! Every system call that a command makes on files fails once, with each error that it may have:
//! the command succeeds all the same or says in a sentence why not, nothing is half-changed, and
//! nothing is left behind.
//!
//! strace injects the errors (strace(1), "Tampering"): it counts the calls of each name, so a call
//! is named by its name and its number in a run without errors.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use common::linux_tree::tree;
use tempfile::TempDir;
use vdsokit_publish::place;

/// The calls that fail, each with its errors.
const FAULTS: &[(&str, &[&str])] = &[
    ("openat", &["EPERM", "EMFILE", "ENOSPC", "EINTR"]),
    ("openat2", &["EPERM", "EMFILE", "EINTR"]),
    ("fstat", &["ENOMEM"]),
    ("statx", &["ENOMEM", "EACCES"]),
    ("newfstatat", &["ENOMEM", "EACCES"]),
    ("read", &["EIO", "EINTR"]),
    ("pread64", &["EIO", "EINTR"]),
    ("write", &["ENOSPC", "EDQUOT", "EIO", "EINTR"]),
    ("pwrite64", &["ENOSPC", "EIO", "EINTR"]),
    ("ftruncate", &["ENOSPC", "EPERM"]),
    ("fallocate", &["ENOSPC", "EINTR"]),
    ("mmap", &["ENOMEM", "EPERM"]),
    ("flock", &["EINTR", "ENOLCK"]),
    ("fchmod", &["EPERM"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("link", &["EPERM", "ENOSPC"]),
    ("linkat", &["EPERM", "ENOSPC"]),
    ("symlink", &["EPERM", "ENOSPC"]),
    ("symlinkat", &["EPERM", "ENOSPC"]),
    ("rename", &["EPERM", "ENOSPC"]),
    ("renameat", &["EPERM", "ENOSPC"]),
    ("renameat2", &["EPERM", "ENOSPC"]),
    ("mkdir", &["EPERM", "ENOSPC"]),
    ("mkdirat", &["EPERM", "ENOSPC"]),
    ("statfs", &["EIO"]),
    ("fstatfs", &["EIO"]),
    ("readlink", &["EIO"]),
    ("readlinkat", &["EIO"]),
    ("poll", &["EINTR", "ENOMEM"]),
    ("ppoll", &["EINTR", "ENOMEM"]),
];

const WEATHER: &str = "\
[vdso]
soname = \"libweather.so.1\"
version = \"WEATHER_1.0\"
[var.temperature]
type = \"f64\"
init = 1.5
[var.wind.fields.speed]
type = \"f64\"
[var.wind.fields.from]
type = \"str[16]\"
";

/// One call of a run, and the error that it returns.
#[derive(Clone, Copy, Debug)]
struct Fault {
    call: &'static str,
    number: usize,
    error: &'static str,
}

/// A command in a directory where a vDSO was built, or only its declaration.
struct Case {
    name: &'static str,
    arguments: &'static [&'static str],
    /// Whether `libweather.so.1` is there before.
    is_built: bool,
    /// What may lie in the directory afterwards, besides what the case began with.
    results: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "build",
        arguments: &["build", "weather.toml"],
        is_built: false,
        results: &[
            "libweather.so.1",
            "libweather.so",
            "weather.h",
            "weather.pc",
        ],
    },
    Case {
        name: "build again",
        arguments: &["build", "weather.toml"],
        is_built: true,
        results: &[],
    },
    Case {
        name: "serve a file",
        arguments: &["serve", "libweather.so.1", "--stdin"],
        is_built: true,
        results: &[],
    },
    Case {
        name: "serve a declaration",
        arguments: &["serve", "weather.toml", "--stdin"],
        is_built: false,
        results: &["libweather.so.1"],
    },
    Case {
        name: "set",
        arguments: &["set", "libweather.so.1", "temperature=21.5"],
        is_built: true,
        results: &[],
    },
    Case {
        name: "retire",
        arguments: &["retire", "libweather.so.1"],
        is_built: true,
        results: &[],
    },
    Case {
        name: "get",
        arguments: &["get", "libweather.so.1", "temperature"],
        is_built: true,
        results: &[],
    },
    Case {
        name: "check",
        arguments: &["check", "libweather.so.1"],
        is_built: true,
        results: &[],
    },
    Case {
        name: "ls",
        arguments: &["ls", "libweather.so.1"],
        is_built: true,
        results: &[],
    },
];

impl Case {
    fn directory(&self) -> TempDir {
        let base = place::base().expect("a place to publish in");
        let directory = tempfile::tempdir_in(base).expect("a directory");
        fs::write(directory.path().join("weather.toml"), WEATHER).expect("a declaration");
        if self.is_built {
            let build = run(directory.path(), &["build", "weather.toml"], &[]);
            assert!(build.status.success(), "{build:?}");
        }
        directory
    }

    /// What is wrong after `fault`, if anything.
    fn wrong_after(&self, fault: Fault, usual: ExitStatus) -> Option<String> {
        let directory = self.directory();
        let before = names(directory.path());
        let output = run_with(fault, directory.path(), self.arguments);
        let wrong = |what: &str| Some(format!("{what}: {}: {fault:?}: {output:?}", self.name));
        if let Some(what) = bad_end(&output) {
            return wrong(what);
        }

        let allowed = |name: &PathBuf| {
            before.contains(name)
                || self.results.iter().any(|result| name == Path::new(result))
                || is_lock(name)
        };
        let left: Vec<PathBuf> = names(directory.path()).into_iter().collect();
        if let Some(left) = left.iter().find(|name| !allowed(name)) {
            return wrong(&format!("{} is left behind", left.display()));
        }

        // Whatever happened, the same command works now, and the file is whole.
        let again = run(directory.path(), self.arguments, &[]);
        if again.status != usual {
            return wrong(&format!("does not work any more ({again:?})"));
        }
        if directory.path().join("libweather.so.1").exists() {
            let check = run(directory.path(), &["check", "libweather.so.1"], &[]);
            if !check.status.success() {
                return wrong(&format!("half-changed ({check:?})"));
            }
        }
        None
    }
}

/// Every fault of a command that is run in `directory`, and its exit status without a fault.
fn faults(directory: &Path, arguments: &[&str]) -> (Vec<Fault>, ExitStatus) {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let trace = ["-f", "-o", log.path().to_str().expect("a path in UTF-8")];
    let output = run(directory, arguments, &trace);
    assert!(output.status.code().is_some(), "{output:?}");
    let log = fs::read_to_string(log.path()).expect("strace wrote it");
    let mut counts = BTreeMap::new();
    let mut faults = Vec::new();
    for line in log.lines() {
        // `PID name(arguments…`
        let call = line
            .split_once(' ')
            .map_or(line, |(_, call)| call.trim_start());
        let Some((name, arguments)) = call.split_once('(') else {
            continue;
        };
        let Some((call, errors)) = FAULTS.iter().find(|(fault, _)| *fault == name) else {
            continue;
        };
        let number = counts.entry(*call).or_insert(0);
        *number += 1;
        if is_about_files(call, arguments) {
            faults.extend(errors.iter().map(|error| Fault {
                call,
                number: *number,
                error,
            }));
        }
    }
    assert!(!faults.is_empty(), "{arguments:?}: no call was seen");
    (faults, output.status)
}

/// Runs `vdso` with `fault`.
fn run_with(fault: Fault, directory: &Path, arguments: &[&str]) -> Output {
    let Fault {
        call,
        number,
        error,
    } = fault;
    let injection = format!("inject={call}:error={error}:when={number}");
    run(
        directory,
        arguments,
        &["-f", "-o", "/dev/null", "-e", &injection],
    )
}

/// What is wrong with how a command ended after a fault, if anything.
fn bad_end(output: &Output) -> Option<&'static str> {
    let errors = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        _ if errors.contains("panicked") => Some("panicked"),
        None => Some("ended by a signal"),
        // `check` prints its findings on the standard output.
        Some(0) => None,
        Some(_) if errors.trim().is_empty() && output.stdout.is_empty() => {
            Some("failed without a message")
        }
        Some(_) => None,
    }
}

/// Whether the call of this name and with these arguments is about a file: not memory for the
/// allocator, and not output to a terminal.
fn is_about_files(name: &str, arguments: &str) -> bool {
    match name {
        "mmap" => !arguments.contains("MAP_ANONYMOUS"),
        "write" => !arguments.starts_with("1,") && !arguments.starts_with("2,"),
        // Before main: the runtime looks whether the standard descriptors are open.
        "poll" => !arguments.contains("fd=1"),
        _ => true,
    }
}

/// The lock on a vDSO's name stays beside it, as long as the file does.
fn is_lock(name: &Path) -> bool {
    name == Path::new(".libweather.so.1.lock")
}

fn names(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| PathBuf::from(entry.expect("an entry").file_name()))
        .collect()
}

/// Runs `vdso` in a directory, under strace if it has options.
fn run(directory: &Path, arguments: &[&str], strace: &[&str]) -> Output {
    let vdso = env!("CARGO_BIN_EXE_vdso");
    let mut command = match strace {
        [] => Command::new(vdso),
        options => {
            let mut command = Command::new("strace");
            command.args(options).arg("--").arg(vdso);
            command
        }
    };
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[test]
fn a_command_survives_the_failure_of_any_system_call() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for case in CASES {
        let (faults, usual) = faults(case.directory().path(), case.arguments);
        count += faults.len();
        wrong.extend(
            faults
                .into_iter()
                .filter_map(|fault| case.wrong_after(fault, usual)),
        );
    }
    println!("{count} failures injected");
    assert!(
        wrong.is_empty(),
        "{} are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Every file below a directory, with its bytes.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files.extend(snapshot(&path)),
            false => {
                let bytes = fs::read(&path).expect("a file");
                files.insert(path, bytes);
            }
        }
    }
    files
}

#[test]
fn a_kernel_tree_is_changed_whole_or_not_at_all_when_a_system_call_fails() {
    let arguments = ["kernel", "add", "--clock", "--tree", "."];
    let relative = |directory: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
        let files = snapshot(directory).into_iter();
        let name = |path: PathBuf| path.strip_prefix(directory).expect("below it").to_owned();
        files.map(|(path, bytes)| (name(path), bytes)).collect()
    };
    let changed = tree();
    let before = relative(changed.path());
    let (faults, usual) = faults(changed.path(), &arguments);
    assert!(usual.success());
    let after = relative(changed.path());
    let mut wrong = Vec::new();
    for fault in &faults {
        let directory = tree();
        let output = run_with(*fault, directory.path(), &arguments);
        let found = relative(directory.path());
        let what = match bad_end(&output) {
            Some(what) => what,
            None if output.status.success() && found != after => "succeeded by half",
            None if !output.status.success() && found != before => "failed by half",
            None => continue,
        };
        wrong.push(format!("{what}: {fault:?}: {output:?}"));
    }
    println!("{} failures injected", faults.len());
    assert!(
        wrong.is_empty(),
        "{} are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
