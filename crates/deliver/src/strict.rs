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

use vdsokit_waits::AUDIT;
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

/// A call that reads the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    ClockGettime,
    Gettimeofday,
    Time,
}

/// The calls by their numbers, and whether their times have 64 bits.
const CALLS: [(u32, Function, bool); 3] = [
    (CLOCK_GETTIME, Function::ClockGettime, true),
    (GETTIMEOFDAY, Function::Gettimeofday, true),
    (TIME, Function::Time, true),
];

/// The same by the numbers of 32-bit programs on x86-64 (arch/x86/entry/syscalls/syscall_32.tbl).
const NARROW_CALLS: [(u32, Function, bool); 4] = [
    (403, Function::ClockGettime, true),
    (265, Function::ClockGettime, false),
    (78, Function::Gettimeofday, false),
    (13, Function::Time, false),
];

/// What a call is, and whether its times have 64 bits.
fn function(call: &Notification) -> Option<(Function, bool)> {
    let calls: &[_] = match call.architecture {
        AUDIT => &CALLS,
        _ => &NARROW_CALLS,
    };
    let mut calls = calls.iter();
    let found = calls.find(|(number, ..)| i64::from(*number) == call.number);
    found.map(|&(_, function, is_wide)| (function, is_wide))
}

/// Whether a call reads the clock.
pub(crate) fn serves(call: &Notification) -> bool {
    function(call).is_some()
}

/// The rules of a filter that hands over reads of `clocks`.
pub(crate) fn rules(clocks: &[i32]) -> Vec<Rule> {
    rules_of(&CALLS, clocks)
}

/// The same for 32-bit programs on x86-64.
#[cfg(target_arch = "x86_64")]
pub(crate) fn narrow_rules(clocks: &[i32]) -> Vec<Rule> {
    rules_of(&NARROW_CALLS, clocks)
}

fn rules_of(calls: &[(u32, Function, bool)], clocks: &[i32]) -> Vec<Rule> {
    let clock = |&clock: &i32| vec![Condition::Bits(0, u32::MAX, clock as u32)];
    let rule = |&(number, function, _): &(u32, Function, bool)| match function {
        Function::ClockGettime => Rule {
            number,
            alternatives: clocks.iter().map(clock).collect(),
        },
        Function::Gettimeofday | Function::Time => Rule::always(number),
    };
    calls.iter().map(rule).collect()
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
    let Some((function, is_wide)) = function(notification) else {
        return Outcome::Made;
    };
    let clock = match function {
        Function::ClockGettime => first as i32,
        Function::Gettimeofday | Function::Time => libc::CLOCK_REALTIME,
    };
    let Some(time) = read(clock) else {
        return Outcome::Made;
    };
    // Of what has more than 32 bits, narrow times are the lower ones, as the kernel's are.
    let number = |number: i64| match is_wide {
        true => number.to_ne_bytes().to_vec(),
        false => (number as i32).to_ne_bytes().to_vec(),
    };
    let pair = |small: u32| [number(time.seconds), number(small.into())].concat();
    let (writes, value): (Vec<(u64, Vec<u8>)>, i64) = match function {
        Function::ClockGettime => (vec![(second, pair(time.nanoseconds))], 0),
        // The time zone is zeros, as on a Linux where none was set.
        Function::Gettimeofday => (
            vec![(first, pair(time.nanoseconds / 1000)), (second, vec![0; 8])],
            0,
        ),
        Function::Time => (vec![(first, number(time.seconds))], time.seconds),
    };
    for (address, bytes) in writes {
        // Only clock_gettime has to have somewhere to write to.
        if address == 0 && function != Function::ClockGettime {
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
