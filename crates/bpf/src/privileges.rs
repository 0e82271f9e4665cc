//! What a publisher needs, and what of it is missing.

use crate::btf::VMLINUX;
use crate::kallsyms::KALLSYMS;
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};

/// Something that keeps a process from publishing kernel variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// CAP_BPF (or CAP_SYS_ADMIN) is missing.
    NoCapBpf,
    /// CAP_PERFMON (or CAP_SYS_ADMIN) is missing: programs may not read the kernel.
    NoCapPerfmon,
    /// The kernel is locked down against everybody, at this level.
    Lockdown(String),
    /// The kernel doesn't describe its types.
    NoBtf,
    /// The kernel hides its addresses, at this setting of kernel.kptr_restrict.
    HiddenSymbols(String),
    /// The BPF compiler is off, which fentry needs.
    NoJit,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCapBpf => f.write_str("CAP_BPF is missing"),
            Self::NoCapPerfmon => f.write_str("CAP_PERFMON is missing"),
            Self::Lockdown(level) => write!(
                f,
                "the kernel is locked down ({level}): of its variables, only per-CPU ones may be read"
            ),
            Self::NoBtf => write!(f, "there is no {VMLINUX}"),
            Self::HiddenSymbols(setting) => write!(
                f,
                "{KALLSYMS} shows no addresses (kernel.kptr_restrict is {setting}; CAP_SYSLOG \
                 shows them where that is 0 or 1, and kernel.perf_event_paranoid of at most 1 where \
                 it is 0)"
            ),
            Self::NoJit => f.write_str("the BPF compiler is off (net.core.bpf_jit_enable)"),
        }
    }
}

// include/uapi/linux/capability.h
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Everything that stands in this process's way, in the order in which to mend it.
/// Empty when nothing does that can be seen beforehand.
#[must_use]
pub fn obstacles() -> Vec<Obstacle> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let capabilities = effective(&read("/proc/thread-self/status"));
    let has = |capability: u32| {
        capabilities >> capability & 1 != 0 || capabilities >> CAP_SYS_ADMIN & 1 != 0
    };
    let mut found = Vec::new();
    if !has(CAP_BPF) {
        found.push(Obstacle::NoCapBpf);
    }
    if !has(CAP_PERFMON) {
        found.push(Obstacle::NoCapPerfmon);
    }
    if lockdown(&read("/sys/kernel/security/lockdown")) == Some("confidentiality") {
        found.push(Obstacle::Lockdown("confidentiality".into()));
    }
    if fs::metadata(VMLINUX).is_err() {
        found.push(Obstacle::NoBtf);
    }
    if fs::File::open(KALLSYMS).is_ok_and(|file| hidden(BufReader::new(file))) {
        let setting = read("/proc/sys/kernel/kptr_restrict");
        found.push(Obstacle::HiddenSymbols(setting.trim().into()));
    }
    if read("/proc/sys/net/core/bpf_jit_enable").trim() == "0" {
        found.push(Obstacle::NoJit);
    }
    found
}

/// Gives up all privileges of the calling thread, for good: its capabilities, and
/// gaining any by exec. What has been loaded stays loaded. Other threads keep their own,
/// so call it before there are any; threads that are made later have none either.
///
/// # Errors
/// The kernel's, which has no reason to refuse.
pub fn drop_all() -> std::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// The capabilities in force, from the text of /proc/PID/status (proc(5)).
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0)
}

/// The level in force stands in brackets: `none [integrity] confidentiality`.
fn lockdown(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0)
}

/// Whether all addresses are shown as zeros. Some are zero anyhow: those of per-CPU
/// variables count from the start of their section.
fn hidden(kallsyms: impl BufRead) -> bool {
    let zero = |line: String| {
        let address = line.split(' ').next().unwrap_or_default();
        address.bytes().all(|digit| digit == b'0')
    };
    kallsyms.lines().map_while(Result::ok).all(zero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        assert_eq!(
            effective("Name:\tx\nCapEff:\t000001ffffffffff\n"),
            0x1ff_ffff_ffff
        );
        assert_eq!(effective(""), 0);
        assert_eq!(
            lockdown("none [integrity] confidentiality\n"),
            Some("integrity")
        );
        assert_eq!(lockdown(""), None);
        assert!(hidden(&b"0000000000000000 A x\n0000000000000000 D y\n"[..]));
        assert!(!hidden(
            &b"0000000000000000 A x\nffffffff82000000 D y\n"[..]
        ));
    }
}
