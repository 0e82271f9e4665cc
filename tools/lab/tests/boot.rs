//! The lab itself: what goes wrong in a guest is reported, whatever it is.
//!
//! Each test boots a kernel, which takes some seconds and needs the emulator, so
//! they run as part of the lab's step: `cargo xtask test lab`.

use std::path::{Path, PathBuf};
use std::time::Duration;
use vdsokit_lab::check::{DEBIAN_6_1, PROCESSOR};
use vdsokit_lab::plan::Verdict;
use vdsokit_lab::{Check, Need, Report, Which, Workshop, debian};

const fn check(name: &'static str, command: &'static [&'static str]) -> Check {
    Check {
        name,
        why: "",
        command,
        needs: &[],
        kernels: &[DEBIAN_6_1],
        command_line: "",
        processor: PROCESSOR,
        seconds: 60,
        rare: &[],
    }
}

fn workshop() -> Workshop {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Workshop::new(root).unwrap()
}

fn run(workshop: &Workshop, checks: &[Check]) -> Vec<Report> {
    let mut reports = Vec::new();
    let checks: Vec<&Check> = checks.iter().collect();
    vdsokit_lab::run(workshop, &checks, Which::All, |boot| {
        for report in &boot.reports {
            reports.push(Report {
                name: report.name.clone(),
                verdict: report.verdict.clone(),
                output: report.output.clone(),
            });
        }
    })
    .unwrap();
    reports
}

fn reason(report: &Report) -> &str {
    match &report.verdict {
        Verdict::Failed(reason) => reason,
        Verdict::Ok(_) => panic!("{} passed: {}", report.name, report.output),
    }
}

#[test]
#[ignore = "boots a kernel: cargo xtask test lab"]
fn a_check_that_goes_wrong_is_told_and_the_next_one_runs() {
    let guest = Need::Test {
        package: "vdsokit-lab",
        name: "guest",
    };
    let checks = [
        check("fails", &["sh", "-c", "echo said; echo more >&2; exit 3"]),
        check("is-not-there", &["no-such-program"]),
        check("dies", &["sh", "-c", "kill -SEGV $$"]),
        Check {
            seconds: 1,
            ..check("hangs", &["sleep", "1000"])
        },
        check(
            "leaves-a-daemon",
            &["sh", "-c", "setsid sleep 1000 & echo $! > /tmp/pid"],
        ),
        check(
            "finds-none",
            &["sh", "-c", "! test -d /proc/$(cat /tmp/pid)"],
        ),
        Check {
            needs: Box::leak(Box::new([guest])),
            ..check("no-such-test", &["guest", "--ignored", "--exact", "nobody"])
        },
        check("passes", &["true"]),
    ];
    let reports = run(&workshop(), &checks);
    assert_eq!(reason(&reports[0]), "exit status: 3");
    assert_eq!(reports[0].output, "said\nmore\n");
    assert!(reason(&reports[1]).starts_with("can't be run: "));
    assert!(reason(&reports[2]).starts_with("signal: 11"));
    assert_eq!(reason(&reports[3]), "took longer than 1 s");
    assert!(matches!(reports[4].verdict, Verdict::Ok(_)));
    assert!(
        matches!(reports[5].verdict, Verdict::Ok(_)),
        "{}",
        reports[5].output
    );
    assert_eq!(reason(&reports[6]), "no test of that name ran");
    assert!(matches!(reports[7].verdict, Verdict::Ok(_)));
}

#[test]
#[ignore = "boots a kernel: cargo xtask test lab"]
fn a_guest_that_panics_fails_the_checks_it_did_not_finish() {
    let checks = [
        check("before", &["true"]),
        // More than a pipe holds: when it has been written, the line before has been handed on.
        check(
            "panics",
            &[
                "sh",
                "-c",
                "echo last words; head -c 200000 /dev/zero; echo c > /proc/sysrq-trigger",
            ],
        ),
        check("after", &["true"]),
    ];
    let reports = run(&workshop(), &checks);
    assert!(matches!(reports[0].verdict, Verdict::Ok(_)));
    assert!(reason(&reports[1]).starts_with("not finished: the guest stopped"));
    assert_eq!(reports[1].output, "last words\n");
    assert!(reason(&reports[2]).starts_with("not reached: the guest stopped"));
}

#[test]
#[ignore = "boots a kernel: cargo xtask test lab"]
fn a_guest_that_hangs_is_ended() {
    fn busybox(workshop: &Workshop) -> Result<PathBuf, vdsokit_lab::Error> {
        debian::file(workshop, "busybox-static", "/bin/busybox")
    }
    let workshop = Workshop {
        overhead: Duration::from_secs(10),
        boots: 1,
        ..workshop()
    };
    // A shell as process 1 waits for input that never comes.
    let checks = [Check {
        needs: &[Need::File {
            at: "/sbin/sh",
            make: busybox,
        }],
        command_line: "rdinit=/sbin/sh",
        seconds: 0,
        ..check("never-runs", &["true"])
    }];
    let reports = run(&workshop, &checks);
    assert_eq!(
        reason(&reports[0]),
        "not reached: the guest hung: no result after 10 s"
    );
}
