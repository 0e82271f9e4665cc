//! Time changed while programs run, and programs that run already.
#![cfg(target_arch = "x86_64")]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

use common::{Talk, YEARS, installed, output, said, vdso};

/// A name that no other test uses, nor this one at another time.
fn name(of: &str) -> String {
    format!("{of}-{}", std::process::id())
}

/// Python that says years, at 2030 under `name`.
fn years(name: &str) -> Talk {
    let options = [
        "run",
        "--name",
        name,
        "--time",
        "2030-06-01",
        "--",
        "python3",
        "-c",
        YEARS,
    ];
    Talk::start(&mut vdso(&options))
}

fn json(name: &str) -> serde_json::Value {
    serde_json::from_str(&said(&["clock", name, "--json"])).expect("JSON")
}

/// The tracer of the clock called `name`; none when there is no such clock.
fn tracer(name: &str) -> Option<u64> {
    let list: serde_json::Value =
        serde_json::from_str(&said(&["clock", "list", "--json"])).expect("JSON");
    let all = list.as_array().expect("a list");
    let found = all.iter().find(|one| one["name"] == name)?;
    found["tracer"].as_u64()
}

#[test]
fn a_step_is_seen_by_every_process() {
    if !installed("python3") {
        return;
    }
    let name = name("step");
    let script = "import os, sys, time\n\
         children = []\n\
         read, write = os.pipe()\n\
         for _ in range(8):\n\
         \x20   child = os.fork()\n\
         \x20   if not child:\n\
         \x20       os.write(write, b'.')\n\
         \x20       while time.gmtime().tm_year < 2040: time.sleep(0.001)\n\
         \x20       os._exit(0)\n\
         \x20   children.append(child)\n\
         seen = b''\n\
         while len(seen) < 8: seen += os.read(read, 8)\n\
         print('ready', flush=True)\n\
         print([os.waitpid(child, 0)[1] for child in children], flush=True)";
    let options = [
        "run",
        "--name",
        &name,
        "--time",
        "2030-06-01",
        "--",
        "python3",
        "-c",
        script,
    ];
    let mut tree = Talk::start(&mut vdso(&options));
    assert_eq!(tree.hear(), "ready");
    said(&["clock", &name, "step", "+10y"]);
    assert_eq!(tree.hear(), "[0, 0, 0, 0, 0, 0, 0, 0]");
}

#[test]
fn every_change_and_what_show_says_of_it() {
    if !installed("python3") {
        return;
    }
    let name = name("changes");
    let mut tree = years(&name);
    assert_eq!(tree.ask(""), "2030");
    said(&["clock", &name, "step", "-20y"]);
    assert_eq!(tree.ask(""), "2010");
    said(&["clock", &name, "set", "2044-02-29"]);
    assert_eq!(tree.ask(""), "2044");

    said(&["clock", &name, "rate", "1/4"]);
    assert_eq!(json(&name)["rate"], 0.25);
    said(&["clock", &name, "freeze"]);
    let frozen = json(&name);
    assert_eq!(frozen["rate"], 0);
    assert_eq!(
        json(&name)["clocks"]["CLOCK_MONOTONIC"]["seconds"],
        frozen["clocks"]["CLOCK_MONOTONIC"]["seconds"]
    );
    assert_eq!(json(&name)["time"], frozen["time"]);
    let again = output(&["clock", &name, "freeze"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    said(&["clock", &name, "step", "+1y"]);
    assert_eq!(tree.ask(""), "2045");
    said(&["clock", &name, "resume"]);
    assert_eq!(json(&name)["rate"], 0.25);
    let shown = said(&["clock", &name, "show"]);
    assert!(shown.contains("CLOCK_REALTIME"), "{shown}");
    assert!(shown.contains("2045-0"), "{shown}");
    for (arguments, help) in [(["rate", "0"], "above 0"), (["step", "so"], "+1h")] {
        let refused = output(&[["clock", &name], arguments].concat());
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let text = String::from_utf8_lossy(&refused.stderr).replace("\n        ", " ");
        assert!(text.contains(help), "{text}");
    }
    assert_eq!(tree.ask(""), "2045");
}

#[test]
fn monotonic_clocks_never_run_backwards() {
    if !installed("python3") {
        return;
    }
    let name = name("order");
    let script = "import sys, threading, time\n\
         ids = time.CLOCK_MONOTONIC, time.CLOCK_MONOTONIC_RAW, time.CLOCK_BOOTTIME\n\
         ended, back = threading.Event(), []\n\
         def watch(id):\n\
         \x20   last = 0\n\
         \x20   while not ended.is_set():\n\
         \x20       now = time.clock_gettime_ns(id)\n\
         \x20       if now < last: back.append((id, last, now))\n\
         \x20       last = now\n\
         threads = [threading.Thread(target=watch, args=(id,)) for id in ids]\n\
         [thread.start() for thread in threads]\n\
         print('ready', flush=True); sys.stdin.readline(); ended.set()\n\
         [thread.join() for thread in threads]\n\
         print(back, flush=True)";
    let options = ["run", "--name", &name, "--", "python3", "-c", script];
    let mut tree = Talk::start(&mut vdso(&options));
    assert_eq!(tree.hear(), "ready");
    for change in ["100", "1/1000", "3", "0.5"] {
        said(&["clock", &name, "rate", change]);
        said(&["clock", &name, "step", "-1h"]);
        said(&["clock", &name, "freeze"]);
        said(&["clock", &name, "resume"]);
    }
    assert_eq!(tree.ask("end"), "[]");
}

#[test]
fn a_clock_is_shown_and_changed_from_inside_its_own_tree() {
    let name = name("inside");
    let own = env!("CARGO_BIN_EXE_vdso");
    let script = format!("{own} clock {name} step +5y && {own} clock {name} && date +%Y");
    let shown = said(&[
        "run",
        "--name",
        &name,
        "--time",
        "2030-06-01",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    assert!(shown.contains("2035-0"), "{shown}");
    // It can trace others, and so what it starts is not followed; the shell's other children
    // are.
    assert!(shown.ends_with("2035\n"), "{shown}");
}

#[test]
fn a_name_belongs_to_one() {
    if !installed("python3") {
        return;
    }
    let name = name("taken");
    let mut tree = years(&name);
    assert_eq!(tree.ask(""), "2030");
    let second = output(&["run", "--name", &name, "--", "true"]);
    assert_eq!(second.status.code(), Some(125), "{second:?}");
    assert!(String::from_utf8_lossy(&second.stderr).contains("is taken"));
}

#[test]
fn a_name_is_found_though_another_copy_of_this_program_delivers() {
    if !installed("python3") {
        return;
    }
    let name = name("copy");
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("vdso");
    fs::copy(vdso(&[]).get_program(), &copy).expect("a copy");
    let mut run = Command::new(copy);
    run.args(["run", "--name", &name, "--time", "2030-06-01", "--"]);
    let mut years = Talk::start(run.args(["python3", "-c", YEARS]));
    assert_eq!(years.ask(""), "2030");
    said(&["clock", &name, "set", "2040-06-01"]);
    assert_eq!(years.ask(""), "2040");
}

#[test]
fn sigkill_leaves_nothing_behind() {
    if !installed("python3") {
        return;
    }
    let name = name("killed");
    let mut tree = years(&name);
    assert_eq!(tree.ask(""), "2030");
    let before = tracer(&name).expect("a tracer");
    tree.child.kill().expect("SIGKILL");
    tree.child.wait().expect("its end");
    // The tracer is notified, and when it ends the pages and the name are gone.
    while fs::read_to_string(format!("/proc/{before}/stat")).is_ok_and(|stat| !stat.contains(" Z "))
    {
        std::thread::yield_now();
    }
    assert_eq!(tracer(&name), None);

    // And if the tracer is killed, the program keeps its time.
    let mut tree = years(&name);
    assert_eq!(tree.ask(""), "2030");
    let tracer_pid = tracer(&name).expect("a tracer").to_string();
    let status = Command::new("kill").args(["-KILL", &tracer_pid]).status();
    assert!(status.expect("kill runs").success());
    while tracer(&name).is_some() {
        std::thread::yield_now();
    }
    assert_eq!(tree.ask(""), "2030");
    drop(tree);
    assert_eq!(
        said(&[
            "run",
            "--name",
            &name,
            "--time",
            "2031-06-01",
            "--",
            "date",
            "+%Y"
        ]),
        "2031\n"
    );
}

/// Nothing is left to answer the calls that are handed over (seccomp_unotify(2)).
#[test]
fn calls_fail_with_enosys_when_supervisor_and_keeper_are_killed() {
    if !installed("python3") {
        return;
    }
    let sleeper = "import sys, time\n\
        for line in sys.stdin:\n    \
            try: time.sleep(0.001); print('slept', flush=True)\n    \
            except OSError as error: print(error.errno, flush=True)";
    let name = name("alone");
    let options = [
        "run", "--name", &name, "--rate", "60", "--", "python3", "-c",
    ];
    let mut tree = Talk::start(vdso(&options).arg(sleeper));
    assert_eq!(tree.ask(""), "slept");
    let supervisor = tracer(&name).expect("a supervisor").to_string();
    let children = format!("/proc/{supervisor}/task/{supervisor}/children");
    let keeper = fs::read_to_string(children).expect("its children");
    let keeper = keeper.trim();
    let kill = |arguments: &[&str]| {
        let status = Command::new("kill").args(arguments).status();
        assert!(status.expect("kill runs").success(), "{arguments:?}");
    };
    // The keeper would take over.
    kill(&["-STOP", keeper]);
    kill(&["-KILL", &supervisor, keeper]);
    while tracer(&name).is_some() {
        std::thread::yield_now();
    }
    assert_eq!(tree.ask(""), libc::ENOSYS.to_string());
}

/// The lines of `/proc/PID/maps` without the heap, which may grow, and the bytes of the
/// mappings that the kernel's vDSO consists of.
fn image_of(pid: &str) -> (Vec<String>, Vec<u8>) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a live process");
    let lines: Vec<String> = maps
        .lines()
        .filter(|line| line.contains("vdso") || line.contains("vvar") || line.contains("memfd"))
        .map(str::to_owned)
        .collect();
    let vdso = lines
        .iter()
        .find(|line| line.ends_with("[vdso]"))
        .expect("a vDSO");
    let (range, _) = vdso.split_once(' ').expect("a range");
    let (start, end) = range.split_once('-').expect("a range");
    let number = |text| u64::from_str_radix(text, 16).expect("an address");
    let mut bytes = vec![0; (number(end) - number(start)) as usize];
    let memory = File::open(format!("/proc/{pid}/mem")).expect("a child of ours");
    memory
        .read_exact_at(&mut bytes, number(start))
        .expect("its vDSO");
    (lines, bytes)
}

#[test]
fn attach_and_detach() {
    if !installed("python3") {
        return;
    }
    let mut python = Talk::start(Command::new("python3").args(["-c", YEARS]));
    let year: i32 = python.ask("").parse().expect("a year");
    let before = image_of(&python.pid());
    said(&["attach", &python.pid(), "--time", "2038-06-01"]);
    assert_eq!(python.ask(""), "2038");
    let again = output(&["attach", &python.pid(), "--offset", "+1y"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    said(&["detach", &python.pid()]);
    assert_eq!(image_of(&python.pid()), before);
    let after: i32 = python.ask("").parse().expect("a year");
    assert!((0..=1).contains(&(after - year)));
    let again = output(&["detach", &python.pid()]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
}

#[test]
fn an_attached_program_that_is_followed_has_a_name() {
    if !installed("python3") {
        return;
    }
    let name = name("attached");
    let script = "import subprocess, sys\n\
         for line in sys.stdin: print(subprocess.check_output(['date', '+%Y']).decode().strip(), flush=True)";
    let mut python = Talk::start(Command::new("python3").args(["-c", script]));
    python.ask("");
    let options = [
        "attach",
        &python.pid(),
        "--follow",
        "--name",
        &name,
        "--time",
        "2038-06-01",
    ];
    let mut attached = vdso(&options).spawn().expect("vdso");
    while python.ask("") != "2038" {}
    said(&["clock", &name, "step", "+1y"]);
    assert_eq!(python.ask(""), "2039");
    drop(python);
    assert!(attached.wait().expect("its end").success());
    assert_eq!(tracer(&name), None);
}

#[test]
fn a_process_that_is_not_there() {
    let mut gone = Command::new("true").spawn().expect("a process");
    gone.wait().expect("its end");
    for command in ["attach", "detach"] {
        let output = output(&[command, &gone.id().to_string()]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("no process"),
            "{output:?}"
        );
    }
}

#[test]
fn time_that_goes_on_at_each_read_is_stepped_and_not_run() {
    if !installed("python3") {
        return;
    }
    let name = name("reads");
    let options = [
        "run",
        "--name",
        &name,
        "--time",
        "2030-06-01",
        "--seed-step",
        "1ms",
        "--",
    ];
    let mut program = Talk::start(vdso(&options).args(["python3", "-c", YEARS]));
    assert_eq!(program.ask(""), "2030");
    let shown = said(&["clock", &name]);
    assert!(shown.contains("1000000 ns at each read"), "{shown}");
    for refused in [&["rate", "2"][..], &["freeze"], &["resume"]] {
        let output = output(&[&["clock", &name], refused].concat());
        assert_eq!(output.status.code(), Some(1), "{refused:?}: {output:?}");
    }
    said(&["clock", &name, "step", "+1y"]);
    assert_eq!(program.ask(""), "2031");
    // Attached, and out again.
    let mut plain = Talk::start(Command::new("python3").args(["-c", YEARS]));
    let before = plain.ask("");
    let pid = plain.pid();
    said(&["attach", &pid, "--time", "2030-06-01", "--seed-step", "1ms"]);
    assert_eq!(plain.ask(""), "2030");
    said(&["detach", &pid]);
    assert_eq!(plain.ask(""), before);
}

#[test]
fn a_program_joins_the_time_of_another_and_follows_its_changes() {
    if !installed("python3") {
        return;
    }
    let name = name("joined");
    let mut first = years(&name);
    assert_eq!(first.ask(""), "2030");
    let script = "import sys, time\n\
         print('ready', flush=True)\n\
         for line in sys.stdin:\n\
         \x20   time.sleep(float(line)); print(time.gmtime().tm_year, flush=True)";
    let options = ["run", "--join", &name, "--", "python3", "-c", script];
    let mut joined = Talk::start(&mut vdso(&options));
    assert_eq!(joined.hear(), "ready");
    assert_eq!(joined.ask("0"), "2030");
    said(&["clock", &name, "set", "2040-06-01"]);
    assert_eq!(
        (first.ask(""), joined.ask("0")),
        ("2040".into(), "2040".into())
    );
    // A wait of the joined program that is under way.
    joined.tell("100000");
    while !fs::read_to_string(format!("/proc/{}/syscall", joined.pid()))
        .is_ok_and(|call| call.starts_with("230 "))
    {
        std::thread::yield_now();
    }
    said(&["clock", &name, "rate", "100000"]);
    assert_eq!(joined.hear(), "2040");
    // The name lives as long as a program of either tree does.
    drop(first);
    said(&["clock", &name, "rate", "1"]);
    said(&["clock", &name, "set", "2050-06-01"]);
    assert_eq!(joined.ask("0"), "2050");
}

#[test]
fn a_time_that_can_not_be_joined() {
    let name = name("skips");
    for (options, help) in [
        (["run", "--join", "no-such-clock"], "no clock has the name"),
        (["run", "--join", &name], "skipped"),
    ] {
        let own = env!("CARGO_BIN_EXE_vdso");
        let inner = [&[own], &options[..], &["--", "true"]].concat();
        let outer = [&["run", "--skip-idle", "--name", &name, "--"], &inner[..]].concat();
        let refused = output(&outer);
        assert_eq!(refused.status.code(), Some(125), "{refused:?}");
        let text = String::from_utf8_lossy(&refused.stderr);
        assert!(text.contains(help), "{text}");
    }
}

#[test]
fn a_named_clock_of_another_user_is_not_found() {
    if !installed("python3") || !rustix::process::geteuid().is_root() {
        return;
    }
    let name = name("owned");
    let mut tree = years(&name);
    assert_eq!(tree.ask(""), "2030");
    // Where that user can execute it.
    let directory = tempfile::tempdir().expect("a directory");
    let own = directory.path().join("vdso");
    fs::copy(vdso(&[]).get_program(), &own).expect("a copy");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), mode).expect("its mode");
    for arguments in [
        &["run", "--join", &name, "--", "true"][..],
        &["clock", &name, "step", "+1h"],
    ] {
        let mut other = Command::new("setpriv");
        other.args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--",
        ]);
        other.arg(&own);
        let output = other.args(arguments).output().expect("setpriv is there");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && text.contains("no clock has the name"),
            "{output:?}"
        );
    }
}

#[test]
fn a_tree_is_attached_to_with_the_children_that_exist() {
    if !installed("python3") {
        return;
    }
    let script = "import os, sys, time\n\
         ask, answer = os.pipe(), os.pipe()\n\
         if not os.fork():\n\
         \x20   os.close(ask[1])\n\
         \x20   while os.read(ask[0], 1): os.write(answer[1], b'%d' % time.gmtime().tm_year)\n\
         \x20   os._exit(0)\n\
         for line in sys.stdin:\n\
         \x20   os.write(ask[1], b'x')\n\
         \x20   print(time.gmtime().tm_year, os.read(answer[0], 4).decode(), flush=True)";
    let mut tree = Talk::start(Command::new("python3").args(["-c", script]));
    let before = tree.ask("");
    let pid = tree.pid();
    said(&["attach", "--tree", &pid, "--time", "2038-06-01"]);
    assert_eq!(tree.ask(""), "2038 2038");
    said(&["detach", "--tree", &pid]);
    assert_eq!(tree.ask(""), before);
    // Again, there is nothing to restore.
    let again = output(&["detach", "--tree", &pid]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
}
