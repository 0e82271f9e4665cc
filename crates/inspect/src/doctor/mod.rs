//! Is every clock and function served without a system call here, and if not, why not?
//!
//! [`collect`] gathers [`Facts`] and [`judge`] makes [`Finding`]s of them. Whether a call makes
//! a system call is not inferred from its cost: see [`crate::probe`].

mod clocksource;
mod collect;
mod facts;
mod finding;
mod judge;
mod process;
mod surroundings;
mod tsc;

#[cfg(test)]
mod tests;

pub use collect::{collect, machine};
pub use facts::{Call, Clocksource, Facts, Process, Sandbox, Seccomp, TimeNamespace, Tsc, Vdso};
pub use finding::{Cause, Finding, Grade, Verdict};
pub use judge::{judge, verdict};
pub use process::Unreadable;

use serde::Serialize;

/// The doctor's report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The result of the findings.
    pub verdict: Verdict,
    /// The findings, the most severe first.
    pub findings: Vec<Finding>,
    /// The facts that they are derived from.
    pub facts: Facts,
}

impl From<Facts> for Diagnosis {
    fn from(facts: Facts) -> Self {
        let findings = judge(&facts);
        Self {
            verdict: verdict(&findings),
            findings,
            facts,
        }
    }
}

/// Whether the kernel's command line has this word.
fn has_word(facts: &Facts, word: &str) -> bool {
    facts
        .command_line
        .as_deref()
        .is_some_and(|line| line.split_whitespace().any(|other| other == word))
}

/// The first line of the kernel's log with this in it.
fn log_says<'a>(facts: &'a Facts, what: &str) -> Option<&'a str> {
    facts
        .log
        .iter()
        .flatten()
        .map(String::as_str)
        .find(|line| line.contains(what))
}

/// Reads `bytes` as each text from which facts are taken.
#[cfg(fuzzing)]
pub(crate) fn exercise(bytes: &[u8]) {
    surroundings::exercise(bytes);
}
