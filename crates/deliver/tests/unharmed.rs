//! Attaching and delivering harm nothing in the process: its signals, its sandbox, its
//! restartable sequences, its other owners.
#![allow(unsafe_code, reason = "sigqueue(3) exists only as a foreign function")]

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use common::attaching::{NOW, Talker, attacher, refuses};
use common::{SAID, compiled, finish, images, installed, on, scratch, skip, status_field, text};
use rustix::process::{Pid, Signal, WaitOptions, geteuid, kill_process, waitpid};

fn is_root() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        skip("only root may suspend a seccomp filter");
    }
    is_root
}

#[test]
fn a_sandboxed_process_is_attached_to_with_its_filter_suspended() {
    if !is_root() {
        return;
    }
    let mut sandboxed = Talker::start(&mut Command::new(compiled("sandboxed", &[])));
    for image in images().each() {
        sandboxed.attach(image);
        assert_eq!(sandboxed.ask(), SAID);
        sandboxed.detach();
        assert_ne!(sandboxed.ask(), SAID);
        let seccomp = status_field(sandboxed.child.id(), "Seccomp");
        assert_eq!(seccomp.as_deref(), Some("2"));
    }
    assert_eq!(sandboxed.end(), "");
}

#[test]
fn a_program_in_a_sandbox_is_served_with_its_filter_suspended() {
    if !is_root() {
        return;
    }
    let sandboxed = compiled("sandboxed", &[]);
    let clock = compiled("clock", &["-static"]);
    for image in images().each() {
        let output = finish(&mut on(image, &[text(&sandboxed), text(&clock)]));
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            SAID,
            "{output:?}"
        );
    }
}

/// `command` without the right to administrate, and the directory with what it needs.
fn without_rights(name: &str, files: &[&Path]) -> Option<(Command, std::path::PathBuf)> {
    if !is_root() || installed("setpriv").is_none() {
        return None;
    }
    let directory = std::env::temp_dir().join(format!("vdsokit-{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    for file in files {
        let to = directory.join(file.file_name().expect("a name"));
        fs::copy(file, to).expect("copied");
    }
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all",
    ]);
    Some((command, directory))
}

#[test]
fn a_sandboxed_process_is_left_alone_by_one_without_rights() {
    let sandboxed = compiled("sandboxed", &[]);
    let attach = common::example("attach");
    let files = [&*sandboxed, &*attach, &*images().plain];
    let Some((mut start, directory)) = without_rights("sandboxed", &files) else {
        return;
    };
    let here = |path: &Path| directory.join(path.file_name().expect("a name"));
    let mut talker = Talker::start(start.arg(here(&sandboxed)));
    let (mut command, _) = without_rights("sandboxed", &[]).expect("root");
    command
        .arg(here(&attach))
        .arg(talker.pid())
        .arg(here(&images().plain));
    let output = finish(&mut command);
    let answer = talker.ask();
    fs::remove_dir_all(&directory).expect("removed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("a seccomp filter restricts it"), "{output:?}");
    assert_ne!(answer, SAID);
    assert_eq!(talker.end(), "");
}

#[test]
fn a_program_in_a_sandbox_runs_untouched_without_rights() {
    let sandboxed = compiled("sandboxed", &[]);
    let clock = compiled("clock", &["-static"]);
    let files = [&*sandboxed, &*clock, &*common::runner(), &*images().links];
    let Some((mut command, directory)) = without_rights("sandbox", &files) else {
        return;
    };
    let here = |path: &Path| directory.join(path.file_name().expect("a name"));
    command
        .arg(here(&common::runner()))
        .arg("--report")
        .arg(here(&images().links));
    let output = finish(command.arg(here(&sandboxed)).arg(here(&clock)));
    fs::remove_dir_all(&directory).expect("removed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("a seccomp filter restricts it"), "{output:?}");
    assert_ne!(String::from_utf8_lossy(&output.stdout).trim(), SAID);
}

#[test]
fn a_handler_on_an_alternate_stack_hides_no_frame() {
    let mut child = Command::new(compiled("frames", &[]));
    let talker = Talker::start(&mut child);
    refuses(
        &[&talker.pid(), text(&images().plain)],
        "inside a vDSO function",
    );
    assert_eq!(talker.end_by("go\n"), "");
}

#[test]
fn memory_that_two_processes_share_is_left_alone() {
    let mut talker = Talker::start(&mut Command::new(compiled("shares", &[])));
    let other = talker.ask();
    for pid in [talker.pid(), other] {
        refuses(
            &[&pid, text(&images().plain)],
            "it shares its memory with process",
        );
    }
    assert_eq!(talker.end(), "");
}

#[test]
fn a_restartable_sequence_is_aborted() {
    let program = compiled("sections", &[]);
    let mut talker = Talker::start(&mut Command::new(program));
    for _ in 0..20 {
        talker.attach(&images().links);
        talker.detach();
    }
    talker.say("end\n");
    assert_eq!(talker.line(), "0 torn");
    assert!(talker.child.wait().expect("an end").success());
}

#[test]
fn a_thread_in_vfork_is_released_at_once() {
    let program = compiled("vforks", &["-pthread"]);
    let mut command = Command::new(program);
    command.args(["waits", "/bin/echo", "done"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut output = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).expect("a line");
    assert_eq!(line, "waits\n");
    let pid = child.id();
    refuses(&[&pid.to_string(), text(&images().plain)], "as in vfork(2)");
    assert_eq!(status_field(pid, "TracerPid").as_deref(), Some("0"));
    let mut input = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, b"g").expect("written");
    assert!(child.wait().expect("an end").success());
}

#[test]
fn no_stop_is_lost() {
    let script = "echo ready; while :; do : ${EPOCHREALTIME}; done";
    let talker = Talker::start(Command::new("bash").args(["-c", script]));
    let process = Pid::from_child(&talker.child);
    let (pid, image) = (talker.pid(), text(&images().links).to_owned());
    for round in 0..40 {
        let is_attached = fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
        let is_attached = is_attached.contains("vdso-front");
        let arguments = match is_attached {
            true => vec![pid.clone()],
            false => vec![pid.clone(), image.clone()],
        };
        let attaching = thread::spawn(move || {
            attacher(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        });
        // Somewhere in the attach, each time elsewhere.
        thread::sleep(Duration::from_micros(round * 150));
        kill_process(process, Signal::STOP).expect("kill");
        attaching.join().expect("attached or refused");
        let (_, status) = waitpid(Some(process), WaitOptions::UNTRACED)
            .expect("wait")
            .expect("its stop");
        assert_eq!(status.stopping_signal(), Some(libc::SIGSTOP));
        kill_process(process, Signal::CONT).expect("kill");
    }
    let mut child = talker.child;
    child.kill().expect("kill");
    child.wait().expect("an end");
}

#[test]
fn no_signal_is_lost_and_each_keeps_its_value() {
    let mut talker = Talker::start(&mut Command::new(compiled("hears", &[])));
    let pid = talker.child.id() as i32;
    let (mut values, mut sum) = (0, 0);
    for round in 0..20_u64 {
        let (own, image) = (talker.pid(), text(&images().links).to_owned());
        let attaching = thread::spawn(move || {
            let output = attacher(&[&own, &image]);
            (output.status.success(), attacher(&[&own]).status.success())
        });
        thread::sleep(Duration::from_micros(round * 200));
        for value in 0..20 {
            queue(pid, libc::SIGRTMIN(), value);
            values += 1;
            sum += value;
            thread::sleep(Duration::from_micros(150));
        }
        attaching.join().expect("attached and detached, or refused");
    }
    talker.say("end\n");
    assert_eq!(talker.line(), format!("{values} {sum} 0 0 1"));
    assert!(talker.child.wait().expect("an end").success());
}

#[test]
fn exceptions_that_a_process_sent_are_delivered() {
    let mut talker = Talker::start(&mut Command::new(compiled("hears", &[])));
    let pid = talker.child.id() as i32;
    let (own, image) = (talker.pid(), text(&images().links).to_owned());
    let attaching = thread::spawn(move || {
        for _ in 0..30 {
            attacher(&[&own, &image]);
            attacher(&[&own]);
        }
    });
    let mut sent = 0;
    while !attaching.is_finished() {
        queue(pid, libc::SIGTRAP, 0);
        queue(pid, libc::SIGSEGV, 0);
        sent += 1;
        thread::sleep(Duration::from_micros(900));
    }
    attaching.join().expect("attached and detached");
    talker.say("end\n");
    let line = talker.line();
    let counts: Vec<u64> = line
        .split(' ')
        .map(|word| word.parse().expect("a number"))
        .collect();
    // Ordinary signals are merged while one is pending.
    assert!(sent > 0 && counts[2] > 0 && counts[3] > 0, "{line}");
    assert!(talker.child.wait().expect("an end").success(), "{line}");
}

fn queue(pid: i32, signal: i32, value: i32) {
    let value = libc::sigval {
        sival_ptr: value as usize as *mut libc::c_void,
    };
    // SAFETY: sigqueue(3) takes numbers; the value is not used as a pointer.
    let outcome = unsafe { libc::sigqueue(pid, signal, value) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_sparse_program_of_many_symbols_does_not_stall_the_tracer() {
    let path = scratch("sparse").join("program");
    let file = fs::File::create(&path).expect("a file");
    file.write_all_at(&sparse(4 << 30), 0).expect("written");
    file.set_len(0x1000 + (4 << 30)).expect("a sparse file");
    drop(file);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&path, mode).expect("executable");
    // The processor time of the tracer is limited as well: it would end before the second program.
    let script = "ulimit -t 5; exec \"$0\" \"$1\" sh -c \"$2; echo \\$?; date +%s\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, text(&common::runner())]);
    let output = finish(command.arg(&images().links).arg(&path));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, format!("0\n{SAID}\n"), "{output:?}");
    fs::remove_file(&path).expect("removed");
}

/// The first page of a program that exits, with a symbol table of `size` zero bytes behind it.
fn sparse(size: u64) -> Vec<u8> {
    let base = 0x40_0000_u64;
    let far = 0x100_0000_0000_u64;
    let mut page = vec![0_u8; 0x1000];
    let mut put = |at: usize, words: &[u64]| {
        for (index, word) in words.iter().enumerate() {
            page[at + index * 8..][..8].copy_from_slice(&word.to_le_bytes());
        }
    };
    // The ELF header: 64-bit, little endian; ET_EXEC of x86-64, entry at 0x200, 3 program headers.
    put(
        0,
        &[
            0x0001_0102_464c_457f,
            0,
            2 | 62 << 16 | 1 << 32,
            base + 0x200,
            64,
            0,
        ],
    );
    put(48, &[64 << 32 | 56 << 48, 3]);
    put(64, &[1 | 5 << 32, 0, base, base, 0x1000, 0x1000, 0x1000]);
    put(120, &[1 | 4 << 32, 0x1000, far, far, size, size, 0x1000]);
    put(
        176,
        &[
            2 | 4 << 32,
            0x300,
            base + 0x300,
            base + 0x300,
            0x60,
            0x60,
            8,
        ],
    );
    put(
        0x300,
        &[
            6,
            far,
            5,
            base + 0x400,
            10,
            16,
            11,
            24,
            4,
            base + 0x500,
            0,
            0,
        ],
    );
    put(0x500, &[1 | (size / 24 - 2) << 32, 0]);
    // exit(0)
    page[0x200..0x209].copy_from_slice(&[0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05]);
    page
}

#[test]
fn a_kernel_thread_is_named_as_one() {
    let kthreadd = fs::read_to_string("/proc/2/comm").unwrap_or_default();
    if kthreadd.trim() == "kthreadd" {
        refuses(
            &["2", text(&images().plain)],
            "it is a thread of the kernel",
        );
    } else {
        skip("this pid namespace has no kernel threads");
    }
}

#[test]
fn a_detach_while_attach_follows_names_the_tracer() {
    let shell = Talker::shell(NOW);
    let mut follower = Command::new(common::example("attach"))
        .args(["--follow", &shell.pid(), text(&images().links)])
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    while status_field(shell.child.id(), "TracerPid").as_deref() == Some("0")
        || !fs::read_to_string(format!("/proc/{}/maps", shell.pid()))
            .expect("maps")
            .contains("vdso-front")
    {
        thread::yield_now();
    }
    let reason = format!("is traced by process {} (attach)", follower.id());
    refuses(&[&shell.pid()], &reason);
    shell.end();
    assert!(follower.wait().expect("an end").success());
}

#[test]
fn a_root_without_proc_is_named() {
    if !is_root() || installed("unshare").is_none() {
        return;
    }
    let shell = Talker::shell(NOW);
    let attach = common::example("attach");
    let runner = common::runner();
    let image = text(&images().plain);
    for command in [
        format!("{} {} {image}", text(&attach), shell.pid()),
        format!("{} {image} true", text(&runner)),
    ] {
        let script = format!("umount -l /proc; exec {command}");
        let mut unshare = Command::new("unshare");
        let output = finish(unshare.args(["--mount", "sh", "-c", &script]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        assert!(said.contains("/proc is not mounted here"), "{said}");
    }
    shell.end();
}

#[test]
fn a_proc_of_another_pid_namespace_is_not_used() {
    if !is_root() || installed("unshare").is_none() {
        return;
    }
    let image = text(&images().plain);
    // The shell is process 1 of the namespace, and what it starts has the ids of processes outside.
    let run = format!("{} {image} true", text(&common::runner()));
    let attach = format!("{} $$ {image}", text(&common::example("attach")));
    for (options, command) in [
        (&["--pid", "--fork"][..], &run),
        (&["--pid", "--fork"], &attach),
        (&["--pid"], &run),
    ] {
        let mut unshare = Command::new("unshare");
        unshare.args(options).args(["sh", "-c"]);
        let output = finish(unshare.arg(format!("exec {command}")));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{command}: {output:?}");
        assert!(said.contains("another pid namespace"), "{command}: {said}");
    }
    let mut own = Command::new("unshare");
    own.args(["--pid", "--fork", "--mount-proc", "sh", "-c", &run]);
    assert!(finish(&mut own).status.success(), "{own:?}");
}

#[test]
fn a_missing_interpreter_is_named() {
    let script = scratch("interpreter").join("script");
    fs::write(&script, "#!/nowhere/interpreter -x\n").expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).expect("executable");
    let output = finish(&mut on(&images().plain, &[text(&script)]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    assert!(said.contains("/nowhere/interpreter"), "{said}");
}

#[test]
fn what_is_no_shared_object_is_named() {
    let directory = scratch("kinds");
    let object = directory.join("object.o");
    let source = "int f(void) { return 0; }\n";
    fs::write(directory.join("object.c"), source).expect("a source");
    let mut cc = Command::new("cc");
    cc.arg("-c")
        .arg(directory.join("object.c"))
        .arg("-o")
        .arg(&object);
    assert!(finish(&mut cc).status.success());
    let output = finish(&mut on(&object, &["true"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the image can't be delivered"), "{said}");
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn a_limit_on_file_sizes_is_named() {
    let script = "ulimit -f 0; exec \"$0\" \"$@\"";
    let mut command = Command::new("bash");
    command.args([
        "-c",
        script,
        text(&common::runner()),
        text(&images().plain),
        "true",
    ]);
    let output = finish(&mut command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(said.contains("the limit on file sizes"), "{said}");
}

#[test]
fn a_damaged_image_is_refused_or_harmless() {
    let directory = scratch("damaged");
    let whole = fs::read(&images().links).expect("the image");
    let path = directory.join("damaged.so");
    // The headers and tables before the text: what is wrong there can be told. One test of each
    // byte is long: every seventh.
    let mut refused = 0;
    for at in (0..1024).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&path, &bytes).expect("written");
        let output = finish(&mut on(&path, &["true"]));
        assert_eq!(output.status.signal(), None, "byte {at}: {output:?}");
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 125)), "byte {at}: {output:?}");
        refused += u32::from(code == Some(125));
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn valgrind_is_reported() {
    if installed("valgrind").is_none() {
        return;
    }
    let mut runner = Command::new(common::runner());
    runner.arg("--report").arg(&images().links);
    runner.args(["valgrind", "-q", "--tool=none", "/bin/true"]);
    let output = finish(&mut runner);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        said.matches("runs programs without a vDSO").count(),
        1,
        "{said}"
    );
}
