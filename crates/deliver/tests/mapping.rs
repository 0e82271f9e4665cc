//! What lies in a program's memory, and who can not be given it.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{
    SAID, SECOND, compiled, finish, images, installed, on, runner, scratch, skip, succeed, text,
};

/// Runs a command with `--report`: what it printed, and what was reported.
fn reported(image: &Path, command: &[&str]) -> (String, String) {
    let output = finish(
        Command::new(runner())
            .arg("--report")
            .arg(image)
            .args(command),
    );
    assert!(output.status.success(), "{command:?}: {output:?}");
    let text = |bytes| String::from_utf8(bytes).expect("text").trim().to_owned();
    (text(output.stdout), text(output.stderr))
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip("only root can make the process that this needs");
    }
    is_root
}

#[test]
fn nothing_of_ours_is_writable_and_the_kernels_vdso_stays() {
    for image in images().each() {
        let maps = succeed(&mut on(image, &["cat", "/proc/self/maps"]));
        let name = image.file_name().and_then(|name| name.to_str());
        let name = name.expect("a name");
        let ours: Vec<&str> = maps
            .lines()
            .filter(|line| line.ends_with(name) || line.contains("/memfd:vdso "))
            .map(|line| line.split(' ').nth(1).expect("permissions"))
            .collect();
        assert_eq!(ours, ["r-xp", "r--s"], "{maps}");
        // Neither image has all functions of the kernel's.
        assert!(maps.contains("[vdso]") && maps.contains("[vvar"), "{maps}");
    }
}

#[test]
fn the_kernels_vdso_is_whole_again_where_it_stays() {
    // Its bytes after a delivery are those that it has without one. Behind them, in the zeros
    // that fill the last page, the code may stay that put the object into the program.
    let script = "import sys\n\
        for line in open('/proc/self/maps'):\n\
        \x20   if line.endswith('[vdso]\\n'):\n\
        \x20       start, end = (int(x, 16) for x in line.split()[0].split('-'))\n\
        \x20       memory = open('/proc/self/mem', 'rb'); memory.seek(start)\n\
        \x20       print(memory.read(end - start).hex())";
    if installed("python3").is_some() {
        let with = succeed(&mut on(&images().links, &["python3", "-c", script]));
        let without = succeed(Command::new("python3").args(["-c", script]));
        let image = without.trim().trim_end_matches('0');
        assert!(image.len() > 4096 && with.len() == without.len());
        assert!(with.starts_with(image));
    }
}

#[test]
fn functions_of_two_objects_are_found_through_libc() {
    let program = compiled("beast", &[]);
    for (image, other) in [
        (&images().plain, &images().beast),
        (&images().links, &images().beast),
        (&images().beast, &images().links),
    ] {
        let with = |command: &[&str]| {
            let mut runner = Command::new(runner());
            succeed(runner.arg("--with").arg(other).arg(image).args(command))
        };
        assert_eq!(with(&[text(&program)]), format!("666 {SAID}\n"));
        let script = format!("date +%s; {}; date +%Y", text(&program));
        assert_eq!(
            with(&["sh", "-c", &script]),
            format!("{SAID}\n666 {SAID}\n2038\n")
        );
        assert_eq!(with(&[text(&compiled("clock", &["-static"]))]).trim(), SAID);
    }
}

#[test]
fn two_objects_reach_a_program_without_proc() {
    if !is_root() || installed("chroot").is_none() {
        return;
    }
    let root = scratch("joint");
    fs::copy(compiled("clock", &["-static"]), root.join("clock")).expect("copied");
    let mut runner = Command::new(runner());
    runner
        .arg("--with")
        .arg(&images().links)
        .arg(&images().beast);
    assert_eq!(
        succeed(runner.args(["chroot", text(&root), "/clock"])).trim(),
        SAID
    );
}

#[test]
fn a_running_program_sees_every_new_value() {
    let directory = scratch("live");
    let vvar = directory.join("vvar");
    fs::write(&vvar, [0; 4096]).expect("a file");
    let file = fs::File::options()
        .write(true)
        .open(&vvar)
        .expect("the file");
    let script = "while read -r line; do printf '%(%s)T\\n' -1; date +%s; done";
    let mut runner = Command::new(runner());
    runner
        .arg("--vvar")
        .arg(&vvar)
        .arg(&images().links)
        .args(["bash", "-c", script]);
    let mut child = runner
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the runner starts");
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || output.next().expect("a line").expect("text");
    for second in [1_u64, SECOND, 946_684_800] {
        file.write_all_at(&second.to_ne_bytes(), 0)
            .expect("published");
        input.write_all(b"now\n").expect("written");
        assert_eq!(next(), second.to_string());
        assert_eq!(next(), second.to_string());
    }
    drop(input);
    assert!(child.wait().expect("an end").success());
}

#[test]
fn a_program_in_another_root_without_proc() {
    if !is_root() || installed("chroot").is_none() {
        return;
    }
    let root = scratch("root");
    fs::copy(compiled("clock", &["-static"]), root.join("clock")).expect("copied");
    for image in images().each() {
        assert_eq!(
            succeed(&mut on(image, &["chroot", text(&root), "/clock"])).trim(),
            SAID
        );
    }
}

#[test]
fn a_program_of_another_user() {
    if !is_root() || installed("setpriv").is_none() {
        return;
    }
    for image in images().each() {
        let other = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "date",
            "+%s",
        ];
        assert_eq!(succeed(&mut on(image, &other)).trim(), SAID);
    }
}

#[test]
fn a_program_in_another_pid_namespace() {
    if !is_root() || installed("unshare").is_none() {
        return;
    }
    let inside = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        "date +%s; exit",
    ];
    assert_eq!(succeed(&mut on(&images().links, &inside)).trim(), SAID);
}

#[test]
fn a_program_that_may_open_no_file_runs_untouched() {
    let program = compiled("clock", &["-static"]);
    let script = format!("ulimit -n 3; exec {} 3<&-", text(&program));
    let (said, report) = reported(&images().plain, &["sh", "-c", &script]);
    assert_ne!(said, SAID);
    assert!(
        report.contains("can't map the image: Too many open files"),
        "{report}"
    );
}

#[test]
fn a_32_bit_program_runs_untouched_and_what_it_starts_is_served() {
    let probe = finish(Command::new("cc").args(["-m32", "-print-file-name=libc.a"]));
    if !probe.status.success() || !String::from_utf8_lossy(&probe.stdout).starts_with('/') {
        skip("gcc-multilib is not installed");
        return;
    }
    let (said, report) = reported(&images().plain, &[text(&compiled("clock", &["-m32"]))]);
    assert_ne!(said, SAID);
    assert!(report.contains("it is not a 64-bit program"), "{report}");
    // The kernel's headers are where Debian has them, with or without gcc-multilib's link.
    let starts = compiled(
        "starts",
        &["-m32", "-idirafter", "/usr/include/x86_64-linux-gnu"],
    );
    let (said, _) = reported(&images().plain, &[text(&starts), "/bin/date", "+%s"]);
    assert!(
        said.lines().count() == 12 && said.lines().all(|line| line == SAID),
        "{said}"
    );
}

#[test]
fn a_setuid_program_runs_untouched() {
    if !is_root() {
        return;
    }
    let program = scratch("setuid").join("clock");
    fs::copy(compiled("clock", &["-static"]), &program).expect("copied");
    std::os::unix::fs::chown(&program, Some(65534), None).expect("given away");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("setuid");
    let (said, report) = reported(&images().plain, &[text(&program)]);
    assert_ne!(said, SAID);
    assert!(report.contains("more rights than its caller"), "{report}");
}

#[test]
fn without_root_and_a_setuid_program_there() {
    if !is_root() || installed("setpriv").is_none() {
        return;
    }
    // Where a user without rights can reach all that is needed.
    let directory = std::env::temp_dir().join(format!("vdsokit-deliver-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let bring = |from: &Path, name: &str, mode| {
        let path = directory.join(name);
        fs::copy(from, &path).expect("copied");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
        path
    };
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("permissions");
    let run = bring(&runner(), "run", 0o755);
    let image = bring(&images().links, "image.so", 0o644);
    let setuid = bring(&compiled("clock", &["-static"]), "clock", 0o4755);
    let user = |command: &[&str]| {
        let mut setpriv = Command::new("setpriv");
        setpriv.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            text(&run),
        ]);
        finish(setpriv.arg("--report").arg(&image).args(command))
    };
    let plain = user(&["sh", "-c", "date +%s; exit"]);
    let other = user(&[text(&setuid)]);
    fs::remove_dir_all(&directory).expect("removed");
    assert_eq!(
        String::from_utf8_lossy(&plain.stdout).trim(),
        SAID,
        "{plain:?}"
    );
    assert!(
        other.status.success() && !other.stdout.is_empty(),
        "{other:?}"
    );
    assert!(
        String::from_utf8_lossy(&other.stderr).contains("without its rights"),
        "{other:?}"
    );
}

#[test]
fn what_is_to_be_said_of_a_program_is_said_once() {
    let program = compiled("clock", &["-static"]);
    let script = format!(
        "ulimit -n 3; exec 3<&-; for i in 1 2 3; do {}; done",
        text(&program)
    );
    let (_, report) = reported(&images().plain, &["sh", "-c", &script]);
    assert_eq!(report.matches("can't map the image").count(), 1, "{report}");
}

#[test]
fn programs_that_trace_others_can() {
    if installed("strace").is_some() {
        let command = [
            "strace",
            "-f",
            "-o",
            "/dev/null",
            "sh",
            "-c",
            "date +%Y; exit",
        ];
        let (said, report) = reported(&images().links, &command);
        assert!(!said.is_empty());
        assert!(report.contains("another process traces it"), "{report}");
    }
    if installed("gdb").is_some() {
        let command = [
            "gdb",
            "-q",
            "-batch",
            "-ex",
            "run",
            "--args",
            "/bin/echo",
            "traced",
        ];
        let said = succeed(&mut on(&images().links, &command));
        assert!(
            said.contains("traced") && said.contains("exited normally"),
            "{said}"
        );
    }
}

#[test]
fn a_delivery_inside_a_delivery() {
    let inner = runner();
    let inside = [text(&inner), text(&images().links), "sh", "-c", "date +%s"];
    assert_eq!(succeed(&mut on(&images().plain, &inside)).trim(), SAID);
}
