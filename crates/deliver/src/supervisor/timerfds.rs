//! Timers that have a descriptor (timerfd_create(2)).
//!
//! The supervisor sets them itself through a copy of the descriptor (pidfd_getfd(2)), which it does
//! not keep: a timer that is in an epoll set leaves that with its last descriptor. A timer is known
//! by the process and descriptor through which it was first set. Where another descriptor is used,
//! a duplicate or an inherited one, kcmp(2) says that it is the same timer, and where the first one
//! is gone, that it is due at the same time in the kernel.

use std::collections::HashSet;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_gettime, timerfd_settime};
use vdsokit_clock::{Clock, KernelTime};
use vdsokit_waits::call::ABSOLUTE;
use vdsokit_waits::timers::{Key, Setting, Timer};

use super::process::{self, Blocked};
use super::thread;
use super::timers::{Reply, reply, setting};
use super::times;
use super::waits::{Times, Waits};
use crate::seccomp::{Notification, Outcome};
use crate::sys::{self, Pid};

const SECOND: u64 = 1_000_000_000;
/// `TFD_TIMER_CANCEL_ON_SET` (include/uapi/linux/timerfd.h).
const CANCEL_ON_SET: u64 = 2;

/// When a timer is due in the kernel: no earlier and no later, on `CLOCK_MONOTONIC`.
type Expiry = (u64, u64);

impl Waits {
    pub(super) fn set_timerfd(
        &mut self,
        process: Pid,
        call: &Notification,
        times: Times,
        now: &KernelTime,
    ) -> Option<Outcome> {
        let [fd, flags, new, old, ..] = call.arguments;
        // The kernel refuses others (fs/timerfd.c, `do_timerfd_settime`).
        if flags as u32 & !(ABSOLUTE | CANCEL_ON_SET) as u32 != 0 {
            return None;
        }
        let descriptor = process::descriptor(process, fd as i32).ok()?;
        let of = clock(&descriptor)?;
        let (value, interval) = setting(times::four(call.pid, new, times)?, 1)?;
        let clock = (flags & ABSOLUTE != 0).then_some(of);
        let due = self.due(clock, value, interval, now)?;
        let (was, expiry) = self.expiry(&descriptor).ok()?;
        let key = self.timerfd(process, fd as i32, expiry);
        let before = key.and_then(|key| self.settings.timers.get(key));
        let before = before.map(|due| due.remaining(self.at(due.clock, now)));
        let key = key.unwrap_or_else(|| self.new_descriptor(process, fd as i32));
        if let Err(error) = self.arm(key, &descriptor, due, 0, now) {
            return Some(Outcome::Fails(error.raw_os_error()));
        }
        // What has fired is counted.
        let next = due.map(|due| due.rolled(self.at(due.clock, now)).unwrap_or(due));
        self.note(key, next, now);
        let is_wall = matches!(of, Clock::Realtime | Clock::RealtimeAlarm);
        match is_wall && flags & (ABSOLUTE | CANCEL_ON_SET) == ABSOLUTE | CANCEL_ON_SET {
            true => self.settings.cancelled_on_set.insert(key),
            false => self.settings.cancelled_on_set.remove(&key),
        };
        let before = before.unwrap_or_else(|| self.virtual_setting(&was));
        Some(reply(call.pid, Reply::Itimerspec(old, times), before))
    }

    pub(super) fn get_timerfd(
        &self,
        process: Pid,
        call: &Notification,
        times: Times,
        now: &KernelTime,
    ) -> Option<Outcome> {
        let [fd, to, ..] = call.arguments;
        let descriptor = process::descriptor(process, fd as i32).ok()?;
        let (set, expiry) = self.expiry(&descriptor).ok()?;
        let due = self.timerfd(process, fd as i32, expiry);
        let remaining = match due.and_then(|key| self.settings.timers.get(key)) {
            Some(due) => due.remaining(self.at(due.clock, now)),
            None => self.virtual_setting(&set),
        };
        Some(reply(call.pid, Reply::Itimerspec(to, times), remaining))
    }

    /// What a timer is set to in the kernel, and when it is due: no earlier and no later. The second
    /// is `None` of one that is not set.
    fn expiry(&self, descriptor: &OwnedFd) -> rustix::io::Result<(Itimerspec, Option<Expiry>)> {
        let before = self.monotonic();
        let set = timerfd_gettime(descriptor)?;
        let after = self.monotonic();
        let left = nanoseconds(&set.it_value);
        let expiry = (before.saturating_add(left), after.saturating_add(left));
        Ok((set, Some(expiry).filter(|_| left != 0)))
    }

    /// The timer that `fd` of `process` is, which is due at `expiry`. `None`: it is not set, so that
    /// it is none that is known, and the number may be that of one that was closed.
    fn timerfd(&self, process: Pid, fd: i32, expiry: Option<Expiry>) -> Option<Key> {
        let expiry = expiry?;
        let own = descriptor_key(process, fd);
        if self.settings.timers.get(own).is_some() {
            return Some(own);
        }
        let mut gone = None;
        for (key, _) in self.settings.timers.iter() {
            let Timer::Descriptor(other) = key.timer else {
                continue;
            };
            if sys::share_file((process, fd), (key.process, other)) {
                return Some(key);
            }
            let known = self.settings.expiries.get(&key);
            let is_same = known.is_some_and(|known| overlap(*known, expiry));
            if is_same && !is_timerfd(key.process, other) {
                gone = Some(key);
            }
        }
        gone
    }

    /// Value and interval of a timer in the kernel, as the tree's clocks have them.
    fn virtual_setting(&self, set: &Itimerspec) -> (u64, u64) {
        let course = self.course(Clock::Monotonic);
        let passed = |time: &Timespec| course.passed(nanoseconds(time));
        (passed(&set.it_value), passed(&set.it_interval))
    }

    /// Sets the timer `key`, which has this descriptor.
    fn set_descriptor(
        &mut self,
        key: Key,
        descriptor: &OwnedFd,
        (interval, value): (u64, u64),
    ) -> rustix::io::Result<()> {
        let new = Itimerspec {
            it_interval: timespec(interval),
            it_value: timespec(value),
        };
        timerfd_settime(descriptor, TimerfdTimerFlags::empty(), &new)?;
        match self.expiry(descriptor)?.1 {
            Some(expiry) => self.settings.expiries.insert(key, expiry),
            None => self.settings.expiries.remove(&key),
        };
        Ok(())
    }

    /// Sets the timer `key` again. Returns whether there is such a timer, and its key: it may be
    /// known by another descriptor from now on.
    pub(super) fn set_timerfd_again(
        &mut self,
        key: Key,
        fd: i32,
        due: Setting,
        now: &KernelTime,
    ) -> Option<Key> {
        let (key, fd) = match is_timerfd(key.process, fd) {
            true => (key, fd),
            false => self.other_descriptor(key)?,
        };
        let descriptor = process::descriptor(key.process, fd).ok()?;
        // This has the kernel count how often it has fired until now.
        let (_, expiry) = self.expiry(&descriptor).ok()?;
        // Where wall clocks alone are moved, a program may have set it to a duration unseen.
        let known = self.settings.expiries.get(&key).copied();
        let is_same = match expiry.zip(known) {
            Some((expiry, known)) => due.interval != 0 || overlap(known, expiry),
            None => false,
        };
        if due.clock.is_wall() && !is_same {
            return None;
        }
        let unread = unread(&descriptor).unwrap_or(0);
        self.arm(key, &descriptor, Some(due), unread, now).ok()?;
        Some(key)
    }

    /// Sets the timer `key`, which has this descriptor and has fired `unread` times since it was read.
    /// How often it has to fire at once is counted here: the kernel does not know by when its clock
    /// was to show its time.
    fn arm(
        &mut self,
        key: Key,
        descriptor: &OwnedFd,
        due: Option<Setting>,
        unread: u64,
        now: &KernelTime,
    ) -> rustix::io::Result<()> {
        let fired = due.map_or(0, |due| due.fired(self.at(due.clock, now)));
        let count = unread.saturating_add(fired);
        let next = due.and_then(|due| due.rolled(self.at(due.clock, now)));
        if count == 0 || next.is_none() {
            return self.set_descriptor(key, descriptor, self.kernel_setting(due, now));
        }
        self.set_descriptor(key, descriptor, self.kernel_setting(next, now))?;
        // A kernel that can't (CONFIG_CHECKPOINT_RESTORE) has it fire once.
        match process::set_timer_count(descriptor, count) {
            Err(_) if fired > 0 => {
                self.set_descriptor(key, descriptor, self.kernel_setting(due, now))
            }
            _ => Ok(()),
        }
    }

    /// The key of a timer that is set for the first time. One that was known by its descriptor before
    /// is known by another from now on, if there is one.
    fn new_descriptor(&mut self, process: Pid, fd: i32) -> Key {
        let key = descriptor_key(process, fd);
        let known = self.settings.expiries.get(&key).copied();
        let is_set = self.settings.timers.get(key).is_some();
        if let Some(known) = known.filter(|_| is_set) {
            let all = self.processes().into_iter().flat_map(process::descriptors);
            let mut others = all.filter(|(_, _, target)| is_timer(target));
            let other = others.find(|&(process, fd, _)| {
                let descriptor = process::descriptor(process, fd);
                let expiry = descriptor.and_then(|descriptor| Ok(self.expiry(&descriptor)?.1));
                expiry.is_ok_and(|expiry| expiry.is_some_and(|expiry| overlap(known, expiry)))
            });
            match other {
                Some((process, fd, _)) => self.settings.rename(key, descriptor_key(process, fd)),
                None => self.forget(key),
            }
        }
        key
    }

    /// Finds another descriptor in the tree of a timer whose own is gone.
    fn other_descriptor(&mut self, key: Key) -> Option<(Key, i32)> {
        let all = self.processes().into_iter().flat_map(process::descriptors);
        let found = all
            .filter(|(_, _, target)| is_timer(target))
            .find(|&(process, fd, _)| {
                let descriptor = process::descriptor(process, fd);
                let expiry = descriptor.and_then(|descriptor| Ok(self.expiry(&descriptor)?.1));
                expiry.is_ok_and(|expiry| self.timerfd(process, fd, expiry) == Some(key))
            });
        let (process, fd, _) = found?;
        let new = descriptor_key(process, fd);
        self.settings.rename(key, new);
        Some((new, fd))
    }

    /// Cancels the timers that a step of the wall clocks cancels. A thread that is blocked in a read
    /// of one gets ECANCELED. Where none is, the timer fires, so that poll(2) tells of it.
    pub(super) fn cancel_timerfds(&mut self) {
        let cancelled: HashSet<Key> = self.settings.cancelled_on_set.drain().collect();
        let threads = match cancelled.is_empty() {
            true => Vec::new(),
            false => self.processes(),
        };
        let threads = threads.into_iter().flat_map(process::threads);
        let readers: Vec<(Pid, Blocked)> = threads
            .filter_map(|thread| Some((thread, Blocked::read(thread)?)))
            .filter(|(_, call)| call.number == libc::SYS_read)
            .filter(|(thread, call)| is_timerfd(*thread, call.arguments[0] as i32))
            .collect();
        for key in cancelled {
            let Timer::Descriptor(fd) = key.timer else {
                continue;
            };
            let mut readers = readers.iter().filter(|(thread, call)| {
                sys::share_file((*thread, call.arguments[0] as i32), (key.process, fd))
            });
            if let Some((thread, call)) = readers.next() {
                thread::fail(*thread, call.pointer, libc::ECANCELED);
                self.settings.cancelled_on_set.insert(key);
            } else if let Ok(descriptor) = process::descriptor(key.process, fd)
                && self.set_descriptor(key, &descriptor, (0, 1)).is_ok()
            {
                self.forget(key);
            }
        }
    }
}

/// Whether both may be one moment.
fn overlap(one: Expiry, other: Expiry) -> bool {
    one.0 <= other.1 && other.0 <= one.1
}

/// How often a timer has fired since it was read (proc_pid_fdinfo(5)).
fn unread(timer: &OwnedFd) -> Option<u64> {
    count_in(&fs::read_to_string(format!("/proc/self/fdinfo/{}", timer.as_raw_fd())).ok()?)
}

pub(super) fn count_in(info: &str) -> Option<u64> {
    let count = info.lines().find_map(|line| line.strip_prefix("ticks:"))?;
    count.trim().parse().ok()
}

fn descriptor_key(process: Pid, fd: i32) -> Key {
    Key {
        process,
        timer: Timer::Descriptor(fd),
    }
}

fn nanoseconds(time: &Timespec) -> u64 {
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

fn timespec(time: u64) -> Timespec {
    Timespec {
        tv_sec: (time / SECOND) as i64,
        tv_nsec: (time % SECOND) as i64,
    }
}

/// Whether `fd` of a process or thread is a timer.
fn is_timerfd(thread: Pid, fd: i32) -> bool {
    process::target(thread, fd).is_some_and(|target| is_timer(&target))
}

/// Whether the target of a descriptor's link is a timer (proc_pid_fd(5)).
fn is_timer(target: &str) -> bool {
    target == "anon_inode:[timerfd]"
}

/// The clock of a timerfd (proc_pid_fdinfo(5)). `None`: it is none.
fn clock(timer: &OwnedFd) -> Option<Clock> {
    clock_in(&fs::read_to_string(format!("/proc/self/fdinfo/{}", timer.as_raw_fd())).ok()?)
}

pub(super) fn clock_in(info: &str) -> Option<Clock> {
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
        assert_eq!(clock(&timer), Some(Clock::Boottime));
        let process = std::process::id() as Pid;
        assert!(is_timerfd(process, timer.as_raw_fd()));
        let other = fs::File::open("/dev/null").expect("a file").into();
        assert_eq!(clock(&other), None);
        assert!(!is_timerfd(process, other.as_raw_fd()));
        let again = timer.try_clone().expect("a descriptor");
        let this = |fd: &OwnedFd| (process, fd.as_raw_fd());
        assert!(sys::share_file(this(&timer), this(&again)));
        assert!(!sys::share_file(this(&timer), this(&other)));
    }
}
