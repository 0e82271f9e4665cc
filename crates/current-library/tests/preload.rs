//! Programs of glibc and of musl with the library, where no page is published.
#![cfg(target_arch = "x86_64")]

use std::fs;
use std::path::Path;
use std::process::Command;
use vdsokit_current_library::{HEADER, LIBRARY, SONAME};

/// Compares the C library's names, as the library answers them, with system calls.
const NAMES: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <stdio.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    int main(void)
    {
        struct timespec thread, process, other, later;
        if (getpid() != syscall(SYS_getpid) || getppid() != syscall(SYS_getppid)) return 1;
        if (gettid() != syscall(SYS_gettid)) return 2;
        if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &thread)) return 3;
        if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &process)) return 4;
        if (thread.tv_sec > process.tv_sec || thread.tv_nsec > 999999999) return 5;
        if (clock_gettime(CLOCK_MONOTONIC, &other) || clock_gettime(CLOCK_MONOTONIC, &later)) return 6;
        if (later.tv_sec < other.tv_sec) return 7;
        errno = 0;
        if (clock_gettime(99, &other) != -1 || errno != EINVAL) return 8;
        puts("same");
        return 0;
    }
"#;

/// Calls the library's own functions.
const FUNCTIONS: &str = r#"
    #include <stdio.h>
    #include <unistd.h>
    #include "vdso_current.h"
    int main(void)
    {
        uint64_t voluntary = 0, involuntary = 0, before = current_thread_cpu_time();
        for (volatile int i = 0; i < 100000; i++) ;
        if (current_pid() != (uint32_t) getpid() || current_tid() != current_pid()) return 1;
        if (current_parent() != (uint32_t) getppid()) return 2;
        if (current_thread_cpu_time() <= before || current_process_cpu_time() <= before) return 3;
        usleep(1000);
        current_switches(&voluntary, &involuntary);
        if (!voluntary || current_run_delay() < -1) return 4;
        puts("same");
        return 0;
    }
"#;

fn compile(directory: &Path, compiler: &str, source: &str, arguments: &[&str]) -> Command {
    fs::write(directory.join("app.c"), source).unwrap();
    let mut command = Command::new(compiler);
    command.current_dir(directory);
    command.args(["-Wall", "-Werror", "app.c", "-o", "app"]);
    let output = command.args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(output.status.success(), "{output:?}");
    Command::new(directory.join("app"))
}

fn same(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    assert_eq!(output.stdout, b"same\n");
}

#[test]
fn preloaded_into_programs_of_glibc_and_musl_it_answers_as_the_kernel() {
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join(SONAME);
    fs::write(&library, LIBRARY).unwrap();
    for compiler in ["cc", "musl-gcc"] {
        let mut program = compile(directory.path(), compiler, NAMES, &[]);
        same(program.env("LD_PRELOAD", &library));
    }
}

#[test]
fn linked_into_a_c_program_its_functions_answer_as_the_kernel() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(SONAME), LIBRARY).unwrap();
    fs::write(directory.path().join("vdso_current.h"), HEADER).unwrap();
    let arguments = ["-L.", "-l:libcurrent.so.1", "-Wl,-rpath,$ORIGIN"];
    same(&mut compile(directory.path(), "cc", FUNCTIONS, &arguments));
}

/// Into other programs' search order nothing must come but what the library is for.
#[test]
fn it_defines_these_names_only_and_needs_no_library() {
    let image = vdsokit_elf::Image::parse(LIBRARY).unwrap();
    let mut names: Vec<String> = image
        .symbols()
        .filter(|symbol| symbol.is_export())
        .map(|symbol| symbol.name().to_string())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "clock_gettime",
            "current_parent",
            "current_pid",
            "current_process_cpu_time",
            "current_run_delay",
            "current_switches",
            "current_thread_cpu_time",
            "current_tid",
            "getpid",
            "getppid",
            "gettid",
        ]
    );
}
