//! What a page says of one clock: the words that writer and reader agree on.

use crate::line::Line;
use crate::moment::Moment;
use crate::rate::{NANOSECONDS, Rate};

/// Where a record's ticks come from.
///
/// In the page: the kind in bits 0 to 7 of a word, the kernel's clock in bits 8
/// to 15, [`Source::ORDERED`] in bit 16; in bit 17, which line comes first,
/// [`Source::FORMER_FIRST`]. A kind that a reader doesn't know is
/// the system call, so that an old image with a new publisher is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// None: the reader makes the system call. So says a page of zeroes, which
    /// is one that was never published.
    #[default]
    SystemCall,
    /// None: the reader hands the call on to the kernel's own vDSO.
    Kernel,
    /// The CPU's counter. Outside the lines' intervals: the system call.
    Counter {
        /// The answer of that system call is raised to the time at the end of
        /// the last line, so that a clock which must not run backwards doesn't,
        /// whenever its publisher stops.
        monotonic: bool,
    },
    /// Nanoseconds of one of the kernel's clocks, by its number.
    KernelClock(u8),
    /// Nanoseconds of the kernel's clock of the same number, on a line that starts at 0, for ever,
    /// at the rate of that clock: so the line's base may be added instead.
    KernelMoved,
    /// None: the time is the current line's base.
    Fixed,
    /// How often this process has read a clock; counted in its own memory.
    Reads,
}

impl Source {
    /// Kind of [`Source::SystemCall`].
    pub const SYSTEM_CALL: u8 = 0;
    /// Kind of [`Source::Kernel`].
    pub const KERNEL: u8 = 3;
    /// Kind of [`Source::Counter`].
    pub const COUNTER: u8 = 1;
    /// Kind of [`Source::KernelClock`].
    pub const KERNEL_CLOCK: u8 = 4;
    /// Kind of [`Source::KernelMoved`].
    pub const KERNEL_MOVED: u8 = 6;
    /// Kind of [`Source::Fixed`].
    pub const FIXED: u8 = 2;
    /// Kind of [`Source::Reads`].
    pub const READS: u8 = 5;
    /// The bit that says that the clock must not run backwards.
    pub const ORDERED: u64 = 1 << 16;
    /// The bit that says that a record's first line is the former one.
    pub const FORMER_FIRST: u64 = 1 << 17;

    /// The word for the page.
    pub const fn to_word(self) -> u64 {
        match self {
            Self::SystemCall => Self::SYSTEM_CALL as u64,
            Self::Kernel => Self::KERNEL as u64,
            Self::Counter { monotonic } => {
                Self::COUNTER as u64 | if monotonic { Self::ORDERED } else { 0 }
            }
            Self::KernelClock(id) => Self::KERNEL_CLOCK as u64 | (id as u64) << 8,
            Self::KernelMoved => Self::KERNEL_MOVED as u64,
            Self::Fixed => Self::FIXED as u64,
            Self::Reads => Self::READS as u64,
        }
    }

    /// What a word of a page says.
    #[inline]
    pub const fn from_word(word: u64) -> Self {
        match word as u8 {
            Self::KERNEL => Self::Kernel,
            Self::COUNTER => Self::Counter {
                monotonic: word & Self::ORDERED != 0,
            },
            Self::KERNEL_CLOCK => Self::KernelClock((word >> 8) as u8),
            Self::KERNEL_MOVED => Self::KernelMoved,
            Self::FIXED => Self::Fixed,
            Self::READS => Self::Reads,
            _ => Self::SystemCall,
        }
    }
}

/// How far a record's time may be from what it stands for.
///
/// The error starts with the current line and grows until the next update:
/// `at_start + growth × time since`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorBound {
    /// Nanoseconds at the current line's start, or [`UNKNOWN`](Self::UNKNOWN).
    pub at_start: u32,
    /// Parts in 10⁹, that is nanoseconds a second.
    pub growth: u32,
}

impl ErrorBound {
    /// In place of the nanoseconds at the start, 4.3 s: nobody knows.
    pub const UNKNOWN: u32 = u32::MAX;

    /// What a word of a page says: the start in the lower half, growth above.
    #[inline]
    pub const fn from_word(word: u64) -> Self {
        Self {
            at_start: word as u32,
            growth: (word >> 32) as u32,
        }
    }

    /// The bound in nanoseconds, `nanoseconds` after the current line's start.
    #[inline]
    pub const fn after(self, nanoseconds: u64) -> u64 {
        let (seconds, part) = (nanoseconds / NANOSECONDS, nanoseconds % NANOSECONDS);
        let growth = self.growth as u64;
        // Under 2³⁰ × 2³², and rounded up.
        let grown = (part * growth).div_ceil(NANOSECONDS);
        seconds
            .saturating_mul(growth)
            .saturating_add(grown)
            .saturating_add(self.at_start as u64)
    }
}

/// One clock's record: a source of ticks and two lines.
///
/// The **current** line answers from its start on, the **former** before it.
/// With both in one record, a change of rate is announced before it happens,
/// and every reader makes it at the same tick, whichever copy of the page it
/// has read. That is what keeps time from running backwards: see
/// [`Timekeeper`](crate::Timekeeper).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where ticks come from.
    pub source: Source,
    /// The line that answers from its start on.
    pub current: Line,
    /// The line that answers before the current one starts.
    pub former: Line,
    /// How far off the time may be.
    pub error: ErrorBound,
}

impl Record {
    /// How many words a record takes in the page: 16, two cache lines.
    pub const WORDS: usize = 16;
    /// The word of [`Source`].
    pub const SOURCE: usize = 0;
    /// The first word of the line that more readers will find an answer in, the
    /// longer one: the former, mostly, while a change of rate is announced and
    /// hasn't come.
    pub const FIRST: usize = 1;
    /// The first word of the other line.
    pub const SECOND: usize = Self::FIRST + Line::WORDS;
    /// The word of [`ErrorBound`]: the start in the lower half, growth above.
    pub const ERROR: usize = Self::SECOND + Line::WORDS;

    /// The first words of the current and of the former line of a record whose
    /// [`SOURCE`](Self::SOURCE) is this word.
    #[inline]
    pub const fn lines(source: u64) -> (usize, usize) {
        if source & Source::FORMER_FIRST == 0 {
            (Self::FIRST, Self::SECOND)
        } else {
            (Self::SECOND, Self::FIRST)
        }
    }

    /// A record that leads every reader to the system call.
    pub const SYSTEM_CALL: Self = Self {
        source: Source::SystemCall,
        current: Line::NONE,
        former: Line::NONE,
        error: ErrorBound {
            at_start: 0,
            growth: 0,
        },
    };

    /// A record that says the kernel's clock moved by `by`: forth, or back by so many seconds and
    /// then forth by the nanoseconds.
    pub const fn kernel_moved(by: Moment) -> Self {
        Self {
            source: Source::KernelMoved,
            current: Line {
                start: 0,
                length: u64::MAX,
                rate: Rate::NANOSECOND,
                base: by,
            },
            ..Self::SYSTEM_CALL
        }
    }

    /// A record that says one time.
    pub const fn fixed(time: Moment) -> Self {
        Self {
            source: Source::Fixed,
            current: Line {
                base: time,
                ..Line::NONE
            },
            ..Self::SYSTEM_CALL
        }
    }

    /// The record for the page: source, both lines, error.
    #[inline]
    pub const fn to_words(self) -> [u64; Self::WORDS] {
        let mut words = [0; Self::WORDS];
        words[Self::SOURCE] = self.source.to_word();
        if self.former.length > self.current.length {
            words[Self::SOURCE] |= Source::FORMER_FIRST;
        }
        let (current_at, former_at) = Self::lines(words[Self::SOURCE]);
        let (current, former) = (self.current.to_words(), self.former.to_words());
        let mut at = 0;
        while at < Line::WORDS {
            words[current_at + at] = current[at];
            words[former_at + at] = former[at];
            at += 1;
        }
        words[Self::ERROR] = self.error.at_start as u64 | (self.error.growth as u64) << 32;
        words
    }

    /// What a record in a page says.
    pub const fn from_words(words: &[u64; Self::WORDS]) -> Self {
        let (mut current, mut former) = ([0; Line::WORDS], [0; Line::WORDS]);
        let (current_at, former_at) = Self::lines(words[Self::SOURCE]);
        let mut at = 0;
        while at < Line::WORDS {
            current[at] = words[current_at + at];
            former[at] = words[former_at + at];
            at += 1;
        }
        Self {
            source: Source::from_word(words[Self::SOURCE]),
            current: Line::from_words(&current),
            former: Line::from_words(&former),
            error: ErrorBound::from_word(words[Self::ERROR]),
        }
    }

    /// The reader's half, whole: the time at `ticks`, or none where neither
    /// line answers and the reader has to make the system call.
    #[inline]
    pub const fn at(&self, ticks: u64) -> Option<Moment> {
        match self.current.at(ticks) {
            Some(time) => Some(time),
            None => self.former.at(ticks),
        }
    }

    /// How far the time at `ticks` may be off, in nanoseconds; none where that would be 584
    /// years after the current line's start.
    pub const fn error_at(&self, ticks: u64) -> Option<u64> {
        let since = ticks.saturating_sub(self.current.start);
        match self.current.rate.span(since) {
            Some(span) => Some(self.error.after((span >> 64) as u64)),
            None => None,
        }
    }

    /// What a monotonic clock has been promised to reach: the time at the end
    /// of the current line, which no reader has passed.
    pub const fn ceiling(&self) -> Moment {
        self.current.after(self.current.length)
    }

    /// What readers of this record may have been told, where it has no answer
    /// at `ticks`: the kernel's answer is raised to it for
    /// `Source::Counter { monotonic: true }`.
    ///
    /// It has to come from the very record that had no answer. A newer one's
    /// promise lies ahead, and other readers are still on the way there.
    pub const fn promised(&self, ticks: u64) -> Moment {
        let first = if self.former.length == 0 {
            &self.current
        } else {
            &self.former
        };
        if (ticks.wrapping_sub(first.start) as i64) < 0 {
            // The counter was read long ago, or has been reset: nobody can have
            // been told more than this without having read the counter later.
            return first.base;
        }
        self.ceiling()
    }
}
