//! Reads of the clock by system call, as old static programs and some runtimes make them.
//!
//! A seccomp filter hands over `clock_gettime` of the clocks asked for, `gettimeofday` and `time`.
//! They wait for an answer of the supervisor, or of a thread of the tracer where there is no
//! supervisor. Programs that others trace are served too. Each such call costs a round trip to
//! another process, so it is for programs that need it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use vdsokit_waits::filter::{Condition, Rule};
use vdsokit_waits::number::{CLOCK_GETTIME, GETTIMEOFDAY, TIME};

use crate::seccomp::{self, Notification, Outcome};

/// A time as system calls give it: seconds since the clock's start, negative before it, and
/// nanoseconds below 1,000,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// The rest.
    pub nanoseconds: u32,
}

/// Returns the time of the clock with an id, or `None` where the kernel is to answer.
pub(crate) type Read = Box<dyn FnMut(i32) -> Option<Timestamp> + Send>;

/// Which clocks are caught, and what answers for them.
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

/// The rules of a filter that hands over reads of `clocks`.
pub(crate) fn rules(clocks: &[i32]) -> Vec<Rule> {
    let clock = |&clock: &i32| vec![Condition::Bits(0, u32::MAX, clock as u32)];
    let read = Rule {
        number: CLOCK_GETTIME,
        alternatives: clocks.iter().map(clock).collect(),
    };
    vec![Rule::always(GETTIMEOFDAY), Rule::always(TIME), read]
}

/// Answers until no process is left that uses the filter (the listener hangs up: Linux 5.9).
pub(crate) fn serve(listener: &OwnedFd, mut read: Read) {
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) if !ready[0].revents().contains(PollFlags::IN) => return,
            Ok(_) => {}
        }
        // An error: the thread was killed between its call and this.
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

/// What a call ends with. What it has to write is written by `write`.
pub(crate) fn outcome(
    notification: &Notification,
    read: &mut Read,
    write: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> Outcome {
    let [first, second, ..] = notification.arguments;
    let is_clock_gettime = notification.number as u32 == CLOCK_GETTIME;
    let clock = if is_clock_gettime {
        first as i32
    } else {
        libc::CLOCK_REALTIME
    };
    let Some(time) = read(clock) else {
        return Outcome::Made;
    };
    let pair = |small: u32| [time.seconds.to_ne_bytes(), i64::from(small).to_ne_bytes()].concat();
    let (writes, value): (Vec<(u64, Vec<u8>)>, i64) = match notification.number as u32 {
        CLOCK_GETTIME => (vec![(second, pair(time.nanoseconds))], 0),
        // The time zone is zeros, as on a Linux where none was set.
        GETTIMEOFDAY => (
            vec![(first, pair(time.nanoseconds / 1000)), (second, vec![0; 8])],
            0,
        ),
        TIME => (
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
            // A process of another user, which may not be changed.
            Err(_) => return Outcome::Made,
        }
    }
    Outcome::Returns(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_clocks_asked_for_are_handed_over() {
        let rules = rules(&[libc::CLOCK_REALTIME, libc::CLOCK_TAI]);
        let read = rules.iter().find(|rule| rule.number == CLOCK_GETTIME);
        let clock = |clock| vec![Condition::Bits(0, u32::MAX, clock)];
        assert_eq!(read.expect("a rule").alternatives, [clock(0), clock(11)]);
    }
}
