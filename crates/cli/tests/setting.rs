//! Calls that set the clock, made by programs at another time: they set the time of the tree.
//!
//! Everything here runs without CAP_SYS_TIME, so that a call which reached the kernel by a fault
//! would end with EPERM and not set the machine's clock.
#![cfg(target_arch = "x86_64")]

mod common;

use std::process::Command;

use common::installed;

/// What `vdso run OPTIONS -- PROGRAM` prints, without the right to set the machine's clock.
#[track_caller]
fn said(options: &[&str], program: &[&str]) -> String {
    let mut command = without_the_right();
    command.arg(env!("CARGO_BIN_EXE_vdso")).arg("run");
    command.args(options).arg("--").args(program);
    let output = command.output().expect("setpriv is there");
    assert!(
        output.status.success(),
        "{options:?} {program:?}: {output:?}"
    );
    String::from_utf8(output.stdout).expect("text")
}

fn without_the_right() -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--bounding-set",
        "-sys_time",
        "--inh-caps",
        "-sys_time",
        "--",
    ]);
    command
}

#[test]
fn without_the_right_the_kernel_refuses() {
    let mut python = without_the_right();
    let script = "import time\ntry: time.clock_settime(0, time.time())\n\
                  except PermissionError: print('refused')";
    let output = python.args(["python3", "-c", script]).output();
    assert_eq!(output.expect("python3").stdout, b"refused\n");
}

#[test]
fn date_sets_the_time_of_the_tree() {
    for options in [&["--offset", "+1d"][..], &["--rate", "2"], &["--freeze"]] {
        let script = "date -s '2031-06-01 12:00:00' >/dev/null; date +%Y; sh -c 'date +%Y'";
        assert_eq!(
            said(options, &["sh", "-c", script]),
            "2031\n2031\n",
            "{options:?}"
        );
    }
}

#[test]
fn each_call_that_sets_a_clock_sets_that_of_the_tree_or_says_why_not() {
    if !installed("python3") {
        return;
    }
    let script = "import ctypes, errno, struct, time\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        def call(number, *arguments):\n\
        \x20   ctypes.set_errno(0)\n\
        \x20   result = libc.syscall(number, *arguments)\n\
        \x20   return errno.errorcode.get(ctypes.get_errno(), result)\n\
        pair = lambda a, b: struct.pack('qq', a, b)\n\
        print(call(227, 0, pair(10**9, 5)), int(time.time()) - 10**9 < 100)\n\
        print(call(164, pair(2 * 10**9, 5), None), int(time.time()) - 2 * 10**9 < 100)\n\
        timex = bytearray(208)\n\
        struct.pack_into('I', timex, 0, 0x100); struct.pack_into('qq', timex, 72, 1000, 0)\n\
        of = lambda: (ctypes.c_char * 208).from_buffer(timex)\n\
        print(0 <= call(159, of()) <= 5, 1000 <= int(time.time()) - 2 * 10**9 < 1100)\n\
        struct.pack_into('I', timex, 0, 0)\n\
        print(0 <= call(305, 0, of()) <= 5, struct.unpack_from('q', timex, 72)[0] - int(time.time()) < 2)\n\
        struct.pack_into('I', timex, 0, 2)\n\
        print(call(159, of()), call(305, 1, of()), call(305, 99, of()))\n\
        print(call(227, 1, pair(1, 0)), call(227, 0, pair(1, -1)), call(227, 0, None), call(227, -5, pair(1, 1)))\n\
        print(call(164, None, pair(0, 0)), call(164, pair(1, 10**6), None))\n\
        print(call(227 | 1 << 30, 0, pair(1, 1)))";
    let expected = "0 True\n0 True\nTrue True\nTrue True\nEPERM ENOTSUP EINVAL\n\
                    EINVAL EINVAL EFAULT EPERM\nEPERM EINVAL\nEPERM\n";
    assert_eq!(
        said(&["--offset", "+1d"], &["python3", "-c", script]),
        expected
    );
}

#[test]
fn a_wait_ends_when_the_tree_sets_its_clock_past_its_deadline() {
    if !installed("python3") {
        return;
    }
    let script = "import threading, time\n\
        deadline = time.time() + 1800\n\
        lock = threading.Lock(); lock.acquire()\n\
        import ctypes, os\n\
        libc = ctypes.CDLL(None)\n\
        class Time(ctypes.Structure): _fields_ = [('s', ctypes.c_long), ('n', ctypes.c_long)]\n\
        end = Time(int(deadline), 0)\n\
        sleeper = threading.Thread(target=lambda: (libc.clock_nanosleep(0, 1, ctypes.byref(end), None), print('woke')))\n\
        sleeper.start()\n\
        task = next(t for t in os.listdir('/proc/self/task') if int(t) != os.getpid())\n\
        while not open(f'/proc/self/task/{task}/syscall').read().startswith('230'): pass\n\
        time.clock_settime(0, deadline + 1)\n\
        sleeper.join()";
    assert_eq!(
        said(&["--offset", "+1d"], &["python3", "-c", script]),
        "woke\n"
    );
}

/// Only the thread that sets the clock, or one that sleeps until that ends, can set its timer again.
#[test]
fn a_timer_of_a_thread_that_sets_the_clock_past_its_time_fires() {
    let program = common::compiled("alone", include_str!("waits/alone.c"), &[]);
    let program = program.to_str().expect("a path of text");
    for options in [["--offset=+1d"], ["--rate=2"], ["--skip-idle"]] {
        for way in ["sets", "vfork"] {
            let fired = said(&options, &[program, way]);
            assert_eq!(fired, "fired\n", "{options:?} {way}");
        }
    }
}

#[test]
fn ntp_gettime_tells_the_time_of_the_tree() {
    let source = "#include <stdio.h>\n#include <sys/timex.h>\n#include <time.h>\n\
        int main(void) { struct ntptimeval n; if (ntp_gettime(&n) < 0) return 1;\n\
        long apart = time(0) - n.time.tv_sec; return apart < 0 || apart > 2; }\n";
    let program = common::compiled("ntp", source, &[]);
    let program = program.to_str().expect("a path of text");
    assert_eq!(said(&["--time", "2000-01-01"], &[program]), "");
}
