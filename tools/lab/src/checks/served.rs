//! `vdso serve --kernel` and what belongs to it.

use super::{VDSO, on_the_older, row};
use crate::check::{COUNTING, Check, Need};
use crate::programs;
use std::ffi::OsStr;
use std::path::Path;

/// The tests of `vdso serve --kernel`.
const SERVED_TEST: Need = Need::Test {
    package: "vdsokit-cli",
    name: "kernel_lab",
};

/// A static program that calls a function of a vDSO.
const KERNEL_READER: Need = Need::File {
    at: "/bin/kernel-reader",
    make: |workshop| {
        let source = Path::new("crates/cli/tests/readers/kernel.c");
        programs::compile(workshop, "kernel-reader", source, [OsStr::new("-static")])
    },
};

/// What checks of `vdso serve --kernel` need.
const SERVED: &[Need] = &[VDSO, SERVED_TEST, KERNEL_READER];

/// The same, and the image of a crate with `#[kernel = "…"]`.
const WITH_PRESSURE: &[Need] = &[
    VDSO,
    SERVED_TEST,
    KERNEL_READER,
    Need::File {
        at: "/lib/libpressure.so.1",
        make: |workshop| {
            programs::image(workshop, Path::new("examples/pressure"), "libpressure.so.1")
        },
    },
];

/// A row for one test of `vdso serve --kernel` and what belongs to it.
const fn served(name: &'static str, why: &'static str, command: &'static [&'static str]) -> Check {
    Check {
        needs: SERVED,
        ..row(name, why, command)
    }
}

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    served(
        "kernel-served",
        "values reach C programs by file and at exec, exact after events, and no process can write them",
        test!("kernel_lab", "served_by_file_and_at_exec"),
    ),
    served(
        "kernel-detached",
        "detached, the kernel goes on publishing until it is retired, also when the relay is killed",
        test!("kernel_lab", "detached_the_kernel_goes_on"),
    ),
    served(
        "kernel-killed",
        "killed, the publisher leaves the kernel publishing; the next one takes over",
        test!(
            "kernel_lab",
            "killed_the_publisher_leaves_the_kernel_publishing"
        ),
    ),
    served(
        "kernel-declared",
        "a declaration names the kernel's variables, records among them",
        test!("kernel_lab", "a_declaration_names_variables_of_the_kernels"),
    ),
    Check {
        needs: WITH_PRESSURE,
        ..served(
            "kernel-crate",
            "a function of a crate computes from variables of the running kernel",
            test!(
                "kernel_lab",
                "a_function_of_a_crate_computes_from_the_kernels_variables"
            ),
        )
    },
    served(
        "kernel-vars",
        "what can be published is listed, with fields",
        test!("kernel_lab", "what_can_be_published_is_listed"),
    ),
    served(
        "kernel-refused",
        "what is missing is named, and what works without it",
        test!("kernel_lab", "what_stands_in_the_way_is_said"),
    ),
    Check {
        needs: &[Need::Test {
            package: "vdsokit-sources",
            name: "system",
        }],
        ..served(
            "system-limits",
            "the limits of a control group are those that the kernel's files have",
            test!("system", "the_limits_are_those_that_the_kernels_files_have"),
        )
    },
    Check {
        command_line: "tsc=reliable",
        ..served(
            "kernel-clock",
            "`vdso serve clock --source timekeeper` and the kernel's own vDSO agree to the nanosecond",
            test!("kernel_lab", "the_clock_is_the_kernels_to_the_nanosecond"),
        )
    },
    on_the_older(Check {
        processor: COUNTING,
        ..served(
            "kernel-cost",
            "a read costs as many instructions from a kernel as from a process; how late a relay is",
            test!("kernel_lab", "what_a_read_costs_and_how_late_a_relay_is"),
        )
    }),
];
