//! The doctor inside machines whose clocks are slow on purpose. The lab's table names the tests.

mod time_namespace;

use serde_json::Value;
use std::process::Command;

/// What `vdso doctor --json` says, and its exit status.
fn doctor(command: &mut Command) -> (i32, Value) {
    let output = command.args(["doctor", "--json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    let status = output.status.code().unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

/// The finding with this cause.
fn finding<'a>(diagnosis: &'a Value, cause: &str) -> &'a Value {
    let findings = diagnosis["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|finding| finding["cause"] == cause)
        .unwrap_or_else(|| panic!("no finding {cause}: {findings:#?}"))
}

fn names_the_clocksource(name: &str) {
    let (status, diagnosis) = doctor(&mut Command::new("vdso"));
    assert_eq!(status, 1);
    assert_eq!(diagnosis["verdict"], "slow");
    let found = finding(&diagnosis, "clocksource");
    let what = found["what"].as_str().unwrap();
    assert!(
        what.starts_with(&format!("The clocksource is {name}: ")),
        "{what}"
    );
    assert!(what.contains("clock_gettime MONOTONIC"), "{what}");
    assert!(what.contains(&format!("`clocksource={name}`")), "{what}");
    let advice = found["advice"].as_str().unwrap();
    assert!(
        advice.contains(&format!("`clocksource={name}`")),
        "{advice}"
    );
    // What needs no counter is fast all the same.
    let calls = diagnosis["facts"]["calls"].as_array().unwrap();
    let coarse = |call: &&Value| call["function"]["clock_gettime"] == "MONOTONIC_COARSE";
    assert_eq!(calls.iter().find(coarse).unwrap()["vdso"], "directly");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm doctor-hpet"]
fn hpet_is_named() {
    names_the_clocksource("hpet");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm doctor-acpi-pm"]
fn acpi_pm_is_named() {
    names_the_clocksource("acpi_pm");
}

fn all_counters_are_read_directly(diagnosis: &Value) {
    for call in diagnosis["facts"]["calls"].as_array().unwrap() {
        let clock = &call["function"]["clock_gettime"];
        if ["REALTIME", "MONOTONIC", "BOOTTIME"]
            .iter()
            .any(|name| clock == name)
        {
            assert_eq!(call["vdso"], "directly", "{clock}");
        }
    }
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm doctor-tsc"]
fn a_tsc_is_fast() {
    let (status, diagnosis) = doctor(&mut Command::new("vdso"));
    assert_eq!(status, 0);
    assert_eq!(diagnosis["verdict"], "fast");
    assert_eq!(diagnosis["facts"]["clocksource"]["current"], "tsc");
    all_counters_are_read_directly(&diagnosis);
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm doctor-time-namespace"]
fn a_time_namespace_is_named() {
    time_namespace::for_children("monotonic 86400 0\nboottime 172800 0\n");
    let (status, diagnosis) = doctor(time_namespace::forked(&mut Command::new("vdso")));
    assert_eq!(status, 0);
    let what = finding(&diagnosis, "time_namespace")["what"]
        .as_str()
        .unwrap();
    assert!(
        what.contains("+86400 s") && what.contains("+172800 s"),
        "{what}"
    );
    all_counters_are_read_directly(&diagnosis);
}
