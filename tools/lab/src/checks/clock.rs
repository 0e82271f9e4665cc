//! The published clock on kernels whose own is slow.

use super::{VDSO, row};
use crate::check::{Check, INVARIANT_TSC, Need, PROCESSOR, Processor};

/// A row for one test of a published clock, in a machine with these words on its kernel's
/// command line and this processor.
const fn real_time(
    name: &'static str,
    why: &'static str,
    command: &'static [&'static str],
    command_line: &'static str,
    processor: Processor,
) -> Check {
    Check {
        needs: &[
            VDSO,
            Need::Test {
                package: "vdsokit-cli",
                name: "clock_lab",
            },
        ],
        command_line,
        processor,
        seconds: 120,
        ..row(name, why, command)
    }
}

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    real_time(
        "real-time-hpet",
        "programs read an invariant TSC though the kernel reads its hpet, within the bound",
        test!(
            "clock_lab",
            "the_counter_is_read_though_the_kernel_does_not"
        ),
        "clocksource=hpet",
        INVARIANT_TSC,
    ),
    real_time(
        "real-time-acpi-pm",
        "the same with the slowest clocksource there is",
        test!(
            "clock_lab",
            "the_counter_is_read_though_the_kernel_does_not"
        ),
        "clocksource=acpi_pm",
        INVARIANT_TSC,
    ),
    real_time(
        "real-time-refused",
        "a TSC that is not invariant is refused with the reason",
        test!("clock_lab", "a_counter_that_is_not_invariant_is_refused"),
        "clocksource=hpet",
        PROCESSOR,
    ),
    real_time(
        "real-time-namespace",
        "a process in a time namespace of its own has the kernel's clock, not the page's",
        test!(
            "clock_lab",
            "a_process_with_a_time_of_its_own_has_the_kernels_clock"
        ),
        "clocksource=hpet",
        INVARIANT_TSC,
    ),
];
