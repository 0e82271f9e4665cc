//! Facts about the running task, published for each CPU.

use super::{LIBC, LIBM, LOADER, VDSO, on_the_newer, on_the_older, row};
use crate::Error;
use crate::Workshop;
use crate::check::{COUNTING, Check, FOUR_CPUS, Need, PROCESSOR, Processor, STOCK};
use crate::workshop::output_of;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The tests of `vdso serve current`.
const SERVED_TEST: Need = Need::Test {
    package: "vdsokit-cli",
    name: "current_lab",
};
const PERL: Need = host_file!("/bin/perl", "/usr/bin/perl");
const BASH: Need = host_file!("/bin/bash", "/usr/bin/bash");
const LIBCRYPT: Need = host_file!("/lib/x86_64-linux-gnu/libcrypt.so.1");
const LIBTINFO: Need = host_file!("/lib/x86_64-linux-gnu/libtinfo.so.6");
const STRACE: Need = host_file!("/bin/strace", "/usr/bin/strace");
const LIBZ: Need = host_file!("/lib/x86_64-linux-gnu/libz.so.1");
const LIBUNWIND: [Need; 4] = [
    host_file!("/lib/x86_64-linux-gnu/libunwind-ptrace.so.0"),
    host_file!("/lib/x86_64-linux-gnu/libunwind-x86_64.so.8"),
    host_file!("/lib/x86_64-linux-gnu/libunwind.so.8"),
    host_file!("/lib/x86_64-linux-gnu/liblzma.so.5"),
];

/// What programs of the host's need under `vdso serve current`, and these files.
macro_rules! served {
    ($($file:expr),* $(,)?) => {
        &[VDSO, SERVED_TEST, LOADER, LIBC, LIBM, $($file),*]
    };
}

/// The same with strace.
macro_rules! traced {
    ($($file:expr),* $(,)?) => {{
        let [ptrace, x86_64, unwind, lzma] = LIBUNWIND;
        served![STRACE, ptrace, x86_64, unwind, lzma, LIBZ, $($file),*]
    }};
}

/// What checks of unchanged programs need: perl and bash, with their libraries.
const UNCHANGED_PROGRAMS: &[Need] = served![PERL, BASH, LIBCRYPT, LIBTINFO];

/// The same, with strace, and CPython with the modules that the test imports.
const TRACED_PROGRAMS: &[Need] = traced![
    PERL,
    BASH,
    LIBCRYPT,
    LIBTINFO,
    host_file!("/lib/x86_64-linux-gnu/libexpat.so.1"),
    host_file!("/bin/python3", "/usr/bin/python3"),
    Need::File {
        at: "/lib/python.zip",
        make: modules_of_python,
    },
];

/// strace, and a Java runtime with a program.
const TRACED_JAVA: &[Need] = traced![
    host_file!("/lib/x86_64-linux-gnu/libstdc++.so.6"),
    host_file!("/lib/x86_64-linux-gnu/libgcc_s.so.1"),
    Need::Tree {
        at: "/java",
        make: java,
    },
];

/// The modules that CPython has loaded after `import threading`, in an archive that it imports from.
fn modules_of_python(workshop: &Workshop) -> Result<PathBuf, Error> {
    const PACK: &str = "import os, sys, threading, time, zipfile\n\
        library = os.path.dirname(os.__file__)\n\
        files = {getattr(module, '__file__', None) or '' for module in sys.modules.values()}\n\
        with zipfile.ZipFile(sys.argv[1], 'w') as archive:\n\
        \x20   for file in sorted(files):\n\
        \x20       if file.startswith(library) and file.endswith('.py'):\n\
        \x20           archive.write(file, os.path.relpath(file, library))\n";
    let archive = workshop.output().join("own/python.zip");
    fs::create_dir_all(workshop.output().join("own")).map_err(Error::file(&archive))?;
    let mut command = Command::new("/usr/bin/python3");
    output_of(command.args(["-I", "-c", PACK]).arg(&archive))?;
    Ok(archive)
}

/// A Java runtime of the modules that the test's program needs, and the program.
fn java(workshop: &Workshop) -> Result<PathBuf, Error> {
    let runtime = workshop.output().join("own/java");
    if !runtime.is_dir() {
        let mut link = Command::new("jlink");
        link.args(["--strip-debug", "--no-header-files", "--no-man-pages"])
            .args(["--add-modules", "java.base,java.management", "--output"]);
        output_of(link.arg(&runtime))?;
    }
    let source = workshop.root.join("crates/cli/tests/readers/Times.java");
    let mut compile = Command::new("javac");
    output_of(compile.arg("-d").arg(runtime.join("lib")).arg(source))?;
    Ok(runtime)
}

/// A row for one test of the facts about the running task, in a machine whose kernel has these words
/// on its command line.
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
        ..row(name, why, command)
    }
}

/// The same with four CPUs, which take minutes to start under emulation.
const fn on_four_cpus(
    name: &'static str,
    why: &'static str,
    command: &'static [&'static str],
    command_line: &'static str,
) -> Check {
    Check {
        processor: FOUR_CPUS,
        kernels: &[],
        rare: STOCK,
        ..current(name, why, command, command_line)
    }
}

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    current(
        "current-facts",
        "the slot of a CPU has the facts of the task that runs there",
        test!("current", "the_facts_are_those_of_system_calls"),
        "tsc=reliable",
    ),
    current(
        "current-torture",
        "under torture by tasks of every kind no read of the running task's facts is wrong",
        test!("current", "torture::no_read_is_wrong_under_torture"),
        "tsc=reliable",
    ),
    on_the_newer(current(
        "current-torture-preempt",
        "the same in a kernel that preempts itself",
        test!("current", "torture::no_read_is_wrong_under_torture"),
        "tsc=reliable preempt=full",
    )),
    Check {
        processor: Processor {
            model: "max,-rdpid",
            ..PROCESSOR
        },
        kernels: &[],
        rare: STOCK,
        ..current(
            "current-torture-lsl",
            "the same on a CPU that lacks rdpid",
            test!("current", "torture::no_read_is_wrong_without_rdpid"),
            "tsc=reliable",
        )
    },
    on_four_cpus(
        "current-torture-four",
        "the same with four CPUs",
        test!("current", "torture::no_read_is_wrong_under_torture"),
        "tsc=reliable",
    ),
    on_four_cpus(
        "current-torture-four-preempt",
        "the same in a kernel that preempts itself",
        test!("current", "torture::no_read_is_wrong_under_torture"),
        "tsc=reliable preempt=full",
    ),
    on_four_cpus(
        "current-hotplug-four",
        "the same while CPUs are unplugged and plugged",
        test!(
            "current",
            "torture::no_read_is_wrong_while_cpus_come_and_go"
        ),
        "tsc=reliable preempt=full",
    ),
    on_four_cpus(
        "current-orders-four",
        "with four CPUs, too, every order of a read but one is refuted",
        test!(
            "current",
            "orders::every_other_order_is_refuted_and_the_right_one_is_not"
        ),
        "tsc=reliable",
    ),
    on_the_newer(current(
        "current-hotplug",
        "the same while CPUs are unplugged and plugged",
        test!(
            "current",
            "torture::no_read_is_wrong_while_cpus_come_and_go"
        ),
        "tsc=reliable preempt=full",
    )),
    current(
        "current-orders",
        "a thread that is moved between any two steps refutes every order of a read but one",
        test!(
            "current",
            "orders::every_other_order_is_refuted_and_the_right_one_is_not"
        ),
        "tsc=reliable",
    ),
    current(
        "current-rseq",
        "the CPU's number of rseq(2) is refuted by a child of vfork(2)",
        test!("current", "orders::the_number_of_rseq_is_refuted_by_vfork"),
        "tsc=reliable",
    ),
    current(
        "current-retire",
        "retired pages have no answer before anything is detached",
        test!(
            "current",
            "detach::retiring_ends_reads_before_anything_is_detached"
        ),
        "tsc=reliable",
    ),
    on_the_newer(current(
        "current-unmount",
        "unmounting the BPF file system retires the pages",
        test!(
            "current",
            "detach::unmounting_the_bpf_file_system_retires_the_pages"
        ),
        "tsc=reliable preempt=full",
    )),
    current(
        "current-unpin",
        "removing any one link retires the pages",
        test!("current", "detach::removing_any_one_link_retires_the_pages"),
        "tsc=reliable",
    ),
    on_the_newer(current(
        "current-killed",
        "killing a publisher that holds the only links retires the pages",
        test!(
            "current",
            "detach::killing_a_publisher_that_has_pinned_nothing_retires_the_pages"
        ),
        "tsc=reliable preempt=full",
    )),
    current(
        "current-goes-on",
        "killed, a publisher leaves the kernel publishing",
        test!(
            "current",
            "detach::the_kernel_goes_on_without_the_publisher"
        ),
        "tsc=reliable",
    ),
    current(
        "current-link-detach",
        "the links can't be detached by another process",
        test!("current", "detach::another_process_can_t_detach_a_link"),
        "tsc=reliable",
    ),
    current(
        "current-users",
        "a user sees its own tasks only",
        test!("current", "users::a_user_sees_its_own_tasks_only"),
        "tsc=reliable",
    ),
    current(
        "current-many-users",
        "so does one of more users than the programs compare with",
        test!(
            "current",
            "users::one_of_many_users_sees_its_own_tasks_only"
        ),
        "tsc=reliable",
    ),
    current(
        "current-cpu-time",
        "CPU time is never behind the kernel's and never goes back",
        test!(
            "current",
            "time::cpu_time_is_never_behind_the_kernels_and_never_goes_back"
        ),
        "tsc=reliable",
    ),
    on_the_newer(current(
        "current-cpu-time-preempt",
        "the same in a kernel that preempts itself",
        test!(
            "current",
            "time::cpu_time_is_never_behind_the_kernels_and_never_goes_back"
        ),
        "tsc=reliable preempt=full",
    )),
    current(
        "current-process-time",
        "the CPU time of a process is known while it has one thread",
        test!(
            "current",
            "time::the_time_of_a_process_is_known_while_it_has_one_thread"
        ),
        "tsc=reliable",
    ),
    on_the_newer(current(
        "current-no-clock",
        "CPU times are left to a kernel whose clock is not the counter",
        test!(
            "current",
            "time::without_a_stable_counter_the_kernel_alone_knows_cpu_times"
        ),
        "clocksource=hpet",
    )),
    Check {
        needs: UNCHANGED_PROGRAMS,
        ..current(
            "current-served",
            "perl and bash know their ids where the system calls for ids fail",
            test!(
                "current_lab",
                "unchanged_programs_know_their_ids_without_a_system_call"
            ),
            "tsc=reliable",
        )
    },
    // Interpreters take long to start under emulation.
    Check {
        needs: TRACED_PROGRAMS,
        kernels: &[],
        rare: STOCK,
        ..current(
            "current-strace",
            "strace -c counts no call for ids or CPU time in perl, bash and CPython",
            test!("current_lab", "strace_counts_no_call_in_unchanged_programs"),
            "tsc=reliable",
        )
    },
    Check {
        needs: TRACED_JAVA,
        kernels: &[],
        rare: STOCK,
        ..current(
            "current-java",
            "nor in a Java runtime",
            test!("current_lab", "strace_counts_no_call_in_a_java_runtime"),
            "tsc=reliable",
        )
    },
    on_the_older(Check {
        processor: COUNTING,
        ..current(
            "current-instructions",
            "what a switch and a read cost, in instructions",
            test!("current", "figures::what_a_switch_and_a_read_cost"),
            "tsc=reliable",
        )
    }),
];
