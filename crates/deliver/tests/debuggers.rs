//! Debuggers, core files and unwinders find the delivered vDSO as they find the kernel's.

mod common;

use std::fs;
use std::process::Command;

use common::attaching::Talker;
use common::{compiled, finish, images, installed, on, runner, scratch, succeed, text};

/// `command` on each image, and on two that are joined.
fn runs(command: &[&str]) -> Vec<Command> {
    let mut joined = Command::new(runner());
    joined
        .arg("--with")
        .arg(&images().links)
        .arg(&images().beast);
    joined.args(command);
    let each = images().each().into_iter().map(|image| on(image, command));
    each.chain([joined]).collect()
}

#[test]
fn every_way_to_the_auxiliary_vector_leads_to_the_image() {
    if installed("python3").is_none() {
        return;
    }
    let script = "import ctypes, struct\n\
        libc = ctypes.CDLL(None)\n\
        libc.getauxval.restype = ctypes.c_ulong\n\
        saved = ctypes.create_string_buffer(4096)\n\
        length = libc.prctl(0x41555856, saved, 4096, 0, 0)\n\
        vectors = [open('/proc/self/auxv', 'rb').read()]\n\
        if length > 0: vectors.append(saved.raw[:length])\n\
        found = {value for vector in vectors for key, value in struct.iter_unpack('QQ', vector) if key == 33}\n\
        found.add(libc.getauxval(33))\n\
        for line in open('/proc/self/maps'):\n\
        \x20   if line.startswith('%x-' % min(found)): print(len(found), line.split()[1], line.split()[-2])\n\
        command = open('/proc/self/cmdline').read().split('\\0')[0]\n\
        print(command.endswith('python3'), '[heap]' in open('/proc/self/maps').read())";
    for mut command in runs(&["python3", "-c", script]) {
        assert_eq!(succeed(&mut command), "1 r-xp /memfd:vdso\nTrue True\n");
    }
}

#[test]
fn a_core_file_has_the_image() {
    let (Some(_), Some(_)) = (installed("gcore"), installed("gdb")) else {
        return;
    };
    let directory = scratch("core");
    let program = compiled("unwinds", &[]);
    for (index, mut command) in runs(&[text(&program), "waits"]).into_iter().enumerate() {
        let talker = Talker::start(&mut command);
        let prefix = directory.join(index.to_string());
        succeed(
            Command::new("gcore")
                .arg("-o")
                .arg(&prefix)
                .arg(talker.pid()),
        );
        let core = format!("{}.{}", text(&prefix), talker.pid());
        let shown = gdb(
            &["-c", &core, text(&program)],
            &["info auxv", "info functions clock_gettime"],
        );
        let address = shown.lines().find(|line| line.contains("AT_SYSINFO_EHDR"));
        let address = address.and_then(|line| line.split_whitespace().last());
        let maps = fs::read_to_string(format!("/proc/{}/maps", talker.pid())).expect("maps");
        let start = address.and_then(|address| address.strip_prefix("0x"));
        let start = format!(
            "{}-",
            start.unwrap_or_else(|| panic!("no address: {shown}"))
        );
        let line = maps.lines().find(|line| line.starts_with(&start));
        assert!(
            line.is_some_and(|line| line.contains("/memfd:vdso")),
            "{shown}\n{maps}"
        );
        assert!(shown.contains("__vdso_clock_gettime"), "{shown}");
        assert_eq!(talker.end(), "");
        fs::remove_file(core).expect("removed");
    }
}

#[test]
fn a_debugger_unwinds_through_the_image_and_the_front() {
    if installed("gdb").is_none() {
        return;
    }
    let program = compiled("unwinds", &["-g"]);
    for (index, mut command) in runs(&[text(&program), "waits"]).into_iter().enumerate() {
        unwinds(&Talker::start(&mut command), &format!("image {index}"));
    }
    let talker = Talker::start(Command::new(&program).arg("waits"));
    talker.attach(&images().links);
    unwinds(&talker, "front");
    talker.detach();
    assert_eq!(talker.end(), "");
}

/// Expects a debugger that stops the program in the vDSO to show its callers.
fn unwinds(talker: &Talker, what: &str) {
    let commands = ["break __vdso_clock_gettime", "continue", "backtrace"];
    let shown = gdb(&["-p", &talker.pid()], &commands);
    assert!(
        shown.contains("reads ") && shown.contains("main "),
        "{what}: {shown}"
    );
}

fn gdb(arguments: &[&str], commands: &[&str]) -> String {
    let mut gdb = Command::new("gdb");
    gdb.args(["-q", "-batch", "-nx"]);
    gdb.args(commands.iter().flat_map(|command| ["-ex", command]));
    let output = finish(gdb.args(arguments));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_c_library_unwinds_through_the_image() {
    let program = compiled("unwinds", &[]);
    for mut command in runs(&[text(&program)]) {
        assert_eq!(succeed(&mut command), "reached\n", "{command:?}");
    }
}
