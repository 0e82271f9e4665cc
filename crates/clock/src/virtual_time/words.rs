//! Virtual time as words: what a publisher leaves for the next one.

use super::{Clocks, Course, Monotonic, Track, VirtualTime};
use crate::clocks::Clock;
use crate::line::Line;

const OFFSET: usize = 0;
const TAI: usize = 2;
const CLOCKS: usize = 3;
const COURSE: usize = 4;
const HAPPENS_AT: usize = 6;
/// Which of the following are there.
const PRESENT: usize = 7;
const TRACKS: usize = 8;
const TRACK_WORDS: usize = 2 * Line::WORDS;

/// Kinds of a course.
const RATE: u64 = 0;
const FROZEN: u64 = 1;
const EACH_READ: u64 = 2;

/// Bits of [`PRESENT`].
const HAS_COURSE: u64 = 1;
const HAS_WALL: u64 = 2;
const HAS_MONOTONIC: u64 = 4;

/// The word of each set of clocks is its place here.
const ALL_CLOCKS: [Clocks; 4] = [Clocks::Usual, Clocks::Wall, Clocks::Monotonic, Clocks::All];

/// The drivers of the tracks, in the order of their words.
const DRIVERS: [Clock; 4] = [
    Clock::Boottime,
    Clock::Monotonic,
    Clock::MonotonicRaw,
    Clock::Boottime,
];

impl VirtualTime {
    /// The number of words.
    pub const WORDS: usize = TRACKS + DRIVERS.len() * TRACK_WORDS;

    /// Encodes all of it. Only a [`VirtualTime`] of the same version of this crate decodes
    /// the words.
    pub fn to_words(&self) -> [u64; Self::WORDS] {
        let mut words = [0; Self::WORDS];
        // Published time is one offset: reset time and lag are not distinguished.
        let offset = self.offset + self.lag;
        words[OFFSET] = offset as u64;
        words[OFFSET + 1] = (offset >> 64) as u64;
        words[TAI] = self.tai as u64;
        let clocks = ALL_CLOCKS.iter().position(|one| *one == self.clocks);
        words[CLOCKS] = clocks.unwrap_or(0) as u64;
        (words[COURSE], words[COURSE + 1]) = match self.course {
            Course::Rate(numerator, denominator) => {
                (RATE, u64::from(numerator) | u64::from(denominator) << 32)
            }
            Course::Frozen => (FROZEN, 0),
            Course::EachRead(nanoseconds) => (EACH_READ, nanoseconds),
        };
        if let Some(at) = self.happens_at {
            words[HAPPENS_AT] = at;
            words[PRESENT] |= HAS_COURSE;
        }
        if self.wall.is_some() {
            words[PRESENT] |= HAS_WALL;
        }
        if self.monotonic.is_some() {
            words[PRESENT] |= HAS_MONOTONIC;
        }
        let monotonic = self.monotonic;
        let tracks = [
            self.wall,
            monotonic.map(|clocks| clocks.monotonic),
            monotonic.map(|clocks| clocks.raw),
            monotonic.map(|clocks| clocks.boottime),
        ];
        for (track, to) in tracks
            .iter()
            .zip(words[TRACKS..].chunks_exact_mut(TRACK_WORDS))
        {
            if let Some(track) = track {
                to[..Line::WORDS].copy_from_slice(&track.former.to_words());
                to[Line::WORDS..].copy_from_slice(&track.current.to_words());
            }
        }
        words
    }

    /// Decodes the words of [`to_words`](Self::to_words); `None` where they hold
    /// something that this version does not know.
    pub fn from_words(words: &[u64; Self::WORDS]) -> Option<Self> {
        let course = match (words[COURSE], words[COURSE + 1]) {
            (RATE, ratio) => Course::Rate(ratio as u32, (ratio >> 32) as u32),
            (FROZEN, _) => Course::Frozen,
            (EACH_READ, nanoseconds) => Course::EachRead(nanoseconds),
            _ => return None,
        };
        let track = |at: usize| {
            let line = |half: usize| {
                let start = TRACKS + at * TRACK_WORDS + half * Line::WORDS;
                words.get(start..)?.first_chunk().map(Line::from_words)
            };
            Some(Track {
                driver: *DRIVERS.get(at)?,
                former: line(0)?,
                current: line(1)?,
            })
        };
        let has = |bit: u64| words[PRESENT] & bit != 0;
        let wall = if has(HAS_WALL) { Some(track(0)?) } else { None };
        let monotonic = if has(HAS_MONOTONIC) {
            Some(Monotonic {
                monotonic: track(1)?,
                raw: track(2)?,
                boottime: track(3)?,
            })
        } else {
            None
        };
        Some(Self {
            clocks: *ALL_CLOCKS.get(usize::try_from(words[CLOCKS]).ok()?)?,
            offset: (i128::from(words[OFFSET + 1] as i64) << 64) | i128::from(words[OFFSET]),
            lag: 0,
            tai: words[TAI] as i64,
            course,
            happens_at: has(HAS_COURSE).then_some(words[HAPPENS_AT]),
            settled: false,
            wall,
            monotonic,
        })
    }
}
