//! What the step checks on each architecture.

use super::Boot;
use crate::conformance;
use std::time::{SystemTime, UNIX_EPOCH};

type Test = fn(&Boot) -> Result<(), String>;

/// What is checked on each architecture.
pub(super) const TESTS: &[(&str, Test)] = &[
    (
        "a program reads the clock without a system call",
        clock_by_vdso,
    ),
    (
        "without a vDSO the same program makes the call",
        clock_by_call,
    ),
    ("a shell runs pipelines, waits and gets signals", shell),
    ("processes on four CPUs", four_cpus),
    ("goroutines sleep and wake", goroutines),
    ("a function of the vDSO for each call", |boot| {
        conformance::check(boot, 4, &["calls"])
    }),
    ("Linux's own tests of its vDSO", of_linux),
    ("conformance on one CPU", |boot| {
        conformance::check(boot, 1, &["conformance"])
    }),
    ("conformance on four CPUs", |boot| {
        conformance::check(boot, 4, &["conformance"])
    }),
    ("conformance of a static program with musl", |boot| {
        conformance::check(boot, 1, &["conformance-musl"])
    }),
    ("waits with a time-out, of each kind", |boot| {
        conformance::check(boot, 4, &["waits"])
    }),
    (
        "the running task's slot and the process's page under torture",
        torture,
    ),
    (
        "pages of the kernel's image, denied calls, and clocks that are set",
        |boot| conformance::check(boot, 4, &["table"]),
    ),
    ("one program on kernels of three ages", ages),
    ("a first program that is started without some calls", denied),
];

/// What is checked with `--all` only.
pub(super) const LONG_TESTS: &[(&str, Test)] = &[(
    "a billion reads in order on four CPUs, while the clock is slewed and stepped",
    |boot| conformance::check(boot, 4, &["table", "reads", "1000000000"]),
)];

/// Prints what was read of each kind of task.
fn torture(boot: &Boot) -> Result<(), String> {
    let output = boot.output(4, &[], &["current"])?;
    for line in output.lines().filter(|line| line.contains(" wrong")) {
        println!("{line}");
    }
    conformance::verdict(&output)
}

/// The wall time that `date +%s` printed is between this machine's before and after.
fn is_now(output: &str, before: u64) -> Result<(), String> {
    let after = seconds();
    let mut numbers = output.lines().filter_map(|line| line.parse::<u64>().ok());
    match numbers.next() {
        Some(printed) if (before..=after).contains(&printed) => Ok(()),
        _ => Err(format!("no time from {before} to {after}: {output}")),
    }
}

fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn has_call(output: &str, name: &str) -> bool {
    output.contains(&format!("calls: __NR_{name} "))
}

/// Whether a clock was read by a system call: C libraries differ in which they make.
fn reads_clock_by_call(output: &str) -> bool {
    let calls = ["clock_gettime", "gettimeofday", "time"];
    calls.iter().any(|name| has_call(output, name))
}

fn clock_by_vdso(boot: &Boot) -> Result<(), String> {
    let before = seconds();
    let output = boot.output(1, &["count"], &["date", "+%s"])?;
    is_now(&output, before)?;
    if !has_call(&output, "write") || reads_clock_by_call(&output) {
        return Err(format!("the clock was read by system call: {output}"));
    }
    Ok(())
}

fn clock_by_call(boot: &Boot) -> Result<(), String> {
    let before = seconds();
    let output = boot.output(1, &["count", "vdso=off"], &["date", "+%s"])?;
    is_now(&output, before)?;
    if !reads_clock_by_call(&output) {
        return Err(format!("the clock was not read by system call: {output}"));
    }
    Ok(())
}

/// The symbols of the vDSO decide what a program does, and a kernel that counts calls shows it.
fn ages(boot: &Boot) -> Result<(), String> {
    let ages: [(&[&str], &str, &str); 3] = [
        (&["count", "vdso=off"], "call", "call"),
        (&["count", "vdso=old"], "function", "call"),
        (&["count"], "function", "function"),
    ];
    for (options, clock, random) in ages {
        let output = boot.output(1, options, &["table", "use"])?;
        expect(
            &output,
            &[&format!("clock by {clock}, random bytes by {random}")],
        )?;
        if reads_clock_by_call(&output) != (clock == "call") {
            return Err(format!(
                "{options:?}: the clock was not read by {clock}: {output}"
            ));
        }
    }
    Ok(())
}

fn denied(boot: &Boot) -> Result<(), String> {
    let sets = [("without=clock", "1"), ("without=random,socket", "6")];
    for (option, bits) in sets {
        boot.output(1, &[option], &["table", "denied", bits])?;
    }
    Ok(())
}

fn expect(output: &str, lines: &[&str]) -> Result<(), String> {
    let mut all = output.lines();
    for line in lines {
        if !all.any(|printed| printed == *line) {
            return Err(format!("`{line}` is missing or too early: {output}"));
        }
    }
    Ok(())
}

fn shell(boot: &Boot) -> Result<(), String> {
    let script = "trap 'echo caught' USR1; kill -USR1 $$; \
                  seq 3 | sort -r | cat; \
                  (sleep 0.2; echo slept) & wait; \
                  sh -c 'kill -KILL $$'; echo killed $?; \
                  sleep 100 & kill $!; wait $!; echo ended $?";
    let output = boot.output(1, &[], &["sh", "-c", script])?;
    let lines = ["caught", "3", "2", "1", "slept", "killed 137", "ended 143"];
    expect(&output, &lines)
}

fn four_cpus(boot: &Boot) -> Result<(), String> {
    let script = "for i in 1 2 3 4; do (seq 2000 | sort | wc -l) & done; wait; date +%s";
    let before = seconds();
    let output = boot.output(4, &[], &["sh", "-c", script])?;
    expect(&output, &["2000"; 4])?;
    let time = output.replace("2000\n", "");
    is_now(&time, before)
}

fn goroutines(boot: &Boot) -> Result<(), String> {
    let output = boot.output(2, &[], &["hello"])?;
    expect(&output, &["sum 45 slept true"])
}

fn of_linux(boot: &Boot) -> Result<(), String> {
    let names = ["gettimeofday", "getcpu", "abi", "clock_getres"];
    // 4: a function that this architecture's vDSO does not have, on Linux neither (KSFT_SKIP).
    let run = names.map(|name| format!("vdso_test_{name}; echo {name} ended $?"));
    let output = boot.output(1, &[], &["sh", "-c", &run.join("; ")])?;
    let ended = |line: &&str| line.ends_with(" ended 0") || line.ends_with(" ended 4");
    match output.lines().filter(ended).count() == names.len() && !output.contains("[FAIL]") {
        true => Ok(()),
        false => Err(format!("a test failed: {output}")),
    }
}
