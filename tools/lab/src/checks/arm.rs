//! 64-bit Arm: the checks, and the programs that its guests run beside the workspace's own.

use super::{SOURCES, VDSO, row};
use crate::check::{ARM, ARM_6_1, ARM_6_12, ARM_16K, Check, Need};
use crate::workshop::output_of;
use crate::{Error, Workshop};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

macro_rules! program {
    ($name:literal $(, $rest:literal)+) => {
        static_program!(Aarch64, concat!("/bin/", $name), $name $(, $rest)+)
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
    program!("guarded", "guarded.S", "-nostdlib"),
    program!("sleeper", "sleeper.c"),
    program!("vectors", "vectors.c", "-march=armv8.2-a+sve"),
    program!(
        "kill_at",
        "../../../../crates/deliver/tests/programs/kill_at.c"
    ),
    program!("reads", "reads.c"),
    selftest!(Aarch64, "/bin/", "vdso_test_gettimeofday"),
    selftest!(Aarch64, "/bin/", "vdso_test_getcpu"),
    selftest!(Aarch64, "/bin/", "vdso_test_abi"),
    selftest!(Aarch64, "/bin/", "vdso_test_clock_getres"),
    Need::File {
        at: "/bin/profiled",
        make: profiled,
    },
];

/// A row for one test of what works on every architecture.
const fn arm(name: &'static str, why: &'static str, command: &'static [&'static str]) -> Check {
    Check {
        needs: NEEDS,
        kernels: &[ARM_6_12],
        rare: &[ARM_6_1, ARM_16K],
        processor: ARM,
        seconds: 60,
        ..row(name, why, command)
    }
}

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    arm(
        "arm-publishing",
        "64-bit Arm: a declaration is built, checked, published and read",
        test!(
            "architectures",
            "a_declaration_is_built_checked_published_and_read"
        ),
    ),
    arm(
        "arm-inspection",
        "64-bit Arm: the kernel's own vDSO is listed",
        test!("architectures", "the_kernels_own_vdso_is_listed"),
    ),
    arm(
        "arm-run",
        "64-bit Arm: programs get an object at exec and keep the kernel's vDSO",
        test!(
            "architectures",
            "a_program_gets_an_object_and_keeps_the_kernels_vdso"
        ),
    ),
    arm(
        "arm-waits",
        "64-bit Arm: waits and timers follow a program's clock",
        test!("architectures", "every_wait_and_timer_follows_the_clock"),
    ),
    arm(
        "arm-clock-changed",
        "64-bit Arm: what waits follows a clock that is changed, and idle time is skipped",
        test!("architectures", "a_changed_clock_reaches_what_waits"),
    ),
    arm(
        "arm-registers",
        "64-bit Arm: a converted wait in guarded pages changes no register that a program keeps",
        test!(
            "architectures",
            "a_converted_wait_changes_no_register_that_a_program_keeps"
        ),
    ),
    arm(
        "arm-go",
        "64-bit Arm: Go reads the clock while it is profiled",
        test!("architectures", "go_reads_the_clock_under_sigprof"),
    ),
    arm(
        "arm-attach",
        "64-bit Arm: attach and detach change a program's time, and its signal handlers return",
        test!(
            "architectures",
            "attach_and_detach_change_the_time_and_handlers_return"
        ),
    ),
    arm(
        "arm-sleep",
        "64-bit Arm: a sleep that attach and detach interrupt lasts what it should",
        test!(
            "architectures",
            "a_sleep_that_attach_interrupts_lasts_what_it_should"
        ),
    ),
    arm(
        "arm-events",
        "64-bit Arm: a wait for events that attach and detach interrupt does not fail",
        test!(
            "architectures",
            "a_wait_for_events_that_attach_interrupts_goes_on"
        ),
    ),
    arm(
        "arm-vectors",
        "64-bit Arm: a program's scalable vectors are the same after attach and detach",
        test!("architectures", "vectors_survive_attach_and_detach"),
    ),
    arm(
        "arm-options",
        "64-bit Arm: each option of `run` about time does what it says",
        test!("architectures", "every_option_of_run_is_served"),
    ),
    arm(
        "arm-delivery-calls",
        "64-bit Arm: a delivery makes at most twice the system calls that x86-64's makes",
        test!(
            "architectures",
            "a_delivery_makes_at_most_twice_the_calls_that_x86_64s_makes"
        ),
    ),
    arm(
        "arm-selftests",
        "64-bit Arm: Linux's own tests of its vDSO pass on ours",
        test!("architectures", "linuxs_own_tests_pass"),
    ),
    // It stops the tracers at each of their calls.
    Check {
        kernels: &[],
        rare: &[ARM_6_1, ARM_6_12, ARM_16K],
        seconds: 300,
        ..arm(
            "arm-killed",
            "64-bit Arm: a program goes on when a tracer is killed while it attaches or detaches",
            test!(
                "architectures",
                "a_program_goes_on_when_its_tracer_is_killed"
            ),
        )
    },
    arm(
        "arm-counter",
        "64-bit Arm: a clock from the counter is published and delivered",
        test!("architectures", "the_counter_is_published_as_a_clock"),
    ),
    Check {
        rare: &[],
        ..arm(
            "arm-kernel",
            "64-bit Arm: the kernel publishes its variables and its clock",
            test!(
                "architectures",
                "the_kernel_publishes_its_variables_and_its_clock"
            ),
        )
    },
    Check {
        kernels: &[],
        rare: &[ARM_6_1],
        ..arm(
            "arm-refused",
            "64-bit Arm: a kernel without direct calls is named",
            test!("architectures", "a_kernel_without_direct_calls_is_named"),
        )
    },
];

/// A static program in Go. Debian's Go looks for the clock of AArch64's vDSO by the hashes of another
/// name, finds nothing, and makes system calls (runtime/vdso_linux_arm64.go). So it gets the right
/// ones.
fn profiled(workshop: &Workshop) -> Result<PathBuf, Error> {
    const FILE: &str = "src/runtime/vdso_linux_arm64.go";
    let directory = workshop.output().join("own/go");
    fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    let root = output_of(Command::new("go").args(["env", "GOROOT"]))?;
    let original = Path::new(root.trim()).join(FILE);
    let text = fs::read_to_string(&original).map_err(Error::file(&original))?;
    let text = text.replace("0xd35ec75, 0x6e43a318", "0xb0cd725, 0xdfa941fd");
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(Error::file(&path))?;
        Ok::<_, Error>(path)
    };
    let replacement = write("vdso_linux_arm64.go", &text)?;
    let overlay = serde_json::json!({ "Replace": { original.display().to_string(): replacement } });
    let overlay = write("overlay.json", &overlay.to_string())?;
    let program = directory.join("profiled");
    let mut go = Command::new("go");
    go.args(["build", "-overlay"])
        .arg(&overlay)
        .arg("-o")
        .arg(&program)
        .arg(workshop.root.join(SOURCES).join("profiled.go"))
        .envs([
            ("GOARCH", "arm64"),
            ("CGO_ENABLED", "0"),
            ("GO111MODULE", "off"),
        ]);
    output_of(&mut go)?;
    Ok(program)
}
