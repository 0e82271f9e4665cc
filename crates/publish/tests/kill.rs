//! A publisher killed at any instruction leaves readers a complete value, old or new, and
//! the next publisher can start.
//!
//! A process is single-stepped by ptrace(2) through each action of a publisher.
//!
//! | test | stops at | and |
//! | --- | --- | --- |
//! | `a_publisher_killed_at_any_instruction_…` | sampled instructions | kills the process |
//! | `what_a_publisher_leaves_at_each_instruction_…` | every instruction | looks at the files |
//!
//! A kill leaves the files as they are, and releases locks (flock(2)). So of a process that is not killed
//! every instruction is seen in one run: where the files differ from those of the instruction before,
//! readers and the next publisher try a copy of them. With `VDSOKIT_ALL=1` in the environment that is done
//! for all actions, otherwise for the short ones.
#![allow(
    unsafe_code,
    reason = "ptrace(2) and waitpid(2) have no safe functions"
)]

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::DirEntryExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_publish::serve::{Heartbeat, Serve};
use vdsokit_publish::{Publisher, Vdso, assign, install, place, set};

const NAME: &str = "libv.so.1";

const OLD: &str = r#"
[vdso]
soname = "libv.so.1"
version = "V_1.0"

[var.value]
type = "u64[4]"
"#;

const MORE: &str = "\n[var.more]\ntype = \"u32\"\n";

fn built(text: &str) -> Vec<u8> {
    let declaration = Declaration::parse("test.toml", text).unwrap();
    image(&declaration, Architecture::host().unwrap()).unwrap()
}

/// What the traced process does between its two stops.
#[derive(Clone, Copy, Debug)]
enum Action {
    Write,
    Resume,
    Replace,
    Set,
    Serve,
    End,
    Install,
}

impl Action {
    const ALL: [Self; 7] = [
        Self::Write,
        Self::Resume,
        Self::Replace,
        Self::Set,
        Self::Serve,
        Self::End,
        Self::Install,
    ];

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|action| format!("{action:?}") == name)
    }

    /// The image with which the next publisher comes.
    fn image(self) -> Vec<u8> {
        match self {
            Self::Replace | Self::Install => built(&format!("{OLD}{MORE}")),
            _ => built(OLD),
        }
    }

    /// What readers may find, at any time. An image that is installed has its initial values.
    fn values(self) -> &'static [u64] {
        match self {
            Self::Install => &[1, 0],
            _ => &[1, 2],
        }
    }

    fn run(self, path: &Path, image: &[u8]) {
        let options = Publisher::options().stale_after(std::time::Duration::from_secs(5));
        match self {
            Self::Write => {
                let publisher = options.open(path).unwrap();
                let mut writer = publisher.latched::<[u64; 4]>("value").unwrap();
                stop();
                writer.set([2; 4]);
                stop();
            }
            Self::Resume => {
                stop();
                let publisher = options.open(path).unwrap();
                stop();
                drop(publisher);
            }
            Self::Replace => {
                stop();
                let publisher = options.create(path, image).unwrap();
                stop();
                drop(publisher);
            }
            Self::Set => {
                let assignments = assign::parse("value=2,2,2,2").unwrap();
                stop();
                set(path, &assignments).unwrap();
                stop();
            }
            Self::Serve => {
                let publisher = options.open(path).unwrap();
                let (lines, mut writer) = UnixStream::pair().unwrap();
                let (end, _still_open) = UnixStream::pair().unwrap();
                writer.write_all(b"value=2,2,2,2\n").unwrap();
                drop(writer);
                let serve = Serve {
                    lines: Some(lines.as_fd()),
                    stop: end.as_fd(),
                };
                let period = std::time::Duration::from_secs(1);
                stop();
                let ended = serve.run(publisher, Heartbeat(period), |_, error| panic!("{error}"));
                stop();
                ended.unwrap();
            }
            Self::End => {
                let publisher = options.open(path).unwrap();
                stop();
                drop(publisher);
                stop();
            }
            Self::Install => {
                stop();
                install(path, image).unwrap();
                stop();
            }
        }
    }
}

/// Stops this thread, which becomes the parent's tracee at the first call.
fn stop() {
    // SAFETY: the first request takes no pointer; the second call ends when the tracer
    // resumes this thread.
    unsafe {
        libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
        libc::raise(libc::SIGSTOP);
    }
}

#[test]
#[ignore = "the process that the other test traces"]
fn tracee() {
    let (Some(action), Some(path)) = (
        std::env::var("VDSOKIT_ACTION").ok(),
        std::env::var_os("VDSOKIT_PATH"),
    ) else {
        return;
    };
    let action = Action::from_name(&action).unwrap();
    let image = action.image();
    action.run(Path::new(&path), &image);
}

/// Where to kill: after so many stops at system calls, and so many instructions then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    calls: usize,
    steps: usize,
}

/// A traced process at the beginning of its action.
struct Tracee {
    process: Child,
    thread: libc::pid_t,
}

impl Tracee {
    fn start(action: Action, path: &Path) -> Self {
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tracee", "--ignored", "--nocapture"])
            .env("VDSOKIT_ACTION", format!("{action:?}"))
            .env("VDSOKIT_PATH", path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (thread, signal) = wait().expect("the first stop");
        assert_eq!(signal, libc::SIGSTOP);
        // SAFETY: the request takes a number.
        unsafe {
            libc::ptrace(
                libc::PTRACE_SETOPTIONS,
                thread,
                0,
                libc::PTRACE_O_TRACESYSGOOD,
            )
        };
        Self { process, thread }
    }

    /// Resumes it by `request`, and returns the signal of its next stop: SIGSTOP at the action's end.
    fn resume(&self, request: libc::c_uint) -> libc::c_int {
        // SAFETY: the requests take a number: no signal.
        assert_eq!(unsafe { libc::ptrace(request, self.thread, 0, 0) }, 0);
        let (_, signal) = wait().expect("a stop");
        assert!(
            signal == libc::SIGSTOP || signal & !0x80 == libc::SIGTRAP,
            "stopped by signal {signal}"
        );
        signal
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        // The thread is reported as well as the process.
        while wait().is_some() {}
        let _ = self.process.wait();
    }
}

/// How far the process got: `None` when it was killed at the point, else how many stops at
/// system calls and how many steps there were before the action's end.
fn run_to(action: Action, path: &Path, point: Point) -> Option<Point> {
    let tracee = Tracee::start(action, path);
    let mut seen = Point { calls: 0, steps: 0 };
    let ended = loop {
        if seen == point {
            break None;
        }
        let step = seen.calls == point.calls;
        let request = match step {
            true => libc::PTRACE_SINGLESTEP,
            false => libc::PTRACE_SYSCALL,
        };
        if tracee.resume(request) == libc::SIGSTOP {
            break Some(seen);
        }
        match step {
            true => seen.steps += 1,
            false => seen.calls += 1,
        }
    };
    tracee.kill();
    ended
}

/// Held while there is a tracee: [`wait`] waits for any.
static TRACING: Mutex<()> = Mutex::new(());

/// The next stop of a tracee, and its signal; `None` when there is no child left.
fn wait() -> Option<(libc::pid_t, libc::c_int)> {
    loop {
        let mut status = 0;
        // SAFETY: a pointer to a local variable.
        let thread = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        if thread < 0 {
            assert_eq!(
                io::Error::last_os_error().raw_os_error(),
                Some(libc::ECHILD)
            );
            return None;
        }
        if libc::WIFSTOPPED(status) {
            return Some((thread, libc::WSTOPSIG(status)));
        }
    }
}

fn value(vdso: &Vdso, allowed: &[u64]) -> u64 {
    let value = vdso.latched::<[u64; 4]>("value").unwrap().get();
    assert_eq!(value, [value[0]; 4], "torn");
    assert!(allowed.contains(&value[0]), "{value:?}");
    value[0]
}

/// A directory with the file that the action is about, its value 1.
fn scene() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join(NAME);
    drop(Publisher::create(&path, &built(OLD)).unwrap());
    set(&path, &assign::parse("value=1,1,1,1").unwrap()).unwrap();
    (directory, path)
}

/// Checks what a killed publisher left in a directory: readers see a whole value, and the next
/// publisher starts with it and leaves no other file.
fn check_left(action: Action, directory: &Path, what: &str) {
    let path = directory.join(NAME);
    let read = || value(&Vdso::open(&path).unwrap(), action.values());
    let left = read();
    let next = Publisher::create(&path, &action.image())
        .unwrap_or_else(|error| panic!("{action:?} {what}: no publisher can start: {error}"));
    assert_eq!(read(), left, "{action:?} {what}");
    drop(next);
    let files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(files, [NAME], "{action:?} {what}");
}

/// Kills the process at the point, and checks what it left. False when the action had ended
/// before.
fn check(action: Action, point: Point) -> bool {
    let (directory, path) = scene();
    let before = Vdso::open(&path).unwrap();
    if run_to(action, &path, point).is_some() {
        return false;
    }
    value(&before, action.values());
    check_left(action, directory.path(), &format!("{point:?}"));
    true
}

/// The files of a directory: inode and contents by name.
type Files = BTreeMap<OsString, (u64, Vec<u8>)>;

fn files(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).unwrap();
    let file = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        assert!(entry.file_type().unwrap().is_file());
        (
            entry.file_name(),
            (entry.ino(), fs::read(entry.path()).unwrap()),
        )
    };
    entries.map(file).collect()
}

/// A copy of a directory in which names of one file are names of one file, as a lock needs it.
fn copy(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let mut copied: HashMap<u64, PathBuf> = HashMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = copy.path().join(entry.file_name());
        match copied.get(&entry.ino()) {
            Some(same) => fs::hard_link(same, &path).unwrap(),
            // With the mode.
            None => drop(fs::copy(entry.path(), &path).unwrap()),
        }
        copied.insert(entry.ino(), path);
    }
    copy
}

/// Runs the action, and checks after each instruction what a kill would leave. Returns how many
/// instructions there were, and at how many the files had changed.
fn walk(action: Action) -> (usize, usize) {
    let (directory, path) = scene();
    let before = Vdso::open(&path).unwrap();
    let tracee = Tracee::start(action, &path);
    let (mut steps, mut changes) = (0, 0);
    let mut last = files(directory.path());
    loop {
        value(&before, action.values());
        let now = files(directory.path());
        if now != last || steps == 0 {
            let what = format!("after {steps} instructions");
            check_left(action, copy(directory.path()).path(), &what);
            changes += 1;
            last = now;
        }
        if tracee.resume(libc::PTRACE_SINGLESTEP) == libc::SIGSTOP {
            break;
        }
        steps += 1;
    }
    tracee.kill();
    check_left(action, directory.path(), "at its end");
    (steps, changes)
}

/// How many stops at system calls the action has, or steps after the `calls`th of them.
fn length(action: Action, point: Point) -> Point {
    let (_directory, path) = scene();
    run_to(action, &path, point).expect("the action ends")
}

/// Kills after the `calls`th stop at a system call, at each `stride`th instruction of the next
/// `most`. Returns how often it killed.
fn sweep(action: Action, calls: usize, stride: usize, most: usize) -> usize {
    (0..=most)
        .step_by(stride)
        .take_while(|&steps| check(action, Point { calls, steps }))
        .count()
}

#[test]
fn a_publisher_killed_at_any_instruction_leaves_a_complete_value() {
    const END: usize = usize::MAX;
    let _alone = TRACING.lock().unwrap_or_else(PoisonError::into_inner);
    for action in Action::ALL {
        let length = |calls, steps| length(action, Point { calls, steps });
        let stops = length(END, 0).calls;
        let kills: usize = if matches!(action, Action::Write) {
            // Its stops are those of the raised signals; the write is between them.
            let steps = length(0, END).steps;
            sweep(action, 0, steps / 60 + 1, steps)
        } else {
            (0..=stops)
                .step_by(stops / 24 + 1)
                .map(|stop| sweep(action, stop, 41, 41))
                .sum()
        };
        assert!(kills > 20, "{action:?}: killed {kills} times");
        println!("{action:?}: {stops} stops at system calls, killed {kills} times");
    }
}

#[test]
fn what_a_publisher_leaves_at_each_instruction_is_a_complete_value() {
    let _alone = TRACING.lock().unwrap_or_else(PoisonError::into_inner);
    // The others have 170,000 to 400,000 instructions: four minutes together.
    let short = [Action::Write, Action::End];
    let all = std::env::var_os("VDSOKIT_ALL").is_some();
    for action in if all { &Action::ALL[..] } else { &short } {
        let (steps, changes) = walk(*action);
        println!("{action:?}: {steps} instructions, files changed at {changes}");
    }
}
