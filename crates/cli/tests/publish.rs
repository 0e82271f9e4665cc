//! `vdso serve`, `set`, `get`, `watch`, `retire`, `demo`: publisher and readers are
//! processes of their own.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use tempfile::TempDir;
use vdsokit_publish::{Condition, Vdso, place};

const WEATHER: &str = r#"
[vdso]
soname = "libweather.so.1"
version = "WEATHER_1.0"

[var.temperature]
type = "f64"
unit = "degC"
init = 1.5

[var.wind]
[var.wind.fields.speed]
type = "f64"
[var.wind.fields.from]
type = "f64"
"#;

fn vdso() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vdso"))
}

fn run(arguments: &[&str], path: &Path) -> Output {
    let (command, rest) = arguments.split_first().unwrap();
    vdso().arg(command).arg(path).args(rest).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Its output, when it ended well.
fn good(arguments: &[&str], path: &Path) -> String {
    let output = run(arguments, path);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    text(&output.stdout)
}

/// What it complained of, with no blanks: a report is wrapped to the terminal's width.
fn bad(arguments: &[&str], path: &Path) -> String {
    let output = run(arguments, path);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    squeeze(&text(&output.stderr))
}

fn squeeze(text: &str) -> String {
    text.replace(|c: char| c.is_whitespace() || c == '│', "")
}

/// A directory of our own with a declaration in it.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let declaration = directory.path().join("weather.toml");
    fs::write(&declaration, WEATHER).unwrap();
    (directory, declaration)
}

/// `vdso serve`, live.
struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    events: BufReader<ChildStdout>,
    path: PathBuf,
}

impl Server {
    fn start(file: &Path) -> Self {
        let mut child = vdso()
            .arg("serve")
            .arg(file)
            .args(["--stdin", "--json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Self {
            stdin: child.stdin.take(),
            events: BufReader::new(child.stdout.take().unwrap()),
            child,
            path: PathBuf::new(),
        };
        let live = server.event();
        assert_eq!(live["event"], "live", "{live}");
        assert_eq!(live["publisher"], server.child.id());
        server.path = live["file"].as_str().unwrap().into();
        server
    }

    fn event(&mut self) -> Value {
        let mut line = String::new();
        self.events.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn killed(mut self) -> PathBuf {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::take(&mut self.path)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `name` has the value; the harness's own limit is the only one.
fn until(path: &Path, name: &str, expected: &str) {
    let vdso = Vdso::open(path).unwrap();
    while vdso.get(name).unwrap().to_string() != expected {
        std::thread::yield_now();
    }
}

#[test]
fn lines_become_values() {
    let (_directory, declaration) = place();
    let mut server = Server::start(&declaration);
    let path = server.path.clone();
    assert_eq!(path.file_name().unwrap(), "libweather.so.1");
    server.say("temperature=21.5 wind.speed=3 wind.from=270");
    until(&path, "wind", "speed=3 from=270");
    assert_eq!(
        good(&["get"], &path),
        "temperature=21.5\nwind.speed=3 wind.from=270\n"
    );
    assert_eq!(
        good(&["get", "-n", "wind.from", "temperature"], &path),
        "270\n21.5\n"
    );
    let json: Value = serde_json::from_str(&good(&["get", "--json"], &path)).unwrap();
    assert_eq!(json["values"]["wind"]["speed"], 3.0);
    assert_eq!(json["status"]["state"], "live");
    assert_eq!(json["status"]["publisher"], server.child.id());

    server.say("temperature=warm");
    let refused = server.event();
    assert_eq!(refused["event"], "refused");
    assert_eq!(refused["line"], 2);
    server.say("humidity=1");
    let refused = server.event().to_string();
    assert!(
        refused.contains("no variable is called `humidity`"),
        "{refused}"
    );

    drop(server.stdin.take());
    assert_eq!(server.event()["why"], "end of input");
    let status = server.child.wait().unwrap();
    assert_eq!(status.code(), Some(1), "two lines were refused");
    let status = Vdso::open(&path).unwrap().status();
    assert_eq!(status.condition, Condition::Stopped);
    let stderr = text(&run(&["get"], &path).stderr);
    assert!(stderr.contains("stopped"), "{stderr}");
}

#[test]
fn signals_end_it_in_order() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (directory, declaration) = place();
        let mut server = Server::start(&declaration);
        let vdso = Vdso::open(&server.path).unwrap();
        kill_process(Pid::from_child(&server.child), signal).unwrap();
        assert_eq!(server.event()["why"], "stopped");
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
        assert_eq!(vdso.status().condition, Condition::Stopped);
        let left = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 2, "declaration and image, and no lock");
    }
}

#[test]
fn a_second_publisher_is_refused_and_told_who_the_first_is() {
    let (_directory, declaration) = place();
    let server = Server::start(&declaration);
    let pid = server.child.id();
    let who = squeeze(&format!("process {pid} (`vdso`) is its publisher"));
    for arguments in [&["serve"][..], &["set", "temperature=1"], &["retire"]] {
        let said = bad(arguments, &server.path);
        assert!(said.contains(&who), "{arguments:?}: {said}");
    }
    assert!(bad(&["serve"], &declaration).contains(&who));
}

#[test]
fn a_killed_publisher_leaves_its_values_to_readers_and_to_the_next() {
    let (_directory, declaration) = place();
    let mut server = Server::start(&declaration);
    let vdso = Vdso::open(&server.path).unwrap();
    server.say("temperature=30");
    until(&server.path, "temperature", "30");
    let path = server.killed();
    assert_ne!(vdso.status().condition, Condition::Stopped);
    assert_eq!(vdso.var::<f64>("temperature").unwrap().get(), 30.0);

    good(&["set", "wind.speed=5"], &path);
    let output = run(&["get", "temperature", "wind"], &path);
    assert_eq!(
        text(&output.stdout),
        "temperature=30\nwind.speed=5 wind.from=0\n"
    );
    assert_eq!(output.status.code(), Some(4), "stopped");
    assert_eq!(vdso.status().condition, Condition::Stopped);

    let path = Server::start(&path).killed();
    assert_ne!(vdso.status().condition, Condition::Stopped);
    good(&["retire"], &path);
    assert_eq!(vdso.status().condition, Condition::Stopped);
}

/// Publishers are killed in the midst of writing, again and again, and resumed.
#[test]
fn readers_see_whole_values_only_while_publishers_are_killed() {
    let (_directory, declaration) = place();
    let mut path = Server::start(&declaration).killed();
    let vdso = Vdso::open(&path).unwrap();
    let whole = |round: u32| {
        let now = vdso.get("wind").unwrap().to_string();
        let (speed, from) = now.split_once(' ').unwrap();
        let (speed, from) = (speed.strip_prefix("speed="), from.strip_prefix("from="));
        assert_eq!(speed, from, "torn in round {round}");
        now
    };
    for round in 0..5 {
        let mut server = Server::start(&path);
        let mut stdin = server.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            // Until the pipe breaks.
            (0_u64..).find(|n| writeln!(stdin, "wind.speed={n} wind.from={n}").is_err())
        });
        let (mut changes, mut last) = (0, whole(round));
        while changes < 100 {
            let now = whole(round);
            changes += u32::from(now != last);
            last = now;
        }
        path = server.killed();
        assert!(writer.join().unwrap().is_some());
        assert_eq!(whole(round), whole(round), "no publisher is left");
    }
}

#[test]
fn another_layout_replaces_the_file_and_watch_follows() {
    let (_directory, declaration) = place();
    let server = Server::start(&declaration);
    let mut watch = vdso()
        .args(["watch", "--json", "--every", "1ms"])
        .arg(&server.path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut looks = BufReader::new(watch.stdout.take().unwrap());
    let look = |looks: &mut BufReader<ChildStdout>| -> Value {
        let mut line = String::new();
        looks.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    assert_eq!(look(&mut looks)["status"]["publisher"], server.child.id());
    server.killed();

    let longer = format!("{WEATHER}\n[var.humidity]\ntype = \"f32\"\n");
    fs::write(&declaration, longer).unwrap();
    let mut second = Server::start(&declaration);
    second.say("humidity=0.5");
    while look(&mut looks)["values"]["humidity"] != 0.5 {}
    drop(looks);
    // Its standard output is closed, so it ends by itself.
    assert!(watch.wait().unwrap().success());
}

#[test]
fn a_retyped_variable_is_published_with_replace_only() {
    let (_directory, declaration) = place();
    let path = Server::start(&declaration).killed();
    let old = fs::read(&path).unwrap();
    let retyped = WEATHER.replace("type = \"f64\"\nunit", "type = \"u64\"\nunit");
    fs::write(&declaration, retyped.replace("1.5", "7")).unwrap();

    let refused = bad(&["serve", "--stdin"], &declaration);
    let expected = "`temperature`isf64atbyte";
    assert!(refused.contains(expected), "{refused}");
    let expected = "inthisfileandu64atbyte";
    assert!(refused.contains(expected), "{refused}");
    assert!(refused.contains("vdsoserve--replace"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), old, "the file has changed");

    good(&["serve", "--replace", "--stdin"], &declaration);
    let retired = run(&["get", "-n", "temperature"], &path);
    assert_eq!(text(&retired.stdout), "7\n");
    // The layout of the new file is that of the declaration.
    good(&["serve", "--stdin"], &declaration);
}

#[test]
fn a_file_that_is_replaced_behind_its_publisher_ends_it() {
    let (_directory, declaration) = place();
    let mut server = Server::start(&declaration);
    fs::remove_file(&server.path).unwrap();
    assert_eq!(server.event()["why"], "another file took its place");
    assert_eq!(server.child.wait().unwrap().code(), Some(1));
}

#[test]
fn what_can_not_be_done_is_said() {
    let (directory, _) = place();
    let path = directory.path().join("libweather.so.1");
    let commands = [
        &["get"][..],
        &["serve"],
        &["set", "a=1"],
        &["watch"],
        &["retire"],
    ];
    for arguments in commands {
        let said = bad(arguments, &path);
        assert!(said.contains("thereisnosuchfile"), "{arguments:?}: {said}");
    }
    fs::write(&path, "no vDSO").unwrap();
    for arguments in commands {
        let said = bad(arguments, &path);
        assert!(said.contains("thisisnovDSO"), "{arguments:?}: {said}");
        assert!(said.contains("help:"), "{said}");
    }
    assert_eq!(fs::read(&path).unwrap(), b"no vDSO");
}

#[test]
fn the_system_is_served_at_the_rate_asked_for() {
    let (directory, _) = place();
    let at = directory.path().join("libsystem.so.1");
    let mut child = vdso()
        .args(["serve", "system", "--every", "1ms", "--at"])
        .arg(&at)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut live = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut live).unwrap();
    assert!(live.starts_with("live: "), "{live}");
    let vdso = Vdso::open(&at).unwrap();
    let samples = vdso.var::<u64>("samples").unwrap();
    while samples.get() < 3 {
        std::thread::yield_now();
    }
    assert!(vdso.var::<u32>("processes").unwrap().get() > 0);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_demo_shows_every_reader_and_leaves_nothing() {
    let base = place::base().unwrap();
    let left = || {
        let names = fs::read_dir(&base).unwrap().flatten();
        names
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with("vdso-demo-")
            })
            .count()
    };
    let before = left();
    let output = vdso().args(["demo", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let proc = &json["values"]["/proc"];
    for reader in ["C", "Python", "Rust"] {
        let values = &json["values"][reader];
        assert_eq!(values["memory_total"], proc["memory_total"], "{reader}");
    }
    assert!(json["nanoseconds"]["C: system_threads()"].is_number());
    assert_eq!(left(), before);
}

/// Whatever this machine's kernel allows: what can't be right is refused before anything is
/// made. What it does where it may is checked in the lab, by `kernel_lab.rs`.
#[test]
fn variables_of_the_kernel_that_cannot_be_are_refused() {
    let (directory, declaration) = place();
    let image = directory.path().join("libk.so.1");
    let serve = |arguments: &[&str]| {
        let output = vdso().arg("serve").args(arguments).output().unwrap();
        (output.status.code(), squeeze(&text(&output.stderr)))
    };
    let at = image.to_str().unwrap();
    let (status, said) = serve(&["--kernel", "nr threads", "--at", at]);
    assert_eq!(status, Some(1), "{said}");
    let (status, said) = serve(&["--detach", declaration.to_str().unwrap()]);
    assert_eq!(status, Some(1));
    assert!(said.contains("onlythekernelgoeson"), "{said}");
    let (status, said) = serve(&["clock", "--detach", "--at", at]);
    assert_eq!(status, Some(1));
    assert!(said.contains("`--sourcetimekeeper`"), "{said}");
    for usage in [
        &[][..],
        &["--on", "sched_process_fork", "x.toml"],
        &["--kernel", "x", "--stdin"],
        &["--kernel", "x", "x.toml"],
    ] {
        assert_eq!(serve(usage).0, Some(2), "{usage:?}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// Waits for a command that has to end by itself: its standard error, without blanks.
fn ended_with_1(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    // A signal is no exit code.
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    squeeze(&text(&output.stderr))
}

#[test]
fn a_file_that_is_truncated_ends_publisher_and_reader_with_a_message() {
    let (_directory, declaration) = place();
    for command in ["serve", "watch"] {
        let directory = declaration.parent().unwrap();
        let mut build = vdso();
        build.arg("build").arg(&declaration).current_dir(directory);
        assert!(build.output().unwrap().status.success());
        let image = directory.join("libweather.so.1");
        let mut child = vdso()
            .arg(command)
            .arg(&image)
            .args(["--json", "--every", "1ms"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Read to the end, or a full pipe would hold the command up.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines
            .next()
            .expect("a line once the file is mapped")
            .unwrap();
        let rest = std::thread::spawn(move || lines.count());
        fs::File::create(&image).unwrap();
        let said = ended_with_1(child);
        assert!(
            said.contains("libweather.so.1:anotherprogramcutthisfileshort"),
            "{command}: {said}"
        );
        rest.join().unwrap();
        fs::remove_file(&image).unwrap();
    }
}

/// Only a fault ends a command with that message: a SIGBUS that another process sends does what it
/// always does.
#[test]
fn a_sigbus_that_is_sent_ends_a_publisher_as_ever() {
    use std::os::unix::process::ExitStatusExt;
    let (_directory, declaration) = place();
    let mut server = Server::start(&declaration);
    kill_process(Pid::from_child(&server.child), Signal::BUS).unwrap();
    let status = server.child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::BUS.as_raw()), "{status:?}");
}

/// In a mount namespace with an empty `/run`, the command has to make its directory there. Then
/// `serve system` fails for want of an inode, and the clock's source `timekeeper` because a user
/// namespace gives no right to load BPF programs.
#[test]
fn a_command_that_fails_leaves_no_empty_directory() {
    let bin = env!("CARGO_BIN_EXE_vdso");
    // One inode for the root of the file system and one for the directory.
    let script = format!(
        "mount -t tmpfs -o mode=755,ro tmpfs /dev/shm && \
         mount -t tmpfs -o mode=755,nr_inodes=2 tmpfs /run || exit 77; \
         rm -rf /run/mount; \
         unset XDG_RUNTIME_DIR; {bin} serve system </dev/null; \
         echo status $?; {bin} serve clock --source timekeeper </dev/null; echo status $?; \
         ls -A /run"
    );
    let output = Command::new("unshare")
        .args(["-rm", "--propagation", "private", "sh", "-c", &script])
        .output()
        .unwrap();
    if output.status.code() == Some(77) && std::env::var_os("CI").is_none() {
        return;
    }
    assert_eq!(
        text(&output.stdout),
        "status 1\nstatus 1\n",
        "{}",
        text(&output.stderr)
    );
}
