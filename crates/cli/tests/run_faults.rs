//! What becomes of a program under `vdso run` when the process that serves it, or its keeper, is killed,
//! or when a system call of these or of the launch fails: it runs to its end with its own exit status,
//! or it does not begin and the launch says why.
//!
//! `kill_at` (tests/programs of vdsokit-deliver) traces the launch, releases the program, and stops its
//! server at each system call. `VDSOKIT_ALL=1` tries each call; otherwise it is a sample.
#![cfg(target_arch = "x86_64")]

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use common::compiled;

const SOURCE: &str = include_str!("../../deliver/tests/programs/kill_at.c");

/// A program that says the year, starts others, waits and has a status of its own.
const SCRIPT: &str = "date +%Y; sleep 0.01; (date +%Y); date +%Y | cat; exit 7";
const LINES: usize = 3;

/// The year at which it runs.
const YEAR: &str = "2038";

/// The ways of serving it.
const WAYS: [&[&str]; 3] = [&[], &["--strict"], &["--no-follow"]];

fn tool() -> &'static Path {
    static TOOL: OnceLock<PathBuf> = OnceLock::new();
    TOOL.get_or_init(|| compiled("kill_at", SOURCE, &[]))
}

/// A 32-bit program that does the same alone.
const NARROW: &str = r#"
#include <stdio.h>
#include <time.h>
int main(void)
{
    for (int line = 0; line < 3; line++) {
        time_t now = time(NULL);
        printf("%d\n", gmtime(&now)->tm_year + 1900);
    }
    return 7;
}
"#;

fn narrow() -> PathBuf {
    // Times of 32 bits hold the year only until January.
    let flags = ["-m32", "-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64"];
    let headers = ["-idirafter", "/usr/include/x86_64-linux-gnu"];
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    let compile = || compiled("narrow", NARROW, &[&flags[..], &headers].concat());
    COMPILED.get_or_init(compile).clone()
}

/// Runs the program, and stops `role`, an option of `kill_at`, at call `number`.
fn run(role: &[&str], number: usize, way: &[&str]) -> Output {
    run_program(&["sh", "-c", SCRIPT], role, number, way)
}

/// [`run`] with another `program`.
fn run_program(program: &[&str], role: &[&str], number: usize, way: &[&str]) -> Output {
    let mut command = Command::new(tool());
    command.arg(number.to_string()).args(role);
    command.args([env!("CARGO_BIN_EXE_vdso"), "run"]).args(way);
    command.args(["--time", "2038-06-01", "--"]).args(program);
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A system call, and the request of an ioctl(2) or ptrace(2).
type Call = (i64, i64);

/// The calls of a run in which nothing fails.
fn calls(role: &str, way: &[&str]) -> Vec<Call> {
    calls_of(&run(&[role], 0, way))
}

/// The calls that `output` of such a run lists.
fn calls_of(output: &Output) -> Vec<Call> {
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().expect("the calls");
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{said}"));
    let call = |word: &str| {
        let (call, request) = word.split_once('/').unwrap_or_else(|| panic!("{said}"));
        (number(call), number(request))
    };
    let calls: Vec<Call> = last.split_whitespace().map(call).collect();
    assert!(!calls.is_empty(), "{said}");
    calls
}

/// Every n-th of them, `few` altogether, or all.
fn sample<T>(all: impl IntoIterator<Item = T>, few: usize) -> Vec<T> {
    let all: Vec<T> = all.into_iter().collect();
    let step = match std::env::var_os("VDSOKIT_ALL") {
        Some(_) => 1,
        None => (all.len() / few).max(1),
    };
    all.into_iter().step_by(step).collect()
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The program did not begin, and the launch says why.
    Untried,
    /// It ran at its time.
    Served,
    /// It ran, and a part of it in real time.
    Real,
}

/// How `output` ended; it panics at any other end.
#[track_caller]
fn end(output: &Output, what: &str) -> End {
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{what}: {output:?}");
    let lines: Vec<&str> = said.lines().collect();
    if lines.is_empty() && matches!(output.status.code(), Some(1..=127)) && !errors.is_empty() {
        return End::Untried;
    }
    assert_eq!(output.status.code(), Some(7), "{what}: {output:?}");
    assert_eq!(lines.len(), LINES, "{what}: {output:?}");
    match lines.iter().all(|line| *line == YEAR) {
        true => End::Served,
        false => End::Real,
    }
}

#[test]
fn a_program_outlives_whatever_serves_it() {
    let (mut count, mut untried) = (0, 0);
    for way in WAYS {
        for role in ["--server", "--keeper"] {
            // A tracer has no keeper.
            if role == "--keeper" && way.contains(&"--no-follow") {
                continue;
            }
            let all = calls(role, way).len();
            for number in sample(1..=all, 10) {
                let output = run(&[role], number, way);
                let what = format!("{way:?}, {role} killed at call {number} of {all}");
                untried += usize::from(end(&output, &what) == End::Untried);
                count += 1;
            }
            // Between two calls.
            for number in sample((1..=all).step_by(9), 3) {
                let output = run(&[role, "--steps", "100"], number, way);
                end(
                    &output,
                    &format!("{way:?}, {role} 100 steps behind call {number}"),
                );
                count += 1;
            }
        }
    }
    println!("killed at {count} places; the program had not begun at {untried} of them");
    assert!(untried * 2 < count, "{untried} of {count}");
}

#[test]
fn a_32_bit_program_outlives_whatever_serves_it() {
    let narrow = narrow();
    let program = [narrow.to_str().expect("text")];
    for way in [&[][..], &["--no-follow"]] {
        let output = run_program(&program, &["--server"], 0, way);
        let all = calls_of(&output).len();
        assert_eq!(end(&output, "nothing is killed"), End::Served);
        let (mut served, mut real) = (0, 0);
        for number in sample(1..=all, 40) {
            let output = run_program(&program, &["--server"], number, way);
            let what = format!("{way:?}, killed at call {number} of {all}");
            match end(&output, &what) {
                End::Served => served += 1,
                End::Real => real += 1,
                End::Untried => {}
            }
        }
        println!("{way:?}: {all} calls; {served} served, {real} in real time");
        assert!(served > 0 && real > 0, "{served} and {real} of {all}");
    }
}

#[test]
fn with_require_no_part_sees_real_time_when_whatever_serves_it_is_killed() {
    let way = ["--require"];
    let (mut count, mut ended) = (0, 0);
    for role in ["--server", "--keeper"] {
        let all = calls(role, &way).len();
        for number in sample(1..=all, 8) {
            let output = run(&[role], number, &way);
            let what = format!("{role} killed at call {number} of {all}: {output:?}");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.lines().all(|line| line == YEAR), "{what}");
            // The kernel kills a program whose supervisor dies just before it begins.
            let killed = 128 + libc::SIGKILL;
            let code = output.status.code();
            assert!(
                code.is_some_and(|code| [7, 125, killed].contains(&code)),
                "{what}"
            );
            ended += usize::from(code != Some(7));
            count += 1;
        }
    }
    println!("killed at {count} calls, which ended the program at {ended} of them");
}

/// The errors that a call may have where memory, descriptors, processes or rights are missing, or when
/// the program ends meanwhile.
fn errors((call, request): Call) -> &'static [i32] {
    /// SECCOMP_IOCTL_NOTIF_RECV (include/uapi/linux/seccomp.h).
    const RECEIVE: i64 = 0xc050_2100;
    let resumes = [
        libc::PTRACE_CONT,
        libc::PTRACE_DETACH,
        libc::PTRACE_SYSCALL,
        libc::PTRACE_LISTEN,
    ];
    match call {
        // A stopped thread that lives is always resumed; ESRCH means that it was killed.
        libc::SYS_ptrace if resumes.map(i64::from).contains(&request) => &[],
        libc::SYS_ptrace => &[libc::EPERM, libc::EIO],
        libc::SYS_wait4 => &[libc::EINTR],
        libc::SYS_openat => &[libc::EMFILE, libc::ENOENT, libc::EACCES],
        libc::SYS_read => &[libc::EIO, libc::EINTR],
        libc::SYS_pread64 | libc::SYS_pwrite64 => &[libc::EIO],
        libc::SYS_process_vm_readv => &[libc::EFAULT],
        libc::SYS_memfd_create => &[libc::EMFILE, libc::ENOMEM],
        libc::SYS_pidfd_open | libc::SYS_signalfd4 | libc::SYS_pipe2 => &[libc::EMFILE],
        libc::SYS_poll | libc::SYS_ppoll => &[libc::EINTR, libc::ENOMEM],
        libc::SYS_clone | libc::SYS_clone3 => &[libc::EAGAIN],
        libc::SYS_dup2 | libc::SYS_dup3 => &[libc::EMFILE],
        libc::SYS_setpgid | libc::SYS_kcmp | libc::SYS_prctl => &[libc::EPERM],
        libc::SYS_close_range | libc::SYS_recvmsg | libc::SYS_statx => &[libc::ENOMEM],
        libc::SYS_sendmsg | libc::SYS_sendto => &[libc::ENOBUFS],
        libc::SYS_socketpair | libc::SYS_seccomp => &[libc::EMFILE, libc::EPERM],
        libc::SYS_execve => &[libc::ENOMEM],
        // What is not received is received again. An answer that is lost is lost: the kernel has no such
        // error while the caller lives.
        libc::SYS_ioctl if request == RECEIVE => &[libc::EINTR, libc::ENOENT],
        _ => &[],
    }
}

/// How many failures were injected, and what became of the program.
#[derive(Debug, Default)]
struct Injected {
    count: usize,
    untried: usize,
    real: usize,
}

impl Injected {
    /// Lets each call of `role` fail, or `few` of them altogether, in runs of `program`.
    fn inject(&mut self, program: &[&str], way: &[&str], role: &str, few: usize) {
        let calls = calls_of(&run_program(program, &[role], 0, way));
        // Before main there is the loader, and then Rust's runtime looks whether the standard
        // descriptors are open.
        let main = calls.iter().position(|(call, _)| *call == libc::SYS_poll);
        let main = main.filter(|_| role == "--client").map_or(0, |at| at + 1);
        let mut ordinals = HashMap::new();
        let faults = calls.into_iter().enumerate().flat_map(|(at, call)| {
            let ordinal = ordinals.entry(call).or_insert(0);
            *ordinal += 1;
            let (ordinal, errors) = (*ordinal, errors(call));
            let errors = if at < main { &[] } else { errors };
            errors.iter().map(move |error| (ordinal, call, *error))
        });
        for (ordinal, call, error) in sample(faults, few) {
            // How often memory is asked for differs from run to run.
            let (only, error) = (format!("{}/{}", call.0, call.1), error.to_string());
            let fault = [role, "--only", &only, "--fails", &error];
            let output = run_program(program, &fault, ordinal, way);
            let what = format!("{way:?}, {role} call {ordinal} of {call:?}, error {error}");
            self.count += 1;
            match end(&output, &what) {
                End::Served => {}
                End::Untried => self.untried += 1,
                // `date` is no program of the tree.
                End::Real if way.contains(&"--no-follow") => {}
                End::Real => {
                    self.real += 1;
                    assert!(!output.stderr.is_empty(), "unsaid: {what}: {output:?}");
                }
            }
        }
    }
}

#[test]
fn a_program_survives_the_failure_of_any_call_of_its_launch_and_of_its_server() {
    let mut injected = Injected::default();
    for way in WAYS {
        for role in ["--client", "--server"] {
            // The first test has the ways of serving, and this one those of launching.
            if role == "--client" && !way.is_empty() {
                continue;
            }
            injected.inject(&["sh", "-c", SCRIPT], way, role, 12);
        }
    }
    println!("{injected:?}");
}

#[test]
fn a_32_bit_program_survives_the_failure_of_any_call_of_its_server() {
    let narrow = narrow();
    let program = [narrow.to_str().expect("text")];
    let mut injected = Injected::default();
    for way in [&[][..], &["--no-follow"]] {
        injected.inject(&program, way, "--server", 8);
    }
    println!("{injected:?}");
}
