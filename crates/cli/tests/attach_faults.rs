//! Every system call that `vdso attach` and `vdso detach` make on a process and on files fails once: the
//! program goes on, the command says why, and afterwards another one does what it is to do.
//!
//! strace injects the errors, as in `faults.rs`. `VDSOKIT_ALL=1` tries each call; otherwise it is a
//! sample.
#![cfg(target_arch = "x86_64")]

mod common;

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Output};

use common::{Talk, YEARS, installed, output, said, vdso};

/// The calls that fail, each with its errors.
const FAULTS: &[(&str, &[&str])] = &[
    ("ptrace", &["EPERM", "EIO"]),
    ("wait4", &["EINTR"]),
    ("pread64", &["EIO", "EINTR"]),
    ("pwrite64", &["EIO", "ENOMEM"]),
    ("read", &["EIO", "EINTR"]),
    ("openat", &["EMFILE", "EPERM"]),
    ("memfd_create", &["EMFILE", "ENOMEM"]),
    ("write", &["ENOSPC"]),
    ("statx", &["ENOMEM"]),
    ("pidfd_open", &["EMFILE"]),
    ("pidfd_getfd", &["EPERM"]),
];

/// A call of a thread, by its name and number, with the error that it returns.
#[derive(Debug)]
struct Fault(String, usize, &'static str);

fn strace(options: &[&str], command: &[&str]) -> Output {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq"]).args(options).arg("--");
    strace.arg(env!("CARGO_BIN_EXE_vdso")).args(command);
    strace.output().expect("strace runs")
}

/// The faults of a command, which succeeds without.
fn faults(command: &[&str]) -> Vec<Fault> {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let path = log.path().to_str().expect("a path of text");
    let output = strace(&["-o", path], command);
    assert!(output.status.success(), "{output:?}");
    let log = fs::read_to_string(path).expect("strace wrote it");
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    let mut faults = Vec::new();
    for line in log.lines() {
        // `PID name(arguments…`
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let Some((name, arguments)) = call.trim_start().split_once('(') else {
            continue;
        };
        let count = counts.entry((thread, name)).or_insert(0);
        *count += 1;
        let is_output = name == "write" && arguments.starts_with(['1', '2']);
        let known = FAULTS.iter().find(|(known, _)| *known == name);
        if let Some((_, errors)) = known.filter(|_| !is_output) {
            let fault = |error: &&'static str| Fault(name.to_owned(), *count, error);
            faults.extend(errors.iter().map(fault));
        }
    }
    faults
}

/// Every n-th of them, or all.
fn sample(faults: Vec<Fault>) -> impl Iterator<Item = Fault> {
    let step = match std::env::var_os("VDSOKIT_ALL") {
        Some(_) => 1,
        None => (faults.len() / 30).max(1),
    };
    faults.into_iter().step_by(step)
}

fn inject(Fault(name, number, error): &Fault, command: &[&str]) -> Output {
    let injection = format!("inject={name}:error={error}:when={number}");
    strace(&["-o", "/dev/null", "-e", &injection], command)
}

#[track_caller]
fn says_why(fault: &Fault, output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{fault:?}: {said}");
    let is_told = output.status.success() || !said.trim().is_empty();
    assert!(
        output.status.code().is_some() && is_told,
        "{fault:?}: {output:?}"
    );
}

#[test]
fn a_program_survives_the_failure_of_any_call_of_attach_and_detach() {
    if !installed("python3") || !installed("strace") {
        return;
    }
    let mut program = Talk::start(Command::new("python3").args(["-c", YEARS]));
    let real = program.ask("");
    let pid = program.pid();
    let attach = ["attach", &pid, "--time", "2038-06-01"];
    let detach = ["detach", &pid];
    let (mut count, mut attaching) = (0, faults(&attach));
    let mut detaching = faults(&detach);
    // Without an error the first failures would be those of the loader.
    attaching.reverse();
    detaching.reverse();
    for fault in sample(attaching) {
        count += 1;
        let output_with = inject(&fault, &attach);
        says_why(&fault, &output_with);
        program.ask("");
        // Whether or not it was attached to, it is now.
        let _ = vdso(&attach).output();
        assert_eq!(program.ask(""), "2038", "{fault:?}: {output_with:?}");
        said(&detach);
        assert_eq!(program.ask(""), real, "{fault:?}");
    }
    for fault in sample(detaching) {
        count += 1;
        said(&attach);
        let output_with = inject(&fault, &detach);
        says_why(&fault, &output_with);
        program.ask("");
        let _ = output(&detach);
        assert_eq!(program.ask(""), real, "{fault:?}: {output_with:?}");
    }
    println!("{count} failures injected");
}
