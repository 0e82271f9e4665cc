//! `vdso serve current` and unchanged programs, on kernels that allow it. The lab's table names the
//! test.
#![cfg(target_arch = "x86_64")]
#![allow(
    unsafe_code,
    reason = "children of fork get a filter of system calls, which has no safe wrapper"
)]

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use vdsokit_test_support::abort_on_panic;

/// The user whose tasks are published.
const USER: u32 = 1000;

/// Waits until the process was switched in as the user that it is now: a process that has changed its user
/// reads by system call until then. From here on getpid, gettid and getppid fail as system calls in this process, and in what it executes.
fn without_ids() -> std::io::Result<()> {
    std::thread::sleep(std::time::Duration::from_millis(1));
    without(&[libc::SYS_getpid, libc::SYS_gettid, libc::SYS_getppid])
}

/// From here on these system calls fail in this thread, and in what it starts and executes.
fn without(numbers: &[libc::c_long]) -> std::io::Result<()> {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    // seccomp(2): load the call's number; each number that matches skips the next return.
    let mut filter = vec![instruction(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        0,
        0,
    )];
    for &number in numbers {
        let fail = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        filter.push(instruction(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            number as u32,
        ));
        filter.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, fail));
    }
    filter.push(instruction(
        libc::BPF_RET | libc::BPF_K,
        0,
        0,
        libc::SECCOMP_RET_ALLOW,
    ));
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the filter has the length that is given, and the kernel copies it.
    let results = unsafe {
        [
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ),
        ]
    };
    match results {
        [0, 0] => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Starts a program as the user, without the system calls for ids if `filtered`.
fn start(program: &str, arguments: &[&str], preload: Option<&Path>, filtered: bool) -> Child {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .uid(USER)
        .gid(USER)
        .stdout(Stdio::piped());
    if let Some(library) = preload {
        command.env("LD_PRELOAD", library);
    }
    if filtered {
        // SAFETY: the closure makes system calls and allocates, in a child of a process whose other threads
        // hold no lock of the allocator: they wait for this one.
        unsafe { command.pre_exec(without_ids) };
    }
    command.spawn().unwrap()
}

/// What a program printed, with its id in place of `PID`.
fn printed(child: Child) -> (String, String) {
    let pid = child.id().to_string();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (
        pid,
        String::from_utf8(output.stdout).unwrap().trim().to_owned(),
    )
}

/// Publishes the user's tasks. Returns the publisher, what it prints next, and the library's place.
fn serve() -> (Child, Lines<BufReader<ChildStdout>>, PathBuf) {
    let mut server = Command::new("vdso")
        .args(["serve", "current", "--group", "1000", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let live: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    println!("{live}");
    assert_eq!(live["event"], "live");
    assert_eq!(live["readers"], serde_json::json!([USER]));
    assert_eq!(live["cpu_time"], true);
    let library = PathBuf::from(live["file"].as_str().unwrap());
    (server, lines, library)
}

/// Prints its id, and what `syscall(SYS_getpid)` returns, which the library answers too; compares its id
/// often.
const PERL: &str =
    "my $p = $$; for (1..20000) { die \"wrong\" if $$ != $p } print \"$$ \", syscall(39)";

fn clock_gettime(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the function writes the local variable.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (result == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Reads the clock until it has advanced by 5 ms. The system call fails, so only the page lets it
/// advance.
fn advances(clock: libc::clockid_t) {
    /// Each takes the CPU for some hundred instructions, so all of them for much longer than 5 ms.
    const READS: u32 = 5_000_000;
    let first = clock_gettime(clock).unwrap();
    let mut last = first;
    for _ in 0..READS {
        let now = clock_gettime(clock).unwrap();
        assert!(now >= last, "clock {clock}: {now} after {last}");
        last = now;
        if last >= first + 5_000_000 {
            return;
        }
    }
    panic!("clock {clock}: {last} after {READS} reads, {first} at first");
}

#[test]
#[ignore = "a part of the lab's row current-served, which runs it under `vdso run --current`"]
fn a_static_program_reads_cpu_time_without_a_system_call() {
    std::thread::sleep(std::time::Duration::from_millis(1));
    without(&[libc::SYS_clock_gettime]).unwrap();
    let mut time = [0_u64; 2];
    // SAFETY: the kernel would write the local variable.
    let called = unsafe { libc::syscall(libc::SYS_clock_gettime, 3, time.as_mut_ptr()) };
    assert_eq!(called, -1);
    advances(libc::CLOCK_THREAD_CPUTIME_ID);
    // The test harness has another thread; a child of fork has one.
    // SAFETY: the child reads clocks and ends.
    match unsafe { libc::fork() } {
        0 => {
            abort_on_panic(|| advances(libc::CLOCK_PROCESS_CPUTIME_ID));
            // SAFETY: it ends the process without running what the parent has registered.
            unsafe { libc::_exit(0) }
        }
        child => {
            let mut status = -1;
            // SAFETY: the kernel writes the local variable.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "the process's CPU time");
        }
    }
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-served"]
fn unchanged_programs_know_their_ids_without_a_system_call() {
    let (mut server, mut lines, library) = serve();
    let library = library.as_path();

    let (pid, perl) = printed(start("/bin/perl", &["-e", PERL], Some(library), true));
    assert_eq!(perl, format!("{pid} {pid}"), "perl");
    let (pid, bash) = printed(start("/bin/bash", &["-c", "echo $$"], Some(library), true));
    assert_eq!(bash, pid, "bash");
    // Without the library there is no id.
    let (pid, without) = printed(start("/bin/bash", &["-c", "echo $$"], None, true));
    assert_ne!(without, pid);

    let run = ["run", "--current", "--", "/bin/perl", "-e", PERL];
    let (pid, perl) = printed(start("/bin/vdso", &run, None, false));
    assert_eq!(perl, format!("{pid} {pid}"), "vdso run");

    // A static program, which preloads nothing: this one.
    let test = [
        "run",
        "--current",
        "--",
        "/bin/current_lab",
        "--ignored",
        "--exact",
        "a_static_program_reads_cpu_time_without_a_system_call",
    ];
    let (_, output) = printed(start("/bin/vdso", &test, None, false));
    assert!(output.contains("1 passed"), "{output}");

    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    assert!(server.wait().unwrap().success());
    let retired = lines.next().unwrap().unwrap();
    assert!(retired.contains("retired"), "{retired}");
    // The library stays, and makes system calls.
    let (pid, perl) = printed(start("/bin/perl", &["-e", PERL], Some(library), false));
    assert_eq!(perl, format!("{pid} {pid}"), "retired");
    let ended = Command::new("vdso")
        .args(["retire", "current"])
        .output()
        .unwrap();
    assert!(!ended.status.success());

    // Detached, the kernel goes on; the next publisher takes over.
    for arguments in [["serve", "current", "--world", "--detach"]; 2] {
        let output = Command::new("vdso").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).replace(char::is_whitespace, "");
        assert!(output.status.success(), "{text}");
        assert!(text.contains("everyprocessonthismachine"), "{text}");
    }
    let (pid, perl) = printed(start("/bin/perl", &["-e", PERL], Some(library), true));
    assert_eq!(perl, format!("{pid} {pid}"), "detached");
    let bench = Command::new("vdso")
        .args(["bench", "current", "--samples", "3", "--json"])
        .output();
    let bench: Value = serde_json::from_slice(&bench.unwrap().stdout).unwrap();
    assert_eq!(bench["published"], true, "{bench}");
    let ended = Command::new("vdso")
        .args(["retire", "current"])
        .status()
        .unwrap();
    assert!(ended.success());
    assert!(!Path::new("/sys/fs/bpf/current").exists());
}

/// The calls that the library answers.
const CALLS: &str = "getpid,gettid,getppid,clock_gettime";

/// Runs a program as the user under strace, with the library preloaded or not. Returns what it printed, and
/// how often it and all that it started made each of the calls.
fn counted(program: &[&str], preload: Option<&Path>) -> (String, HashMap<String, u64>) {
    let mut command = Command::new("/bin/strace");
    command
        .args(["-f", "-qq", "-c", "-e"])
        .arg(format!("trace={CALLS},execve"))
        .args(["-E", "PYTHONPATH=/lib/python.zip", "-E", "PYTHONHOME=/usr"]);
    if let Some(library) = preload {
        command
            .arg("-E")
            .arg(format!("LD_PRELOAD={}", library.display()));
    }
    let output = command.arg("--").args(program).uid(USER).gid(USER).output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?}: {errors}");
    // Each line: share, seconds, microseconds a call, calls, errors if there are any, name.
    let count = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = *words.last()?;
        let calls = words.get(3)?.parse().ok()?;
        (name != "total").then(|| (name.to_owned(), calls))
    };
    let counts: HashMap<String, u64> = errors.lines().filter_map(count).collect();
    println!("{} {counts:?}", program[0]);
    // strace has counted.
    assert_eq!(counts["execve"], 1, "{errors}");
    let printed = String::from_utf8(output.stdout).unwrap();
    (printed.trim().to_owned(), counts)
}

/// Runs a program under strace without and with the library. It prints its process's id last, and reads what changes `reads`
/// times.
fn counts_no_call(program: &[&str], library: &Path, reads: u64, call: &str) {
    let (_, without) = counted(program, None);
    assert!(without[call] > 0, "{program:?} makes no such call");
    let (printed, counts) = counted(program, Some(library));
    assert!(printed.parse::<u32>().unwrap() > 1, "{printed}");
    let calls = |name: &str| counts.get(name).copied().unwrap_or(0);
    assert_eq!((calls("getpid"), calls("gettid")), (0, 0), "{program:?}");
    // The parent's id is unknown from the exit of any task of the machine to the next switch, and CPU time after
    // a tick that comes late.
    let rare = reads / 100;
    assert!(calls("getppid") <= rare, "{program:?}: {counts:?}");
    assert!(calls("clock_gettime") <= rare, "{program:?}: {counts:?}");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-strace"]
fn strace_counts_no_call_in_unchanged_programs() {
    let (mut server, _lines, library) = serve();
    let perl = "for (1..5000) { die if $$ == getppid() } print $$";
    counts_no_call(&["/bin/perl", "-e", perl], &library, 5_000, "getppid");
    let bash = ["/bin/bash", "-c", "echo $$"];
    counts_no_call(&bash, &library, 0, "getpid");
    // The interpreter asks for the id of each of its threads by syscall(SYS_gettid).
    let python = "import os, threading, time\n\
        for turn in range(5000):\n\
        \x20   assert 0 <= time.thread_time() and 0 <= time.process_time()\n\
        \x20   assert os.getppid() != os.getpid()\n\
        ids = []\n\
        for turn in range(10):\n\
        \x20   one = threading.Thread(target=lambda: ids.append(threading.get_native_id()))\n\
        \x20   one.start(); one.join()\n\
        assert len(ids) == 10 and 0 not in ids and os.getpid() not in ids\n\
        print(os.getpid())";
    let python = ["/bin/python3", "-S", "-c", python];
    counts_no_call(&python, &library, 10_000, "gettid");
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    assert!(server.wait().unwrap().success());
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-java"]
fn strace_counts_no_call_in_a_java_runtime() {
    let (mut server, _lines, library) = serve();
    // In memory that the guest has; ids of threads are wanted of every kind of thread all the same.
    let java = [
        "/java/bin/java",
        "-XX:+UseSerialGC",
        "-Xmx64m",
        "-cp",
        "/java/lib",
        "Times",
    ];
    counts_no_call(&java, &library, 10_000, "gettid");
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    assert!(server.wait().unwrap().success());
}
