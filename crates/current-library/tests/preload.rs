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
    #include <string.h>
    #include <sys/mman.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <time.h>
    #include <unistd.h>
    /* The library takes the place of syscall(2) too. */
    static long kernel(long number)
    {
        long result;
        __asm__ volatile ("syscall" : "=a" (result) : "a" (number) : "rcx", "r11", "memory");
        return result;
    }
    int main(void)
    {
        struct timespec thread, process, other, later;
        if (getpid() != kernel(SYS_getpid) || getppid() != kernel(SYS_getppid)) return 1;
        if (gettid() != kernel(SYS_gettid)) return 2;
        if (syscall(SYS_getpid) != getpid() || syscall(SYS_getppid) != getppid()) return 9;
        if (syscall(SYS_gettid) != gettid()) return 10;
        errno = 0;
        if (syscall(-1) != -1 || errno != ENOSYS) return 11;
        /* Six arguments: the last one is on the stack. */
        int file = syscall(SYS_memfd_create, "pages", 0);
        if (file < 0 || ftruncate(file, 8192) || pwrite(file, "second", 6, 4096) != 6) return 12;
        char *page = (char *) syscall(SYS_mmap, 0L, 4096L, (long) PROT_READ, (long) MAP_SHARED, (long) file, 4096L);
        if ((void *) page == MAP_FAILED || memcmp(page, "second", 6)) return 13;
        /* A child that goes on with a copy of the stack. */
        int status = 0;
        long child = syscall(SYS_clone, 17L, 0L, 0L, 0L, 0L);
        if (child == 0) _exit(getpid() == kernel(SYS_getpid) ? 7 : 1);
        if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 7) return 14;
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
        struct current_switches switches = { 0, 0 };
        uint64_t before = current_thread_cpu_time();
        for (volatile int i = 0; i < 100000; i++) ;
        if (current_pid() != (uint32_t) getpid() || current_tid() != current_pid()) return 1;
        if (current_parent() != (uint32_t) getppid()) return 2;
        if (current_thread_cpu_time() <= before || current_process_cpu_time() <= before) return 3;
        usleep(1000);
        if (current_switches(&switches) || !switches.voluntary || current_run_delay() < -1) return 4;
        if (current_condition() || current_state() || current_updated() || current_stale_after()) return 5;
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
            "current_condition",
            "current_parent",
            "current_pid",
            "current_process_cpu_time",
            "current_run_delay",
            "current_stale_after",
            "current_state",
            "current_switches",
            "current_thread_cpu_time",
            "current_tid",
            "current_updated",
            "getpid",
            "getppid",
            "gettid",
            "syscall",
        ]
    );
}
