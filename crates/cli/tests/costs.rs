//! What a program under `vdso run` waits for, counted.

#![cfg(target_arch = "x86_64")]

mod common;

use std::process::Command;

/// Prints the fewest times that a command gives up its CPU to wait, and the median, in 60 runs of it.
/// What else the machine does makes it wait more often. But one run of a program in some dozens waits
/// once less, because its parent lets it run on, so the fewest of one command are no measure for another.
const COUNT: &str = "
import os, sys
def waits():
    child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
    _, status, usage = os.wait4(child, 0)
    assert status == 0, status
    return usage.ru_nvcsw
counts = sorted(waits() for _ in range(60))
print(counts[0], counts[30])
";

/// The counts for a command.
struct Waits {
    fewest: u32,
    median: u32,
}

/// The counts for `command`, started by a process that `below` starts.
fn waits(below: &[&str], command: &[&str]) -> Waits {
    let script = [below, &["python3", "-c", COUNT], command].concat();
    let mut counter = Command::new(script[0]);
    // A name is found in the last of its directories.
    counter
        .args(&script[1..])
        .env("PATH", "/1:/2:/3:/4:/5:/usr/local/bin:/usr/bin:/bin");
    let output = counter.output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let counts = String::from_utf8_lossy(&output.stdout);
    let mut counts = counts.split_whitespace().map(|count| count.parse());
    let mut next = || counts.next().expect("two counts").expect("a number");
    Waits {
        fewest: next(),
        median: next(),
    }
}

const VDSO: &str = env!("CARGO_BIN_EXE_vdso");

#[test]
fn a_program_that_is_executed_waits_twice() {
    let plain = waits(&[], &["/bin/true"]).median;
    for time in [
        ["--offset", "-30d"],
        ["--rate", "2"],
        ["--time", "2030-01-01"],
    ] {
        let below = [&[VDSO, "run"], &time[..], &["--"]].concat();
        let served = waits(&below, &["/bin/true"]).fewest;
        // For its supervisor's answer to execve, and in its exec stop.
        assert!(
            served <= plain + 2,
            "{time:?}: {served}, and {plain} by itself"
        );
    }
}

#[test]
fn a_start_waits_four_times_however_long_path_is() {
    let plain = waits(&[], &["/bin/true"]).median;
    for program in ["true", "/bin/true"] {
        let started = waits(&[], &[VDSO, "run", "--offset", "-30d", "--", program]).fewest;
        // Until its supervisor's parent has started that, until that process has ended, and twice
        // as every program.
        assert!(
            started <= plain + 4,
            "{program}: {started}, and {plain} by itself"
        );
    }
}
