//! The times of waits: as programs give them, and as the kernel is given them.

use vdsokit_clock::{Clock, KernelTime};
use vdsokit_waits::call::{Call, Form, Given};
use vdsokit_waits::course::{Course, Nanoseconds};

use super::process;
use super::waits::{FOREVER, SECOND, Times, Waiting};
use crate::sys::Pid;

/// The time-out that a call gives, in nanoseconds. `None`: it is none, and the kernel says so.
pub(super) fn given(thread: Pid, given: Given) -> Option<Nanoseconds> {
    let (address, unit) = match given {
        Given::Milliseconds(time) => return Some(Nanoseconds::from(time) * 1_000_000),
        Given::Timespec(address) => (address, 1),
        Given::Timeval(address) => {
            // select(2) takes any number of microseconds (fs/select.c, `kern_select`).
            let [seconds, part] = process::words::<2>(thread, address).ok()?;
            let (more, part) = (part / 1_000_000, part % 1_000_000);
            return nanoseconds(seconds.checked_add(more)?, part, 1000);
        }
        Given::Timespec32(address) => return narrow(thread, address, 1),
        Given::Timeval32(address) => return narrow(thread, address, 1000),
    };
    let [seconds, part] = process::words::<2>(thread, address).ok()?;
    nanoseconds(seconds, part, unit)
}

/// The four numbers of an `itimerspec` or `itimerval` of a program.
pub(super) fn four(thread: Pid, address: u64, times: Times) -> Option<[i64; 4]> {
    match times {
        Times::Wide => process::words::<4>(thread, address).ok(),
        Times::Narrow => {
            let words = process::words::<2>(thread, address).ok()?;
            let [a, b] = words.map(|both| [i64::from(both as i32), both >> 32]);
            Some([a[0], a[1], b[0], b[1]])
        }
    }
}

/// Numbers of a program's times as bytes.
pub(super) fn bytes(words: &[u64], times: Times) -> Vec<u8> {
    match times {
        Times::Wide => words.iter().flat_map(|word| word.to_ne_bytes()).collect(),
        Times::Narrow => words
            .iter()
            .flat_map(|&word| (word as u32).to_ne_bytes())
            .collect(),
    }
}

/// A time of two numbers of 32 bits.
fn narrow(thread: Pid, address: u64, unit: i64) -> Option<Nanoseconds> {
    let [both] = process::words::<1>(thread, address).ok()?;
    // Where there are 32-bit programs, words are little-endian.
    nanoseconds(i64::from(both as i32), both >> 32, unit)
}

/// Seconds and a part of a second in `unit` nanoseconds, if they are a time.
pub(super) fn nanoseconds(seconds: i64, part: i64, unit: i64) -> Option<Nanoseconds> {
    let is_one = seconds >= 0 && (0..SECOND as i64 / unit).contains(&part);
    let part = Nanoseconds::from(part) * Nanoseconds::from(unit);
    is_one.then_some(Nanoseconds::from(seconds) * Nanoseconds::from(SECOND) + part)
}

/// When the kernel ends a wait that is made now, on `CLOCK_MONOTONIC`.
pub(super) fn armed(course: Course, clock: Clock, due: Nanoseconds, now: &KernelTime) -> u64 {
    let real = course.until(clock, due, now);
    real.map_or(u64::MAX, |real| now.monotonic.saturating_add(real))
}

/// What the frame has for a wait that is made now by `call`.
pub(super) fn timeout(
    waiting: &Waiting,
    course: Course,
    now: &KernelTime,
    is_first: bool,
    call: &mut Call,
) -> [i64; 4] {
    let real = course.until(waiting.clock, waiting.due, now);
    let real = real.unwrap_or(FOREVER).min(FOREVER);
    // A duration of 0 would only look.
    let duration = real.max(u64::from(is_first));
    let words = |seconds: u64, part: u64| [seconds as i64, part as i64, 0, 0];
    match waiting.form {
        Form::Duration => words(duration / SECOND, duration % SECOND),
        // Rounded up, as the kernel does with its clock's resolution.
        Form::Microseconds => {
            let time = duration.div_ceil(1000);
            words(time / 1_000_000, time % 1_000_000)
        }
        Form::Milliseconds(argument) => {
            // What is too long never ends.
            let time = i32::try_from(duration.div_ceil(1_000_000)).unwrap_or(-1);
            call.arguments[argument] = i64::from(time) as u64;
            [waiting.signals, 0, 0, 0]
        }
        Form::Monotonic | Form::Realtime => {
            let now = match waiting.form {
                Form::Realtime => now.realtime,
                _ => now.monotonic,
            };
            let at = now.saturating_add(real);
            words(at / SECOND, at % SECOND)
        }
    }
}
