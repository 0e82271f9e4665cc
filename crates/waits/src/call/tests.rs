use super::*;
use crate::AUDIT;
use crate::filter::{Exempt, Refused, filter, verdict};

fn call(number: u32, arguments: [u64; 6]) -> Call {
    Call { number, arguments }
}

fn wait(number: u32, arguments: [u64; 6]) -> Option<Wait> {
    wait_by(Numbers::Finest, number, arguments)
}

fn wait_by(numbers: Numbers, number: u32, arguments: [u64; 6]) -> Option<Wait> {
    match Kind::decode(&call(number, arguments), numbers)? {
        Kind::Wait(wait) => Some(wait),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_frame_takes_the_place_of_the_timeout_or_of_what_the_made_call_has_there() {
    let ones = [1u64; 6];
    let both = [Numbers::Finest, Numbers::Own];
    for (number, numbers) in (0..512).flat_map(|number| both.map(|which| (number, which))) {
        let Some(wait) = Wait::decode(&call(number, ones), numbers) else {
            continue;
        };
        assert!(wait.frame < 6, "{number}: there is an entry for it");
        assert_eq!(wait.made.arguments[wait.frame], 0, "{number}");
    }
}

#[test]
fn the_clock_of_a_deadline_is_the_calls_own() {
    let bitset = |flags| wait(FUTEX, [1, FUTEX_WAIT_BITSET | flags, 0, 8, 0, 1]);
    let plain = bitset(128).expect("a wait");
    assert_eq!(plain.basis, Basis::Clock(Clock::Monotonic));
    assert_eq!(plain.made.arguments[1], FUTEX_WAIT_BITSET | 128);
    let wall = bitset(128 | FUTEX_REALTIME).expect("a wait");
    assert_eq!(wall.basis, Basis::Clock(Clock::Realtime));
    assert_eq!(wall.made.arguments[1], FUTEX_WAIT_BITSET | 128);
    let pi = wait(FUTEX, [1, FUTEX_LOCK_PI, 0, 8, 0, 0]).expect("a wait");
    assert_eq!(pi.basis, Basis::Clock(Clock::Realtime));
    assert_eq!(pi.form, Form::Realtime);
    assert_eq!(wait(FUTEX, [1, 1, 0, 8, 0, 0]), None);
    for cpu in [2, 3, -6i64 as u64] {
        assert_eq!(wait(CLOCK_NANOSLEEP, [cpu, 0, 8, 0, 0, 0]), None);
    }
}

#[test]
fn a_futex_wait_compares_its_word_unless_it_is_refused() {
    let compared = |arguments| call(FUTEX, arguments).compared();
    let bitset = FUTEX_WAIT_BITSET | FUTEX_PRIVATE | FUTEX_REALTIME;
    assert_eq!(compared([64, bitset, 7, 8, 0, 1]), Some((64, 7)));
    assert_eq!(
        compared([64, FUTEX_PRIVATE, 1 << 32 | 7, 8, 0, 0]),
        Some((64, 7))
    );
    // EINVAL: no bit, and a word that is not aligned. ENOSYS: another flag, or a clock for FUTEX_WAIT.
    assert_eq!(compared([64, bitset, 7, 8, 0, 0]), None);
    assert_eq!(compared([66, bitset, 7, 8, 0, 1]), None);
    assert_eq!(compared([64, bitset | 512, 7, 8, 0, 1]), None);
    assert_eq!(compared([64, FUTEX_REALTIME, 7, 8, 0, 0]), None);
    assert_eq!(compared([64, FUTEX_LOCK_PI, 7, 8, 0, 1]), None);
    assert_eq!(call(NANOSLEEP, [64, 0, 7, 8, 0, 1]).compared(), None);
}

#[test]
fn milliseconds_become_a_timespec_of_the_sibling_call() {
    let poll = wait(POLL, [10, 2, 1500, 77, 77, 77]).expect("a wait");
    assert_eq!(poll.given, Given::Milliseconds(1500));
    assert_eq!(poll.made, call(PPOLL, [10, 2, 0, 0, 8, 77]));
    let epoll = wait(EPOLL_WAIT, [3, 10, 4, 20, 77, 77]).expect("a wait");
    assert_eq!(epoll.made, call(EPOLL_PWAIT2, [3, 10, 4, 0, 0, 8]));
    let pwait = wait(EPOLL_PWAIT, [3, 10, 4, 20, 99, 8]).expect("a wait");
    assert_eq!(pwait.made, call(EPOLL_PWAIT2, [3, 10, 4, 0, 99, 8]));
    let select = wait(SELECT, [1, 2, 3, 4, 5, 77]).expect("a wait");
    assert_eq!(select.made, call(SELECT, [1, 2, 3, 4, 0, 77]));
    assert_eq!(wait(POLL, [10, 2, -1i64 as u64, 0, 0, 0]), None);
    assert_eq!(wait(POLL, [10, 2, 0, 0, 0, 0]), None);
}

#[test]
fn calls_that_a_filter_of_the_programs_may_not_expect_are_not_made() {
    let own = |number, arguments| wait_by(Numbers::Own, number, arguments).expect("a wait");
    for number in [
        POLL,
        SELECT,
        EPOLL_WAIT,
        EPOLL_PWAIT,
        PPOLL,
        FUTEX,
        NANOSLEEP,
    ] {
        let arguments = [1, if number == FUTEX { 0 } else { 2 }, 3, 4, 5, 8];
        assert_eq!(own(number, arguments).made.number, number);
    }
    let poll = own(POLL, [10, 2, 1500, 77, 77, 77]);
    assert_eq!((poll.frame, poll.form), (3, Form::Milliseconds(2)));
    assert_eq!(own(EPOLL_WAIT, [3, 10, 4, 20, 77, 77]).frame, 4);
    let pwait = own(EPOLL_PWAIT, [3, 10, 4, 20, 0, 8]);
    assert_eq!((pwait.frame, pwait.signals), (5, 0));
    let pwait = own(EPOLL_PWAIT, [3, 10, 4, 20, 99, 8]);
    assert_eq!((pwait.frame, pwait.signals), (4, 99));
    assert_eq!(pwait.made.arguments[5], 8);
}

#[test]
fn the_filter_hands_over_what_the_table_decodes() {
    let code = filter(&rules(Scope::All), &[], Refused::default(), None, None);
    let is_caught = |number, arguments| {
        verdict(&code, AUDIT, number, 0, arguments) == libc::SECCOMP_RET_USER_NOTIF
    };
    for number in 0..512 {
        for arguments in [[0; 6], [1; 6], [0, 1, 20, 0, 0, 0], [9; 6], [6; 6]] {
            let decoded = Kind::decode(&call(number, arguments), Numbers::Finest).is_some();
            // The kernel answers for CPU-time clocks; a filter has no list of them.
            let is_clock = [CLOCK_NANOSLEEP, FUTEX_WAITV, number::FUTEX_WAIT].contains(&number);
            if is_clock {
                assert!(!decoded || is_caught(number, arguments), "{number}");
            } else {
                assert_eq!(
                    decoded,
                    is_caught(number, arguments),
                    "{number} {arguments:?}"
                );
            }
        }
    }
}

#[test]
fn an_offset_alone_touches_wall_deadlines_only() {
    let exempt = Exempt {
        gate: 0x1000..0x2000,
        report: 0x1010,
    };
    let code = filter(
        &rules(Scope::WallDeadlines),
        &[],
        Refused::default(),
        Some(&exempt),
        None,
    );
    let is_caught = |number, arguments| {
        verdict(&code, AUDIT, number, 0, arguments) == libc::SECCOMP_RET_USER_NOTIF
    };
    assert!(is_caught(FUTEX, [1, 9 | 128 | 256, 0, 8, 0, 0]));
    assert!(!is_caught(FUTEX, [1, 9 | 128, 0, 8, 0, 0]));
    assert!(!is_caught(FUTEX, [1, 9 | 128 | 256, 0, 0, 0, 0]));
    assert!(!is_caught(FUTEX, [1, 128, 0, 8, 0, 0]));
    assert!(is_caught(CLOCK_NANOSLEEP, [0, 1, 8, 0, 0, 0]));
    assert!(!is_caught(CLOCK_NANOSLEEP, [0, 0, 8, 0, 0, 0]));
    assert!(!is_caught(CLOCK_NANOSLEEP, [1, 1, 8, 0, 0, 0]));
    // It may wait for a wall time, too (IORING_TIMEOUT_REALTIME).
    assert!(is_caught(IO_URING_SETUP, [8, 8, 0, 0, 0, 0]));
    for number in [POLL, NANOSLEEP, EPOLL_WAIT, SELECT, ALARM, SETITIMER] {
        assert!(!is_caught(number, [1; 6]), "{number}");
    }
}
