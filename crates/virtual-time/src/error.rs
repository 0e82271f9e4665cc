//! Errors, and what to do about each.

use std::io;

use miette::Diagnostic;
use thiserror::Error;

/// Why time was not made, found or changed. In every case nothing was changed.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// Text that is not a time, duration, rate or name.
    #[error("{text:?} is not a {what}: {why}")]
    #[diagnostic(help("{}", what.help()))]
    Unreadable {
        /// The text.
        text: String,
        /// What it was to be.
        what: What,
        /// What is wrong with it.
        why: String,
    },
    /// A name that another tree of processes has.
    #[error("the name {name:?} is taken, by process {holder}")]
    #[diagnostic(help("choose another name; `vdso clock list` shows those that are taken"))]
    Taken {
        /// The name.
        name: String,
        /// A process that has it.
        holder: u32,
    },
    /// A name that no tree of this user has.
    #[error("no clock has the name {name:?}")]
    #[diagnostic(help(
        "`vdso clock list` shows the names in use; a name is gone when the last process of \
         `vdso run --name` has ended, or its tracer has"
    ))]
    Unknown {
        /// The name.
        name: String,
    },
    /// The pages were made by a version whose state this one doesn't read.
    #[error("the pages of {name:?} are of another version of this program")]
    #[diagnostic(help("use the `vdso` that started it"))]
    Version {
        /// The name.
        name: String,
    },
    /// Time is frozen or runs already, or it advances at each read, which can't be changed.
    #[error("{0}")]
    #[diagnostic(help("`vdso clock NAME show` prints how time advances"))]
    Already(&'static str),
    /// A change that can't be made to the clocks that were chosen.
    #[error("{0}")]
    #[diagnostic(help("choose other clocks: `vdso run --clocks wall`, `monotonic` or `all`"))]
    Clocks(&'static str),
    /// A call to the system failed.
    #[error("can't {what}")]
    #[diagnostic(help("the operating system's reason says why"))]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::System {
            what,
            source: source.into(),
        }
    }
}

/// What a text should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A point in time.
    Date,
    /// A length of time.
    Duration,
    /// How many times as fast as real time.
    Rate,
    /// A clock's name.
    Name,
}

impl What {
    fn help(self) -> &'static str {
        match self {
            What::Date => {
                "write it like 2000-01-01, '2038-01-19 03:14:07' (in this machine's time \
                 zone), '2038-01-19 03:14:07Z', 2038-01-19T03:14:07+01:00, 'Tue, 19 Jan 2038 \
                 03:14:07 +0000', @2147483647 (seconds since 1970), in words such as \
                 yesterday or 'last friday 5 pm', or as a duration from now: +1h, -30d"
            }
            What::Duration => {
                "write it like +1h, -30d, '2 weeks 3 days', +1y, 1h30m, 250ms, +3600 (seconds); m \
                 is minutes, mo months"
            }
            What::Rate => "write how many times as fast as real time: 60, 0.5, 1/3; at most 100000",
            What::Name => "a name has 1 to 64 letters, digits, dots, dashes and underscores",
        }
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(match self {
            What::Date => "date",
            What::Duration => "duration",
            What::Rate => "rate",
            What::Name => "name",
        })
    }
}
