//! The kernel as a publisher, by the tests of `vdsokit-bpf`.

use super::{on_the_newer, on_the_older, row};
use crate::check::{COUNTING, Check, Need};

/// What checks of the kernel as a publisher need.
const KERNEL_TESTS: &[Need] = &[Need::Test {
    package: "vdsokit-bpf",
    name: "kernel",
}];

/// A row for one test of the kernel as a publisher.
const fn kernel(name: &'static str, why: &'static str, command: &'static [&'static str]) -> Check {
    Check {
        needs: KERNEL_TESTS,
        ..row(name, why, command)
    }
}

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    kernel(
        "kernel-values",
        "every named kernel variable is what /proc shows",
        test!("kernel", "values::every_named_value_is_what_proc_shows"),
    ),
    kernel(
        "kernel-barriers",
        "the program for weakly ordered machines passes the verifier",
        test!(
            "kernel",
            "values::the_program_for_weakly_ordered_machines_does_the_same"
        ),
    ),
    kernel(
        "kernel-events",
        "values are exact at once after the events they name",
        test!(
            "kernel",
            "values::values_are_exact_at_once_after_their_events"
        ),
    ),
    kernel(
        "kernel-timekeeper",
        "the hook's argument leads to the clocks' coefficients",
        test!("kernel", "values::the_hooks_argument_is_the_timekeeper"),
    ),
    kernel(
        "kernel-soak",
        "nothing is torn and nothing lost under load",
        test!(
            "kernel",
            "soak::nothing_is_torn_and_nothing_lost_under_load"
        ),
    ),
    kernel(
        "kernel-leak",
        "loading and unloading leaves nothing in the kernel",
        test!(
            "kernel",
            "life::loading_and_unloading_leaves_nothing_behind"
        ),
    ),
    kernel(
        "kernel-detach",
        "the kernel goes on publishing without the publisher",
        test!(
            "kernel",
            "life::the_kernel_goes_on_publishing_when_the_publisher_is_gone"
        ),
    ),
    kernel(
        "kernel-retire",
        "a publisher that retires marks its vDSO as stopped",
        test!("kernel", "life::a_publisher_that_retires_says_so"),
    ),
    kernel(
        "kernel-readers",
        "unprivileged readers read and can't write",
        test!(
            "kernel",
            "access::unprivileged_readers_read_and_cannot_write"
        ),
    ),
    kernel(
        "kernel-privileges",
        "missing privileges are named",
        test!("kernel", "access::missing_privileges_are_named"),
    ),
    kernel(
        "kernel-drop",
        "a publisher needs no privileges once it runs",
        test!(
            "kernel",
            "access::a_publisher_needs_no_privileges_once_it_runs"
        ),
    ),
    kernel(
        "kernel-refusals",
        "addresses and secrets are refused",
        test!("kernel", "refusals::addresses_and_secrets_are_refused"),
    ),
    kernel(
        "kernel-list",
        "what can be published is listed with types",
        test!("kernel", "refusals::the_list_says_what_there_is"),
    ),
    kernel(
        "kernel-no-btf",
        "a kernel without BTF is refused politely",
        test!(
            "kernel",
            "refusals::a_kernel_without_types_is_refused_politely"
        ),
    ),
    on_the_older(Check {
        processor: COUNTING,
        ..kernel(
            "kernel-instructions",
            "what the hook costs, in instructions",
            test!("kernel", "figures::instructions"),
        )
    }),
    on_the_older(Check {
        processor: COUNTING,
        ..kernel(
            "kernel-age",
            "no value is older than a tick, counted in ticks",
            test!("kernel", "figures::no_value_is_older_than_a_tick"),
        )
    }),
    kernel(
        "kernel-figures",
        "what the hook and a read cost",
        test!("kernel", "figures::figures"),
    ),
    on_the_newer(Check {
        command_line: "lockdown=confidentiality",
        ..kernel(
            "kernel-lockdown",
            "a locked-down kernel is named as such",
            test!("kernel", "access::a_locked_down_kernel_is_named"),
        )
    }),
];
