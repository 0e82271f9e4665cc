//! File times of programs at another time.
#![cfg(target_arch = "x86_64")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{compiled, debian, installed, output, said, scratch};

/// The program that reads and sets file times by every call.
const CALLS: &str = include_str!("files/calls.c");

/// Where Debian has the kernel's headers for 32-bit programs, with or without gcc-multilib's link.
const NARROW: [&str; 3] = ["-m32", "-idirafter", "/usr/include/x86_64-linux-gnu"];

/// An empty directory of a test's own.
fn directory(name: &str) -> PathBuf {
    let directory = scratch("files").join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory");
    directory
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// What `script` prints in `directory` under `--file-times` and other options.
#[track_caller]
fn script(options: &[&str], directory: &Path, script: &str) -> String {
    let script = format!("export LC_ALL=C TZ=UTC; cd '{}'; {script}", text(directory));
    let command = [
        &["run", "--file-times"],
        options,
        &["--", "sh", "-ec", &script],
    ];
    said(&command.concat())
}

/// Runs the program at each kind of time.
#[track_caller]
fn is_right(name: &str, program: &Path) {
    let file = directory(name).join("file");
    for options in [
        &["--offset=-1y"][..],
        &["--time=2000-01-01", "--freeze"],
        &["--time=2000-01-01", "--rate=60"],
        &["--rate=1/3"],
    ] {
        let command = [
            &["run", "--file-times"],
            options,
            &["--", text(program), text(&file)],
        ];
        assert_eq!(said(&command.concat()), "right\n", "{name} {options:?}");
    }
}

#[test]
fn every_call_reads_and_sets_file_times_at_the_time_of_the_clock() {
    is_right("dynamic", &compiled("files", CALLS, &[]));
    is_right("static", &compiled("files-static", CALLS, &["-static"]));
}

#[test]
fn file_times_of_32_bit_programs_are_at_the_time_of_the_clock() {
    is_right("narrow", &compiled("files32", CALLS, &NARROW));
}

#[test]
fn file_times_of_static_musl_programs_are_at_the_time_of_the_clock() {
    if !installed("musl-gcc") {
        return;
    }
    let source = scratch("programs").join("files-musl.c");
    fs::write(&source, CALLS).expect("a source file");
    let program = source.with_extension("");
    let mut compiler = Command::new("musl-gcc");
    compiler.args(["-static", "-idirafter", "/usr/include", "-o"]);
    compiler.args([&program, &source]);
    assert!(compiler.status().expect("it runs").success());
    is_right("musl", &program);
}

/// A signal comes in each state of a call: before it is served, in the gate, and while it reports.
#[test]
fn no_signal_shows_a_real_file_time() {
    let program = compiled("files-signals", CALLS, &[]);
    let file = directory("signals").join("file");
    let command = ["run", "--file-times", "--offset=-1y", "--"];
    let program = [text(&program), text(&file), "signals"];
    assert_eq!(said(&[&command[..], &program].concat()), "right\n");
}

#[test]
fn go_reads_and_sets_file_times() {
    if !installed("go") {
        return;
    }
    let directory = directory("go");
    let (source, program) = (directory.join("files.go"), directory.join("files"));
    fs::write(&source, include_str!("files/files.go")).expect("a source file");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).args([&program, &source]);
    assert!(build.status().expect("go runs").success());
    let file = directory.join("file");
    let command = [
        "run",
        "--file-times",
        "--time=2000-01-01",
        "--",
        text(&program),
        text(&file),
    ];
    assert_eq!(said(&command), "new true\nset <nil>\nread true\n");
}

#[test]
fn python_reads_and_sets_file_times() {
    if !installed("python3") {
        return;
    }
    let directory = directory("python");
    let python = "import os, time\n\
        start = time.time()\n\
        open('file', 'w').close()\n\
        print(abs(os.stat('file').st_mtime - start) < 2)\n\
        os.utime('file', ns=(10**17 + 1, 10**17 + 2))\n\
        print(os.stat('file').st_atime_ns, os.stat('file').st_mtime_ns)";
    let command = format!("python3 -c \"{python}\"");
    let said = script(&["--time=2000-01-01", "--rate=60"], &directory, &command);
    assert_eq!(said, "True\n100000000000000001 100000000000000002\n");
}

/// A tree in which everything is dated `date`: the README's line, with a project to make.
#[test]
fn make_at_a_frozen_date_is_up_to_date_the_second_time() {
    if !installed("make") {
        return;
    }
    let directory = directory("make");
    let makefile = "test: out\nout: in\n\tcp in out\n\t@date +%F\n";
    fs::write(directory.join("Makefile"), makefile).expect("a makefile");
    fs::write(directory.join("in"), "").expect("a source");
    let options = ["--freeze", "--time=2000-01-01 00:00:00Z"];
    let make = "make test 2>&1; make test 2>&1; ls --full-time out | cut -d' ' -f6,7";
    let first = "cp in out\n2000-01-01\nmake: Nothing to be done for 'test'.\n\
                 2000-01-01 00:00:00.000000000\n";
    assert_eq!(script(&options, &directory, make), first);
    // A second run is at the same date.
    let again = script(&options, &directory, "make test 2>&1");
    assert_eq!(again, "make: Nothing to be done for 'test'.\n");
    // In real time the two are as old as they are, in that order.
    fs::write(directory.join("in"), "newer").expect("a source");
    let changed = script(&options, &directory, "make test 2>&1");
    assert_eq!(changed, "cp in out\n2000-01-01\n");
}

#[test]
fn tar_find_ls_and_cp_agree_with_date() {
    let directory = directory("tools");
    let tools = "touch old; touch -d '1999-12-01 10:11:12.131415161' set; cp -p set copy
        find . -name 'o*' -newermt '2000-01-01 00:00:00' -not -newermt '2000-01-02'
        find . -type f -newer old -o -mtime +20 -name 'c*'
        tar cf tar set; tar tvf tar | awk '{print $4, $5}'; mkdir out; tar xf tar -C out
        for file in set copy; do ls --full-time $file | cut -d' ' -f6,7; done
        ls --full-time out/set | cut -d' ' -f6,7
        test old -nt set && echo newer; test set -nt copy || test set -ot copy || echo same
        stat -c %Y set";
    let expected = "./old\n./copy\n1999-12-01 10:11\n\
        1999-12-01 10:11:12.131415161\n1999-12-01 10:11:12.131415161\n\
        1999-12-01 10:11:12.000000000\nnewer\nsame\n944043072\n";
    let options = ["--time=2000-01-01 00:00:01Z"];
    assert_eq!(script(&options, &directory, tools), expected);
}

/// A copy has the times of what was copied, so that nothing is copied again; what is changed since is.
#[test]
fn rsync_copies_what_is_newer() {
    let Some(tree) = debian(&["rsync", "libpopt0", "libxxhash0"]) else {
        return;
    };
    let directory = directory("rsync");
    let rsync = format!(
        "rsync() {{ LD_LIBRARY_PATH='{0}/usr/lib/x86_64-linux-gnu' '{0}/usr/bin/rsync' -a --out-format=%n \"$@\"; }}",
        text(&tree)
    );
    let copies = "mkdir from; touch from/new; touch -d '1999-12-01 10:11:12.131415161' from/set
        rsync from/ to; echo again; rsync from/ to
        for file in new set; do cmp=$(stat -c %y from/$file); test \"$cmp\" = \"$(stat -c %y to/$file)\" && echo same; done
        stat -c %y to/set; test $(($(date +%s) - $(stat -c %Y to/new))) -lt 60 && echo now
        sleep 0.01; touch from/set; echo changed; rsync from/ to; rsync -u from/ to";
    let expected =
        "./\nnew\nset\nagain\nsame\nsame\n1999-12-01 10:11:12.131415161 +0000\nnow\nchanged\nset\n";
    for (way, options) in [
        ("offset", &["--offset=-1y"][..]),
        ("slow", &["--time=2000-01-01 00:00:01Z", "--rate=0.5"]),
        ("still", &["--time=2000-01-01 00:00:01Z", "--freeze"]),
    ] {
        let directory = directory.join(way);
        fs::create_dir(&directory).expect("a directory");
        let said = script(options, &directory, &format!("{rsync}; {copies}"));
        assert_eq!(said, expected, "{way}");
    }
}

/// A change reaches files that were written before it.
#[test]
fn file_times_follow_the_clock_of_a_name() {
    let directory = directory("named");
    let name = format!("files-{}", std::process::id());
    let vdso = env!("CARGO_BIN_EXE_vdso");
    let change = format!(
        "touch file; one=$(stat -c %Y file); '{vdso}' clock {name} step +1d >/dev/null
        two=$(stat -c %Y file); echo $((two - one))
        '{vdso}' clock {name} rate 1000 >/dev/null; touch file
        test $(($(date +%s) - $(stat -c %Y file))) -lt 600 && echo follows"
    );
    let said = script(&["--name", &name], &directory, &change);
    assert_eq!(said, "86400\nfollows\n");
}

/// The same file has the same nanoseconds at each look.
#[test]
fn a_file_time_stays_what_it_is_at_a_rate() {
    let directory = directory("stays");
    let look =
        "touch file; for i in 1 2 3 4 5 6 7 8 9 10; do stat -c %.9Y file; done | uniq | wc -l";
    let options = ["--time=2000-01-01", "--rate=60"];
    assert_eq!(script(&options, &directory, look), "1\n");
}

#[test]
fn without_the_option_file_times_are_real_and_without_another_time_it_is_refused() {
    let file = directory("real").join("file");
    let touch = format!("touch '{0}'; stat -c %Y '{0}'", text(&file));
    let real = said(&["run", "--time=2000-01-01", "--", "sh", "-c", &touch]);
    let real: u64 = real.trim().parse().expect("a number");
    assert!(real > 1_700_000_000);
    let ended = output(&["run", "--file-times", "--", "true"]);
    assert_eq!(ended.status.code(), Some(125), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("the program has real time"), "{said}");
}

#[test]
fn a_traced_program_is_reported_to_have_real_file_times() {
    if !installed("strace") {
        return;
    }
    let directory = directory("traced");
    // A shell that runs already, as what a tracer starts is not served at all.
    let trace = "mkfifo fifo; (read line <fifo; test -e fifo) & shell=$!
        strace -o /dev/null -p $shell & tracer=$!
        until grep -q \"TracerPid:[^0-9]*$tracer\\$\" /proc/$shell/status; do :; done
        echo line >fifo; wait";
    let script = format!("cd '{}'; {trace}", text(&directory));
    let ended = output(&[
        "run",
        "--file-times",
        "--offset=-1y",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        said.contains("has real file times: another process traces it"),
        "{said}"
    );
}
