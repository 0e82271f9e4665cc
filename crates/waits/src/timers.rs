//! Timers that the kernel holds for the tree: when each is due by the tree's clocks.

use std::collections::HashMap;

use vdsokit_clock::Clock;

use crate::course::Nanoseconds;

/// Names a timer: which process made it, and how that calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The process (thread group).
    pub process: i32,
    /// What it is.
    pub timer: Timer,
}

/// A timer of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// A timerfd, by its descriptor.
    Descriptor(i32),
    /// A POSIX timer, by its id.
    Posix(i32),
    /// The interval timer of real time, which alarm(2) sets too.
    Interval,
}

/// When a timer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The clock of `due`.
    pub clock: Clock,
    /// The next time that it fires.
    pub due: Nanoseconds,
    /// The time between one and the next; 0: it fires once.
    pub interval: u64,
}

impl Setting {
    /// What it is at `now`, a time of its clock: due again, or no more.
    pub fn rolled(self, now: Nanoseconds) -> Option<Setting> {
        if now < self.due {
            return Some(self);
        }
        let interval = Nanoseconds::from(self.interval);
        let passed = (now - self.due).checked_div(interval)? + 1;
        Some(Setting {
            due: self.due + passed * interval,
            ..self
        })
    }

    /// How often it has fired by `now`, a time of its clock.
    pub fn fired(self, now: Nanoseconds) -> u64 {
        if now < self.due {
            return 0;
        }
        let since = (now - self.due).checked_div(self.interval.into());
        since.map_or(1, |since| u64::try_from(since + 1).unwrap_or(u64::MAX))
    }

    /// How long it is until it fires, and its interval, as timer_gettime(2) has them.
    pub fn remaining(self, now: Nanoseconds) -> (u64, u64) {
        let rolled = self.rolled(now);
        let left = rolled.map_or(0, |setting| setting.due - now);
        (u64::try_from(left).unwrap_or(u64::MAX), self.interval)
    }
}

/// All timers that are set.
#[derive(Debug, Default)]
pub struct Timers(HashMap<Key, Setting>);

impl Timers {
    /// Notes that `key` is set to `setting`, or disarmed.
    pub fn set(&mut self, key: Key, setting: Option<Setting>) {
        match setting {
            Some(setting) => self.0.insert(key, setting),
            None => self.0.remove(&key),
        };
    }

    /// What `key` is set to.
    pub fn get(&self, key: Key) -> Option<Setting> {
        self.0.get(&key).copied()
    }

    /// Has a timer another name.
    pub fn rename(&mut self, from: Key, to: Key) {
        if let Some(setting) = self.0.remove(&from) {
            self.0.insert(to, setting);
        }
    }

    /// All that are set.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Setting)> {
        self.0.iter().map(|(&key, &setting)| (key, setting))
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets each to the next time that it fires, and forgets those that fire no more. `now` returns what
    /// a timer's clock shows, or `None` for a timer that the kernel has yet to fire.
    pub fn roll(&mut self, now: impl Fn(Key, Setting) -> Option<Nanoseconds>) {
        self.0.retain(|&key, setting| {
            let Some(now) = now(key, *setting) else {
                return true;
            };
            let rolled = setting.rolled(now);
            *setting = rolled.unwrap_or(*setting);
            rolled.is_some()
        });
    }

    /// Notes that a process executed a program: its POSIX timers are gone, the others stay
    /// (timer_create(2), execve(2)).
    pub fn executed(&mut self, process: i32) {
        self.0
            .retain(|key, _| key.process != process || !matches!(key.timer, Timer::Posix(_)));
    }

    /// Forgets all timers for which `is_gone` holds.
    pub fn forget(&mut self, is_gone: impl Fn(Key) -> bool) {
        self.0.retain(|&key, _| !is_gone(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(due: Nanoseconds, interval: u64) -> Setting {
        Setting {
            clock: Clock::Monotonic,
            due,
            interval,
        }
    }

    #[test]
    fn a_timer_rolls_on_by_whole_intervals() {
        assert_eq!(setting(10, 0).rolled(9), Some(setting(10, 0)));
        assert_eq!(setting(10, 0).rolled(10), None);
        assert_eq!(setting(10, 5).rolled(10), Some(setting(15, 5)));
        assert_eq!(setting(10, 5).rolled(14), Some(setting(15, 5)));
        assert_eq!(setting(10, 5).rolled(115), Some(setting(120, 5)));
        let fired = [9, 10, 14, 115].map(|now| setting(10, 5).fired(now));
        assert_eq!(fired, [0, 1, 1, 22]);
        assert_eq!(setting(10, 0).fired(115), 1);
        assert_eq!(setting(10, 5).remaining(12), (3, 5));
        assert_eq!(setting(10, 0).remaining(12), (0, 0));
    }

    #[test]
    fn exec_takes_posix_timers_only() {
        let key = |timer| Key { process: 7, timer };
        let mut timers = Timers::default();
        for timer in [Timer::Descriptor(3), Timer::Posix(0), Timer::Interval] {
            timers.set(key(timer), Some(setting(10, 0)));
        }
        timers.executed(8);
        assert!(timers.get(key(Timer::Posix(0))).is_some());
        timers.executed(7);
        assert!(timers.get(key(Timer::Posix(0))).is_none());
        assert_eq!(timers.iter().count(), 2);
        timers.roll(|_, _| None);
        assert!(!timers.is_empty());
        timers.roll(|_, _| Some(10));
        assert!(timers.is_empty());
    }

    #[test]
    fn a_timer_keeps_its_setting_under_another_name_until_it_is_forgotten() {
        let key = |process| Key {
            process,
            timer: Timer::Descriptor(3),
        };
        let mut timers = Timers::default();
        timers.set(key(1), Some(setting(10, 0)));
        timers.set(key(2), Some(setting(20, 5)));
        timers.rename(key(2), key(3));
        // Nothing is set by the old name, or by the name of a timer that is not set.
        timers.rename(key(2), key(4));
        assert_eq!(timers.get(key(2)), None);
        assert_eq!(timers.get(key(3)), Some(setting(20, 5)));
        assert_eq!(timers.get(key(4)), None);
        // An interval timer goes on, one that fires once is over.
        timers.roll(|_, _| Some(26));
        let all: Vec<_> = timers.iter().collect();
        assert_eq!(all, [(key(3), setting(30, 5))]);
        assert!(!timers.is_empty());
        timers.set(key(5), Some(setting(90, 0)));
        timers.forget(|key| key.process != 3);
        assert_eq!(timers.get(key(5)), None);
        assert!(!timers.is_empty());
        timers.set(key(3), None);
        assert!(timers.is_empty());
    }
}
