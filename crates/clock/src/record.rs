//! The record of one clock: the words in the page that writer and reader agree on.

use crate::line::Line;
use crate::moment::Moment;
use crate::rate::{NANOSECONDS, Rate};

/// Where a record's ticks come from.
///
/// In the page this is a word: the kind in bits 0 to 7, the number of a kernel
/// clock in bits 8 to 15, [`Source::ORDERED`] in bit 16, and in bit 17 which line
/// lies first, [`Source::FORMER_FIRST`]. A reader treats a kind that it does not
/// know as the system call, so that an old image is right with a new publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// No ticks: the reader makes the system call. A page of zeroes, which was
    /// never published, decodes to this.
    #[default]
    SystemCall,
    /// No ticks: the reader calls the kernel's own vDSO.
    Kernel,
    /// The CPU's counter. Outside the validity intervals of both lines the reader
    /// makes the system call.
    Counter {
        /// The result of that system call is raised to the time at the end of the
        /// current line (see [`Record::read`]), so that a clock that must not run
        /// backwards does not do so when its publisher stops.
        monotonic: bool,
    },
    /// Nanoseconds of one of the kernel's clocks, by its number.
    KernelClock(u8),
    /// Nanoseconds of the kernel's clock of the same number, on a line that starts at 0, never
    /// ends, and has that clock's rate: a reader may add the line's base instead.
    KernelMoved,
    /// No ticks: the time is the current line's base. Its start may say since when.
    Fixed,
    /// How often this process has read a clock, counted in its own memory.
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
    /// The bit that is set for a clock that must not run backwards.
    pub const ORDERED: u64 = 1 << 16;
    /// The bit that is set where the former line lies first in the record.
    pub const FORMER_FIRST: u64 = 1 << 17;

    /// Encodes the word for the page.
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

    /// Decodes a word of a page.
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

/// How far a record's time may be from the true time of its clock.
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
    /// In place of the nanoseconds at the start: no bound is known.
    pub const UNKNOWN: u32 = u32::MAX;

    /// Decodes a word of a page: the start in the lower half, the growth above.
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
/// The **current** line is valid from its start on, the **former** before it.
/// With both in one record, a change of rate is announced before it happens,
/// and every reader applies it at the same tick, whichever copy of the page it
/// has read. That is what keeps time from running backwards: see
/// [`Timekeeper`](crate::Timekeeper).
///
/// The struct is the writer's form. Readers decode only the words that they need,
/// straight from the page: [`Record::read`] and [`Record::read_with_error`] are the
/// one place where that is written, for the image and for readers in Rust alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where ticks come from.
    pub source: Source,
    /// The line that is valid from its start on.
    pub current: Line,
    /// The line that is valid before the current one starts.
    pub former: Line,
    /// How far off the time may be.
    pub error: ErrorBound,
}

impl Record {
    /// How many words a record takes in the page: 16, two cache lines.
    pub const WORDS: usize = 16;
    /// The word of [`Source`].
    pub const SOURCE: usize = 0;
    /// The first word of the longer line, in which more readers find their answer:
    /// mostly the former line while a change of rate is announced.
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

    /// A record with which every reader makes the system call.
    pub const SYSTEM_CALL: Self = Self {
        source: Source::SystemCall,
        current: Line::NONE,
        former: Line::NONE,
        error: ErrorBound {
            at_start: 0,
            growth: 0,
        },
    };

    /// The record of the kernel's clock moved by `by`: its seconds, which may be negative, plus
    /// its nanoseconds.
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

    /// The record of a clock that stands at `time`.
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

    /// Encodes the record for the page: source, both lines, error.
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
        // Masked, so that the compiler sees that no index is out of bounds: kernels have no panic path.
        const MASK: usize = Record::WORDS - 1;
        while at < Line::WORDS {
            words[(current_at + at) & MASK] = current[at];
            words[(former_at + at) & MASK] = former[at];
            at += 1;
        }
        words[Self::ERROR] = self.error.at_start as u64 | (self.error.growth as u64) << 32;
        words
    }

    /// Decodes all words of a record.
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

    /// The time at `ticks`; `None` where neither line is valid.
    #[inline]
    pub const fn at(&self, ticks: u64) -> Option<Moment> {
        match self.current.at(ticks) {
            Some(time) => Some(time),
            None => self.former.at(ticks),
        }
    }

    /// How far the time at `ticks` may be off, in nanoseconds; `None` more than 584
    /// years after the current line's start.
    pub const fn error_at(&self, ticks: u64) -> Option<u64> {
        let since = ticks.saturating_sub(self.current.start);
        match self.current.rate.span(since) {
            Some(span) => Some(self.error.after((span >> 64) as u64)),
            None => None,
        }
    }

    /// The time at the end of the current line: no reader of a monotonic clock has
    /// been given a later one.
    pub const fn ceiling(&self) -> Moment {
        self.current.after(self.current.length)
    }

    /// The time at `ticks`, from the words of a record as they lie in a page.
    ///
    /// `word` loads a word of the record by its number; all loads are from one copy
    /// of the record. The words may hold anything: a wrong page gives a wrong time,
    /// never a panic.
    #[inline(always)]
    pub fn read(word: impl Fn(usize) -> u64, ticks: u64) -> Answer {
        let source = word(Self::SOURCE);
        if source as u8 == Source::FIXED {
            // The line starts at tick 0, so that its origin is the base.
            let base = |at| word(Self::FIRST + at);
            return Answer::Time((base(Line::SECONDS) as i64, base(Line::ORIGIN)));
        }
        if let Some(line) = valid_line(&word, ticks) {
            return Answer::Time(Line::extend(|at| word(line + at), ticks));
        }
        if source as u8 == Source::COUNTER && source & Source::ORDERED != 0 {
            return promised(&word, ticks);
        }
        Answer::None
    }

    /// The time at `ticks` and how many nanoseconds it may be off, from the words of
    /// a record as they lie in a page: for records of a counter or of a kernel clock.
    ///
    /// `None` where neither line is valid, where no bound is known, and where the
    /// bound would have grown for more than 584 years.
    #[inline]
    pub fn read_with_error(word: impl Fn(usize) -> u64, ticks: u64) -> Option<((i64, u64), u64)> {
        let line = valid_line(&word, ticks)?;
        let error = ErrorBound::from_word(word(Self::ERROR));
        if error.at_start == ErrorBound::UNKNOWN {
            return None;
        }
        let (current, _) = Self::lines(word(Self::SOURCE));
        let rate = Rate::from_words(word(current + Line::WHOLE), word(current + Line::FRACTION));
        let since = ticks.saturating_sub(word(start(current)));
        let since = (rate.span(since)? >> 64) as u64;
        let time = Line::extend(|at| word(line + at), ticks);
        Some((time, error.after(since)))
    }
}

/// What a record gives for one reading of its ticks: seconds, and nanoseconds that
/// are still to be [`split`](crate::split).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// The time.
    Time((i64, u64)),
    /// No time. The result of the system call is to be raised to this: other readers
    /// of this very record may have been given as much. A newer record's lines end
    /// later, and its readers have not come that far.
    AtLeast((i64, u64)),
    /// No time, and nothing to raise the system call's result to.
    #[default]
    None,
}

/// The word of a line's start, by the line's first word.
#[inline(always)]
const fn start(line: usize) -> usize {
    line + Line::START
}

/// The first word of the line that is valid at `ticks`.
#[inline(always)]
fn valid_line(word: impl Fn(usize) -> u64, ticks: u64) -> Option<usize> {
    let is_valid =
        |line: &usize| ticks.wrapping_sub(word(start(*line))) < word(line + Line::LENGTH);
    [Record::FIRST, Record::SECOND].into_iter().find(is_valid)
}

/// For how many ticks after its end a record's promise is kept at least: half a second of a
/// counter of 2 GHz. It is for records with lines that were cut short, where a slew ends.
const PROMISED: u64 = 1 << 30;

/// What the system call's result is raised to at ticks for which no line is valid.
///
/// The time at the end of the lines, and only for as long after that end as the lines
/// themselves last, or [`PROMISED`] ticks. By then the kernel's clock has passed it: a publisher
/// keeps its clock ahead of the kernel's by far less than it lets a line last (`Discipline`,
/// "The lead").
/// Ticks that are further away, or before both lines, come from a counter that the publisher
/// has not seen: the machine was booted, resumed or migrated since, and the time in the page
/// must not be used. A reader that was interrupted between reading the counter and reading a
/// newer record gets that answer too. So an answer other than a time holds only where the
/// counter was read after the record was published: a reader that reads the counter first has to
/// read it again behind the record's words.
#[inline(always)]
fn promised(word: impl Fn(usize) -> u64, ticks: u64) -> Answer {
    let (current, former) = Record::lines(word(Record::SOURCE));
    let first = match word(former + Line::LENGTH) {
        0 => current,
        _ => former,
    };
    let end = word(start(current)).wrapping_add(word(current + Line::LENGTH));
    let lasted = end.wrapping_sub(word(start(first)));
    if ticks.wrapping_sub(end) < lasted.max(PROMISED) {
        Answer::AtLeast(Line::extend(|at| word(current + at), end))
    } else {
        Answer::None
    }
}
