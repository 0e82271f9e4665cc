//! The published clock on kernels whose own is slow.

use super::{LIBC, LIBM, LOADER, VDSO, on_the_newer, row};
use crate::check::{COUNTING, Check, DEBIAN_6_12, INVARIANT_TSC, Need, PROCESSOR, Processor};
use crate::{debian, programs};
use std::ffi::OsStr;
use std::path::Path;

/// The tests of a published clock.
const CLOCK_TEST: Need = Need::Test {
    package: "vdsokit-cli",
    name: "clock_lab",
};

/// One file of a package of Debian's.
macro_rules! debian {
    ($package:literal, $path:expr, at $at:expr) => {
        Need::File {
            at: $at,
            make: |workshop| debian::file(workshop, $package, $path),
        }
    };
    ($package:literal, $library:literal) => {
        debian!($package, $library, "usr/lib/x86_64-linux-gnu/")
    };
    ($package:literal, $library:literal, $directory:literal) => {
        debian!(
            $package,
            concat!($directory, $library),
            at concat!("/lib/x86_64-linux-gnu/", $library)
        )
    };
}

/// chronyd with its libraries, and a program that calls a function of the published image.
const WITH_CHRONY: &[Need] = &[
    VDSO,
    CLOCK_TEST,
    Need::File {
        at: "/bin/bound",
        make: |workshop| {
            let source = Path::new("crates/cli/tests/readers/bound.c");
            let include = workshop.root.join("crates/clock-image/include");
            let options = [OsStr::new("-I"), include.as_os_str()];
            programs::compile(workshop, "bound", source, options)
        },
    },
    debian!("chrony", "usr/sbin/chronyd", at "/bin/chronyd"),
    LOADER,
    LIBC,
    LIBM,
    debian!("libcap2", "libcap.so.2", "lib/x86_64-linux-gnu/"),
    debian!("libseccomp2", "libseccomp.so.2"),
    debian!("libnettle8", "libnettle.so.8"),
    debian!("libhogweed6", "libhogweed.so.6"),
    debian!("libgnutls30", "libgnutls.so.30"),
    debian!("libp11-kit0", "libp11-kit.so.0"),
    debian!("libidn2-0", "libidn2.so.0"),
    debian!("libunistring2", "libunistring.so.2"),
    debian!("libtasn1-6", "libtasn1.so.6"),
    debian!("libgmp10", "libgmp.so.10"),
    debian!("libffi8", "libffi.so.8"),
];

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
        needs: &[VDSO, CLOCK_TEST],
        command_line,
        processor,
        seconds: 120,
        ..row(name, why, command)
    }
}

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    on_the_newer(real_time(
        "real-time-hpet",
        "programs read an invariant TSC though the kernel reads its hpet, within the bound",
        test!(
            "clock_lab",
            "the_counter_is_read_though_the_kernel_does_not"
        ),
        "clocksource=hpet",
        INVARIANT_TSC,
    )),
    on_the_newer(real_time(
        "real-time-acpi-pm",
        "the same with the slowest clocksource there is",
        test!(
            "clock_lab",
            "the_counter_is_read_though_the_kernel_does_not"
        ),
        "clocksource=acpi_pm",
        INVARIANT_TSC,
    )),
    on_the_newer(real_time(
        "real-time-refused",
        "a TSC that is not invariant is refused with the reason",
        test!("clock_lab", "a_counter_that_is_not_invariant_is_refused"),
        "clocksource=hpet",
        PROCESSOR,
    )),
    on_the_newer(real_time(
        "real-time-namespace",
        "a process in a time namespace of its own has the kernel's clock, not the page's",
        test!(
            "clock_lab",
            "a_process_with_a_time_of_its_own_has_the_kernels_clock"
        ),
        "clocksource=hpet",
        INVARIANT_TSC,
    )),
    Check {
        needs: WITH_CHRONY,
        processor: Processor {
            model: INVARIANT_TSC.model,
            ..COUNTING
        },
        kernels: &[],
        rare: &[DEBIAN_6_12],
        seconds: 3600,
        ..row(
            "wall-time-chrony",
            "chronyd keeps the clock, and the interval of wall time contains the emulator's true time",
            test!(
                "clock_lab",
                "wall_time::the_interval_contains_the_true_time"
            ),
        )
    },
];
