//! Timers of the tree, and time-outs of sockets.
//!
//! What has a descriptor is set by the supervisor itself through a copy of that
//! (pidfd_getfd(2)). POSIX timers and the interval timer can only be set by a thread of their
//! process: by the one that asked for it, and when the clock changes by any that is in a call.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_gettime, timerfd_settime};
use vdsokit_clock::{Clock, KernelTime};
use vdsokit_waits::call::{ABSOLUTE, Call, Kind, Restart};
use vdsokit_waits::course::{Course, Nanoseconds};
use vdsokit_waits::gate::{Frame, Then};
use vdsokit_waits::number::{SETITIMER, TIMER_SETTIME};
use vdsokit_waits::timers::{Key, Setting as Due, Timer, Timers};

use super::arch;
use super::process::{self, Blocked};
use super::waits::{FRAME_NEW, Passage, Purpose, Waits, armed, nanoseconds};
use crate::seccomp::{self, Notification, Outcome};
use crate::sys::{self, Pid, Resume};

const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in the smaller unit of a `struct timeval`.
const MICROSECOND: i64 = 1000;

/// What is set in the tree.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(super) timers: Timers,
    /// When the kernel fires each, on `CLOCK_MONOTONIC`.
    pub(super) armed: HashMap<Key, u64>,
    /// Time-outs of sockets by process, descriptor and option.
    sockets: HashMap<(Pid, i32, u64), u64>,
}

impl Settings {
    /// Notes that a process executed a program.
    pub(crate) fn executed(&mut self, process: Pid) {
        self.timers.executed(process);
    }
}

/// A timer about to be set by a thread of its process.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    key: Key,
    due: Option<Due>,
    /// What remained of it, and its interval.
    before: (u64, u64),
    reply: Reply,
}

/// How a program is told what remained of a timer.
#[derive(Debug, Clone, Copy)]
enum Reply {
    /// By a `struct itimerspec` at this address, if it is not 0.
    Itimerspec(u64),
    /// By a `struct itimerval`.
    Itimerval(u64),
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
    pub(super) fn timer(&mut self, call: &Notification, kind: Kind, now: &KernelTime) -> Plan {
        let outcome = process::thread_group(call.pid).and_then(|process| match kind {
            Kind::SetTimerfd => self.set_timerfd(process, call, now).map(Plan::Answer),
            Kind::GetTimerfd => self.get_timerfd(process, call, now).map(Plan::Answer),
            Kind::SetSocketTimeout => self.set_socket(process, call).map(Plan::Answer),
            Kind::GetSocketTimeout => self.get_socket(process, call).map(Plan::Answer),
            Kind::GetTimer | Kind::GetItimer => {
                let (key, to) = match kind {
                    Kind::GetTimer => {
                        let to = Reply::Itimerspec(call.arguments[1]);
                        (posix(process, call), to)
                    }
                    _ => (interval(process), Reply::Itimerval(call.arguments[1])),
                };
                let due = self.settings.timers.get(key)?;
                let remaining = due.remaining(self.at(due.clock, now));
                Some(Plan::Answer(reply(call.pid, to, remaining)))
            }
            Kind::DeleteTimer => {
                self.settings.timers.set(posix(process, call), None);
                None
            }
            _ => self.set_by_thread(process, call, kind, now),
        });
        outcome.unwrap_or(Plan::Answer(Outcome::Made))
    }

    /// A call that sets a timer which only its process can set.
    fn set_by_thread(
        &self,
        process: Pid,
        call: &Notification,
        kind: Kind,
        now: &KernelTime,
    ) -> Option<Plan> {
        let a = call.arguments;
        let (key, clock, reply, value, interval) = match kind {
            Kind::SetTimer => {
                let key = posix(process, call);
                let words = process::words::<4>(call.pid, a[2]).ok()?;
                let (value, interval) = setting(words, 1)?;
                let clock = match a[1] & ABSOLUTE {
                    0 => None,
                    _ => Some(timer_clock(process, a[0] as i32)?),
                };
                (key, clock, Reply::Itimerspec(a[3]), value, interval)
            }
            Kind::SetItimer => {
                let words = process::words::<4>(call.pid, a[1]).ok()?;
                let (value, between) = setting(words, MICROSECOND)?;
                let reply = Reply::Itimerval(a[2]);
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
        let mut passage = self.setter(key.timer, Then::Report)?;
        passage.purpose = Purpose::Timer(Setting {
            key,
            due,
            before,
            reply,
        });
        Some(Plan::Make(Box::new(passage), in_units(key.timer, new)))
    }

    /// When a timer is due that is set to `value`, a time of `clock` or a duration. The outer
    /// `None`: that is the kernel's business alone.
    fn due(
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

    /// What the kernel is given for a timer: interval and value, both 0 while its clock stands
    /// still.
    fn kernel_setting(&self, due: Option<Due>, now: &KernelTime) -> (u64, u64) {
        let Some(due) = due else {
            return (0, 0);
        };
        let course = self.course(due.clock);
        let Some(real) = course.until(due.clock, due.due, now) else {
            return (0, 0);
        };
        let interval = match due.interval {
            0 => 0,
            interval => course.real(interval).unwrap_or(0).max(1),
        };
        (interval, real.max(1))
    }

    /// A call that sets a timer to what is in its frame.
    fn setter(&self, timer: Timer, then: Then) -> Option<Passage> {
        let (made, argument) = match timer {
            Timer::Posix(id) => {
                let arguments = [id as u64, 0, FRAME_NEW, 0, 0, 0];
                let number = TIMER_SETTIME;
                (Call { number, arguments }, 2)
            }
            Timer::Interval => {
                let arguments = [libc::ITIMER_REAL as u64, FRAME_NEW, 0, 0, 0, 0];
                let number = SETITIMER;
                (Call { number, arguments }, 1)
            }
            Timer::Descriptor(_) => return None,
        };
        Some(Passage {
            used: 0,
            door: self.gate.door(argument, then),
            made,
            restart: Restart::Always,
            purpose: Purpose::Again,
        })
    }

    /// Notes that a timer was set with `result`, and returns another result.
    pub(super) fn timer_set(&mut self, thread: Pid, setting: &Setting, result: i64) -> Option<i64> {
        if result != 0 {
            return None;
        }
        self.note(setting.key, setting.due);
        match setting.reply {
            // alarm(2) rounds, and never says 0 of a timer that is set.
            Reply::Seconds => Some(setting.before.0.div_ceil(SECOND) as i64),
            to => match reply(thread, to, setting.before) {
                Outcome::Fails(error) => Some(-i64::from(error)),
                _ => None,
            },
        }
    }

    /// Notes that a timer is set to `due` now.
    fn note(&mut self, key: Key, due: Option<Due>) {
        self.settings.timers.set(key, due);
        let armed = due.zip(self.clocks.now().ok()).map(|(due, now)| {
            let course = self.course(due.clock);
            armed(course, due.clock, due.due, &now)
        });
        match armed {
            Some(armed) => self.settings.armed.insert(key, armed),
            None => self.settings.armed.remove(&key),
        };
    }

    fn set_timerfd(
        &mut self,
        process: Pid,
        call: &Notification,
        now: &KernelTime,
    ) -> Option<Outcome> {
        let [fd, flags, new, old, ..] = call.arguments;
        let descriptor = process::descriptor(process, fd as i32).ok()?;
        let of = timerfd_clock(&descriptor)?;
        let (value, interval) = setting(process::words::<4>(call.pid, new).ok()?, 1)?;
        let clock = (flags & ABSOLUTE != 0).then_some(of);
        let key = Key {
            process,
            timer: Timer::Descriptor(fd as i32),
        };
        let due = self.due(clock, value, interval, now)?;
        let before = self.settings.timers.get(key);
        let before = before.map(|due| due.remaining(self.at(due.clock, now)));
        let (real_interval, real) = self.kernel_setting(due, now);
        let set = timerfd_settime(
            &descriptor,
            TimerfdTimerFlags::empty(),
            &itimerspec(real_interval, real),
        );
        let was = match set {
            Ok(was) => was,
            Err(error) => return Some(Outcome::Fails(error.raw_os_error())),
        };
        self.note(key, due);
        let before = before.unwrap_or_else(|| self.virtual_setting(&was));
        Some(reply(call.pid, Reply::Itimerspec(old), before))
    }

    fn get_timerfd(&self, process: Pid, call: &Notification, now: &KernelTime) -> Option<Outcome> {
        let [fd, to, ..] = call.arguments;
        let key = Key {
            process,
            timer: Timer::Descriptor(fd as i32),
        };
        let remaining = match self.settings.timers.get(key) {
            Some(due) => due.remaining(self.at(due.clock, now)),
            // Inherited, or a duplicate.
            None => {
                let descriptor = process::descriptor(process, fd as i32).ok()?;
                self.virtual_setting(&timerfd_gettime(descriptor).ok()?)
            }
        };
        Some(reply(call.pid, Reply::Itimerspec(to), remaining))
    }

    /// Value and interval of a timer in the kernel, as the tree's clocks have them.
    fn virtual_setting(&self, set: &Itimerspec) -> (u64, u64) {
        let course = self.course(Clock::Monotonic);
        let passed = |time: &Timespec| {
            let nanoseconds = time.tv_sec as u64 * SECOND + time.tv_nsec as u64;
            course.passed(nanoseconds)
        };
        (passed(&set.it_value), passed(&set.it_interval))
    }

    fn set_socket(&mut self, process: Pid, call: &Notification) -> Option<Outcome> {
        let [fd, _, option, value, length, _] = call.arguments;
        if length < 16 {
            return None;
        }
        let [seconds, part] = process::words::<2>(call.pid, value).ok()?;
        let span = u64::try_from(nanoseconds(seconds, part, MICROSECOND)?).ok()?;
        let key = (process, fd as i32, option);
        if span == 0 {
            self.settings.sockets.remove(&key);
            return None;
        }
        match self.set_socket_again(key, span)? {
            Ok(()) => {
                self.settings.sockets.insert(key, span);
                Some(Outcome::Returns(0))
            }
            Err(error) => Some(Outcome::Fails(error.raw_os_error())),
        }
    }

    /// Sets a socket's time-out. `None`: it is the kernel's business, or its process has ended.
    fn set_socket_again(
        &self,
        (process, fd, option): (Pid, i32, u64),
        span: u64,
    ) -> Option<rustix::io::Result<()>> {
        let course = self.course(Clock::Monotonic);
        if course == Course::Kernel && !self.is_changeable {
            return None;
        }
        let descriptor = process::descriptor(process, fd).ok()?;
        // One while the clock stands still never ends, as with 0.
        let real = course.real(span).map(|real| {
            // The kernel counts microseconds.
            Duration::from_nanos(real.max(1000))
        });
        let which = match option {
            20 | 66 => Timeout::Recv,
            _ => Timeout::Send,
        };
        Some(set_socket_timeout(&descriptor, which, real))
    }

    fn get_socket(&self, process: Pid, call: &Notification) -> Option<Outcome> {
        let [fd, _, option, value, length, _] = call.arguments;
        let span = *self.settings.sockets.get(&(process, fd as i32, option))?;
        let mut room = [0; 4];
        process::read(call.pid, length, &mut room).ok()?;
        if u32::from_ne_bytes(room) < 16 {
            return None;
        }
        let words = [span / SECOND, span % SECOND / 1000];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let written = seccomp::write(call.pid, value, &bytes)
            .and_then(|()| seccomp::write(call.pid, length, &16u32.to_ne_bytes()));
        Some(match written {
            Ok(()) => Outcome::Returns(0),
            Err(_) => Outcome::Fails(libc::EFAULT),
        })
    }

    /// Sets all timers again: the clock was changed.
    pub(super) fn set_again(&mut self, now: &KernelTime) {
        self.roll(now);
        let dues: Vec<_> = self.settings.timers.iter().collect();
        for (key, due) in dues {
            self.set_timer_again(key, due, now);
        }
        let sockets: Vec<_> = self.settings.sockets.iter().collect();
        let gone: Vec<_> = sockets
            .into_iter()
            .filter(|(key, span)| !matches!(self.set_socket_again(**key, **span), Some(Ok(()))))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.settings.sockets.remove(&key);
        }
    }

    /// Forgets timers that fire no more.
    pub(super) fn roll(&mut self, now: &KernelTime) {
        let shown = Clock::ALL.map(|clock| (clock, self.at(clock, now)));
        let at = |clock| {
            let found = shown.iter().find(|(known, _)| *known == clock);
            found.map_or(0, |(_, at)| *at)
        };
        self.settings.timers.roll(at);
    }

    /// When the kernel fires a timer next, on `CLOCK_MONOTONIC`.
    pub(super) fn fires(&self, key: Key, due: Due, now: &KernelTime) -> u64 {
        let armed = self.settings.armed.get(&key).copied().unwrap_or(0);
        let interval = self.course(due.clock).real(due.interval).unwrap_or(0);
        match now.monotonic.checked_sub(armed) {
            Some(since) if interval > 0 => armed + (since / interval + 1) * interval,
            _ => armed,
        }
    }

    /// Sets one timer again.
    pub(super) fn set_timer_again(&mut self, key: Key, due: Due, now: &KernelTime) {
        let new = self.kernel_setting(Some(due), now);
        let is_set = match key.timer {
            Timer::Descriptor(fd) => process::descriptor(key.process, fd).is_ok_and(|timer| {
                let empty = TimerfdTimerFlags::empty();
                timerfd_settime(&timer, empty, &itimerspec(new.0, new.1)).is_ok()
            }),
            timer => self.set_by_any_thread(key.process, timer, new),
        };
        let next = due.rolled(self.at(due.clock, now));
        self.note(key, next.filter(|_| is_set));
    }

    /// Has a thread of `process` that is in a call set a timer, and then make its call again.
    /// Returns whether the process lives.
    fn set_by_any_thread(&mut self, process: Pid, timer: Timer, new: (u64, u64)) -> bool {
        /// How often the process is looked at while all its threads run.
        const LOOKS: usize = 1000;
        for _ in 0..LOOKS {
            let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else {
                return false;
            };
            let threads = tasks
                .flatten()
                .filter_map(|task| task.file_name().to_str()?.parse().ok());
            for thread in threads {
                let is_in_call = Blocked::read(thread).is_some_and(|call| call.number >= 0);
                if is_in_call && self.set_by(thread, timer, new) {
                    return true;
                }
            }
            std::thread::yield_now();
        }
        true
    }

    fn set_by(&mut self, thread: Pid, timer: Timer, new: (u64, u64)) -> bool {
        let Some(mut passage) = self.setter(timer, Then::Resume) else {
            return false;
        };
        if sys::seize(thread, 0)
            .and_then(|()| sys::interrupt(thread))
            .is_err()
        {
            return false;
        }
        let Some((mut registers, signal)) = process::stopped(thread) else {
            return false;
        };
        let signal = match signal {
            0 => crate::arch::settle(thread, &mut registers),
            signal => Some(signal),
        };
        let Some(signal) = signal else {
            return false;
        };
        let resumption = arch::resumption(&registers).filter(|_| signal == 0);
        let is_set = resumption.is_some_and(|resumption| {
            passage.used = self.number();
            let frame = Frame {
                new: in_units(timer, new),
                used: passage.used,
                ret: resumption.address,
                arguments: arch::arguments(&registers),
                result: resumption.result,
                report_number: resumption.number,
            };
            self.fill(thread, &mut passage, &frame) && {
                let (door, made) = (passage.door, &passage.made);
                arch::restart(&mut registers, door, made, passage.restart);
                sys::set_registers(thread, &registers).is_ok()
            }
        });
        let _ = sys::resume(thread, Resume::Detach, signal);
        is_set
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
fn setting(words: [i64; 4], unit: i64) -> Option<(Nanoseconds, u64)> {
    let interval = nanoseconds(words[0], words[1], unit)?;
    let value = nanoseconds(words[2], words[3], unit)?;
    Some((value, u64::try_from(interval).ok()?))
}

/// The words of the structure that sets `timer`.
fn in_units(timer: Timer, (interval, value): (u64, u64)) -> [i64; 4] {
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
    [a, b, c, d]
}

fn itimerspec(interval: u64, value: u64) -> Itimerspec {
    let time = |time: u64| Timespec {
        tv_sec: (time / SECOND) as i64,
        tv_nsec: (time % SECOND) as i64,
    };
    Itimerspec {
        it_interval: time(interval),
        it_value: time(value),
    }
}

/// Writes what remained of a timer. Nothing is written to address 0.
fn reply(thread: Pid, to: Reply, (remaining, interval): (u64, u64)) -> Outcome {
    let (address, unit) = match to {
        Reply::Itimerspec(address) => (address, 1),
        Reply::Itimerval(address) => (address, MICROSECOND as u64),
        Reply::Seconds => return Outcome::Returns(remaining.div_ceil(SECOND) as i64),
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
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    match seccomp::write(thread, address, &bytes) {
        Ok(()) => Outcome::Returns(0),
        Err(_) => Outcome::Fails(libc::EFAULT),
    }
}

/// The clock of POSIX timer `id`, from `/proc/PID/timers` (proc_pid_timers(5)).
fn timer_clock(process: Pid, id: i32) -> Option<Clock> {
    let text = fs::read_to_string(format!("/proc/{process}/timers")).ok()?;
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

/// The clock of a timerfd (proc_pid_fdinfo(5)). `None`: it is none.
fn timerfd_clock(timer: &OwnedFd) -> Option<Clock> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", timer.as_raw_fd())).ok()?;
    let clock = info
        .lines()
        .find_map(|line| line.strip_prefix("clockid:"))?;
    Clock::from_id(clock.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

    use super::*;

    #[test]
    fn a_timerfd_is_told_by_its_clock() {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC);
        let timer = timer.expect("a timer");
        assert_eq!(timerfd_clock(&timer), Some(Clock::Boottime));
        let other = fs::File::open("/dev/null").expect("a file").into();
        assert_eq!(timerfd_clock(&other), None);
    }

    #[test]
    fn microseconds_are_rounded_up() {
        let setting = (1_500_000_001, 1);
        assert_eq!(in_units(Timer::Interval, setting), [1, 500_001, 0, 1]);
        assert_eq!(in_units(Timer::Posix(0), setting), [1, 500_000_001, 0, 1]);
    }
}
