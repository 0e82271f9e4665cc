//! What `/proc` tells about processes and their threads.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use rustix::thread::SecureComputingMode;

use crate::arch::MemoryMap;
use crate::error::Error;
use crate::sys::{self, Pid, SignalSet};

/// Whether a `/proc` is mounted in this root.
pub(crate) fn is_mounted() -> bool {
    Path::new("/proc/self").exists()
}

/// Checks that `/proc` names processes by the ids that this process and its children have for them. In
/// the `/proc` of another pid namespace (pid_namespaces(7)) the same number is another process, whose
/// memory would be read and written.
///
/// # Errors
/// [`Error::NoProc`], [`Error::OtherPidNamespace`].
pub(crate) fn check() -> Result<(), Error> {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return Err(Error::NoProc);
    };
    // The ids of this process, from that in the namespace of this /proc to that in its own. Kernels
    // without pid namespaces have no such field.
    let is_own = field_of(&status, "NSpid").is_none_or(|ids| ids.split_whitespace().count() == 1);
    // unshare(2) with CLONE_NEWPID moves children only.
    let namespace = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).ok();
    if is_own && namespace("pid") == namespace("pid_for_children") {
        return Ok(());
    }
    Err(Error::OtherPidNamespace)
}

/// The process that a user named by a number.
///
/// # Errors
/// [`Error::NoProcess`]: no process has such a number.
pub(crate) fn id(number: u32) -> Result<Pid, Error> {
    Pid::try_from(number).map_err(|_| Error::NoProcess { pid: number })
}

/// The threads of `pid` that have not ended.
///
/// # Errors
/// [`Error::NoProcess`], [`Error::HiddenProcess`].
pub(crate) fn tasks(pid: Pid) -> Result<Vec<Pid>, Error> {
    let missing = |_| match exists(pid) {
        true => Error::HiddenProcess { pid: pid as u32 },
        false => Error::NoProcess { pid: pid as u32 },
    };
    let entries = fs::read_dir(format!("/proc/{pid}/task")).map_err(missing)?;
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers
        .filter(|&thread| !matches!(state(pid, thread), None | Some('Z' | 'X')))
        .collect())
}

/// Whether there is such a process, whatever `/proc` shows (kill(2)).
fn exists(pid: Pid) -> bool {
    let pid = rustix::process::Pid::from_raw(pid);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// The state letter of a thread (proc_pid_stat(5)).
pub(crate) fn state(pid: Pid, thread: Pid) -> Option<char> {
    state_of(&fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat")).ok()?)
}

pub(crate) fn state_of(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A field of `/proc/PID/status` (proc_pid_status(5)).
pub(crate) fn status(pid: Pid, field: &str) -> io::Result<Option<String>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(field_of(&status, field).map(str::to_owned))
}

fn field_of<'a>(status: &'a str, field: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(field)?.strip_prefix(':');
    status.lines().find_map(value).map(str::trim)
}

/// The signals that wait to be delivered to a thread, blocked or not.
pub(crate) fn pending(thread: Pid) -> io::Result<SignalSet> {
    Ok(pending_of(&fs::read_to_string(format!(
        "/proc/{thread}/status"
    ))?))
}

fn pending_of(status: &str) -> SignalSet {
    let set = |field: &str| {
        let value = field_of(status, field)?;
        SignalSet::from_str_radix(value, 16).ok()
    };
    set("SigPnd").unwrap_or(0) | set("ShdPnd").unwrap_or(0)
}

/// Whether `pid` is a thread of the kernel, which has no memory of its own.
pub(crate) fn is_kernel_thread(pid: Pid) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return false;
    };
    // Field `Kthread` exists since Linux 6.8. Before, only processes with memory have `VmSize`; a
    // zombie has none either.
    match field_of(&status, "Kthread") {
        Some(value) => value == "1",
        None => {
            let is_dead = field_of(&status, "State").is_some_and(|state| state.starts_with('Z'));
            field_of(&status, "VmSize").is_none() && !is_dead
        }
    }
}

/// The tracer of `pid`, and the name of its program.
pub(crate) fn tracer(pid: Pid) -> Option<(Pid, String)> {
    // The id is that of the tracing thread.
    let thread: Pid = status(pid, "TracerPid").ok()??.parse().ok()?;
    if thread == 0 {
        return None;
    }
    let process = status(thread, "Tgid").ok()??.parse().ok()?;
    let name = status(process, "Name").ok()?;
    Some((process, name.unwrap_or_else(|| "?".to_owned())))
}

/// How many seccomp filters are in force for a thread, and whether it is in strict mode. Kernels
/// before 5.9 don't count: there a thread with any filter has `u32::MAX`.
pub(crate) fn filters(thread: Pid) -> io::Result<Filters> {
    let status = fs::read_to_string(format!("/proc/{thread}/status"))?;
    Ok(filters_of(&status))
}

fn filters_of(status: &str) -> Filters {
    let number = |field: &str| field_of(status, field)?.parse::<u32>().ok();
    match number("Seccomp") {
        None | Some(0) => Filters::None,
        Some(1) => Filters::Strict,
        Some(_) => Filters::Count(number("Seccomp_filters").unwrap_or(u32::MAX)),
    }
}

/// How many seccomp filters are in force for this process.
pub(crate) fn own_filters() -> io::Result<u32> {
    match rustix::thread::secure_computing_mode()? {
        SecureComputingMode::Disabled => Ok(0),
        _ => Ok(filters(std::process::id() as Pid)?.count()),
    }
}

/// How seccomp(2) restricts a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filters {
    /// It does not.
    None,
    /// Only read, write, exit and sigreturn are permitted (SECCOMP_SET_MODE_STRICT).
    Strict,
    /// So many filters are in force.
    Count(u32),
}

impl Filters {
    /// How many filters are in force; strict mode counts as one.
    pub(crate) fn count(self) -> u32 {
        match self {
            Filters::None => 0,
            Filters::Strict => 1,
            Filters::Count(count) => count,
        }
    }
}

/// What `pid`, which has just executed a program, tells the kernel about its memory by
/// prctl(PR_SET_MM_MAP) to change nothing of it but the kernel's copy of the auxiliary vector,
/// which is to become the bytes in `vector`. `None`: the kernel does not tell its memory.
pub(crate) fn memory_map(pid: Pid, vector: Range<u64>) -> Option<MemoryMap> {
    // One read gives all of it (fs/proc/base.c, `proc_single_show`); a program waits meanwhile.
    let mut bytes = [0; 4096];
    let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
    let length = file.read(&mut bytes).ok()?;
    memory_map_of(&bytes[..length], vector)
}

/// [`memory_map`] by the text of `/proc/PID/stat`.
fn memory_map_of(stat: &[u8], vector: Range<u64>) -> Option<MemoryMap> {
    // Numbered as in proc_pid_stat(5); the third follows the name, which may be any bytes.
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = std::str::from_utf8(stat.get(name_end + 2..)?).ok()?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.trim().parse::<u64>().ok();
    let (code, end_code, stack) = (field(26)?, field(27)?, field(28)?);
    let (data, end_data, heap) = (field(45)?, field(46)?, field(47)?);
    let (arguments, end_arguments) = (field(48)?, field(49)?);
    let (environment, end_environment) = (field(50)?, field(51)?);
    /// `exe_fd` that leaves the executable as it is.
    const NO_FILE: u64 = u32::MAX as u64;
    // The heap has not grown yet: its end is its start (fs/binfmt_elf.c, `load_elf_binary`).
    let map = [
        code,
        end_code,
        data,
        end_data,
        heap,
        heap,
        stack,
        arguments,
        end_arguments,
        environment,
        end_environment,
        vector.start,
        (vector.end - vector.start) | NO_FILE << 32,
    ];
    // Addresses are hidden from a process without the right to see them, as 0 or 1.
    (code > 1 && end_code > 1).then_some(map)
}

/// Another process that has the address space of `pid` (clone(2) with CLONE_VM and without
/// CLONE_THREAD), as far as kcmp(2) may tell.
pub(crate) fn shares_memory(pid: Pid) -> Option<Pid> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.find(|&other| other != pid && sys::share_memory(pid, other))
}

/// The address ranges of the lines of a `/proc/PID/maps`.
pub(crate) fn ranges(maps: &str) -> impl Iterator<Item = Range<u64>> {
    maps.lines().filter_map(|line| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
    })
}

/// Reads `bytes` as each of these texts.
#[cfg(fuzzing)]
pub(crate) fn exercise(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (state_of(&text), pending_of(&text), filters_of(&text));
    let _ = ranges(&text).count();
    if let Some(map) = memory_map_of(bytes, 0x1000..0x1100) {
        assert!(map[0] > 1 && map[1] > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let status = "Name:\tsh\nShdPnd:\t0000000000000000\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        assert_eq!(field_of(status, "Seccomp"), Some("2"));
        assert_eq!(field_of(status, "Seccomp_filters"), Some("1"));
        assert_eq!(field_of(status, "Sec"), None);
    }

    #[test]
    fn this_process_is_no_kernel_thread_and_has_its_memory_to_itself() {
        let this = std::process::id() as Pid;
        assert!(!is_kernel_thread(this));
        assert_eq!(shares_memory(this), None);
        assert!(tasks(this).is_ok_and(|tasks| tasks.contains(&this)));
    }
}
