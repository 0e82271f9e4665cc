//! A tracer that is killed at any of its system calls: the program goes on as it was, or with the
//! object, and can be attached to and restored afterwards.
//!
//! The tracer is itself traced by this test, with PTRACE_O_TRACESYSGOOD, and killed at the start of
//! its n-th call, for each n of a run. `VDSOKIT_ALL=1` tries each n; otherwise it is a sample.

mod common;

use std::fs;
use std::process::{Command, Output};

use common::attaching::{NOW, Talker, attacher, succeeds};
use common::{SAID, compiled, example, images, text};

/// Kills `command` and all that it starts at the start of call `number`, counted over all its
/// threads and children. Returns whether it had so many calls.
fn killed(command: &[&str], number: usize) -> bool {
    let tracer = compiled("kill_at", &[]);
    let status = Command::new(tracer)
        .arg(number.to_string())
        .args(command)
        .status();
    match status.expect("it runs").code() {
        Some(0) => false,
        Some(9) => true,
        other => panic!("{command:?}: {other:?}"),
    }
}

/// The calls at which to kill a command that makes `count`.
fn sample(count: usize) -> Vec<usize> {
    let step = match std::env::var_os("VDSOKIT_ALL") {
        Some(_) => 1,
        None => (count / 25).max(1),
    };
    (1..=count).step_by(step).collect()
}

/// The mappings of a program and the bytes of its vDSO, but for addresses that nothing may access: a
/// reservation may stay.
fn memory(program: &Talker) -> (Vec<String>, Vec<u8>) {
    let (maps, bytes) = program.memory();
    let lines = maps
        .lines()
        .filter(|line| !line.contains(" ---p 00000000 00:00 0"));
    (lines.map(str::to_owned).collect(), bytes)
}

/// Asserts that the memory of a program is what it was `before` a tracer was killed at call `number`.
#[track_caller]
fn is_as(program: &Talker, before: &(Vec<String>, Vec<u8>), number: usize) {
    let (maps, bytes) = memory(program);
    let only = |here: &[String], there: &[String]| {
        let found: Vec<String> = here
            .iter()
            .filter(|line| !there.contains(line))
            .cloned()
            .collect();
        found
    };
    let (gone, new) = (only(&before.0, &maps), only(&maps, &before.0));
    assert!(
        gone.is_empty() && new.is_empty(),
        "call {number}: {gone:?} became {new:?}"
    );
    let differs = bytes
        .iter()
        .zip(&before.1)
        .position(|(now, then)| now != then);
    assert_eq!(differs, None, "call {number}: a byte of its vDSO");
}

fn calls(command: &[&str]) -> usize {
    let tracer = compiled("kill_at", &[]);
    let output = Command::new(tracer)
        .arg("0")
        .args(command)
        .output()
        .expect("it runs");
    counted(&output)
}

/// How many calls `kill_at 0` has printed.
fn counted(output: &Output) -> usize {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    let count = last.split_whitespace().count();
    assert!(count > 0, "{output:?}");
    count
}

#[test]
fn a_tracer_that_is_killed_while_it_attaches_harms_nothing() {
    let attach = example("attach");
    let attach = text(&attach);
    let mut stopped = 0;
    for image in images().each() {
        let mut shell = Talker::shell(NOW);
        let before = memory(&shell);
        let pid = shell.pid();
        let count = calls(&[attach, &pid, text(image)]);
        assert_eq!(shell.ask(), SAID);
        for number in sample(count) {
            succeeds(attacher(&[&pid]));
            is_as(&shell, &before, number);
            let _ = killed(&[attach, &pid, text(image)], number);
            stopped += 1;
            // Whichever time it is, it runs; and whatever was done can be undone or done again.
            shell.ask();
            let _ = attacher(&[&pid, text(image)]);
            assert_eq!(shell.ask(), SAID, "call {number} of {count}");
        }
        succeeds(attacher(&[&pid]));
        shell.end();
    }
    println!("killed at {stopped} calls");
}

#[test]
fn a_tracer_that_is_killed_while_it_detaches_harms_nothing() {
    let attach = example("attach");
    let attach = text(&attach);
    let image = &images().links;
    let mut shell = Talker::shell(NOW);
    let pid = shell.pid();
    let before = memory(&shell);
    shell.attach(image);
    let count = calls(&[attach, &pid]);
    let numbers = sample(count);
    for &number in &numbers {
        shell.attach(image);
        let _ = killed(&[attach, &pid], number);
        shell.ask();
        let _ = attacher(&[&pid]);
        assert_ne!(shell.ask(), SAID, "call {number} of {count}");
        is_as(&shell, &before, number);
    }
    println!("killed at {} calls", numbers.len());
    shell.end();
}

/// Threads in every kind of wait, with signals blocked and handled: none may notice.
#[test]
fn threads_go_on_when_a_tracer_is_killed() {
    let attach = example("attach");
    let attach = text(&attach);
    let image = text(&images().links).to_owned();
    let program = Talker::start(Command::new(compiled("busy", &["-pthread"])).arg(SAID));
    let pid = program.pid();
    let command = [attach, &pid, &image];
    let count = calls(&command);
    let _ = attacher(&[&pid]);
    for number in sample(count) {
        killed(&command, number);
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        assert!(
            status.is_ok_and(|status| !status.contains("zombie")),
            "call {number} of {count}"
        );
        let _ = attacher(&[&pid]);
    }
    program.end();
}

#[test]
fn a_tracer_that_is_killed_while_it_launches_a_program_harms_nothing() {
    let run = common::runner();
    let script = "echo one; sh -c 'echo two'; (echo three); sleep 0.01; echo four";
    let command = [text(&run), text(&images().links), "sh", "-c", script];
    // The program itself is not killed, but its tracer.
    let tracer = compiled("kill_at", &[]);
    let output = |number: usize| {
        let mut command_line = Command::new(&tracer);
        command_line
            .arg(number.to_string())
            .arg("--server")
            .args(command);
        command_line.output().expect("it runs")
    };
    let count = counted(&output(0));
    let (numbers, mut untried) = (sample(count), 0);
    for &number in &numbers {
        let output = output(number);
        let said = String::from_utf8_lossy(&output.stdout);
        // It may have been killed before it served the program, which is then not tried.
        if output.status.success() || !said.is_empty() {
            assert_eq!(
                said, "one\ntwo\nthree\nfour\n",
                "call {number} of {count}: {output:?}"
            );
        } else {
            untried += 1;
        }
    }
    println!("killed at {} calls", numbers.len());
    assert!(untried < numbers.len() / 2, "{untried} of {count}");
}
