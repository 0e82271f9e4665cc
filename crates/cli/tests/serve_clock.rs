//! `vdso serve clock` and `vdso run --clock`: publisher and readers are processes of their
//! own, and what befalls the publisher hurts no reader.
//!
//! `VDSOKIT_SOAK` says for how many seconds a clock is compared with the kernel's; one, when
//! it isn't set.
#![cfg(target_arch = "x86_64")]

mod common;
mod real_time;

use common::{installed, output};
use real_time::{Kernel, Published, Publisher, Seen, compare_while};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vdsokit::{Clock, Condition, Vdso};
use vdsokit_clock::Source;
use vdsokit_publish::place;
use vdsokit_sources::clock;

/// A directory of our own, and the file in it.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let file = directory.path().join(clock::FILE);
    (directory, file)
}

fn serve(file: &Path, source: &str) -> Publisher {
    let at = file.to_str().unwrap();
    let arguments = ["serve", "clock", "--json", "--source", source, "--at", at];
    Publisher::start(&mut common::vdso(&arguments))
}

/// A publisher of source `counter`; none, and the test is skipped, where the machine's
/// counter can't be trusted: README.md lists that as a reason.
fn counter(file: &Path) -> Option<Publisher> {
    if let Err(untrusted) = clock::Counter::new(Default::default()) {
        eprintln!("skipped: {untrusted}");
        return None;
    }
    Some(serve(file, "counter"))
}

/// Whether the last read was the page's.
fn answers(published: &Published) -> bool {
    let record = published.record();
    matches!(record.source, Source::Counter { .. }) && record.at(real_time::ticks()).is_some()
}

/// Reads until the page answers, or no longer does.
fn until(answer: bool, published: &Published, read: &impl Fn() -> u64) -> Seen {
    compare_while(published, read, |_| answers(published) != answer)
}

fn well(what: &str, seen: &Seen) {
    assert_eq!((seen.outside, seen.back), (0, 0), "{what}: {seen}");
}

/// Stops a publisher and lets it go on, and kills it; all that time the clock is read.
fn through_a_publishers_life(file: &Path, publisher: Pid, read: impl Fn() -> u64) {
    let published = Published::open(file.to_owned());
    well("live", &until(true, &published, &read));
    let mut last = read();
    for signal in [Signal::STOP, Signal::CONT, Signal::KILL] {
        kill_process(publisher, signal).unwrap();
        let seen = until(signal == Signal::CONT, &published, &read);
        well(&format!("after {signal:?}"), &seen);
        let now = read();
        assert!(now >= last, "back after {signal:?}");
        last = now;
    }
    // It is the kernel's from now on, and not only while the promise is made good.
    let seen = compare_while(&published, &read, |seen| seen.fallbacks < 10_000);
    well("killed", &seen);
}

#[test]
fn a_publisher_that_is_stopped_or_killed_hurts_no_clock() {
    let (_directory, file) = place();
    let Some(publisher) = counter(&file) else {
        return;
    };
    let clock = Clock::open(&file).unwrap();
    let read = || clock.now().nanoseconds();
    through_a_publishers_life(&file, Pid::from_child(&publisher.child), read);
    assert!(!clock.is_counter());
    assert!(clock.error().is_zero());

    // The next one is followed, by a clock that was made before it came.
    let before = clock.now();
    let _successor = counter(&file).unwrap();
    let published = Published::open(file.clone());
    well("successor", &until(true, &published, &read));
    assert!(clock.now() >= before);
}

#[test]
fn a_publisher_that_is_stopped_or_killed_hurts_no_program() {
    let (_directory, file) = place();
    let Some(_publisher) = counter(&file) else {
        return;
    };
    let this = std::env::current_exe().unwrap();
    let ran = common::vdso(&["run", &format!("--clock={}", file.display()), "--"])
        .arg(this)
        .args(["--ignored", "--exact", "--nocapture", "inside_a_program"])
        .env("PUBLISHED", &file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{ran:?}");
}

/// A program that knows nothing of the published clock it runs on, but ends its publisher.
#[test]
#[ignore = "run by another test, under `vdso run --clock`"]
fn inside_a_program() {
    assert!(clock::is_delivered());
    let file = PathBuf::from(std::env::var_os("PUBLISHED").expect("the publisher's file"));
    let publisher = Vdso::open(&file).unwrap().status().publisher.unwrap();
    let publisher = Pid::from_raw(publisher as i32).unwrap();
    through_a_publishers_life(&file, publisher, || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    });
}

#[test]
fn an_orderly_end_leaves_readers_the_kernels_clock() {
    let (_directory, file) = place();
    let Some(mut publisher) = counter(&file) else {
        return;
    };
    let (published, clock) = (Published::open(file.clone()), Clock::open(&file).unwrap());
    let read = || clock.now().nanoseconds();
    well("live", &until(true, &published, &read));
    publisher.signal(Signal::TERM);
    let by_kernel = || published.record().source == Source::Kernel;
    well("ended", &compare_while(&published, read, |_| !by_kernel()));
    well(
        "after",
        &compare_while(&published, read, |seen| seen.compared < 1000),
    );
    assert_eq!(publisher.event()["event"], "retired");
    assert!(publisher.child.wait().unwrap().success());
    let status = Vdso::open(&file).unwrap().status();
    assert_eq!(status.condition, Condition::Stopped);
}

#[test]
fn the_clock_is_within_its_bound_of_the_kernels() {
    let (_directory, file) = place();
    let Some(_publisher) = counter(&file) else {
        return;
    };
    let seconds = match std::env::var("VDSOKIT_SOAK") {
        Ok(seconds) => seconds.parse().expect("a number of seconds"),
        Err(_) => 1,
    };
    let (published, clock) = (Published::open(file.clone()), Clock::open(&file).unwrap());
    let end = Kernel::nanoseconds() + seconds * 1_000_000_000;
    let read = || clock.now().nanoseconds();
    let seen = compare_while(&published, read, |_| Kernel::nanoseconds() < end);
    println!("{seconds} s: {seen}");
    well("counter against the kernel", &seen);
    assert!(seen.compared > seen.fallbacks, "{seen}");
}

#[test]
fn ls_shows_source_age_and_bound() {
    let (_directory, file) = place();
    let Some(publisher) = counter(&file) else {
        return;
    };
    let published = Published::open(file.clone());
    let text = file.to_str().unwrap();
    // The publisher of a busy machine may be late for a moment.
    let shown = (0..100).find_map(|_| {
        let listed: Value =
            serde_json::from_slice(&output(&["ls", text, "--json"]).stdout).unwrap();
        let published = listed["images"][0]["published"].clone();
        let clock = &published["clocks"][1];
        let is_up = clock["source"] == "counter" && clock["answers"] == true;
        is_up.then_some(published)
    });
    let shown = shown.expect("a record that answers");
    assert_eq!(shown["publisher"], publisher.child.id());
    assert!(shown["age"].as_f64().unwrap() < 5.0);
    let monotonic = &shown["clocks"][1];
    assert_eq!(monotonic["clock"], "CLOCK_MONOTONIC");
    assert_eq!(monotonic["source"], "counter");
    assert!(monotonic["error_ns"].as_u64().unwrap() > 0);

    publisher.signal(Signal::STOP);
    until(false, &published, &Kernel::nanoseconds);
    let said = String::from_utf8(output(&["ls", text]).stdout).unwrap();
    assert!(
        said.contains("no valid line: readers make a system call"),
        "{said}"
    );
    let coarse = said
        .lines()
        .find(|line| line.contains("CLOCK_REALTIME_COARSE"));
    assert!(coarse.unwrap().contains("kernel"), "{said}");
}

#[test]
fn ls_of_a_program_on_the_clock_shows_its_publisher() {
    let (_directory, file) = place();
    let publisher = serve(&file, "kernel");
    let clock = format!("--clock={}", file.display());
    let mut program = common::vdso(&["run", &clock, "--", "sh", "-c", "echo up; read line"]);
    let mut program = common::Talk::start(&mut program);
    assert_eq!(program.hear(), "up");

    let listed = output(&["ls", &program.pid().to_string(), "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let image = &listed["images"][0];
    assert_eq!(image["published"]["state"], "live", "{image}");
    assert_eq!(image["published"]["publisher"], publisher.child.id());
    assert_eq!(image["published"]["clocks"][1]["source"], "kernel");
    // The image is a copy in a memfd; its pages are the publisher's file.
    let path = image["path"].as_str().unwrap();
    assert!(path.starts_with("/memfd:"), "{path}");
    let pages = image["data"].as_array().unwrap();
    assert_eq!(pages.len(), 1, "{image}");
    assert_eq!(pages[0]["name"], file.to_str().unwrap());
}

#[test]
fn every_source_is_right_and_said() {
    for source in ["kernel", "system-call", "auto"] {
        let (_directory, file) = place();
        let publisher = serve(&file, source);
        let live = publisher.live["source"].as_str().unwrap();
        assert!(source == "auto" || live == source, "{live}");
        let clock = Clock::open(&file).unwrap();
        let published = Published::open(publisher.file());
        let read = || clock.now().nanoseconds();
        well(
            source,
            &compare_while(&published, read, |seen| seen.compared < 1000),
        );
    }
}

/// No reader of a clock needs a right that others don't have, nor a program that is run on it.
#[test]
fn a_program_without_a_publisher_is_told_and_runs() {
    let (_directory, file) = place();
    let clock = format!("--clock={}", file.display());
    let required = output(&["run", &clock, "--require-clock", "--", "true"]);
    assert_eq!(required.status.code(), Some(125), "{required:?}");
    let missing = output(&["run", &clock, "--", "true"]);
    assert!(missing.status.success(), "{missing:?}");
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(said.contains("never published"), "{said}");
    let required = output(&["run", &clock, "--require-clock", "--", "true"]);
    assert_eq!(required.status.code(), Some(125), "{required:?}");

    let mut publisher = serve(&file, "kernel");
    publisher.signal(Signal::TERM);
    assert!(publisher.child.wait().unwrap().success());
    let ran = output(&["run", &clock, "--", "true"]);
    assert!(ran.status.success(), "{ran:?}");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("stopped"), "{said}");
}

/// Services start in any order after a boot.
#[test]
fn a_program_takes_the_clock_when_it_appears() {
    let (_directory, file) = place();
    let clock = format!("--clock={}", file.display());
    let mut sleeper = common::vdso(&["run", &clock, "--", "sh", "-c", "echo up; read line"]);
    let mut sleeper = common::Talk::start(&mut sleeper);
    assert_eq!(sleeper.hear(), "up");
    let inode = |path: &std::path::Path| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).unwrap().ino()
    };
    let before = inode(&file);
    let _publisher = serve(&file, "kernel");
    // The publisher continues in the file whose pages the program has.
    assert_eq!(inode(&file), before);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", sleeper.pid())).unwrap();
    let name = file.to_str().unwrap();
    assert!(maps.lines().any(|line| line.ends_with(name)), "{maps}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (_directory, file) = place();
    let clock = format!("--clock={}", file.display());
    for arguments in [
        &["run", &clock, "--offset", "+1h", "--", "true"][..],
        &["run", &clock, "--strict", "--", "true"],
        &["run", &clock, "--name", "x", "--", "true"],
        &["serve", "clock", "--source", "nonsense"],
    ] {
        assert_ne!(output(arguments).status.code(), Some(0), "{arguments:?}");
    }
    let stdin = output(&["serve", "clock", "--stdin"]);
    assert_eq!(stdin.status.code(), Some(1));
    // A vDSO that is no clock's.
    let directory = file.parent().unwrap();
    let declaration =
        "[vdso]\nsoname = \"libw.so.1\"\nversion = \"W_1.0\"\n[var.t]\ntype = \"f64\"\n";
    std::fs::write(directory.join("weather.toml"), declaration).unwrap();
    let mut build = common::vdso(&["build", "weather.toml"]);
    assert!(build.current_dir(directory).status().unwrap().success());
    let other = format!("--clock={}", directory.join("libw.so.1").display());
    let refused = output(&["run", &other, "--", "true"]);
    assert_eq!(refused.status.code(), Some(125), "{refused:?}");
}

/// Python, which was not built for any of this, has the clock too.
#[test]
fn a_program_in_another_language_has_the_clock() {
    let (_directory, file) = place();
    let Some(_publisher) = counter(&file).filter(|_| installed("python3")) else {
        return;
    };
    let script = "import time; print(time.monotonic_ns())";
    let before = Kernel::nanoseconds();
    let ran = common::vdso(&[
        "run",
        &format!("--clock={}", file.display()),
        "--",
        "python3",
    ])
    .args(["-c", script])
    .output()
    .unwrap();
    let seen: u64 = String::from_utf8(ran.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(before < seen && seen < Kernel::nanoseconds() + 1_000_000_000);
}
