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
];
