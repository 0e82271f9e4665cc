//! What the doctor says.

use serde::Serialize;

/// How grave a finding is, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Something is slower than it need be.
    Slow,
    /// Something could not be told.
    Unknown,
    /// Worth knowing.
    Note,
}

/// What is behind a finding: names for scripts, which stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The process has no vDSO.
    NoVdso,
    /// A vDSO can't read the clocksource.
    Clocksource,
    /// The kernel has no faith in the TSC, and says so in its log.
    TscUnstable,
    /// The kernel's command line keeps the TSC away.
    TscDisabled,
    /// The TSC changes its rate, or stops.
    TscNotInvariant,
    /// The TSC is no clocksource here, for a reason that could not be found.
    TscMissing,
    /// The process may not read the TSC.
    TscForbidden,
    /// Reading the TSC costs as much as if a monitor intercepted it.
    TscIntercepted,
    /// A call kills its caller.
    Killed,
    /// The vDSO makes a system call whatever it is asked.
    VdsoAlwaysAsks,
    /// One of the vDSO's functions makes a system call.
    FallsBack,
    /// The vDSO lacks a function that others of its architecture have.
    FunctionMissing,
    /// The kernel's vDSO exports functions that this program does not know.
    UnknownExports,
    /// The vDSO's code is not what the kernel mapped.
    Patched,
    /// Another image took the vDSO's place.
    Replaced,
    /// The process has another image than the one whose functions were called.
    OtherImage,
    /// Whether a call makes a system call could not be told.
    Untold,
    /// The C library makes a system call although the vDSO would not.
    LibcBypasses,
    /// A program plays the kernel.
    Sandbox,
    /// The process lives in a time namespace of its own.
    TimeNamespace,
    /// System calls are filtered.
    Seccomp,
    /// The program is linked statically.
    Static,
}

/// One thing that the doctor has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub grade: Grade,
    /// What is behind it.
    pub cause: Cause,
    /// What was found, in sentences.
    pub what: String,
    /// What to do about it, in sentences.
    pub advice: Option<String>,
}

impl Finding {
    fn new(grade: Grade, cause: Cause, what: impl Into<String>) -> Self {
        Self {
            grade,
            cause,
            what: what.into(),
            advice: None,
        }
    }

    pub(super) fn slow(cause: Cause, what: impl Into<String>) -> Self {
        Self::new(Grade::Slow, cause, what)
    }

    pub(super) fn unknown(cause: Cause, what: impl Into<String>) -> Self {
        Self::new(Grade::Unknown, cause, what)
    }

    pub(super) fn note(cause: Cause, what: impl Into<String>) -> Self {
        Self::new(Grade::Note, cause, what)
    }

    pub(super) fn advise(self, advice: impl Into<String>) -> Self {
        Self {
            advice: Some(advice.into()),
            ..self
        }
    }
}

/// What all findings come to, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Something is slower than it need be.
    Slow,
    /// Something could not be told, and nothing is known to be slow.
    Unknown,
    /// Everything that a vDSO can serve, this one serves.
    Fast,
}

impl From<Grade> for Verdict {
    fn from(grade: Grade) -> Self {
        match grade {
            Grade::Slow => Self::Slow,
            Grade::Unknown => Self::Unknown,
            Grade::Note => Self::Fast,
        }
    }
}
