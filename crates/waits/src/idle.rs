//! The rule by which a tree in which nothing runs steps to its next deadline.
//!
//! The tree is looked at when nothing has happened for half of a threshold, and again after the
//! other half. If it was quiet both times, and no thread ran in between, time steps. The threshold
//! shrinks while only pollers wake: a thread that waits again and again at one place, for one short
//! time, and writes nothing in between. Once pollers alone have run for a whole threshold, the next
//! poll needs no look: time steps at once when a poller waits again. And the longer a poller has
//! polled without effect while something else waits, the later one of its waits may end
//! ([`Pollers::slack`]): what it polls for is seen late by a sixty-fourth of the time that it took, and
//! by a second at most. So an hour beside a poller takes seconds.

use std::collections::HashMap;

/// The threshold, in nanoseconds, unless another is given.
pub const THRESHOLD: u64 = 5_000_000;
/// What it shrinks to.
const LEAST: u64 = 300_000;
/// After how many waits alike a thread is a poller.
const ALIKE: u32 = 16;
/// The longest wait of a poller, in nanoseconds.
const SHORT: u64 = 100_000_000;

/// Which part of the time that a poller has polled one of its waits may be late.
const PART: u64 = 64;
/// The most that it may be late, in nanoseconds.
const MOST_SLACK: u64 = 1_000_000_000;

/// How many times as long as given the threshold is at most while nothing waits for a deadline.
const REST: u64 = 16;

/// What a look at the tree shows, with all since the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// No thread ran.
    Quiet,
    /// None ran but pollers.
    Polls,
    /// Others ran.
    Busy,
}

/// When to look, and when to step. Times are real ones, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    most: u64,
    threshold: u64,
    /// When something last happened.
    event: u64,
    /// When something last happened but a poll.
    other: u64,
    /// When the tree was first seen quiet since then.
    quiet: Option<u64>,
}

impl Idle {
    /// Nothing is known yet at `now`.
    pub fn new(threshold: u64, now: u64) -> Idle {
        Idle {
            most: threshold,
            threshold,
            event: now,
            other: now,
            quiet: None,
        }
    }

    /// Something happened; `by_poller`: a poller waits again.
    pub fn happened(&mut self, now: u64, by_poller: bool) {
        self.event = now;
        if !by_poller {
            self.other = now;
        }
        self.quiet = None;
        self.threshold = match by_poller {
            true => (self.threshold / 2).max(LEAST.min(self.most)),
            false => self.most,
        };
    }

    /// Whether nothing but polls has happened for a whole threshold.
    pub fn has_polls_only(&self, now: u64) -> bool {
        now >= self.other + self.most
    }

    /// When to look next.
    pub fn next_look(&self) -> u64 {
        self.quiet.unwrap_or(self.event) + self.threshold / 2
    }

    /// Notes whether time stepped when it was to. Where nothing waits for a deadline, a look at the
    /// tree becomes rarer until something happens.
    pub fn stepped(&mut self, has_stepped: bool) {
        self.threshold = match has_stepped {
            true => self.threshold.min(self.most),
            false => (self.threshold * 2).min(self.most * REST),
        };
    }

    /// Notes what a look has shown, and returns whether time is to step.
    pub fn looked(&mut self, now: u64, seen: Seen) -> bool {
        match (seen, self.quiet) {
            (Seen::Busy, _) => {
                self.event = now;
                self.other = now;
                self.quiet = None;
            }
            (Seen::Polls, _) => {
                self.event = now;
                self.quiet = None;
            }
            (Seen::Quiet, None) => self.quiet = Some(now),
            (Seen::Quiet, Some(since)) if now >= since + self.threshold / 2 => {
                self.event = now;
                self.quiet = None;
                return true;
            }
            (Seen::Quiet, Some(_)) => {}
        }
        false
    }
}

/// Threads that wait again and again.
#[derive(Debug, Default)]
pub struct Pollers(HashMap<i32, Habit>);

/// The last waits of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Habit {
    place: u64,
    span: u64,
    writes: u64,
    count: u32,
}

impl Pollers {
    /// Notes that `thread` waits at `place`, an address in its code, for `span` nanoseconds, and
    /// has made `writes` calls that write. Returns whether it is a poller.
    pub fn waits(&mut self, thread: i32, place: u64, span: u64, writes: u64) -> bool {
        let habit = self.0.entry(thread).or_insert(Habit {
            place,
            span,
            writes,
            count: 0,
        });
        // A deadline is computed a little before the call.
        let is_alike = (habit.place, habit.writes) == (place, writes)
            && habit.span.abs_diff(span) <= habit.span / 4;
        habit.count = if is_alike {
            habit.count.saturating_add(1)
        } else {
            1
        };
        (habit.place, habit.span, habit.writes) = (place, span, writes);
        self.is_one(thread)
    }

    /// By how many nanoseconds the wait of `thread` may end late: a part of the time for which it has
    /// polled without effect, so that thousands of its polls are served as hundreds. 0 for one that
    /// is no poller.
    pub fn slack(&self, thread: i32) -> u64 {
        let habit = self.0.get(&thread).filter(|_| self.is_one(thread));
        habit.map_or(0, |habit| {
            let polled = habit.span.saturating_mul(habit.count.into());
            (polled / PART).min(MOST_SLACK)
        })
    }

    /// Whether `thread` is a poller.
    pub fn is_one(&self, thread: i32) -> bool {
        let habit = self.0.get(&thread);
        habit.is_some_and(|habit| habit.count >= ALIKE && habit.span <= SHORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_steps_after_two_quiet_looks_and_no_event() {
        let mut idle = Idle::new(1000, 0);
        assert_eq!(idle.next_look(), 500);
        assert!(!idle.looked(500, Seen::Quiet));
        assert_eq!(idle.next_look(), 1000);
        assert!(idle.looked(1000, Seen::Quiet));
        assert!(!idle.looked(1500, Seen::Quiet));
        idle.happened(1600, false);
        assert!(!idle.looked(2100, Seen::Quiet), "the event counts anew");
        assert!(!idle.looked(2600, Seen::Busy), "one of them runs");
        assert!(!idle.looked(3100, Seen::Quiet));
        assert!(!idle.looked(3200, Seen::Quiet), "too early");
        assert!(idle.looked(3600, Seen::Quiet));
    }

    #[test]
    fn looks_become_rarer_while_nothing_waits_for_a_deadline() {
        let mut idle = Idle::new(1000, 0);
        for _ in 0..10 {
            idle.stepped(false);
        }
        assert_eq!(idle.next_look(), 1000 * REST / 2);
        idle.stepped(true);
        assert_eq!(idle.next_look(), 500);
    }

    #[test]
    fn the_threshold_shrinks_for_pollers_alone() {
        let mut idle = Idle::new(THRESHOLD, 0);
        for _ in 0..10 {
            idle.happened(0, true);
        }
        assert_eq!(idle.next_look(), LEAST / 2);
        idle.happened(0, false);
        assert_eq!(idle.next_look(), THRESHOLD / 2);
    }

    #[test]
    fn a_thread_that_waits_alike_and_writes_nothing_is_a_poller() {
        let mut pollers = Pollers::default();
        let mut polls = |place, span, writes| {
            (0..ALIKE).fold(false, |_, _| pollers.waits(1, place, span, writes))
        };
        assert!(polls(0x1000, 50_000_000, 0));
        assert!(!polls(0x1000, 3_600_000_000_000, 0), "a long one");
        assert!(polls(0x1000, 50_000_000, 7));
        assert!(!pollers.waits(1, 0x1000, 50_000_000, 8), "it wrote");
        assert!(!pollers.waits(2, 0x1000, 50_000_000, 0), "another thread");
    }

    #[test]
    fn a_poller_may_be_late_by_a_part_of_the_time_for_which_it_has_polled() {
        let mut pollers = Pollers::default();
        let mut polled = |count: u32| {
            (0..count).for_each(|_| {
                pollers.waits(1, 0x1000, 50_000_000, 0);
            });
            pollers.slack(1)
        };
        assert_eq!(polled(ALIKE - 1), 0);
        assert_eq!(polled(1), 50_000_000 * u64::from(ALIKE) / PART);
        assert_eq!(polled(72_000), MOST_SLACK);
        pollers.waits(1, 0x1000, 50_000_000, 1);
        assert_eq!(pollers.slack(1), 0, "it wrote");
    }

    #[test]
    fn polls_alone_for_a_threshold_need_no_look() {
        let mut idle = Idle::new(1000, 0);
        idle.happened(600, true);
        assert!(!idle.has_polls_only(999));
        idle.happened(1000, true);
        assert!(idle.has_polls_only(1000));
        assert!(!idle.looked(1500, Seen::Polls));
        assert!(idle.has_polls_only(1500));
        idle.happened(1600, false);
        assert!(!idle.has_polls_only(1700));
    }
}
