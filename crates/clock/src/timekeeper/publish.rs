//! The words of all clocks at once, for a kernel's timer interrupt.

use super::Timekeeper;
use crate::clocks::Clock;
use crate::line::Line;
use crate::rate::Rate;
use crate::record::{ErrorBound, Record, Source};

type Words = [u64; Record::WORDS];

impl Timekeeper {
    /// Passes every clock's words to `set`: those of [`record`](Self::record), in a third of the
    /// time that a call for each clock takes, since most clocks are monotonic time plus an
    /// offset.
    pub fn publish(&self, mut set: impl FnMut(Clock, &Words)) {
        let monotonic = self.words(Clock::Monotonic);
        set(Clock::Monotonic, &monotonic);
        let mut offset = |clocks: &[Clock], nanoseconds, is_monotonic| {
            let mut words = monotonic;
            self.move_lines(&mut words, nanoseconds, is_monotonic);
            for clock in clocks {
                set(*clock, &words);
            }
        };
        offset(&[Clock::Boottime, Clock::BoottimeAlarm], self.boot, true);
        offset(&[Clock::Tai], self.offset(Clock::Tai), false);
        if self.leap.is_none() {
            offset(&[Clock::Realtime, Clock::RealtimeAlarm], self.wall, false);
        } else {
            let wall = self.words(Clock::Realtime);
            set(Clock::Realtime, &wall);
            set(Clock::RealtimeAlarm, &wall);
        }
        for clock in [
            Clock::MonotonicRaw,
            Clock::MonotonicCoarse,
            Clock::RealtimeCoarse,
        ] {
            set(clock, &self.words(clock));
        }
    }

    // Functions of their own, since they are used several times and are large.
    #[inline(never)]
    fn words(&self, clock: Clock) -> Words {
        self.record(clock).to_words()
    }

    /// Makes the words of monotonic time those of a clock that is `nanoseconds` ahead of it.
    #[inline(never)]
    fn move_lines(&self, words: &mut Words, nanoseconds: i128, is_monotonic: bool) {
        let (current, former) = Record::lines(words[Record::SOURCE]);
        if !is_monotonic {
            words[Record::SOURCE] &= !Source::ORDERED;
        }
        for (line, was) in [(current, self.current.base), (former, self.former.base)] {
            let is = was.moved(nanoseconds);
            // Masked, as in `Record::to_words`.
            const MASK: usize = Record::WORDS - 1;
            words[(line + Line::SECONDS) & MASK] = is.seconds as u64;
            let origin = &mut words[(line + Line::ORIGIN) & MASK];
            *origin = origin
                .wrapping_add(is.nanoseconds.into())
                .wrapping_sub(was.nanoseconds.into());
        }
    }
}

/// What the records of a timekeeper have in common from one update to the next: the lines as
/// functions of the counter, and the offsets of the clocks, but not where lines end.
///
/// While it stays the same, a writer need not store whole records again: the ends of the current
/// lines suffice ([`Timekeeper::extend`]).
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    starts: Starts,
    monotonic: Function,
    raw: Function,
    wall: i128,
    boot: i128,
    tai: i32,
    error: ErrorBound,
}

/// A line without its start and end.
#[derive(Clone, Copy, Debug)]
struct Function {
    rate: Rate,
    seconds: i64,
    /// The nanoseconds at tick 0, as in [`Line::to_words`].
    origin: u128,
}

impl Function {
    fn of(line: &Line) -> Self {
        Self {
            rate: line.rate,
            seconds: line.base.seconds,
            origin: line.origin(),
        }
    }

    fn is(&self, line: &Line) -> bool {
        self.rate == line.rate && self.seconds == line.base.seconds && self.origin == line.origin()
    }
}

impl Timekeeper {
    /// The shape of the records now. `None` where they have to be stored whole: while a change of
    /// rate or a leap second is announced.
    #[must_use]
    pub fn shape(&self) -> Option<Shape> {
        let shape = Shape {
            starts: Starts {
                monotonic: self.current.start,
                raw: self.raw.start,
            },
            monotonic: Function::of(&self.current),
            raw: Function::of(&self.raw),
            wall: self.wall,
            boot: self.boot,
            tai: self.tai,
            error: self.error,
        };
        self.has(&shape).then_some(shape)
    }

    /// Whether the records still have this shape.
    #[must_use]
    #[inline]
    pub fn has(&self, shape: &Shape) -> bool {
        self.leap.is_none()
            && self.former.length <= self.current.length
            && self.wall == shape.wall
            && self.boot == shape.boot
            && self.tai == shape.tai
            && self.error == shape.error
            && shape.monotonic.is(&self.current)
            && shape.raw.is(&self.raw)
    }

    /// Passes to `set` the words that differ from records that were stored at `shape`, which the
    /// timekeeper still [`has`](Self::has): the number of the word, and the word.
    ///
    /// The stored records' current lines are then longer than the timekeeper's, and the former ones
    /// older. That makes no difference to a reader: they are the same function of the counter.
    #[inline]
    pub fn extend(&self, shape: &Shape, mut set: impl FnMut(Clock, usize, u64)) {
        const LENGTH: usize = Record::FIRST + Line::LENGTH;
        let length = self.current.end().wrapping_sub(shape.starts.monotonic);
        for clock in [
            Clock::Monotonic,
            Clock::Realtime,
            Clock::Boottime,
            Clock::Tai,
        ] {
            set(clock, LENGTH, length);
        }
        let length = self.raw.end().wrapping_sub(shape.starts.raw);
        set(Clock::MonotonicRaw, LENGTH, length);
        let now = if self.updated == self.current.start {
            self.current.base
        } else {
            self.at(self.updated)
        };
        for (clock, now) in [
            (Clock::MonotonicCoarse, now),
            (Clock::RealtimeCoarse, now.moved(self.wall)),
        ] {
            set(clock, Record::FIRST + Line::SECONDS, now.seconds as u64);
            set(clock, Record::FIRST + Line::ORIGIN, now.nanoseconds.into());
        }
    }
}

/// Where the current lines start, in ticks.
#[derive(Clone, Copy, Debug)]
struct Starts {
    /// That of monotonic time, and of all clocks that are monotonic time plus an offset.
    monotonic: u64,
    raw: u64,
}
