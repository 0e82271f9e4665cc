//! Reads of the clock by system call.

mod common;

use std::path::Path;
use std::process::Command;

use common::{SAID, compiled, finish, images, installed, runner, skip, succeed, text};

/// The start of 2000, which the example `run` answers.
const STRICT: &str = "946684800";

fn strict(command: &[&str]) -> Command {
    let mut runner = Command::new(runner());
    runner.arg("--strict").arg(&images().links).args(command);
    runner
}

#[test]
fn a_system_call_gets_the_answer_given() {
    let raw = compiled("raw", &["-static"]);
    assert_ne!(
        succeed(&mut Command::new(&raw)).trim(),
        STRICT,
        "the test's own check"
    );
    assert_eq!(succeed(&mut strict(&[text(&raw)])).trim(), STRICT);
    // What it starts, and what goes through the vDSO.
    let script = format!("{}; date +%s; {} & wait", text(&raw), text(&raw));
    let said = succeed(&mut strict(&["sh", "-c", &script]));
    assert_eq!(said, format!("{STRICT}\n{SAID}\n{STRICT}\n"));
}

#[test]
fn what_is_traced_by_others_gets_it_too() {
    let raw = compiled("raw", &["-static"]);
    if installed("strace").is_some() {
        let command = ["strace", "-f", "-o", "/dev/null", text(&raw)];
        assert_eq!(succeed(&mut strict(&command)).trim(), STRICT);
    }
}

#[test]
fn without_following_it_is_answered_as_long_as_it_runs() {
    let raw = compiled("raw", &["-static"]);
    let mut runner = Command::new(runner());
    runner.arg("--alone").arg("--strict").arg(&images().plain);
    let said = succeed(runner.args(["sh", "-c", &format!("{0}; {0}", text(&raw))]));
    assert_eq!(said, format!("{STRICT}\n{STRICT}\n"));
}

#[test]
fn a_program_without_rights_can_have_it() {
    if !rustix::process::geteuid().is_root() || installed("setpriv").is_none() {
        skip("only root can make the process that this needs");
        return;
    }
    let directory = std::env::temp_dir().join(format!("vdsokit-strict-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let bring = |from: &Path, name: &str| {
        let path = directory.join(name);
        std::fs::copy(from, &path).expect("copied");
        path
    };
    let run = bring(&runner(), "run");
    let image = bring(&images().plain, "image.so");
    let raw = bring(&compiled("raw", &["-static"]), "raw");
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut setpriv = Command::new("setpriv");
    setpriv
        .args(user)
        .arg(&run)
        .arg("--strict")
        .arg(&image)
        .arg(&raw);
    let output = finish(&mut setpriv);
    std::fs::remove_dir_all(&directory).expect("removed");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        STRICT,
        "{output:?}"
    );
}

/// The page of the older vsyscall mechanism, at an address that is the same in every process.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_call_of_the_vsyscall_page_is_answered() {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    if !maps.contains("[vsyscall]") {
        skip("the kernel has no vsyscall page");
        return;
    }
    let vsyscall = compiled("vsyscall", &[]);
    assert_ne!(succeed(&mut Command::new(&vsyscall)).trim(), STRICT);
    assert_eq!(succeed(&mut strict(&[text(&vsyscall)])).trim(), STRICT);
}
