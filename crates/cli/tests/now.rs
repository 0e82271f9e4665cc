//! `vdso now`: the time, and its bounds.

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use std::process::{Command, Output};
use std::time::Duration;

fn now(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdso"));
    command.arg("now").args(arguments).env("COLUMNS", "200");
    command.output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = now(arguments);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn moment(value: &Value) -> Duration {
    let number = |name: &str| value[name].as_u64().unwrap();
    Duration::new(number("seconds"), number("nanoseconds") as u32)
}

fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn the_bounds_of_the_monotonic_clock_lie_between_readings_of_it() {
    let before = monotonic();
    let bounds = json(&["monotonic", "--bounds", "--json"]);
    let after = monotonic();
    let (earliest, latest) = (moment(&bounds["earliest"]), moment(&bounds["latest"]));
    let width = Duration::from_nanos(bounds["width_ns"].as_u64().unwrap());
    assert_eq!(bounds["clock"], "CLOCK_MONOTONIC");
    assert_eq!(latest - earliest, width);
    assert!(
        before <= earliest + width && latest <= after + width,
        "{bounds}"
    );
}

#[test]
fn the_time_of_a_clock_lies_between_readings_of_it() {
    let before = monotonic();
    let time = moment(&json(&["monotonic", "--json"])["time"]);
    assert!(before <= time && time <= monotonic());
    let date = String::from_utf8(now(&[]).stdout).unwrap();
    assert!(date.ends_with("Z\n") && date.contains('T'), "{date}");
}

/// Which of the two is tested depends on the machine. `clock_lab` has a machine with an NTP daemon.
#[test]
fn a_wall_clock_has_bounds_or_a_sentence_that_names_the_daemon() {
    let output = now(&["realtime", "--bounds"]);
    let error = String::from_utf8(output.stderr).unwrap();
    match vdsokit::Clock::new().bounds(vdsokit::ClockId::Realtime) {
        Ok(_) => assert!(output.status.success(), "{error}"),
        Err(_) => {
            assert_eq!(output.status.code(), Some(1));
            assert!(output.stdout.is_empty());
            for word in ["no NTP daemon keeps", "would keep it"] {
                assert!(error.contains(word), "{error}");
            }
        }
    }
}

#[test]
fn an_unknown_clock_is_wrong_usage() {
    let output = now(&["sundial"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("monotonic-raw"), "{error}");
}
