//! Programs of other projects, at another time.
#![cfg(target_arch = "x86_64")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{compiled, debian, installed, output, said, scratch};

/// A date far enough from both ends of its year.
const DATE: &str = "2038-06-01T12:00:00Z";
const YEAR: &str = "2038";

/// Runs `command` at [`DATE`]: it has to say `expect`, and to end as it does without us.
#[track_caller]
fn says(command: &[&str], expect: &str) {
    let with = output(&[&["run", "--time", DATE, "--"], command].concat());
    assert_eq!(
        String::from_utf8_lossy(&with.stdout).trim_end(),
        expect,
        "{command:?}: {with:?}"
    );
    let without = Command::new(command[0]).args(&command[1..]).output();
    assert_eq!(with.status, without.expect("it runs").status, "{command:?}");
}

#[test]
fn date_says_it() {
    says(&["date", "-u", "+%Y-%m"], "2038-06");
}

#[test]
fn shells_pipelines_and_what_they_start() {
    says(&["bash", "-c", "TZ=UTC printf '%(%Y)T' -1"], YEAR);
    says(
        &["sh", "-c", "(date +%Y | cat) && exec env date +%Y"],
        "2038\n2038",
    );
    says(&["sh", "-c", "date +%Y; exit 7"], YEAR);
    says(&["sh", "-c", "date +%Y; kill -TERM $$"], YEAR);
}

#[test]
fn python_with_threads_and_processes() {
    if !installed("python3") {
        return;
    }
    says(
        &[
            "python3",
            "-c",
            "import threading, time\n\
             said = []\n\
             say = lambda: said.append(time.gmtime().tm_year)\n\
             threads = [threading.Thread(target=say) for _ in range(16)]\n\
             [t.start() for t in threads]; [t.join() for t in threads]\n\
             print(*set(said), len(said))",
        ],
        "2038 16",
    );
    says(
        &[
            "python3",
            "-c",
            "import multiprocessing, time\n\
             def say(_): return time.gmtime().tm_year\n\
             with multiprocessing.get_context('fork').Pool(3) as pool:\n\
             \x20   print(*set(pool.map(say, range(9))))",
        ],
        YEAR,
    );
}

#[test]
fn node_says_it() {
    if installed("node") {
        let script = "console.log(new Date().getUTCFullYear()); process.exit(3)";
        says(&["node", "-e", script], YEAR);
    }
}

/// Says the year by three functions of libc, and fails if they differ.
const C: &str = "#include <stdio.h>\n#include <sys/time.h>\n#include <time.h>\n\
    int main(void) { struct timespec a; struct timeval b; time_t c = time(0), d;\n\
    clock_gettime(CLOCK_REALTIME, &a); gettimeofday(&b, 0);\n\
    d = a.tv_sec; if (a.tv_sec - c > 9 || b.tv_sec - c > 9) return 1;\n\
    printf(\"%d\\n\", 1900 + gmtime(&d)->tm_year); return 5; }\n";

#[test]
fn a_static_program_of_glibc() {
    says(&[text(&compiled("glibc", C, &["-static"]))], YEAR);
}

#[test]
fn a_static_program_of_musl() {
    let Some(musl) = debian(&["musl-dev"]) else {
        return;
    };
    let library = musl.join("usr/lib/x86_64-linux-musl");
    let (crt, include) = (
        library.join("crt1.o"),
        musl.join("usr/include/x86_64-linux-musl"),
    );
    let flags = [
        "-static",
        "-nostdinc",
        "-isystem",
        text(&include),
        "-nostdlib",
        text(&crt),
        "-L",
        text(&library),
        "-lc",
    ];
    says(&[text(&compiled("musl", C, &flags))], YEAR);
}

#[test]
fn a_go_program() {
    let Some(root) = debian(&["golang-1.19-go", "golang-1.19-src"]) else {
        return;
    };
    let root = root.join("usr/lib/go-1.19");
    let directory = scratch("go");
    let source = "package main\nimport (\"fmt\"; \"time\")\n\
         func main() { fmt.Println(time.Now().UTC().Year()) }\n";
    fs::write(directory.join("main.go"), source).expect("a source file");
    let program = directory.join("main");
    let mut go = Command::new(root.join("bin/go"));
    go.args(["build", "-o", text(&program), "main.go"])
        .current_dir(&directory)
        .env("GOROOT", &root)
        .env("GOCACHE", scratch("go-cache"))
        .env("GO111MODULE", "off")
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-p=1");
    assert!(go.status().expect("go runs").success(), "{go:?}");
    says(&[text(&program)], YEAR);
}

#[test]
fn make_of_200_processes() {
    if !installed("make") {
        return;
    }
    let makefile = scratch("make").join("Makefile");
    let rules =
        "T := $(addprefix t,$(shell seq 200))\nall: $(T)\n$(T): ; @date +%Y\n.PHONY: all $(T)\n";
    fs::write(&makefile, rules).expect("a makefile");
    says(
        &["make", "-s", "-j4", "-f", text(&makefile)],
        &[YEAR; 200].join("\n"),
    );
}

#[test]
fn an_offset_is_from_now() {
    let year = |arguments: &[&str]| -> i32 {
        let command = [arguments, &["date", "-u", "+%Y"]].concat();
        said(&command).trim().parse().expect("a year")
    };
    let now = year(&["run", "--"]);
    // At the end of a year, the later command may be in the next one.
    assert!((0..=1).contains(&(year(&["run", "--offset", "+3y", "--"]) - now - 3)));
    assert!((0..=1).contains(&(year(&["run", "--offset", "-30y", "--"]) - now + 30)));
}

#[test]
fn frozen_time_is_one_for_all() {
    let script = "date +%s.%N; sleep 0.01; date +%s.%N | cat; bash -c 'echo $EPOCHREALTIME'";
    let seen = said(&[
        "run",
        "--freeze",
        "--time",
        "@946684800.5",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(
        seen,
        "946684800.500000000\n946684800.500000000\n946684800.500000\n"
    );
    if installed("python3") {
        let script = "import time\n\
             ids = time.CLOCK_MONOTONIC, time.CLOCK_MONOTONIC_RAW, time.CLOCK_BOOTTIME, time.CLOCK_TAI\n\
             read = lambda: [time.clock_gettime_ns(id) for id in ids]\n\
             first = read(); time.sleep(0.01); print(first == read())";
        assert_eq!(
            said(&["run", "--freeze", "--", "python3", "-c", script]),
            "True\n"
        );
    }
}

/// Each call has a bad pointer, so that none could set the machine's clock. Where a supervisor serves
/// the program they set its own clock (`setting.rs`).
#[test]
fn without_a_supervisor_a_program_at_another_time_cannot_set_any_clock() {
    if !installed("python3") {
        return;
    }
    let script = "import ctypes, errno\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         for call in (227, 0, 1), (164, 1, 0), (159, 1), (305, 0, 1):\n\
         \x20   libc.syscall(*call)\n\
         \x20   print(errno.errorcode[ctypes.get_errno()], end=' ')";
    for options in [
        &["--seed-step", "1ms"][..],
        &["--no-follow", "--offset", "+1d"],
        &["--no-follow", "--rate", "2"],
    ] {
        let program = ["--", "python3", "-c", script];
        let seen = said(&[&["run"], options, &program].concat());
        assert_eq!(seen, "EPERM EPERM EPERM EPERM ", "{options:?}");
    }
    let seen = said(&["run", "--", "python3", "-c", script]);
    assert!(!seen.contains("ENOSYS"), "{seen}");
    assert!(seen.contains("EFAULT"), "{seen}");
}

#[test]
fn the_clocks_that_are_chosen_move_and_the_others_are_the_kernels() {
    if !installed("python3") {
        return;
    }
    // By system call, which is not answered here, the kernel's.
    let script = "import ctypes, time\n\
         libc = ctypes.CDLL(None)\n\
         class Time(ctypes.Structure): _fields_ = [('s', ctypes.c_long), ('n', ctypes.c_long)]\n\
         def real(id):\n\
         \x20   at = Time(); libc.syscall(228, id, ctypes.byref(at)); return at.s\n\
         day = lambda id: (time.clock_gettime(id) - real(id) + 43200) // 86400\n\
         print(*(int(day(id)) for id in (0, 11, 1, 4, 7)))";
    let seen = |options: &[&str]| {
        let program = ["--", "python3", "-c", script];
        said(&[&["run"], options, &program].concat())
    };
    assert_eq!(seen(&["--offset", "+1d"]), "1 1 0 0 0\n");
    assert_eq!(
        seen(&["--clocks", "wall", "--offset", "-1d"]),
        "-1 -1 0 0 0\n"
    );
    assert_eq!(
        seen(&["--clocks", "monotonic", "--offset", "+1d"]),
        "0 0 1 1 1\n"
    );
    assert_eq!(seen(&["--clocks", "all", "--offset", "+1d"]), "1 1 1 1 1\n");
    for (options, help) in [
        (["--clocks", "all", "--offset", "-1d"], "never go back"),
        (
            ["--clocks", "monotonic", "--time", "2000-01-01"],
            "--clocks",
        ),
        (
            ["--clocks", "wall", "--skip-idle", "--strict"],
            "--skip-idle",
        ),
    ] {
        let refused = output(&[&["run"], &options[..], &["--", "true"]].concat());
        assert_eq!(refused.status.code(), Some(125), "{options:?}: {refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains(help), "{options:?}: {said}");
    }
}

#[test]
fn the_forms_of_faketime_are_accepted() {
    let year = |time: &str| said(&["run", "--time", time, "--", "date", "-u", "+%Y"]);
    assert_eq!(year("@2000-06-01 12:00:00"), "2000\n");
    assert_eq!(year("2000-06-01 12:00:00 x2"), "2000\n");
    assert_eq!(year("@959860800 i2,0"), "2000\n");
    let now: i64 = said(&["run", "--", "date", "+%s"])
        .trim()
        .parse()
        .expect("a number");
    let apart = |time: &str| {
        let then = said(&["run", "--time", time, "--", "date", "+%s"]);
        then.trim().parse::<i64>().expect("a number") - now
    };
    let day = 86_400;
    for (form, by) in [
        ("+3600", 3600),
        ("-120", -120),
        ("-10m", -600),
        ("+14d", 14 * day),
        ("+1,5y", 547 * day + day / 2),
        ("+1d x2", day),
        ("-1d x10", -day),
        ("+0 x0,5", 0),
        ("x10", 0),
        ("+1d i2,0", day),
        ("i2,0", 0),
    ] {
        // A day in which summer time begins or ends has an hour less or more.
        let hour = if form.contains('d') { 3600 } else { 0 };
        assert!(
            (by - hour..by + hour + 100).contains(&apart(form)),
            "{form}"
        );
    }
    assert_eq!(year("Thu, 01 Jun 2000 12:00:00 +0000"), "2000\n");
    assert!((-90_000..-82_000).contains(&apart("yesterday")));
    assert!((-8 * 86_400..0).contains(&apart("last friday 5 pm")));
}

#[test]
fn each_read_is_a_step_and_the_same_run_says_the_same() {
    let run = |command: &[&str]| {
        let options = ["run", "--seed-step", "250ms", "--time", "@946684800", "--"];
        said(&[&options[..], command].concat())
    };
    // A new program starts again at the beginning.
    let script = "date +%s.%N; date +%s.%N";
    assert_eq!(
        run(&["sh", "-c", script]),
        "946684800.000000000\n".repeat(2)
    );
    // A child of fork goes on from its parent's count.
    let script =
        "a=$EPOCHREALTIME; b=$EPOCHREALTIME; (echo $a $b $EPOCHREALTIME); echo $EPOCHREALTIME";
    let seen = run(&["bash", "-c", script]);
    let seen: Vec<f64> = seen
        .split_whitespace()
        .map(|t| t.parse().expect("a time"))
        .collect();
    let [a, b, child, parent] = seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!([b - a, child - b, parent - b], [0.25; 3], "{seen:?}");
    if !installed("python3") {
        return;
    }
    let script = "import threading, time\n\
         ids = time.CLOCK_REALTIME, time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME, time.CLOCK_TAI\n\
         read = lambda: [time.clock_gettime_ns(id) for id in ids]\n\
         print(*{b - a for a, b in zip(read(), read())})\n\
         many = lambda: [time.time() for _ in range(1000)]\n\
         threads = [threading.Thread(target=many) for _ in '1234']\n\
         a = time.time(); [t.start() for t in threads]; [t.join() for t in threads]\n\
         print(time.time() - a >= 1000)";
    assert_eq!(run(&["python3", "-c", script]), "1000000000\nTrue\n");
}

#[test]
fn a_rate_is_that_of_every_clock() {
    if !installed("python3") {
        return;
    }
    // Between two readings of real time, which a system call gives, lies one of virtual
    // time: so both ends of what may have passed are known exactly.
    let script = "import ctypes, time\n\
         libc = ctypes.CDLL(None)\n\
         class Time(ctypes.Structure): _fields_ = [('s', ctypes.c_long), ('n', ctypes.c_long)]\n\
         def real():\n\
         \x20   at = Time(); libc.syscall(228, 7, ctypes.byref(at)); return at.s * 10**9 + at.n\n\
         for id in 0, 1, 4, 7, 11:\n\
         \x20   a = real(); first = time.clock_gettime_ns(id); b = real()\n\
         \x20   while real() < b + 10**7: pass\n\
         \x20   c = real(); last = time.clock_gettime_ns(id); d = real()\n\
         \x20   print(60 * (c - b) * 0.999 <= last - first <= 60 * (d - a) * 1.001)";
    let seen = said(&["run", "--rate", "60", "--", "python3", "-c", script]);
    assert_eq!(seen, "True\n".repeat(5));
}

#[test]
fn without_options_time_is_the_kernels() {
    if !installed("python3") {
        return;
    }
    let script = "import ctypes, time\n\
         libc = ctypes.CDLL(None)\n\
         class Time(ctypes.Structure): _fields_ = [('s', ctypes.c_long), ('n', ctypes.c_long)]\n\
         def real(id):\n\
         \x20   at = Time(); libc.syscall(228, id, ctypes.byref(at)); return at.s * 10**9 + at.n\n\
         for id in 0, 1, 4, 7, 11: print(real(id) <= time.clock_gettime_ns(id) <= real(id))";
    let seen = said(&["run", "--", "python3", "-c", script]);
    assert_eq!(seen, "True\n".repeat(5));
}

#[test]
fn strict_answers_system_calls_too() {
    if !installed("python3") {
        return;
    }
    let script = "import ctypes\n\
         libc = ctypes.CDLL(None)\n\
         class Time(ctypes.Structure): _fields_ = [('s', ctypes.c_long), ('n', ctypes.c_long)]\n\
         def clock(id):\n\
         \x20   at = Time(); libc.syscall(228, id, ctypes.byref(at)); return at.s\n\
         day = Time(); libc.syscall(96, ctypes.byref(day), None)\n\
         print(clock(0), clock(5), clock(11), day.s, libc.syscall(201, None), clock(1) < 10**9)";
    let seen = said(&[
        "run",
        "--strict",
        "--freeze",
        "--time",
        "@946684800",
        "--",
        "python3",
        "-c",
        script,
    ]);
    let second = "946684800";
    let tai = seen.split(' ').nth(2).expect("six answers").to_owned();
    assert!(
        tai.parse::<i64>().expect("a second") - 946_684_800 < 100,
        "{seen}"
    );
    assert_eq!(
        seen,
        format!("{second} {second} {tai} {second} {second} True\n")
    );
}

#[test]
fn functions_of_another_vdso_are_put_into_the_program() {
    if !installed("python3") {
        return;
    }
    let directory = scratch("object");
    let declaration = directory.join("weather.toml");
    let text_of = "[vdso]\nsoname = \"libweather.so.1\"\nversion = \"WEATHER_1.0\"\n\
         [var.temperature]\ntype = \"f64\"\ninit = 21.5\n";
    fs::write(&declaration, text_of).expect("a declaration");
    let mut build = common::vdso(&["build", "weather.toml"]);
    assert!(
        build
            .current_dir(&directory)
            .status()
            .expect("it runs")
            .success()
    );
    let script = "import ctypes, os, time\n\
         vdso = ctypes.CDLL('linux-vdso.so.1', mode=os.RTLD_NOLOAD | os.RTLD_NOW)\n\
         vdso.weather_temperature.restype = ctypes.c_double\n\
         print(vdso.weather_temperature(), time.gmtime().tm_year)";
    let image = directory.join("libweather.so.1");
    let seen = said(&[
        "run",
        "--object",
        text(&image),
        "--time",
        DATE,
        "--",
        "python3",
        "-c",
        script,
    ]);
    assert_eq!(seen, "21.5 2038\n");
    let refused = output(&["run", "--object", text(&declaration), "--", "date"]);
    assert_eq!(refused.status.code(), Some(125), "{refused:?}");
}

#[test]
fn without_following_the_first_program_alone_has_it() {
    let script = "TZ=UTC printf '%(%Y)T\\n' -1; date +%Y";
    let seen = said(&[
        "run",
        "--time",
        DATE,
        "--no-follow",
        "--",
        "bash",
        "-c",
        script,
    ]);
    let (first, second) = seen.split_once('\n').expect("two lines");
    assert_eq!(first, YEAR);
    assert_ne!(second.trim(), YEAR);
}

#[test]
fn a_program_inherits_whether_sigpipe_is_ignored() {
    for before in ["trap '' PIPE;", "trap - PIPE;"] {
        let ignored = |prefix: &str| {
            let script = format!("{before} exec {prefix} grep SigIgn: /proc/self/status");
            // Rust's own processes are started with the signal at its default.
            let said = Command::new("bash").args(["-c", &script]).output();
            String::from_utf8(said.expect("a shell").stdout).expect("text")
        };
        let with = ignored(&format!("{} run --", env!("CARGO_BIN_EXE_vdso")));
        assert_eq!(with, ignored("env"), "{before}");
    }
}

#[test]
fn a_program_without_standard_descriptors_is_served() {
    let said = scratch("closed").join("said");
    let vdso = env!("CARGO_BIN_EXE_vdso");
    let script = format!(
        "exec <&- >&- 2>&-; {vdso} run --time {DATE} -- sh -c 'date +%Y >{}'",
        said.display()
    );
    let status = Command::new("bash").args(["-c", &script]).status();
    assert!(status.expect("a shell").success());
    assert_eq!(fs::read_to_string(said).expect("a file").trim(), YEAR);
}

#[test]
fn one_run_inside_another() {
    let own = env!("CARGO_BIN_EXE_vdso");
    let inner = [own, "run", "--time", "2001-06-01", "--", "date", "+%Y"];
    let seen = said(&[&["run", "--time", DATE, "--"], inner.as_slice()].concat());
    assert_eq!(seen, "2001\n");
}

/// Executes its arguments with a filter by which ptrace(2) fails with EPERM.
const WITHOUT_PTRACE: &str = "
import ctypes, os, struct, sys
SET_SECCOMP, FILTER, NO_NEW_PRIVS, PTRACE = 22, 2, 38, 101
program = b''.join(struct.pack('HBBI', *step) for step in [
    (0x20, 0, 0, 0), (0x15, 0, 1, PTRACE), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)])
memory = ctypes.create_string_buffer(program)
filter = struct.pack('HxxxxxxQ', 4, ctypes.addressof(memory))
libc = ctypes.CDLL(None)
assert libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(SET_SECCOMP, FILTER, filter) == 0
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_program_that_may_not_be_traced_does_not_begin_in_real_time() {
    let mut command = Command::new("python3");
    command.args(["-c", WITHOUT_PTRACE, env!("CARGO_BIN_EXE_vdso"), "run"]);
    command.args(["--offset", "-30d", "--", "echo", "it ran"]);
    let output = command.output().expect("python3");
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no permission to trace process"), "{said}");
}

#[test]
fn what_is_wrong_is_said_and_the_status_is_the_conventional_one() {
    let bad = [
        (
            &["run", "--time", "someday", "--", "date"][..],
            125,
            "2000-01-01",
        ),
        (
            &["run", "--time", "2038-13-01", "--", "date"],
            125,
            "2000-01-01",
        ),
        (&["run", "--offset", "much", "--", "date"], 125, "-30d"),
        (&["run", "--rate", "0", "--", "date"], 125, "above 0"),
        (&["run", "--rate", "-2", "--", "date"], 125, "backwards"),
        (&["run", "--rate", "1000000", "--", "date"], 125, "too high"),
        (&["run", "--name", "a b", "--", "date"], 125, "letters"),
        (&["run", "--seed-step", "1h", "--", "date"], 125, "1 minute"),
        (
            &["run", "--seed-step", "-1s", "--", "date"],
            125,
            "1 minute",
        ),
        (
            &["run", "--strict", "--seed-step", "1s", "--", "date"],
            125,
            "--seed-step",
        ),
        (
            &["run", "--time", "now", "--offset", "1h", "--", "date"],
            125,
            "--offset",
        ),
        (&["run", "--nonsense", "--", "date"], 125, "--nonsense"),
        (&["run"], 125, "PROGRAM"),
        (&["run", "--", "no-such-program"], 127, "PATH"),
        (&["run", "--", "/etc/passwd"], 126, "executable"),
        (&["run", "--", "/"], 126, "executable"),
        (&["clock", "no-such-clock", "show"], 1, "vdso clock list"),
        (&["clock", "list", "freeze"], 1, "vdso clock list"),
        (&["clock"], 2, "NAME"),
    ];
    for (arguments, status, help) in bad {
        let output = output(arguments);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}: {output:?}"
        );
        let said = String::from_utf8_lossy(&output.stderr).replace("\n        ", " ");
        assert!(said.contains(help), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}
