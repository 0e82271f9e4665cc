//! What a program, its parent and its terminal see is the same with us and without us.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{SAID, compiled, finish, images, on, runner, scratch, status_field, succeed, text};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, waitpid};

fn shell(script: &str) -> Command {
    on(&images().links, &["bash", "-c", script])
}

/// Starts a shell that says `ready` first.
fn started(script: &str, image: &Path) -> (Child, BufReader<std::process::ChildStdout>) {
    let script = format!("echo ready; {script}");
    let mut command = on(image, &["bash", "-c", &script]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().expect("the runner starts");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    assert_eq!(line(&mut output), "ready");
    (child, output)
}

fn line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).expect("a line of text");
    line.trim_end().to_owned()
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// The supervisor of the tree that `pid` is the first process of: it has a pidfd of that, and a
/// seccomp listener.
fn supervisor_of(pid: u32) -> i32 {
    let supervises = |process: &Path| {
        let open = |directory: &str| {
            let entries = fs::read_dir(process.join(directory)).ok()?;
            Some(entries.flatten().map(|entry| entry.path()))
        };
        let watches = |info: &Path| {
            let info = fs::read_to_string(info).unwrap_or_default();
            info.lines().any(|line| line == format!("Pid:\t{pid}"))
        };
        let is_listener = |link: &Path| {
            fs::read_link(link).is_ok_and(|file| file.to_string_lossy().contains("seccomp notify"))
        };
        open("fd").is_some_and(|mut links| links.any(|link| is_listener(&link)))
            && open("fdinfo").is_some_and(|mut infos| infos.any(|info| watches(&info)))
    };
    // The program may run before its supervisor has gone that far.
    for _ in 0..1000 {
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let number = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let Some(number) = number
                && supervises(&entry.path())
            {
                return number;
            }
        }
        std::thread::yield_now();
    }
    panic!("process {pid} has no supervisor");
}

/// Waits until a process that is no child of ours has ended.
fn wait_for_end(pid: i32) {
    let pid = Pid::from_raw(pid).expect("a process id");
    if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).expect("poll");
    }
}

#[test]
fn a_program_does_not_begin_with_enosys_in_a_register() {
    // rax is -ENOSYS inside a system call, and was, when the program's registers were put back.
    let program = compiled("registers", &["-nostdlib", "-static"]);
    for image in images().each() {
        let with = finish(&mut on(image, &[text(&program)])).stdout;
        let without = finish(&mut Command::new(&program)).stdout;
        assert_eq!(with.len(), 128);
        assert_eq!(with, without);
    }
}

#[test]
fn every_exit_status_and_every_death() {
    let signals = [
        "TERM", "KILL", "INT", "HUP", "USR1", "SEGV", "ABRT", "ALRM", "TRAP", "34", "64",
    ];
    let deaths = signals.map(|signal| format!("ulimit -c 0; kill -{signal} $$"));
    let exits = [
        "exit 0",
        "exit 1",
        "exit 125",
        "exit 126",
        "exit 127",
        "exit 255",
        "exec /nosuch",
    ];
    for script in deaths.iter().map(String::as_str).chain(exits) {
        let with = finish(&mut shell(script)).status;
        let without = finish(Command::new("bash").args(["-c", script])).status;
        assert_eq!(with, without, "{script}");
    }
}

#[test]
fn failures_of_our_own_exit_as_env_does() {
    let directory = scratch("failures");
    let plain = directory.join("plain");
    fs::write(&plain, "no program").expect("a file");
    let status = |command: &mut Command| finish(command).status.code();
    assert_eq!(status(&mut on(&images().plain, &["/nosuch"])), Some(127));
    assert_eq!(
        status(&mut on(&images().plain, &["no-such-name-anywhere"])),
        Some(127)
    );
    assert_eq!(status(&mut on(&images().plain, &[text(&plain)])), Some(126));
    assert_eq!(
        status(&mut on(&images().plain, &[text(&directory)])),
        Some(126)
    );
    assert_eq!(status(&mut on(&plain, &["true"])), Some(125));
    assert_eq!(
        status(&mut on(Path::new("/bin/true"), &["true"])),
        Some(125)
    );
    let mut short = Command::new(runner());
    short
        .arg("--vvar")
        .arg(&plain)
        .arg(&images().plain)
        .arg("true");
    assert_eq!(status(&mut short), Some(125));
}

#[test]
fn what_a_program_sees_of_itself() {
    // Signals, limits, descriptors, session, parent; the environment and the arguments.
    let script = "grep -E '^(Sig[PBIC]|Shd|NoNewPrivs|PPid|NSsid|NSpgid)' /proc/self/status | \
                  grep -v PPid.*$$; echo $PPID; cd /proc/$$/fd; echo *; cd - >/dev/null; ulimit -a; \
                  env -u OLDPWD -u _ | sort; echo $0 $*; readlink /proc/$$/exe; pwd";
    let compare = |command: &mut Command| {
        succeed(
            command
                .args(["a b", "", "c"])
                .env("ODD", "x\ny")
                .process_group(0),
        )
    };
    let with = compare(&mut on(&images().links, &["bash", "-c", script]));
    let without = compare(Command::new("bash").args(["-c", script]));
    let steady = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with("NSpgid"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(steady(&with), steady(&without));
    assert!(with.contains(&std::process::id().to_string()), "{with}");
}

#[test]
fn a_supervisor_is_scheduled_with_the_program_and_has_no_terminal() {
    let image = &images().links;
    let program = "echo $$; read -r line";
    let command = format!(
        "exec {} {} bash -c '{program}'",
        text(&runner()),
        text(image)
    );
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]);
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().expect("script(1) starts");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let program: u32 = line(&mut output).parse().expect("a process id");
    let supervisor = supervisor_of(program);
    // proc_pid_stat(5): process group and terminal.
    let fields = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
        let fields = stat.rsplit_once(") ").expect("a name").1;
        let fields: Vec<String> = fields.split(' ').map(str::to_owned).collect();
        (fields[2].clone(), fields[4].clone())
    };
    let (group, terminal) = fields(&program.to_string());
    let (own_group, own_terminal) = fields(&supervisor.to_string());
    assert_ne!(terminal, "0");
    assert_eq!(own_terminal, "0");
    assert_ne!(own_group, group);
    // Kernels with CONFIG_SCHED_AUTOGROUP have this file.
    let autogroup = |pid: String| fs::read_to_string(format!("/proc/{pid}/autogroup")).ok();
    assert_eq!(
        autogroup(supervisor.to_string()),
        autogroup(program.to_string())
    );
    drop(child.stdin.take());
    child.wait().expect("an end");
}

#[test]
fn standard_input_goes_through() {
    let mut child = on(&images().plain, &["cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the runner starts");
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let mut input = child.stdin.take().expect("a pipe");
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || input.write_all(&sent));
    let mut got = Vec::new();
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_to_end(&mut got)
        .expect("output");
    writer.join().expect("the writer").expect("written");
    assert!(child.wait().expect("an end").success());
    assert!(got == bytes);
}

#[test]
fn stops_and_continues_as_its_parent_asks() {
    let (child, _output) = started("exec sleep 1000", &images().links);
    let pid = pid_of(&child);
    for stop in [Signal::STOP, Signal::TSTP, Signal::STOP] {
        rustix::process::kill_process(pid, stop).expect("kill");
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED)
            .expect("wait")
            .expect("status");
        assert_eq!(status.stopping_signal(), Some(stop.as_raw()));
        rustix::process::kill_process(pid, Signal::CONT).expect("kill");
        let options = WaitOptions::UNTRACED | WaitOptions::CONTINUED;
        let (_, status) = waitpid(Some(pid), options).expect("wait").expect("status");
        assert!(status.continued());
    }
    rustix::process::kill_process(pid, Signal::TERM).expect("kill");
    let (_, status) = waitpid(Some(pid), WaitOptions::empty())
        .expect("wait")
        .expect("status");
    assert_eq!(status.terminating_signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn a_stopped_program_can_be_killed() {
    let (mut child, _output) = started("exec sleep 1000", &images().links);
    let pid = pid_of(&child);
    rustix::process::kill_process(pid, Signal::STOP).expect("kill");
    waitpid(Some(pid), WaitOptions::UNTRACED).expect("wait");
    rustix::process::kill_process(pid, Signal::KILL).expect("kill");
    assert_eq!(
        child.wait().expect("an end").signal(),
        Some(Signal::KILL.as_raw())
    );
}

#[test]
fn job_control_of_a_shell() {
    // The job stops, the shell goes on, lists it and brings it back.
    let job = format!(
        "{} {} sh -c 'kill -STOP $$; echo back; date +%s; exit 7'",
        text(&runner()),
        text(&images().links)
    );
    let script = format!("set -m; {job}; echo $?; jobs -s | wc -l; fg >/dev/null; echo $?");
    let said = succeed(Command::new("bash").args(["-c", &script]));
    assert_eq!(said, format!("147\n1\nback\n{SAID}\n7\n"));
}

#[test]
fn signals_reach_handlers_of_the_program() {
    let said = succeed(&mut shell(
        "trap 'echo usr1' USR1; trap 'echo child' CHLD; trap '' INT; \
         kill -USR1 $$; kill -INT $$; (exit 3); /bin/true; date +%s",
    ));
    assert_eq!(
        said.lines().filter(|line| *line == "usr1").count(),
        1,
        "{said}"
    );
    assert!(said.contains("child") && said.contains(SAID), "{said}");
}

#[test]
fn the_tracer_ends_with_the_last_process() {
    let (mut child, _output) = started("read -r line; exit 5", &images().links);
    let tracer = supervisor_of(child.id());
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"go\n")
        .expect("written");
    assert_eq!(child.wait().expect("an end").code(), Some(5));
    wait_for_end(tracer);
    assert_eq!(
        status_field(tracer as u32, "State").filter(|state| !state.starts_with('Z')),
        None
    );
}

#[test]
fn programs_run_on_when_the_tracer_is_killed() {
    let script = "read -r line; printf '%(%s)T\\n' -1; date +%s; exit 6";
    let (mut child, mut output) = started(script, &images().links);
    let tracer = supervisor_of(child.id());
    rustix::process::kill_process(Pid::from_raw(tracer).expect("a tracer"), Signal::KILL)
        .expect("kill");
    wait_for_end(tracer);
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"go\n")
        .expect("written");
    assert_eq!(line(&mut output), SAID, "what it had stays");
    assert_ne!(
        line(&mut output),
        SAID,
        "what it starts has the kernel's vDSO"
    );
    assert_eq!(child.wait().expect("an end").code(), Some(6));
}

#[test]
fn a_vfork_goes_on_when_the_tracer_is_killed() {
    let program = compiled("vforks", &["-pthread"]);
    let script = format!("exec {} waits /bin/date +%s", text(&program));
    let (mut child, mut output) = started(&script, &images().links);
    assert_eq!(line(&mut output), "waits");
    let tracer = supervisor_of(child.id());
    let pid = Pid::from_raw(tracer).expect("a tracer");
    rustix::process::kill_process(pid, Signal::KILL).expect("kill");
    wait_for_end(tracer);
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"g").expect("written");
    assert_ne!(line(&mut output), SAID, "no supervisor delivers");
    assert_eq!(line(&mut output), "0", "its parent goes on");
    assert!(child.wait().expect("an end").success());
}

#[test]
fn a_program_that_waits_in_a_vfork_can_be_killed() {
    let program = compiled("vforks", &["-pthread"]);
    let script = format!("exec {} waits /bin/date +%s", text(&program));
    let (mut child, mut output) = started(&script, &images().links);
    assert_eq!(line(&mut output), "waits");
    // Waiting for it would close the pipe.
    let mut input = child.stdin.take().expect("a pipe");
    rustix::process::kill_process(pid_of(&child), Signal::KILL).expect("kill");
    let status = child.wait().expect("an end");
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
    input.write_all(b"g").expect("written");
    assert_eq!(line(&mut output), SAID, "the child goes on, and is served");
}

#[test]
fn a_daemon_keeps_no_pipe_of_its_parent_open() {
    // `output` returns when no process holds the pipes: not the supervisor, which serves the
    // daemon.
    let script = "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!";
    let daemon: u32 = succeed(&mut shell(script))
        .trim()
        .parse()
        .expect("a process id");
    // It lives, whether or not it is past its exec.
    assert!(status_field(daemon, "State").is_some_and(|state| !state.starts_with('Z')));
    rustix::process::kill_process(Pid::from_raw(daemon as i32).expect("it"), Signal::KILL)
        .expect("kill");
}

#[test]
fn nothing_is_traced_between_its_exec_and_its_end() {
    let script = "sh -c 'grep TracerPid /proc/$$/status /proc/$PPID/status'; date +%s";
    let said = succeed(&mut shell(script));
    let traced: Vec<_> = said
        .lines()
        .filter(|line| !line.ends_with("TracerPid:\t0"))
        .collect();
    assert_eq!(traced, [SAID]);
}

#[test]
fn no_signal_to_the_supervisor_changes_what_it_does() {
    let (mut child, mut output) = started("read -r line; date +%s", &images().links);
    let supervisor = Pid::from_raw(supervisor_of(child.id())).expect("a supervisor");
    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::URG,
        Signal::CHILD,
        Signal::PIPE,
        Signal::ALARM,
    ] {
        rustix::process::kill_process(supervisor, signal).expect("kill");
    }
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"go\n").expect("written");
    assert_eq!(line(&mut output), SAID);
    assert!(child.wait().expect("an end").success());
}

#[test]
fn programs_outlive_a_supervisor_killed_while_they_start() {
    // It starts programs one after another, and says the status of each that does not succeed.
    let script =
        "for i in $(seq 200); do /bin/true || echo $?; [ $i = 5 ] && echo five; done; true";
    for _ in 0..8 {
        let (mut child, mut output) = started(script, &images().links);
        assert_eq!(line(&mut output), "five");
        let supervisor = Pid::from_raw(supervisor_of(child.id())).expect("a supervisor");
        rustix::process::kill_process(supervisor, Signal::KILL).expect("kill");
        assert!(child.wait().expect("an end").success());
        let mut rest = String::new();
        output.read_to_string(&mut rest).expect("text");
        assert_eq!(rest, "", "each program succeeds");
    }
}

#[test]
fn reads_of_the_clock_go_on_when_the_supervisor_is_killed() {
    let raw = compiled("raw", &["-static"]);
    let script = format!("echo ready; read -r line; {}", text(&raw));
    let mut child = Command::new(runner())
        .arg("--strict")
        .arg(&images().links)
        .args(["bash", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the runner starts");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    assert_eq!(line(&mut output), "ready");
    let supervisor = Pid::from_raw(supervisor_of(child.id())).expect("a supervisor");
    rustix::process::kill_process(supervisor, Signal::KILL).expect("kill");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"go\n").expect("written");
    let second: u64 = line(&mut output)
        .parse()
        .expect("the keeper has it answered");
    assert!(second > 1_700_000_000, "the kernel's time: {second}");
    assert!(child.wait().expect("an end").success());
}

#[test]
fn what_adopts_orphans_sees_no_child_of_ours() {
    // Counts the children that wait(2) shows until there are none.
    let program = compiled("adopts", &[]);
    let mut on_it = on(&images().links, &[text(&program)]);
    assert_eq!(succeed(&mut on_it), "1\n");
    let mut below = Command::new(&program);
    below.arg(runner()).arg(&images().links).arg(&program);
    assert_eq!(succeed(&mut below), "1\n");
}
