//! A live process with all its threads stopped.

use std::ffi::c_int;
use std::fs;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::arch;
use crate::error::{Error, Unserved};
use crate::memory::Memory;
use crate::stop::Stop;
use crate::sys::{self, Pid, Resume};

/// How long a thread may take to stop. One that needs longer sleeps where no signal reaches
/// it: in a vfork, or on a device that doesn't answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most instructions that a thread may take to leave the vDSO. No function there has a
/// loop that long.
const STEPS: usize = 10_000;

/// The most bytes of a stack that are searched.
const STACK_LIMIT: u64 = 64 << 20;

/// The threads of a process, all stopped by us, which go on when this is dropped.
#[derive(Debug)]
pub(crate) struct Threads {
    pid: Pid,
    threads: Vec<Pid>,
}

impl Threads {
    /// Stops all threads of `pid`. Each is at an instruction of its own, or about to make or
    /// make again a system call, never in a system call that an interruption would fail.
    pub(crate) fn stop(pid: Pid) -> Result<Threads, Error> {
        let mut stopped = Threads {
            pid,
            threads: Vec::new(),
        };
        // A thread that still runs may make another: look again until all are known.
        loop {
            let new: Vec<Pid> = tasks(pid)?
                .into_iter()
                .filter(|task| !stopped.threads.contains(task))
                .collect();
            if new.is_empty() {
                break;
            }
            for thread in new {
                stopped.stop_one(thread)?;
            }
        }
        if stopped.threads.is_empty() {
            Err(Error::NoProcess { pid: pid as u32 })
        } else {
            Ok(stopped)
        }
    }

    fn stop_one(&mut self, thread: Pid) -> Result<(), Error> {
        let is_gone = |error: &io::Error| error.raw_os_error() == Some(libc::ESRCH);
        match sys::seize(thread, 0) {
            Err(error) if is_gone(&error) => return Ok(()),
            Err(source) => {
                return Err(Error::Trace {
                    pid: self.pid as u32,
                    source,
                });
            }
            Ok(()) => self.threads.push(thread),
        }
        match interrupt(thread) {
            Ok(true) => {}
            Ok(false) => self.threads.retain(|&known| known != thread),
            Err(reason) => return Err(self.refuse(reason)),
        }
        Ok(())
    }

    /// A thread that may run the stub.
    pub(crate) fn any(&self) -> Pid {
        self.threads[0]
    }

    /// Sets what every thread's tracer wants to hear of.
    pub(crate) fn set_options(&self, options: c_int) -> io::Result<()> {
        self.threads
            .iter()
            .try_for_each(|&thread| sys::set_options(thread, options))
    }

    pub(crate) fn refuse(&self, reason: Unserved) -> Error {
        Error::Unserved {
            pid: self.pid as u32,
            reason,
        }
    }

    /// Lets every thread run out of `forbidden`, and refuses if a signal handler is to return
    /// into it.
    pub(crate) fn leave(&self, memory: &Memory, forbidden: &[Range<u64>]) -> Result<(), Unserved> {
        let maps =
            fs::read_to_string(format!("/proc/{}/maps", self.pid)).map_err(Unserved::Access)?;
        for &thread in &self.threads {
            step_out(thread, forbidden)?;
            let (registers, length) = sys::registers(thread).map_err(Unserved::Access)?;
            if !arch::is_native(&registers, length) {
                return Err(Unserved::NotNative);
            }
            let stack = arch::stack_pointer(&registers);
            if returns_into(memory, stack, mapping_end(&maps, stack), forbidden) {
                return Err(Unserved::InsideVdso);
            }
        }
        Ok(())
    }

    /// Lets the threads go on, still traced with `options`.
    pub(crate) fn follow(mut self, options: c_int) -> io::Result<()> {
        self.set_options(options)?;
        for thread in std::mem::take(&mut self.threads) {
            let resumed = sys::resume(thread, Resume::Continue, 0);
            resumed.or_else(|error| {
                if error.raw_os_error() == Some(libc::ESRCH) {
                    Ok(())
                } else {
                    Err(error)
                }
            })?;
        }
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for &thread in &self.threads {
            // One that is gone needs no release.
            let _ = sys::resume(thread, Resume::Detach, 0);
        }
    }
}

/// The threads of `pid` that have not ended.
fn tasks(pid: Pid) -> Result<Vec<Pid>, Error> {
    let missing = |_| Error::NoProcess { pid: pid as u32 };
    let entries = fs::read_dir(format!("/proc/{pid}/task")).map_err(missing)?;
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers
        .filter(|&thread| !matches!(state(pid, thread), None | Some('Z' | 'X')))
        .collect())
}

/// The state letter of a thread (proc_pid_stat(5)).
fn state(pid: Pid, thread: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Stops a seized thread with nothing about to be delivered to it. `false`: it ended.
fn interrupt(thread: Pid) -> Result<bool, Unserved> {
    let access = Unserved::Access;
    sys::interrupt(thread).map_err(access)?;
    let began = Instant::now();
    loop {
        let Some(status) = sys::wait_until(thread, began + PATIENCE).map_err(access)? else {
            return Err(Unserved::Busy);
        };
        match Stop::decode(status) {
            Stop::Ended => return Ok(false),
            Stop::Interrupted => break,
            Stop::Group => return Err(Unserved::Stopped),
            // It came first: it gets its signal, then our interruption stops it.
            Stop::Signal(signal) => {
                sys::resume(thread, Resume::Continue, signal).map_err(access)?
            }
            Stop::Forked | Stop::Vforked | Stop::Executed => {
                sys::resume(thread, Resume::Continue, 0).map_err(access)?
            }
        }
    }
    let (mut registers, length) = sys::registers(thread).map_err(access)?;
    // Most interrupted system calls are made again by the kernel. Some fail with EINTR
    // instead (signal(7), "Interruption of system calls"); without a signal to deliver, that
    // is our doing.
    let has_signal = pending(thread).map_err(access)?;
    if arch::is_native(&registers, length)
        && !has_signal
        && arch::restart_interrupted(&mut registers)
    {
        sys::set_registers(thread, &registers).map_err(access)?;
    }
    Ok(true)
}

/// Whether a signal waits to be delivered to a thread.
fn pending(thread: Pid) -> io::Result<bool> {
    let status = fs::read_to_string(format!("/proc/{thread}/status"))?;
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| u64::from_str_radix(value.trim(), 16).ok())
            .unwrap_or(0)
    };
    Ok((set("SigPnd:") | set("ShdPnd:")) & !set("SigBlk:") != 0)
}

/// Steps a thread until it is outside `forbidden`.
fn step_out(thread: Pid, forbidden: &[Range<u64>]) -> Result<(), Unserved> {
    let access = Unserved::Access;
    let is_inside = || {
        let (registers, _) = sys::registers(thread)?;
        Ok::<_, io::Error>(contains(forbidden, arch::instruction_pointer(&registers)))
    };
    if !is_inside().map_err(access)? {
        return Ok(());
    }
    let blocked = sys::blocked(thread).map_err(access)?;
    sys::set_blocked(thread, sys::ALL_BUT_TRAPS).map_err(access)?;
    let mut steps = 0;
    while is_inside().map_err(access)? && steps < STEPS {
        sys::resume(thread, Resume::Step, 0).map_err(access)?;
        let Some((_, status)) = sys::wait(thread).map_err(access)? else {
            break;
        };
        if Stop::decode(status) == Stop::Ended {
            return Err(Unserved::Busy);
        }
        steps += 1;
    }
    sys::set_blocked(thread, blocked).map_err(access)?;
    if steps == STEPS {
        Err(Unserved::InsideVdso)
    } else {
        Ok(())
    }
}

/// Whether the stack from `start` to `end` holds a signal frame that returns into `forbidden`.
fn returns_into(memory: &Memory, start: u64, end: u64, forbidden: &[Range<u64>]) -> bool {
    let mut stack = vec![0; end.saturating_sub(start).min(STACK_LIMIT) as usize];
    let got = memory.read(start & !7, &mut stack).unwrap_or(0);
    let words: Vec<u64> = stack[..got]
        .as_chunks()
        .0
        .iter()
        .map(|word| u64::from_ne_bytes(*word))
        .collect();
    arch::interrupted(&words).any(|at| contains(forbidden, at))
}

fn contains(ranges: &[Range<u64>], address: u64) -> bool {
    ranges.iter().any(|range| range.contains(&address))
}

/// The end of the mapping that `address` lies in, from the lines of `/proc/PID/maps`.
fn mapping_end(maps: &str, address: u64) -> u64 {
    let mut ends = maps.lines().filter_map(|line| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let range = u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?;
        range.contains(&address).then_some(range.end)
    });
    ends.next().unwrap_or(address)
}
