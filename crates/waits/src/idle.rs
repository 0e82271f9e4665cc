//! The rule by which a tree in which nothing runs steps to its next deadline.
//!
//! The tree is looked at when nothing has happened for half of a threshold, and again after the
//! other half. If it was quiet both times, and no thread ran in between, time steps. The threshold
//! shrinks while only pollers wake: a thread that waits again and again at one place, for one short
//! time or less, whose waits end by their time, and that writes nothing in between. Once pollers alone have run for a whole threshold, the
//! next poll needs no look: time steps at once when a poller waits again.
//!
//! The longer a poller has polled without effect while something else waits, the later one of its
//! waits may end ([`Pollers::slack`]): an end of its own that it polls for, such as the time-out of
//! `subprocess.run`, is seen late by a sixty-fourth of the time that it took, and by half a minute
//! at most. What it polls for may also be made by another thread. So once a thread that is no poller
//! has run, each poller looks twice at its own time before it may be late again. An hour beside a
//! poller, or beside the six that a Java program has, then takes seconds.

use std::collections::HashMap;

/// The threshold, in nanoseconds, unless another is given.
pub const THRESHOLD: u64 = 5_000_000;
/// What it shrinks to.
const LEAST: u64 = 300_000;
/// After how many waits alike a thread is a poller.
const ALIKE: u32 = 16;
/// After how many one of its waits may end late.
const MANY: u32 = 64;
/// The longest wait of a poller, in nanoseconds: threads of OpenJDK poll every 50 ms to 5 s.
const SHORT: u64 = 10_000_000_000;

/// Which part of the time that a poller has polled one of its waits may be late.
const PART: u64 = 64;
/// The most that it may be late, in nanoseconds.
const MOST_SLACK: u64 = 30_000_000_000;

/// How often the pause between two looks is doubled at most.
const MOST_DOUBLINGS: u32 = 4;

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
    /// Whether what happened last was a poll.
    is_poll: bool,
    /// How many looks since then have shown that threads run.
    runs: u32,
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
            is_poll: false,
            runs: 0,
            quiet: None,
        }
    }

    /// Something happened; `by_poller`: a poller waits again.
    pub fn happened(&mut self, now: u64, by_poller: bool) {
        self.event = now;
        if !by_poller {
            self.other = now;
        }
        self.is_poll = by_poller;
        self.runs = 0;
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

    /// When to look next: rarely while threads run that only need more time.
    pub fn next_look(&self) -> u64 {
        let pause = (self.threshold / 2) << self.runs.saturating_sub(1).min(MOST_DOUBLINGS);
        self.quiet.unwrap_or(self.event) + pause.min(self.threshold.max(self.most))
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
                self.is_poll = false;
                self.runs += 1;
                self.quiet = None;
            }
            (Seen::Polls, _) => {
                self.event = now;
                self.runs += 1;
                self.quiet = None;
            }
            // What ran last is known to wait again.
            (Seen::Quiet, None) if self.is_poll && self.has_polls_only(now) => {
                self.event = now;
                self.is_poll = false;
                return true;
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
pub struct Pollers {
    habits: HashMap<i32, Habit>,
    /// How often a thread that is no poller was seen to run.
    others: u64,
}

/// A wait of a thread, with times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// The address in the thread's code that it waits at.
    pub place: u64,
    /// When it waits, on a clock of the tree.
    pub at: u64,
    /// For how long it waits.
    pub span: u64,
    /// How many calls that write the thread has made.
    pub writes: u64,
}

/// The last waits of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Habit {
    /// The first of those that are alike.
    first: Pause,
    count: u32,
    last: Pause,
    /// [`Pollers::others`] when it last waited, and whether that was so the time before.
    others: u64,
    has_looked: bool,
}

impl Pollers {
    /// Notes a wait of `thread`. Returns whether it is a poller.
    pub fn waits(&mut self, thread: i32, pause: Pause) -> bool {
        let new = Habit {
            first: pause,
            count: 0,
            last: pause,
            others: self.others,
            has_looked: false,
        };
        let habit = self.habits.entry(thread).or_insert(new);
        // A deadline is computed a little before the call.
        let margin = habit.first.span / 4;
        let is_elsewhere = (habit.first.place, habit.first.writes) != (pause.place, pause.writes);
        let is_longer = pause.span > habit.first.span.saturating_add(margin);
        // Something else than its time ended the last wait.
        let is_early = pause.at
            < habit
                .last
                .at
                .saturating_add(habit.last.span - habit.last.span / 4);
        if is_elsewhere || is_longer || is_early {
            (habit.first, habit.count) = (pause, 1);
        } else if pause.span >= habit.first.span - margin {
            habit.count = habit.count.saturating_add(1);
        }
        habit.last = pause;
        habit.has_looked = habit.others == self.others;
        habit.others = self.others;
        self.is_one(thread)
    }

    /// Notes that a thread ran that is no poller.
    pub fn others_ran(&mut self) {
        self.others += 1;
    }

    /// By how many nanoseconds the wait of `thread` may end late: a part of the time for which it has
    /// polled without effect, so that thousands of its polls are served as hundreds. 0 while what
    /// others did may be what it polls for. `None` for one that is no poller.
    pub fn slack(&self, thread: i32) -> Option<u64> {
        let habit = self.habits.get(&thread)?;
        if !habit.is_poller() {
            return None;
        }
        let is_settled = habit.count >= MANY && habit.others == self.others && habit.has_looked;
        let polled = habit.last.at.saturating_sub(habit.first.at);
        Some(if is_settled {
            (polled / PART).min(MOST_SLACK)
        } else {
            0
        })
    }

    /// Whether `thread` is a poller.
    pub fn is_one(&self, thread: i32) -> bool {
        self.habits.get(&thread).is_some_and(Habit::is_poller)
    }
}

impl Habit {
    fn is_poller(&self) -> bool {
        self.count >= ALIKE && self.first.span <= SHORT
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
    fn looks_become_rarer_while_threads_run() {
        let mut idle = Idle::new(1000, 0);
        let pauses = [1, 2, 3].map(|look| {
            idle.looked(look, Seen::Busy);
            idle.next_look() - look
        });
        assert_eq!(pauses, [500, 1000, 1000]);
        idle.happened(9, false);
        assert_eq!(idle.next_look(), 509);
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

    const HOUR: u64 = 3600 * 1_000_000_000;

    /// A wait at a fixed place for so many milliseconds, at such a time.
    fn pause(at: u64, milliseconds: u64, writes: u64) -> Pause {
        Pause {
            place: 0x1000,
            at,
            span: milliseconds * 1_000_000,
            writes,
        }
    }

    #[test]
    fn a_thread_that_waits_alike_and_writes_nothing_is_a_poller() {
        let mut pollers = Pollers::default();
        let mut polls = |at, milliseconds, writes| {
            let poll = |poll| pause(at + poll * milliseconds * 1_000_000, milliseconds, writes);
            let polls = u64::from(ALIKE);
            (0..polls).fold(false, |_, number| pollers.waits(1, poll(number)))
        };
        assert!(polls(0, 50, 0));
        assert!(!polls(HOUR, 3_600_000, 0), "a long one");
        assert!(polls(100 * HOUR, 50, 7));
        assert!(!pollers.waits(1, pause(200 * HOUR, 50, 8)), "it wrote");
        assert!(
            !pollers.waits(2, pause(200 * HOUR, 50, 0)),
            "another thread"
        );
    }

    /// Such as one that receives what others send it, with a time-out that never ends a wait.
    #[test]
    fn a_thread_whose_waits_end_before_their_time_is_no_poller() {
        let mut pollers = Pollers::default();
        for wait in 0..1000 {
            assert!(!pollers.waits(1, pause(wait * 30_000_000, 50, 0)));
        }
        let start = HOUR;
        for poll in 0..u64::from(ALIKE) {
            pollers.waits(1, pause(start + poll * 50_000_000, 50, 0));
        }
        assert!(pollers.is_one(1));
        pollers.waits(
            1,
            pause(start + u64::from(ALIKE - 1) * 50_000_000 + 1, 50, 0),
        );
        assert!(!pollers.is_one(1), "the last wait has had an effect");
    }

    /// Such as that of OpenJDK's G1 service thread, which has tasks of two periods.
    #[test]
    fn a_poller_that_waits_for_less_at_times_stays_one() {
        let mut pollers = Pollers::default();
        for poll in 0..u64::from(ALIKE) {
            pollers.waits(1, pause(poll * 390_000_000, 300, 0));
            pollers.waits(1, pause(poll * 390_000_000 + 300_000_000, 90, 0));
        }
        assert!(pollers.is_one(1));
        assert!(!pollers.waits(1, pause(HOUR, 400, 0)), "for more");
        let mut never = pause(2 * HOUR, 0, 0);
        never.span = u64::MAX;
        assert!(!pollers.waits(1, never));
        assert!(!pollers.waits(1, pause(3 * HOUR, 90, 0)));
    }

    #[test]
    fn a_poller_may_be_late_by_a_part_of_the_time_for_which_it_has_polled() {
        const SECOND: u64 = 1_000_000_000;
        let mut pollers = Pollers::default();
        for poll in 1..u64::from(MANY) {
            let is_poller = pollers.waits(1, pause(poll * SECOND, 50, 0));
            let slack = is_poller.then_some(0);
            assert_eq!(pollers.slack(1), slack);
        }
        pollers.waits(1, pause(65 * SECOND, 50, 0));
        assert_eq!(pollers.slack(1), Some(SECOND));
        pollers.waits(1, pause(7200 * SECOND, 50, 0));
        assert_eq!(pollers.slack(1), Some(MOST_SLACK));
        pollers.waits(1, pause(7201 * SECOND, 50, 1));
        assert_eq!(pollers.slack(1), None, "it wrote");
    }

    #[test]
    fn a_poller_looks_twice_at_its_time_once_others_have_run() {
        let mut pollers = Pollers::default();
        for poll in 0..1000 {
            pollers.waits(1, pause(poll * 50_000_000, 50, 0));
        }
        assert!(pollers.slack(1) > Some(0));
        pollers.others_ran();
        assert_eq!(pollers.slack(1), Some(0), "the wait under way");
        pollers.waits(1, pause(50_000_000_000, 50, 0));
        assert_eq!(pollers.slack(1), Some(0), "the one after it");
        pollers.waits(1, pause(50_050_000_000, 50, 0));
        assert!(pollers.slack(1) > Some(0));
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
        assert!(idle.looked(1700, Seen::Quiet), "all that ran waits again");
        assert!(!idle.looked(1800, Seen::Quiet));
        idle.happened(1900, false);
        assert!(!idle.has_polls_only(2000));
    }
}
