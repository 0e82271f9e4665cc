//! `vdso build current`: the running task's library with a header and modules, as for any vDSO. No page is
//! published here, so every answer is a system call's.
#![cfg(target_arch = "x86_64")]

mod common;

use common::printed;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Builds into a directory, with the modules in `bindings` there.
fn built() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut vdso = Command::new(env!("CARGO_BIN_EXE_vdso"));
    vdso.current_dir(&directory)
        .args(["build", "current", "--bindings", "bindings"]);
    printed(&mut vdso);
    directory
}

/// What each program below prints: its ids, whether times and switches are there, and the condition.
const SAME: &str = "same 0 True";

#[test]
fn its_modules_for_other_languages_answer_as_the_kernel() {
    let directory = built();
    let at = |path: &str| directory.path().join(path);
    let python = "import os, threading\n\
        from current import Current, Condition\n\
        task = Current('./libcurrent.so.1')\n\
        same = task.pid() == os.getpid() and task.parent() == os.getppid()\n\
        same = same and task.tid() == threading.get_native_id()\n\
        switches = task.switches()\n\
        times = task.thread_cpu_time() > 0 and task.process_cpu_time() > 0 and task.run_delay() >= -1\n\
        times = times and switches.voluntary >= 0 and switches.involuntary >= 0\n\
        assert task.condition() == Condition.NEVER_PUBLISHED\n\
        print('same' if same else 'other', int(task.updated()), times)\n";
    let mut command = Command::new("python3");
    command
        .current_dir(&directory)
        .env("PYTHONPATH", at("bindings/python"));
    assert_eq!(printed(command.args(["-c", python])), SAME);

    let ruby = "require './bindings/ruby/current'\n\
        task = Current.new('./libcurrent.so.1')\n\
        same = task.pid == Process.pid && task.parent == Process.ppid\n\
        times = task.thread_cpu_time > 0 && task.switches.voluntary >= 0\n\
        puts \"#{same ? 'same' : 'other'} #{task.condition} #{times ? 'True' : 'False'}\"\n";
    let mut command = Command::new("ruby");
    assert_eq!(
        printed(command.current_dir(&directory).args(["-e", ruby])),
        SAME
    );

    let cpp = "#include \"bindings/cpp/current.hpp\"\n\
        #include <cstdio>\n\
        int main() {\n\
            current::Current task(\"./libcurrent.so.1\");\n\
            bool same = task.pid() == (unsigned) getpid() && task.parent() == (unsigned) getppid();\n\
            bool times = task.thread_cpu_time() > 0 && task.switches().voluntary + 1 > 0;\n\
            std::printf(\"%s %d %s\\n\", same ? \"same\" : \"other\", (int) task.condition(),\n\
                        times ? \"True\" : \"False\");\n\
        }\n";
    fs::write(at("app.cpp"), cpp).unwrap();
    let mut compiler = Command::new("c++");
    compiler.current_dir(&directory);
    compiler.args(["-std=c++17", "-Wall", "-Werror", "app.cpp", "-o", "app"]);
    printed(&mut compiler);
    assert_eq!(
        printed(Command::new(at("app")).current_dir(&directory)),
        SAME
    );

    // Their modules map an image's own pages, of which this library has none.
    for language in ["go", "rust"] {
        assert!(!at("bindings").join(language).exists(), "{language}");
    }
}

/// The header in the package is the one that is built here.
#[test]
fn a_c_program_is_linked_by_pkg_config_and_the_packaged_header_is_the_same() {
    let directory = built();
    let header = fs::read_to_string(directory.path().join("current.h")).unwrap();
    assert_eq!(header, vdsokit_current_library::HEADER);
    let c = "#include \"current.h\"\n#include <stdio.h>\n#include <unistd.h>\n\
        int main(void) {\n\
            struct current_switches switches;\n\
            int same = current_pid() == (uint32_t) getpid() && current_tid() == current_pid();\n\
            int times = current_thread_cpu_time() > 0 && current_switches(&switches) == 0;\n\
            printf(\"%s %u %s\\n\", same ? \"same\" : \"other\", current_condition(), times ? \"True\" : \"False\");\n\
            return 0;\n\
        }\n";
    fs::write(directory.path().join("app.c"), c).unwrap();
    let mut flags = Command::new("pkg-config");
    flags.env("PKG_CONFIG_PATH", directory.path());
    let flags = printed(flags.args(["--cflags", "--libs", "current"]));
    let mut compiler = Command::new("cc");
    compiler.current_dir(&directory);
    compiler.args(["-Wall", "-Werror", "app.c", "-o", "app"]);
    printed(
        compiler
            .args(flags.split_whitespace())
            .arg("-Wl,-rpath,$ORIGIN"),
    );
    let app = directory.path().join("app");
    assert_eq!(printed(&mut Command::new(app)), SAME);
}

/// A program that opens the library itself keeps the C library's clocks for all others.
#[test]
fn opened_by_dlopen_it_answers_and_leaves_other_clocks_alone() {
    let directory = built();
    let c = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <stdio.h>\n#include <time.h>\n\
        #include <stdint.h>\n#include <unistd.h>\n\
        int main(void) {\n\
            for (int mode = 0; mode < 2; mode++) {\n\
                void *library = dlopen(\"./libcurrent.so.1\", RTLD_NOW | (mode ? RTLD_GLOBAL : RTLD_LOCAL));\n\
                if (!library) { puts(dlerror()); return 1; }\n\
                uint32_t (*pid)(void) = (uint32_t (*)(void)) dlsym(library, \"current_pid\");\n\
                int (*clock)(clockid_t, struct timespec *) =\n\
                    (int (*)(clockid_t, struct timespec *)) dlsym(library, \"clock_gettime\");\n\
                struct timespec now, then;\n\
                if (pid() != (uint32_t) getpid()) return 2;\n\
                if (clock_gettime(CLOCK_REALTIME, &then) || clock(CLOCK_REALTIME, &now)) return 3;\n\
                if (now.tv_sec < then.tv_sec || now.tv_sec > then.tv_sec + 600) return 4;\n\
            }\n\
            puts(\"same\");\n\
            return 0;\n\
        }\n";
    fs::write(directory.path().join("app.c"), c).unwrap();
    let mut compiler = Command::new("cc");
    compiler.current_dir(&directory);
    printed(compiler.args(["-Wall", "-Werror", "app.c", "-o", "app"]));
    let mut app = Command::new(directory.path().join("app"));
    assert_eq!(
        printed(app.current_dir(Path::new(directory.path()))),
        "same"
    );
}

#[test]
fn a_wrong_option_is_refused_in_one_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("libsystem.so.1");
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["current"], "who may read the pages?"),
        (
            &["current", "--group", "no-such-group"],
            "no user and no group is called `no-such-group`",
        ),
        (
            &["current", "--world", "--stdin"],
            "the kernel writes these pages: no `--stdin`",
        ),
        (
            &["clock", "--cgroup", "/sys/fs/cgroup"],
            "`--cgroup` names whose limits `system` has",
        ),
        (
            &["system", "--cgroup", "/proc", "-o", file],
            "/proc is not the directory of a control group of version 2",
        ),
    ];
    for (arguments, message) in cases {
        let mut vdso = Command::new(env!("CARGO_BIN_EXE_vdso"));
        let output = vdso.arg("serve").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(message), "{arguments:?}: {errors}");
    }
}
