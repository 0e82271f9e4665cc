//! The lab itself: what every other check relies on.

use crate::check::{Check, Need, PROCESSOR, STOCK};

/// A shell command for rows that need no program.
macro_rules! shell {
    ($script:expr) => {
        &["sh", "-e", "-c", $script]
    };
}

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "stock-kernel",
        why: "a stock kernel comes up with two CPUs, BTF and the file systems checks rely on",
        command: shell!(
            "uname -r; test $(grep -c ^processor /proc/cpuinfo) = 2; test -s \
             /sys/kernel/btf/vmlinux; for fs in proc sysfs devtmpfs tmpfs bpf securityfs tracefs; \
             do grep -q \" $fs \" /proc/mounts || { echo \"no $fs\"; exit 1; }; done"
        ),
        needs: &[],
        kernels: STOCK,
        command_line: "",
        processor: PROCESSOR,
        seconds: 10,
        rare: &[],
    },
    Check {
        name: "rust-test",
        why: "a Rust test of the workspace runs inside, as root and alone",
        command: &["guest", "--ignored", "--exact", "process_1_is_the_labs"],
        needs: &[Need::Test {
            package: "vdsokit-lab",
            name: "guest",
        }],
        kernels: STOCK,
        command_line: "",
        processor: PROCESSOR,
        seconds: 20,
        rare: &[],
    },
    Check {
        name: "clocksource-hpet",
        why: "the command line chooses the clocksource: a kernel whose vDSO is slow",
        command: shell!(
            "cd /sys/devices/system/clocksource/clocksource0; cat current_clocksource; grep -qx \
             hpet current_clocksource"
        ),
        needs: &[],
        kernels: STOCK,
        command_line: "clocksource=hpet",
        processor: PROCESSOR,
        seconds: 10,
        rare: &[],
    },
    Check {
        name: "clocksource-acpi-pm",
        why: "the slowest clocksource there is",
        command: shell!(
            "cd /sys/devices/system/clocksource/clocksource0; cat current_clocksource; grep -qx \
             acpi_pm current_clocksource"
        ),
        needs: &[],
        kernels: STOCK,
        command_line: "clocksource=acpi_pm",
        processor: PROCESSOR,
        seconds: 10,
        rare: &[],
    },
    Check {
        name: "clocksource-tsc",
        why: "a kernel that trusts its TSC under emulation: the vDSO is fast",
        command: shell!(
            "cd /sys/devices/system/clocksource/clocksource0; cat current_clocksource; grep -qx \
             tsc current_clocksource"
        ),
        needs: &[],
        kernels: STOCK,
        command_line: "tsc=reliable",
        processor: PROCESSOR,
        seconds: 10,
        rare: &[],
    },
];
