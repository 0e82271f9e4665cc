//! What the tests of virtual time share: `vdso`, and programs of other projects.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]

pub(crate) mod linux_tree;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

/// `vdso` with these arguments, ready to be started.
pub(crate) fn vdso(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdso"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// How `vdso` with these arguments ended.
pub(crate) fn output(arguments: &[&str]) -> Output {
    let output = vdso(arguments).output();
    output.unwrap_or_else(|error| panic!("vdso {arguments:?}: {error}"))
}

/// What it printed; it has to succeed.
#[track_caller]
pub(crate) fn said(arguments: &[&str]) -> String {
    let output = output(arguments);
    assert!(output.status.success(), "vdso {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// What a program printed, without the last line's end; it has to succeed.
#[track_caller]
pub(crate) fn printed(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

/// A program that is talked with, a line at a time.
pub(crate) struct Talk {
    pub(crate) child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Talk {
    pub(crate) fn start(command: &mut Command) -> Talk {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Talk {
            child,
            input,
            output,
        }
    }

    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the program listens");
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear()
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // Whether it has ended by itself is for the test to say.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers each line on its input with the year that it takes it to be.
pub(crate) const YEARS: &str = "import sys, time\n\
     for line in sys.stdin: print(time.gmtime().tm_year, flush=True)";

/// A directory of this test program's own.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&path).expect("a scratch directory");
    path
}

pub(crate) use vdsokit_test_support::{skip, unpacked as debian};

/// Whether a program is installed; where it is missing the test is skipped, which in CI fails.
pub(crate) fn installed(name: &str) -> bool {
    vdsokit_test_support::installed(name).is_some()
}

/// Compiles C source to a program.
pub(crate) fn compiled(name: &str, source: &str, flags: &[&str]) -> PathBuf {
    let program = scratch("programs").join(name);
    let file = program.with_extension("c");
    fs::write(&file, source).expect("a source file");
    let mut compiler = Command::new("cc");
    compiler
        .arg("-O1")
        .arg("-o")
        .arg(&program)
        .arg(&file)
        .args(flags);
    let status = compiler.status().expect("a C compiler");
    assert!(status.success(), "{compiler:?}");
    program
}
