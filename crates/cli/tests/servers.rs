//! Programs that take more than a command line: servers that are asked over a socket, a
//! virtual machine, a debugger that looks at their system calls.
#![cfg(target_arch = "x86_64")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use common::{Talk, YEARS, debian, installed, vdso};

const DATE: &str = "2038-06-01T12:00:00Z";
const YEAR: &str = "2038";

/// A directory with a short name, as addresses of sockets are short, that goes with its test.
fn directory() -> tempfile::TempDir {
    tempfile::TempDir::with_prefix("vdso-").expect("a directory")
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
fn redis_is_asked_for_the_time() {
    let Some(tree) = debian(&["redis-tools", "liblzf1", "libjemalloc2"]) else {
        return;
    };
    let directory = directory();
    // One program with two names, of which the package has the other.
    let program = directory.path().join("redis-server");
    fs::copy(tree.join("usr/bin/redis-check-rdb"), &program).expect("copied");
    let socket = directory.path().join("socket");
    let mut command = at_date();
    command
        .arg(&program)
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .env("LD_LIBRARY_PATH", tree.join("usr/lib/x86_64-linux-gnu"))
        .stdout(Stdio::null());
    let mut server = Server::start(&mut command);
    let mut stream = server.answer(|| UnixStream::connect(&socket).ok());
    stream.write_all(b"TIME\r\n").expect("it listens");
    // An array of two strings: seconds and microseconds.
    let mut lines = BufReader::new(stream.try_clone().expect("the same socket")).lines();
    let lines: Vec<String> = lines.by_ref().take(3).map(|l| l.expect("text")).collect();
    let seconds: u64 = lines[2].parse().expect("a second");
    // The first of June at noon, and the day after.
    let noon = 2_159_006_400;
    assert!((noon..noon + 86_400).contains(&seconds), "{lines:?}");
    stream
        .write_all(b"SHUTDOWN NOSAVE\r\n")
        .expect("it listens");
    assert!(server.end().success());
}

/// What PostgreSQL needs beside what every Debian has.
const POSTGRES: [&str; 14] = [
    "postgresql-15",
    "postgresql-client-15",
    "libgssapi-krb5-2",
    "libicu72",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libldap-2.5-0",
    "libpq5",
    "libsasl2-2",
    "libssl3",
    "libxml2",
    "libxslt1.1",
];

/// Where PostgreSQL's programs, its data and its socket are, and who runs them: it refuses to
/// be root.
struct Postgres {
    home: tempfile::TempDir,
    is_root: bool,
}

impl Postgres {
    /// Initialises a data directory.
    fn new(tree: &Path) -> Postgres {
        let postgres = Postgres {
            home: directory(),
            is_root: rustix::process::geteuid().is_root(),
        };
        let home = postgres.home.path();
        // The cache may be where only its owner can look.
        for part in ["usr/lib", "usr/share/postgresql"] {
            let to = home.join(part);
            fs::create_dir_all(&to).expect("a directory");
            let mut copy = Command::new("cp");
            copy.arg("-a").arg(tree.join(part).join(".")).arg(&to);
            assert!(copy.status().expect("cp runs").success(), "{copy:?}");
        }
        let data = home.join("data");
        fs::create_dir(&data).expect("a directory");
        if postgres.is_root {
            fs::set_permissions(home, fs::Permissions::from_mode(0o755)).expect("permissions");
            chown(&data, Some(NOBODY), Some(NOBODY)).expect("given away");
        }
        let mut initialise = postgres.command(None, "initdb");
        initialise
            .args([
                "--no-sync",
                "--no-locale",
                "--encoding=UTF8",
                "--auth=trust",
            ])
            .args(["--username=test", "--pgdata"])
            .arg(&data);
        let output = initialise.output().expect("initdb starts");
        assert!(output.status.success(), "{output:?}");
        postgres
    }

    /// One of its programs, started through what comes before it.
    fn command(&self, before: Option<&Path>, program: &str) -> Command {
        let home = self.home.path();
        let mut words: Vec<std::ffi::OsString> = Vec::new();
        if self.is_root {
            let user = format!("--reuid={NOBODY} --regid={NOBODY} --clear-groups");
            words.push("setpriv".into());
            words.extend(user.split(' ').map(Into::into));
        }
        if let Some(before) = before {
            words.push(before.into());
            words.extend(["run", "--time", DATE, "--"].map(Into::into));
        }
        words.push(home.join("usr/lib/postgresql/15/bin").join(program).into());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env("LD_LIBRARY_PATH", home.join("usr/lib/x86_64-linux-gnu"))
            .current_dir(home)
            .stdin(Stdio::null());
        command
    }

    fn ask(&self, question: &str) -> Output {
        let mut client = self.command(None, "psql");
        client
            .args([
                "--username=test",
                "--dbname=postgres",
                "--tuples-only",
                "--no-align",
            ])
            .args(["--host", self.socket().to_str().expect("a path of text")])
            .args(["--command", question]);
        client.output().expect("psql starts")
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("data")
    }
}

/// The user who owns nothing.
const NOBODY: u32 = 65534;

#[test]
fn postgresql_is_asked_for_the_time() {
    let Some(tree) = debian(&POSTGRES) else {
        return;
    };
    let postgres = Postgres::new(&tree);
    let own = postgres.home.path().join("vdso");
    fs::copy(env!("CARGO_BIN_EXE_vdso"), &own).expect("copied");
    let mut command = postgres.command(Some(&own), "postgres");
    command
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-D"])
        .arg(postgres.socket())
        .arg("-k")
        .arg(postgres.socket())
        .stderr(Stdio::null());
    let mut server = Server::start(&mut command);
    // Each connection is served by a process of its own.
    let answer = server.answer(|| {
        let output = postgres.ask("select extract(year from now() at time zone 'UTC')");
        output.status.success().then_some(output)
    });
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), YEAR);
    let pid = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert!(server.end().success());
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
