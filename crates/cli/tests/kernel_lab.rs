//! `vdso serve --kernel` and what belongs to it, on kernels that allow it. The lab's table
//! names the tests.
#![cfg(target_arch = "x86_64")]
#![allow(
    unsafe_code,
    reason = "a test tries to make the kernel's pages writable, which must be refused, and one \
              reads what the kernel's own vDSO reads"
)]

mod own_vdso;
mod serve_kernel;

use own_vdso::{OwnVdso, as_linux_does};
use rustix::process::Signal;
use serde_json::Value;
use serve_kernel::{Reader, Server, forks};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use vdsokit_bpf::sys;
use vdsokit_clock::page::{record_name, source_name};
use vdsokit_clock::{Clock, Record, Source};
use vdsokit_publish::{Condition, Publisher, Vdso};
use vdsokit_sources::kernel::open_vdso;

const NOBODY: u32 = 65_534;

/// The exit status of a command that reads values which were never published.
const NEVER_PUBLISHED: i32 = 5;

fn vdso() -> Command {
    Command::new("vdso")
}

/// A directory in which only root can put files.
fn place(name: &str) -> PathBuf {
    let directory = Path::new("/tmp").join(format!("place-{name}"));
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o755).create(&directory).unwrap();
    directory
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it complained of, with no blanks: a report is wrapped to the terminal's width.
fn complaint(output: &Output) -> String {
    let said = text(&output.stderr);
    println!("{said}");
    assert_eq!(output.status.code(), Some(1));
    said.replace(|c: char| c.is_whitespace() || c == '│', "")
}

/// A text in one line, however it is wrapped.
fn one_line(shown: &str) -> String {
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn good(command: &mut Command) -> String {
    output_with(0, command)
}

/// The output of a command that ends with this exit status.
fn output_with(status: i32, command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{command:?}: {said}");
    text(&output.stdout)
}

fn get(path: &Path, name: &str) -> String {
    let value = good(vdso().arg("get").arg(path).args(["-n", name]));
    value.trim_end().to_owned()
}

fn json(command: &mut Command) -> Value {
    serde_json::from_str(&good(command)).unwrap()
}

/// Waits until something is so; the lab ends a test that waits for ever.
fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}

/// Waits until there are no more BPF objects than before: the kernel frees unused ones after a grace
/// period.
fn until_freed(before: [usize; 3]) {
    until(|| sys::no_more_objects_than(before).unwrap());
}

/// The file's own pages, whatever the kernel's are.
fn file(path: &Path) -> Vdso {
    Vdso::open(path).unwrap()
}

/// The arguments of a server whose values are exact after forks and exits.
const EXACT: &[&str] = &[
    "--kernel",
    "forks",
    "--kernel",
    "threads=nr_threads:i32",
    "--kernel",
    "init_uts_ns.name.release",
    "--on",
    "sched_process_fork",
    "--on",
    "fexit:release_task",
    "--every",
    "2ms",
];

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-served"]
fn served_by_file_and_at_exec() {
    let before = sys::objects().unwrap();
    let path = place("served").join("libkernel.so.1");
    let mut server = Server::start(EXACT, &path);
    let header = fs::read_to_string(path.with_file_name("kernel.h")).unwrap();
    assert!(header.contains("uint64_t kernel_forks(void);"), "{header}");
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let shown = get(&path, "init_uts_ns_name_release");
    assert_eq!(shown.trim_matches('"'), release.trim_end());

    // The file: relayed, so it agrees a moment later.
    let mut of_file = Reader::of_file(&path);
    of_file.agrees();
    std::thread::spawn(|| {}).join().unwrap();
    of_file.agrees();

    // The kernel's own pages: exact at once.
    let mut at_exec = Reader::at_exec(&path);
    at_exec.agrees();
    for _ in 0..50 {
        let first = at_exec.read();
        std::thread::spawn(|| {}).join().unwrap();
        let (before, value, after) = (forks(), at_exec.read(), forks());
        assert!(
            first < value && before <= value && value <= after,
            "{before} {value} {after}"
        );
    }

    // Which map a process has, also beside another of the same layout.
    let mut twin = Server::start(EXACT, &place("twin").join("libkernel.so.1"));
    let mut of_twin = Reader::at_exec(Path::new(twin.live["file"].as_str().unwrap()));
    of_twin.agrees();
    for (server, reader) in [(&server, &at_exec), (&twin, &of_twin)] {
        let shown = json(vdso().args(["ls", &reader.child.id().to_string(), "--json"]));
        let images = shown["images"].as_array().unwrap();
        let published = images.iter().map(|image| &image["published"]["kernel"]);
        let maps: Vec<_> = published.filter(|kernel| kernel.is_object()).collect();
        assert_eq!(maps.len(), 1, "{shown:#}");
        assert_eq!(maps[0]["map"], server.live["kernel"]["map"]);
    }
    assert_eq!(twin.stop(Signal::TERM), Some(0));
    drop((twin, of_twin));
    let pid = at_exec.child.id();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let map = maps.lines().find(|line| line.contains("bpf-map")).unwrap();
    assert!(map.contains(" r--s "), "{maps}");
    for fd in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let target = fs::read_link(fd.unwrap().path()).unwrap();
        assert!(!target.to_string_lossy().contains("bpf"), "{target:?}");
    }
    let shown = json(vdso().args(["ls", &pid.to_string(), "--json"]));
    let images = shown["images"].as_array().unwrap();
    let is_ours = |image: &&Value| image["published"]["kernel"].is_object();
    let ours = images.iter().find(is_ours);
    let published = &ours.unwrap_or_else(|| panic!("{shown:#}"))["published"];
    assert_eq!(published["state"], "live");
    assert_eq!(published["kernel"]["direct"], true);
    assert_eq!(published["kernel"]["map"], server.live["kernel"]["map"]);
    let text = good(vdso().args(["ls", &pid.to_string()]));
    assert!(text.contains("source: the kernel's own pages"), "{text}");

    let shown = json(vdso().arg("ls").arg(&path).arg("--json"));
    let kernel = &shown["images"][0]["published"]["kernel"];
    println!("{kernel}");
    assert_eq!(kernel["direct"], false);
    assert!(kernel["behind"].is_number());
    let hooks = [
        "tick",
        "fexit:release_task",
        "tracepoint:sched_process_fork",
    ];
    for hook in hooks {
        let all = kernel["hooks"].as_array().unwrap();
        assert!(all.iter().any(|one| one == hook), "{kernel}");
    }

    // An unprivileged user reads both, and can't write.
    let mut unprivileged = Command::new(std::env::current_exe().unwrap());
    unprivileged
        .args(["--ignored", "--exact", "--nocapture", "reads_as_nobody"])
        .env("FILE", &path)
        .uid(NOBODY)
        .gid(NOBODY);
    good(&mut unprivileged);

    let pages = open_vdso(&path).unwrap().unwrap();
    assert_eq!(server.stop(Signal::TERM), Some(0));
    assert_eq!(server.event()["why"], "stopped");
    for vdso in [&pages, &file(&path)] {
        assert_eq!(vdso.status().condition, Condition::Stopped);
    }
    assert!(open_vdso(&path).unwrap().is_none());
    // Readers keep the last values.
    assert!(at_exec.read() > 0);
    drop((at_exec, of_file, pages));
    until_freed(before);
}

#[test]
#[ignore = "run by another test"]
fn reads_as_nobody() {
    assert_eq!(rustix::process::geteuid().as_raw(), NOBODY);
    let path = PathBuf::from(std::env::var_os("FILE").unwrap());
    let map = open_vdso(&path).unwrap().unwrap();
    for vdso in [&map, &file(&path)] {
        assert_eq!(vdso.status().condition, Condition::Live);
        assert!(vdso.var::<u64>("forks").unwrap().get() > 0);
    }
    // What is mapped stays for reading only.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.contains("bpf-map")).unwrap();
    let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
    let address = |text| usize::from_str_radix(text, 16).unwrap();
    let (start, end) = (address(start), address(end));
    // SAFETY: were it granted, nothing would be written.
    let result = unsafe {
        libc::mprotect(
            std::ptr::with_exposed_provenance_mut(start),
            end - start,
            libc::PROT_READ | libc::PROT_WRITE,
        )
    };
    assert_eq!(result, -1);
    assert!(Publisher::open(&path).is_err());
    assert!(!vdso().arg("retire").arg(&path).status().unwrap().success());
    assert_eq!(map.status().condition, Condition::Live);
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-detached"]
fn detached_the_kernel_goes_on() {
    let before = sys::objects().unwrap();
    let path = place("detached").join("libkernel.so.1");
    let mut detach = vdso();
    detach.args(["serve", "--kernel", "forks", "--detach", "--json", "--at"]);
    let said = json(detach.arg(&path));
    assert_eq!(said["event"], "detached");
    let moves = || {
        let first = forks();
        std::thread::spawn(|| {}).join().unwrap();
        until(|| get(&path, "forks").parse::<u64>().unwrap() > first);
        let status = open_vdso(&path).unwrap().unwrap().status();
        assert_eq!(status.condition, Condition::Live);
    };
    moves();
    // The file holds no values, and each command says where they are.
    assert_eq!(file(&path).status().condition, Condition::NeverPublished);
    let shown = json(vdso().arg("ls").arg(&path).arg("--json"));
    let published = &shown["images"][0]["published"];
    assert_eq!(published["state"], "live", "{published}");
    assert_eq!(published["kernel"]["direct"], true, "{published}");
    assert_eq!(published["kernel"]["relayed"], false, "{published}");
    assert!(published["variables"][0]["value"].as_u64() > Some(0));
    let shown = good(vdso().arg("ls").arg(&path));
    assert!(
        one_line(&shown).contains("the file's own pages were never published"),
        "{shown}"
    );
    // As distributions mount it.
    let bpf = Path::new("/sys/fs/bpf");
    let usual = fs::metadata(bpf).unwrap().permissions();
    fs::set_permissions(bpf, fs::Permissions::from_mode(0o700)).unwrap();
    let output = vdso().arg("get").arg(&path).uid(NOBODY).output().unwrap();
    assert_eq!(output.status.code(), Some(NEVER_PUBLISHED));
    let said = text(&output.stderr);
    println!("{said}");
    for what in [
        "never published in this file",
        "/sys/fs/bpf/",
        "`vdso serve",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let mut list = vdso();
    list.arg("ls").arg(&path).arg("--json").uid(NOBODY);
    let shown = output_with(NEVER_PUBLISHED, &mut list);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let published = &shown["images"][0]["published"];
    assert_eq!(published["state"], "never published", "{published}");
    assert_eq!(published["kernel"]["map"], Value::Null);
    let shown = output_with(NEVER_PUBLISHED, vdso().arg("ls").arg(&path).uid(NOBODY));
    assert!(
        one_line(&shown).contains("its values are not copied to the file"),
        "{shown}"
    );
    fs::set_permissions(bpf, usual).unwrap();

    // Somebody relays, and is killed: the kernel doesn't notice.
    let mut relay = Server::start(&["--every", "2ms"], &path);
    Reader::of_file(&path).agrees();
    assert_eq!(relay.stop(Signal::KILL), None);
    moves();
    // The next one relays where it stopped, and ends with the kernel.
    let mut relay = Server::start(&["--every", "2ms"], &path);
    Reader::of_file(&path).agrees();
    good(vdso().arg("retire").arg(&path));
    assert_eq!(relay.event()["event"], "retired");
    assert_eq!(relay.child.wait().unwrap().code(), Some(0));
    assert_eq!(file(&path).status().condition, Condition::Stopped);
    let left: Vec<_> = fs::read_dir("/sys/fs/bpf").unwrap().collect();
    assert!(
        left.iter().all(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            !name.to_string_lossy().contains("detached")
        }),
        "{left:?}"
    );
    until_freed(before);
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-killed"]
fn killed_the_publisher_leaves_the_kernel_publishing() {
    let before = sys::objects().unwrap();
    let path = place("killed").join("libkernel.so.1");
    let mut server = Server::start(&["--kernel", "forks"], &path);
    let map = open_vdso(&path).unwrap().unwrap();
    assert_eq!(server.stop(Signal::KILL), None);
    let first = map.header().updated();
    until(|| map.header().updated() > first);
    // A new publisher takes over: readers of the old pages see that it stopped.
    let mut server = Server::start(&["--kernel", "forks"], &path);
    assert_eq!(map.status().condition, Condition::Stopped);
    let mut reader = Reader::at_exec(&path);
    reader.agrees();
    // While it serves, another is refused.
    let output = vdso()
        .args(["serve", "--kernel", "forks", "--at"])
        .arg(&path)
        .output();
    assert!(complaint(&output.unwrap()).contains("isitspublisher"));
    assert_eq!(server.stop(Signal::INT), Some(0));
    drop((map, reader));
    until_freed(before);
}

const DECLARATION: &str = r#"
[vdso]
soname = "libsome.so.1"
version = "SOME_1.0"

[var.forks]
type = "u64"
kernel = "total_forks"
after = "sched_process_fork"

[var.both]
[var.both.fields.jiffies]
type = "u64"
kernel = "jiffies"
[var.both.fields.threads]
type = "i64"
kernel = "nr_threads:i32"

[var.wide]
type = "i64"
kernel = "runqueues.nr_running"
"#;

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-declared"]
fn a_declaration_names_variables_of_the_kernels() {
    let directory = place("declared");
    let declaration = directory.join("some.toml");
    fs::write(&declaration, DECLARATION).unwrap();
    // A declared type that doesn't hold the kernel's is refused, with both.
    let output = vdso().arg("serve").arg(&declaration).output().unwrap();
    let said = complaint(&output);
    assert!(said.contains("declaredasi64,butthekernelhasi32"), "{said}");

    let right = DECLARATION.replace(
        "type = \"i64\"\nkernel = \"nr_threads:i32\"",
        "type = \"i32\"\nkernel = \"nr_threads\"",
    );
    fs::write(&declaration, right).unwrap();
    let server = Server::start(&[], &declaration);
    let path = PathBuf::from(server.live["file"].as_str().unwrap());
    assert_eq!(path.file_name().unwrap(), "libsome.so.1");
    let shown = json(vdso().arg("get").arg(&path).arg("--json"));
    let values = &shown["values"];
    println!("{values}");
    assert!(values["both"]["jiffies"].as_u64().unwrap() > 0);
    assert!(values["both"]["threads"].as_i64().unwrap() > 10);
    assert!(values["wide"].is_i64() || values["wide"].is_u64());

    let mixed = "[vdso]\nsoname = \"libm.so\"\nversion = \"M\"\n[var.a]\ntype = \"u64\"\nkernel = \
                 \"jiffies\"\n[var.b]\ntype = \"u64\"\n";
    fs::write(&declaration, mixed).unwrap();
    let output = vdso().arg("serve").arg(&declaration).output().unwrap();
    assert!(complaint(&output).contains("`b`isboundtonothinginthekernel"));
    drop(server);
    good(vdso().arg("retire").arg(&path));
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-vars"]
fn what_can_be_published_is_listed() {
    let list = |pattern: &str| {
        let list = json(vdso().args(["kernel", "vars", pattern, "--json"]));
        list.as_array().unwrap().clone()
    };
    let has = |list: &[Value], name: &str, ty: &str| {
        let row = list.iter().find(|row| row["name"] == name);
        assert_eq!(row.unwrap_or_else(|| panic!("{list:?}"))["type"], ty);
    };
    has(&list("load"), "load_averages", "u64[3]");
    has(&list("runqueues"), "runqueues", "rq");
    has(
        &list("init_uts_ns.name"),
        "init_uts_ns.name.release",
        "char[65]",
    );
    has(&list("runqueues."), "runqueues.nr_running", "unsigned int");
    assert!(list("net_secret").is_empty());
    print!(
        "{}",
        good(vdso().args(["kernel", "vars", "init_uts_ns.name"]))
    );
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-refused"]
fn what_stands_in_the_way_is_said() {
    let serve = |arguments: &[&str], user: u32| {
        let path = Path::new("/tmp/place-refused/libkernel.so.1");
        let mut command = vdso();
        command.args(["serve", "--at"]).arg(path).args(arguments);
        complaint(&command.uid(user).output().unwrap())
    };
    place("refused");
    let said = serve(&["--kernel", "init_task.mm"], 0);
    assert!(said.contains("isanaddress"), "{said}");
    let said = serve(&["--kernel", "net_secret:u64"], 0);
    assert!(said.contains("isneverpublished"), "{said}");
    let said = serve(&["--kernel", "jiffies", "--on", "no_such_event"], 0);
    assert!(said.contains("nohook`tracepoint:no_such_event`"), "{said}");
    let said = serve(&["system", "--detach"], 0);
    assert!(said.contains("onlythekernelgoeson"), "{said}");

    fs::write("/proc/sys/kernel/kptr_restrict", "1").unwrap();
    for variable in ["nr_threads:i32", "processes"] {
        let said = serve(&["--kernel", variable], NOBODY);
        for what in ["CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG", "`vdsoservesystem`"] {
            assert!(said.contains(what), "{variable}: {what}: {said}");
        }
    }
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", "/sys/kernel/btf", "tmpfs", flags, None).unwrap();
    let said = serve(&["--kernel", "jiffies"], 0);
    assert!(said.contains("typesarenottobehad"), "{said}");
    assert!(said.contains("`vdsoservesystem`"), "{said}");
    let flags = rustix::mount::UnmountFlags::empty();
    rustix::mount::unmount("/sys/kernel/btf", flags).unwrap();
    assert_eq!(fs::read_dir("/tmp/place-refused").unwrap().count(), 0);
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-clock"]
fn the_clock_is_the_kernels_to_the_nanosecond() {
    let before = sys::objects().unwrap();
    let path = place("clock").join("libclock.so.1");
    let clock = |more: &[&str]| {
        let mut command = vdso();
        command.args(["serve", "clock", "--source", "timekeeper", "--json"]);
        command.args(more).arg("--at").arg(&path);
        command
    };
    let said = complaint(&clock(&[]).uid(NOBODY).output().unwrap());
    for what in ["CAP_BPF", "CAP_PERFMON"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let mut server = Server::of(&mut clock(&[]));
    assert_eq!(server.live["source"], "timekeeper");
    let map = open_vdso(&path).unwrap().unwrap();
    until(|| map.status().condition == Condition::Live);
    let own = OwnVdso::new();
    let mut compared = 0_u64;
    for clock in Clock::ALL {
        let words = map.latched::<[u64; Record::WORDS]>(record_name(clock.id()));
        let words = words.unwrap();
        let source = map.var::<u64>(source_name(clock.id())).unwrap();
        let record = || Record::from_words(&words.get());
        let stands = matches!(clock, Clock::RealtimeCoarse | Clock::MonotonicCoarse);
        let expected = match stands {
            true => Source::Fixed,
            false => Source::Counter { monotonic: false },
        };
        until(|| record().source == expected);
        assert_eq!(source.get(), expected.to_word());
        // The alarm clocks have no base of their own: they are the others by another name.
        let base = match clock {
            Clock::RealtimeAlarm => Clock::Realtime,
            Clock::BoottimeAlarm => Clock::Boottime,
            clock => clock,
        };
        for _ in 0..50 {
            // Both of the same update.
            let (record, theirs) = loop {
                let (first, theirs, again) = (record(), own.coefficients(base), record());
                let same = stands || first.current.start == theirs[0];
                if first == again && same {
                    break (first, theirs);
                }
            };
            if stands {
                let linux = i128::from(theirs[3]) * 1_000_000_000 + i128::from(theirs[4]);
                // Nothing tells which update a standing clock's base is of.
                if record.current.base.as_nanoseconds() == linux {
                    compared += 1;
                }
                continue;
            }
            let last = theirs[0];
            for step in (0..1_000).chain((0..record.current.length).step_by(9_999_991)) {
                let ours = record.at(last + step).unwrap().as_nanoseconds();
                assert_eq!(
                    ours,
                    as_linux_does(theirs, last + step),
                    "{clock:?} +{step}"
                );
                compared += 1;
            }
        }
    }
    println!("{compared} readings are equal");
    // And as programs have it: what the image says lies between two answers of the kernel.
    let now = rustix::time::ClockId::Monotonic;
    let words = map.latched::<[u64; Record::WORDS]>("monotonic").unwrap();
    let nanoseconds = |time: rustix::time::Timespec| {
        i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
    };
    let mut answered = 0;
    for _ in 0..10_000 {
        let before = nanoseconds(rustix::time::clock_gettime(now));
        // SAFETY: every x86-64 CPU has a counter, and this one may be read: the kernel's own
        // vDSO does.
        let ticks = unsafe { std::arch::x86_64::_rdtsc() };
        let ours = Record::from_words(&words.get()).at(ticks);
        let after = nanoseconds(rustix::time::clock_gettime(now));
        if let Some(ours) = ours {
            let ours = ours.as_nanoseconds();
            // The correction of the clock's rate may have changed in between, by some parts in
            // a million of a tick: a few nanoseconds.
            assert!(
                before <= ours + 50 && ours <= after + 50,
                "{before} {ours} {after}"
            );
            answered += 1;
        }
    }
    println!("{answered} of 10000 readings lie between two of the kernel's");
    assert!(answered > 9_000);

    // A program on it, and who loads the file.
    let mut inside = vdso();
    let given = format!("--clock={}", path.display());
    inside.args(["run", &given, "--"]).arg("/bin/kernel_lab");
    inside.args([
        "--ignored",
        "--exact",
        "--nocapture",
        "on_the_kernels_clock",
    ]);
    print!("{}", good(&mut inside));
    let shown = json(vdso().arg("ls").arg(&path).arg("--json"));
    let published = &shown["images"][0]["published"];
    assert_eq!(published["kernel"]["map"], server.live["kernel"]["map"]);
    assert_eq!(published["clocks"][0]["source"], "kernel");
    let shown = good(vdso().arg("ls").arg(&path));
    assert!(
        one_line(&shown).contains("source: the kernel's timekeeper"),
        "{shown}"
    );

    assert_eq!(server.stop(Signal::TERM), Some(0));
    assert_eq!(server.event()["why"], "stopped");
    assert_eq!(map.status().condition, Condition::Stopped);
    // And left to the kernel.
    let detached = json(&mut clock(&["--detach"]));
    assert_eq!(detached["event"], "detached");
    print!("{}", good(&mut inside));
    good(vdso().arg("retire").arg(&path));
    drop((map, words));
    until_freed(before);
}

/// A program under `vdso run --clock`: what the image in the kernel's place says lies between
/// two readings of the kernel's own vDSO, which is in the process still, to the nanosecond.
#[test]
#[ignore = "run by another test, under `vdso run --clock`"]
fn on_the_kernels_clock() {
    assert!(vdsokit_sources::clock::is_delivered());
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(maps.contains("bpf-map"), "{maps}");
    let own = OwnVdso::new();
    let now = || {
        // SAFETY: every x86-64 CPU has a counter, and this one may be read: the kernel's own
        // vDSO does. The fences keep it between what comes before and after.
        unsafe {
            std::arch::x86_64::_mm_lfence();
            let ticks = std::arch::x86_64::_rdtsc();
            std::arch::x86_64::_mm_lfence();
            ticks
        }
    };
    let ids = [
        (Clock::Monotonic, rustix::time::ClockId::Monotonic),
        (Clock::Realtime, rustix::time::ClockId::Realtime),
        (Clock::Boottime, rustix::time::ClockId::Boottime),
        (Clock::MonotonicRaw, rustix::time::ClockId::MonotonicRaw),
    ];
    for (clock, id) in ids {
        let (mut compared, mut turns) = (0_u32, 0_u32);
        while compared < 1_000 {
            turns += 1;
            let first = own.coefficients(clock);
            let before = now();
            let time = rustix::time::clock_gettime(id);
            let after = now();
            // An update in between is another clock.
            if first != own.coefficients(clock) {
                continue;
            }
            let ours = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
            let (before, after) = (as_linux_does(first, before), as_linux_does(first, after));
            assert!(
                before <= ours && ours <= after,
                "{clock:?}: {before} {ours} {after}"
            );
            compared += 1;
        }
        println!("{clock:?}: {compared} readings in {turns} turns lie between two of the kernel's");
    }
}

/// The least time of a call in several rounds.
fn best(rounds: u32, turns: u32, mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let start = Instant::now();
        for _ in 0..turns {
            call();
        }
        start.elapsed().as_nanos() as f64 / f64::from(turns)
    };
    (0..rounds).map(round).fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-cost"]
fn what_a_read_costs_and_how_late_a_relay_is() {
    let path = place("cost").join("libkernel.so.1");
    let every = Duration::from_millis(2);
    let mut arguments = EXACT.to_vec();
    arguments.extend(["--kernel", "jiffies"]);
    let server = Server::start(&arguments, &path);
    // The same layout, published by a process.
    let theirs = path.with_file_name("libother.so.1");
    let bytes = fs::read(&path).unwrap();
    let process = Publisher::create(&theirs, &bytes).unwrap();
    process.beat();

    let map = open_vdso(&path).unwrap().unwrap();
    let (of_kernel, of_process) = (
        map.var::<u64>("forks").unwrap(),
        file(&theirs).var::<u64>("forks").unwrap(),
    );
    let relayed = file(&path).var::<u64>("forks").unwrap();
    // Short enough for most of them to lie between two ticks.
    let (turns, mut kernel, mut other) = (5_000, f64::INFINITY, f64::INFINITY);
    for _ in 0..20 {
        let read = |var: &vdsokit_publish::Var<u64>| {
            best(1, turns, || {
                std::hint::black_box(var.get());
            })
        };
        kernel = kernel.min(read(&of_kernel));
        other = other.min(read(&of_process));
    }
    let sysinfo = best(20, 100, || {
        std::hint::black_box(rustix::system::sysinfo());
    });
    let read = |path: &'static str| {
        best(20, 10, || {
            std::hint::black_box(fs::read(path).unwrap());
        })
    };
    let (loadavg, stat) = (read("/proc/loadavg"), read("/proc/stat"));

    // From the return of a fork to its number in the file.
    let mut late = Vec::new();
    for _ in 0..200 {
        let thread = std::thread::spawn(|| {});
        let start = Instant::now();
        let wanted = of_kernel.get();
        until(|| relayed.get() >= wanted);
        late.push(start.elapsed());
        thread.join().unwrap();
    }
    late.sort();
    let pace: f64 = std::env::var("INSTRUCTION_NS").unwrap().parse().unwrap();
    println!("| what | instructions | in reads of a kernel variable |");
    println!("| --- | ---: | ---: |");
    for (what, time) in [
        ("read of a kernel variable", kernel),
        ("read of a process's variable", other),
        ("sysinfo(2)", sysinfo),
        ("read of /proc/loadavg", loadavg),
        ("read of /proc/stat", stat),
    ] {
        println!("| {what} | {:.1} | {:.1} |", time / pace, time / kernel);
    }
    println!(
        "relay every {every:?}: a value is in the file after {:?} (median), {:?} (99 %), {:?} (max)",
        late[late.len() / 2],
        late[late.len() * 99 / 100],
        late[late.len() - 1],
    );
    // The same instructions on the same kind of memory, and here they are counted. Whole ones are
    // compared: reading the clock before and after a round costs an instruction more or less.
    let instructions = |time: f64| (time / pace).round();
    assert!(
        instructions(kernel) <= instructions(other),
        "{kernel} {other}"
    );
    drop(server);
    good(vdso().arg("retire").arg(&path));
}

/// The image says itself what the kernel is to publish.
#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-crate"]
fn a_function_of_a_crate_computes_from_the_kernels_variables() {
    let path = place("crate").join("libpressure.so.1");
    fs::copy("/lib/libpressure.so.1", &path).unwrap();
    let mut server = Server::start(&[], &path);
    let read = |name| -> u64 { get(&path, name).parse().unwrap() };
    until(|| read("free") > 0);
    let (free, reserve) = (read("free"), read("reserve"));
    println!("{free} pages are free, {reserve} kept back");
    // The guest has half a gigabyte, and uses little of it.
    assert!(free > 2 * reserve && reserve > 0);
    let called = |command: &mut Command| Reader::start(command).read();
    let mut loaded = Command::new("kernel-reader");
    loaded.arg("file").arg(&path).arg("memory_is_short");
    assert_eq!(called(&mut loaded), 0);
    let mut delivered = vdso();
    delivered.arg("run").arg("--object").arg(&path);
    delivered.args(["--", "kernel-reader", "own", "memory_is_short"]);
    assert_eq!(called(&mut delivered), 0);
    assert_eq!(server.stop(Signal::TERM), Some(0));
}
