//! What `vdso` does on every architecture, tried on kernels of other architectures than the
//! machine's. The lab's table names the tests.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The programs of this architecture: one that waits in every way, one that looks at its registers
/// behind a wait, and those of the tests below.
const WAITS: &str = of("waits", "riscv-waits");
const REGISTERS: &str = of("guarded", "riscv-registers");
const SLEEPER: &str = of("sleeper", "riscv-sleeper");
const VECTORS: &str = of("vectors", "riscv-vectors");
const READS: &str = of("reads", "riscv-reads");
const KILL_AT: &str = of("kill_at", "riscv-kill_at");

/// The name on AArch64, or the one on RISC-V.
const fn of(arm: &'static str, riscv: &'static str) -> &'static str {
    match cfg!(target_arch = "riscv64") {
        true => riscv,
        false => arm,
    }
}

fn vdso(arguments: &[&str]) -> Command {
    let mut command = Command::new("vdso");
    command.args(arguments);
    command
}

/// The standard output of a command that succeeds.
fn good(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{command:?}: {}: {said}{printed}",
        output.status
    );
    printed.into_owned()
}

/// Waits until something is so; the lab ends a test that waits for ever.
fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}

/// A publisher whose input is open; it is killed at the end of the test.
struct Publisher(Child);

impl Publisher {
    fn start(arguments: &[&str]) -> Publisher {
        let mut command = vdso(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        Publisher(command.spawn().expect("vdso starts"))
    }

    fn send_line(&mut self, line: &str) {
        let input = self.0.stdin.as_mut().expect("a pipe");
        writeln!(input, "{line}").expect("the publisher reads its input");
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const WEATHER: &str = r#"
[vdso]
soname = "libweather.so.1"
version = "WEATHER_1.0"

[var.temperature]
type = "f64"
unit = "degC"
init = 1.5
doc = "Outside temperature"
"#;

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-publishing"]
fn a_declaration_is_built_checked_published_and_read() {
    fs::write("weather.toml", WEATHER).expect("a file");
    good(&mut vdso(&["build", "weather.toml"]));
    let image = "libweather.so.1";
    good(&mut vdso(&["check", image]));
    let mut publisher = Publisher::start(&["serve", image, "--stdin"]);
    let temperature = || {
        let read = vdso(&["get", image, "-n", "temperature"]).output();
        String::from_utf8_lossy(&read.expect("vdso starts").stdout)
            .trim_end()
            .to_owned()
    };
    until(|| temperature() == "1.5");
    publisher.send_line("temperature=21.5");
    until(|| temperature() == "21.5");
    assert!(good(&mut vdso(&["ls", image])).contains("weather_temperature"));
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-inspection"]
fn the_kernels_own_vdso_is_listed() {
    let listed = good(&mut vdso(&["ls", "--json"]));
    assert!(listed.contains("clock_gettime"), "{listed}");
    assert!(Path::new("/proc/self/maps").exists());
    good(&mut vdso(&["doctor"]));
}

/// The year that `date` prints, in a program that was started with these arguments.
fn year(arguments: &[&str]) -> String {
    let said = good(&mut vdso(arguments));
    said.trim_end()
        .rsplit(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-run"]
fn a_program_gets_an_object_and_keeps_the_kernels_vdso() {
    let then = "2000-01-01";
    assert_eq!(year(&["run", "--time", then, "--", "date"]), "2000");
    let followed = ["run", "--time", then, "--", "sh", "-c", "sh -c date; true"];
    assert_eq!(year(&followed), "2000");
    // One stop, and no supervisor.
    assert_eq!(
        year(&["run", "--no-follow", "--time", then, "--", "date"]),
        "2000"
    );
    // Without /proc it can't open the tracer's files, and gets their descriptors.
    fs::create_dir("root").expect("a directory");
    fs::copy("/bin/busybox", "root/date").expect("a program");
    let apart = ["run", "--time", then, "--", "chroot", "root", "/date"];
    assert_eq!(year(&apart), "2000");
    fs::write("weather.toml", WEATHER).expect("a file");
    good(&mut vdso(&["build", "weather.toml"]));
    let maps = [
        "--object",
        "libweather.so.1",
        "--",
        "cat",
        "/proc/self/maps",
    ];
    let maps = good(vdso(&["run", "--time", then]).args(maps));
    // Handlers of signals return through it.
    assert!(maps.contains("[vdso]"), "{maps}");
    assert!(maps.contains("/memfd:vdso"), "{maps}");
    let listed = [
        "--object",
        "libweather.so.1",
        "--",
        "sh",
        "-c",
        "vdso ls $$",
    ];
    let listed = good(vdso(&["run"]).args(listed));
    assert!(listed.contains("weather_temperature"), "{listed}");
    assert!(listed.contains("rt_sigreturn"), "{listed}");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-waits"]
fn every_wait_and_timer_follows_the_clock() {
    let said = good(&mut vdso(&["run", "--rate", "3600", "--", WAITS]));
    println!("{said}");
    assert_eq!(said.lines().count(), 14, "{said}");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-clock-changed"]
fn a_changed_clock_reaches_what_waits() {
    let mut sleeper = vdso(&["run", "--name", "lab", "--rate", "2", "--"]);
    sleeper.args(["sh", "-c", "sleep 200000 & sleep 200000; wait"]);
    let mut sleeper = sleeper.spawn().expect("vdso starts");
    // There is no clock of that name before the program starts.
    let faster = || vdso(&["clock", "lab", "rate", "100000"]).output();
    until(|| faster().is_ok_and(|output| output.status.success()));
    assert!(sleeper.wait().expect("a child").success());
    let idle = [
        "run",
        "--skip-idle",
        "--",
        "sh",
        "-c",
        "sleep 10000000; date",
    ];
    good(&mut vdso(&idle));
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-registers"]
fn a_converted_wait_changes_no_register_that_a_program_keeps() {
    good(&mut vdso(&["run", "--rate", "3600", "--", REGISTERS]));
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-options"]
fn every_option_of_run_is_served() {
    const DAY: &str = "2000-01-01";
    let reads = |options: &[&str], files: &[&str]| -> [u64; 5] {
        let printed = good(vdso(&["run"]).args(options).args(["--", READS]).args(files));
        let words = printed.split_whitespace();
        let numbers: Vec<u64> = words.flat_map(str::parse).collect();
        let numbers = numbers.try_into();
        numbers.unwrap_or_else(|_| panic!("{options:?}: {printed:?}"))
    };
    let [this, real, ..] = reads(&[], &[]);
    assert_eq!(this, real);
    let [wall, raw, ..] = reads(&["--time", DAY], &[]);
    assert_eq!((wall, raw), (2000, this));
    for option in ["--strict", "--require"] {
        let [wall, raw, ..] = reads(&["--time", DAY, option], &[]);
        assert_eq!((wall, raw), (2000, 2000), "{option}");
    }
    fs::write("file", "").expect("a file");
    let file = ["file"];
    assert_eq!(reads(&["--time", DAY], &file)[4], this);
    let [.., of_file] = reads(&["--time", DAY, "--file-times"], &file);
    assert!((1999..=2000).contains(&of_file), "{of_file}");
    let touch = ["--time", DAY, "--file-times", "--", "sh", "-c", "touch new"];
    good(vdso(&["run"]).args(touch));
    assert_eq!(reads(&[], &["new"])[4], this);
    assert_eq!(reads(&["--freeze", "--time", DAY], &[])[2], 0);
    assert_eq!(
        reads(&["--seed-step", "1ms", "--time", DAY], &[])[2],
        1_000_000
    );
    assert_eq!(reads(&["--offset", "+30d"], &[])[3], 0);
    assert!(reads(&["--offset", "+30d", "--clocks", "all"], &[])[3] >= 30);
    let named = [
        "run", "--name", "options", "--offset", "+10y", "--", SLEEPER, "1",
    ];
    let mut named = vdso(&named)
        .stdout(Stdio::null())
        .spawn()
        .expect("vdso starts");
    let joined = ["--join", "options"];
    let is_there = || vdso(&["clock", "options"]).output();
    until(|| is_there().is_ok_and(|output| output.status.success()));
    assert_eq!(reads(&joined, &[])[0], this + 10);
    good(&mut vdso(&["clock", "options", "set", "2050-06-01"]));
    assert_eq!(reads(&joined, &[])[0], 2050);
    good(&mut vdso(&["clock", "options", "freeze"]));
    assert_eq!(reads(&joined, &[])[2], 0);
    good(&mut vdso(&["clock", "options", "resume"]));
    assert!(reads(&joined, &[])[2] > 0);
    named.kill().expect("it lives");
    named.wait().expect("an end");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-delivery-calls"]
fn a_delivery_makes_at_most_twice_the_calls_that_x86_64s_makes() {
    /// By the same count of the same command on x86-64, with Linux 6.18 and a release build.
    const X86_64: usize = 94;
    let command = ["0", "--server", "vdso", "run", "--time", "2000-01-01", "--"];
    let mut program = Command::new(KILL_AT);
    let output = program.args(command).arg("true").output();
    let said = String::from_utf8_lossy(&output.expect("it runs").stderr).into_owned();
    let calls = said.lines().last().unwrap_or_default();
    let count = calls.split_whitespace().count();
    println!("{count} calls of the process that serves a program: {calls}");
    assert!((1..=2 * X86_64).contains(&count), "{said}");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-selftests"]
fn linuxs_own_tests_pass() {
    const TESTS: [&str; 4] = [
        "vdso_test_gettimeofday",
        "vdso_test_getcpu",
        "vdso_test_abi",
        "vdso_test_clock_getres",
    ];
    /// `KSFT_SKIP`: this architecture's vDSO has no such function.
    const SKIPPED: i32 = 4;
    for options in [&[][..], &["--strict", "--time", "2038-06-01"]] {
        for test in TESTS {
            let name = match cfg!(target_arch = "riscv64") {
                true => format!("riscv-{test}"),
                false => test.to_owned(),
            };
            let output = vdso(&["run"]).args(options).args(["--", &name]).output();
            let output = output.expect("vdso starts");
            let said = String::from_utf8_lossy(&output.stdout);
            let is_skipped = output.status.code() == Some(SKIPPED) && test == "vdso_test_getcpu";
            let is_well = output.status.success() || (is_skipped && cfg!(target_arch = "aarch64"));
            let failed = said.contains("[FAIL]") || said.contains("not ok");
            assert!(is_well && !failed, "{name} {options:?}: {output:?}");
        }
    }
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-go"]
fn go_reads_the_clock_under_sigprof() {
    let arguments = [
        "run",
        "--time",
        "2000-01-01",
        "--rate",
        "3600",
        "--",
        "profiled",
    ];
    assert_eq!(good(&mut vdso(&arguments)), "ok true\n");
    assert!(fs::metadata("profile").expect("a profile").len() > 0);
}

/// Sends a signal to a program that runs.
fn send(program: &Child, signal: Signal) {
    let process = i32::try_from(program.id()).ok().and_then(Pid::from_raw);
    kill_process(process.expect("a process id"), signal).expect("it lives");
}

/// A program that prints for each of its turns for how many milliseconds it slept, how many signals or
/// failures it had so far, which year it is, and in how many handlers a backtrace reached its `main`.
struct Sleeper {
    child: Child,
    turns: BufReader<ChildStdout>,
}

impl Sleeper {
    fn start(arguments: &[&str]) -> Sleeper {
        let mut command = Command::new(SLEEPER);
        command.args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let turns = BufReader::new(child.stdout.take().expect("a pipe"));
        Sleeper { child, turns }
    }

    fn turn(&mut self) -> [u64; 4] {
        let mut line = String::new();
        self.turns.read_line(&mut line).expect("a turn");
        let words = line.split(' ');
        let numbers: Vec<u64> = words.flat_map(|word| word.trim().parse()).collect();
        numbers.try_into().unwrap_or_else(|_| panic!("{line:?}"))
    }

    fn vdso(&self, command: &str, more: &[&str]) {
        good(vdso(&[command, &self.child.id().to_string()]).args(more));
    }

    /// The bytes of its vDSO.
    fn image(&self) -> Vec<u8> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.child.id())).expect("maps");
        let line = maps.lines().find(|line| line.ends_with("[vdso]"));
        let range = line
            .and_then(|line| line.split_once(' '))
            .expect("a vDSO")
            .0;
        let (start, end) = range.split_once('-').expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        let mut bytes = vec![0; (number(end) - number(start)) as usize];
        let memory = fs::File::open(format!("/proc/{}/mem", self.child.id())).expect("memory");
        memory
            .read_exact_at(&mut bytes, number(start))
            .expect("its vDSO");
        bytes
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-attach"]
fn attach_and_detach_change_the_time_and_handlers_return() {
    let mut sleeper = Sleeper::start(&["1"]);
    let this = sleeper.turn()[2];
    let before = sleeper.image();
    for round in 1..=2 {
        sleeper.vdso("attach", &["--offset", "+10y"]);
        until(|| sleeper.turn()[2] == this + 10);
        send(&sleeper.child, Signal::USR1);
        until(|| sleeper.turn()[1] == 2 * round - 1);
        // Unwinders know where a handler returns to by the instructions there.
        assert_eq!(sleeper.turn()[3], 2 * round - 1);
        sleeper.vdso("detach", &[]);
        until(|| sleeper.turn()[2] == this);
        assert!(sleeper.image() == before, "byte by byte");
        send(&sleeper.child, Signal::USR1);
        until(|| sleeper.turn()[1] == 2 * round);
    }
    let maps = fs::read_to_string(format!("/proc/{}/maps", sleeper.child.id())).expect("maps");
    assert!(!maps.contains("memfd:"), "{maps}");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-sleep"]
fn a_sleep_that_attach_interrupts_lasts_what_it_should() {
    let mut sleeper = Sleeper::start(&["4"]);
    sleeper.turn();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        sleeper.vdso("attach", &["--offset", "+10y"]);
        sleeper.vdso("detach", &[]);
    }
    let last = begun.elapsed().as_millis();
    let slept = u128::from(sleeper.turn()[0]);
    println!("slept {slept} ms of 4000, interrupted for {last} ms");
    // Begun anew, it would have lasted as long from its last interruption.
    assert!((4000..4000 + last).contains(&slept));
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-events"]
fn a_wait_for_events_that_attach_interrupts_goes_on() {
    let mut waiter = Sleeper::start(&["2", "epoll"]);
    waiter.turn();
    for _ in 0..5 {
        waiter.vdso("attach", &["--offset", "+10y"]);
        waiter.vdso("detach", &[]);
    }
    // The kernel ends epoll_wait(2) with EINTR whenever it is interrupted.
    assert_eq!(waiter.turn()[1], 0);
}

/// A system call keeps 128 bits of each vector register of AArch64 and none of RISC-V's, so the calls of a
/// visit would lose the others.
#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-vectors"]
fn vectors_survive_attach_and_detach() {
    let mut command = Command::new(VECTORS);
    let mut program = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut output = BufReader::new(program.stdout.take().expect("a pipe"));
    output.read_line(&mut String::new()).expect("it is ready");
    let pid = program.id().to_string();
    for _ in 0..3 {
        good(&mut vdso(&["attach", &pid, "--offset", "+10y"]));
        good(&mut vdso(&["detach", &pid]));
    }
    send(&program, Signal::USR1);
    assert!(program.wait().expect("an end").success());
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-killed"]
fn a_program_goes_on_when_its_tracer_is_killed() {
    let mut sleeper = Sleeper::start(&["0"]);
    let this = sleeper.turn()[2];
    let before = sleeper.image();
    let pid = sleeper.child.id().to_string();
    let killed = |command: &[&str], number: usize| {
        let mut tracer = Command::new(KILL_AT);
        tracer.arg(number.to_string()).arg("vdso").args(command);
        let output = tracer.output().expect("it runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let attach = ["attach", &pid, "--offset", "+10y"];
    let calls = |command: &[&str]| -> usize {
        let said = killed(command, 0);
        // A word for each call.
        let count = said.lines().last().unwrap_or_default().split_whitespace();
        let count = count.count();
        assert!(count > 0, "{said}");
        count
    };
    let (attaching, detaching) = (calls(&attach), calls(&["detach", &pid]));
    println!("{attaching} and {detaching} calls");
    // Each number is another state to begin from; the steps meet different ones in both halves.
    for number in (attaching / 3..attaching).step_by(67) {
        killed(&attach, number);
        sleeper.turn();
        if number % 2 == 0 {
            let _ = vdso(&attach).output();
            until(|| sleeper.turn()[2] == this + 10);
            killed(&["detach", &pid], detaching - number * 7 % (detaching / 2));
            sleeper.turn();
        }
        let _ = vdso(&["detach", &pid]).output();
        until(|| sleeper.turn()[2] == this);
        assert!(sleeper.image() == before, "call {number}");
    }
    a_program_outlives_whatever_serves_it(this);
}

/// A program that can't put the object into itself, since it has no /proc to open it by, is given it by
/// calls that the supervisor has it make. It is not ended by the supervisor's end. `this` is the year.
fn a_program_outlives_whatever_serves_it(this: u64) {
    fs::create_dir("apart").expect("a directory");
    fs::copy("/bin/busybox", "apart/date").expect("a program");
    let run = |number: usize| {
        let command = "run --time 2000-01-01 -- chroot apart /date +%Y";
        let mut program = Command::new(KILL_AT);
        program.args([&number.to_string(), "--server", "vdso"]);
        program.args(command.split(' '));
        program.output().expect("it runs")
    };
    let listed = String::from_utf8_lossy(&run(0).stderr).into_owned();
    let all = listed.lines().last().unwrap_or_default();
    let all = all.split_whitespace().count();
    let (mut served, mut real) = (0, 0);
    for number in (1..=all).step_by(all.div_ceil(60)) {
        let output = run(number);
        let year = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match year.as_str() {
            "2000" => served += 1,
            year if year == this.to_string() => real += 1,
            // A launch that was not complete is not tried.
            _ => assert_eq!(output.status.code(), Some(125), "call {number}: {output:?}"),
        }
    }
    println!("{all} calls; {served} served, {real} in real time");
    assert!(served > 0 && real > 0, "{served} and {real} of {all}");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-counter"]
fn the_counter_is_published_as_a_clock() {
    let _publisher = Publisher::start(&["serve", "clock", "--source", "counter"]);
    let shown = || {
        let output = vdso(&["ls", "clock", "--json"]).output();
        String::from_utf8_lossy(&output.expect("vdso starts").stdout).into_owned()
    };
    until(|| shown().contains("counter"));
    let maps = good(&mut vdso(&[
        "run",
        "--clock",
        "--",
        "cat",
        "/proc/self/maps",
    ]));
    let ours = |line: &&str| line.contains(" r--s ") && line.ends_with("linux-vdso.so.1");
    assert_eq!(maps.lines().filter(ours).count(), 1, "{maps}");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-kernel"]
fn the_kernel_publishes_its_variables_and_its_clock() {
    let kernel = ["serve", "--kernel", "nr_threads:i32", "--at", "libk.so.1"];
    let _publisher = Publisher::start(&kernel);
    let value = |command: &mut Command| {
        let output = command.output().expect("vdso starts").stdout;
        let text = String::from_utf8_lossy(&output).into_owned();
        text.trim().parse::<u32>().unwrap_or(0)
    };
    let get = ["get", "libk.so.1", "-n", "nr_threads"];
    until(|| value(&mut vdso(&get)) > 1);
    let delivered = [
        "run",
        "--object",
        "libk.so.1",
        "--",
        "cat",
        "/proc/self/maps",
    ];
    let maps = good(&mut vdso(&delivered));
    assert!(maps.contains("bpf-map"), "{maps}");
    let clock = [
        "serve",
        "clock",
        "--source",
        "timekeeper",
        "--at",
        "libclock.so.1",
    ];
    let _clock = Publisher::start(&clock);
    let shown = || {
        vdso(&["ls", "libclock.so.1"])
            .output()
            .expect("vdso starts")
            .stdout
    };
    until(|| String::from_utf8_lossy(&shown()).contains("vvar pages: live"));
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm arm-refused"]
fn a_kernel_without_direct_calls_is_named() {
    let refused = vdso(&["serve", "clock", "--source", "timekeeper"]).output();
    let refused = refused.expect("vdso starts");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("attaches no BPF program"), "{said}");
    assert!(said.contains("6.4"), "{said}");
}
