//! The doctor's findings.

use serde::Serialize;

/// The severity of a finding, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Something is slower than it need be.
    Slow,
    /// Something could not be determined.
    Unknown,
    /// Worth knowing.
    Note,
}

/// The cause of a finding. Its name in JSON is stable, so that scripts can rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The process has no vDSO.
    NoVdso,
    /// A vDSO can't read the clocksource.
    Clocksource,
    /// The kernel's log reports the TSC as unstable.
    TscUnstable,
    /// The kernel's command line disables the TSC.
    TscDisabled,
    /// The TSC changes its rate, or stops.
    TscNotInvariant,
    /// The TSC is no clocksource here, for a reason that could not be found.
    TscMissing,
    /// The process may not read the TSC.
    TscForbidden,
    /// Reading the TSC costs as much as a trap to the hypervisor.
    TscIntercepted,
    /// A call of a vDSO function kills the caller.
    Killed,
    /// The vDSO makes a system call for every function.
    VdsoAlwaysFallsBack,
    /// One of the vDSO's functions makes a system call.
    FallsBack,
    /// The vDSO lacks a function that others of its architecture have.
    FunctionMissing,
    /// The kernel's vDSO exports functions that this program does not know.
    UnknownExports,
    /// The vDSO's mappings are sealed.
    Sealed,
    /// The kernel's command line forbids writes to read-only memory through /proc/PID/mem.
    MemoryForce,
    /// The vDSO's code is not what the kernel mapped.
    Patched,
    /// Another image replaced the kernel's vDSO.
    Replaced,
    /// The process has another image than the one whose functions were called.
    OtherImage,
    /// Whether a call makes a system call could not be determined.
    Undetermined,
    /// The C library makes a system call although the vDSO would not.
    LibcBypasses,
    /// A program implements the system calls in place of Linux.
    Sandbox,
    /// The process is in a time namespace other than the initial one.
    TimeNamespace,
    /// System calls are filtered.
    Seccomp,
    /// The program is linked statically.
    Static,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its severity.
    pub grade: Grade,
    /// Its cause.
    pub cause: Cause,
    /// The observation, in full sentences.
    pub what: String,
    /// The remedy, in full sentences; `None` where there is none.
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

/// The result of all findings, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Something is slower than it need be.
    Slow,
    /// Something could not be determined, and nothing is known to be slow.
    Unknown,
    /// The vDSO serves every function that a vDSO can serve.
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
