//! The lab itself: what every other check relies on.

use super::{on_the_newer, row};
use crate::check::{Check, Need};

/// A shell command for rows that need no program.
macro_rules! shell {
    ($script:expr) => {
        &["sh", "-e", "-c", $script]
    };
}

/// A command that fails unless this is the kernel's clocksource.
macro_rules! clocksource {
    ($name:literal) => {
        shell!(concat!(
            "cd /sys/devices/system/clocksource/clocksource0; cat current_clocksource; grep -qx ",
            $name,
            " current_clocksource"
        ))
    };
}

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    Check {
        seconds: 10,
        ..row(
            "stock-kernel",
            "a stock kernel comes up with two CPUs, BTF and the file systems checks rely on",
            shell!(
                "uname -r; test $(grep -c ^processor /proc/cpuinfo) = 2; test -s \
                 /sys/kernel/btf/vmlinux; for fs in proc sysfs devtmpfs tmpfs bpf securityfs tracefs; \
                 do grep -q \" $fs \" /proc/mounts || { echo \"no $fs\"; exit 1; }; done"
            ),
        )
    },
    Check {
        needs: &[Need::Test {
            package: "vdsokit-lab",
            name: "guest",
        }],
        seconds: 20,
        ..row(
            "rust-test",
            "a Rust test of the workspace runs inside, as root and alone",
            &["guest", "--ignored", "--exact", "process_1_is_the_labs"],
        )
    },
    on_the_newer(Check {
        command_line: "clocksource=hpet",
        seconds: 10,
        ..row(
            "clocksource-hpet",
            "the command line chooses the clocksource: a kernel whose vDSO is slow",
            clocksource!("hpet"),
        )
    }),
    on_the_newer(Check {
        command_line: "clocksource=acpi_pm",
        seconds: 10,
        ..row(
            "clocksource-acpi-pm",
            "the slowest clocksource there is",
            clocksource!("acpi_pm"),
        )
    }),
    Check {
        command_line: "tsc=reliable",
        seconds: 10,
        ..row(
            "clocksource-tsc",
            "a kernel that trusts its TSC under emulation: the vDSO is fast",
            clocksource!("tsc"),
        )
    },
];
