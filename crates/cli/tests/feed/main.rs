//! `vdso feed` and `vdso put`, with Debian's nats-server and etcd.

mod bad_input;
mod cluster;
mod credentials;
mod disk;
mod etcd;
mod links;
mod lossy_link;
mod nats;
mod stores;
mod tunnel;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;
use vdsokit_publish::{Dynamic, Number, Vdso, place};

/// The declaration of most tests. `pair` is the key of `other`.
const DECLARATION: &str = r#"
[vdso]
soname = "libflags.so.1"
version = "FLAGS_1.0"

[var.limit]
type = "u32"
init = 100
[var.mode]
type = "str[16]"
init = "run"
[var.other]
type = "u32"
key = "pair"
[var.weights]
type = "f64[2]"
[var.wind]
[var.wind.fields.speed]
type = "f64"
init = 0.5
[var.wind.fields.from]
type = "str[8]"
"#;

fn vdso(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdso"));
    command.args(arguments).stdin(Stdio::null());
    command.env("COLUMNS", "300");
    command
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A program that ends with the test.
struct Running(Child);

impl Running {
    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let mut kill = Command::new("kill");
        let status = kill.args([name, &pid]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A machine of a fleet: a directory in which the vDSO is published.
struct Machine {
    directory: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self::with_declaration(DECLARATION)
    }

    fn with_declaration(text: &str) -> Self {
        let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
        fs::write(directory.path().join("flags.toml"), text).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `vdso feed` of the declaration, not started yet.
    fn command(&self, store: &str, options: &[&str]) -> Command {
        let file = self.path("flags.toml");
        let mut command = vdso(&["feed", file.to_str().unwrap(), "--from", store]);
        command.args(options);
        command
    }

    /// Starts `vdso feed`, and returns when its vDSO is live.
    fn feed(&self, store: &str, options: &[&str]) -> Feed {
        Self::start(self.command(store, options))
    }

    fn start(mut command: Command) -> Feed {
        command.arg("--json").stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // The test has ended.
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut feed = Feed {
            program: Running(child),
            events,
        };
        feed.event("\"live\"");
        feed
    }

    fn open(&self) -> Vdso {
        Vdso::open(self.path("libflags.so.1")).unwrap()
    }

    fn get(&self, name: &str) -> String {
        self.open().get(name).unwrap().to_string()
    }

    /// Waits until the variable has this value.
    #[track_caller]
    fn wait(&self, name: &str, value: &str) {
        eventually(|| {
            let now = self.get(name);
            (now == value).then_some(()).ok_or(now)
        });
    }

    /// Reads `limit` until the test `is_over`, and checks that it never goes back.
    fn read_until(&self, is_over: &AtomicBool) {
        let vdso = self.open();
        let mut newest = 0;
        while !is_over.load(Ordering::Relaxed) {
            let limit = number(&vdso, "limit");
            assert!(limit >= newest, "{limit} after {newest}");
            newest = limit;
            std::thread::yield_now();
        }
    }

    fn revision(&self) -> u64 {
        number(&self.open(), "feed_revision")
    }
}

fn number(vdso: &Vdso, name: &str) -> u64 {
    match vdso.get(name).unwrap() {
        Dynamic::Scalar(Number::Unsigned(number)) => number,
        other => panic!("{name}={other}"),
    }
}

/// A running `vdso feed --json`.
struct Feed {
    program: Running,
    events: Receiver<String>,
}

impl Feed {
    /// The next event that contains the text.
    #[track_caller]
    fn event(&mut self, text: &str) -> String {
        loop {
            // The sender ends with the program.
            let line = self.events.recv();
            let line = line.unwrap_or_else(|_| panic!("the feed ended without {text}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn is_running(&mut self) -> bool {
        self.program.0.try_wait().unwrap().is_none()
    }

    fn stop(mut self) {
        self.program.signal("-TERM");
        assert!(self.program.0.wait().unwrap().success());
    }
}

/// Polls until there is an answer. A test that never gets one is ended by the test run; every
/// minute it prints what it has instead.
#[track_caller]
fn eventually<T, E: std::fmt::Debug>(mut answer: impl FnMut() -> Result<T, E>) -> T {
    let caller = std::panic::Location::caller();
    let mut polls = 0u32;
    loop {
        match answer() {
            Ok(answer) => return answer,
            Err(other) => {
                polls += 1;
                if polls.is_multiple_of(3000) {
                    eprintln!("{caller}: still waiting, with {other:?}");
                }
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `vdso put` of these assignments, which has to succeed.
#[track_caller]
fn put(store: &str, assignments: &[&str]) {
    let output = vdso(&["put", store]).args(assignments).output().unwrap();
    assert!(
        output.status.success(),
        "{assignments:?}: {}",
        errors(&output)
    );
}

/// Runs a command that has to fail with status 1 and these words, and write nothing at the path.
#[track_caller]
fn refused(command: &mut Command, words: &[&str], absent: &Path) {
    let output = command.output().unwrap();
    // Without the breaks of lines.
    let text = errors(&output).replace('│', " ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(1), "{command:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
    assert!(!absent.exists(), "{} was written", absent.display());
}
