//! A publisher killed at any instruction leaves readers a complete value, old or new, and
//! the next publisher can start.
//!
//! A process is single-stepped by ptrace(2) through a write, a resume, a replacement and
//! `set`, and killed at sampled instructions; with `VDSOKIT_ALL=1` in the environment, at
//! every one.
#![allow(
    unsafe_code,
    reason = "ptrace(2) and waitpid(2) have no safe functions"
)]

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_publish::{Publisher, Vdso, assign, place, set};

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
}

impl Action {
    const ALL: [Self; 4] = [Self::Write, Self::Resume, Self::Replace, Self::Set];

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|action| format!("{action:?}") == name)
    }

    /// The image with which the next publisher comes.
    fn image(self) -> Vec<u8> {
        match self {
            Self::Replace => built(&format!("{OLD}{MORE}")),
            _ => built(OLD),
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

/// How far the process got: `None` when it was killed at the point, else how many stops at
/// system calls and how many steps there were before the action's end.
fn run_to(action: Action, path: &Path, point: Point) -> Option<Point> {
    let mut child = Command::new(std::env::current_exe().unwrap())
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
        // SAFETY: the requests take a number: no signal.
        assert_eq!(unsafe { libc::ptrace(request, thread, 0, 0) }, 0);
        let (_, signal) = wait().expect("a stop");
        if signal == libc::SIGSTOP {
            break Some(seen);
        }
        assert_eq!(signal & !0x80, libc::SIGTRAP, "{seen:?}");
        match step {
            true => seen.steps += 1,
            false => seen.calls += 1,
        }
    };
    child.kill().unwrap();
    // The thread is reported as well as the process.
    while wait().is_some() {}
    let _ = child.wait();
    ended
}

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

fn value(vdso: &Vdso) -> u64 {
    let value = vdso.latched::<[u64; 4]>("value").unwrap().get();
    assert_eq!(value, [value[0]; 4], "torn");
    assert!([1, 2].contains(&value[0]), "{value:?}");
    value[0]
}

/// Kills the process at the point, and checks what it left. False when the action had ended
/// before.
fn check(action: Action, point: Point) -> bool {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join("libv.so.1");
    drop(Publisher::create(&path, &built(OLD)).unwrap());
    set(&path, &assign::parse("value=1,1,1,1").unwrap()).unwrap();
    let before = Vdso::open(&path).unwrap();

    if run_to(action, &path, point).is_some() {
        return false;
    }
    value(&before);
    let left = value(&Vdso::open(&path).unwrap());
    let next = Publisher::create(&path, &action.image()).unwrap_or_else(|error| {
        panic!("{action:?} {point:?}: no publisher can start: {error}");
    });
    assert_eq!(
        value(&Vdso::open(&path).unwrap()),
        left,
        "{action:?} {point:?}"
    );
    drop(next);
    let files: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(files, ["libv.so.1"], "{action:?} {point:?}");
    true
}

/// How many stops at system calls the action has, or steps after the `calls`th of them.
fn length(action: Action, point: Point) -> Point {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join("libv.so.1");
    drop(Publisher::create(&path, &built(OLD)).unwrap());
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
    let every = std::env::var_os("VDSOKIT_ALL").is_some();
    for action in Action::ALL {
        let stops = length(
            action,
            Point {
                calls: END,
                steps: 0,
            },
        )
        .calls;
        let steps_after = |calls| length(action, Point { calls, steps: END }).steps;
        let kills: usize = if every {
            // Between two stops lie the instructions by which the numbers differ.
            (0..=stops)
                .map(|stop| {
                    let next = if stop < stops {
                        steps_after(stop + 1)
                    } else {
                        0
                    };
                    sweep(action, stop, 1, steps_after(stop).saturating_sub(next))
                })
                .sum()
        } else if matches!(action, Action::Write) {
            // Its stops are those of the raised signals; the write is between them.
            let steps = steps_after(0);
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
