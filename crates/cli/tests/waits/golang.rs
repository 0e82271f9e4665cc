//! Go's own tests of what waits: timers, sockets and processes with deadlines, and the runtime with its
//! threads and signals.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::printed;
use super::suites::{Outcome, all, at, ends_the_same};
use super::{installed, output, scratch, source, text};

/// It insists on a traceback of the thread that a signal has found, which is one of the runtime's own in a
/// converted wait as often as not: [`all_goroutines_are_printed_after_a_signal_in_a_wait`].
const UNKNOWN: &str = "TestSegv";

/// Packages whose tests are quick and need no other machine; of others it is those of `-short`.
const WHOLE: [&str; 2] = ["context", "time"];

/// The tests of a package, as a program, and the directory that it expects to be started in.
struct Package {
    program: PathBuf,
    source: PathBuf,
    is_whole: bool,
}

impl Package {
    fn new(name: &str) -> Package {
        let mut root = Command::new("go");
        let root = printed(root.args(["env", "GOROOT"]));
        let source = Path::new(&root).join("src").join(name);
        let program = scratch("golang").join(format!("{}.test", name.replace('/', "-")));
        let mut build = Command::new("go");
        // Debian's packages have no time zones beside the system's, which these tests don't use.
        build.args(["test", "-c", "-tags=timetzdata", "-o", text(&program)]);
        printed(build.current_dir(&source));
        Package {
            program,
            source,
            is_whole: WHOLE.contains(&name),
        }
    }

    /// Runs all tests, or one.
    fn outcome(&self, way: Option<&str>, test: Option<&str>) -> Outcome {
        let mut command = at(way, text(&self.program));
        command.arg("-test.v").current_dir(&self.source);
        // It ends a hang, in the time of the program.
        command.arg("-test.timeout=20m");
        if !all() || !self.is_whole {
            command.arg("-test.short");
        }
        if let Some(test) = test {
            command.arg(format!("-test.run=^{test}$"));
        }
        let output = command.output().expect("it runs");
        let printed = String::from_utf8_lossy(&output.stdout);
        // Results of tests within a test are indented.
        let results = printed.lines().filter_map(|line| {
            let (result, rest) = line.strip_prefix("--- ")?.split_once(": ")?;
            Some((result, rest.split(' ').next()?))
        });
        let mut outcome = Outcome::default();
        for (result, name) in results {
            outcome.count += 1;
            match result {
                "PASS" => {}
                "SKIP" => outcome.skipped += 1,
                "FAIL" => outcome.failed.push(name.to_owned()),
                _ => panic!("{output:?}"),
            }
        }
        let ended = i32::from(!outcome.failed.is_empty());
        assert_eq!(output.status.code(), Some(ended), "{output:?}");
        outcome.failed.retain(|test| test != UNKNOWN);
        outcome
    }
}

fn pass(name: &str) {
    if installed("go") {
        let package = Package::new(name);
        ends_the_same(name, |way, test| package.outcome(way, test));
    }
}

#[test]
fn gos_own_tests_of_context_pass_at_another_time_as_without() {
    pass("context");
}

#[test]
fn gos_own_tests_of_time_pass_at_another_time_as_without() {
    pass("time");
}

#[test]
fn gos_own_tests_of_sockets_and_processes_pass_at_another_time_as_without() {
    if all() {
        for name in ["net", "net/http", "os", "os/exec", "os/signal"] {
            pass(name);
        }
    }
}

/// They compile programs, and last a minute each time.
#[test]
fn gos_own_tests_of_its_runtime_pass_at_another_time_as_without() {
    if all() {
        pass("runtime");
    }
}

/// Go's unwinder knows no code but Go's, so that the gate is unknown to it. It starts from where a goroutine has
/// made its call, but a thread that waits for the runtime has no goroutine.
#[test]
fn all_goroutines_are_printed_after_a_signal_in_a_wait() {
    if !installed("go") {
        return;
    }
    let source = source("quit.go", include_str!("quit.go"));
    let program = Path::new(&source).with_extension("program");
    let mut build = Command::new("go");
    printed(build.args(["build", "-o", text(&program), &source]));
    let of_goroutine = (libc::SYS_select, false);
    let of_runtime = (libc::SYS_epoll_pwait2, true);
    for (call, is_unknown) in [of_goroutine, of_runtime] {
        let call = call.to_string();
        let output = output(&["run", "--rate=2", "--", text(&program), &call]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let stacks = String::from_utf8_lossy(&output.stderr);
        for function in ["main.main()", "main.sleeper()", "main.caller()"] {
            assert!(stacks.contains(function), "{function}: {stacks}");
        }
        assert_eq!(stacks.contains("unknown pc"), is_unknown, "{stacks}");
    }
}
