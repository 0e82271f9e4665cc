//! Programs that take more than a command line: servers that are asked over a socket, a
//! virtual machine, a debugger that looks at their system calls.
#![cfg(target_arch = "x86_64")]

mod common;
#[path = "servers/cron.rs"]
mod cron;
#[path = "servers/mariadb.rs"]
mod mariadb;
#[path = "servers/postgresql.rs"]
mod postgresql;
#[path = "servers/redis.rs"]
mod redis;

use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use common::{Talk, YEARS, debian, installed, vdso};

const DATE: &str = "2038-06-01T12:00:00Z";
const YEAR: &str = "2038";

/// Other times, each with how long waits last there: long enough that one of as much real time is not
/// taken for it.
struct Way {
    option: &'static str,
    seconds: f64,
}

const SAMPLE: [Way; 3] = [
    Way::new("--offset=+1y", 0.3),
    Way::new("--rate=60", 20.0),
    Way::new("--skip-idle", 60.0),
];
const OTHERS: [Way; 2] = [Way::new("--offset=-1y", 0.3), Way::new("--rate=0.5", 1.0)];

/// How long a wait may last, as a multiple of what it is to. Only a hang or a wait in real time gets there.
const TOO_LONG: f64 = 50.0;

impl Way {
    const fn new(option: &'static str, seconds: f64) -> Way {
        Way { option, seconds }
    }

    /// Those that are tried: `VDSOKIT_ALL=1` tries all.
    fn all() -> impl Iterator<Item = Way> {
        let others = OTHERS.into_iter();
        let is_all = std::env::var_os("VDSOKIT_ALL").is_some();
        SAMPLE.into_iter().chain(others.filter(move |_| is_all))
    }

    /// Checks lines of a name and how many seconds something has lasted.
    #[track_caller]
    fn lasted(&self, lines: &str, names: &[&str]) {
        let Way { option, seconds } = *self;
        let fields = |line: &str| {
            let (name, passed) = line.split_once(' ').expect(lines);
            (name.to_owned(), passed.parse::<f64>().expect(lines))
        };
        let lines: Vec<(String, f64)> = lines.lines().map(fields).collect();
        let said: Vec<&str> = lines.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(said, names, "{option}");
        for (name, passed) in &lines {
            let is_right = *passed >= seconds && *passed < seconds * TOO_LONG;
            assert!(is_right, "{option}: {name} lasted {passed} s");
        }
    }
}

/// A directory with a short name, as addresses of sockets are short, that goes with its test.
fn directory() -> tempfile::TempDir {
    tempfile::TempDir::with_prefix("vdso-").expect("a directory")
}

/// A script of a test's, in its directory.
fn script(directory: &tempfile::TempDir, script: &str) -> String {
    let file = directory.path().join("script");
    fs::write(&file, script).expect("a script");
    file.to_str().expect("a path of text").to_owned()
}

/// `vdso run --time DATE --`, before what a test adds.
fn at_date() -> Command {
    vdso(&["run", "--time", DATE, "--"])
}

/// A program that is killed when its test fails.
struct Server(Child);

impl Server {
    fn start(command: &mut Command) -> Server {
        Server(command.spawn().expect("the server starts"))
    }

    /// Asks again, with a pause, while `ask` says nothing; the server has to be running.
    fn answer<T>(&mut self, mut ask: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            let ended = self.0.try_wait().expect("a child");
            assert!(ended.is_none(), "the server ended: {ended:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(mut self) -> ExitStatus {
        self.0.wait().expect("a child")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whether it has ended by itself is for the test to say.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn java_dates_what_it_makes() {
    let Some(tree) = debian(&["openjdk-17-jre-headless"]) else {
        return;
    };
    let directory = directory();
    let store = directory.path().join("store");
    let program = tree.join("usr/lib/jvm/java-17-openjdk-amd64/bin/keytool");
    let keytool = |command: &mut Command, words: &[&str]| {
        command
            .args([
                "-J-Xshare:auto",
                "-J-XX:TieredStopAtLevel=1",
                "-J-XX:+UseSerialGC",
            ])
            .args(words)
            .args(["-storepass", "password", "-keystore"])
            .arg(&store)
            .env("TZ", "UTC");
        let output = command.output().expect("keytool starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let key = "-genkeypair -keyalg EC -groupname secp256r1 -dname CN=x -alias x";
    let key: Vec<&str> = key.split(' ').collect();
    keytool(at_date().arg(&program), &key);
    let list = keytool(&mut Command::new(&program), &["-list", "-v"]);
    let from = list
        .lines()
        .find_map(|line| line.strip_prefix("Valid from: "));
    let (from, _) = from
        .and_then(|line| line.split_once(" until"))
        .expect(&list);
    assert!(
        from.starts_with("Tue Jun 01 12:") && from.ends_with(YEAR),
        "{from}"
    );
}

/// strace(1) attaches to a program that the tracer has let go, and counts what it calls.
#[test]
fn a_clock_is_read_without_a_system_call() {
    if !installed("python3") || !installed("strace") {
        return;
    }
    let directory = directory();
    let counts = directory.path().join("counts");
    // Itself, where the one in PATH is a script that chooses among several.
    let mut which = Command::new("python3");
    let which = which.args(["-c", "import sys; print(sys.executable)"]);
    let python = String::from_utf8(which.output().expect("python3 starts").stdout);
    let python = python.expect("a path of text");
    let options = ["run", "--no-follow", "--time", DATE, "--rate", "60"];
    let mut program = Talk::start(vdso(&options).args(["--", python.trim(), "-c", YEARS]));
    // It runs: its tracer has nothing to do any more, and goes.
    assert_eq!(program.ask(""), YEAR);
    let tracer = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|l| l.strip_prefix("TracerPid:"));
        line.expect("every process has the field").trim() != "0"
    };
    while tracer(&program.pid()) {
        thread::yield_now();
    }
    let mut strace = Command::new("strace");
    strace
        .args(["-c", "-o"])
        .arg(&counts)
        .args(["-p", &program.pid()]);
    let mut strace = Server::start(strace.stdin(Stdio::null()).stderr(Stdio::null()));
    let pid = program.pid();
    strace.answer(|| tracer(&pid).then_some(()));
    for _ in 0..100 {
        assert_eq!(program.ask(""), YEAR);
    }
    drop(program);
    assert!(strace.end().success());
    let counts = fs::read_to_string(counts).expect("what strace counted");
    let calls: Vec<&str> = counts
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    assert!(
        calls.contains(&"read") && calls.contains(&"write"),
        "{counts}"
    );
    for clock in ["clock_gettime", "gettimeofday", "time"] {
        assert!(!calls.contains(&clock), "{counts}");
    }
}
