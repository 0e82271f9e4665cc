//! The table of calls that take a time: how their time is given, and how each is made with a
//! converted one.
//!
//! Sources: the man page of each call, and for what they leave out kernel/futex/syscalls.c,
//! fs/select.c and kernel/time/*.c of Linux.

use vdsokit_clock::Clock;

use crate::arch::number::{self, *};
pub use rules::rules;

/// A system call as a thread makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its number.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Call {
    /// The word that a futex wait compares before it waits, and what it expects there: while the word
    /// is another, the call fails with EAGAIN at once (futex(2), `FUTEX_WAIT`). `None`: the call is
    /// no such wait, or is refused.
    pub fn compared(&self) -> Option<(u64, u32)> {
        let [word, operation, expected, _, _, bits] = self.arguments;
        // The kernel takes both as 32 bits.
        let (operation, bits) = (operation as u32, bits as u32);
        let command = operation & !(FUTEX_PRIVATE | FUTEX_REALTIME) as u32;
        let is_wait = match u64::from(command) {
            FUTEX_WAIT_COMMAND => operation & FUTEX_REALTIME as u32 == 0,
            FUTEX_WAIT_BITSET => bits != 0,
            _ => false,
        };
        let is_compared = self.number == FUTEX && is_wait && word.is_multiple_of(4);
        is_compared.then_some((word, expected as u32))
    }
}

/// How a call gives its time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// As milliseconds, in a register.
    Milliseconds(i32),
    /// As a `struct timespec` at this address.
    Timespec(u64),
    /// As a `struct timeval` at this address.
    Timeval(u64),
    /// As a `struct timespec` with numbers of 32 bits.
    Timespec32(u64),
    /// As a `struct timeval` with numbers of 32 bits.
    Timeval32(u64),
}

/// From when a time-out counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// From the call.
    Call,
    /// It is a time of this clock.
    Clock(Clock),
}

/// How the kernel is given the converted time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A duration, as a `struct timespec`.
    Duration,
    /// A duration, as a `struct timeval`.
    Microseconds,
    /// A duration in milliseconds, in this argument. The frame has no time.
    Milliseconds(usize),
    /// A time of `CLOCK_MONOTONIC`.
    Monotonic,
    /// A time of `CLOCK_REALTIME`.
    Realtime,
}

/// When a call's result is reported before the program sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remaining {
    /// Never: the call says nothing of the time that remains.
    None,
    /// The time that remains is written to this address, as given, whatever the result is: but for
    /// errors that are found before the call looks at anything (fs/select.c, `set_user_sigmask`).
    Always(u64),
    /// It is written there when a signal ended the call.
    Interrupted(u64),
    /// It is written there when messages came (recvmmsg(2)).
    Received(u64),
}

/// What a call fails with when a signal ends it, as the kernel has it inside
/// (include/linux/errno.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// `ERESTARTNOHAND`: restarted unless a handler runs.
    NoHandler,
    /// `ERESTARTSYS`: restarted unless a handler without `SA_RESTART` runs.
    Flag,
    /// `ERESTARTNOINTR`: always restarted.
    Always,
}

impl Restart {
    /// The value of the result register.
    pub fn value(self) -> u64 {
        let error: i64 = match self {
            Restart::Flag => 512,
            Restart::Always => 513,
            Restart::NoHandler => 514,
        };
        (-error) as u64
    }
}

/// A wait with a time-out, and how it is made through the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The time-out.
    pub given: Given,
    /// From when it counts.
    pub basis: Basis,
    /// How it is given to the kernel.
    pub form: Form,
    /// The call to make, in which argument `frame` is to be the frame's address.
    pub made: Call,
    /// See `made`.
    pub frame: usize,
    /// The address of a signal set that the frame has to begin with, if it is not 0.
    pub signals: u64,
    /// Whether the kernel writes the time that remains into the time-out, or to an address.
    pub remaining: Remaining,
    /// What it fails with inside the kernel.
    pub restart: Restart,
}

/// Which time-out of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// SO_RCVTIMEO.
    Receive,
    /// SO_SNDTIMEO.
    Send,
}

/// The time-out that a socket option sets, by its old number or the one for 64-bit times.
pub fn timeout_direction(option: u32) -> Option<Direction> {
    match option {
        20 | 66 => Some(Direction::Receive),
        21 | 67 => Some(Direction::Send),
        _ => None,
    }
}

/// The time-out of its first argument, a socket, that ends the call `number`, and the error with
/// which it then fails (socket(7), connect(2)).
pub fn socket_wait(number: u32) -> Option<(Direction, i32)> {
    match number {
        READ | READV | RECVFROM | RECVMSG | RECVMMSG | ACCEPT | ACCEPT4 => {
            Some((Direction::Receive, libc::EAGAIN))
        }
        WRITE | WRITEV | SENDTO | SENDMSG | SENDMMSG | SENDFILE => {
            Some((Direction::Send, libc::EAGAIN))
        }
        CONNECT => Some((Direction::Send, libc::EINPROGRESS)),
        _ => None,
    }
}

/// What is to be done about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A wait.
    Wait(Wait),
    /// timerfd_settime(2).
    SetTimerfd,
    /// timerfd_gettime(2).
    GetTimerfd,
    /// timer_settime(2).
    SetTimer,
    /// timer_gettime(2).
    GetTimer,
    /// timer_delete(2).
    DeleteTimer,
    /// setitimer(2) of the timer that counts real time.
    SetItimer,
    /// getitimer(2) of the same.
    GetItimer,
    /// alarm(2).
    Alarm,
    /// setsockopt(2) of a time-out.
    SetSocketTimeout,
    /// getsockopt(2) of one.
    GetSocketTimeout,
    /// io_uring_setup(2).
    IoUring,
    /// seccomp(2) or prctl(2) that installs a filter.
    InstallFilter,
}

/// Whether a call may be made by the number of its sibling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// By the one that takes nanoseconds, where there is one.
    Finest,
    /// By its own only: a filter of the program's may forbid the sibling.
    Own,
}

/// Which waits are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those until a time of a wall clock: nothing else is touched where wall clocks are moved.
    WallDeadlines,
    /// All.
    All,
}

/// `FUTEX_PRIVATE_FLAG` (include/uapi/linux/futex.h).
const FUTEX_PRIVATE: u64 = 128;
/// `FUTEX_CLOCK_REALTIME`.
const FUTEX_REALTIME: u64 = 256;
/// What of a futex operation is the command.
pub(crate) const FUTEX_COMMAND: u64 = 0x7f;
pub(crate) const FUTEX_WAIT_COMMAND: u64 = 0;
const FUTEX_LOCK_PI: u64 = 6;
pub(crate) const FUTEX_WAIT_BITSET: u64 = 9;
const FUTEX_WAIT_REQUEUE_PI: u64 = 11;
const FUTEX_LOCK_PI2: u64 = 13;
/// `TIMER_ABSTIME` and `TFD_TIMER_ABSTIME`.
pub const ABSOLUTE: u64 = 1;
const MONOTONIC: u64 = Clock::Monotonic.id() as u64;
/// Bytes of a signal set.
const SIGNAL_SET: u64 = 8;
/// `SECCOMP_SET_MODE_FILTER` (include/uapi/linux/seccomp.h).
const SET_MODE_FILTER: u64 = 1;
/// Socket options (include/uapi/asm-generic/socket.h).
const SO_TIMEOUTS: [u32; 4] = [20, 21, 66, 67];

impl Wait {
    /// Decodes a call with a time-out. `None`: it has none, or one that is no business of a clock
    /// that can be moved.
    fn decode(call: &Call, numbers: Numbers) -> Option<Wait> {
        let Call {
            number,
            arguments: a,
        } = *call;
        let mut made = *call;
        let given = Given::Timespec;
        // What most are: a duration at an address, which goes where the frame's address goes.
        let mut wait = |frame: usize, given, basis, form, remaining, restart| {
            made.arguments[frame] = 0;
            Wait {
                given,
                basis,
                form,
                made,
                frame,
                signals: 0,
                remaining,
                restart,
            }
        };
        let duration = |frame: usize| (frame, given(a[frame]), Basis::Call, Form::Duration);
        let clock = |id: u64, is_one: fn(Clock) -> bool| {
            let clock = Clock::from_id(id as u32).filter(|&clock| is_one(clock));
            clock.map(Basis::Clock)
        };
        let wall = Basis::Clock(Clock::Realtime);
        let none = Remaining::None;
        let left = |address: u64| match address {
            0 => Remaining::None,
            address => Remaining::Interrupted(address),
        };
        let found = match number {
            NANOSLEEP => {
                let (frame, given, basis, form) = duration(0);
                wait(frame, given, basis, form, left(a[1]), Restart::NoHandler)
            }
            CLOCK_NANOSLEEP => {
                let of = clock(a[0], is_slept_on)?;
                let is_absolute = a[1] & ABSOLUTE != 0;
                let (basis, form, remaining) = match is_absolute {
                    true => (of, Form::Monotonic, Remaining::None),
                    false => (Basis::Call, Form::Duration, left(a[3])),
                };
                let mut wait = wait(2, given(a[2]), basis, form, remaining, Restart::NoHandler);
                wait.made.arguments[0] = MONOTONIC;
                wait
            }
            FUTEX => {
                let is_wall = a[1] & FUTEX_REALTIME != 0;
                let clock = if is_wall {
                    Clock::Realtime
                } else {
                    Clock::Monotonic
                };
                let (basis, form, restart) = match a[1] & FUTEX_COMMAND {
                    FUTEX_WAIT_COMMAND => (Basis::Call, Form::Duration, Restart::NoHandler),
                    FUTEX_WAIT_BITSET => (Basis::Clock(clock), Form::Monotonic, Restart::NoHandler),
                    FUTEX_WAIT_REQUEUE_PI => {
                        (Basis::Clock(clock), Form::Monotonic, Restart::NoHandler)
                    }
                    FUTEX_LOCK_PI2 => (Basis::Clock(clock), Form::Monotonic, Restart::Always),
                    // Has no flag for its clock.
                    FUTEX_LOCK_PI => (wall, Form::Realtime, Restart::Always),
                    _ => return None,
                };
                let mut wait = wait(3, given(a[3]), basis, form, none, restart);
                if form == Form::Monotonic {
                    wait.made.arguments[1] &= !FUTEX_REALTIME;
                }
                wait
            }
            FUTEX_WAITV => {
                let of = clock(a[4], is_of_futexes)?;
                let mut wait = wait(
                    3,
                    given(a[3]),
                    of,
                    Form::Monotonic,
                    none,
                    Restart::NoHandler,
                );
                wait.made.arguments[4] = MONOTONIC;
                wait
            }
            number::FUTEX_WAIT => {
                let of = clock(a[5], is_of_futexes)?;
                let mut wait = wait(
                    4,
                    given(a[4]),
                    of,
                    Form::Monotonic,
                    none,
                    Restart::NoHandler,
                );
                wait.made.arguments[5] = MONOTONIC;
                wait
            }
            POLL if numbers == Numbers::Own => milliseconds(call, 2, 3),
            POLL => {
                let given = Given::Milliseconds(a[2] as i32);
                let duration = Form::Duration;
                let mut wait = wait(2, given, Basis::Call, duration, none, Restart::NoHandler);
                wait.made.number = PPOLL;
                wait.made.arguments[3..5].copy_from_slice(&[0, SIGNAL_SET]);
                wait
            }
            PPOLL => {
                let (frame, given, basis, form) = duration(2);
                let remaining = Remaining::Always(a[2]);
                wait(frame, given, basis, form, remaining, Restart::NoHandler)
            }
            SELECT => {
                let (given, remaining) = (Given::Timeval(a[4]), Remaining::Always(a[4]));
                let (basis, form) = (Basis::Call, Form::Microseconds);
                wait(4, given, basis, form, remaining, Restart::NoHandler)
            }
            PSELECT6 => {
                let (frame, given, basis, form) = duration(4);
                let remaining = Remaining::Always(a[4]);
                wait(frame, given, basis, form, remaining, Restart::NoHandler)
            }
            EPOLL_WAIT if numbers == Numbers::Own => milliseconds(call, 3, 4),
            // Without a signal set its length is not looked at (kernel/signal.c,
            // `set_user_sigmask`).
            EPOLL_PWAIT if numbers == Numbers::Own && a[4] == 0 => milliseconds(call, 3, 5),
            EPOLL_PWAIT if numbers == Numbers::Own => Wait {
                signals: a[4],
                ..milliseconds(call, 3, 4)
            },
            EPOLL_WAIT | EPOLL_PWAIT => {
                let given = Given::Milliseconds(a[3] as i32);
                let duration = Form::Duration;
                let mut wait = wait(3, given, Basis::Call, duration, none, Restart::NoHandler);
                wait.made.number = EPOLL_PWAIT2;
                if number == EPOLL_WAIT {
                    wait.made.arguments[4..].copy_from_slice(&[0, SIGNAL_SET]);
                }
                wait
            }
            EPOLL_PWAIT2 | SEMTIMEDOP => {
                let (frame, given, basis, form) = duration(3);
                wait(frame, given, basis, form, none, Restart::NoHandler)
            }
            RT_SIGTIMEDWAIT => {
                let (frame, given, basis, form) = duration(2);
                wait(frame, given, basis, form, none, Restart::NoHandler)
            }
            MQ_TIMEDSEND | MQ_TIMEDRECEIVE => {
                wait(4, given(a[4]), wall, Form::Realtime, none, Restart::Flag)
            }
            RECVMMSG => {
                let (frame, given, basis, form) = duration(4);
                let remaining = Remaining::Received(a[4]);
                wait(frame, given, basis, form, remaining, Restart::Flag)
            }
            IO_GETEVENTS | IO_PGETEVENTS => {
                let (frame, given, basis, form) = duration(4);
                wait(frame, given, basis, form, none, Restart::NoHandler)
            }
            _ => return None,
        };
        match found.given {
            Given::Timespec(0) | Given::Timeval(0) => None,
            Given::Milliseconds(time) if time <= 0 => None,
            _ => Some(found),
        }
    }
}

/// Whether clock_nanosleep(2) sleeps on a clock. On the others it fails with EOPNOTSUPP
/// (kernel/time/posix-timers.c, `posix_clocks`).
fn is_slept_on(clock: Clock) -> bool {
    !clock.is_coarse() && clock != Clock::MonotonicRaw
}

/// Whether futex_waitv(2) and futex_wait(2) wait by a clock. By the others they fail with EINVAL
/// (kernel/futex/syscalls.c, `futex2_setup_timeout`).
fn is_of_futexes(clock: Clock) -> bool {
    matches!(clock, Clock::Realtime | Clock::Monotonic)
}

/// A wait whose time-out is in milliseconds in `argument`, made by its own number. The frame is in
/// an argument that the call has not.
fn milliseconds(call: &Call, argument: usize, frame: usize) -> Wait {
    let mut made = *call;
    made.arguments[frame] = 0;
    Wait {
        given: Given::Milliseconds(call.arguments[argument] as i32),
        basis: Basis::Call,
        form: Form::Milliseconds(argument),
        made,
        frame,
        signals: 0,
        remaining: Remaining::None,
        restart: Restart::NoHandler,
    }
}

impl Kind {
    /// What a call that was handed over is.
    pub fn decode(call: &Call, numbers: Numbers) -> Option<Kind> {
        let [first, second, third, ..] = call.arguments;
        let is_real = first == libc::ITIMER_REAL as u64;
        let is_timeout = second as i32 == libc::SOL_SOCKET && SO_TIMEOUTS.contains(&(third as u32));
        Some(match call.number {
            TIMERFD_SETTIME => Kind::SetTimerfd,
            TIMERFD_GETTIME => Kind::GetTimerfd,
            TIMER_SETTIME => Kind::SetTimer,
            TIMER_GETTIME => Kind::GetTimer,
            TIMER_DELETE => Kind::DeleteTimer,
            SETITIMER if is_real => Kind::SetItimer,
            GETITIMER if is_real => Kind::GetItimer,
            ALARM => Kind::Alarm,
            SETSOCKOPT if is_timeout => Kind::SetSocketTimeout,
            GETSOCKOPT if is_timeout => Kind::GetSocketTimeout,
            IO_URING_SETUP => Kind::IoUring,
            SECCOMP if first == SET_MODE_FILTER => Kind::InstallFilter,
            PRCTL if first == libc::PR_SET_SECCOMP as u64 => Kind::InstallFilter,
            _ => Kind::Wait(Wait::decode(call, numbers)?),
        })
    }
}

mod rules;
#[cfg(test)]
mod tests;
