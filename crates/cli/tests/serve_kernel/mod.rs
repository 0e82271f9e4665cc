//! `vdso serve` and a program that reads what it publishes.

use crate::{until, vdso};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Forks since boot, as /proc/stat has them.
pub(crate) fn forks() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let line = stat
        .lines()
        .find_map(|line| line.strip_prefix("processes "));
    line.unwrap().parse().unwrap()
}

/// `vdso serve`, live.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) events: BufReader<ChildStdout>,
    pub(crate) live: Value,
}

impl Server {
    pub(crate) fn start(arguments: &[&str], path: &Path) -> Self {
        let mut command = vdso();
        command.arg("serve").args(arguments);
        match arguments.contains(&"--kernel") {
            true => command.arg("--at").arg(path),
            false => command.arg(path),
        };
        Self::of(command.arg("--json"))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self {
            child,
            events,
            live: Value::Null,
        };
        server.live = server.event();
        assert_eq!(server.live["event"], "live", "{}", server.live);
        println!("{}", server.live);
        server
    }

    pub(crate) fn event(&mut self) -> Value {
        let mut line = String::new();
        self.events.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    pub(crate) fn stop(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The static C program that reads a variable for each line.
pub(crate) struct Reader {
    pub(crate) child: Child,
    stdin: ChildStdin,
    values: BufReader<ChildStdout>,
}

impl Reader {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take().unwrap(),
            values: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Loads the file itself, as any loader does.
    pub(crate) fn of_file(path: &Path) -> Self {
        let mut command = Command::new("kernel-reader");
        Self::start(command.arg("file").arg(path).arg("kernel_forks"))
    }

    /// Has the vDSO from `vdso run`.
    pub(crate) fn at_exec(path: &Path) -> Self {
        let mut command = vdso();
        command.arg("run").arg("--object").arg(path);
        Self::start(command.args(["--", "kernel-reader", "own", "kernel_forks"]))
    }

    pub(crate) fn read(&mut self) -> u64 {
        self.stdin.write_all(b"\n").unwrap();
        let mut line = String::new();
        self.values.read_line(&mut line).unwrap();
        line.trim_end().parse().unwrap()
    }

    /// Waits until it reads what /proc shows before and after.
    pub(crate) fn agrees(&mut self) {
        until(|| {
            let before = forks();
            before == self.read() && before == forks()
        });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
