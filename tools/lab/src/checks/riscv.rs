//! 64-bit RISC-V: what works there of the checks of [`arm`](super::arm).

use super::{VDSO, row};
use crate::check::{Check, Need, RISCV, RISCV_6_12};

macro_rules! program {
    ($name:literal $(, $rest:literal)+) => {
        static_program!(Riscv64, concat!("/bin/riscv-", $name), $name $(, $rest)+)
    };
}

/// What the rows need.
const NEEDS: &[Need] = &[
    VDSO,
    Need::Test {
        package: "vdsokit-lab",
        name: "architectures",
    },
    program!("waits", "waits.c"),
    program!("registers", "registers.S", "-nostdlib"),
    // Other compilers than this architecture's make tables for unwinding by themselves.
    program!("sleeper", "sleeper.c", "-fasynchronous-unwind-tables"),
    program!("vectors", "vectors.c"),
    program!("reads", "reads.c"),
    program!(
        "kill_at",
        "../../../../crates/deliver/tests/programs/kill_at.c"
    ),
    selftest!(Riscv64, "/bin/riscv-", "vdso_test_gettimeofday"),
    selftest!(Riscv64, "/bin/riscv-", "vdso_test_getcpu"),
    selftest!(Riscv64, "/bin/riscv-", "vdso_test_abi"),
    selftest!(Riscv64, "/bin/riscv-", "vdso_test_clock_getres"),
];

/// A row for one test. No ordinary run has them: the programs take minutes to build.
const fn riscv(name: &'static str, why: &'static str, command: &'static [&'static str]) -> Check {
    Check {
        needs: NEEDS,
        kernels: &[],
        rare: &[RISCV_6_12],
        processor: RISCV,
        ..row(name, why, command)
    }
}

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    riscv(
        "riscv-publishing",
        "64-bit RISC-V: a declaration is built, checked, published and read",
        test!(
            "architectures",
            "a_declaration_is_built_checked_published_and_read"
        ),
    ),
    riscv(
        "riscv-inspection",
        "64-bit RISC-V: the kernel's own vDSO is listed",
        test!("architectures", "the_kernels_own_vdso_is_listed"),
    ),
    riscv(
        "riscv-run",
        "64-bit RISC-V: programs get an object at exec and keep the kernel's vDSO",
        test!(
            "architectures",
            "a_program_gets_an_object_and_keeps_the_kernels_vdso"
        ),
    ),
    riscv(
        "riscv-waits",
        "64-bit RISC-V: waits and timers follow a program's clock",
        test!("architectures", "every_wait_and_timer_follows_the_clock"),
    ),
    riscv(
        "riscv-clock-changed",
        "64-bit RISC-V: what waits follows a clock that is changed, and idle time is skipped",
        test!("architectures", "a_changed_clock_reaches_what_waits"),
    ),
    riscv(
        "riscv-registers",
        "64-bit RISC-V: a converted wait changes no register but the result's and t6",
        test!(
            "architectures",
            "a_converted_wait_changes_no_register_that_a_program_keeps"
        ),
    ),
    riscv(
        "riscv-counter",
        "64-bit RISC-V: a clock from the counter is published and delivered",
        test!("architectures", "the_counter_is_published_as_a_clock"),
    ),
    riscv(
        "riscv-attach",
        "64-bit RISC-V: attach and detach change a program's time, and its signal handlers return",
        test!(
            "architectures",
            "attach_and_detach_change_the_time_and_handlers_return"
        ),
    ),
    riscv(
        "riscv-sleep",
        "64-bit RISC-V: a sleep that attach and detach interrupt lasts what it should",
        test!(
            "architectures",
            "a_sleep_that_attach_interrupts_lasts_what_it_should"
        ),
    ),
    riscv(
        "riscv-events",
        "64-bit RISC-V: a wait for events that attach and detach interrupt does not fail",
        test!(
            "architectures",
            "a_wait_for_events_that_attach_interrupts_goes_on"
        ),
    ),
    riscv(
        "riscv-vectors",
        "64-bit RISC-V: a program's vectors are the same after attach and detach",
        test!("architectures", "vectors_survive_attach_and_detach"),
    ),
    riscv(
        "riscv-options",
        "64-bit RISC-V: each option of `run` about time does what it says",
        test!("architectures", "every_option_of_run_is_served"),
    ),
    riscv(
        "riscv-delivery-calls",
        "64-bit RISC-V: a delivery makes at most twice the system calls that x86-64's makes",
        test!(
            "architectures",
            "a_delivery_makes_at_most_twice_the_calls_that_x86_64s_makes"
        ),
    ),
    riscv(
        "riscv-selftests",
        "64-bit RISC-V: Linux's own tests of its vDSO pass on ours",
        test!("architectures", "linuxs_own_tests_pass"),
    ),
    // It stops the tracers at each of their calls.
    Check {
        seconds: 1800,
        ..riscv(
            "riscv-killed",
            "64-bit RISC-V: a program goes on when a tracer is killed while it attaches or detaches",
            test!(
                "architectures",
                "a_program_goes_on_when_its_tracer_is_killed"
            ),
        )
    },
];
