//! What can't be served: it is reported once, and `vdso run --require` ends the program for it.
#![cfg(target_arch = "x86_64")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use common::{Talk, compiled, installed, output, said, scratch, vdso};

/// A static 32-bit program that sets a time-out of a socket, which can't be served, and exits with status
/// 7: its ELF header, one program header, and code.
fn program_of_32_bits() -> String {
    let register = |register: u8, number: u16| {
        let [low, high] = number.to_le_bytes();
        [0xb8 + register, low, high, 0, 0]
    };
    let (eax, ecx, edx, ebx) = (0, 1, 2, 3);
    // setsockopt(0, SOL_SOCKET, SO_RCVTIMEO, …), exit(7)
    let mut code = [register(eax, 366), register(ecx, 1), register(edx, 20)].concat();
    code.extend([0xcd, 0x80]);
    code.extend([register(eax, 1), register(ebx, 7)].concat());
    code.extend([0xcd, 0x80]);
    let (address, head) = (0x0804_8000u32, 52 + 32);
    let mut bytes = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |value: u16| value.to_le_bytes().to_vec();
    let word = |value: u32| value.to_le_bytes().to_vec();
    // ET_EXEC, EM_386; the entry lies behind the headers.
    bytes.extend([half(2), half(3), word(1), word(address + head), word(52)].concat());
    bytes.extend(
        [
            word(0),
            word(0),
            half(52),
            half(32),
            half(1),
            half(0),
            half(0),
            half(0),
        ]
        .concat(),
    );
    let size = head + code.len() as u32;
    // PT_LOAD, readable and executable.
    let load = [1, 0, address, address, size, size, 5, 0x1000];
    bytes.extend(load.iter().flat_map(|value| word(*value)));
    bytes.extend(code);
    let path = scratch("required").join("program32");
    fs::write(&path, bytes).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    path.to_str().expect("a path of text").to_owned()
}

/// Runs a shell script at another time, all of which has to be served.
fn required(script: &str) -> Output {
    output(&["run", "--require", "--rate", "2", "--", "sh", "-c", script])
}

#[track_caller]
fn ends(script: &str, reason: &str) {
    let output = required(script);
    assert_eq!(output.status.code(), Some(125), "{script}: {output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "before\n",
        "{script}"
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(reason) && said.contains("--require"),
        "{script}: {said}"
    );
}

#[test]
fn what_is_served_ends_as_without_require() {
    let output = required("sleep 0.1; date >/dev/null; exit 7");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_socket_time_out_of_a_32_bit_program_ends_the_tree() {
    let program = program_of_32_bits();
    if Command::new(&program)
        .status()
        .is_ok_and(|status| status.code() == Some(7))
    {
        ends(&format!("echo before; {program}; echo after"), "32-bit");
        // The first program itself.
        let output = output(&["run", "--require", "--rate", "2", "--", &program]);
        assert_eq!(output.status.code(), Some(125), "{output:?}");
    }
}

#[test]
fn a_program_that_another_traces_ends_the_tree() {
    if installed("strace") {
        ends(
            "echo before; strace -o /dev/null true; echo after",
            "traces it",
        );
    }
}

#[test]
fn io_uring_ends_the_tree() {
    if installed("python3") {
        let script = "import ctypes; ctypes.CDLL(None).syscall(425, 1, None)";
        ends(
            &format!("echo before; python3 -c '{script}'; echo after"),
            "io_uring",
        );
    }
}

/// Rings can't be made everywhere (io_uring_disabled): that ends with status 77.
#[test]
fn io_uring_is_reported_once_for_a_program_and_its_children() {
    let program = compiled("uring", include_str!("waits/uring.c"), &[]);
    let program = program.to_str().expect("a path of text");
    let plain = Command::new(program).output().expect("it starts");
    if plain.status.code() == Some(77) {
        return;
    }
    let times = "parent 1 1 1\nchild 1 1 1\nprogram 1 1 1\n";
    assert_eq!(String::from_utf8_lossy(&plain.stdout), times);
    for option in ["--offset=+1d", "--rate=2", "--skip-idle"] {
        let output = output(&["run", option, "--", program]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), times, "{option}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.lines().count(), 1, "{option}: {said}");
        assert!(said.contains("io_uring"), "{option}: {said}");
        let required = ["run", option, "--require", "--", program];
        let ended = common::output(&required);
        assert_eq!(ended.status.code(), Some(125), "{option}: {ended:?}");
        assert!(ended.stdout.is_empty(), "{option}: {ended:?}");
    }
}

#[test]
fn whatever_else_runs_in_the_tree_is_ended_too() {
    let program = program_of_32_bits();
    if !Command::new(&program)
        .status()
        .is_ok_and(|status| status.code() == Some(7))
    {
        return;
    }
    // The pipe closes when the last process of the tree has ended.
    let script =
        format!("(trap '' TERM; setsid sleep 1000000) & sleep 0.1; {program}; sleep 1000000");
    let output = required(&script);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
}

#[test]
fn the_death_of_the_supervisor_ends_the_tree() {
    if !installed("python3") {
        return;
    }
    let name = format!("required-{}", std::process::id());
    let options = [
        "run",
        "--require",
        "--name",
        &name,
        "--rate",
        "2",
        "--",
        "python3",
        "-c",
        common::YEARS,
    ];
    let mut tree = Talk::start(&mut vdso(&options));
    tree.ask("");
    let list: serde_json::Value =
        serde_json::from_str(&said(&["clock", "list", "--json"])).expect("JSON");
    let all = list.as_array().expect("a list");
    let found = all
        .iter()
        .find(|one| one["name"] == name)
        .expect("the clock");
    let supervisor = found["tracer"].to_string();
    let status = Command::new("kill").args(["-KILL", &supervisor]).status();
    assert!(status.expect("kill runs").success());
    assert_eq!(tree.child.wait().expect("its end").code(), Some(125));
}

#[test]
fn require_needs_a_time_to_be_required() {
    let output = output(&["run", "--require", "--", "true"]);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("--offset"),
        "{output:?}"
    );
}

#[test]
fn what_can_not_be_served_is_reported_once_and_shown() {
    if !installed("strace") {
        return;
    }
    let name = format!("reported-{}", std::process::id());
    let script = "for i in 1 2 3; do strace -o /dev/null true; done; echo ready; read line";
    let mut run = vdso(&[
        "run", "--name", &name, "--rate", "2", "--", "sh", "-c", script,
    ]);
    let mut tree = Talk::start(run.stderr(Stdio::piped()));
    assert_eq!(tree.hear(), "ready");
    let shown = said(&["clock", &name]);
    assert_eq!(shown.matches("not served: ").count(), 1, "{shown}");
    assert!(shown.contains("another process traces it"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&said(&["clock", &name, "--json"])).expect("JSON");
    let unserved = json["unserved"].as_array().expect("a list");
    assert_eq!(unserved.len(), 1, "{json}");
    tree.ask("end");
    let stderr = tree.child.stderr.take().expect("a pipe");
    let lines = std::io::read_to_string(stderr).expect("text");
    assert_eq!(lines.matches("runs in real time").count(), 1, "{lines}");
}
