//! Waits, time-outs and timers of programs at another time.
#![cfg(target_arch = "x86_64")]

mod common;
#[path = "waits/cpython.rs"]
mod cpython;
#[path = "waits/golang.rs"]
mod golang;
#[path = "waits/languages.rs"]
mod languages;
#[path = "waits/suites.rs"]
mod suites;
#[path = "waits/timers.rs"]
mod timers;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use common::{compiled, debian, installed, output, said, scratch, vdso};

/// How long a wait may last that is not converted, as a multiple of one that is. Only a hang or a
/// wait in real time gets there.
const TOO_LONG: u64 = 50;

/// A source file of this directory, in a directory of its own.
fn source(name: &str, contents: &str) -> String {
    let file = scratch(&format!("languages-{name}")).join(name);
    fs::write(&file, contents).expect("a source file");
    text(&file).to_owned()
}

/// The program that waits in every way.
fn kinds(flags: &[&str]) -> String {
    let source = include_str!("waits/kinds.c");
    let name = format!("kinds{}", flags.concat());
    text(&compiled(&name, source, flags)).to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// Runs all kinds of waits for `seconds` of the program's own time: none may end before, or only
/// in real time.
#[track_caller]
fn waits(options: &[&str], program: &str, seconds: u64, but: &[&str]) {
    let seconds_text = seconds.to_string();
    let command = [&["run"], options, &["--", program, &seconds_text], but].concat();
    let output = output(&command);
    let lines = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<_> = lines.lines().collect();
    assert!(lines.len() + but.len() >= 24, "{lines:?}");
    for line in lines {
        let fields: Vec<_> = line.split(' ').collect();
        let [kind, milliseconds, how] = fields[..] else {
            panic!("{line}");
        };
        let passed: u64 = milliseconds.parse().expect("a number");
        assert_eq!(how, "right", "{options:?}: {kind} after {passed} ms");
        // The kernel's own clocks are read one after another.
        assert!(passed + 1 >= seconds * 1000, "{options:?}: {line}");
        assert!(passed < seconds * 1000 * TOO_LONG, "{options:?}: {line}");
    }
}

#[test]
fn deadlines_are_met_at_an_offset() {
    let program = kinds(&[]);
    waits(&["--offset", "+1d"], &program, 1, &[]);
    waits(&["--offset=-1d"], &program, 1, &[]);
    waits(&["--time", "2000-01-01"], &program, 1, &[]);
}

#[test]
fn waits_follow_a_rate() {
    waits(&["--rate", "100"], &kinds(&[]), 100, &[]);
    waits(&["--rate", "100"], &kinds(&["-static"]), 100, &[]);
    // A wait in real time ends before.
    waits(&["--rate", "0.5"], &kinds(&[]), 1, &[]);
    waits(&["--strict", "--rate", "100"], &kinds(&[]), 100, &[]);
}

#[test]
fn time_in_which_nothing_runs_is_skipped() {
    let start = Instant::now();
    waits(&["--skip-idle"], &kinds(&[]), 3600, &[]);
    assert!(start.elapsed().as_secs() < 3600);
}

#[test]
fn the_order_of_deadlines_is_kept_across_processes() {
    let script = "(sleep 300; echo c) & (sleep 100; echo a) & (sleep 200; echo b) & wait";
    let command = ["run", "--skip-idle", "--", "sh", "-c", script];
    assert_eq!(said(&command), "a\nb\nc\n");
}

/// The server works for much longer than the threshold, in a process that it starts.
#[test]
fn time_is_not_skipped_while_a_process_outside_runs_that_is_waited_for() {
    let directory = scratch("busy-on");
    for name in ["request", "answer"] {
        let pipe = directory.join(name);
        let _ = fs::remove_file(&pipe);
        let made = Command::new("mkfifo").arg(pipe).status();
        assert!(made.expect("mkfifo runs").success());
    }
    let mut server = Command::new("sh");
    let work = "read x <request; \
                (i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done); echo y >answer";
    let mut server = server
        .args(["-c", work])
        .current_dir(&directory)
        .spawn()
        .expect("it runs");
    let client = format!(
        "cd {}; exec 3<>answer; echo x >request; read -t 3600 -u 3 line; echo $? $line",
        text(&directory)
    );
    let pid = server.id().to_string();
    let options = ["run", "--skip-idle", "--busy-on", &pid];
    let command = [&options[..], &["--", "bash", "-c", &client]].concat();
    assert_eq!(said(&command), "0 y\n");
    assert!(server.wait().expect("it ends").success());
    let ended = output(&["run", "--skip-idle", "--busy-on", &pid, "--", "true"]);
    assert_eq!(ended.status.code(), Some(125), "{ended:?}");
}

#[test]
fn polls_in_between_are_served_at_their_time() {
    if !installed("python3") {
        return;
    }
    let script = "import subprocess, time\n\
                  start = time.monotonic()\n\
                  try: subprocess.run(['sleep', '500'], timeout=100)\n\
                  except subprocess.TimeoutExpired: print(time.monotonic() - start < 200)";
    // Several at once: a supervisor that loses its CPU between a look at the tree and a step must not step
    // past a poll that has been made meanwhile.
    let command = ["run", "--skip-idle", "--", "python3", "-c", script];
    let start = || vdso(&command).stdout(Stdio::piped()).spawn().expect("vdso");
    let started: Vec<Child> = std::iter::repeat_with(start).take(12).collect();
    for child in started {
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.stdout, b"True\n");
    }
}

/// The poller has polled for hours, so that its polls may be late by more than the time-out.
#[test]
fn a_poller_sees_what_another_thread_does_at_its_time() {
    if !installed("python3") {
        return;
    }
    let script = "import threading, time\n\
                  flag = threading.Event()\n\
                  def poll():\n\
                  \x20   while not flag.is_set(): time.sleep(0.05)\n\
                  poller = threading.Thread(target=poll); poller.start()\n\
                  time.sleep(7200)\n\
                  flag.set()\n\
                  poller.join(5)\n\
                  print(poller.is_alive())";
    let command = ["run", "--skip-idle", "--", "python3", "-c", script];
    assert_eq!(said(&command), "False\n");
}

/// A loop that counts its polls instead of reading a clock.
#[test]
fn polls_of_the_only_thread_take_their_time() {
    if !installed("python3") {
        return;
    }
    let script = "import time\n\
                  start = time.monotonic()\n\
                  for _ in range(1000): time.sleep(0.01)\n\
                  print(10 <= time.monotonic() - start < 15)";
    let command = ["run", "--skip-idle", "--", "python3", "-c", script];
    assert_eq!(said(&command), "True\n");
}

/// A program that waits at a named time.
struct Waiter {
    child: Child,
    output: BufReader<ChildStdout>,
    name: String,
}

impl Waiter {
    fn start(name: &str, options: &[&str], script: &str) -> Waiter {
        let name = format!("{name}-{}", std::process::id());
        let mut command = Command::new(env!("CARGO_BIN_EXE_vdso"));
        command.args(["run", "--name", &name]).args(options);
        command.args(["--", "sh", "-c", &format!("echo ready; {script}")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut waiter = Waiter {
            child,
            output,
            name,
        };
        assert_eq!(waiter.line(), "ready");
        waiter
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    /// What its monotonic clock shows.
    fn seconds(&self) -> i64 {
        let json = said(&["clock", &self.name, "--json"]);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let seconds = &json["clocks"]["CLOCK_MONOTONIC"]["seconds"];
        seconds.as_i64().expect("a number")
    }

    /// Returns once the program waits in a call.
    fn until_blocked(&self) {
        let call = || fs::read_to_string(format!("/proc/{}/syscall", self.child.id()));
        let is_wait = |call: String| {
            let number = call
                .split(' ')
                .next()
                .and_then(|number| number.parse().ok());
            number.is_some_and(|number: i64| [libc::SYS_read, libc::SYS_poll].contains(&number))
        };
        while !call().is_ok_and(is_wait) {
            std::thread::yield_now();
        }
    }

    fn change(&self, change: &[&str]) {
        said(&[&["clock", &self.name], change].concat());
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_sleep_under_way_follows_a_change_of_rate() {
    let mut waiter = Waiter::start("rate", &[], "sleep 100000; echo done");
    waiter.change(&["rate", "100000"]);
    assert_eq!(waiter.line(), "done");
}

#[test]
fn what_stands_still_waits_until_time_goes_on() {
    let options = ["--rate", "100000", "--freeze"];
    let mut waiter = Waiter::start("still", &options, "sleep 1000; echo done");
    waiter.change(&["resume"]);
    assert_eq!(waiter.line(), "done");
}

#[test]
fn a_call_that_is_blocked_on_a_socket_with_a_time_out_follows_a_change() {
    if !installed("python3") {
        return;
    }
    let script = "exec python3 -u -c \"\nimport os, socket, struct\n\
        ends = socket.socketpair()\n\
        time = struct.pack('ll', 100000, 0)\n\
        ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, time)\n\
        print('waits')\n\
        try: os.read(ends[0].fileno(), 1)\n\
        except BlockingIOError: print('done')\n\"";
    let frozen = ["--rate", "100000", "--freeze"];
    let changes = [
        (&[][..], &["rate", "100000"][..]),
        (&frozen[..], &["resume"][..]),
    ];
    for (options, change) in changes {
        let mut waiter = Waiter::start("socket", options, script);
        assert_eq!(waiter.line(), "waits");
        waiter.until_blocked();
        waiter.change(change);
        assert_eq!(waiter.line(), "done");
    }
}

#[test]
fn a_step_ends_waits_for_a_wall_time_only() {
    if !installed("python3") {
        return;
    }
    let script = "exec python3 -u -c \"\nimport threading, time, ctypes, os\n\
        libc = ctypes.CDLL(None)\n\
        class Time(ctypes.Structure): _fields_ = [('s', ctypes.c_long), ('n', ctypes.c_long)]\n\
        def until(clock, name):\n\
        \x20   end = Time(int(time.clock_gettime(clock)) + 1800, 0)\n\
        \x20   os.write(1, b'waits\\n')\n\
        \x20   libc.clock_nanosleep(clock, 1, ctypes.byref(end), None); os.write(1, name + b'\\n')\n\
        \x20   os._exit(0)\n\
        threading.Thread(target=until, args=(time.CLOCK_MONOTONIC, b'monotonic')).start()\n\
        until(time.CLOCK_REALTIME, b'wall')\n\"";
    let mut waiter = Waiter::start("step", &[], script);
    assert_eq!([waiter.line(), waiter.line()], ["waits", "waits"]);
    waiter.change(&["step", "+1h"]);
    assert_eq!(waiter.line(), "wall");
}

#[test]
fn waits_follow_the_clocks_that_are_chosen() {
    if !installed("python3") {
        return;
    }
    let script = "import sys, time\n\
        wall, monotonic = time.time(), time.monotonic()\n\
        time.sleep(float(sys.argv[1]))\n\
        wall, monotonic = time.time() - wall, time.monotonic() - monotonic\n\
        print(wall / monotonic > 100 if sys.argv[2] == 'wall' else monotonic / wall > 100)";
    for (clocks, span) in [("wall", "0.05"), ("monotonic", "50")] {
        let program = ["--", "python3", "-c", script, span, clocks];
        let options = ["run", "--clocks", clocks, "--rate", "1000"];
        assert_eq!(
            said(&[&options[..], &program].concat()),
            "True\n",
            "{clocks}"
        );
    }
    // A deadline on a monotonic clock that is ahead.
    let options = ["--clocks", "all", "--offset", "+1d"];
    waits(&options, &kinds(&[]), 1, &[]);
}

#[test]
fn sysinfo_has_the_uptime_of_the_tree() {
    if !installed("python3") {
        return;
    }
    let script = "import ctypes, time\n\
        class Info(ctypes.Structure): _fields_ = [('words', ctypes.c_long * 10), ('rest', ctypes.c_char * 32)]\n\
        def uptime():\n\
        \x20   info = Info()\n\
        \x20   assert ctypes.CDLL(None).sysinfo(ctypes.byref(info)) == 0 and info.words[4] > 0\n\
        \x20   return info.words[0]\n\
        for _ in range(2):\n\
        \x20   before = time.clock_gettime(time.CLOCK_BOOTTIME)\n\
        \x20   shown = uptime()\n\
        \x20   after = time.clock_gettime(time.CLOCK_BOOTTIME)\n\
        \x20   assert before <= shown <= after + 1, (before, shown, after)\n\
        \x20   time.sleep(86400)\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        assert libc.sysinfo(8) == -1 and ctypes.get_errno() == 14";
    for options in [&["--skip-idle"][..], &["--skip-idle", "--rate", "2"]] {
        said(&[&["run"], options, &["--", "python3", "-c", script]].concat());
    }
}

#[test]
fn the_time_of_a_tree_that_skips_idle_time_is_not_joined() {
    let waiter = Waiter::start("skipping", &["--skip-idle"], "read go");
    let refused = output(&["run", "--join", &waiter.name, "--", "echo", "ran"]);
    assert_eq!(refused.status.code(), Some(125), "{refused:?}");
    assert!(refused.stdout.is_empty(), "{refused:?}");
    let reason = String::from_utf8_lossy(&refused.stderr).replace(['\n', '│'], " ");
    let reason: Vec<&str> = reason.split_whitespace().collect();
    let why = "it is skipped when nothing runs in its own tree";
    assert!(reason.join(" ").contains(why), "{refused:?}");
}

#[test]
fn time_that_is_held_is_not_skipped() {
    let mut waiter = Waiter::start(
        "held",
        &["--skip-idle"],
        "read go; sleep 1000000; echo done",
    );
    waiter.change(&["hold"]);
    assert!(said(&["clock", &waiter.name]).contains("is held"));
    let before = waiter.seconds();
    writeln!(waiter.child.stdin.as_mut().expect("a pipe"), "go").expect("it listens");
    // Many times the threshold: it would have been skipped.
    let start = Instant::now();
    while start.elapsed().as_millis() < 100 {
        assert!(waiter.seconds() < before + 1000);
    }
    waiter.change(&["release"]);
    assert_eq!(waiter.line(), "done");
    let refused = Waiter::start("unheld", &[], "read go");
    let output = output(&["clock", &refused.name, "hold"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

/// The program that unwinds from within waits.
fn unwinding(test: &str, flags: &[&str]) -> String {
    let name = format!("unwind-{test}{}", flags.concat());
    let program = scratch("programs").join(name);
    let source = program.with_extension("cc");
    fs::write(&source, include_str!("waits/unwind.cc")).expect("a source file");
    let mut compiler = Command::new("c++");
    compiler.arg("-O1").arg("-o").arg(&program).arg(&source);
    let status = compiler.args(flags).status().expect("a C++ compiler");
    assert!(status.success(), "{compiler:?}");
    text(&program).to_owned()
}

#[test]
fn a_thread_that_is_cancelled_in_a_wait_runs_its_cleanup_handlers() {
    for flags in [&[][..], &["-static"]] {
        let program = unwinding("cancel", flags);
        for options in [["--offset=+1d"], ["--rate=10"], ["--skip-idle"]] {
            let command = [&["run"], &options[..], &["--", &program, "cancel", "60"]].concat();
            assert_eq!(said(&command), "right\n", "{command:?}");
        }
    }
}

#[test]
fn a_backtrace_in_a_handler_that_interrupts_a_wait_leads_to_its_caller() {
    for flags in [&[][..], &["-static"]] {
        let program = unwinding("backtrace", flags);
        for options in [["--offset=+1d"], ["--rate=10"], ["--skip-idle"]] {
            let command = [
                &["run"],
                &options[..],
                &["--", &program, "backtrace", "100"],
            ]
            .concat();
            assert_eq!(said(&command), "right\n", "{command:?}");
        }
    }
}

#[test]
fn debuggers_unwind_through_a_wait_and_leave_it_as_it_was() {
    if !installed("gdb") || !installed("strace") {
        return;
    }
    let source = "#include <stdio.h>\n#include <time.h>\n\
        int main(void) { struct timespec time = { 100000, 0 };\n\
        puts(\"waits\"); fflush(stdout); nanosleep(&time, 0); puts(\"done\"); return 0; }\n";
    let program = compiled("sleeps", source, &[]);
    let mut waiter = Waiter::start("debuggers", &[], &format!("exec {}", text(&program)));
    assert_eq!(waiter.line(), "waits");
    let pid = waiter.child.id();
    let call = || fs::read_to_string(format!("/proc/{pid}/syscall")).expect("its call");
    // The gate is in the vDSO, and no other part of that makes a call that waits.
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("its memory");
    let vdso = maps
        .lines()
        .find(|line| line.contains("r-xp") && line.contains("/memfd:vdso"));
    let (start, end) = vdso
        .and_then(|line| line.split(' ').next()?.split_once('-'))
        .expect("a vDSO");
    let address = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let vdso = address(start).expect("an address")..address(end).expect("an address");
    let is_in_gate = |call: String| {
        let at = call.trim_end().rsplit(' ').next().and_then(address);
        at.is_some_and(|at| vdso.contains(&at))
    };
    while !is_in_gate(call()) {
        std::thread::yield_now();
    }
    let pid = pid.to_string();
    let gdb = ["-q", "-batch", "-nx", "-ex", "backtrace", "-p", &pid];
    let shown = Command::new("gdb").args(gdb).output().expect("gdb runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("nanosleep") && shown.contains(" main "),
        "{shown}"
    );
    let mut strace = Command::new("strace");
    strace.args(["-p", &pid, "-e", "trace=write"]);
    let mut strace = strace.stderr(Stdio::piped()).spawn().expect("strace runs");
    let mut traced = BufReader::new(strace.stderr.take().expect("a pipe"));
    let mut line = String::new();
    traced.read_line(&mut line).expect("text");
    assert!(line.contains("attached"), "{line}");
    // strace lets go of it when it is ended by this signal.
    assert!(
        Command::new("kill")
            .args(["-INT", &strace.id().to_string()])
            .status()
            .is_ok()
    );
    strace.wait().expect("it ends");
    waiter.change(&["rate", "100000"]);
    assert_eq!(waiter.line(), "done");
}

#[test]
fn a_filter_of_a_programs_own_is_shown_no_sibling_of_its_calls() {
    let source = include_str!("waits/sandbox.c");
    let program = compiled("sandbox", source, &[]);
    for rate in ["0.5", "100"] {
        let output = said(&["run", "--rate", rate, "--", text(&program)]);
        assert_eq!(
            output, "poll\nselect\nepoll_wait\nepoll_pwait\nmasked\n",
            "{rate}"
        );
    }
}
