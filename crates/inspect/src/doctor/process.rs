//! The facts of a running process.

use super::collect::{machine, of_process};
use super::facts::{Facts, Process, Vdso};
use crate::process::{linkage, started_with};
use miette::Diagnostic;
use std::fs;
use thiserror::Error;
use vdsokit_elf::own;
use vdsokit_elf::process::{self, ProcessError, ProcessVdso};

/// Why a process could not be examined.
#[derive(Debug, Error, Diagnostic)]
#[error("process {pid} can't be examined")]
#[diagnostic(help(
    "it may have ended; otherwise the permission to trace it is needed: run as its user or as root"
))]
pub struct Unreadable {
    /// The process.
    pub pid: u32,
    /// Why.
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Facts {
    /// The same for a running process: what surrounds it and which vDSO it has, with the calls
    /// as they were found here where it has the same image, and none otherwise.
    ///
    /// # Errors
    /// When the process is gone or may not be looked at.
    pub fn of_process(self, pid: u32) -> Result<Self, Unreadable> {
        let unreadable =
            |source: Box<dyn std::error::Error + Send + Sync>| Unreadable { pid, source };
        let program =
            fs::read_link(format!("/proc/{pid}/exe")).map_err(|error| unreadable(error.into()))?;
        let address = started_with(pid).map_err(|error| unreadable(error.into()))?;
        let copy = match address.map(|address| process::at(pid, address)) {
            // A process may have unmapped it.
            None | Some(Err(ProcessError::NotMapped { .. })) => None,
            Some(Err(error)) => return Err(unreadable(error.into())),
            Some(Ok(copy)) => Some(copy),
        };
        let vdso = copy.as_ref().and_then(|copy| describe(copy, pid));
        let own = own::image();
        let same_image = match (&vdso, &own) {
            (Some(vdso), Some(own)) => vdso.build_id == own.build_id().map(crate::hex),
            _ => false,
        };
        let patched = match (&copy, &own) {
            (Some(copy), Some(own)) if same_image => Some(differences(&copy.bytes, own.bytes())),
            _ => None,
        };
        Ok(Self {
            calls: if same_image { self.calls } else { Vec::new() },
            vdso,
            process: Some(Process {
                pid,
                program: program.to_string_lossy().into_owned(),
                linkage: linkage(pid),
                same_image,
                patched,
            }),
            ..of_process(machine(), &pid.to_string())
        })
    }
}

fn describe(copy: &ProcessVdso, pid: u32) -> Option<Vdso> {
    let image = copy.image().ok()?;
    Some(super::collect::describe(
        &image,
        copy.mapping.name == "[vdso]",
        pid,
    ))
}

/// How many bytes of one image are others in the other.
fn differences(one: &[u8], other: &[u8]) -> u64 {
    let differ = one.iter().zip(other).filter(|(one, other)| one != other);
    differ.count() as u64
}
