//! Timers that meet waits, and time-outs of sockets.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::sync::OnceLock;

use super::{Waiter, compiled, said, scratch, text};

/// The program of `timers.c`.
fn program() -> String {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    let compile = || text(&compiled("timers", include_str!("timers.c"), &[])).to_owned();
    PROGRAM.get_or_init(compile).clone()
}

#[test]
fn a_signal_of_a_timer_that_is_due_first_interrupts_a_wait() {
    let program = program();
    for options in [["--skip-idle"], ["--rate=4"]] {
        let command = [&["run"], &options[..], &["--", &program, "interrupts"]].concat();
        assert_eq!(said(&command), "right\n", "{options:?}");
    }
}

#[test]
fn a_timer_whose_first_descriptor_is_gone_follows_the_clock() {
    let program = program();
    let command = ["run", "--skip-idle", "--", &program, "inherited"];
    assert_eq!(said(&command), "waits\ndone\n");
    let script = format!("exec {program} inherited");
    let mut waiter = Waiter::start("inherited", &[], &script);
    assert_eq!(waiter.line(), "waits");
    waiter.change(&["rate", "100000"]);
    assert_eq!(waiter.line(), "done");
}

#[test]
fn a_descriptor_with_the_number_of_a_timer_that_was_closed_is_another_timer() {
    assert_eq!(
        said(&["run", "--rate", "2", "--", &program(), "reused"]),
        "right\n"
    );
}

#[test]
fn a_step_cancels_a_timer_that_is_to_be_cancelled() {
    let program = program();
    for way in ["cancelled", "polled"] {
        let mut waiter = Waiter::start(way, &[], &format!("exec {program} {way}"));
        assert_eq!(waiter.line(), "waits");
        waiter.until_blocked();
        // Neither of these sets the clock.
        waiter.change(&["rate", "2"]);
        waiter.change(&["freeze"]);
        waiter.change(&["resume"]);
        waiter.change(&["step", "+1h"]);
        assert_eq!(waiter.line(), "right", "{way}");
    }
}

#[test]
fn a_timer_that_is_due_right_after_another_wait_fires() {
    let command = [
        "run",
        "--skip-idle",
        "--",
        &program(),
        "due-after-another-wait",
    ];
    assert_eq!(said(&command), "right\n");
}

/// The thread that is to set the timer again is the one whose poll is served.
#[test]
fn a_timer_of_a_thread_that_polls_fires() {
    let program = compiled("alone", include_str!("alone.c"), &[]);
    for options in ["--skip-idle", "--rate=10"] {
        let command = ["run", options, "--", text(&program), "polls"];
        assert_eq!(said(&command), "fired\n", "{options}");
    }
}

#[test]
fn a_timer_of_a_thread_that_runs_fires_once_it_waits() {
    let program = compiled("alone-runs", include_str!("alone.c"), &[]);
    let file = scratch("programs").join("alone-runs-file");
    fs::write(&file, [0]).expect("a file");
    let script = format!("exec {} runs {}", text(&program), text(&file));
    let mut waiter = Waiter::start("runs", &[], &script);
    assert_eq!(waiter.line(), "runs");
    waiter.change(&["step", "+1d"]);
    let opened = fs::OpenOptions::new().write(true).open(&file);
    opened.expect("the file").write_all(&[1]).expect("written");
    assert_eq!(waiter.line(), "fired");
}

/// A call that is made in between ends a restartable sequence as the loss of the CPU does: by an abort.
#[test]
fn a_restartable_sequence_is_aborted_where_its_thread_sets_a_timer() {
    let program = compiled("sequences", include_str!("sequences.c"), &[]);
    for _ in 0..3 {
        let mut waiter = Waiter::start("sequences", &[], &format!("exec {}", text(&program)));
        assert_eq!(waiter.line(), "runs");
        waiter.change(&["step", "+1d"]);
        assert_eq!(waiter.line(), "whole");
    }
}

#[test]
fn a_timer_whose_time_a_step_passes_fires() {
    let program = program();
    for way in ["passed", "passed-posix"] {
        let mut waiter = Waiter::start(way, &[], &format!("exec {program} {way}"));
        assert_eq!(waiter.line(), "waits");
        waiter.change(&["step", "+2d"]);
        assert_eq!(waiter.line(), "right", "{way}");
    }
}

#[test]
fn calls_fail_and_count_as_the_kernel_has_it() {
    let program = compiled("errors", include_str!("errors.c"), &[]);
    let plain = Command::new(&program).output().expect("it runs");
    let plain = String::from_utf8(plain.stdout).expect("text");
    assert!(plain.lines().count() > 50, "{plain}");
    for options in [
        &["--offset", "+1s"][..],
        &["--rate", "1.000001"],
        &["--skip-idle"],
    ] {
        let command = [&["run"], options, &["--", text(&program)]].concat();
        assert_eq!(said(&command), plain, "{options:?}");
    }
}

#[test]
fn a_timer_whose_number_is_anothers_follows_the_clock() {
    let program = program();
    let command = ["run", "--skip-idle", "--", &program, "renumbered"];
    assert_eq!(said(&command), "waits\nright\n");
    let mut waiter = Waiter::start("renumbered", &[], &format!("exec {program} renumbered"));
    assert_eq!(waiter.line(), "waits");
    waiter.change(&["rate", "100000"]);
    assert_eq!(waiter.line(), "right");
}

#[test]
fn a_step_fires_no_timer_that_was_set_to_none_before() {
    for options in [&[][..], &["--clocks", "wall"]] {
        let script = format!("exec {} disarmed", program());
        let mut waiter = Waiter::start("disarmed", options, &script);
        assert_eq!(waiter.line(), "waits");
        waiter.change(&["step", "+2d"]);
        writeln!(waiter.child.stdin.as_mut().expect("a pipe"), "go").expect("it listens");
        assert_eq!(waiter.line(), "right", "{options:?}");
    }
}

#[test]
fn an_interval_timer_fires_once_for_each_interval() {
    let program = program();
    assert_eq!(
        said(&["run", "--skip-idle", "--", &program, "counted"]),
        "right\n"
    );
    let mut waiter = Waiter::start("stands", &["--freeze"], &format!("exec {program} stands"));
    assert_eq!(waiter.line(), "right");
}

#[test]
fn the_timer_of_a_process_that_makes_no_call_follows_the_clock() {
    let script = format!("exec {} spins", program());
    let mut waiter = Waiter::start("spins", &[], &script);
    assert_eq!(waiter.line(), "waits");
    waiter.change(&["rate", "100000"]);
    assert_eq!(waiter.line(), "right");
}

#[test]
fn a_timer_of_cpu_time_is_the_kernels() {
    let command = ["run", "--rate", "1000", "--", &program(), "cpu-time"];
    assert_eq!(said(&command), "right\n");
}

#[test]
fn the_timeout_of_a_socket_is_skipped_by_each_of_its_descriptors() {
    let command = ["run", "--skip-idle", "--", &program(), "receives"];
    assert_eq!(said(&command), "waits\nright\n");
}
