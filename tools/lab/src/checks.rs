//! What the lab checks: one table.

use crate::{Architecture, Error, Workshop, arm, debian, programs};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// One check: a command that succeeds inside a guest.
#[derive(Debug)]
pub struct Check {
    /// Its name, unique in the table: words parted by dashes.
    pub name: &'static str,
    /// What it shows, for the list.
    pub why: &'static str,
    /// Program and arguments. Programs of [`needs`](Self::needs) and busybox's
    /// applets are in the guest's path; the working directory is an empty tmpfs.
    pub command: &'static [&'static str],
    /// What has to be in the guest.
    pub needs: &'static [Need],
    /// The kernels that it is for.
    pub kernels: &'static [Kernel],
    /// Words of the kernel's command line beside the lab's own.
    pub command_line: &'static str,
    /// The emulated processor: [`PROCESSOR`], unless it has to be another.
    pub processor: Processor,
    /// When it has taken too long, in seconds of emulated time.
    pub seconds: u64,
}

/// Something that the host puts into the guest.
#[derive(Debug)]
pub enum Need {
    /// A program of the workspace, as `/bin/NAME`.
    Program {
        /// Its package.
        package: &'static str,
        /// The program's name.
        name: &'static str,
    },
    /// An integration test of the workspace, as `/bin/NAME`. Mark its tests
    /// `#[ignore = "runs in the lab"]` and name one in the command:
    /// `&["NAME", "--ignored", "--exact", "the_test"]`. A run that did not
    /// execute exactly one test counts as failed, so a test that was renamed
    /// can't pass by not being there.
    Test {
        /// Its package.
        package: &'static str,
        /// The test's name, which is its file's.
        name: &'static str,
    },
    /// Any other file.
    File {
        /// Its absolute path in the guest.
        at: &'static str,
        /// Makes it, or finds it, on the host.
        make: fn(&Workshop) -> Result<PathBuf, Error>,
    },
}

impl Need {
    /// Its place in the guest.
    #[must_use]
    pub fn at(&self) -> String {
        match *self {
            Self::Program { name, .. } | Self::Test { name, .. } => format!("/bin/{name}"),
            Self::File { at, .. } => at.to_owned(),
        }
    }
}

/// A kernel that the lab can boot.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// What reports call it. What `uname -r` begins with in the guest is the last word of it.
    pub name: &'static str,
    /// Its architecture.
    pub architecture: Architecture,
    /// Finds or makes its bootable image.
    pub image: fn(&Workshop) -> Result<PathBuf, Error>,
}

/// An emulated processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processor {
    /// What the emulator calls it.
    pub model: &'static str,
    /// When every instruction takes 2 to this power nanoseconds: the emulator counts them, and
    /// that is the guest's time, whatever the host does meanwhile. It has a single CPU then:
    /// several would take turns, and 6.1 never starts a second one so. Checks have the
    /// nanoseconds in [`PACE`](crate::plan::PACE).
    pub pace: Option<u32>,
    /// How many CPUs it has.
    pub cpus: u32,
}

/// The processor that the emulator has when it has all that it can do.
pub const PROCESSOR: Processor = Processor {
    model: "max",
    pace: None,
    cpus: 2,
};

/// The same with four CPUs.
const FOUR_CPUS: Processor = Processor {
    cpus: 4,
    ..PROCESSOR
};

/// The same, and it says that its TSC is invariant: it is the host's, so that is true, but
/// the emulator has to be forced to say so (qemu target/i386/cpu.c, `TCG_APM_FEATURES`,
/// `x-force-features`).
const INVARIANT_TSC: Processor = Processor {
    model: "max,+invtsc,x-force-features=on",
    ..PROCESSOR
};

/// One whose time is the number of instructions, some 8 ns each: about what the emulator needs.
const COUNTING: Processor = Processor {
    pace: Some(3),
    cpus: 1,
    ..PROCESSOR
};

/// The stock kernel of Debian 12.
pub const DEBIAN_6_1: Kernel = Kernel {
    name: "6.1",
    architecture: Architecture::X86_64,
    image: |workshop| debian::kernel(workshop, "6.1"),
};

/// The stock kernel of Debian 13, which Debian 12 has among its updates.
pub const DEBIAN_6_12: Kernel = Kernel {
    name: "6.12",
    architecture: Architecture::X86_64,
    image: |workshop| debian::kernel(workshop, "6.12"),
};

/// The same kernels for 64-bit Arm.
pub const ARM_6_1: Kernel = Kernel {
    name: "arm64 6.1",
    architecture: Architecture::Aarch64,
    image: |workshop| debian::kernel_of(workshop, Architecture::Aarch64, "6.1", "cloud-arm64"),
};

/// See [`ARM_6_1`].
pub const ARM_6_12: Kernel = Kernel {
    name: "arm64 6.12",
    architecture: Architecture::Aarch64,
    image: |workshop| debian::kernel_of(workshop, Architecture::Aarch64, "6.12", "cloud-arm64"),
};

/// The same with pages of 16 KiB.
pub const ARM_16K: Kernel = Kernel {
    name: "arm64-16k 6.12",
    architecture: Architecture::Aarch64,
    image: |workshop| debian::kernel_of(workshop, Architecture::Aarch64, "6.12", "arm64-16k"),
};

/// Both stock kernels.
pub const STOCK: &[Kernel] = &[DEBIAN_6_1, DEBIAN_6_12];

/// A shell command for rows that need no program.
macro_rules! shell {
    ($script:expr) => {
        &["sh", "-e", "-c", $script]
    };
}

/// What checks of the kernel as a publisher need.
const KERNEL_TESTS: &[Need] = &[Need::Test {
    package: "vdsokit-bpf",
    name: "kernel",
}];

/// A row for one test of the kernel as a publisher.
const fn kernel(name: &'static str, why: &'static str, command: &'static [&'static str]) -> Check {
    Check {
        name,
        why,
        command,
        needs: KERNEL_TESTS,
        kernels: STOCK,
        command_line: "",
        processor: PROCESSOR,
        seconds: 300,
    }
}

/// The command that runs one of those tests.
macro_rules! kernel_test {
    ($test:literal) => {
        &["kernel", "--ignored", "--exact", "--nocapture", $test]
    };
}

/// A row for one test of the facts about the running task, in a machine of four CPUs whose kernel
/// trusts the counter and has these words on its command line.
const fn current(
    name: &'static str,
    why: &'static str,
    command: &'static [&'static str],
    command_line: &'static str,
) -> Check {
    Check {
        needs: &[Need::Test {
            package: "vdsokit-bpf",
            name: "current",
        }],
        command_line,
        processor: FOUR_CPUS,
        ..kernel(name, why, command)
    }
}

/// The command that runs one of those tests.
macro_rules! current_test {
    ($test:literal) => {
        &["current", "--ignored", "--exact", "--nocapture", $test]
    };
}

/// A file of the host's, at the same place in the guest or at another.
macro_rules! host_file {
    ($path:literal) => {
        host_file!($path, $path)
    };
    ($at:literal, $path:literal) => {
        Need::File {
            at: $at,
            make: |_| Ok(PathBuf::from($path)),
        }
    };
}

/// What checks of `vdso serve current` need: perl and bash, with their libraries.
const UNCHANGED_PROGRAMS: &[Need] = &[
    VDSO,
    Need::Test {
        package: "vdsokit-cli",
        name: "current_lab",
    },
    host_file!("/bin/perl", "/usr/bin/perl"),
    host_file!("/bin/bash", "/usr/bin/bash"),
    host_file!("/lib64/ld-linux-x86-64.so.2"),
    host_file!("/lib/x86_64-linux-gnu/libc.so.6"),
    host_file!("/lib/x86_64-linux-gnu/libm.so.6"),
    host_file!("/lib/x86_64-linux-gnu/libcrypt.so.1"),
    host_file!("/lib/x86_64-linux-gnu/libtinfo.so.6"),
];

/// The program itself.
const VDSO: Need = Need::Program {
    package: "vdsokit-cli",
    name: "vdso",
};

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
        ..kernel(name, why, command)
    }
}

/// The command that runs one of those tests.
macro_rules! served_test {
    ($test:literal) => {
        &["kernel_lab", "--ignored", "--exact", "--nocapture", $test]
    };
}

/// A row for one test of the doctor, in a machine with these words on its kernel's command line.
const fn doctor(
    name: &'static str,
    why: &'static str,
    command: &'static [&'static str],
    command_line: &'static str,
) -> Check {
    Check {
        name,
        why,
        command,
        needs: &[
            VDSO,
            Need::Test {
                package: "vdsokit-cli",
                name: "doctor_lab",
            },
        ],
        kernels: STOCK,
        command_line,
        processor: PROCESSOR,
        seconds: 60,
    }
}

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
        name,
        why,
        command,
        needs: &[
            VDSO,
            Need::Test {
                package: "vdsokit-cli",
                name: "clock_lab",
            },
        ],
        kernels: STOCK,
        command_line,
        processor,
        seconds: 120,
    }
}

/// The command that runs one of those tests.
macro_rules! real_time_test {
    ($test:literal) => {
        &["clock_lab", "--ignored", "--exact", "--nocapture", $test]
    };
}

/// A processor of 64-bit Arm with all that the emulator can do: landing pads (BTI), pointer
/// authentication and tagged memory among it. Its own algorithm for pointer authentication takes
/// less time than the architecture's.
const ARM: Processor = Processor {
    model: "max,pauth-impdef=on",
    ..PROCESSOR
};

/// A row for one test of what works on every architecture.
const fn arm(name: &'static str, why: &'static str, command: &'static [&'static str]) -> Check {
    Check {
        name,
        why,
        command,
        needs: arm::NEEDS,
        kernels: &[ARM_6_1, ARM_6_12, ARM_16K],
        command_line: "",
        processor: ARM,
        seconds: 60,
    }
}

/// The command that runs one of those tests.
macro_rules! arm_test {
    ($test:literal) => {
        &[
            "architectures",
            "--ignored",
            "--exact",
            "--nocapture",
            $test,
        ]
    };
}

/// The command that runs one of those tests.
macro_rules! doctor_test {
    ($test:literal) => {
        &["doctor_lab", "--ignored", "--exact", "--nocapture", $test]
    };
}

/// The table.
pub const CHECKS: &[Check] = &[
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
    },
    kernel(
        "kernel-values",
        "every named kernel variable is what /proc shows",
        kernel_test!("values::every_named_value_is_what_proc_shows"),
    ),
    kernel(
        "kernel-barriers",
        "the program for weakly ordered machines passes the verifier",
        kernel_test!("values::the_program_for_weakly_ordered_machines_does_the_same"),
    ),
    kernel(
        "kernel-events",
        "values are exact at once after the events they name",
        kernel_test!("values::values_are_exact_at_once_after_their_events"),
    ),
    kernel(
        "kernel-timekeeper",
        "the hook's argument leads to the clocks' coefficients",
        kernel_test!("values::the_hooks_argument_is_the_timekeeper"),
    ),
    kernel(
        "kernel-soak",
        "nothing is torn and nothing lost under load",
        kernel_test!("soak::nothing_is_torn_and_nothing_lost_under_load"),
    ),
    kernel(
        "kernel-leak",
        "loading and unloading leaves nothing in the kernel",
        kernel_test!("life::loading_and_unloading_leaves_nothing_behind"),
    ),
    kernel(
        "kernel-detach",
        "the kernel goes on publishing without the publisher",
        kernel_test!("life::the_kernel_goes_on_publishing_when_the_publisher_is_gone"),
    ),
    kernel(
        "kernel-retire",
        "a publisher that retires marks its vDSO as stopped",
        kernel_test!("life::a_publisher_that_retires_says_so"),
    ),
    kernel(
        "kernel-readers",
        "unprivileged readers read and can't write",
        kernel_test!("access::unprivileged_readers_read_and_cannot_write"),
    ),
    kernel(
        "kernel-privileges",
        "missing privileges are named",
        kernel_test!("access::missing_privileges_are_named"),
    ),
    kernel(
        "kernel-drop",
        "a publisher needs no privileges once it runs",
        kernel_test!("access::a_publisher_needs_no_privileges_once_it_runs"),
    ),
    kernel(
        "kernel-refusals",
        "addresses and secrets are refused",
        kernel_test!("refusals::addresses_and_secrets_are_refused"),
    ),
    kernel(
        "kernel-list",
        "what can be published is listed with types",
        kernel_test!("refusals::the_list_says_what_there_is"),
    ),
    kernel(
        "kernel-no-btf",
        "a kernel without BTF is refused politely",
        kernel_test!("refusals::a_kernel_without_types_is_refused_politely"),
    ),
    Check {
        processor: COUNTING,
        ..kernel(
            "kernel-instructions",
            "what the hook costs, in instructions",
            kernel_test!("figures::instructions"),
        )
    },
    Check {
        processor: COUNTING,
        ..kernel(
            "kernel-age",
            "no value is older than a tick, counted in ticks",
            kernel_test!("figures::no_value_is_older_than_a_tick"),
        )
    },
    kernel(
        "kernel-figures",
        "what the hook and a read cost",
        kernel_test!("figures::figures"),
    ),
    current(
        "current-facts",
        "the slot of a CPU has the facts of the task that runs there",
        current_test!("the_facts_are_those_of_system_calls"),
        "tsc=reliable",
    ),
    current(
        "current-torture",
        "under torture by tasks of every kind no read of the running task's facts is wrong",
        current_test!("torture::no_read_is_wrong_under_torture"),
        "tsc=reliable",
    ),
    current(
        "current-torture-preempt",
        "the same in a kernel that preempts itself",
        current_test!("torture::no_read_is_wrong_under_torture"),
        "tsc=reliable preempt=full",
    ),
    Check {
        processor: Processor {
            model: "max,-rdpid",
            ..PROCESSOR
        },
        ..current(
            "current-torture-lsl",
            "the same on a CPU that lacks rdpid",
            current_test!("torture::no_read_is_wrong_without_rdpid"),
            "tsc=reliable",
        )
    },
    current(
        "current-hotplug",
        "the same while CPUs are unplugged and plugged",
        current_test!("torture::no_read_is_wrong_while_cpus_come_and_go"),
        "tsc=reliable preempt=full",
    ),
    current(
        "current-orders",
        "a thread that is moved between any two steps refutes every order of a read but one",
        current_test!("orders::every_other_order_is_refuted_and_the_right_one_is_not"),
        "tsc=reliable",
    ),
    current(
        "current-rseq",
        "the CPU's number of rseq(2) is refuted by a child of vfork(2)",
        current_test!("orders::the_number_of_rseq_is_refuted_by_vfork"),
        "tsc=reliable",
    ),
    current(
        "current-retire",
        "retired pages have no answer before anything is detached",
        current_test!("detach::retiring_ends_reads_before_anything_is_detached"),
        "tsc=reliable",
    ),
    current(
        "current-unmount",
        "unmounting the BPF file system retires the pages",
        current_test!("detach::unmounting_the_bpf_file_system_retires_the_pages"),
        "tsc=reliable preempt=full",
    ),
    current(
        "current-unpin",
        "removing any one link retires the pages",
        current_test!("detach::removing_any_one_link_retires_the_pages"),
        "tsc=reliable",
    ),
    current(
        "current-killed",
        "killing a publisher that holds the only links retires the pages",
        current_test!("detach::killing_a_publisher_that_has_pinned_nothing_retires_the_pages"),
        "tsc=reliable preempt=full",
    ),
    current(
        "current-goes-on",
        "killed, a publisher leaves the kernel publishing",
        current_test!("detach::the_kernel_goes_on_without_the_publisher"),
        "tsc=reliable",
    ),
    current(
        "current-link-detach",
        "the links can't be detached by a stranger",
        current_test!("detach::a_stranger_can_t_detach_a_link"),
        "tsc=reliable",
    ),
    current(
        "current-users",
        "a user sees its own tasks only",
        current_test!("users::a_user_sees_its_own_tasks_only"),
        "tsc=reliable",
    ),
    current(
        "current-cpu-time",
        "CPU time is never behind the kernel's and never goes back",
        current_test!("time::cpu_time_is_never_behind_the_kernels_and_never_goes_back"),
        "tsc=reliable",
    ),
    current(
        "current-cpu-time-preempt",
        "the same in a kernel that preempts itself",
        current_test!("time::cpu_time_is_never_behind_the_kernels_and_never_goes_back"),
        "tsc=reliable preempt=full",
    ),
    current(
        "current-process-time",
        "the CPU time of a process is known while it has one thread",
        current_test!("time::the_time_of_a_process_is_known_while_it_has_one_thread"),
        "tsc=reliable",
    ),
    current(
        "current-no-clock",
        "CPU times are left to a kernel whose clock is not the counter",
        current_test!("time::without_a_stable_counter_the_kernel_alone_knows_cpu_times"),
        "clocksource=hpet",
    ),
    Check {
        needs: UNCHANGED_PROGRAMS,
        ..current(
            "current-served",
            "perl and bash know their ids where the system calls for ids fail",
            &[
                "current_lab",
                "--ignored",
                "--exact",
                "--nocapture",
                "unchanged_programs_know_their_ids_without_a_system_call",
            ],
            "tsc=reliable",
        )
    },
    Check {
        processor: COUNTING,
        ..current(
            "current-instructions",
            "what a switch and a read cost, in instructions",
            current_test!("figures::what_a_switch_and_a_read_cost"),
            "tsc=reliable",
        )
    },
    served(
        "kernel-served",
        "values reach C programs by file and at exec, exact after events, and no process can write them",
        served_test!("served_by_file_and_at_exec"),
    ),
    served(
        "kernel-detached",
        "detached, the kernel goes on publishing until it is retired, also when the relay is killed",
        served_test!("detached_the_kernel_goes_on"),
    ),
    served(
        "kernel-killed",
        "killed, the publisher leaves the kernel publishing; the next one takes over",
        served_test!("killed_the_publisher_leaves_the_kernel_publishing"),
    ),
    served(
        "kernel-declared",
        "a declaration names the kernel's variables, records among them",
        served_test!("a_declaration_names_variables_of_the_kernels"),
    ),
    Check {
        needs: WITH_PRESSURE,
        ..served(
            "kernel-crate",
            "a function of a crate computes from variables of the running kernel",
            served_test!("a_function_of_a_crate_computes_from_the_kernels_variables"),
        )
    },
    served(
        "kernel-vars",
        "what can be published is listed, with fields",
        served_test!("what_can_be_published_is_listed"),
    ),
    served(
        "kernel-refused",
        "what is missing is named, and what works without it",
        served_test!("what_stands_in_the_way_is_said"),
    ),
    Check {
        command_line: "tsc=reliable",
        ..served(
            "kernel-clock",
            "`vdso serve clock --source timekeeper` and the kernel's own vDSO agree to the nanosecond",
            served_test!("the_clock_is_the_kernels_to_the_nanosecond"),
        )
    },
    Check {
        processor: COUNTING,
        ..served(
            "kernel-cost",
            "a read costs as many instructions from a kernel as from a process; how late a relay is",
            served_test!("what_a_read_costs_and_how_late_a_relay_is"),
        )
    },
    Check {
        command_line: "lockdown=confidentiality",
        ..kernel(
            "kernel-lockdown",
            "a locked-down kernel is named as such",
            kernel_test!("access::a_locked_down_kernel_is_named"),
        )
    },
    doctor(
        "doctor-hpet",
        "the doctor names an hpet that the command line selects",
        doctor_test!("hpet_is_named"),
        "clocksource=hpet",
    ),
    doctor(
        "doctor-acpi-pm",
        "the doctor names the slowest clocksource there is",
        doctor_test!("acpi_pm_is_named"),
        "clocksource=acpi_pm",
    ),
    doctor(
        "doctor-tsc",
        "the doctor finds nothing wrong with a TSC that the kernel trusts",
        doctor_test!("a_tsc_is_fast"),
        "tsc=reliable",
    ),
    doctor(
        "doctor-time-namespace",
        "the doctor names a time namespace, and that it makes no clock slow",
        doctor_test!("a_time_namespace_is_named"),
        "tsc=reliable",
    ),
    real_time(
        "real-time-hpet",
        "programs read an invariant TSC though the kernel reads its hpet, within the bound",
        real_time_test!("the_counter_is_read_though_the_kernel_does_not"),
        "clocksource=hpet",
        INVARIANT_TSC,
    ),
    real_time(
        "real-time-acpi-pm",
        "the same with the slowest clocksource there is",
        real_time_test!("the_counter_is_read_though_the_kernel_does_not"),
        "clocksource=acpi_pm",
        INVARIANT_TSC,
    ),
    real_time(
        "real-time-refused",
        "a TSC that is not invariant is refused with the reason",
        real_time_test!("a_counter_that_is_not_invariant_is_refused"),
        "clocksource=hpet",
        PROCESSOR,
    ),
    real_time(
        "real-time-namespace",
        "a process in a time namespace of its own has the kernel's clock, not the page's",
        real_time_test!("a_process_with_a_time_of_its_own_has_the_kernels_clock"),
        "clocksource=hpet",
        INVARIANT_TSC,
    ),
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
    },
    arm(
        "arm-publishing",
        "64-bit Arm: a declaration is built, checked, published and read",
        arm_test!("a_declaration_is_built_checked_published_and_read"),
    ),
    arm(
        "arm-inspection",
        "64-bit Arm: the kernel's own vDSO is listed",
        arm_test!("the_kernels_own_vdso_is_listed"),
    ),
    arm(
        "arm-run",
        "64-bit Arm: programs get an object at exec and keep the kernel's vDSO",
        arm_test!("a_program_gets_an_object_and_keeps_the_kernels_vdso"),
    ),
    arm(
        "arm-waits",
        "64-bit Arm: waits and timers follow a program's clock",
        arm_test!("every_wait_and_timer_follows_the_clock"),
    ),
    arm(
        "arm-clock-changed",
        "64-bit Arm: what waits follows a clock that is changed, and idle time is skipped",
        arm_test!("a_changed_clock_reaches_what_waits"),
    ),
    arm(
        "arm-registers",
        "64-bit Arm: a converted wait in guarded pages changes no register that a program keeps",
        arm_test!("a_converted_wait_changes_no_register_that_a_program_keeps"),
    ),
    arm(
        "arm-go",
        "64-bit Arm: Go reads the clock while it is profiled",
        arm_test!("go_reads_the_clock_under_sigprof"),
    ),
    arm(
        "arm-counter",
        "64-bit Arm: a clock from the counter is published and delivered",
        arm_test!("the_counter_is_published_as_a_clock"),
    ),
    Check {
        kernels: &[ARM_6_12],
        ..arm(
            "arm-kernel",
            "64-bit Arm: the kernel publishes its variables and its clock",
            arm_test!("the_kernel_publishes_its_variables_and_its_clock"),
        )
    },
    Check {
        kernels: &[ARM_6_1],
        ..arm(
            "arm-refused",
            "64-bit Arm: a kernel without direct calls is named",
            arm_test!("a_kernel_without_direct_calls_is_named"),
        )
    },
];

/// The rows with these names, or all when none is given.
///
/// # Errors
/// The first name that no row has.
pub fn named(names: &[String]) -> Result<Vec<&'static Check>, &str> {
    if names.is_empty() {
        return Ok(CHECKS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let row = CHECKS.iter().find(|check| check.name == *name);
            row.ok_or(name.as_str())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_into_a_plan() {
        for (at, check) in CHECKS.iter().enumerate() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(check.name.chars().all(plain), "{}", check.name);
            assert!(!check.command.is_empty() && !check.kernels.is_empty());
            for word in check.command {
                assert!(!word.contains(['\t', '\n']), "{}: {word}", check.name);
            }
            let earlier = &CHECKS[..at];
            assert!(earlier.iter().all(|other| other.name != check.name));
        }
    }

    /// Two files can't be in one place.
    #[test]
    fn a_place_in_the_guest_is_one_files() {
        let needs = || CHECKS.iter().flat_map(|check| check.needs);
        for need in needs() {
            let same = needs().filter(|other| other.at() == need.at());
            for other in same {
                assert_eq!(format!("{other:?}"), format!("{need:?}"));
            }
        }
    }

    #[test]
    fn a_name_that_no_row_has_is_said() {
        assert_eq!(named(&["nonsense".into()]).unwrap_err(), "nonsense");
        assert_eq!(named(&[]).unwrap().len(), CHECKS.len());
    }
}
