//! cron, which sleeps until the next minute of the wall clock.

use std::process::Command;

use vdsokit_test_support::skip;

use super::common::{debian, printed};
use super::{directory, script};

/// When cron was started, and when each of so many jobs began, one of which is due each minute: in
/// seconds since 1970.
fn jobs(program: &std::path::Path, options: &[&str], count: usize) -> Vec<u64> {
    let directory = directory();
    let script = script(&directory, include_str!("cron.sh"));
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private"])
        .args([env!("CARGO_BIN_EXE_vdso"), "run"])
        .args(options)
        .args(["--", "bash", "-e", &script, &count.to_string()])
        .env("CRON", program)
        .current_dir(directory.path());
    let began = printed(&mut command);
    let began = began.lines().map(|line| line.parse().expect("a time"));
    began.collect()
}

#[test]
fn cron_starts_a_job_each_minute_of_its_time() {
    if !rustix::process::geteuid().is_root() {
        return skip("cron runs as root only");
    }
    let Some(tree) = debian(&["cron"]) else {
        return;
    };
    let program = tree.join("usr/sbin/cron");
    for options in [&["--skip-idle"][..], &["--skip-idle", "--offset=-1y"]] {
        let began = jobs(&program, options, 60);
        let minutes: Vec<u64> = began.iter().skip(1).map(|time| time / 60).collect();
        let first = minutes[0];
        let each: Vec<u64> = (first..first + 60).collect();
        assert_eq!(minutes, each, "{options:?}: {began:?}");
    }
    // A second of a busy machine is a minute here: a job may be late, and none is early.
    let began = jobs(&program, &["--rate", "60"], 4);
    let next = began[0] / 60 + 1;
    for (minute, time) in (next..).zip(&began[1..]) {
        assert!((minute..minute + 30).contains(&(time / 60)), "{began:?}");
    }
}
