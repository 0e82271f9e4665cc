//! What host and guest say to each other.
//!
//! The **plan** goes in as a file, one check a line: name, bound in seconds and
//! the words of its command, parted by tabs. **Messages** come out over a serial
//! port that nothing else writes to, one a line.

use std::fmt;
use std::time::Duration;

/// The plan's place in the guest.
pub const PLAN: &str = "/lab/plan";

/// The port for messages. The kernel's console is another.
pub const PORT: &str = match cfg!(target_arch = "aarch64") {
    false => "/dev/ttyS1",
    // The board's own port is no 16550.
    true => "/dev/ttyS0",
};

/// Variables of the environment that checks in the guest have from the host's: how long a
/// soak lasts, and how many rounds others make. Linux hands words of its command line that
/// it doesn't know itself to process 1 as environment
/// (Documentation/admin-guide/kernel-parameters.rst).
pub const VARIABLES: &[&str] = &["SOAK_SECONDS", "ROUNDS"];

/// The variable that holds how many nanoseconds an instruction takes, on a processor whose time
/// is the number of instructions.
pub const PACE: &str = "INSTRUCTION_NS";

/// A check as the guest runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// After how many seconds it has failed.
    pub seconds: u64,
    /// Program and arguments.
    pub command: Vec<String>,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\t{}\t{}",
            self.name,
            self.seconds,
            self.command.join("\t")
        )
    }
}

/// Reads a plan; a line that isn't one is returned as the error.
///
/// # Errors
/// The line that is not a task.
pub fn read(plan: &str) -> Result<Vec<Task>, String> {
    let task = |line: &str| {
        let mut words = line.split('\t').map(str::to_owned);
        let (name, seconds) = (words.next()?, words.next()?.parse().ok()?);
        let command: Vec<String> = words.collect();
        (!command.is_empty()).then_some(Task {
            name,
            seconds,
            command,
        })
    };
    plan.lines()
        .map(|line| task(line).ok_or_else(|| line.to_owned()))
        .collect()
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it was to do, in this time.
    Ok(Duration),
    /// It did not, and why, in one line.
    Failed(String),
}

/// One line from the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The guest is up and runs this release of the kernel.
    Begin(String),
    /// This check starts.
    Start(String),
    /// A line that the check printed.
    Output(String),
    /// The check that was started last has ended.
    End(Verdict),
    /// All checks have run; the guest powers off.
    Done,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(release) => write!(f, "begin {release}"),
            Self::Start(name) => write!(f, "start {name}"),
            Self::Output(line) => write!(f, "output {line}"),
            Self::End(Verdict::Ok(time)) => write!(f, "ok {}", time.as_micros()),
            Self::End(Verdict::Failed(reason)) => write!(f, "failed {reason}"),
            Self::Done => write!(f, "done"),
        }
    }
}

impl Message {
    /// Reads a line; `None` when it is not a message.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match word {
            "begin" => Self::Begin(rest.to_owned()),
            "start" => Self::Start(rest.to_owned()),
            "output" => Self::Output(rest.to_owned()),
            "ok" => Self::End(Verdict::Ok(Duration::from_micros(rest.parse().ok()?))),
            "failed" => Self::End(Verdict::Failed(rest.to_owned())),
            "done" => Self::Done,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages() -> impl Strategy<Value = Message> {
        let text = || "[ -~]{0,40}";
        prop_oneof![
            text().prop_map(Message::Begin),
            text().prop_map(Message::Start),
            text().prop_map(Message::Output),
            text().prop_map(|reason| Message::End(Verdict::Failed(reason))),
            any::<u32>().prop_map(|us| Message::End(Verdict::Ok(Duration::from_micros(us.into())))),
            Just(Message::Done),
        ]
    }

    proptest! {
        #[test]
        fn messages_are_read_as_they_were_written(message in messages()) {
            prop_assert_eq!(Message::read(&message.to_string()), Some(message));
        }

        #[test]
        fn plans_are_read_as_they_were_written(
            name in "[a-z-]{1,20}",
            seconds: u64,
            command in prop::collection::vec("[ -~]{1,20}", 1..5),
        ) {
            let task = Task { name, seconds, command };
            prop_assert_eq!(read(&format!("{task}\n{task}\n")), Ok(vec![task.clone(), task]));
        }

        #[test]
        fn no_line_is_too_strange(line in ".*") {
            let _ = Message::read(&line);
            let _ = read(&line);
        }
    }

    #[test]
    fn a_line_without_a_command_is_no_task() {
        assert_eq!(read("name\t5"), Err("name\t5".into()));
        assert_eq!(read("name\tsoon\ttrue"), Err("name\tsoon\ttrue".into()));
    }
}
