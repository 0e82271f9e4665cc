//! `vdso doctor` on kernels whose clocks are slow.

use super::{VDSO, on_the_newer, row};
use crate::check::{Check, Need};

/// A row for one test of the doctor, in a machine with these words on its kernel's command line.
const fn doctor(
    name: &'static str,
    why: &'static str,
    command: &'static [&'static str],
    command_line: &'static str,
) -> Check {
    Check {
        needs: &[
            VDSO,
            Need::Test {
                package: "vdsokit-cli",
                name: "doctor_lab",
            },
        ],
        command_line,
        seconds: 60,
        ..row(name, why, command)
    }
}

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    on_the_newer(doctor(
        "doctor-hpet",
        "the doctor names an hpet that the command line selects",
        test!("doctor_lab", "hpet_is_named"),
        "clocksource=hpet",
    )),
    on_the_newer(doctor(
        "doctor-acpi-pm",
        "the doctor names the slowest clocksource there is",
        test!("doctor_lab", "acpi_pm_is_named"),
        "clocksource=acpi_pm",
    )),
    doctor(
        "doctor-tsc",
        "the doctor finds nothing wrong with a TSC that the kernel trusts",
        test!("doctor_lab", "a_tsc_is_fast"),
        "tsc=reliable",
    ),
    doctor(
        "doctor-time-namespace",
        "the doctor names a time namespace, and that it makes no clock slow",
        test!("doctor_lab", "a_time_namespace_is_named"),
        "tsc=reliable",
    ),
];
