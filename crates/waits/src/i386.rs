//! The calls of 32-bit programs on x86-64 kernels that take a time.
//!
//! Each has the arguments of a call of x86-64, in the same places, under another number, and many
//! have two: one with times of 32 bits, and since Linux 5.1 one with times of 64
//! (arch/x86/entry/syscalls/syscall_32.tbl). So they are decoded by the table of x86-64
//! ([`crate::call`]), and all are made with times of 64 bits, as frames have them.
//!
//! Not decoded, and so in real time, are the calls whose arguments lie in memory: `ipc`, `socketcall`
//! and the first `select`, by which C libraries made that call long ago. Time-outs of sockets are known
//! and not converted.

pub use crate::arch::i386::AUDIT_I386;
use crate::arch::number::{self, *};
use crate::call::{self, Call, Form, Given, Kind, Numbers, Scope, Wait};
use crate::filter::Rule;
use vdsokit_clock::Clock;

/// How many bits the numbers of a time have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// 32.
    Narrow,
    /// 64.
    Wide,
    /// It has none in memory.
    None,
}

/// The numbers here of calls, their numbers on x86-64, and what times they take.
const CALLS: [(u32, u32, Times); 44] = [
    (162, NANOSLEEP, Times::Narrow),
    (267, CLOCK_NANOSLEEP, Times::Narrow),
    (CLOCK_NANOSLEEP_TIME64, CLOCK_NANOSLEEP, Times::Wide),
    (240, FUTEX, Times::Narrow),
    (422, FUTEX, Times::Wide),
    (449, FUTEX_WAITV, Times::Wide),
    (455, number::FUTEX_WAIT, Times::Wide),
    (168, POLL, Times::None),
    (309, PPOLL, Times::Narrow),
    (414, PPOLL, Times::Wide),
    (142, SELECT, Times::Narrow),
    (308, PSELECT6, Times::Narrow),
    (PSELECT6_TIME64, PSELECT6, Times::Wide),
    (256, EPOLL_WAIT, Times::None),
    (319, EPOLL_PWAIT, Times::None),
    (441, EPOLL_PWAIT2, Times::Wide),
    (177, RT_SIGTIMEDWAIT, Times::Narrow),
    (421, RT_SIGTIMEDWAIT, Times::Wide),
    (420, SEMTIMEDOP, Times::Wide),
    (279, MQ_TIMEDSEND, Times::Narrow),
    (418, MQ_TIMEDSEND, Times::Wide),
    (280, MQ_TIMEDRECEIVE, Times::Narrow),
    (419, MQ_TIMEDRECEIVE, Times::Wide),
    (337, RECVMMSG, Times::Narrow),
    (417, RECVMMSG, Times::Wide),
    (247, IO_GETEVENTS, Times::Narrow),
    (385, IO_PGETEVENTS, Times::Narrow),
    (IO_PGETEVENTS_TIME64, IO_PGETEVENTS, Times::Wide),
    (27, ALARM, Times::None),
    (SETITIMER_HERE, SETITIMER, Times::Narrow),
    (105, GETITIMER, Times::Narrow),
    (260, TIMER_SETTIME, Times::Narrow),
    (TIMER_SETTIME64, TIMER_SETTIME, Times::Wide),
    (261, TIMER_GETTIME, Times::Narrow),
    (408, TIMER_GETTIME, Times::Wide),
    (263, TIMER_DELETE, Times::None),
    (325, TIMERFD_SETTIME, Times::Narrow),
    (411, TIMERFD_SETTIME, Times::Wide),
    (326, TIMERFD_GETTIME, Times::Narrow),
    (410, TIMERFD_GETTIME, Times::Wide),
    (366, SETSOCKOPT, Times::None),
    (425, IO_URING_SETUP, Times::None),
    (354, SECCOMP, Times::None),
    (172, PRCTL, Times::None),
];

/// `clock_nanosleep_time64`, by which `nanosleep` is made too.
pub const CLOCK_NANOSLEEP_TIME64: u32 = 407;
/// By which `select` is made too.
const PSELECT6_TIME64: u32 = 413;
/// By which `io_getevents` is made too.
const IO_PGETEVENTS_TIME64: u32 = 416;

/// `timer_settime64`, by which POSIX timers are set.
pub const TIMER_SETTIME64: u32 = 409;
/// `setitimer`, which has narrow times only.
pub const SETITIMER_HERE: u32 = 104;

/// What a call that was handed over is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// One of x86-64's kinds, and the times that it takes.
    Kind(Kind, Times),
    /// A time-out of a socket: it is the kernel's.
    Unconverted,
}

/// The rules of a filter that hands over the calls of `scope`.
pub fn rules(scope: Scope) -> Vec<Rule> {
    let native = call::rules(scope);
    let of = |&(number, native_number, _): &(u32, u32, Times)| {
        let mut rules = native.iter().filter(|rule| rule.number == native_number);
        let alternatives = rules.next()?.alternatives.clone();
        Some(Rule {
            number,
            alternatives,
        })
    };
    CALLS.iter().filter_map(of).collect()
}

/// Decodes a call by its number here.
pub fn decode(call: &Call) -> Option<Found> {
    let mut calls = CALLS.iter();
    let &(_, number, times) = calls.find(|(number, ..)| *number == call.number)?;
    let native = Call { number, ..*call };
    Some(match Kind::decode(&native, Numbers::Finest)? {
        Kind::Wait(wait) => Found::Kind(Kind::Wait(made(wait, times)?), times),
        Kind::SetSocketTimeout | Kind::GetSocketTimeout => Found::Unconverted,
        kind => Found::Kind(kind, times),
    })
}

/// `wait`, a call of x86-64's, as one that is made here. `None`: there is none.
fn made(mut wait: Wait, times: Times) -> Option<Wait> {
    wait.given = match (wait.given, times) {
        (Given::Timespec(address), Times::Narrow) => Given::Timespec32(address),
        (Given::Timeval(address), Times::Narrow) => Given::Timeval32(address),
        (given, _) => given,
    };
    let arguments = &mut wait.made.arguments;
    wait.made.number = match wait.made.number {
        NANOSLEEP => {
            *arguments = [Clock::Monotonic.id().into(), 0, 0, arguments[1], 0, 0];
            wait.frame = 2;
            CLOCK_NANOSLEEP_TIME64
        }
        SELECT => {
            arguments[5] = 0;
            wait.form = Form::Duration;
            PSELECT6_TIME64
        }
        IO_GETEVENTS => {
            arguments[5] = 0;
            IO_PGETEVENTS_TIME64
        }
        number => {
            let mut wide = CALLS.iter().filter(|(.., times)| *times == Times::Wide);
            wide.find(|(_, native, _)| *native == number)?.0
        }
    };
    Some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Basis, Remaining};
    use crate::filter::{Exempt, Foreign, Refused, filter, verdict};
    use crate::{CLOCK_SETTERS, OTHER_EXECS};
    use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF};

    fn wait(number: u32, arguments: [u64; 6]) -> Wait {
        match decode(&Call { number, arguments }) {
            Some(Found::Kind(Kind::Wait(wait), _)) => wait,
            other => panic!("{number}: {other:?}"),
        }
    }

    #[test]
    fn every_wait_is_made_with_a_time_of_64_bits() {
        for (number, native, _) in CALLS {
            let Some(Found::Kind(Kind::Wait(wait), _)) = decode(&Call {
                number,
                arguments: [1, 9, 8, 8, 8, 0],
            }) else {
                continue;
            };
            let made = CALLS.iter().find(|(made, ..)| *made == wait.made.number);
            assert!(
                made.is_some_and(|(.., times)| *times == Times::Wide),
                "{number} {native}"
            );
            assert_eq!(wait.made.arguments[wait.frame], 0, "{number}");
            assert!(matches!(
                wait.form,
                Form::Duration | Form::Monotonic | Form::Realtime
            ));
        }
    }

    #[test]
    fn old_sleeps_and_selects_become_their_newer_siblings() {
        let sleep = wait(162, [8, 16, 77, 77, 77, 77]);
        assert_eq!((sleep.given, sleep.frame), (Given::Timespec32(8), 2));
        assert_eq!(sleep.remaining, Remaining::Interrupted(16));
        let made = Call {
            number: 407,
            arguments: [1, 0, 0, 16, 0, 0],
        };
        assert_eq!(sleep.made, made);
        let select = wait(142, [4, 1, 2, 3, 8, 77]);
        assert_eq!(
            (select.given, select.form),
            (Given::Timeval32(8), Form::Duration)
        );
        assert_eq!(
            select.made,
            Call {
                number: 413,
                arguments: [4, 1, 2, 3, 0, 0]
            }
        );
        let poll = wait(168, [10, 2, 1500, 77, 77, 77]);
        assert_eq!(
            poll.made,
            Call {
                number: 414,
                arguments: [10, 2, 0, 0, 8, 77]
            }
        );
        let futex = wait(240, [8, 9 | 256, 0, 16, 0, 1]);
        assert_eq!(futex.basis, Basis::Clock(Clock::Realtime));
        assert_eq!(
            (futex.made.number, futex.given),
            (422, Given::Timespec32(16))
        );
    }

    #[test]
    fn the_filter_hands_over_what_is_decoded_but_from_the_gate() {
        let exempt = Exempt {
            gate: 0x5000_0000..0x5000_1000,
            report: 0x5000_0102,
        };
        let rules = rules(Scope::All);
        let foreign = Foreign {
            architecture: AUDIT_I386,
            rules: &rules,
            exempt: Some(&exempt),
        };
        let native = call::rules(Scope::All);
        let refused = Refused {
            calls: &CLOCK_SETTERS,
            error: 1,
        };
        let code = filter(&native, &OTHER_EXECS, refused, Some(&exempt), Some(foreign));
        let verdict =
            |number, pointer, arguments| verdict(&code, AUDIT_I386, number, pointer, arguments);
        for number in 0..512 {
            for arguments in [[0; 6], [1; 6], [0, 1, 20, 0, 0, 0], [9; 6], [6; 6]] {
                let is_caught = verdict(number, 0x1000, arguments) == SECCOMP_RET_USER_NOTIF;
                let is_decoded = decode(&Call { number, arguments }).is_some();
                // The kernel answers for CPU-time clocks; a filter has no list of them.
                let is_exec = [11, 358].contains(&number);
                assert!(!is_decoded || is_caught, "{number} {arguments:?}");
                let has_clock = [267, 407, 449, 455].contains(&number);
                assert!(is_decoded || !is_caught || is_exec || has_clock, "{number}");
            }
        }
        for (architecture, number) in CLOCK_SETTERS {
            if architecture == AUDIT_I386 {
                assert_eq!(verdict(number, 0x1000, [1; 6]), SECCOMP_RET_ERRNO | 1);
            }
        }
        assert_eq!(verdict(407, 0x5000_0002, [1; 6]), SECCOMP_RET_ALLOW);
        assert_eq!(verdict(407, 0x5000_0102, [1; 6]), SECCOMP_RET_USER_NOTIF);
    }

    #[test]
    fn timers_and_socket_options_are_known_and_other_calls_are_not() {
        let timer = Call {
            number: 409,
            arguments: [1, 1, 8, 0, 0, 0],
        };
        let found = Found::Kind(Kind::SetTimer, Times::Wide);
        assert_eq!(decode(&timer), Some(found));
        let option = Call {
            number: 366,
            arguments: [3, 1, 20, 8, 8, 0],
        };
        assert_eq!(decode(&option), Some(Found::Unconverted));
        // read(2), and a futex operation without a time.
        for (number, second) in [(3, 1), (240, 1)] {
            assert_eq!(
                decode(&Call {
                    number,
                    arguments: [1, second, 1, 1, 1, 1]
                }),
                None
            );
        }
    }
}
