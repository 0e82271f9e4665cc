//! Attaching to live processes and detaching again.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::attaching::{NOW, Talker, attacher, refuses};
use common::{SAID, compiled, example, images, installed, status_field, text};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

#[test]
fn a_shell_there_and_back() {
    for image in images().each() {
        let mut shell = Talker::shell(NOW);
        assert_ne!(shell.ask(), SAID);
        let before = shell.memory();
        for _ in 0..3 {
            shell.attach(image);
            assert_eq!(shell.ask(), SAID);
            shell.detach();
            assert_ne!(shell.ask(), SAID);
        }
        assert!(
            shell.memory() == before,
            "mapping by mapping and byte by byte"
        );
        shell.end();
    }
}

#[test]
fn static_programs_and_other_languages() {
    let mut programs: Vec<Command> = Vec::new();
    if installed("python3").is_some() {
        let mut python = Command::new("python3");
        python.args([
            "-c",
            "import sys, time\nprint('ready', flush=True)\n\
             for line in sys.stdin: print(int(time.time()), flush=True)",
        ]);
        programs.push(python);
    }
    if installed("node").is_some() {
        let mut node = Command::new("node");
        node.args([
            "-e",
            "console.log('ready'); process.stdin.on('data', () => \
             console.log(Math.floor(Date.now() / 1000)))",
        ]);
        programs.push(node);
    }
    for command in &mut programs {
        let mut program = Talker::start(command);
        assert_ne!(program.ask(), SAID);
        program.attach(&images().links);
        assert_eq!(program.ask(), SAID, "{command:?}");
        program.detach();
        assert_ne!(program.ask(), SAID);
        program.end();
    }
}

#[test]
fn threads_that_read_the_clock_all_the_while() {
    for flags in [&["-pthread"][..], &["-pthread", "-static"]] {
        let program = Talker::start(Command::new(compiled("busy", flags)).arg(SAID));
        let mut attached = 0;
        for round in 0..20 {
            let image = images().each()[round % 2];
            let output = attacher(&[&program.pid(), text(image)]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if !output.status.success() {
                // The handler had interrupted a function of the vDSO: another time, then.
                assert!(said.contains("inside a vDSO function"), "{output:?}");
                continue;
            }
            attached += 1;
            loop {
                let output = attacher(&[&program.pid()]);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                if output.status.success() {
                    break;
                }
                assert!(said.contains("inside a vDSO function"), "{output:?}");
            }
        }
        assert!(attached > 0);
        // Both clocks were read. A round may have been too short for the other one.
        assert!(program.end().starts_with('1'));
    }
}

#[test]
fn no_system_call_is_interrupted() {
    let mut program = Talker::start(&mut Command::new(compiled("waits", &["-pthread"])));
    let directory = format!("/proc/{}/task", program.pid());
    let threads = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&directory).expect("threads");
        entries
            .map(|entry| entry.expect("a thread").path())
            .collect()
    };
    assert_eq!(threads().len(), 10);
    // Every thread is in its system call.
    for thread in threads() {
        while fs::read_to_string(thread.join("syscall"))
            .expect("readable")
            .starts_with("running")
        {
            std::thread::yield_now();
        }
    }
    for _ in 0..5 {
        program.attach(&images().links);
        program.detach();
    }
    program.attach(&images().plain);
    assert_eq!(program.ask(), SAID);
    assert!(program.child.wait().expect("an end").success());
}

#[test]
fn a_forked_child_has_it_and_an_executed_program_does_not() {
    let mut shell = Talker::shell(&format!("({NOW}) & wait; date +%s"));
    shell.attach(&images().plain);
    assert_eq!(shell.ask(), SAID);
    assert_ne!(shell.line(), SAID);
    shell.end();
}

#[test]
fn a_followed_process_hands_it_on() {
    let mut shell = Talker::shell(&format!("{NOW}; date +%s; sh -c 'date +%s; exit'"));
    let mut follower = Command::new(example("attach"))
        .args(["--follow", &shell.pid(), text(&images().links)])
        .spawn()
        .expect("the attacher starts");
    // It is attached when it is traced and runs.
    let maps = format!("/proc/{}/maps", shell.pid());
    while !fs::read_to_string(&maps)
        .expect("maps")
        .contains("vdso-front")
    {
        std::thread::yield_now();
    }
    for _ in 0..3 {
        assert_eq!([shell.ask(), shell.line(), shell.line()], [SAID; 3]);
    }
    follower.kill().expect("kill");
    follower.wait().expect("an end");
    assert_eq!(shell.ask(), SAID, "what it has stays");
    assert_ne!(shell.line(), SAID, "what it starts is not followed");
    assert_ne!(shell.line(), SAID);
    shell.detach();
    assert_ne!(shell.ask(), SAID);
    shell.line();
    shell.line();
    shell.end();
}

#[test]
fn a_process_that_ignores_traps_is_attached_to() {
    let script = format!("trap '' TRAP SEGV; echo ready; while read -r line; do {NOW}; done");
    let mut ignoring = Talker::start(Command::new("bash").args(["-c", &script]));
    let ignored = status_field(ignoring.child.id(), "SigIgn");
    ignoring.attach(&images().links);
    assert_eq!(ignoring.ask(), SAID);
    ignoring.detach();
    assert_eq!(status_field(ignoring.child.id(), "SigIgn"), ignored);
    ignoring.end();
}

#[test]
fn a_process_in_an_odd_state_is_left_as_it_was() {
    let image = text(&images().plain);
    refuses(&["0", image], "no process 0");
    refuses(&[&u32::MAX.to_string(), image], "no process");

    let mut shell = Talker::shell(NOW);
    let pid = shell.pid();
    refuses(&[&pid], "no vDSO that was attached");
    let before = shell.memory();

    let process = Pid::from_child(&shell.child);
    kill_process(process, Signal::STOP).expect("kill");
    waitpid(Some(process), WaitOptions::UNTRACED).expect("wait");
    refuses(&[&pid, image], "it is stopped");
    // Let go, it takes up its stop again by itself: that is no event for its parent.
    let is_stopped = || {
        std::thread::yield_now();
        let state = status_field(process.as_raw_nonzero().get() as u32, "State");
        state.is_some_and(|state| state.starts_with('T'))
    };
    assert!((0..100_000).any(|_| is_stopped()));
    kill_process(process, Signal::CONT).expect("kill");

    shell.attach(&images().plain);
    refuses(&[&pid, image], "it has been attached to before");
    shell.detach();
    assert!(shell.memory() == before);
    assert_ne!(shell.ask(), SAID);
    shell.end();

    // One that began with a delivered vDSO, beside which the kernel's stays.
    let mut runner = Command::new(common::runner());
    runner
        .arg("--with")
        .arg(&images().beast)
        .arg(&images().links);
    let mut ours = Talker::start(runner.args(["bash", "-c", "echo ready; read"]));
    refuses(&[&ours.pid(), image], "started with a delivered vDSO");
    ours.child.kill().expect("kill");
    ours.child.wait().expect("an end");
}

/// A kernel that seals its mappings at exec made the last step of an attach fail, for no reason that
/// was named.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_process_whose_vdso_is_sealed_is_refused_with_the_reason() {
    if installed("python3").is_none() {
        return;
    }
    // mseal(2), which glibc has no function for yet.
    let script = "\
import ctypes, sys, time
libc = ctypes.CDLL(None, use_errno=True)
for line in open('/proc/self/maps'):
    if line.rstrip().endswith(('[vvar]', '[vvar_vclock]', '[vdso]')):
        start, end = (int(text, 16) for text in line.split()[0].split('-'))
        if libc.syscall(462, ctypes.c_long(start), ctypes.c_long(end - start), 0):
            print('refused')
            sys.exit()
print('ready', flush=True)
for line in sys.stdin: print(int(time.time()), flush=True)";
    let mut python = Command::new("python3");
    python.args(["-c", script]);
    let output = python.output().expect("python3");
    if output.stdout != b"ready\n" {
        common::skip("the kernel has no mseal(2): it is older than Linux 6.10");
        return;
    }
    let mut program = Talker::start(&mut python);
    let before = program.memory();
    for image in images().each() {
        refuses(&[&program.pid(), text(image)], "its vDSO is sealed");
        assert!(program.memory() == before);
    }
    assert_ne!(program.ask(), SAID);
    drop(program.end_by(""));
}
