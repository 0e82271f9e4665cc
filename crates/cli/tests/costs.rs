//! What a program under `vdso run` waits for, counted.

#![cfg(target_arch = "x86_64")]

mod common;

use std::process::Command;

use common::{compiled, said};

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

/// Prints how futex waits end, and how often the process gave up its CPU to wait in 100 of the last.
const FUTEX: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint32_t words[2] = { 1, 1 };

static const char *waits(char *address, int operation, int expected, struct timespec *time, int bits)
{
	syscall(SYS_futex, address, operation, expected, time, 0, bits);
	return strerrorname_np(errno);
}

int main(void)
{
	const int wall = FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME | FUTEX_PRIVATE_FLAG;
	char *word = (char *)words;
	struct timespec now, past, future, wrong = { 1, 1000000000 }, later = { 1000, 0 };
	struct rusage before, after;

	clock_gettime(CLOCK_REALTIME, &now);
	past = future = now;
	past.tv_sec -= 10;
	future.tv_sec += 1000;
	puts(waits(word, wall, 0, &future, -1));
	puts(waits(word, wall, 1, &past, -1));
	puts(waits(word, wall, 0, &future, 0));
	puts(waits(word + 2, wall, 0, &future, -1));
	puts(waits(word, wall, 0, &wrong, -1));
	puts(waits(0, wall, 0, &future, -1));
	puts(waits(word, FUTEX_WAIT, 0, &later, 0));
	puts(waits(word, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 0, &later, 0));
	getrusage(RUSAGE_SELF, &before);
	for (int i = 0; i < 100; i++)
		waits(word, wall, i % 2, i % 2 ? &past : &future, -1);
	getrusage(RUSAGE_SELF, &after);
	printf("%ld\n", after.ru_nvcsw - before.ru_nvcsw);
}
"#;

#[test]
fn a_futex_wait_that_ends_at_once_is_not_stopped() {
    let program = compiled("futex", FUTEX, &[]);
    let program = program.to_str().expect("a path of text");
    let expected = [
        "EAGAIN",
        "ETIMEDOUT",
        "EINVAL",
        "EINVAL",
        "EINVAL",
        "EFAULT",
        "EAGAIN",
        "ENOSYS",
    ];
    for time in [["--offset", "-30d"], ["--offset", "+30d"], ["--rate", "2"]] {
        let output = said(&[&["run"], &time[..], &["--", program]].concat());
        let lines: Vec<&str> = output.lines().collect();
        let (count, ends) = lines.split_last().expect("lines");
        assert_eq!(ends, expected, "{time:?}");
        // For its supervisor's answer, and no second time in a stop.
        let count: u32 = count.parse().expect("a number");
        assert!(count < 150, "{time:?}: {count} in 100 calls");
    }
}
