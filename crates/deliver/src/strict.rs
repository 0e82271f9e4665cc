//! Reads of the clock that pass by the vDSO: by system call, as old static programs and some
//! runtimes make them.
//!
//! A seccomp filter lets every system call through but `clock_gettime` of the clocks asked
//! for, `gettimeofday` and `time`. Those wait for an answer of the tracer's second thread. It
//! works for whatever the program starts, also for what others trace. What it costs is a
//! round trip to that thread for each such call, so it is for programs that need it.
//!
//! Sleeps and time-outs are not among them, though a rate could be thought to hold for them too.
//! Whoever answers here can't sleep in the caller's place: the flag that keeps a signal from
//! failing a read of the clock (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) would keep it from
//! ending the sleep. Nor can it hand the kernel another duration, as the registers are the
//! caller's. A tracer could change them (SECCOMP_RET_TRACE), but the kernel then fails the call
//! with ENOSYS where nobody traces, as in every program that is let go to trace others
//! (seccomp(2)): a sleep that returns at once would be worse than one that takes its real time.
//!
//! When the tracer is killed nobody is left to answer, and the kernel fails these calls with
//! ENOSYS (seccomp_unotify(2)).

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::arch::{self, number};
use crate::seccomp::{self, Instruction, Notification, Outcome};

/// A time as system calls give it: seconds since the clock's start, negative before it, and
/// nanoseconds below 1,000,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// The rest.
    pub nanoseconds: u32,
}

/// What answers for a clock, given its id: a time, or `None` where the kernel shall answer.
pub(crate) type Read = Box<dyn FnMut(i32) -> Option<Timestamp> + Send>;

/// Which clocks are caught, and who answers for them.
pub(crate) struct Strict {
    pub(crate) clocks: Vec<i32>,
    pub(crate) read: Read,
}

impl std::fmt::Debug for Strict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Strict")
            .field("clocks", &self.clocks)
            .finish_non_exhaustive()
    }
}

/// Offsets into `struct seccomp_data` (include/uapi/linux/seccomp.h), little endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// A filter that wants an answer for reads of `clocks`, and lets all else through, also every
/// call by another architecture's numbers.
pub(crate) fn filter(clocks: &[i32]) -> Vec<Instruction> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let step = |code: u32, k, jt, jf| Instruction {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let ask = || step(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0);
    // If what is loaded is `k`, the next instruction; else the one after it.
    let unless = |k| step(IS, k, 0, 1);
    let mut filter = vec![
        step(LOAD, ARCHITECTURE, 0, 0),
        step(IS, arch::AUDIT, 1, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
        step(LOAD, NUMBER, 0, 0),
    ];
    for number in [number::GETTIMEOFDAY, number::TIME] {
        filter.extend([unless(number as u32), ask()]);
    }
    filter.extend([
        step(IS, number::CLOCK_GETTIME as u32, 1, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
        step(LOAD, FIRST_ARGUMENT, 0, 0),
    ]);
    for &clock in clocks {
        filter.extend([unless(clock as u32), ask()]);
    }
    filter.push(step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
    filter
}

/// Answers until nobody is left who could ask (the listener hangs up: Linux 5.9).
pub(crate) fn serve(listener: &OwnedFd, mut read: Read) {
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) if !ready[0].revents().contains(PollFlags::IN) => return,
            Ok(_) => {}
        }
        // None there: it was killed between its call and our look.
        let Ok(notification) = seccomp::receive(listener) else {
            continue;
        };
        let outcome = if seccomp::waits(listener, &notification) {
            outcome(&notification, &mut read, &mut |address, bytes| {
                seccomp::write(notification.pid, address, bytes)
            })
        } else {
            Outcome::Made
        };
        seccomp::answer(listener, &notification, outcome);
    }
}

/// What a call ends with, and what it writes until then.
fn outcome(
    notification: &Notification,
    read: &mut Read,
    write: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> Outcome {
    let [first, second, ..] = notification.arguments;
    let is_clock_gettime = notification.number as u64 == number::CLOCK_GETTIME;
    let clock = if is_clock_gettime {
        first as i32
    } else {
        libc::CLOCK_REALTIME
    };
    let Some(time) = read(clock) else {
        return Outcome::Made;
    };
    let pair = |small: u32| [time.seconds.to_ne_bytes(), i64::from(small).to_ne_bytes()].concat();
    let (writes, value): (Vec<(u64, Vec<u8>)>, i64) = match notification.number as u64 {
        number::CLOCK_GETTIME => (vec![(second, pair(time.nanoseconds))], 0),
        // The time zone is zeros, as on every Linux that was not told of one.
        number::GETTIMEOFDAY => (
            vec![(first, pair(time.nanoseconds / 1000)), (second, vec![0; 8])],
            0,
        ),
        number::TIME => (
            vec![(first, time.seconds.to_ne_bytes().to_vec())],
            time.seconds,
        ),
        _ => return Outcome::Made,
    };
    for (address, bytes) in writes {
        // Only clock_gettime has to have somewhere to write to.
        if address == 0 && !is_clock_gettime {
            continue;
        }
        match write(address, &bytes).map_err(|error| error.raw_os_error()) {
            Ok(()) => {}
            Err(Some(libc::EFAULT)) => return Outcome::Fails(libc::EFAULT),
            // Of another user: not ours to change.
            Err(_) => return Outcome::Made,
        }
    }
    Outcome::Returns(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a filter as the kernel does (net/core/filter.c), for the instructions used here.
    fn verdict(filter: &[Instruction], architecture: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = filter[at];
            at += 1;
            match u32::from(step.code) & 7 {
                libc::BPF_LD => {
                    loaded = match step.k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        FIRST_ARGUMENT => argument,
                        other => panic!("loads {other}"),
                    }
                }
                libc::BPF_JMP => {
                    at += usize::from(if loaded == step.k { step.jt } else { step.jf })
                }
                libc::BPF_RET => return step.k,
                other => panic!("code {other}"),
            }
        }
    }

    #[test]
    fn only_the_clocks_asked_for_are_caught() {
        let clocks = [libc::CLOCK_REALTIME, libc::CLOCK_TAI];
        let filter = filter(&clocks);
        for number in 0..512 {
            for clock in 0..16 {
                let is_caught = match number as u64 {
                    number::GETTIMEOFDAY | number::TIME => true,
                    number::CLOCK_GETTIME => clocks.contains(&(clock as i32)),
                    _ => false,
                };
                let expect = if is_caught {
                    libc::SECCOMP_RET_USER_NOTIF
                } else {
                    libc::SECCOMP_RET_ALLOW
                };
                assert_eq!(
                    verdict(&filter, arch::AUDIT, number, clock),
                    expect,
                    "{number} {clock}"
                );
                // AUDIT_ARCH_I386, and x32's numbers.
                assert_eq!(
                    verdict(&filter, 0x4000_0003, number, clock),
                    libc::SECCOMP_RET_ALLOW
                );
                let x32 = number | 0x4000_0000;
                assert_eq!(
                    verdict(&filter, arch::AUDIT, x32, clock),
                    libc::SECCOMP_RET_ALLOW
                );
            }
        }
    }
}
