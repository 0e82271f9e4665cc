//! Programs that are attached to while they run.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use super::{example, finish, text};

/// A program that answers each line with a line.
pub(crate) struct Talker {
    pub(crate) child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Talker {
    /// Starts a program and waits until it says `ready`.
    pub(crate) fn start(command: &mut Command) -> Talker {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut talker = Talker {
            child,
            input,
            output,
        };
        assert_eq!(talker.line(), "ready");
        talker
    }

    /// A shell that answers with `answer`.
    pub(crate) fn shell(answer: &str) -> Talker {
        let script = format!("echo ready; while read -r line; do {answer}; done");
        Talker::start(Command::new("bash").args(["-c", &script]))
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    pub(crate) fn ask(&mut self) -> String {
        self.input.write_all(b"now\n").expect("written");
        self.line()
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    pub(crate) fn attach(&self, image: &Path) {
        succeeds(attacher(&[&self.pid(), text(image)]));
    }

    pub(crate) fn detach(&self) {
        succeeds(attacher(&[&self.pid()]));
    }

    /// Its mappings, and the bytes of its vDSO.
    pub(crate) fn memory(&self) -> (String, Vec<u8>) {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid())).expect("maps");
        let line = maps
            .lines()
            .find(|line| line.ends_with("[vdso]"))
            .expect("a vDSO");
        let (start, rest) = line.split_once('-').expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        let (start, end) = (
            number(start),
            number(rest.split(' ').next().expect("an end")),
        );
        let memory = fs::File::open(format!("/proc/{}/mem", self.pid())).expect("memory");
        let mut bytes = vec![0; (end - start) as usize];
        std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, start).expect("read");
        (maps, bytes)
    }

    /// Writes to its input.
    pub(crate) fn say(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).expect("written");
    }

    /// As [`Talker::end`], after `text`.
    pub(crate) fn end_by(mut self, text: &str) -> String {
        self.say(text);
        self.end()
    }

    /// Ends its input, and expects it to end well; gives the last line that it says.
    pub(crate) fn end(mut self) -> String {
        drop(self.input);
        let mut last = String::new();
        self.output.read_line(&mut last).expect("a line");
        assert!(self.child.wait().expect("an end").success());
        last.trim_end().to_owned()
    }
}

pub(crate) fn attacher(arguments: &[&str]) -> Output {
    finish(Command::new(example("attach")).args(arguments))
}

#[track_caller]
pub(crate) fn succeeds(output: Output) {
    assert!(output.status.success(), "{output:?}");
}

/// Expects a refusal for this reason.
#[track_caller]
pub(crate) fn refuses(arguments: &[&str], reason: &str) {
    let output = attacher(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(125) && said.contains(reason),
        "{output:?}"
    );
}

pub(crate) const NOW: &str = "printf '%(%s)T\\n' -1";
