//! Making maps and loading programs, and why the kernel refuses to.

use crate::privileges::{Obstacle, obstacles};
use crate::sys::Attach;
use crate::{Error, sys};
use std::os::fd::OwnedFd;
use std::{fs, io};

pub(crate) fn create(size: usize) -> Result<OwnedFd, Error> {
    let size = u32::try_from(size).map_err(|_| Error::TooMuch)?;
    sys::map_create(size).map_err(refused("to make a map"))
}

/// What the kernel answers that has no direct calls (include/linux/errno.h, which programs don't
/// see otherwise).
pub(super) const ENOTSUPP: i32 = 524;

/// Loads a program; one that the verifier refuses is loaded again for its reasons.
pub(crate) fn load(code: &[[u8; 8]], attach: Attach) -> Result<OwnedFd, Error> {
    let error = match sys::program_load(code, attach, None) {
        Ok(program) => return Ok(program),
        Err(error) => error,
    };
    // A kernel that is locked down has no helper that reads its memory, which the
    // verifier would call an unknown function.
    let obstacles = obstacles();
    if obstacles
        .iter()
        .any(|one| matches!(one, Obstacle::Lockdown(_)))
    {
        return Err(Error::Denied {
            what: "to load a program",
            obstacles,
            source: error,
        });
    }
    let mut log = vec![0; 1 << 20];
    let verdict = sys::program_load(code, attach, Some(&mut log));
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]);
    let last: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("processed "))
        .collect();
    if let Some(lacks) = lacking(&text, error.raw_os_error()) {
        return Err(Error::Lacking {
            lacks,
            source: error,
        });
    }
    if verdict.is_ok() || last.is_empty() {
        return Err(refused("to load a program")(error));
    }
    Err(Error::Verifier {
        reason: last[last.len().saturating_sub(3)..].join(" / "),
        source: error,
    })
}

/// What a kernel lacks that refuses a program, by the verifier's log and the error.
///
/// Source: kernel/bpf/verifier.c of Linux 6.1 and 6.12, `check_pseudo_btf_id`,
/// `check_helper_call`, `check_attach_btf_id`; ENOTSUPP, which user space has no name for, comes
/// from arch/arm64/net/bpf_jit_comp.c and kernel/bpf/trampoline.c.
fn lacking(log: &str, errno: Option<i32>) -> Option<String> {
    // "ldimm64 failed to find the address for kernel symbol 'runqueues'."
    if let Some((_, rest)) = log.split_once("find the address for kernel symbol '") {
        let symbol = rest.split('\'').next().unwrap_or_default();
        return Some(format!(
            "it does not say where `{symbol}` is, since it was built without CONFIG_KALLSYMS_ALL"
        ));
    }
    if log.contains("unknown func") || log.contains("program of this type cannot use helper") {
        return Some(
            "it lets programs read none of its memory (CONFIG_BPF_EVENTS, or lockdown)".into(),
        );
    }
    if log.contains("JIT does not support") || errno == Some(ENOTSUPP) {
        return Some(
            "its BPF compiler can't attach to functions (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, \
             on arm64 from Linux 6.4 on)"
                .into(),
        );
    }
    None
}

/// Makes an error of the kernel's answer: with all that is missing, when it says that
/// something is.
pub(crate) fn refused(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| match source.kind() {
        io::ErrorKind::PermissionDenied => Error::Denied {
            what,
            obstacles: obstacles(),
            source,
        },
        _ => Error::System { what, source },
    }
}

/// A bound of the CPUs' numbers: the end of the last range in `0-3,8-11`.
pub(crate) fn possible_cpus() -> Result<i32, Error> {
    const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
    let text = fs::read_to_string(POSSIBLE).map_err(Error::file(POSSIBLE))?;
    let last = text.trim().rsplit(['-', ',']).next().unwrap_or_default();
    let last: i32 = last
        .parse()
        .map_err(|_| Error::file(POSSIBLE)(io::ErrorKind::InvalidData.into()))?;
    Ok(last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_lacks_is_named_with_its_option() {
        let lacks = |log, errno| lacking(log, errno).unwrap_or_default();
        let log = "0: (18) r1 = 0x0\nldimm64 failed to find the address for kernel symbol \
                   'process_counts'.\nprocessed 1 insns\n";
        let text = lacks(log, Some(libc::ENOENT));
        assert!(text.contains("process_counts") && text.contains("CONFIG_KALLSYMS_ALL"));
        assert!(
            lacks("unknown func bpf_probe_read_kernel#113", None).contains("CONFIG_BPF_EVENTS")
        );
        assert!(lacks("", Some(524)).contains("DIRECT_CALLS"));
        assert_eq!(
            lacking("R1 invalid mem access 'inv'", Some(libc::EACCES)),
            None
        );
    }

    #[test]
    fn a_refusal_has_the_error_in_its_sentence() {
        let denied = refused("to load a program")(io::Error::from_raw_os_error(libc::EPERM));
        let text = denied.to_string();
        assert!(text.starts_with("the kernel refused to load a program: Operation not permitted"));
        let other = refused("to make a map")(io::Error::from_raw_os_error(libc::ENOMEM));
        assert!(other.to_string().contains("Cannot allocate memory"));
    }
}
