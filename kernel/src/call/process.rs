//! Calls about processes and threads, by the table of calls.

use super::time;
use crate::arch::{self, Frame};
use crate::errno::Errno;
use crate::task::process::{PROCESSES, wait_for_child};
use crate::task::{Process, exec, fork, futex as futexes, schedule};
use crate::{cpu as cpus, random as generator, user};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use linux_raw_sys::general as linux;

/// The longest text among the arguments of a program (`MAX_ARG_STRLEN`).
const LONGEST: usize = 32 * 4096;

pub fn execve(frame: &mut Frame, a: super::Arguments) -> Result<usize, Errno> {
    let [path, arguments, environment, ..] = a;
    let path = user::path(path)?;
    let texts = |mut address: usize| -> Result<Vec<String>, Errno> {
        let mut texts = Vec::new();
        while address != 0 {
            let [text] = user::words(address)?;
            if text == 0 {
                break;
            }
            texts.push(user::text(text, LONGEST)?);
            address += user::WORD;
        }
        Ok(texts)
    };
    exec::become_program(frame, &path, &texts(arguments)?, &texts(environment)?)?;
    Err(Errno::REPLACED)
}

pub fn clone(frame: &Frame, a: super::Arguments) -> Result<usize, Errno> {
    // Architectures differ in the order of the last two (CONFIG_CLONE_BACKWARDS).
    let (thread_pointer, child_id_at) = match cfg!(target_arch = "x86_64") {
        true => (a[4], a[3]),
        false => (a[3], a[4]),
    };
    let request = fork::Request {
        flags: a[0] as u32,
        stack: a[1],
        parent_id_at: a[2],
        child_id_at,
        thread_pointer,
    };
    fork::clone(frame, &request)
}

#[cfg(target_arch = "x86_64")]
pub fn fork(frame: &Frame, flags: u32) -> Result<usize, Errno> {
    let request = fork::Request {
        flags,
        ..Default::default()
    };
    fork::clone(frame, &request)
}

pub fn exit_thread(status: usize) -> Result<usize, Errno> {
    let task = schedule::current();
    task.end();
    if task.process.threads.get().len() == 1 {
        return exit(status);
    }
    Ok(0)
}

pub fn exit(status: usize) -> Result<usize, Errno> {
    let status = (status as u32 & 0xff) << 8;
    schedule::current().process.end(status);
    Ok(0)
}

pub fn wait(id: usize, status_at: usize, options: usize) -> Result<usize, Errno> {
    let now = options as u32 & linux::WNOHANG != 0;
    let Some((id, status)) = wait_for_child(id as i32 as isize, now)? else {
        return Ok(0);
    };
    if status_at != 0 {
        user::write_u32(status_at, status)?;
    }
    Ok(id)
}

/// The process with a number, the caller's own for 0.
fn process(id: usize) -> Result<Arc<Process>, Errno> {
    if id == 0 {
        return Ok(schedule::current().process.clone());
    }
    PROCESSES.get().get(&id).cloned().ok_or(Errno::NO_PROCESS)
}

pub fn group(id: usize) -> Result<usize, Errno> {
    Ok(process(id)?.group.get().0)
}

pub fn set_group(id: usize, group: usize) -> Result<usize, Errno> {
    let process = process(id)?;
    let group = if group == 0 { process.id } else { group };
    process.group.get().0 = group;
    Ok(0)
}

pub fn session(id: usize) -> Result<usize, Errno> {
    Ok(process(id)?.group.get().1)
}

pub fn new_session() -> Result<usize, Errno> {
    let process = process(0)?;
    let mut group = process.group.get();
    if group.0 == process.id {
        return Err(Errno::PERMISSION);
    }
    *group = (process.id, process.id);
    Ok(process.id)
}

pub fn set_clear_address(address: usize) -> Result<usize, Errno> {
    let task = schedule::current();
    *task.clear_id_at.get() = address;
    Ok(task.id)
}

/// `sched_getaffinity`: every task may run on every CPU.
pub fn affinity(length: usize, address: usize) -> Result<usize, Errno> {
    if length < user::WORD {
        return Err(Errno::INVALID);
    }
    user::write_words(address, &[(1 << cpus::count()) - 1])?;
    Ok(user::WORD)
}

pub fn cpu(cpu_at: usize, node_at: usize) -> Result<usize, Errno> {
    for (address, value) in [(cpu_at, arch::cpu()), (node_at, 0)] {
        if address != 0 {
            user::write_u32(address, value as u32)?;
        }
    }
    Ok(0)
}

/// `prlimit64`: limits that can't be changed.
pub fn limits(resource: usize, address: usize) -> Result<usize, Errno> {
    let limit = match resource as u32 {
        linux::RLIMIT_STACK => 8 << 20,
        linux::RLIMIT_NOFILE => 1024,
        _ => usize::MAX,
    };
    if address != 0 {
        user::write_words(address, &[limit, limit])?;
    }
    Ok(0)
}

pub fn system_name(address: usize) -> Result<usize, Errno> {
    // `struct new_utsname`: six fields of 65 bytes. C libraries refuse to run on a release of Linux
    // that is older than the one they are made for.
    let fields = [
        "Linux",
        "reference",
        "6.1.0-vdsokit",
        "#1",
        arch::MACHINE,
        "(none)",
    ];
    let mut bytes = vec![0; 6 * 65];
    for (index, field) in fields.iter().enumerate() {
        bytes[65 * index..][..field.len()].copy_from_slice(field.as_bytes());
    }
    user::write(address, &bytes)?;
    Ok(0)
}

pub fn random(address: usize, length: usize) -> Result<usize, Errno> {
    let mut bytes = vec![0; length.min(64 << 10)];
    generator::fill(&mut bytes);
    user::write(address, &bytes)?;
    Ok(bytes.len())
}

pub fn futex(a: super::Arguments) -> Result<usize, Errno> {
    let [address, operation, value, timeout, second, third] = a;
    let operation = operation as u32;
    let any = linux::FUTEX_BITSET_MATCH_ANY;
    let count = |number: usize| number as u32 as usize;
    match operation & !(linux::FUTEX_PRIVATE_FLAG | linux::FUTEX_CLOCK_REALTIME) {
        linux::FUTEX_WAIT => {
            let left = time::duration(timeout)?;
            let deadline = left.map(|left| crate::time::monotonic().saturating_add(left));
            futexes::wait(address, value as u32, any, deadline)
        }
        linux::FUTEX_WAIT_BITSET => {
            let clock = match operation & linux::FUTEX_CLOCK_REALTIME {
                0 => linux::CLOCK_MONOTONIC,
                _ => linux::CLOCK_REALTIME,
            };
            let deadline = match time::duration(timeout)? {
                Some(at) => Some(crate::time::on_monotonic(clock, at).ok_or(Errno::INVALID)?),
                None => None,
            };
            futexes::wait(address, value as u32, third as u32, deadline)
        }
        linux::FUTEX_WAKE => futexes::wake(address, count(value), any),
        linux::FUTEX_WAKE_BITSET => futexes::wake(address, count(value), third as u32),
        linux::FUTEX_REQUEUE => {
            futexes::requeue(address, count(value), count(timeout), second, None)
        }
        linux::FUTEX_CMP_REQUEUE => {
            let expected = Some(third as u32);
            futexes::requeue(address, count(value), count(timeout), second, expected)
        }
        _ => Err(Errno::NO_CALL),
    }
}

/// `arch_prctl`: the thread pointer.
#[cfg(target_arch = "x86_64")]
pub fn architecture(code: usize, address: usize) -> Result<usize, Errno> {
    const ARCH_SET_FS: usize = 0x1002;
    const ARCH_GET_FS: usize = 0x1003;
    let task = schedule::current();
    let mut state = task.state.get();
    state.save();
    match code {
        ARCH_SET_FS if address < arch::USER_END => {
            state.thread_pointer = address;
            state.restore();
            Ok(0)
        }
        ARCH_SET_FS => Err(Errno::PERMISSION),
        ARCH_GET_FS => {
            let value = state.thread_pointer;
            drop(state);
            user::write_words(address, &[value])?;
            Ok(0)
        }
        _ => Err(Errno::INVALID),
    }
}
