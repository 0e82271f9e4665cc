//! Timers of the tree.
//!
//! POSIX timers and the interval timer can only be set by a thread of their process: by the one that
//! makes the call, and when the clock changes by any that is in a call ([`super::setters`]). Those with a
//! descriptor are in [`super::timerfds`].

use std::collections::{HashMap, HashSet};
use std::fs;

use vdsokit_clock::{Clock, KernelTime};
use vdsokit_waits::call::{ABSOLUTE, Kind, Restart};
use vdsokit_waits::course::{Course, Nanoseconds};
use vdsokit_waits::gate::{Gate, Then};
use vdsokit_waits::timers::{Key, Setting as Due, Timer, Timers};

use super::process;
use super::setters::{Attempt, setter};
use super::times::{self, armed, nanoseconds};
use super::waits::{FOREVER, FRAME_NEW, Passage, Purpose, Times, Waits};
use crate::seccomp::{self, Notification, Outcome};
use crate::sys::Pid;

const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in the smaller unit of a `struct timeval`.
const MICROSECOND: i64 = 1000;

/// What is set in the tree.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(super) timers: Timers,
    /// When the kernel fires each first, on `CLOCK_MONOTONIC`.
    armed: HashMap<Key, u64>,
    /// When it was last looked at which timers have fired, on `CLOCK_MONOTONIC`.
    rolled: u64,
    /// When the kernel says that each timerfd is due: no earlier and no later, on `CLOCK_MONOTONIC`.
    pub(super) expiries: HashMap<Key, (u64, u64)>,
    /// Timerfds that a step of the wall clocks cancels.
    pub(super) cancelled_on_set: HashSet<Key>,
    /// Timers that no thread could set again yet.
    pub(super) unset: HashSet<Key>,
    /// When those are to be set, on `CLOCK_MONOTONIC`.
    pub(super) retry: Option<u64>,
}

impl Settings {
    /// Notes that a process executed a program.
    pub(crate) fn executed(&mut self, process: Pid) {
        self.timers.executed(process);
    }

    /// Has a timer another name.
    pub(super) fn rename(&mut self, from: Key, to: Key) {
        self.timers.rename(from, to);
        if let Some(armed) = self.armed.remove(&from) {
            self.armed.insert(to, armed);
        }
        if let Some(expiry) = self.expiries.remove(&from) {
            self.expiries.insert(to, expiry);
        }
        if self.cancelled_on_set.remove(&from) {
            self.cancelled_on_set.insert(to);
        }
    }
}

/// A timer about to be set by a thread of its process.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    key: Key,
    due: Option<Due>,
    /// When its time was converted.
    now: KernelTime,
    /// What remained of it, and its interval.
    before: (u64, u64),
    reply: Reply,
}

/// How a call returns what remained of a timer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    /// By a `struct itimerspec` at this address, if it is not 0.
    Itimerspec(u64, Times),
    /// By a `struct itimerval`.
    Itimerval(u64, Times),
    /// By seconds, as a result.
    Seconds,
}

/// What is to be done for a call about a timer.
pub(crate) enum Plan {
    Answer(Outcome),
    /// The thread makes a call through the gate, with these words in its frame.
    Make(Box<Passage>, [i64; 4]),
}

impl Waits {
    /// How a call about a timer is served.
    pub(super) fn timer(
        &mut self,
        call: &Notification,
        kind: Kind,
        times: Times,
        now: &KernelTime,
    ) -> Plan {
        let outcome = process::thread_group(call.pid).and_then(|process| match kind {
            Kind::SetTimerfd => self
                .set_timerfd(process, call, times, now)
                .map(Plan::Answer),
            Kind::GetTimerfd => self
                .get_timerfd(process, call, times, now)
                .map(Plan::Answer),
            Kind::SetSocketTimeout => self.set_socket(process, call).map(Plan::Answer),
            Kind::GetSocketTimeout => self.get_socket(process, call).map(Plan::Answer),
            Kind::GetTimer | Kind::GetItimer => {
                let (key, to) = match kind {
                    Kind::GetTimer => {
                        let to = Reply::Itimerspec(call.arguments[1], times);
                        (posix(process, call), to)
                    }
                    _ => (
                        interval(process),
                        Reply::Itimerval(call.arguments[1], times),
                    ),
                };
                let due = self.settings.timers.get(key)?;
                let remaining = due.remaining(self.at(due.clock, now));
                Some(Plan::Answer(reply(call.pid, to, remaining)))
            }
            Kind::DeleteTimer => {
                self.settings.timers.set(posix(process, call), None);
                None
            }
            _ => {
                let plan = self.set_by_thread(process, call, kind, times, now);
                if plan.is_none() && kind == Kind::SetTimer {
                    // The kernel's business from now on.
                    self.forget(posix(process, call));
                }
                plan
            }
        });
        outcome.unwrap_or(Plan::Answer(Outcome::Made))
    }

    /// A call that sets a timer which only its process can set.
    fn set_by_thread(
        &self,
        process: Pid,
        call: &Notification,
        kind: Kind,
        times: Times,
        now: &KernelTime,
    ) -> Option<Plan> {
        let a = call.arguments;
        let (key, clock, reply, value, interval) = match kind {
            Kind::SetTimer => {
                let key = posix(process, call);
                let words = times::four(call.pid, a[2], times)?;
                let (value, interval) = setting(words, 1)?;
                // That of CPU time is no clock of the tree's, also for a duration.
                let clock = timer_clock(process, a[0] as i32)?;
                let clock = (a[1] & ABSOLUTE != 0).then_some(clock);
                (key, clock, Reply::Itimerspec(a[3], times), value, interval)
            }
            Kind::SetItimer => {
                // Without a new time it disarms the timer (kernel/time/itimer.c, `setitimer`).
                let words = match a[1] {
                    0 => [0; 4],
                    address => times::four(call.pid, address, times)?,
                };
                let (value, between) = setting(words, MICROSECOND)?;
                let reply = Reply::Itimerval(a[2], times);
                (interval(process), None, reply, value, between)
            }
            Kind::Alarm => {
                let value = Nanoseconds::from(a[0] as u32) * Nanoseconds::from(SECOND);
                (interval(process), None, Reply::Seconds, value, 0)
            }
            _ => return None,
        };
        let due = self.due(clock, value, interval, now)?;
        let before = self.settings.timers.get(key);
        let before = before.map_or((0, 0), |due| due.remaining(self.at(due.clock, now)));
        let new = self.kernel_setting(due, now);
        let gate = self.gate_for(call)?;
        let (made, argument) = setter(&gate, key.timer, FRAME_NEW)?;
        let passage = Passage {
            gate,
            used: 0,
            door: gate.door(argument, Then::Report),
            made,
            restart: Restart::Always,
            purpose: Purpose::Timer(Setting {
                key,
                due,
                now: *now,
                before,
                reply,
            }),
        };
        let new = in_units(&gate, key.timer, new);
        Some(Plan::Make(Box::new(passage), new))
    }

    /// When a timer is due that is set to `value`, a time of `clock` or a duration. The outer
    /// `None`: that is the kernel's business alone.
    pub(super) fn due(
        &self,
        clock: Option<Clock>,
        value: Nanoseconds,
        interval: u64,
        now: &KernelTime,
    ) -> Option<Option<Due>> {
        let by = clock.unwrap_or(Clock::Monotonic);
        if self.course(by) == Course::Kernel && !self.is_changeable {
            return None;
        }
        if value == 0 {
            return Some(None);
        }
        let due = match clock {
            Some(_) => value,
            None => self.at(by, now) + value,
        };
        Some(Some(Due {
            clock: by,
            due,
            interval,
        }))
    }

    /// What the kernel is given for a timer: interval and value. One whose clock stands still is due
    /// in [`FOREVER`], not disarmed: so that it differs from one that has fired.
    pub(super) fn kernel_setting(&self, due: Option<Due>, now: &KernelTime) -> (u64, u64) {
        let Some(due) = due else {
            return (0, 0);
        };
        let course = self.course(due.clock);
        let Some(real) = course.until(due.clock, due.due, now) else {
            return (0, FOREVER);
        };
        // One whose clock stands still fires once: its next time never comes, as things are.
        let interval = match due.interval {
            0 => 0,
            interval => course.real(interval).map_or(0, |real| real.max(1)),
        };
        (interval, real.clamp(1, FOREVER))
    }

    /// Notes that a timer was set with `result`, and returns another result.
    pub(super) fn timer_set(&mut self, thread: Pid, setting: &Setting, result: i64) -> Option<i64> {
        if result != 0 {
            return None;
        }
        self.note(setting.key, setting.due, &setting.now);
        match setting.reply {
            Reply::Seconds => Some(seconds(setting.before.0)),
            to => match reply(thread, to, setting.before) {
                Outcome::Fails(error) => Some(-i64::from(error)),
                _ => None,
            },
        }
    }

    /// Notes that a timer is set to `due`, which was converted at `now`: the kernel does not fire it
    /// before.
    pub(super) fn note(&mut self, key: Key, due: Option<Due>, now: &KernelTime) {
        let Some(due) = due else {
            return self.forget(key);
        };
        let course = self.course(due.clock);
        let armed = armed(course, due.clock, due.due, now);
        self.settings.timers.set(key, Some(due));
        self.settings.armed.insert(key, armed);
    }

    /// Notes that a timer is not set.
    pub(super) fn forget(&mut self, key: Key) {
        self.settings.timers.set(key, None);
        self.settings.armed.remove(&key);
        self.settings.unset.remove(&key);
    }

    /// Sets all timers again: the clock was changed.
    pub(super) fn set_again(&mut self, now: &KernelTime) {
        self.roll(now);
        let dues: Vec<_> = self.settings.timers.iter().collect();
        for (key, due) in dues {
            self.set_timer_again(key, due, now);
        }
    }

    /// Forgets timers that fire no more. One that is due, but that the kernel was told to fire later, is
    /// still to be set again.
    pub(super) fn roll(&mut self, now: &KernelTime) {
        let since = self.settings.rolled;
        let mut timers = std::mem::take(&mut self.settings.timers);
        timers.roll(|key, due| {
            let has_fired = self.fires(key, due, since) <= now.monotonic;
            has_fired.then(|| self.at(due.clock, now))
        });
        self.settings.timers = timers;
        self.settings.rolled = now.monotonic;
    }

    /// When the kernel fires a timer next after `since`, both on `CLOCK_MONOTONIC`.
    pub(super) fn fires(&self, key: Key, due: Due, since: u64) -> u64 {
        let armed = self.settings.armed.get(&key).copied().unwrap_or(0);
        let interval = self.course(due.clock).real(due.interval).unwrap_or(0);
        match since.checked_sub(armed) {
            Some(since) if interval > 0 => armed + (since / interval + 1) * interval,
            _ => armed,
        }
    }

    /// Sets one timer again.
    pub(super) fn set_timer_again(&mut self, old: Key, due: Due, now: &KernelTime) {
        let key = match old.timer {
            Timer::Descriptor(fd) => self.set_timerfd_again(old, fd, due, now),
            _ => {
                let new = self.kernel_setting(Some(due), now);
                match self.set_by_any_thread(old, new, now) {
                    Attempt::Set => {
                        self.settings.unset.remove(&old);
                        Some(old)
                    }
                    Attempt::Later => return self.settings.set_later(old, now),
                    Attempt::Ended => None,
                }
            }
        };
        let Some(key) = key else {
            return self.forget(old);
        };
        let next = due.rolled(self.at(due.clock, now));
        self.note(key, next, now);
    }
}

fn posix(process: Pid, call: &Notification) -> Key {
    Key {
        process,
        timer: Timer::Posix(call.arguments[0] as i32),
    }
}

fn interval(process: Pid) -> Key {
    Key {
        process,
        timer: Timer::Interval,
    }
}

/// Value and interval of an `itimerspec` or `itimerval`, if they are times.
pub(super) fn setting(words: [i64; 4], unit: i64) -> Option<(Nanoseconds, u64)> {
    let interval = nanoseconds(words[0], words[1], unit)?;
    let value = nanoseconds(words[2], words[3], unit)?;
    Some((value, u64::try_from(interval).ok()?))
}

/// The words of the structure that sets `timer` in a program that has `gate`.
pub(super) fn in_units(gate: &Gate, timer: Timer, (interval, value): (u64, u64)) -> [i64; 4] {
    // Rounded up: a timer that is set must not become one that isn't.
    let unit = match timer {
        Timer::Interval => MICROSECOND as u64,
        _ => 1,
    };
    let pair = |time: u64| {
        let time = time.div_ceil(unit);
        let second = SECOND / unit;
        [(time / second) as i64, (time % second) as i64]
    };
    let ([a, b], [c, d]) = (pair(interval), pair(value));
    match timer {
        // setitimer(2) of 32-bit programs has numbers of 32 bits, and takes them up to their largest.
        Timer::Interval if gate.is_i386() => {
            let both = |low: i64, high: i64| low.min(i64::from(i32::MAX)) | high << 32;
            [both(a, b), both(c, d), 0, 0]
        }
        _ => [a, b, c, d],
    }
}

/// Writes what remained of a timer. Nothing is written to address 0.
pub(super) fn reply(thread: Pid, to: Reply, (remaining, interval): (u64, u64)) -> Outcome {
    let (address, times, unit) = match to {
        Reply::Itimerspec(address, times) => (address, times, 1),
        Reply::Itimerval(address, times) => (address, times, MICROSECOND as u64),
        Reply::Seconds => return Outcome::Returns(seconds(remaining)),
    };
    if address == 0 {
        return Outcome::Returns(0);
    }
    let words = [
        interval / SECOND,
        interval % SECOND / unit,
        remaining / SECOND,
        remaining % SECOND / unit,
    ];
    match seccomp::write(thread, address, &times::bytes(&words, times)) {
        Ok(()) => Outcome::Returns(0),
        Err(_) => Outcome::Fails(libc::EFAULT),
    }
}

/// What alarm(2) says that remains: it rounds to the nearest second, but never says 0 of a timer that
/// is set (kernel/time/itimer.c, `alarm_setitimer`).
fn seconds(remaining: u64) -> i64 {
    let rounded = remaining.saturating_add(SECOND / 2) / SECOND;
    rounded.max(u64::from(remaining != 0)) as i64
}

/// The clock of POSIX timer `id`, from `/proc/PID/timers` (proc_pid_timers(5)).
fn timer_clock(process: Pid, id: i32) -> Option<Clock> {
    clock_in(
        &fs::read_to_string(format!("/proc/{process}/timers")).ok()?,
        id,
    )
}

pub(super) fn clock_in(text: &str, id: i32) -> Option<Clock> {
    let mut lines = text.lines();
    lines.find(|line| {
        line.strip_prefix("ID: ")
            .is_some_and(|known| known == id.to_string())
    })?;
    let clock = lines
        .take_while(|line| !line.starts_with("ID: "))
        .find_map(|line| line.strip_prefix("ClockID: "))?;
    Clock::from_id(clock.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarm_rounds_and_says_0_only_of_no_timer() {
        let all = [0, 1, SECOND / 2, SECOND, 3 * SECOND / 2 - 1, 3 * SECOND / 2];
        assert_eq!(all.map(seconds), [0, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn microseconds_are_rounded_up() {
        let setting = (1_500_000_001, 1);
        let gate = Gate::at(0x1000, 0x2000);
        let of = |timer| in_units(&gate, timer, setting);
        assert_eq!(of(Timer::Interval), [1, 500_001, 0, 1]);
        assert_eq!(of(Timer::Posix(0)), [1, 500_000_001, 0, 1]);
    }
}
