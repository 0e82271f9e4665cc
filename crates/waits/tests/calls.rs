//! The table of calls that take a time, from the man page of each call.
#![cfg(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
))]

use vdsokit_clock::Clock;
use vdsokit_waits::call::{
    Basis, Call, Direction, Form, Given, Kind, Numbers, Remaining, Restart, Wait, socket_wait,
    timeout_direction,
};
use vdsokit_waits::number::*;

/// The address of a time-out.
const TIME: u64 = 0x1000;
/// The address of the time that remains.
const LEFT: u64 = 0x2000;

const PRIVATE: u64 = 128;
const CLOCK_REALTIME: u64 = 256;

const CALL: Basis = Basis::Call;
const MONOTONIC: Basis = Basis::Clock(Clock::Monotonic);
const REALTIME: Basis = Basis::Clock(Clock::Realtime);

fn kind(number: u32, arguments: [u64; 6]) -> Option<Kind> {
    Kind::decode(&Call { number, arguments }, Numbers::Finest)
}

fn wait(number: u32, arguments: [u64; 6]) -> Wait {
    match kind(number, arguments) {
        Some(Kind::Wait(wait)) => wait,
        other => panic!("{number} {arguments:?}: {other:?}"),
    }
}

#[test]
fn each_wait_has_the_basis_form_and_result_of_its_call() {
    use Form::{Duration, Microseconds, Monotonic, Realtime};
    use Remaining::{Always, Interrupted, None as Never, Received};
    use Restart::{Always as Restarted, Flag, NoHandler};
    let (spec, val) = (Given::Timespec(TIME), Given::Timeval(TIME));
    #[rustfmt::skip]
    let table = [
        (NANOSLEEP, [TIME, LEFT, 0, 0, 0, 0], spec, CALL, Duration, 0, Interrupted(LEFT), NoHandler),
        (NANOSLEEP, [TIME, 0, 0, 0, 0, 0], spec, CALL, Duration, 0, Never, NoHandler),
        (CLOCK_NANOSLEEP, [1, 0, TIME, LEFT, 0, 0], spec, CALL, Duration, 2, Interrupted(LEFT), NoHandler),
        (CLOCK_NANOSLEEP, [1, 2, TIME, 0, 0, 0], spec, CALL, Duration, 2, Never, NoHandler),
        (CLOCK_NANOSLEEP, [0, 1, TIME, LEFT, 0, 0], spec, REALTIME, Monotonic, 2, Never, NoHandler),
        (FUTEX, [8, 0, 7, TIME, 0, 0], spec, CALL, Duration, 3, Never, NoHandler),
        (FUTEX, [8, 9 | PRIVATE, 7, TIME, 0, 1], spec, MONOTONIC, Monotonic, 3, Never, NoHandler),
        (FUTEX, [8, 11 | CLOCK_REALTIME, 7, TIME, 0, 1], spec, REALTIME, Monotonic, 3, Never, NoHandler),
        (FUTEX, [8, 13, 7, TIME, 0, 0], spec, MONOTONIC, Monotonic, 3, Never, Restarted),
        (FUTEX, [8, 13 | CLOCK_REALTIME, 7, TIME, 0, 0], spec, REALTIME, Monotonic, 3, Never, Restarted),
        (FUTEX, [8, 6 | PRIVATE, 7, TIME, 0, 0], spec, REALTIME, Realtime, 3, Never, Restarted),
        (FUTEX_WAITV, [8, 1, 0, TIME, 0, 0], spec, REALTIME, Monotonic, 3, Never, NoHandler),
        (FUTEX_WAIT, [8, 7, 1, 2, TIME, 0], spec, REALTIME, Monotonic, 4, Never, NoHandler),
        (PPOLL, [8, 1, TIME, 0, 8, 0], spec, CALL, Duration, 2, Always(TIME), NoHandler),
        (PSELECT6, [1, 8, 0, 0, TIME, 0], spec, CALL, Duration, 4, Always(TIME), NoHandler),
        (EPOLL_PWAIT2, [3, 8, 1, TIME, 0, 8], spec, CALL, Duration, 3, Never, NoHandler),
        (SEMTIMEDOP, [3, 8, 1, TIME, 0, 0], spec, CALL, Duration, 3, Never, NoHandler),
        (RT_SIGTIMEDWAIT, [8, 0, TIME, 8, 0, 0], spec, CALL, Duration, 2, Never, NoHandler),
        (MQ_TIMEDSEND, [3, 8, 1, 0, TIME, 0], spec, REALTIME, Realtime, 4, Never, Flag),
        (MQ_TIMEDRECEIVE, [3, 8, 1, 0, TIME, 0], spec, REALTIME, Realtime, 4, Never, Flag),
        (RECVMMSG, [3, 8, 1, 0, TIME, 0], spec, CALL, Duration, 4, Received(TIME), Flag),
        (IO_GETEVENTS, [3, 1, 1, 8, TIME, 0], spec, CALL, Duration, 4, Never, NoHandler),
        (IO_PGETEVENTS, [3, 1, 1, 8, TIME, 0], spec, CALL, Duration, 4, Never, NoHandler),
        (SELECT, [1, 8, 0, 0, TIME, 0], val, CALL, Microseconds, 4, Always(TIME), NoHandler),
    ];
    for (number, arguments, given, basis, form, frame, remaining, restart) in table {
        // AArch64 has no select(2).
        if number == SELECT && !cfg!(target_arch = "x86_64") {
            continue;
        }
        let wait = wait(number, arguments);
        let what = format!("{number} {arguments:?}");
        assert_eq!((wait.given, wait.basis), (given, basis), "{what}");
        assert_eq!((wait.form, wait.frame), (form, frame), "{what}");
        assert_eq!(
            (wait.remaining, wait.restart),
            (remaining, restart),
            "{what}"
        );
        assert_eq!((wait.made.number, wait.signals), (number, 0), "{what}");
        // Without the time-out the call waits for ever.
        let mut endless = arguments;
        endless[frame] = 0;
        assert_eq!(kind(number, endless), None, "{what}");
    }
}

/// A deadline of any clock is given to the kernel as one of CLOCK_MONOTONIC.
#[test]
fn a_clock_that_a_call_refuses_is_left_to_the_kernel() {
    let refused = |number, arguments| {
        let call = Call { number, arguments };
        Kind::decode(&call, Numbers::Finest).is_none()
    };
    for clock in Clock::ALL {
        let id = u64::from(clock.id());
        let never = clock.is_coarse() || clock == Clock::MonotonicRaw;
        let sleeps = [id, 0, TIME, 0, 0, 0];
        assert_eq!(refused(CLOCK_NANOSLEEP, sleeps), never, "{clock:?}");
        let never = !matches!(clock, Clock::Realtime | Clock::Monotonic);
        let waits = [8, 1, 0, TIME, id, 0];
        assert_eq!(refused(FUTEX_WAITV, waits), never, "{clock:?}");
    }
}

#[test]
fn a_converted_deadline_names_the_monotonic_clock() {
    let monotonic = u64::from(Clock::Monotonic.id());
    let made = |number, arguments| wait(number, arguments).made.arguments;
    let sleep = made(CLOCK_NANOSLEEP, [0, 1, TIME, 0, 0, 0]);
    assert_eq!(sleep, [monotonic, 1, 0, 0, 0, 0]);
    let waitv = made(FUTEX_WAITV, [8, 1, 0, TIME, 0, 0]);
    assert_eq!(waitv, [8, 1, 0, 0, monotonic, 0]);
    let futex = made(FUTEX_WAIT, [8, 7, 1, 2, TIME, 0]);
    assert_eq!(futex, [8, 7, 1, 2, 0, monotonic]);
    let requeue = made(FUTEX, [8, 11 | CLOCK_REALTIME, 7, TIME, 9, 1]);
    assert_eq!(requeue, [8, 11, 7, 0, 9, 1]);
    // This one has no flag for its clock, and keeps what it was given.
    let lock = made(FUTEX, [8, 6 | CLOCK_REALTIME, 7, TIME, 0, 0]);
    assert_eq!(lock, [8, 6 | CLOCK_REALTIME, 7, 0, 0, 0]);
}

#[test]
fn a_filter_is_installed_by_either_call() {
    let set_seccomp = libc::PR_SET_SECCOMP as u64;
    assert_eq!(
        kind(PRCTL, [set_seccomp, 2, 8, 0, 0, 0]),
        Some(Kind::InstallFilter)
    );
    assert_eq!(kind(PRCTL, [set_seccomp + 1, 2, 8, 0, 0, 0]), None);
    assert_eq!(kind(SECCOMP, [1, 0, 8, 0, 0, 0]), Some(Kind::InstallFilter));
    assert_eq!(kind(SECCOMP, [2, 0, 8, 0, 0, 0]), None);
}

/// socket(7) and include/uapi/asm-generic/socket.h.
#[test]
fn the_timeouts_of_a_socket_end_the_calls_that_wait_for_it() {
    for option in 0..128 {
        let expected = match option {
            20 | 66 => Some(Direction::Receive),
            21 | 67 => Some(Direction::Send),
            _ => None,
        };
        assert_eq!(timeout_direction(option), expected, "{option}");
    }
    let again = |direction| Some((direction, libc::EAGAIN));
    for number in [READ, READV, RECVFROM, RECVMSG, RECVMMSG, ACCEPT, ACCEPT4] {
        assert_eq!(socket_wait(number), again(Direction::Receive), "{number}");
    }
    for number in [WRITE, WRITEV, SENDTO, SENDMSG, SENDMMSG, SENDFILE] {
        assert_eq!(socket_wait(number), again(Direction::Send), "{number}");
    }
    let connect = Some((Direction::Send, libc::EINPROGRESS));
    assert_eq!(socket_wait(CONNECT), connect);
    assert_eq!(socket_wait(NANOSLEEP), None);
}

/// include/linux/errno.h.
#[test]
fn a_call_that_a_signal_ends_fails_with_the_error_by_which_the_kernel_restarts_it() {
    for (restart, error) in [
        (Restart::Flag, 512),
        (Restart::Always, 513),
        (Restart::NoHandler, 514),
    ] {
        assert_eq!(restart.value() as i64, -error, "{restart:?}");
    }
}
