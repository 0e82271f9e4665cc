//! When a value is copied.

use crate::Error;
use std::fmt;
use std::str::FromStr;

/// The function by which Linux updates its own vDSO, at each tick and whenever the
/// clocks are set. It runs under the timekeeper's lock, so never twice at a time.
pub const UPDATE_VSYSCALL: &str = "update_vsyscall";

/// An event of the kernel's at which a program runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Hook {
    /// `tick`: when the kernel updates its own vDSO.
    Tick,
    /// `tracepoint:NAME`, such as `sched_process_fork`; also by its name alone.
    Tracepoint(String),
    /// `fentry:FUNCTION`: as a function of the kernel's begins.
    Entry(String),
    /// `fexit:FUNCTION`: as it returns.
    Exit(String),
}

impl Hook {
    /// The function that is hooked; a tracepoint has none.
    pub(crate) fn function(&self) -> Option<&str> {
        match self {
            Self::Tick => Some(UPDATE_VSYSCALL),
            Self::Entry(function) | Self::Exit(function) => Some(function),
            Self::Tracepoint(_) => None,
        }
    }

    /// What BTF calls a tracepoint's prototype.
    pub(crate) fn tracepoint_type(&self) -> String {
        match self {
            Self::Tracepoint(name) => format!("btf_trace_{name}"),
            _ => String::new(),
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick => f.write_str("tick"),
            Self::Tracepoint(name) => write!(f, "tracepoint:{name}"),
            Self::Entry(function) => write!(f, "fentry:{function}"),
            Self::Exit(function) => write!(f, "fexit:{function}"),
        }
    }
}

impl FromStr for Hook {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once(':') {
            None if text == "tick" => Ok(Self::Tick),
            None if is_name(text) => Ok(Self::Tracepoint(text.into())),
            Some(("tracepoint", name)) => Ok(Self::Tracepoint(name.into())),
            Some(("fentry", function)) => Ok(Self::Entry(function.into())),
            Some(("fexit", function)) => Ok(Self::Exit(function.into())),
            _ => Err(Error::NoHook { hook: text.into() }),
        }
    }
}

/// Whether a tracepoint may be called so: they are C identifiers.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_read_as_they_are_written() {
        for text in [
            "tick",
            "tracepoint:sched_process_fork",
            "fentry:f",
            "fexit:release_task",
        ] {
            assert_eq!(text.parse::<Hook>().unwrap().to_string(), text);
        }
        assert!("kprobe:f".parse::<Hook>().is_err());
        assert!("".parse::<Hook>().is_err());
        assert!("no name".parse::<Hook>().is_err());
        let fork = Hook::Tracepoint("sched_process_fork".into());
        assert_eq!("sched_process_fork".parse::<Hook>().unwrap(), fork);
    }
}
