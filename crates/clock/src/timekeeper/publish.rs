//! The words of all clocks at once, for a kernel's timer interrupt.

use super::Timekeeper;
use crate::clocks::Clock;
use crate::line::Line;
use crate::moment::Moment;
use crate::record::{Record, Source};

type Words = [u64; Record::WORDS];

impl Timekeeper {
    /// Passes every clock's words to `set`: those of [`record`](Self::record), in a third of the
    /// time that a call for each clock takes, since most clocks are monotonic time plus an
    /// offset.
    #[inline]
    pub fn publish(&self, mut set: impl FnMut(Clock, &Words)) {
        let monotonic = self.record(Clock::Monotonic).to_words();
        set(Clock::Monotonic, &monotonic);
        let boot = self.moved(&monotonic, self.boot, true);
        set(Clock::Boottime, &boot);
        set(Clock::BoottimeAlarm, &boot);
        let wall = match self.leap {
            None => self.moved(&monotonic, self.wall, false),
            Some(_) => self.record(Clock::Realtime).to_words(),
        };
        set(Clock::Realtime, &wall);
        set(Clock::RealtimeAlarm, &wall);
        let tai = self.moved(&monotonic, self.offset(Clock::Tai), false);
        set(Clock::Tai, &tai);
        let raw = self.record(Clock::MonotonicRaw);
        set(Clock::MonotonicRaw, &raw.to_words());
        let now = self.at(self.updated);
        set(Clock::MonotonicCoarse, &self.coarse(now).to_words());
        let wall = self.coarse(now.moved(self.wall));
        set(Clock::RealtimeCoarse, &wall.to_words());
    }

    /// The words of a clock that is `nanoseconds` ahead of monotonic time, from the words of that.
    #[inline(always)]
    fn moved(&self, monotonic: &Words, nanoseconds: i128, is_monotonic: bool) -> Words {
        let mut words = *monotonic;
        let (current, former) = Record::lines(words[Record::SOURCE]);
        if !is_monotonic {
            words[Record::SOURCE] &= !Source::ORDERED;
        }
        let mut base = |line: usize, was: Moment| {
            let is = was.moved(nanoseconds);
            words[line + Line::SECONDS] = is.seconds as u64;
            let origin = &mut words[line + Line::ORIGIN];
            *origin = origin
                .wrapping_add(is.nanoseconds.into())
                .wrapping_sub(was.nanoseconds.into());
        };
        base(current, self.current.base);
        base(former, self.former.base);
        words
    }
}
