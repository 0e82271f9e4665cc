//! The rules of filters: which calls wait for a time, by their numbers and arguments.

use super::{
    ABSOLUTE, FUTEX_COMMAND, FUTEX_LOCK_PI, FUTEX_LOCK_PI2, FUTEX_REALTIME, FUTEX_WAIT_BITSET,
    FUTEX_WAIT_COMMAND, FUTEX_WAIT_REQUEUE_PI, SET_MODE_FILTER, SO_TIMEOUTS, Scope,
};
use crate::arch::number::{self, *};
use crate::filter::{Condition, Rule};
use vdsokit_clock::Clock;

/// The rules of a filter that hands over the calls of `scope`.
pub fn rules(scope: Scope) -> Vec<Rule> {
    use Condition::{AnyBit, Bits, NotZero, PositiveInt};
    let rule = |number, alternatives: &[&[Condition]]| Rule {
        number,
        alternatives: alternatives.iter().map(|all| all.to_vec()).collect(),
    };
    let command = |command: u64| Bits(1, FUTEX_COMMAND as u32, command as u32);
    let commands = FUTEX_COMMAND as u32 | FUTEX_REALTIME as u32;
    let wall_command = |command: u64| Bits(1, commands, (command | FUTEX_REALTIME) as u32);
    let lock_pi: &[Condition] = &[command(FUTEX_LOCK_PI), NotZero(3)];
    let is_wall = |argument| Bits(argument, u32::MAX, Clock::Realtime.id());
    // CPU-time clocks have other numbers, 2, 3 and negative ones; so has CLOCK_BOOTTIME, 7.
    let is_absolute = AnyBit(1, ABSOLUTE as u32);
    let mut rules = match scope {
        Scope::WallDeadlines => vec![
            rule(
                FUTEX,
                &[
                    &[wall_command(FUTEX_WAIT_BITSET), NotZero(3)],
                    &[wall_command(FUTEX_WAIT_REQUEUE_PI), NotZero(3)],
                    &[wall_command(FUTEX_LOCK_PI2), NotZero(3)],
                    lock_pi,
                ],
            ),
            rule(
                CLOCK_NANOSLEEP,
                &[
                    &[is_absolute, is_wall(0)],
                    &[is_absolute, Bits(0, u32::MAX, Clock::Tai.id())],
                    &[is_absolute, Bits(0, u32::MAX, Clock::RealtimeAlarm.id())],
                ],
            ),
            rule(FUTEX_WAITV, &[&[NotZero(3), is_wall(4)]]),
            rule(number::FUTEX_WAIT, &[&[NotZero(4), is_wall(5)]]),
            rule(MQ_TIMEDSEND, &[&[NotZero(4)]]),
            rule(MQ_TIMEDRECEIVE, &[&[NotZero(4)]]),
            rule(TIMERFD_SETTIME, &[&[is_absolute]]),
            // To a duration too, which ends one for a time of the clock.
            rule(TIMER_SETTIME, &[&[]]),
            rule(TIMER_DELETE, &[&[]]),
        ],
        Scope::All => {
            let timeouts = SO_TIMEOUTS.map(|option| {
                let level = libc::SOL_SOCKET as u32;
                vec![Bits(2, u32::MAX, option), Bits(1, u32::MAX, level)]
            });
            let timeouts: Vec<&[Condition]> = timeouts.iter().map(Vec::as_slice).collect();
            let real: &[&[Condition]] = &[&[Bits(0, u32::MAX, libc::ITIMER_REAL as u32)]];
            let anything: &[&[Condition]] = &[&[]];
            vec![
                rule(
                    FUTEX,
                    &[
                        &[command(FUTEX_WAIT_COMMAND), NotZero(3)],
                        &[command(FUTEX_WAIT_BITSET), NotZero(3)],
                        &[command(FUTEX_WAIT_REQUEUE_PI), NotZero(3)],
                        &[command(FUTEX_LOCK_PI2), NotZero(3)],
                        lock_pi,
                    ],
                ),
                rule(POLL, &[&[PositiveInt(2)]]),
                rule(EPOLL_WAIT, &[&[PositiveInt(3)]]),
                rule(EPOLL_PWAIT, &[&[PositiveInt(3)]]),
                rule(PPOLL, &[&[NotZero(2)]]),
                rule(SELECT, &[&[NotZero(4)]]),
                rule(PSELECT6, &[&[NotZero(4)]]),
                rule(EPOLL_PWAIT2, &[&[NotZero(3)]]),
                rule(NANOSLEEP, &[&[NotZero(0)]]),
                rule(CLOCK_NANOSLEEP, &[&[NotZero(2)]]),
                rule(FUTEX_WAITV, &[&[NotZero(3)]]),
                rule(number::FUTEX_WAIT, &[&[NotZero(4)]]),
                rule(RT_SIGTIMEDWAIT, &[&[NotZero(2)]]),
                rule(SEMTIMEDOP, &[&[NotZero(3)]]),
                rule(MQ_TIMEDSEND, &[&[NotZero(4)]]),
                rule(MQ_TIMEDRECEIVE, &[&[NotZero(4)]]),
                rule(RECVMMSG, &[&[NotZero(4)]]),
                rule(IO_GETEVENTS, &[&[NotZero(4)]]),
                rule(IO_PGETEVENTS, &[&[NotZero(4)]]),
                rule(TIMERFD_SETTIME, anything),
                rule(TIMERFD_GETTIME, anything),
                rule(TIMER_SETTIME, anything),
                rule(TIMER_GETTIME, anything),
                rule(TIMER_DELETE, anything),
                rule(ALARM, anything),
                rule(SETITIMER, real),
                rule(GETITIMER, real),
                rule(SETSOCKOPT, &timeouts),
                rule(GETSOCKOPT, &timeouts),
            ]
        }
    };
    rules.extend(watched());
    rules
}

/// The rules for calls that say what can't be converted: how else a program waits or reads file times, and
/// that it has a filter of its own.
fn watched() -> Vec<Rule> {
    let rule = |number, condition: Option<Condition>| Rule {
        number,
        alternatives: vec![condition.into_iter().collect()],
    };
    let filter = |operation| Some(Condition::Bits(0, u32::MAX, operation));
    vec![
        rule(IO_URING_SETUP, None),
        rule(SECCOMP, filter(SET_MODE_FILTER as u32)),
        rule(PRCTL, filter(libc::PR_SET_SECCOMP as u32)),
    ]
}
