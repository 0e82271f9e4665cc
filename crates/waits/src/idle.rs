//! The rule by which a tree in which nothing runs steps to its next deadline.
//!
//! The tree is looked at when nothing has happened for half of a threshold, and again after the
//! other half. If it was quiet both times, and no thread ran in between, time steps. The threshold
//! shrinks while only pollers wake: a thread that waits again and again at one place, for one short
//! time, and writes nothing in between. Once pollers alone have run for a whole threshold, the next
//! poll needs no look: time steps at once when a poller waits again. So each poll is served, at its
//! time, and an hour of them takes seconds.

use std::collections::HashMap;

/// The threshold, in nanoseconds, unless another is given.
pub const THRESHOLD: u64 = 5_000_000;
/// What it shrinks to.
const LEAST: u64 = 300_000;
/// After how many waits alike a thread is a poller.
const ALIKE: u32 = 16;
/// The longest wait of a poller, in nanoseconds.
const SHORT: u64 = 100_000_000;

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
        habit.count = if is_alike { habit.count + 1 } else { 1 };
        (habit.place, habit.span, habit.writes) = (place, span, writes);
        self.is_one(thread)
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
